package identity

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// caller is who makes a call, and by which session.
type caller struct {
	session  Session
	user     User
	byCookie bool
}

// Authenticate returns the identity of an access token of the provider, or
// where the credential has no bearer token, of the session cookie; a bad token
// is not replaced by a good cookie. For a token the database is not asked, as
// in Provider.Authenticate.
//
// With a cookie, a plain HTTP call that may change something needs a CSRF
// token as well; the error is CSRF_MISMATCH. Whether the Origin of a
// connection or a call is allowed is for the caller to check.
func (h *Handler) Authenticate(ctx context.Context, c auth.Credential) (*holdfast.Identity, error) {
	token, err := c.BearerToken()
	if err != nil {
		return nil, err
	}
	if token != "" {
		return h.p.Verify(ctx, token)
	}
	jar := h.cookies(c.Header, c.RemoteAddr, c.TLS)
	secret, ok := jar.session()
	if !ok {
		return nil, holdfast.Unauthenticated.New()
	}
	id, err := h.p.CookieIdentity(ctx, secret)
	if err != nil {
		return nil, err
	}
	if unsafeMethod(c.Method) {
		if err := h.checkCSRF(jar, bound{id.Session, id.IssuedAt}); err != nil {
			return nil, err
		}
	}
	return id, nil
}

// bearerSent reports whether a bearer token decides, good or bad.
func bearerSent(r *http.Request) bool {
	token, err := auth.FromRequest(r).BearerToken()
	return token != "" || err != nil
}

// unsafeMethod reports whether a call by this method may change something.
func unsafeMethod(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return true
}

// own is for calls about the caller's own account.
func (h *Handler) own(do func(*call, caller) error) func(*call) error {
	return func(c *call) error {
		who, err := h.caller(c)
		if err != nil {
			return err
		}
		return do(c, who)
	}
}

// caller finds out who calls: by a bearer token, else by cookie. The first
// one that is there decides. Unlike Authenticate it asks the database about
// tokens as well: account calls are rare, and matter.
func (h *Handler) caller(c *call) (caller, error) {
	token, err := auth.FromRequest(c.r).BearerToken()
	if err != nil {
		return caller{}, err
	}
	if token != "" {
		return h.p.tokenCaller(c.r.Context(), token)
	}
	jar := h.requestCookies(c.r)
	who := caller{byCookie: true}
	if who.session, who.user, err = h.cookieSession(c.r.Context(), jar); err != nil {
		return caller{}, err
	}
	if unsafeMethod(c.r.Method) {
		err = h.wantCSRF(c.w, jar, boundTo(who.session))
	}
	return who, err
}

// cookieSession returns the session of the session cookie.
func (h *Handler) cookieSession(ctx context.Context, jar *cookies) (Session, User, error) {
	secret, ok := jar.session()
	if !ok {
		return Session{}, User{}, holdfast.Unauthenticated.New()
	}
	return h.p.SessionByCookie(ctx, secret)
}

// isSignedOut tells the refusals that mean that there is no session from
// those that say nothing about it.
func isSignedOut(err error) bool {
	return errors.Is(err, holdfast.Unauthenticated) || errors.Is(err, holdfast.SessionRevoked) || errors.Is(err, holdfast.RefreshReused)
}

// tokenCaller returns the session of an access token, which must be live, and
// its user.
func (p *Provider) tokenCaller(ctx context.Context, token string) (caller, error) {
	id, err := p.Verify(ctx, token)
	if err != nil {
		return caller{}, err
	}
	u, err := p.findLogin(ctx, `s.id = $1`, id.Session)
	if err != nil {
		return caller{}, err
	}
	if u.account.ID != id.User {
		return caller{}, holdfast.Unauthenticated.New()
	}
	revoked, err := p.tokenRevoked(ctx, id.TokenID)
	if err != nil {
		return caller{}, err
	}
	if revoked {
		return caller{}, holdfast.SessionRevoked.New()
	}
	if id.PermissionVersion != nil && *id.PermissionVersion < u.account.PermissionVersion {
		return caller{}, holdfast.PermissionVersionStale.New()
	}
	return caller{session: u.login.Session, user: u.account.User}, nil
}

// tokenRevoked reports whether a token was taken back by its own id. By user
// or session can't be: the session would have ended.
func (p *Provider) tokenRevoked(ctx context.Context, jti string) (bool, error) {
	var n int
	_, err := one(p.db.read.QueryRowContext(ctx, `SELECT COUNT(*) FROM revocations
		WHERE user_id = '' AND session_id = '' AND token_id = $1 AND token_id <> '' AND code <> $2 AND forget > $3`,
		jti, string(holdfast.GoingAway), millis(time.Now())), &n)
	return n > 0, err
}

// cookieEnds is when the cookies of a session may be forgotten: nothing keeps
// it longer.
func (p *Provider) cookieEnds(s Session) time.Time { return s.Created.Add(p.cfg.RefreshTotal) }

// refreshSession returns the session whose refresh token this is, or was once,
// without using the token up. The error says why it is not good any more.
func (p *Provider) refreshSession(ctx context.Context, token string) (Session, error) {
	family, ok := refreshFamily(token)
	if !ok {
		return Session{}, holdfast.Unauthenticated.New()
	}
	u, err := p.findLogin(ctx, `s.family_hash = $1`, hashSecret(family))
	if err != nil {
		return Session{}, err
	}
	return u.login.Session, nil
}
