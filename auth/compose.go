package auth

import (
	"context"
	"net/http"

	"github.com/holdfast-dev/holdfast"
)

// BearerOrCookie is an Authenticator of two: a bearer token goes to Bearer,
// and only where there is none the request's cookies go to Cookie. The one
// that is present decides: a bad token is refused, however good the cookie
// is. A field that is nil refuses what would go to it.
type BearerOrCookie struct {
	Bearer Authenticator
	Cookie Authenticator
}

// Authenticate asks the one of the two that the credential is for.
func (a BearerOrCookie) Authenticate(ctx context.Context, c Credential) (*holdfast.Identity, error) {
	token, err := c.BearerToken()
	if err != nil {
		return nil, err
	}
	next := a.Cookie
	if token != "" {
		next = a.Bearer
	}
	if next == nil {
		return nil, refuse("", nil)
	}
	return next.Authenticate(ctx, c)
}

// HasSession reports whether there is a cookie that Cookie would look at: its
// own HasSession, if it has one. It makes server.SessionFinder of it.
func (a BearerOrCookie) HasSession(h http.Header) bool {
	f, ok := a.Cookie.(interface{ HasSession(h http.Header) bool })
	return ok && f.HasSession(h)
}
