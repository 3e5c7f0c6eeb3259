package identity

import (
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
)

// tokenAnswer is what every new access token is answered with.
type tokenAnswer struct {
	AccessToken string `json:"accessToken"`
	ExpiresIn   int64  `json:"expiresIn"` // whole seconds
	ExpiresAt   int64  `json:"expiresAt"` // epoch milliseconds
}

func newTokenAnswer(token string, expires time.Time) tokenAnswer {
	return tokenAnswer{AccessToken: token, ExpiresIn: max(0, int64(time.Until(expires)/time.Second)), ExpiresAt: expires.UnixMilli()}
}

type loginAnswer struct {
	User *holdfast.User `json:"user,omitempty"` // not after a refresh
	tokenAnswer
	RefreshToken string `json:"refreshToken,omitempty"`
	SessionID    string `json:"sessionId"`
}

// mode is how a page or program wants to be signed in.
type mode string

const (
	modeCookie mode = "cookie"
	modeToken  mode = "token"
)

// mode settles what was asked for: cookies for browsers by default, which
// send an Origin with every call that matters, and tokens for all else.
func (h *Handler) mode(r *http.Request, asked mode) (mode, error) {
	off := h.origins.CookiesOff()
	switch asked {
	case "":
		if r.Header.Get("Origin") != "" && !off {
			return modeCookie, nil
		}
		return modeToken, nil
	case modeCookie:
		if off {
			return "", holdfast.Errorf(holdfast.InvalidArgument, "Cookies are off, since pages of all origins are allowed; sign in with mode token")
		}
		return modeCookie, nil
	case modeToken:
		return modeToken, nil
	}
	return "", holdfast.Errorf(holdfast.InvalidArgument, "mode must be cookie or token")
}

// entry is a sign-in under way.
type entry struct {
	jar  *cookies
	old  Session // the one that the request's cookie is of, if it is live
	mode mode
}

// enter checks what all ways in have in common, before the form is read: a
// request with our cookies needs a CSRF token, so that no other page can sign
// a browser in as somebody else.
func (h *Handler) enter(c *call) (*entry, error) {
	e := &entry{jar: h.requestCookies(c.r)}
	if !e.jar.any() {
		return e, nil
	}
	var to bound
	if secret, ok := e.jar.session(); ok {
		u, err := h.p.cookieLogin(c.r.Context(), secret)
		switch {
		case err == nil:
			e.old = u.login.Session
			to = boundTo(e.old)
		case !isSignedOut(err):
			return nil, err
		case u.login != nil:
			to.session = u.login.ID // it has ended, and the page does not know yet
		}
	}
	return e, h.wantCSRF(c.w, e.jar, to)
}

// entered answers with a login, as the mode says.
func (h *Handler) entered(c *call, e *entry, l Login) error {
	switch {
	case l.Requires2FA:
		return c.answer(struct {
			Requires2FA bool `json:"requires2fa"`
		}{true})
	case l.VerificationSent:
		return httpjson.Write(c.w, http.StatusAccepted, struct {
			VerificationSent bool `json:"verificationSent"`
		}{true})
	}
	user := l.User.AsUser()
	answer := loginAnswer{User: &user, tokenAnswer: newTokenAnswer(l.AccessToken, l.ExpiresAt), SessionID: l.Session.ID}
	if e.mode == modeToken {
		answer.RefreshToken = l.RefreshToken
		return c.answer(answer)
	}
	ends := h.p.cookieEnds(l.Session)
	e.jar.set(c.w, e.jar.names.session, l.CookieSecret, ends)
	e.jar.set(c.w, e.jar.names.refresh, l.RefreshToken, ends)
	h.sessionCSRF(c.w, e.jar, l.Session)
	if e.old.ID != "" {
		// Nobody has its cookies any more.
		if err := h.p.SignOut(c.r.Context(), e.old.ID); err != nil {
			h.log.ErrorContext(c.r.Context(), "a session that was replaced could not be ended", "session", e.old.ID, "error", err)
		}
	}
	return c.answer(answer)
}

// signUp answers POST /api/auth/sign-up.
func (h *Handler) signUp(c *call) error {
	e, err := h.enter(c)
	if err != nil {
		return err
	}
	var in struct {
		Email    string `json:"email"`
		Password string `json:"password"`
		Name     string `json:"name"`
		Invite   string `json:"invite"`
		Mode     mode   `json:"mode"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if e.mode, err = h.mode(c.r, in.Mode); err != nil {
		return err
	}
	l, err := h.p.SignUp(c.r.Context(), NewUser{Email: in.Email, Password: in.Password, Name: in.Name, Invite: in.Invite}, h.client(c.r))
	if err != nil {
		return err
	}
	return h.entered(c, e, l)
}

// signIn answers POST /api/auth/sign-in.
func (h *Handler) signIn(c *call) error {
	e, err := h.enter(c)
	if err != nil {
		return err
	}
	var in struct {
		Email    string `json:"email"`
		Password string `json:"password"`
		TOTPCode string `json:"totpCode"`
		Mode     mode   `json:"mode"`
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	if e.mode, err = h.mode(c.r, in.Mode); err != nil {
		return err
	}
	l, err := h.p.SignIn(c.r.Context(), SignInRequest{Email: in.Email, Password: in.Password, TOTPCode: in.TOTPCode}, h.client(c.r))
	if err != nil {
		return err
	}
	return h.entered(c, e, l)
}

// signOut answers POST /api/auth/sign-out. A page that is signed out already
// is told that all went well.
func (h *Handler) signOut(c *call) error {
	jar, bearer := h.requestCookies(c.r), bearerSent(c.r)
	who, err := h.caller(c)
	switch {
	case err != nil && (bearer || !isSignedOut(err)):
		return err
	case err == nil:
		other, err := h.otherSession(c, jar, who)
		if err != nil {
			return err
		}
		if err := h.p.SignOut(c.r.Context(), who.session.ID); err != nil {
			return err
		}
		if other {
			return c.done() // the page stays signed in
		}
	}
	if jar.any() {
		h.forget(c, jar)
	}
	return c.done()
}

// otherSession reports whether the request's cookie is of a live session that
// is not the caller's, who has come with a token.
func (h *Handler) otherSession(c *call, jar *cookies, who caller) (bool, error) {
	if who.byCookie {
		return false, nil
	}
	s, _, err := h.cookieSession(c.r.Context(), jar)
	if isSignedOut(err) {
		return false, nil
	}
	return s.ID != who.session.ID, err
}

// forget makes the browser forget the session, and gives the page a CSRF token
// for the next sign-in.
func (h *Handler) forget(c *call, jar *cookies) {
	jar.drop(c.w)
	h.anonymousCSRF(c.w, jar)
}

// refresh answers POST /api/auth/refresh. A token in the body decides; else
// the cookie does, with a CSRF token.
func (h *Handler) refresh(c *call) error {
	var in struct {
		RefreshToken string `json:"refreshToken"`
	}
	if err := c.decodeIfAny(&in); err != nil {
		return err
	}
	token, jar := in.RefreshToken, (*cookies)(nil)
	if token == "" {
		jar = h.requestCookies(c.r)
		var ok bool
		if token, ok = jar.refresh(); !ok {
			return holdfast.Unauthenticated.New()
		}
		s, err := h.p.refreshSession(c.r.Context(), token)
		if err != nil {
			return err
		}
		if err := h.wantCSRF(c.w, jar, boundTo(s)); err != nil {
			return err
		}
	}
	l, err := h.p.Refresh(c.r.Context(), token, h.client(c.r))
	if err != nil {
		return err
	}
	answer := loginAnswer{tokenAnswer: newTokenAnswer(l.AccessToken, l.ExpiresAt), SessionID: l.Session.ID}
	if jar == nil {
		answer.RefreshToken = l.RefreshToken
	} else {
		jar.set(c.w, jar.names.refresh, l.RefreshToken, h.p.cookieEnds(l.Session))
	}
	return c.answer(answer)
}

// realtimeToken answers POST /api/realtime/token: a session cookie's access
// token, to connect with. No CSRF token is asked for, since nothing is changed
// and only an allowed page can read the answer.
func (h *Handler) realtimeToken(c *call) error {
	token, err := auth.FromRequest(c.r).BearerToken()
	if err != nil {
		return err
	}
	if token != "" {
		// A token that could renew itself would be worth as much as a session.
		if _, err := h.p.tokenCaller(c.r.Context(), token); err != nil {
			return err
		}
		return holdfast.Errorf(holdfast.Forbidden, "This call is for the session cookie; who has tokens refreshes them")
	}
	s, _, err := h.cookieSession(c.r.Context(), h.requestCookies(c.r))
	if err != nil {
		return err
	}
	token, expires, err := h.p.AccessToken(c.r.Context(), s.ID)
	if err != nil {
		return err
	}
	return c.answer(newTokenAnswer(token, expires))
}
