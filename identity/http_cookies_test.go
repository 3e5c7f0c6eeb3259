package identity

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

func TestHTTPCookieAttributes(t *testing.T) {
	const proxy = "10.1.2.3:4711"
	secureNames := []string{"__Host-session", "__Secure-refresh", "__Host-csrf-id", "csrf-token"}
	plainNames := []string{"session", "refresh", "csrf-id", "csrf-token"}
	for name, c := range map[string]struct {
		public   string
		sameSite http.SameSite
		addr     string
		tls      bool
		proto    string // X-Forwarded-Proto
		names    []string
		secure   bool
	}{
		"https":                        {public: "https://example.com", names: secureNames, secure: true},
		"https, behind plain http":     {public: "HTTPS://example.com", names: secureNames, secure: true, proto: "http", addr: proxy},
		"http":                         {public: "http://example.com", names: plainNames},
		"http, whatever a header says": {public: "http://example.com", names: plainNames, proto: "https", addr: proxy},
		"no URL":                       {names: plainNames},
		"no URL, TLS":                  {names: secureNames, secure: true, tls: true},
		"no URL, trusted proxy":        {names: secureNames, secure: true, proto: "https", addr: proxy},
		"no URL, any proxy":            {names: plainNames, proto: "https"},
		"strict":                       {public: "https://example.com", sameSite: http.SameSiteStrictMode, names: secureNames, secure: true},
		"none":                         {public: "https://example.com", sameSite: http.SameSiteNoneMode, names: secureNames, secure: true},
		"none forces Secure":           {public: "http://example.com", sameSite: http.SameSiteNoneMode, names: plainNames, secure: true},
	} {
		t.Run(name, func(t *testing.T) {
			change := func(p *Config, h *HTTPConfig) {
				p.PublicURL = c.public
				h.SameSite, h.TrustedProxies = c.sameSite, []string{"10.0.0.0/8"}
			}
			oneSite(t, change, func(t *testing.T, s *site) {
				s.user("ann@example.com")
				b := s.program(t)
				if c.addr != "" {
					b.addr = c.addr
				}
				send := func(method, path, body string) *reply {
					r := b.request(method, path, body, "X-Forwarded-Proto", c.proto)
					if r.TLS = nil; c.tls {
						r.TLS = &tls.ConnectionState{}
					}
					return b.send(r).want(200)
				}
				set := send("GET", "/api/auth/csrf", "").set
				b = s.program(t)
				if c.addr != "" {
					b.addr = c.addr
				}
				for name, cookie := range send("POST", "/api/auth/sign-in", form("email", "ann@example.com", "password", goodPassword, "mode", "cookie")).set {
					set[name] = cookie
				}
				if len(set) != len(c.names) {
					t.Errorf("cookies: %v", set)
				}
				sameSite := c.sameSite
				if sameSite == 0 {
					sameSite = http.SameSiteLaxMode
				}
				for i, name := range c.names {
					cookie := set[name]
					if cookie == nil {
						t.Fatalf("no cookie %s: %v", name, set)
					}
					path, hidden, age := "/", name != "csrf-token", int(DefaultRefreshTotal/time.Second)
					switch i {
					case 1:
						path = "/api/auth/"
					case 2:
						age = 0
					}
					if cookie.Path != path || cookie.HttpOnly != hidden || cookie.Secure != c.secure || cookie.SameSite != sameSite || cookie.Domain != "" || cookie.MaxAge != age {
						t.Errorf("%s: %+v", name, cookie)
					}
				}
			})
		})
	}
}

func TestHTTPCookieAttacks(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		l, eve := s.newUserLogin("ann@example.com"), s.newUserLogin("eve@example.com")
		ended, old := s.harness.signIn("ann@example.com"), s.newUserLogin("old@example.com")
		noError(t, s.SignOut(t.Context(), ended.Session.ID))
		noError(t, s.Disable(t.Context(), old.User.ID))
		const good = "__Host-session="
		for what, c := range map[string]struct {
			cookie, bearer string
			code           holdfast.Code
		}{
			"good":                          {good + l.CookieSecret, "", ""},
			"none":                          {"", "", holdfast.Unauthenticated},
			"the bare name":                 {"session=" + l.CookieSecret, "", holdfast.Unauthenticated},
			"the bare name besides":         {"session=" + l.CookieSecret + "; " + good + eve.CookieSecret, "", ""},
			"another prefix":                {"__Secure-session=" + l.CookieSecret, "", holdfast.Unauthenticated},
			"another case":                  {"__host-session=" + l.CookieSecret, "", holdfast.Unauthenticated},
			"the session's id":              {good + l.Session.ID, "", holdfast.Unauthenticated},
			"the access token":              {good + l.AccessToken, "", holdfast.Unauthenticated},
			"the refresh token":             {good + l.RefreshToken, "", holdfast.Unauthenticated},
			"a part":                        {good + l.CookieSecret[1:], "", holdfast.Unauthenticated},
			"more":                          {good + l.CookieSecret + "A", "", holdfast.Unauthenticated},
			"empty":                         {good, "", holdfast.Unauthenticated},
			"huge":                          {good + strings.Repeat("A", 1<<14), "", holdfast.Unauthenticated},
			"SQL":                           {good + "x'OR'1'='1", "", holdfast.Unauthenticated},
			"twice":                         {good + l.CookieSecret + "; " + good + l.CookieSecret, "", holdfast.Unauthenticated},
			"two":                           {good + eve.CookieSecret + "; " + good + l.CookieSecret, "", holdfast.Unauthenticated},
			"revoked":                       {good + ended.CookieSecret, "", holdfast.SessionRevoked},
			"disabled":                      {good + old.CookieSecret, "", holdfast.SessionRevoked},
			"a bad token is first":          {good + l.CookieSecret, "x.y.z", holdfast.Unauthenticated},
			"an ended session's token":      {good + l.CookieSecret, ended.AccessToken, holdfast.SessionRevoked},
			"a cookie's secret as a token":  {"", l.CookieSecret, holdfast.Unauthenticated},
			"a refresh token as a token":    {"", l.RefreshToken, holdfast.Unauthenticated},
			"a good token and a bad cookie": {good + "bad", l.AccessToken, ""},
		} {
			b := s.program(t)
			b.bearer = c.bearer
			b.do("GET", "/api/auth/sessions", "", "Cookie", c.cookie).refused(what, c.code)
		}
		b := s.program(t)
		b.bearer = l.AccessToken
		var answer sessionAnswer
		b.do("GET", "/api/auth/session", "", "Cookie", good+eve.CookieSecret).want(200).into(&answer)
		if answer.User.ID != l.User.ID {
			t.Error("the cookie is before the token")
		}
		b = s.program(t)
		b.do("GET", "/api/auth/sessions", "", "Authorization", "Basic YTpi", "Cookie", good+l.CookieSecret).refused("another scheme is no token", "")

		for what, cookie := range map[string]string{
			"the bare name":  "refresh=" + l.RefreshToken,
			"in the session": good + l.RefreshToken,
			"the session's":  "__Secure-refresh=" + l.CookieSecret,
			"the id":         "__Secure-refresh=" + l.Session.ID,
			"twice":          "__Secure-refresh=" + l.RefreshToken + "; __Secure-refresh=" + l.RefreshToken,
		} {
			b.do("POST", "/api/auth/refresh", "", "Cookie", cookie, "X-CSRF-Token", s.newCSRF(boundSession, l.Session.ID)).refused("refresh: "+what, holdfast.Unauthenticated)
		}

		after(DefaultRefreshIdle + time.Second)
		s.program(t).do("GET", "/api/auth/sessions", "", "Cookie", good+l.CookieSecret).refused("expired", holdfast.Unauthenticated)
	})
}

// newUserLogin makes a user and signs him in; his secrets are known to the
// site.
func (s *site) newUserLogin(email string) Login {
	s.t.Helper()
	s.user(email)
	l := s.harness.signIn(email)
	s.secret(l.AccessToken, l.RefreshToken, l.CookieSecret)
	return l
}

// A page that goes on in a path of its own gets the session, and not the
// refresh token.
func TestHTTPRefreshCookiePath(t *testing.T) {
	oneSite(t, nil, func(t *testing.T, s *site) {
		b := s.signedIn(t, "ann@example.com")
		for path, want := range map[string]bool{"/api/auth/refresh": true, "/api/realtime/token": false, "/": false, "/api/authors": false} {
			header := b.request("GET", path, "").Header.Get("Cookie")
			if strings.Contains(header, "refresh=") != want || !strings.Contains(header, "session=") {
				t.Errorf("%s: %s", path, header)
			}
		}
	})
}

// A new sign-in has new secrets, and the session that it replaces has ended.
func TestHTTPSignInAgain(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		b := s.signedIn(t, "ann@example.com")
		s.user("eve@example.com")
		old := b.copy()
		b.signIn("eve@example.com")
		if b.signedInAs() != "eve@example.com" || b.cookie("__Host-session") == old.cookie("__Host-session") || b.cookie("__Secure-refresh") == old.cookie("__Secure-refresh") {
			t.Error("not a new session")
		}
		old.do("GET", "/api/auth/sessions", "").refused("the one before", holdfast.SessionRevoked)
		// Not so a session that did not come along, nor one of a failed sign-in.
		other := s.browser(t)
		other.signIn("eve@example.com")
		other.do("POST", "/api/auth/sign-in", form("email", "eve@example.com", "password", "wrong password")).refused("wrong", holdfast.InvalidCredentials)
		if b.signedInAs() == "" || other.signedInAs() == "" {
			t.Error("another session has ended")
		}
	})
}

// A sign-out by token ends the token's session, and leaves a page signed in
// that has another one.
func TestHTTPSignOutByToken(t *testing.T) {
	oneSite(t, nil, func(t *testing.T, s *site) {
		b := s.signedIn(t, "ann@example.com")
		l := s.newUserLogin("eve@example.com")
		if a := b.do("POST", "/api/auth/sign-out", "", "Authorization", "Bearer "+l.AccessToken, "X-CSRF-Token", "").want(200); len(a.set) != 0 || b.signedInAs() != "ann@example.com" {
			t.Errorf("another session's token: %v", a.set)
		}
		b.do("POST", "/api/auth/sign-out", "", "Authorization", "Bearer "+l.AccessToken).refused("a bad token is not replaced", holdfast.SessionRevoked)
		own := b.do("POST", "/api/realtime/token", "").want(200).text("accessToken")
		if a := b.do("POST", "/api/auth/sign-out", "", "Authorization", "Bearer "+own, "X-CSRF-Token", "").want(200); len(a.set) == 0 || b.signedInAs() != "" {
			t.Errorf("its own: %v", a.set)
		}
	})
}

// What a Socket.IO or WebSocket handshake is admitted by.
func TestHandlerAuthenticate(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		ctx := t.Context()
		l, eve := s.newUserLogin("ann@example.com"), s.newUserLogin("eve@example.com")
		header := func(pairs ...string) http.Header {
			h := make(http.Header)
			for i := 0; i+1 < len(pairs); i += 2 {
				h.Set(pairs[i], pairs[i+1])
			}
			return h
		}
		cookie := "csrf-token=x; __Host-session=" + l.CookieSecret
		payload := []byte(`{"token":"` + eve.AccessToken + `"}`)
		csrf := s.newCSRF(boundSession, l.Session.ID)
		for what, c := range map[string]struct {
			credential auth.Credential
			user       string
			code       holdfast.Code
		}{
			"cookie":                      {auth.Credential{Header: header("Cookie", cookie)}, l.User.ID, ""},
			"a payload without a token":   {auth.Credential{Header: header("Cookie", cookie), Payload: []byte(`{}`)}, l.User.ID, ""},
			"payload first":               {auth.Credential{Header: header("Cookie", cookie), Payload: payload}, eve.User.ID, ""},
			"header first":                {auth.Credential{Header: header("Cookie", cookie, "Authorization", "Bearer "+eve.AccessToken)}, eve.User.ID, ""},
			"a bad payload is first":      {auth.Credential{Header: header("Cookie", cookie), Payload: []byte(`{"token":"bad"}`)}, "", holdfast.Unauthenticated},
			"a bad header is first":       {auth.Credential{Header: header("Cookie", cookie, "Authorization", "Bearer bad")}, "", holdfast.Unauthenticated},
			"bare name":                   {auth.Credential{Header: header("Cookie", "session="+l.CookieSecret)}, "", holdfast.Unauthenticated},
			"the id":                      {auth.Credential{Header: header("Cookie", "__Host-session="+l.Session.ID)}, "", holdfast.Unauthenticated},
			"nothing":                     {auth.Credential{}, "", holdfast.Unauthenticated},
			"a GET":                       {auth.Credential{Header: header("Cookie", cookie), Method: "GET"}, l.User.ID, ""},
			"a POST":                      {auth.Credential{Header: header("Cookie", cookie), Method: "POST"}, "", holdfast.CSRFMismatch},
			"a POST with a CSRF token":    {auth.Credential{Header: header("Cookie", cookie, "X-CSRF-Token", csrf), Method: "POST"}, l.User.ID, ""},
			"a POST with another's":       {auth.Credential{Header: header("Cookie", cookie, "X-CSRF-Token", s.newCSRF(boundSession, eve.Session.ID)), Method: "POST"}, "", holdfast.CSRFMismatch},
			"a POST with an access token": {auth.Credential{Header: header("Cookie", cookie, "Authorization", "Bearer "+eve.AccessToken), Method: "POST"}, eve.User.ID, ""},
		} {
			id, err := s.Handler.Authenticate(ctx, c.credential)
			wantCode(t, what, err, c.code)
			if err == nil && id.User != c.user {
				t.Errorf("%s: %+v", what, id)
			}
		}
		id, err := s.Handler.Authenticate(ctx, auth.Credential{Header: header("Cookie", cookie)})
		noError(t, err)
		if id.Session != l.Session.ID || !id.Expires.Equal(l.Session.Expires) || id.Name != "Ann" || !id.Permissions.Room("any").Has(holdfast.VerbPublish) {
			t.Errorf("identity: %+v", id)
		}
		noError(t, s.SignOut(ctx, l.Session.ID))
		_, err = s.Handler.Authenticate(ctx, auth.Credential{Header: header("Cookie", cookie)})
		wantCode(t, "signed out", err, holdfast.SessionRevoked)
	})
	noURL := func(c *Config, _ *HTTPConfig) { c.PublicURL = "" }
	oneSite(t, noURL, func(t *testing.T, s *site) {
		l := s.newUserLogin("ann@example.com")
		for _, secure := range []bool{false, true} {
			for name, ok := range map[string]bool{"session": !secure, "__Host-session": secure} {
				c := auth.Credential{Header: http.Header{"Cookie": {name + "=" + l.CookieSecret}}, TLS: secure}
				if _, err := s.Handler.Authenticate(t.Context(), c); (err == nil) != ok {
					t.Errorf("%s, TLS %v: %v", name, secure, err)
				}
			}
		}
	})
}
