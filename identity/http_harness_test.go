package identity

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/holdfast-dev/holdfast"
)

// site is a provider over HTTP. Whatever secret goes through it must not be in
// the log when the test ends, nor in the body of a refusal.
type site struct {
	*harness
	*Handler
	base string

	mu      sync.Mutex // guards secrets
	secrets []string
}

// eachSite runs a test on both databases, and oneSite on SQLite alone; change
// may change the configurations.
func eachSite(t *testing.T, change func(*Config, *HTTPConfig), do func(t *testing.T, s *site)) {
	t.Helper()
	eachDatabase(t, configOf(change), func(t *testing.T, h *harness) { do(t, newSite(t, h, change)) })
}

func oneSite(t *testing.T, change func(*Config, *HTTPConfig), do func(t *testing.T, s *site)) {
	t.Helper()
	cfg := newDatabase(t, "sqlite")
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t, cfg, configOf(change))
		h.open()
		do(t, newSite(t, h, change))
	})
}

func configOf(change func(*Config, *HTTPConfig)) func(*Config) {
	return func(c *Config) {
		if change != nil {
			change(c, &HTTPConfig{})
		}
	}
}

func newSite(t *testing.T, h *harness, change func(*Config, *HTTPConfig)) *site {
	t.Helper()
	cfg := HTTPConfig{CallRate: -1, AttemptRate: -1}
	if change != nil {
		change(&Config{}, &cfg)
	}
	handler, err := NewHandler(h.Provider, cfg)
	noError(t, err)
	s := &site{harness: h, Handler: handler, base: h.cfg.PublicURL, secrets: []string{goodPassword}}
	if cfg.PublicURL != "" {
		s.base = cfg.PublicURL
	}
	if s.base == "" {
		s.base = "http://example.com"
	}
	t.Cleanup(func() {
		log := h.logged()
		for _, secret := range s.known() {
			if strings.Contains(log, secret) {
				t.Errorf("the log has the secret %q:\n%s", secret, log)
			}
		}
	})
	return s
}

// secret notes what nobody may see.
func (s *site) secret(list ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, text := range list {
		if len(text) >= 6 {
			s.secrets = append(s.secrets, text)
		}
	}
}

func (s *site) known() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.secrets)
}

// browser is one with a page of some origin open; without an origin, it is a
// program that keeps cookies.
type browser struct {
	t      *testing.T
	s      *site
	jar    *cookiejar.Jar
	origin string
	csrf   string // sent with every unsafe call, if it is set
	bearer string
	addr   string
}

// browser has a page of the server's own origin open.
func (s *site) browser(t *testing.T) *browser {
	b := s.program(t)
	b.origin = s.base
	return b
}

func (s *site) program(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	noError(t, err)
	return &browser{t: t, s: s, jar: jar, addr: "192.0.2.7:4711"}
}

// copy is another one in the same state.
func (b *browser) copy() *browser {
	c := b.s.program(b.t)
	c.origin, c.csrf, c.bearer, c.addr = b.origin, b.csrf, b.bearer, b.addr
	for _, path := range []string{"/api/auth/refresh", "/"} {
		for _, cookie := range b.jar.Cookies(b.url(path)) {
			cookie.Path, cookie.Secure = "/", b.url("/").Scheme == "https"
			if strings.HasSuffix(cookie.Name, "refresh") {
				cookie.Path = "/api/auth/"
			}
			c.jar.SetCookies(b.url(path), []*http.Cookie{cookie})
		}
	}
	return c
}

func (b *browser) url(path string) *url.URL {
	u, err := url.Parse(b.s.base + path)
	noError(b.t, err)
	return u
}

// cookie returns the value of one, as it would be sent to the refresh call.
func (b *browser) cookie(name string) string {
	for _, c := range b.jar.Cookies(b.url("/api/auth/refresh")) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// put sets a cookie as an attacker might; "" deletes it.
func (b *browser) put(name, value, path string) {
	c := &http.Cookie{Name: name, Value: value, Path: path, Secure: strings.HasPrefix(b.s.base, "https:")}
	if value == "" {
		c.MaxAge = -1
	}
	b.jar.SetCookies(b.url("/api/auth/refresh"), []*http.Cookie{c})
}

// reply is an answer.
type reply struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   []byte
	set    map[string]*http.Cookie
}

// request is a call; headers are pairs, and replace what is there.
func (b *browser) request(method, path, body string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, b.url(path).String(), strings.NewReader(body))
	r.RemoteAddr = b.addr
	if b.s.Handler.cfg.PublicURL != "" || r.URL.Scheme == "http" {
		r.TLS = nil // there is a proxy
	} else {
		r.TLS = &tls.ConnectionState{}
	}
	r.Header.Set("User-Agent", firefox)
	for _, c := range b.jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if b.origin != "" && method != http.MethodGet {
		r.Header.Set("Origin", b.origin)
	}
	if b.csrf != "" && method != http.MethodGet {
		r.Header.Set("X-CSRF-Token", b.csrf)
	}
	if b.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+b.bearer)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if r.Header.Del(headers[i]); headers[i+1] != "" {
			r.Header.Set(headers[i], headers[i+1])
		}
	}
	return r
}

// do makes a call, and keeps the cookies of the answer.
func (b *browser) do(method, path, body string, headers ...string) *reply {
	b.t.Helper()
	return b.send(b.request(method, path, body, headers...))
}

func (b *browser) send(r *http.Request) *reply {
	b.t.Helper()
	rec := httptest.NewRecorder()
	b.s.Handler.ServeHTTP(rec, r)
	res := rec.Result()
	text, err := io.ReadAll(res.Body)
	noError(b.t, err)
	a := &reply{t: b.t, what: r.Method + " " + r.URL.Path, status: res.StatusCode, header: res.Header, body: text, set: make(map[string]*http.Cookie)}
	for _, c := range res.Cookies() {
		if a.set[c.Name] != nil {
			b.t.Errorf("%s sets %s twice", a.what, c.Name)
		}
		a.set[c.Name] = c
		if !strings.HasPrefix(c.Name, "csrf-token") {
			b.s.secret(c.Value)
		}
	}
	b.jar.SetCookies(r.URL, res.Cookies())
	b.s.secret(a.text("accessToken"), a.text("refreshToken"), a.text("secret"))
	a.check(b.s)
	return a
}

// check holds for every answer.
func (a *reply) check(s *site) {
	a.t.Helper()
	if !json.Valid(a.body) || a.header.Get("Content-Type") != "application/json" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		a.t.Errorf("%s: %s %q", a.what, a.header, a.body)
	}
	if cache := a.header.Get("Cache-Control"); cache != "no-store" && !strings.HasSuffix(a.what, "jwks.json") {
		a.t.Errorf("%s: Cache-Control %q", a.what, cache)
	}
	if a.header.Get("Content-Security-Policy") == "" || a.header.Get("X-Frame-Options") != "DENY" || a.header.Get("Referrer-Policy") == "" {
		a.t.Errorf("%s: security headers are missing: %s", a.what, a.header)
	}
	if a.status < 400 {
		return
	}
	for _, secret := range s.known() {
		if bytes.Contains(a.body, []byte(secret)) {
			a.t.Errorf("%s: the refusal tells the secret %q: %s", a.what, secret, a.body)
		}
	}
	if a.text("error") == "" || a.text("code") == "" {
		a.t.Errorf("%s: %d %s", a.what, a.status, a.body)
	}
}

// field returns a field of the body; nil for none.
func (a *reply) field(name string) json.RawMessage {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(a.body, &fields) // null and lists have none
	return fields[name]
}

func (a *reply) text(name string) string {
	var text string
	_ = json.Unmarshal(a.field(name), &text)
	return text
}

// want fails at once unless the call went well.
func (a *reply) want(status int) *reply {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: %d %s, want %d", a.what, a.status, a.body, status)
	}
	return a
}

// refused fails unless the answer has the code and its status; "" for none.
func (a *reply) refused(what string, code holdfast.Code) *reply {
	a.t.Helper()
	status := http.StatusOK
	if code != "" {
		status = code.Info().HTTP
	}
	if a.status != status || a.text("code") != string(code) {
		a.t.Errorf("%s: %s: %d %s, want %q", what, a.what, a.status, a.body, code)
	}
	return a
}

// into decodes the body.
func (a *reply) into(v any) {
	a.t.Helper()
	noError(a.t, json.Unmarshal(a.body, v))
}

// fetchCSRF is what a page does first.
func (b *browser) fetchCSRF() string {
	b.t.Helper()
	b.csrf = b.do("GET", "/api/auth/csrf", "").want(200).text("csrfToken")
	return b.csrf
}

func form(pairs ...string) string {
	fields := make(map[string]string)
	for i := 0; i+1 < len(pairs); i += 2 {
		fields[pairs[i]] = pairs[i+1]
	}
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// signIn signs in with the password, and takes the CSRF token along.
func (b *browser) signIn(email string) *reply {
	b.t.Helper()
	a := b.do("POST", "/api/auth/sign-in", form("email", email, "password", goodPassword)).want(200)
	if token := a.header.Get("X-CSRF-Token"); token != "" {
		b.csrf = token
	}
	return a
}

// signedIn is a browser of a new user that has signed in.
func (s *site) signedIn(t *testing.T, email string) *browser {
	t.Helper()
	s.user(email)
	b := s.browser(t)
	b.signIn(email)
	return b
}

// signedInAs returns whose session the browser has; "" for nobody's.
func (b *browser) signedInAs() string {
	b.t.Helper()
	var answer *struct{ User holdfast.User }
	b.do("GET", "/api/auth/session", "").want(200).into(&answer)
	if answer == nil {
		return ""
	}
	return answer.User.Email
}
