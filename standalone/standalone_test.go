package standalone

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/server"
)

func TestMain(m *testing.M) {
	if os.Getenv(crashEnv) != "" {
		os.Exit(serveForEver())
	}
	goleak.VerifyTestMain(m)
}

// accounts is a configuration with accounts in SQLite.
func accounts(t *testing.T) Config {
	cfg := Config{Identity: &identity.Config{
		Dir: t.TempDir(), SignUp: identity.SignUpOpen, Argon2: identity.Argon2{Memory: 64, Time: 1, Threads: 1},
	}}
	cfg.Logger = slog.New(slog.DiscardHandler)
	return cfg
}

func start(t *testing.T, cfg Config) *Standalone {
	t.Helper()
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
	return s
}

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func TestNewRefuses(t *testing.T) {
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"nothing to verify by": {func(c *Config) { c.Identity = nil }, "Authenticator is required"},
		"API keys made before": {func(c *Config) { c.APIKeys = keys }, "Config.Keys"},
		"bad API keys":         {func(c *Config) { c.Keys.Keys = []auth.APIKey{{}} }, "needs an id"},
		"long tokens":          {func(c *Config) { c.MaxTokenLifetime = time.Minute }, "longer than MaxTokenLifetime"},
		"long tokens, said so": {func(c *Config) { c.MaxTokenLifetime, c.Identity.AccessTokenLifetime = time.Hour, 2*time.Hour }, "longer than MaxTokenLifetime"},
		"bad accounts":         {func(c *Config) { c.Identity.Dir = "" }, "Dir is not set"},
		"bad routes":           {func(c *Config) { c.AccountHTTP.SameSite = 77 }, "SameSite"},
		"bad server":           {func(c *Config) { c.TrustedProxies = []string{"x"} }, "trusted proxy"},
		"bad path":             {func(c *Config) { c.Path = "x" }, "Config.Path"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := accounts(t)
			c.change(&cfg)
			s, err := New(t.Context(), cfg)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want something about %q", err, c.want)
			}
			if s != nil {
				t.Error("there is a Standalone all the same")
			}
		})
	}
}

func TestWithoutAccounts(t *testing.T) {
	cfg := Config{}
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Authenticator = auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
		return &holdfast.Identity{User: "ann"}, nil
	})
	s := start(t, cfg)
	if s.Accounts() != nil {
		t.Error("there are accounts")
	}
	for path, want := range map[string]int{"/readyz": 200, "/healthz": 200, "/api/auth/csrf": 404, "/.well-known/jwks.json": 404} {
		if got := get(s, path).Code; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

// Paths may be others.
func TestOtherPaths(t *testing.T) {
	cfg := accounts(t)
	cfg.Path, cfg.PlainPath, cfg.Prefix = "/sio/", "/socket", "/rt"
	s := start(t, cfg)
	for path, want := range map[string]int{"/readyz": 200, "/rt/auth/csrf": 200, "/api/auth/csrf": 404, "/sio/": 400, "/sio": 400, "/socket.io/": 404} {
		if got := get(s, path).Code; got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

// Whoever else wants to know is told, too.
func TestCallbacks(t *testing.T) {
	cfg := accounts(t)
	cfg.Identity.WatchInterval = -1
	var revoked []auth.Revocation
	var bumped []auth.Bump
	cfg.Identity.OnRevoke = func(r auth.Revocation) { revoked = append(revoked, r) }
	cfg.Identity.OnBump = func(b auth.Bump) { bumped = append(bumped, b) }
	s := start(t, cfg)
	login, err := s.Accounts().SignUp(t.Context(), identity.NewUser{Email: "ann@example.com", Password: "correct horse battery"}, identity.Client{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accounts().Grant(t.Context(), login.User.ID, identity.Grants{Roles: []string{"admin"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Accounts().SignOut(t.Context(), login.Session.ID); err != nil {
		t.Fatal(err)
	}
	if len(revoked) != 1 || revoked[0].Session != login.Session.ID || len(bumped) != 1 || bumped[0].User != login.User.ID {
		t.Errorf("revoked %v, bumped %v", revoked, bumped)
	}
}

// What is told before there is a server waits for it, and for nothing else if
// there will be none.
func TestCallbacksWait(t *testing.T) {
	s := &Standalone{}
	served, told := make(chan struct{}), make(chan auth.Revocation, 1)
	own := identity.Config{OnRevoke: func(r auth.Revocation) { told <- r }}
	s.follow(&own, served)
	done := make(chan struct{})
	go func() {
		defer close(done)
		own.OnRevoke(auth.Revocation{Session: "x"})
		own.OnBump(auth.Bump{User: "ann"})
	}()
	select {
	case r := <-told:
		t.Errorf("%v was told at once", r)
	default:
	}
	close(served)
	<-done
	if r := <-told; r.Session != "x" {
		t.Errorf("told %v", r)
	}
}

func TestReload(t *testing.T) {
	cfg := accounts(t)
	s := start(t, cfg)
	login, err := s.Accounts().SignUp(t.Context(), identity.NewUser{Email: "ann@example.com", Password: "correct horse battery"}, identity.Client{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Accounts().Grant(t.Context(), login.User.ID, identity.Grants{Roles: []string{"admin"}}); err != nil {
		t.Fatal(err)
	}
	a := &admission{accounts: s.accounts, issuer: "holdfast"}
	fresh, err := a.Reload(t.Context(), &holdfast.Identity{User: login.User.ID, Issuer: "holdfast"})
	if err != nil || len(fresh.Roles) != 1 {
		t.Errorf("%+v, %v", fresh, err)
	}
	elsewhere := &holdfast.Identity{User: login.User.ID, Issuer: "https://login.example.com"}
	if same, err := a.Reload(t.Context(), elsewhere); same != elsewhere || err != nil {
		t.Errorf("%+v, %v", same, err)
	}
	a.other = reloader{}
	if _, err := a.Reload(t.Context(), elsewhere); !errors.Is(err, holdfast.GoingAway) {
		t.Errorf("the other one was not asked: %v", err)
	}
}

// reloader is an Authenticator from elsewhere that knows of changes.
type reloader struct{ auth.Func }

var _ server.Reloader = reloader{}

func (reloader) Reload(context.Context, *holdfast.Identity) (*holdfast.Identity, error) {
	return nil, holdfast.GoingAway.New()
}

// TestRouting has every kind of credential go to who is to judge it.
func TestRouting(t *testing.T) {
	asked := false
	cfg := accounts(t)
	cfg.Authenticator = auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
		asked = true
		return &holdfast.Identity{User: "bob"}, nil
	})
	s := start(t, cfg)
	mint := func(issuer string) string {
		token, err := auth.Mint(auth.SigningKey{Secret: []byte(strings.Repeat("x", 32))},
			auth.Claims{User: "eve", Issuer: issuer, IssuedAt: time.Now(), Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	a := &admission{accounts: s.accounts, handler: s.handler, issuer: "holdfast", other: cfg.Authenticator}
	cookie := func(text string) auth.Credential { return auth.Credential{Header: http.Header{"Cookie": {text}}} }
	for name, c := range map[string]struct {
		credential auth.Credential
		elsewhere  bool
	}{
		"token of the accounts":      {auth.Credential{Token: mint("holdfast")}, false},
		"token of another issuer":    {auth.Credential{Token: mint("https://login.example.com")}, true},
		"token of no issuer":         {auth.Credential{Token: mint("")}, true},
		"opaque token":               {auth.Credential{Token: "opaque"}, true},
		"token in the payload":       {auth.Credential{Payload: []byte(`{"token":"` + mint("holdfast") + `"}`)}, false},
		"session cookie":             {cookie("session=x"), false},
		"session cookie of https":    {cookie("__Host-session=x"), false},
		"cookie of another":          {cookie("better-auth.session_token=x"), true},
		"nothing":                    {auth.Credential{}, true},
		"another token and a cookie": {auth.Credential{Token: "opaque", Header: http.Header{"Cookie": {"session=x"}}}, true},
		"own token and a cookie":     {auth.Credential{Token: mint("holdfast"), Header: http.Header{"Cookie": {"better=x"}}}, false},
	} {
		asked = false
		_, err := a.Authenticate(t.Context(), c.credential)
		if asked != c.elsewhere {
			t.Errorf("%s: asked elsewhere: %t, want %t", name, asked, c.elsewhere)
		}
		if !c.elsewhere && !errors.Is(err, holdfast.Unauthenticated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.Authenticate(t.Context(), auth.Credential{Payload: []byte(`{"token":7}`)}); !errors.Is(err, holdfast.Unauthenticated) {
		t.Errorf("a malformed credential: %v", err)
	}
}

// Sessions from elsewhere are exchanged beside those of the accounts.
func TestExchange(t *testing.T) {
	cfg := accounts(t)
	exchange, err := auth.NewExchange(auth.ExchangeConfig{
		Session: auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
			return &holdfast.Identity{User: "bob"}, nil
		}),
		Key: auth.SigningKey{Secret: []byte(strings.Repeat("x", 32))},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Exchange = exchange
	s := start(t, cfg)
	for cookie, want := range map[string]int{"session=x": 401, "better-auth.session_token=x": 200} {
		r := httptest.NewRequest(http.MethodPost, "/api/realtime/token", nil)
		r.Header.Set("Cookie", cookie)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d %s, want %d", cookie, w.Code, w.Body, want)
		}
	}
}

func TestFirstFound(t *testing.T) {
	finds := func(id string, err error) lookup {
		return func(_ context.Context, want string) (*auth.APIKey, error) {
			if err != nil || want != id {
				return nil, err
			}
			return &auth.APIKey{ID: id}, nil
		}
	}
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		find lookup
		id   string
		want string
		err  error
	}{
		"own":            {firstFound(finds("a", nil), nil), "a", "a", nil},
		"none":           {firstFound(finds("a", nil), nil), "b", "", nil},
		"other":          {firstFound(finds("a", nil), finds("b", nil)), "b", "b", nil},
		"neither":        {firstFound(finds("a", nil), finds("b", nil)), "c", "", nil},
		"own is broken":  {firstFound(finds("a", broken), finds("b", nil)), "b", "", broken},
		"other's broken": {firstFound(finds("a", nil), finds("b", broken)), "b", "", broken},
	} {
		key, err := c.find(t.Context(), c.id)
		got := ""
		if key != nil {
			got = key.ID
		}
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// Shutdown waits for the calls that are being answered, and lets none begin.
func TestShutdownWaitsForCalls(t *testing.T) {
	s, err := New(t.Context(), accounts(t))
	if err != nil {
		t.Fatal(err)
	}
	began := make(chan struct{})
	body, write := io.Pipe()
	answered := make(chan int, 1)
	go func() {
		r := httptest.NewRequest(http.MethodPost, "/api/auth/sign-up", &reporting{r: body, began: began})
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		answered <- w.Code
	}()
	<-began
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(context.Background()) }()
	for get(s, "/api/auth/csrf").Code != http.StatusServiceUnavailable { // until Shutdown has begun
	}
	if got := get(s, "/healthz").Code; got != http.StatusOK {
		t.Errorf("/healthz: %d", got)
	}
	select {
	case err := <-ended:
		t.Errorf("Shutdown did not wait: %v", err)
	default:
	}
	_, _ = io.WriteString(write, `{"email":"ann@example.com","password":"correct horse battery"}`)
	write.Close()
	if got := <-answered; got != http.StatusOK {
		t.Errorf("the call that was under way was answered %d", got)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := get(s, "/readyz").Code; got != http.StatusServiceUnavailable {
		t.Errorf("/readyz: %d", got)
	}
}

// reporting tells when it is read for the first time.
type reporting struct {
	r     io.Reader
	began chan struct{}
	told  bool
}

func (r *reporting) Read(p []byte) (int, error) {
	if !r.told {
		r.told = true
		close(r.began)
	}
	return r.r.Read(p)
}

func TestShutdownIsCutOff(t *testing.T) {
	s, err := New(t.Context(), accounts(t))
	if err != nil {
		t.Fatal(err)
	}
	if !s.requests.begin() {
		t.Fatal("no call may begin")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	s.requests.end()
}

func TestNotReady(t *testing.T) {
	s, err := New(t.Context(), accounts(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.accounts.Close(); err != nil {
		t.Fatal(err)
	}
	if got := get(s, "/readyz").Code; got != http.StatusServiceUnavailable {
		t.Errorf("/readyz without a database: %d", got)
	}
	if err := s.Server.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// Streams and polls that wait do not hold up Shutdown: they are told.
func TestShutdownWithListeners(t *testing.T) {
	cfg := accounts(t)
	cfg.Authenticator = auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
		return &holdfast.Identity{User: "alice", Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("**")}}, nil
	})
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	site := httptest.NewServer(s)
	defer site.Close()
	first := get(s, "/poll?room=r").Body.String()
	_, cursor, _ := strings.Cut(first, `"cursor":"`)
	cursor, _, _ = strings.Cut(cursor, `"`)
	stream, err := http.Get(site.URL + "/events?room=r")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	polled := make(chan string, 1)
	go func() { polled <- get(s, "/poll?room=r&since="+cursor).Body.String() }()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	text, err := io.ReadAll(stream.Body)
	if err != nil || !strings.Contains(string(text), "event: auth_closing\ndata: {\"type\":\"auth_closing\",\"code\":\"GOING_AWAY\"") {
		t.Errorf("%s %v", text, err)
	}
	if text := <-polled; !strings.Contains(text, `"code":"GOING_AWAY"`) {
		t.Errorf("%s", text)
	}
}
