package identity

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestHTTPCSRFAttacks(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		b, other := s.signedIn(t, "ann@example.com"), s.signedIn(t, "eve@example.com")
		again := s.browser(t)
		again.signIn("ann@example.com")
		stranger := s.browser(t)
		anonymous := stranger.fetchCSRF()
		var answer sessionAnswer
		b.do("GET", "/api/auth/session", "").want(200).into(&answer)
		good := b.csrf
		nonce, sum, _ := strings.Cut(good, ".")
		wrong := map[string]string{
			"missing":                   "",
			"another user's":            other.csrf,
			"another session's":         again.csrf,
			"a stranger's":              anonymous,
			"the session's id":          answer.Session.ID,
			"for the id, but anonymous": s.newCSRF(boundAnonymous, answer.Session.ID),
			"the cookie":                b.cookie("__Host-session"),
			"without a nonce":           "." + sum,
			"without a sum":             nonce + ".",
			"the nonce moved to the id": nonce[:15] + "." + sum,
			"another nonce":             strings.Repeat("A", len(nonce)) + "." + sum,
			"a part":                    good[:len(good)-1],
			"more":                      good + "A",
			"of nobody":                 s.newCSRF(boundSession, ""),
			"of nobody, anonymous":      s.newCSRF(boundAnonymous, ""),
			"a list":                    good + ", " + good,
			"huge":                      strings.Repeat("A.", 1<<13),
		}
		for what, token := range wrong {
			a := b.do("POST", "/api/auth/email/verify/request", "", "X-CSRF-Token", token).refused(what, holdfast.CSRFMismatch)
			if a.header.Get("X-CSRF-Token") == "" || a.set["csrf-token"] == nil {
				t.Errorf("%s: no good token came with the refusal: %s", what, a.header)
			}
		}
		r := b.request("POST", "/api/auth/email/verify/request", "")
		r.Header["X-Csrf-Token"] = []string{good, good}
		b.send(r).refused("twice", holdfast.CSRFMismatch)
		b.do("POST", "/api/auth/email/verify/request", "", "X-CSRF-Token", "", "X-XSRF-Token", good).refused("wrong header", holdfast.CSRFMismatch)
		b.do("POST", "/api/auth/email/verify/request?X-CSRF-Token="+good, "", "X-CSRF-Token", "").refused("in the URL", holdfast.CSRFMismatch)
		b.do("POST", "/api/auth/email/verify/request", "").refused("good", "")
		b.do("POST", "/api/auth/email/verify/request", "").refused("good, again", "")

		// The cookie alone proves nothing, and a planted one neither.
		b.put("csrf-token", other.csrf, "/")
		b.do("POST", "/api/auth/email/verify/request", "", "X-CSRF-Token", other.csrf).refused("planted", holdfast.CSRFMismatch)

		stale := b.copy()
		out := b.do("POST", "/api/auth/sign-out", "").refused("sign-out", "")
		stale.do("POST", "/api/auth/email/verify/request", "").refused("replayed after sign-out", holdfast.SessionRevoked)
		b.do("POST", "/api/auth/sign-in", form("email", "ann@example.com", "password", goodPassword)).refused("replayed in a sign-in", holdfast.CSRFMismatch)
		b.csrf = out.header.Get("X-CSRF-Token")
		b.signIn("ann@example.com")
		b.do("POST", "/api/auth/sign-out", "", "X-CSRF-Token", good).refused("replayed in the next session", holdfast.CSRFMismatch)
		if b.signedInAs() == "" {
			t.Error("a refused sign-out signs out")
		}
	})
}

// Before there is a session, the token is bound to an anonymous cookie, which
// goes on for an hour.
func TestHTTPCSRFBeforeSignIn(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		s.user("ann@example.com")
		in := form("email", "ann@example.com", "password", goodPassword)
		b, stranger := s.browser(t), s.browser(t)
		anonymous, strangers := b.fetchCSRF(), stranger.fetchCSRF()
		if !regexp.MustCompile(`^[A-Za-z0-9_.-]+$`).MatchString(anonymous) {
			t.Errorf("token: %q", anonymous)
		}
		if again := b.fetchCSRF(); again == anonymous {
			t.Error("two tokens are alike")
		}
		for what, token := range map[string]string{"missing": "", "a stranger's": strangers, "the cookie": b.cookie("__Host-csrf-id")} {
			a := b.do("POST", "/api/auth/sign-in", in, "X-CSRF-Token", token).refused(what, holdfast.CSRFMismatch)
			if a.set["__Host-session"] != nil {
				t.Errorf("%s: signed in", what)
			}
		}
		b.do("POST", "/api/auth/sign-up", form("email", "bob@example.com", "password", goodPassword), "X-CSRF-Token", strangers).refused("sign-up", holdfast.CSRFMismatch)
		program := s.program(t)
		program.do("POST", "/api/auth/sign-in", in).refused("no cookies, no token", "")

		b.csrf = anonymous // all that a client has that never fetches another one
		a := b.do("POST", "/api/auth/sign-in", in).refused("sign-in", "")
		bySession := a.header.Get("X-CSRF-Token")
		if bySession == "" || bySession == anonymous || a.set["csrf-token"].Value != bySession || a.set["csrf-token"].HttpOnly {
			t.Errorf("after sign-in: %q %v", bySession, a.set)
		}
		b.do("POST", "/api/auth/email/verify/request", "").refused("the anonymous one after sign-in", "")
		after(anonymousGrace - time.Second)
		b.do("POST", "/api/auth/email/verify/request", "").refused("within the hour", "")
		planted := b.copy()
		planted.put("__Host-csrf-id", "x", "/")
		planted.do("POST", "/api/auth/email/verify/request", "", "X-CSRF-Token", s.newCSRF(boundAnonymous, "x")).refused("an id that is none of ours", holdfast.CSRFMismatch)
		moved := b.copy()
		moved.put("__Host-csrf-id", "", "/")
		moved.do("POST", "/api/auth/email/verify/request", "").refused("without its cookie", holdfast.CSRFMismatch)
		after(time.Second)
		b.do("POST", "/api/auth/email/verify/request", "").refused("after the hour", holdfast.CSRFMismatch)
		b.do("POST", "/api/auth/email/verify/request", "", "X-CSRF-Token", bySession).refused("the session's", "")
		if token := b.fetchCSRF(); !s.goodCSRF(token, boundSession, a.text("sessionId")) {
			t.Error("a token that is fetched later is not the session's")
		}
		b.csrf = bySession
		b.do("POST", "/api/auth/sign-out", "").refused("sign-out", "")
		b.csrf = anonymous
		b.do("POST", "/api/auth/sign-in", in).refused("the next sign-in, without another token", "")
	})
}

// A page whose session has ended elsewhere has the token of that one, and must
// be able to sign in.
func TestHTTPCSRFOfAnEndedSession(t *testing.T) {
	oneSite(t, nil, func(t *testing.T, s *site) {
		in := form("email", "ann@example.com", "password", goodPassword)
		b := s.signedIn(t, "ann@example.com")
		var answer sessionAnswer
		b.do("GET", "/api/auth/session", "").want(200).into(&answer)
		noError(t, s.SignOut(t.Context(), answer.Session.ID))
		b.copy().do("POST", "/api/auth/sign-in", in).refused("the token of the ended session", "")

		// The session is not even known any more.
		_, err := execute(t.Context(), s.db.write, `DELETE FROM sessions`)
		noError(t, err)
		a := b.do("POST", "/api/auth/sign-in", in).refused("of an unknown one", holdfast.CSRFMismatch)
		if b.csrf = a.header.Get("X-CSRF-Token"); b.csrf != b.cookie("csrf-token") {
			t.Errorf("the refusal's token: %q, the cookie %q", b.csrf, b.cookie("csrf-token"))
		}
		b.do("POST", "/api/auth/sign-in", in).refused("with the one that the refusal gave", "")
	})
}

// Which calls need a CSRF token: those whose credential is a cookie.
func TestHTTPCSRFIsAskedFor(t *testing.T) {
	oneSite(t, nil, func(t *testing.T, s *site) {
		exempt := map[string]bool{
			"/realtime/token": true, // the answer can't be read, and nothing is changed
			// Not by cookie at all:
			"/auth/password/reset/request": true, "/auth/password/reset": true, "/auth/email/verify": true, "/auth/passkeys/challenge": true,
		}
		for _, rt := range s.routes() {
			if rt.method == "GET" {
				continue
			}
			b := s.browser(t)
			s.newUserBy(b, rt.path)
			path := "/api" + strings.ReplaceAll(rt.path, "{id}", "x")
			a := b.do(rt.method, path, "{}", "X-CSRF-Token", "")
			if (a.text("code") == string(holdfast.CSRFMismatch)) == exempt[rt.path] {
				t.Errorf("%s: %d %s", a.what, a.status, a.body)
			}
			if a = b.do(rt.method, path, "{}"); a.text("code") == string(holdfast.CSRFMismatch) {
				t.Errorf("%s, with its token: %s", a.what, a.body)
			}
		}
	})
}

// newUserBy signs a new user in.
func (s *site) newUserBy(b *browser, seed string) {
	email := strings.NewReplacer("/", "-", "{", "", "}", "").Replace(strings.Trim(seed, "/")) + "@example.com"
	s.user(email)
	b.signIn(email)
}
