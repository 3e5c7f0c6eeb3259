package identity

import (
	"context"

	"github.com/holdfast-dev/holdfast"
)

// Reload returns id with the name, roles and permissions that its user has
// now. Everything about the credential stays as it is, its permission version
// too: the token is as stale as before. A server gives open connections their
// new rights with it at once. The error is that of User.
func (p *Provider) Reload(ctx context.Context, id *holdfast.Identity) (*holdfast.Identity, error) {
	a, err := p.accountByID(ctx, p.db.read, id.User)
	if err != nil {
		return nil, err
	}
	fresh := *id
	fresh.Name, fresh.Email, fresh.Roles = a.Name, a.Email, a.Roles
	fresh.Permissions = holdfast.Permissions{Rooms: *p.cfg.DefaultRooms, Actions: a.Actions}
	if a.Rooms != nil {
		fresh.Permissions.Rooms = *a.Rooms
	}
	return &fresh, nil
}
