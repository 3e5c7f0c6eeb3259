package identity

import (
	"context"
	"encoding/json"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// mint makes an access token. now is a moment when the session was live, and
// not a later one: it becomes the token's iat, and a token must not look newer
// than the end of its session.
func (p *Provider) mint(a *account, s Session, now time.Time) (token string, expires time.Time, err error) {
	key, err := p.keys.Load().signing(now)
	if err != nil {
		return "", time.Time{}, err
	}
	expires = earlier(now.Add(p.cfg.AccessTokenLifetime), s.Expires).Truncate(time.Second)
	claims := auth.Claims{
		User: a.ID, Name: a.Name, Email: a.Email, Roles: a.Roles,
		Session: s.ID, Issuer: p.cfg.Issuer, IssuedAt: now, Expires: expires,
		PermissionVersion: &a.PermissionVersion,
	}
	if p.cfg.Audience != "" {
		claims.Audience = []string{p.cfg.Audience}
	}
	// Without rooms of his own the default ones hold, whatever they are when
	// the token is verified.
	if a.Rooms != nil || len(a.Actions) > 0 {
		claims.Permissions = &auth.ClaimedPermissions{Rooms: a.Rooms, Actions: a.Actions}
	}
	token, err = auth.Mint(key, claims)
	return token, expires, err
}

// Authenticate verifies an access token of this provider, as
// auth.JWT.Authenticate does, with its keys and its issuer and audience. It
// does not ask the database: whether the session was ended, or the permissions
// changed since, is for whoever keeps the revocations.
func (p *Provider) Authenticate(ctx context.Context, c auth.Credential) (*holdfast.Identity, error) {
	token, err := c.BearerToken()
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, holdfast.Unauthenticated.New()
	}
	return p.Verify(ctx, token)
}

// Verify returns the identity that an access token proves; see Authenticate.
func (p *Provider) Verify(ctx context.Context, token string) (*holdfast.Identity, error) {
	keys := p.keys.Load()
	id, err := keys.jwt.Verify(ctx, token)
	if err == nil || holdfast.CodeOf(err) != holdfast.Unauthenticated || keys.has(tokenKeyID(token)) {
		return id, err
	}
	// Another process may have made a new key.
	newer, reloadErr := p.reloadKeys(ctx, keys)
	if reloadErr != nil {
		return nil, reloadErr
	}
	if newer == keys {
		return nil, err
	}
	return newer.jwt.Verify(ctx, token)
}

// tokenKeyID returns the kid of a token, verified or not; "" for none.
func tokenKeyID(token string) string {
	header, _, err := auth.Inspect(token)
	if err != nil {
		return ""
	}
	var h struct {
		Kid string `json:"kid"`
	}
	if err := json.Unmarshal(header, &h); err != nil {
		return ""
	}
	return h.Kid
}

// CookieIdentity returns the identity that the secret of a session cookie
// proves, as Authenticate does for a token; its errors are those of
// SessionByCookie. It counts as issued when the session was made, and expires
// with it.
func (p *Provider) CookieIdentity(ctx context.Context, secret string) (*holdfast.Identity, error) {
	u, err := p.cookieLogin(ctx, secret)
	if err != nil {
		return nil, err
	}
	a := u.account
	id := &holdfast.Identity{
		User: a.ID, Name: a.Name, Email: a.Email, Roles: a.Roles,
		Session: u.login.ID, Issuer: p.cfg.Issuer, PermissionVersion: &a.PermissionVersion,
		IssuedAt: u.login.Created, Expires: u.login.Expires,
		Permissions: holdfast.Permissions{Rooms: *p.cfg.DefaultRooms, Actions: a.Actions},
	}
	if a.Rooms != nil {
		id.Permissions.Rooms = *a.Rooms
	}
	return id, nil
}
