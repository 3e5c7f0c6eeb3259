package identity

import (
	"context"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

func httptestRecorder(s *site, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.Handler.ServeHTTP(w, r)
	return w
}

// alike returns all of an answer that does not differ from call to call.
func (a *reply) alike() string {
	var header strings.Builder
	if err := a.header.Write(&header); err != nil {
		panic(err)
	}
	random := regexp.MustCompile(`"requestId":"[^"]*"|X-Request-Id: \S*|"challenge":"[^"]*"|"id":"[^"]*"`)
	return random.ReplaceAllString(http.StatusText(a.status)+header.String()+string(a.body), "")
}

// Nobody learns from an answer whether an address has an account. The tests of
// the provider show that it takes the same time as well.
func TestHTTPEnumeration(t *testing.T) {
	verify := func(c *Config, _ *HTTPConfig) { c.VerifyEmail = true }
	eachSite(t, verify, func(t *testing.T, s *site) {
		s.user("ann@example.com")
		off := s.user("off@example.com")
		noError(t, s.Disable(t.Context(), off.ID))
		p := s.program(t)
		same := func(what string, replies ...*reply) {
			t.Helper()
			for _, a := range replies[1:] {
				if got, want := a.alike(), replies[0].alike(); got != want {
					t.Errorf("%s:\n%s\nis not\n%s", what, got, want)
				}
			}
		}
		post := func(path string, pairs ...string) *reply {
			return p.do("POST", "/api/auth/"+path, form(pairs...))
		}
		same("sign-in",
			post("sign-in", "email", "ann@example.com", "password", "wrong password").refused("wrong", holdfast.InvalidCredentials),
			post("sign-in", "email", "nobody@example.com", "password", "wrong password"),
			post("sign-in", "email", "off@example.com", "password", goodPassword),
			post("sign-in", "email", "not an address", "password", "wrong password"),
			post("sign-in", "email", "", "password", ""),
			post("sign-in", "password", strings.Repeat("x", 5000)),
		)
		same("sign-up",
			post("sign-up", "email", "new@example.com", "password", goodPassword).want(http.StatusAccepted),
			post("sign-up", "email", "ann@example.com", "password", goodPassword),
		)
		same("reset",
			post("password/reset/request", "email", "ann@example.com").want(200),
			post("password/reset/request", "email", "nobody@example.com"),
			post("password/reset/request", "email", "off@example.com"),
		)
		challenge := func(email string) string {
			return regexp.MustCompile(`Content-Length: \d+`).ReplaceAllString(post("passkeys/challenge", "email", email).want(200).alike(), "")
		}
		if challenge("ann@example.com") != challenge("nobody@example.com") {
			t.Errorf("challenge: %s\n%s", challenge("ann@example.com"), challenge("nobody@example.com"))
		}
		same("passkey",
			p.do("POST", "/api/auth/passkeys/verify", `{"credential":{}}`).refused("rubbish", holdfast.InvalidCredentials),
			p.do("POST", "/api/auth/passkeys/verify", `{}`),
		)
		same("code",
			post("email/verify", "code", "x").refused("rubbish", holdfast.InvalidArgument),
			post("password/reset", "code", strings.Repeat("A", secretLen), "newPassword", goodPassword),
		)
		s.mail()
	})
}

func TestHTTPBodies(t *testing.T) {
	oneSite(t, nil, func(t *testing.T, s *site) {
		s.user("ann@example.com")
		good := form("email", "ann@example.com", "password", goodPassword)
		for what, c := range map[string]struct {
			body, kind string
			code       holdfast.Code
		}{
			"good":           {good, "application/json; charset=utf-8", ""},
			"a form":         {"email=ann%40example.com", "application/x-www-form-urlencoded", holdfast.InvalidArgument},
			"plain text":     {good, "text/plain", holdfast.InvalidArgument},
			"no type":        {good, "", holdfast.InvalidArgument},
			"nothing":        {"", "application/json", holdfast.InvalidArgument},
			"rubbish":        {"{", "application/json", holdfast.InvalidArgument},
			"a list":         {"[" + good + "]", "application/json", holdfast.InvalidArgument},
			"more":           {good + good, "application/json", holdfast.InvalidArgument},
			"duplicates":     {`{"email":"ann@example.com","email":"eve@example.com","password":"x"}`, "application/json", holdfast.InvalidArgument},
			"case":           {`{"email":"ann@example.com","Email":"eve@example.com","password":"x"}`, "application/json", holdfast.InvalidArgument},
			"deep":           {strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), "application/json", holdfast.InvalidArgument},
			"a number":       {`{"email":1,"password":"` + goodPassword + `"}`, "application/json", holdfast.InvalidArgument},
			"too large":      {`{"email":"` + strings.Repeat("x", maxBody) + `"}`, "application/json", holdfast.MessageTooLarge},
			"wrong password": {form("email", "ann@example.com", "password", "canary-of-a-password"), "application/json", holdfast.InvalidCredentials},
		} {
			s.secret("canary-of-a-password")
			s.program(t).do("POST", "/api/auth/sign-in", c.body, "Content-Type", c.kind).refused(what, c.code)
		}
		large := `{"credential":{"id":"` + strings.Repeat("x", maxCredentialBody) + `"}}`
		s.program(t).do("POST", "/api/auth/passkeys/verify", large).refused("a large passkey", holdfast.MessageTooLarge)
		// Calls without a body bound it, too.
		b := s.signedIn(t, "eve@example.com")
		b.do("POST", "/api/realtime/token", strings.Repeat("x", 1<<20), "Content-Type", "text/plain").refused("a body that nobody reads", "")
	})
}

func TestHTTPRates(t *testing.T) {
	rates := func(_ *Config, c *HTTPConfig) {
		c.CallRate, c.AttemptRate, c.TrustedProxies = 10, 0.5, []string{"10.0.0.0/8"}
	}
	oneSite(t, rates, func(t *testing.T, s *site) {
		p := s.program(t)
		limited := func(what, method, path, body string, free int, wait string) {
			t.Helper()
			for i := range free {
				if a := p.do(method, path, body); a.status == 429 {
					t.Fatalf("%s: call %d: %s", what, i, a.body)
				}
			}
			a := p.do(method, path, body).refused(what, holdfast.RateLimited)
			if a.header.Get("Retry-After") != wait || string(a.field("retryAfter")) != wait {
				t.Errorf("%s: Retry-After %q, %s", what, a.header.Get("Retry-After"), a.body)
			}
		}
		limited("attempts", "POST", "/api/auth/email/verify", form("code", "x"), attemptBurst, "2")
		if a := p.do("GET", "/api/auth/csrf", ""); a.status != 200 {
			t.Errorf("another call: %s", a.body)
		}
		after(2 * time.Second)
		p.do("POST", "/api/auth/email/verify", form("code", "x")).refused("one more", holdfast.InvalidArgument)
		after(time.Hour)
		limited("calls", "GET", "/api/auth/session", "", 10*callBurst, "1")
		other := s.program(t)
		other.addr = "192.0.2.8:4711"
		other.do("GET", "/api/auth/session", "").refused("another address", "")

		// Behind a proxy, clients are told apart; by others' headers they are not.
		p.do("GET", "/api/auth/session", "", "X-Forwarded-For", "192.0.2.99").refused("forged", holdfast.RateLimited)
		other.addr = "10.0.0.1:80"
		other.do("GET", "/api/auth/session", "", "X-Forwarded-For", "192.0.2.7").refused("by proxy", holdfast.RateLimited)
		other.do("GET", "/api/auth/session", "", "X-Forwarded-For", "192.0.2.7, 192.0.2.9").refused("by proxy", "")
		// One subscriber has all addresses of a /64.
		other.addr = "[2001:db8::1]:80"
		for range 10 * callBurst {
			other.do("GET", "/api/auth/session", "").want(200)
		}
		other.addr = "[2001:db8::2]:80"
		other.do("GET", "/api/auth/session", "").refused("the same /64", holdfast.RateLimited)
	})
	// Five failures an account, wherever they come from.
	oneSite(t, nil, func(t *testing.T, s *site) {
		s.user("ann@example.com")
		for range freeFailures {
			s.program(t).do("POST", "/api/auth/sign-in", form("email", "ann@example.com", "password", "wrong password")).refused("wrong", holdfast.InvalidCredentials)
		}
		a := s.program(t).do("POST", "/api/auth/sign-in", form("email", "ann@example.com", "password", goodPassword)).refused("the sixth", holdfast.RateLimited)
		if a.header.Get("Retry-After") != "60" {
			t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
		}
	})
}

// What a token may no longer do is asked of the database.
func TestHTTPStaleTokens(t *testing.T) {
	eachSite(t, nil, func(t *testing.T, s *site) {
		ctx := t.Context()
		l := s.newUserLogin("ann@example.com")
		p := s.program(t)
		p.bearer = l.AccessToken
		p.do("GET", "/api/auth/sessions", "").refused("good", "")
		_, err := s.Grant(ctx, l.User.ID, Grants{Roles: []string{"admin"}})
		noError(t, err)
		p.do("GET", "/api/auth/sessions", "").refused("permissions changed", holdfast.PermissionVersionStale)
		p.bearer = p.do("POST", "/api/auth/refresh", form("refreshToken", l.RefreshToken)).want(200).text("accessToken")
		p.do("GET", "/api/auth/sessions", "").refused("refreshed", "")
		p.do("POST", "/api/realtime/token", "").refused("a token makes no token", holdfast.Forbidden)
		id, err := s.Verify(ctx, p.bearer)
		noError(t, err)
		noError(t, s.SaveRevocation(ctx, auth.Revocation{TokenID: id.TokenID, Code: holdfast.SessionRevoked, Before: time.Now(), Until: time.Now().Add(time.Hour)}))
		p.do("GET", "/api/auth/sessions", "").refused("revoked by jti", holdfast.SessionRevoked)
		after(16 * time.Minute)
		p.bearer = l.AccessToken
		a := p.do("GET", "/api/auth/session", "").refused("expired", holdfast.TokenExpired)
		if a.header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
			t.Errorf("WWW-Authenticate %q", a.header.Get("WWW-Authenticate"))
		}
	})
}

// What goes wrong inside is logged and not told.
func TestHTTPInternal(t *testing.T) {
	oneSite(t, nil, func(t *testing.T, s *site) {
		l := s.newUserLogin("ann@example.com")
		_, err := execute(t.Context(), s.db.write, `ALTER TABLE sessions RENAME TO gone`)
		noError(t, err)
		p := s.program(t)
		for _, r := range []*http.Request{
			p.request("GET", "/api/auth/session", "", "Cookie", "__Host-session="+l.CookieSecret),
			p.request("GET", "/api/auth/csrf", "", "Cookie", "__Host-session="+l.CookieSecret),
			p.request("POST", "/api/auth/sign-out", "", "Cookie", "__Host-session="+l.CookieSecret),
			p.request("POST", "/api/auth/sign-in", form("email", "ann@example.com", "password", goodPassword)),
			p.request("POST", "/api/auth/refresh", form("refreshToken", l.RefreshToken)),
		} {
			a := p.send(r).refused("broken", holdfast.Internal)
			if len(a.set) != 0 || strings.Contains(string(a.body), "sessions") || !strings.Contains(s.logged(), a.text("requestId")) {
				t.Errorf("%s: %v %s\n%s", a.what, a.set, a.body, s.logged())
			}
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		p.send(p.request("GET", "/api/auth/session", "", "Cookie", "__Host-session="+l.CookieSecret).WithContext(gone)).refused("left", holdfast.Internal)
	})
}

func TestHTTPConfig(t *testing.T) {
	oneSite(t, nil, func(t *testing.T, s *site) {
		for what, cfg := range map[string]HTTPConfig{
			"prefix":   {Prefix: "api"},
			"pattern":  {Prefix: "/{x}"},
			"URL":      {PublicURL: "example.com"},
			"origin":   {AllowedOrigins: []string{"https://*.example.com"}},
			"null":     {AllowedOrigins: []string{"null"}},
			"proxy":    {TrustedProxies: []string{"everybody"}},
			"SameSite": {SameSite: 17},
		} {
			if _, err := NewHandler(s.Provider, cfg); err == nil {
				t.Errorf("%s: no error", what)
			}
		}
		if _, err := NewHandler(nil, HTTPConfig{}); err == nil {
			t.Error("no provider: no error")
		}
		h, err := NewHandler(s.Provider, HTTPConfig{Prefix: "/v1/"})
		noError(t, err)
		if got := strings.Join(h.Paths(), " "); got != "/v1/auth/ /v1/realtime/token /.well-known/jwks.json" {
			t.Errorf("paths: %s", got)
		}
	})
}
