package identity

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// maxGrants bounds the JSON of a user's grants in bytes: they go into each of
// his tokens, which may have 8 KiB, as base64 and with all else.
const maxGrants = 3 << 10

// storedGrants is a user's grants as they are kept.
type storedGrants struct{ roles, rooms, actions string }

func (g Grants) stored() (s storedGrants, err error) {
	roles, err := json.Marshal(append([]string{}, g.Roles...)) // never null
	if err != nil {
		return s, fmt.Errorf("identity: %w", err)
	}
	actions, err := json.Marshal(append([]string{}, g.Actions...))
	if err != nil {
		return s, fmt.Errorf("identity: %w", err)
	}
	var rooms []byte
	if g.Rooms != nil {
		if rooms, err = json.Marshal(g.Rooms); err != nil {
			return s, fmt.Errorf("identity: %w", err)
		}
	}
	return storedGrants{string(roles), string(rooms), string(actions)}, nil
}

// check returns INVALID_ARGUMENT for grants that can't be.
func (g Grants) check() error {
	for _, role := range g.Roles {
		if role == "" || len(role) > 64 || strings.ContainsFunc(role, notInName) {
			return holdfast.Errorf(holdfast.InvalidArgument, "A role has 1 to 64 bytes, without spaces: %.70q", role)
		}
	}
	for _, action := range g.Actions {
		bad := action == "" || len(action) > 200 || strings.ContainsFunc(action, notInName)
		for segment := range strings.SplitSeq(action, ".") {
			bad = bad || segment == "" || strings.Contains(segment, "*") && segment != "*"
		}
		if bad {
			return holdfast.Errorf(holdfast.InvalidArgument, "A permission looks like scope.resource.action, with * for a segment or the rest: %.210q", action)
		}
	}
	s, err := g.stored()
	if err != nil {
		return err
	}
	if len(s.roles)+len(s.rooms)+len(s.actions) > maxGrants {
		return holdfast.Errorf(holdfast.InvalidArgument, "The grants have more than %d bytes together, too many for a token", maxGrants)
	}
	return nil
}

func notInName(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || r == unicode.ReplacementChar
}

// Grant replaces all that a user may do, and raises his permission version:
// tokens made before are stale. OnBump is called. The error is NOT_FOUND for
// no user, INVALID_ARGUMENT for grants that can't be.
func (p *Provider) Grant(ctx context.Context, id string, g Grants) (User, error) {
	if !storable(id) {
		return User{}, errNoUser()
	}
	if err := g.check(); err != nil {
		return User{}, err
	}
	s, err := g.stored()
	if err != nil {
		return User{}, err
	}
	var user User
	var changed auth.Bump
	err = p.db.tx(ctx, func(tx *sql.Tx) error {
		n, err := execute(ctx, tx, `UPDATE users SET roles = $1, rooms = $2, actions = $3 WHERE id = $4`, s.roles, s.rooms, s.actions, id)
		if err != nil {
			return err
		}
		if n == 0 {
			return errNoUser()
		}
		if changed, err = bump(ctx, tx, id); err != nil {
			return err
		}
		a, err := p.accountByID(ctx, tx, id)
		if err == nil {
			user = a.User
		}
		return err
	})
	if err != nil {
		return User{}, err
	}
	p.announceBump(changed)
	return user, nil
}
