package interop

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/tokens"
)

// TestTroubleshooting reproduces each row of docs/client.md's table: what goes
// wrong, and that the cure helps.
func TestTroubleshooting(t *testing.T) {
	rows := map[string]func(t *testing.T){
		"401: every call fails":                    troubleStatic,
		"401: only calls to another host fail":     troubleOrigin,
		"401: a cookie session":                    troubleMode,
		"403 CSRF: each POST fails":                troubleCSRF,
		"403 CSRF: it fails although":              troubleJar,
		"socket refused: `Connect` fails at once":  troublePath,
		"socket refused: `UNAUTHENTICATED`":        troubleAuth,
		"socket refused: `Invalid namespace`":      troubleNamespace,
		"socket refused: `ORIGIN_NOT_ALLOWED`":     troubleSocketOrigin,
		"signed out too often: `REFRESH_REUSED`":   troubleTwoStores,
		"signed out too often: whenever":           troubleClear,
		"nothing is sent: `ErrNoUser`":             troubleNoUser,
		"nothing is sent: `ErrQueueFull` although": troubleUnacknowledged,
		"nothing is sent: the log says":            troubleFirst,
	}
	text, err := os.ReadFile("../../docs/client.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "| symptom | why | what helps |\n|---|---|---|\n")
	for line := range strings.Lines(table) {
		if !strings.HasPrefix(line, "| ") {
			break
		}
		found := false
		for name := range rows {
			found = found || strings.HasPrefix(line, "| "+name)
		}
		if !found {
			t.Errorf("not reproduced: %s", line)
		}
	}
	for name, row := range rows {
		if !strings.Contains(table, "| "+name) {
			t.Errorf("%q is not in the table", name)
		}
		t.Run(name, row)
	}
}

// bearerOnly wants the token "good".
func bearerOnly(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer good" {
		w.WriteHeader(http.StatusUnauthorized)
		io.WriteString(w, `{"error":"Unauthorized: token expired","code":"TOKEN_EXPIRED"}`)
	}
}

func handlerServer(t *testing.T, h http.HandlerFunc) string {
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func call(c *client.Client, ctx context.Context, url string) error {
	_, err := client.Get[struct{}](ctx, c, url)
	return err
}

func post(c *client.Client, ctx context.Context) error {
	_, err := client.Post[struct{}](ctx, c, "/x", nil)
	return err
}

func newManager(t *testing.T, cfg tokens.Config, access string) *tokens.Manager {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	m, err := tokens.NewManager(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if access != "" {
		if err := m.SetTokens(t.Context(), tokens.Session{Access: access, Refresh: "r0"}); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func troubleStatic(t *testing.T) {
	base := handlerServer(t, bearerOnly)
	err := call(goClient(t, base, client.Config{Source: tokens.Static("old")}), within(t), "/")
	if !errors.Is(err, holdfast.TokenExpired) {
		t.Error(err)
	}
	m := newManager(t, tokens.Config{Refresh: func(context.Context, tokens.Session) (tokens.Session, error) {
		return tokens.Session{Access: "good"}, nil
	}}, "old")
	if err := call(goClient(t, base, client.Config{Source: m}), within(t), "/"); err != nil {
		t.Error(err)
	}
}

func troubleOrigin(t *testing.T) {
	base, other := handlerServer(t, bearerOnly), handlerServer(t, bearerOnly)
	cfg := client.Config{Source: tokens.Static("good")}
	if err := call(goClient(t, base, cfg), within(t), other); !errors.Is(err, holdfast.TokenExpired) {
		t.Error(err)
	}
	cfg.TrustedOrigins = []string{other}
	if err := call(goClient(t, base, cfg), within(t), other); err != nil {
		t.Error(err)
	}
}

func troubleMode(t *testing.T) {
	w := newWhole(t, nil)
	user := w.signUp("ann@example.com")
	for mode, want := range map[string]error{"": holdfast.Unauthenticated, "cookie": nil} {
		jar, _ := cookiejar.New(nil)
		c := goClient(t, w.url, client.Config{HTTPClient: &http.Client{Jar: jar}, CSRF: &client.CSRF{Path: "/api/auth/csrf"}})
		body := map[string]string{"email": user.User.Email, "password": "correct horse battery", "mode": mode}
		if mode == "" {
			delete(body, "mode")
		}
		if _, err := client.Post[struct{}](within(t), c, "/api/auth/sign-in", body); err != nil {
			t.Fatal(err)
		}
		if err := c.Socket().Connect(within(t)); !errors.Is(err, want) {
			t.Errorf("mode %q: %v, want %v", mode, err, want)
		}
		if err := call(c, within(t), "/api/auth/sessions"); !errors.Is(err, want) {
			t.Errorf("mode %q: %v, want %v", mode, err, want)
		}
		c.Close()
	}
}

// cookieServer wants a CSRF token that is bound to a cookie.
func cookieServer(t *testing.T) string {
	return handlerServer(t, func(w http.ResponseWriter, r *http.Request) {
		id, err := r.Cookie("csrf-id")
		switch {
		case r.URL.Path == "/csrf":
			http.SetCookie(w, &http.Cookie{Name: "csrf-id", Value: "7", Path: "/"})
			w.Header().Set("X-CSRF-Token", "token-of-7")
		case err != nil || r.Header.Get("X-CSRF-Token") != "token-of-"+id.Value:
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"error":"Bad CSRF token","code":"CSRF_MISMATCH"}`)
		}
	})
}

func troubleCSRF(t *testing.T) {
	base := cookieServer(t)
	jar, _ := cookiejar.New(nil)
	cfg := client.Config{HTTPClient: &http.Client{Jar: jar}}
	if err := post(goClient(t, base, cfg), within(t)); !errors.Is(err, holdfast.CSRFMismatch) {
		t.Error(err)
	}
	cfg.CSRF = &client.CSRF{Path: "/csrf"}
	if err := post(goClient(t, base, cfg), within(t)); err != nil {
		t.Error(err)
	}
}

func troubleJar(t *testing.T) {
	cfg := client.Config{CSRF: &client.CSRF{Path: "/csrf"}}
	if err := post(goClient(t, cookieServer(t), cfg), within(t)); !errors.Is(err, holdfast.CSRFMismatch) {
		t.Error(err)
	}
}

func troublePath(t *testing.T) {
	_, base := npmServer(t)
	cfg := client.Config{Source: tokens.Static(npmTokens(t)["alice"]), Socket: client.SocketConfig{Path: "/realtime/"}}
	if err := goClient(t, base, cfg).Socket().Connect(within(t)); err == nil || !strings.Contains(err.Error(), "status 4") {
		t.Error(err)
	}
	cfg.Socket.Path = ""
	connect(t, goClient(t, base, cfg).Socket())
}

func troubleAuth(t *testing.T) {
	// An application's server that wants {"key": …}.
	srv, err := server.New(server.Config{Authenticator: auth.Func(byKey), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	base := handlerServer(t, srv.ServeHTTP)
	defer srv.Shutdown(within(t))
	cfg := client.Config{Source: tokens.Static("good")}
	c := goClient(t, base, cfg)
	if err := c.Socket().Connect(within(t)); !errors.Is(err, holdfast.Unauthenticated) {
		t.Error(err)
	}
	cfg.Socket.Auth = func(_ context.Context, t tokens.Token) (any, error) { return map[string]string{"key": t.Access}, nil }
	c = goClient(t, base, cfg)
	connect(t, c.Socket())
	c.Close()
}

// byKey admits {"key":"good"}.
func byKey(_ context.Context, c auth.Credential) (*holdfast.Identity, error) {
	var payload struct{ Key string }
	if json.Unmarshal(c.Payload, &payload) != nil || payload.Key != "good" {
		return nil, holdfast.Errorf(holdfast.Unauthenticated, "Unauthorized: no key")
	}
	return &holdfast.Identity{User: "ann"}, nil
}

func troubleNamespace(t *testing.T) {
	_, base := npmServer(t)
	c := goClient(t, base, client.Config{Source: tokens.Static(npmTokens(t)["alice"])})
	if err := c.Namespace("/nowhere").Connect(within(t)); !errors.Is(err, holdfast.NotFound) {
		t.Error(err)
	}
	connect(t, c.Socket())
}

func troubleSocketOrigin(t *testing.T) {
	_, base := npmServer(t)
	cfg := client.Config{Source: tokens.Static(npmTokens(t)["alice"]), Header: http.Header{"Origin": {"https://elsewhere.example"}}}
	if err := goClient(t, base, cfg).Socket().Connect(within(t)); !errors.Is(err, holdfast.OriginNotAllowed) {
		t.Error(err)
	}
	cfg.Header = nil
	connect(t, goClient(t, base, cfg).Socket())
}

func troubleTwoStores(t *testing.T) {
	shared := tokens.NewMemory()
	for name, stores := range map[string][2]tokens.Store{"two": {tokens.NewMemory(), tokens.NewMemory()}, "one": {shared, shared}} {
		// A server whose refresh tokens are good once.
		var mu sync.Mutex
		used := map[string]bool{}
		refresh := func(_ context.Context, old tokens.Session) (tokens.Session, error) {
			mu.Lock()
			defer mu.Unlock()
			if used[old.Refresh] {
				return tokens.Session{}, holdfast.RefreshReused.New()
			}
			used[old.Refresh] = true
			return tokens.Session{Access: "good" + old.Refresh, Refresh: old.Refresh + "'"}, nil
		}
		first := newManager(t, tokens.Config{Store: stores[0], Refresh: refresh}, "old")
		second := newManager(t, tokens.Config{Store: stores[1], Refresh: refresh}, "old")
		_ = first.Refresh(within(t))
		_, err := second.Refused(within(t), tokens.Token{Access: "old"}, holdfast.TokenExpired.New())
		if reused := errors.Is(err, holdfast.RefreshReused); reused != (name == "two") || second.SignedIn() != (name == "one") {
			t.Errorf("%s: %v, signed in %v", name, err, second.SignedIn())
		}
	}
}

func troubleClear(t *testing.T) {
	m := newManager(t, tokens.Config{Refresh: func(context.Context, tokens.Session) (tokens.Session, error) {
		return tokens.Session{}, io.ErrUnexpectedEOF
	}}, "old")
	_, err := m.Refused(within(t), tokens.Token{Access: "old"}, holdfast.TokenExpired.New())
	if err == nil || tokens.Final(err) || !m.SignedIn() {
		t.Error(err)
	}
}

func troubleNoUser(t *testing.T) {
	cfg := client.Config{Source: tokens.Static("opaque"), Socket: client.SocketConfig{Queue: queue.NewMemory(queue.Limits{})}}
	if err := goClient(t, "http://127.0.0.1:1", cfg).Socket().Emit(within(t), "x"); !errors.Is(err, client.ErrNoUser) {
		t.Error(err)
	}
	cfg.Source = newManager(t, tokens.Config{}, "opaque")
	if err := goClient(t, "http://127.0.0.1:1", cfg).Socket().Emit(within(t), "x"); err != nil {
		t.Error(err)
	}
}

func troubleUnacknowledged(t *testing.T) {
	_, port := nodeServer(t, 0)
	q := queue.NewMemory(queue.Limits{Items: 1})
	cfg := client.Config{Source: tokens.Static("abc"), Socket: client.SocketConfig{Queue: q, AckTimeout: 3 * time.Second, MinBackoff: time.Millisecond}}
	s := goClient(t, local(port), cfg).Socket()
	connect(t, s)
	dead := make(chan queue.Dead, 1)
	s.OnDead(func(_ context.Context, d queue.Dead) { dead <- d })
	for {
		err := s.Emit(within(t), "nobody listens")
		if err == nil {
			break
		}
		if !errors.Is(err, client.ErrNoUser) { // until it is known that the server is a plain one
			t.Fatal(err)
		}
		next(t, time.After(50*time.Millisecond))
	}
	if err := s.Emit(within(t), "next"); !errors.Is(err, client.ErrQueueFull) {
		t.Error(err)
	}
	if err := s.Emit(client.Volatile(within(t)), "say", "now"); err != nil {
		t.Error(err)
	}
	if d := next(t, dead); d.Item.Event != "nobody listens" {
		t.Errorf("%+v", d)
	}
}

// troubleFirst has a handler that fails on one event, each time.
func troubleFirst(t *testing.T) {
	srv, base := npmServer(t)
	tried, seen := make(chan struct{}, 100), make(chan int, 1)
	server.Handle(srv, "note", func(_ context.Context, _ *server.Conn, n int) (int, error) {
		if n == 1 {
			tried <- struct{}{}
			return 0, errors.New("it fails on this one")
		}
		seen <- n
		return n, nil
	})
	emit := func(tries int) (*client.Client, *queue.Memory) {
		q := queue.NewMemory(queue.Limits{})
		c := goClient(t, base, client.Config{Source: tokens.Static(npmTokens(t)["alice"]), Socket: client.SocketConfig{
			Queue: q, QueueTries: tries, MinBackoff: time.Millisecond, MaxBackoff: time.Millisecond,
		}})
		connect(t, c.Socket())
		for n := range 2 {
			if err := c.Socket().Emit(within(t), "note", n+1); err != nil {
				t.Fatal(err)
			}
		}
		return c, q
	}
	c, _ := emit(0)
	for range 10 {
		next(t, tried)
	}
	if len(seen) != 0 {
		t.Error("it has overtaken the one before")
	}
	c.Close()

	_, q := emit(3)
	if n := next(t, seen); n != 2 {
		t.Error(n)
	}
	if dead := q.Dead(); len(dead) != 1 || dead[0].Code != holdfast.Internal {
		t.Errorf("%+v", dead)
	}
}
