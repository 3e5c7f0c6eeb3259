package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
)

const (
	csrfHeader = "X-CSRF-Token"
	// anonymousGrace is how long after a sign-in the token from before it is
	// good: some clients fetch one only once.
	anonymousGrace = time.Hour
	csrfNonce      = 12 // bytes
)

// csrfBound says what a CSRF token is bound to. It is part of what is signed.
type csrfBound byte

const (
	boundSession   csrfBound = 's' // a session's id
	boundAnonymous csrfBound = 'a' // the value of the csrf-id cookie
)

// newCSRF makes a token: a nonce, so that no two are alike and nothing can be
// learned from how an answer compresses, and an HMAC over it and the id.
func (h *Handler) newCSRF(to csrfBound, id string) string {
	nonce := make([]byte, csrfNonce)
	_, _ = rand.Read(nonce) // never fails
	text := base64.RawURLEncoding.EncodeToString(nonce)
	return text + "." + h.signCSRF(to, id, text)
}

func (h *Handler) signCSRF(to csrfBound, id, nonce string) string {
	mac := hmac.New(sha256.New, h.csrfKey)
	mac.Write([]byte{byte(to)})
	mac.Write([]byte(nonce + "." + id))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// goodCSRF compares in constant time. A nonce has one length, so that it can't
// run into the id.
func (h *Handler) goodCSRF(token string, to csrfBound, id string) bool {
	nonce, sum, ok := strings.Cut(token, ".")
	if !ok || id == "" || len(nonce) != base64.RawURLEncoding.EncodedLen(csrfNonce) {
		return false
	}
	return hmac.Equal([]byte(sum), []byte(h.signCSRF(to, id, nonce)))
}

// bound is what the CSRF tokens of a request are good for.
type bound struct {
	session string    // its id; "" for none
	created time.Time // the session; zero if it is not live
}

func boundTo(s Session) bound { return bound{s.ID, s.Created} }

// checkCSRF wants the header X-CSRF-Token with a token of the session, or of
// the anonymous cookie while no session is live, and for a while afterwards.
func (h *Handler) checkCSRF(c *cookies, to bound) error {
	tokens := c.header[http.CanonicalHeaderKey(csrfHeader)]
	if len(tokens) != 1 {
		return holdfast.CSRFMismatch.New()
	}
	if h.goodCSRF(tokens[0], boundSession, to.session) {
		return nil
	}
	early := to.created.IsZero() || time.Since(to.created) < anonymousGrace
	if early && h.goodCSRF(tokens[0], boundAnonymous, c.anonymousID()) {
		return nil
	}
	return holdfast.CSRFMismatch.New()
}

// wantCSRF is checkCSRF, and with a refusal it gives the page a good token: a
// client that goes by its cookie would never get out of it otherwise.
func (h *Handler) wantCSRF(w http.ResponseWriter, c *cookies, to bound) error {
	err := h.checkCSRF(c, to)
	switch {
	case err == nil:
	case to.created.IsZero():
		h.anonymousCSRF(w, c)
	default:
		h.sessionCSRF(w, c, Session{ID: to.session, Created: to.created})
	}
	return err
}

// sessionCSRF gives the page a token that is bound to its session.
func (h *Handler) sessionCSRF(w http.ResponseWriter, c *cookies, s Session) string {
	return giveCSRF(w, c, h.newCSRF(boundSession, s.ID), h.p.cookieEnds(s))
}

// anonymousCSRF gives the page a token that is bound to the cookie csrf-id,
// which it sets where there is none.
func (h *Handler) anonymousCSRF(w http.ResponseWriter, c *cookies) string {
	id := c.anonymousID()
	if id == "" {
		id = newSecret()
		c.set(w, c.names.csrfID, id, time.Time{})
	}
	return giveCSRF(w, c, h.newCSRF(boundAnonymous, id), time.Time{})
}

func giveCSRF(w http.ResponseWriter, c *cookies, token string, ends time.Time) string {
	c.set(w, c.names.csrfToken, token, ends)
	w.Header().Set(csrfHeader, token)
	return token
}

// csrf answers GET /api/auth/csrf.
func (h *Handler) csrf(c *call) error {
	jar := h.requestCookies(c.r)
	var token string
	if jar == nil {
		// Nothing will ask for it, but pages need not know that.
		token = h.newCSRF(boundAnonymous, newSecret())
		c.w.Header().Set(csrfHeader, token)
	} else {
		s, _, err := h.cookieSession(c.r.Context(), jar)
		switch {
		case err == nil:
			token = h.sessionCSRF(c.w, jar, s)
		case isSignedOut(err):
			token = h.anonymousCSRF(c.w, jar)
		default:
			return err
		}
	}
	return c.answer(struct {
		CSRFToken string `json:"csrfToken"`
	}{token})
}
