package standalone

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/server"
)

// admission is the Authenticator of the server: it settles who is to judge a
// credential.
type admission struct {
	accounts *identity.Provider
	handler  *identity.Handler
	issuer   string             // of the accounts' tokens
	other    auth.Authenticator // for identities from elsewhere; nil for none
}

var (
	_ auth.Authenticator   = (*admission)(nil)
	_ server.Reloader      = (*admission)(nil)
	_ server.SessionFinder = (*admission)(nil)
)

// Authenticate implements auth.Authenticator.
func (a *admission) Authenticate(ctx context.Context, c auth.Credential) (*holdfast.Identity, error) {
	next := auth.Authenticator(a.handler)
	if a.other != nil {
		token, err := c.BearerToken()
		if err != nil {
			return nil, err
		}
		if token != "" && issuerOf(token) != a.issuer || token == "" && !hasSession(c.Header) {
			next = a.other
		}
	}
	return next.Authenticate(ctx, c)
}

// Reload implements server.Reloader. An identity from elsewhere stays as it is,
// unless those who know it can tell more.
func (a *admission) Reload(ctx context.Context, id *holdfast.Identity) (*holdfast.Identity, error) {
	if id.Issuer == a.issuer {
		return a.accounts.Reload(ctx, id)
	}
	if r, ok := a.other.(server.Reloader); ok {
		return r.Reload(ctx, id)
	}
	return id, nil
}

// HasSession implements server.SessionFinder, which knows the accounts' cookies
// itself.
func (a *admission) HasSession(h http.Header) bool {
	f, ok := a.other.(server.SessionFinder)
	return ok && f.HasSession(h)
}

// issuerOf returns what a token says is its issuer, which nobody has verified:
// it only settles who is to. "" for none, and for what is no JWT.
func issuerOf(token string) string {
	_, claims, err := auth.Inspect(token)
	if err != nil {
		return ""
	}
	var c struct {
		Issuer string `json:"iss"`
	}
	if err := json.Unmarshal(claims, &c); err != nil {
		return ""
	}
	return c.Issuer
}

// hasSession reports whether there is a session cookie of the accounts. Its
// name is another one on https; a page that has the one for http there is
// refused by the accounts, which is what a bad credential that is present
// comes to.
func hasSession(h http.Header) bool {
	return slices.ContainsFunc((&http.Request{Header: h}).Cookies(), func(c *http.Cookie) bool {
		return c.Name == "session" || c.Name == "__Host-session"
	})
}
