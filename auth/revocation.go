package auth

import (
	"context"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Revocation takes back what was issued: of a user, of one login session, or
// one token, whichever field is set.
type Revocation struct {
	User    string `json:"user,omitempty"`
	Session string `json:"session,omitempty"`
	TokenID string `json:"jti,omitempty"`
	// Code is what those who hold it are told: SESSION_REVOKED, FORBIDDEN or
	// GOING_AWAY.
	Code holdfast.Code `json:"code"`
	// Before is when it was revoked. What was issued up to the end of this
	// second is refused, and what has no time of issue; a login session made
	// afterwards is not touched.
	Before time.Time `json:"before"`
	// Until is when it may be forgotten, since everything that it could
	// refuse has expired.
	Until time.Time `json:"until"`
}

// RevocationStore keeps revocations over restarts.
type RevocationStore interface {
	// SaveRevocation keeps r until r.Until. Saving it again changes nothing.
	SaveRevocation(ctx context.Context, r Revocation) error
	// Revocations returns those whose Until has not passed, in any order.
	Revocations(ctx context.Context) ([]Revocation, error)
}

// Refuses reports whether r takes back what proved id: it names id's user,
// session or token, and that was issued up to the end of r's second, or tells
// no time of issue.
func (r Revocation) Refuses(id *holdfast.Identity) bool {
	if r.Code == holdfast.GoingAway || !r.Names(id) {
		return false
	}
	return issuedBy(id, r.Before)
}

// issuedBy reports whether id was issued at or before t. A time of issue in
// whole seconds, as a token has it, may be any moment of its second.
func issuedBy(id *holdfast.Identity, t time.Time) bool {
	if id.IssuedAt.Nanosecond() != 0 {
		return !id.IssuedAt.After(t)
	}
	return id.IssuedAt.IsZero() || id.IssuedAt.Unix() <= t.Unix()
}

// Names reports whether r is about id's user, session or token.
func (r Revocation) Names(id *holdfast.Identity) bool {
	return r.User != "" && r.User == id.User || r.Session != "" && r.Session == id.Session || r.TokenID != "" && r.TokenID == id.TokenID
}

// Bump is one change of a user's permissions. A token made before it is
// stale: its holder has to refresh.
type Bump struct {
	User string `json:"user"`
	// Version is the user's permission version since then; 0 where nobody
	// counts, and times of issue alone decide.
	Version int64 `json:"version"`
	// At is when it was.
	At time.Time `json:"at"`
}

// Stale reports whether id's permissions are from before the change: its
// version is lower, or where there is no version to compare, they were read,
// or issued, up to the end of the change's second.
func (b Bump) Stale(id *holdfast.Identity) bool {
	if b.User != id.User {
		return false
	}
	if id.PermissionVersion != nil && b.Version > 0 {
		return *id.PermissionVersion < b.Version
	}
	if !id.PermissionsAsOf.IsZero() {
		return !id.PermissionsAsOf.After(b.At)
	}
	return issuedBy(id, b.At)
}

// BumpStore counts the changes of each user's permissions.
type BumpStore interface {
	// BumpPermissions raises the user's version.
	BumpPermissions(ctx context.Context, user string) (Bump, error)
	// Bumps returns the last change of each user whose permissions changed at
	// or after since, in any order.
	Bumps(ctx context.Context, since time.Time) ([]Bump, error)
}
