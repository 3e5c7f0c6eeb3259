package holdfast

import (
	"context"
	"slices"
	"time"
)

// Identity is who somebody is, as a credential proved it. It is immutable
// once made: a refresh makes a new one.
type Identity struct {
	// User is the user's id, the token's sub. Empty: anonymous, which only an
	// application's own Authenticator can admit.
	User string
	// Name, Email and Roles are shown to others in user objects.
	Name  string
	Email string
	Roles []string

	// Session is the public id of the login session (sid), if there is one.
	Session string
	// TokenID is the token's jti, if it has one.
	TokenID string
	// Issuer is the token's iss, if it has one.
	Issuer string
	// PermissionVersion is the token's pv; nil where it has none.
	PermissionVersion *int64
	// IssuedAt is the token's iat; zero where it has none.
	IssuedAt time.Time
	// Expires is when the credential ends; zero for never.
	Expires time.Time

	// Permissions says what the user may do.
	Permissions Permissions
	// PermissionsAsOf is when they were read, for a credential that does not
	// carry them itself, such as a session kept elsewhere; zero: when the
	// credential was issued.
	PermissionsAsOf time.Time
}

// HasRole reports whether the user has any of the roles.
func (id *Identity) HasRole(roles ...string) bool {
	if id == nil {
		return false
	}
	return slices.ContainsFunc(roles, func(r string) bool { return slices.Contains(id.Roles, r) })
}

// Can reports whether the user may do action, as Permissions.Can.
func (id *Identity) Can(action string) bool { return id != nil && id.Permissions.Can(action) }

// User is the form in which somebody is shown to others and to himself.
type User struct {
	ID    string   `json:"id"`
	Name  string   `json:"name,omitempty"`
	Email string   `json:"email,omitempty"`
	Roles []string `json:"roles,omitempty"`
}

// AsUser returns the identity's user object; the zero User if id is nil. It
// shares Roles with id.
func (id *Identity) AsUser() User {
	if id == nil {
		return User{}
	}
	return User{ID: id.User, Name: id.Name, Email: id.Email, Roles: id.Roles}
}

type identityKey struct{}

// WithIdentity returns a context that carries id.
func WithIdentity(ctx context.Context, id *Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// IdentityFrom returns the identity that a request or event came with: what
// server.Require, or the connection that an event arrived on, has put into
// ctx. It returns nil and false where there is none.
func IdentityFrom(ctx context.Context) (*Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(*Identity)
	return id, ok && id != nil
}
