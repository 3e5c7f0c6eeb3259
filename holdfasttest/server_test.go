package holdfasttest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/holdfasttest"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
	"github.com/holdfast-dev/holdfast/tokens"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// everywhere runs a test in memory, on the fake clock, and over TCP.
func everywhere(t *testing.T, test func(t *testing.T, tcp bool)) {
	t.Run("memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, false) })
	})
	t.Run("tcp", func(t *testing.T) { test(t, true) })
}

// app is a program that uses the server.
type app struct {
	*tokens.Manager
	*client.Client
}

func newApp(t *testing.T, srv *holdfasttest.Server, user string) app {
	t.Helper()
	e := srv.Endpoint()
	quiet := slog.New(slog.DiscardHandler)
	m, err := tokens.NewManager(tokens.Config{Refresh: e.Refresh, SignOut: e.SignOut, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{
		BaseURL: srv.URL, HTTPClient: srv.Client(), Source: m, Logger: quiet,
		Socket: client.SocketConfig{MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); m.Close() })
	if err := m.SetTokens(t.Context(), srv.SignIn(user)); err != nil {
		t.Fatal(err)
	}
	return app{m, c}
}

func me(w http.ResponseWriter, r *http.Request) {
	id, _ := holdfast.IdentityFrom(r.Context())
	_ = json.NewEncoder(w).Encode(id.AsUser())
}

func (a app) me(t *testing.T) (string, error) {
	u, err := client.Get[holdfast.User](t.Context(), a.Client, "/api/me")
	return u.ID, err
}

func TestFailures(t *testing.T) {
	everywhere(t, func(t *testing.T, tcp bool) {
		var done atomic.Int32
		srv := holdfasttest.New(t, holdfasttest.Config{TCP: tcp})
		srv.Handle("/api/me", srv.Require(http.HandlerFunc(me)))
		srv.Handle("/api/count/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, done.Add(1)) }))
		a := newApp(t, srv, "ann")
		if id, err := a.me(t); id != "ann" || err != nil {
			t.Fatal(id, err)
		}
		srv.Fail("/api/me", holdfasttest.Failure{Status: 502, Times: 1})
		srv.Fail("/api/me", holdfasttest.Failure{Code: holdfast.RateLimited, RetryAfter: 1500 * time.Millisecond, Times: 1})
		_, err := a.me(t)
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != 502 || !strings.Contains(string(e.Body), "Bad Gateway") {
			t.Error(err)
		}
		_, err = a.me(t)
		if e, ok := errors.AsType[*holdfast.Error](err); !ok || e.Code != holdfast.RateLimited || e.RetryAfter != 2*time.Second {
			t.Error(err)
		}
		if _, err := a.me(t); err != nil {
			t.Error("used up:", err)
		}
		srv.DropRequests("/api/count/", 1)
		srv.DropReplies(holdfasttest.Any, 1)
		for i, want := range []int32{0, 1, 2} {
			_, err := client.Get[int](t.Context(), a.Client, "/api/count/x")
			if done.Load() != want || (err == nil) != (i == 2) {
				t.Errorf("request %d: %v, done %d times", i, err, done.Load())
			}
		}
		srv.Fail(holdfasttest.Any, holdfasttest.Failure{})
		if _, err := a.me(t); !errors.Is(err, holdfast.GoingAway) {
			t.Error(err)
		}
		srv.Heal()
		if _, err := a.me(t); err != nil {
			t.Error("healed:", err)
		}
		log := srv.Log()
		if len(log) != 9 || log[1].Status != 502 || log[4].Status != 0 || log[8].Status != 200 || log[0].Path != "/api/me" || srv.Requests("/api/count/") != 3 {
			t.Errorf("%+v", log)
		}
	})
}

func TestTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := holdfasttest.New(t, holdfasttest.Config{})
		var served atomic.Int32
		srv.Handle("/x", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served.Add(1) }))
		get := func() (int, time.Duration) {
			start := time.Now()
			resp, err := srv.Client().Get(srv.URL + "/x")
			if err != nil {
				return 0, time.Since(start)
			}
			defer resp.Body.Close()
			return resp.StatusCode, time.Since(start)
		}
		srv.Fail("/x", holdfasttest.Failure{For: time.Minute})
		time.Sleep(59 * time.Second)
		if status, _ := get(); status != 503 {
			t.Error(status)
		}
		time.Sleep(time.Second)
		if status, _ := get(); status != 200 {
			t.Error(status)
		}
		srv.Slow("/x", 7*time.Second)
		srv.SlowReplies("/x", 2*time.Second)
		go func() {
			time.Sleep(6 * time.Second)
			if n := served.Load(); n != 1 {
				t.Error("slow, but done at once:", n)
			}
			time.Sleep(2 * time.Second)
			if n := served.Load(); n != 2 {
				t.Error("a slow reply, not done before:", n)
			}
		}()
		if status, took := get(); status != 200 || took != 9*time.Second {
			t.Error(status, took)
		}
		go func() { time.Sleep(2 * time.Second); _ = srv.Stop() }()
		if status, took := get(); status != 0 || took != 2*time.Second {
			t.Error("a slow answer goes on after the end:", status, took)
		}
		srv.Skew(-time.Hour)
		if err := srv.Start(); err != nil {
			t.Fatal(err)
		}
		srv.Heal()
		resp, err := srv.Client().Get(srv.URL + "/x")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if date, _ := http.ParseTime(resp.Header.Get("Date")); time.Since(date) < time.Hour || time.Since(date) > time.Hour+time.Second {
			t.Error(date)
		}
		s := srv.SignIn("ann")
		if off := time.Until(s.Expires) - holdfasttest.DefaultLifetime; off > -time.Hour || off < -time.Hour-time.Second {
			t.Error("the token's clock is right:", s.Expires)
		}
	})
}

func TestIssuer(t *testing.T) {
	for name, cfg := range map[string]holdfasttest.Config{
		"secret": {}, "public key": {PublicKey: true}, "opaque": {Opaque: true, NoExpiry: true},
		"a hundred years": {Lifetime: 100 * 365 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cfg.Password = "secret"
				cfg.Claims = func(user string) auth.Claims {
					return auth.Claims{Name: strings.ToUpper(user), Roles: []string{"editor"}}
				}
				srv := holdfasttest.New(t, cfg)
				srv.Handle("/api/me", srv.Require(http.HandlerFunc(me)))
				post := func(path, access, body string) (int, map[string]any) {
					req, _ := http.NewRequest("POST", srv.URL+path, strings.NewReader(body))
					req.Header.Set("Content-Type", "application/json")
					req.Header.Set("Authorization", "Bearer "+access)
					resp, err := srv.Client().Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					out := map[string]any{}
					_ = json.NewDecoder(resp.Body).Decode(&out)
					return resp.StatusCode, out
				}
				if status, out := post(holdfasttest.SignIn, "", `{"email":"ann","password":"x"}`); status != 400 || out["code"] != "INVALID_CREDENTIALS" {
					t.Error(status, out)
				}
				status, in := post(holdfasttest.SignIn, "", `{"email":"ann","password":"secret"}`)
				if status != 200 || in["accessToken"] == "" || (in["expiresIn"] == nil) != cfg.NoExpiry {
					t.Fatal(status, in)
				}
				check := func(access any, want string) {
					t.Helper()
					if _, out := post("/api/me", fmt.Sprint(access), ""); fmt.Sprint(out["name"], out["code"]) != want {
						t.Error(out, "want", want)
					}
				}
				check(in["accessToken"], "ANN<nil>")
				check("nonsense", "<nil>UNAUTHENTICATED")
				refresh := func(token any) (string, map[string]any) {
					_, out := post(holdfasttest.Refresh, "", fmt.Sprintf(`{"refreshToken":%q}`, token))
					code, _ := out["code"].(string)
					return code, out
				}
				first := in["refreshToken"]
				_, next := refresh(first)
				if next["refreshToken"] == first || next["accessToken"] == in["accessToken"] {
					t.Error("nothing was rotated")
				}
				if code, again := refresh(first); code != "" || again["refreshToken"] != next["refreshToken"] {
					t.Error("a lost answer is not forgiven:", code)
				}
				time.Sleep(31 * time.Second)
				if code, _ := refresh(first); code != "REFRESH_REUSED" {
					t.Error(code)
				}
				check(next["accessToken"], "<nil>SESSION_REVOKED")
				if code, _ := refresh(next["refreshToken"]); code != "REFRESH_REUSED" {
					t.Error(code)
				}
				if code, _ := refresh(""); code != "UNAUTHENTICATED" {
					t.Error(code)
				}
				time.Sleep(time.Second)
				bob := srv.SignIn("bob")
				if err := srv.Bump("bob"); err != nil {
					t.Error(err)
				}
				check(bob.Access, "<nil>PERMISSION_VERSION_STALE")
				_, out := refresh(bob.Refresh)
				check(out["accessToken"], "BOB<nil>")
				if status, _ := post(holdfasttest.SignOut, fmt.Sprint(out["accessToken"]), ""); status != 200 {
					t.Error(status)
				}
				check(out["accessToken"], "<nil>SESSION_REVOKED")
				if code, _ := refresh(out["refreshToken"]); code != "SESSION_REVOKED" {
					t.Error(code)
				}
				if srv.Revoke("bob") == nil || srv.SignOuts() != 1 {
					t.Error("a session that has ended was ended")
				}
				check(srv.Issue(auth.Claims{User: "eve", Name: "E"}), "E<nil>")
				eve := srv.SignIn("eve")
				srv.Refuse(holdfast.Forbidden, 1)
				check(eve.Access, "<nil>FORBIDDEN")
				check(eve.Access, "EVE<nil>")
				srv.Expire()
				check(eve.Access, "<nil>TOKEN_EXPIRED")
				srv.RefuseFresh(1)
				_, out = refresh(eve.Refresh)
				check(out["accessToken"], "<nil>UNAUTHENTICATED")
				_, out = refresh(out["refreshToken"])
				check(out["accessToken"], "EVE<nil>")
				if err := srv.RevokeSession(eve.SessionID); err != nil {
					t.Error(err)
				}
				if _, keys := func() (int, []byte) {
					resp, err := srv.Client().Get(srv.URL + holdfasttest.JWKS)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					b, _ := io.ReadAll(resp.Body)
					return resp.StatusCode, b
				}(); strings.Contains(string(keys), `"crv":"Ed25519"`) != cfg.PublicKey {
					t.Errorf("%s", keys)
				}
			})
		})
	}
}

// changes collects the states of a socket.
type changes struct {
	mu   sync.Mutex
	all  []client.Change
	more chan struct{}
}

func follow(s *client.Socket) *changes {
	c := &changes{more: make(chan struct{}, 1000)}
	ch, _ := s.Changes(100)
	go func() {
		for change := range ch {
			c.mu.Lock()
			c.all = append(c.all, change)
			c.mu.Unlock()
			c.more <- struct{}{}
		}
	}()
	return c
}

// ended waits for the end of a connection and returns why it ended.
func (c *changes) ended(t *testing.T) error {
	t.Helper()
	for {
		select {
		case <-c.more:
		case <-t.Context().Done():
			t.Fatal("no end came")
		}
		c.mu.Lock()
		last := c.all[0]
		c.all = c.all[1:]
		c.mu.Unlock()
		if last.State == client.Disconnected && last.Err != nil {
			return last.Err
		}
	}
}

func TestSockets(t *testing.T) {
	everywhere(t, func(t *testing.T, tcp bool) {
		var done atomic.Int32
		srv := holdfasttest.New(t, holdfasttest.Config{TCP: tcp, Setup: func(s *server.Server) {
			server.Handle(s, "work", func(context.Context, *server.Conn, int) (int32, error) { return done.Add(1), nil })
		}})
		work := func(a app) error {
			_, err := client.EmitAck[int](t.Context(), a.Socket(), "work", 1)
			return err
		}
		// try ends a connection and returns why, as the client sees it.
		try := func(name string, end func(a app) int) error {
			t.Helper()
			a := newApp(t, srv, "ann")
			defer a.Client.Close()
			c := follow(a.Socket())
			if err := errors.Join(a.Socket().Connect(t.Context()), work(a)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if n := end(a); n < 1 { // the last one may take its time to go
				t.Errorf("%s: no connections", name)
			}
			return c.ended(t)
		}
		cases := 0
		for _, info := range holdfast.Codes() {
			if info.Close == 0 {
				continue
			}
			cases++
			if err := try(string(info.Code), func(app) int { return srv.CloseAll(info.Close, string(info.Code)) }); !errors.Is(err, info.Code) {
				t.Errorf("close %d: %v", info.Close, err)
			}
		}
		if err := try("end", func(app) int { return srv.End(holdfast.SlowConsumer) }); !errors.Is(err, holdfast.SlowConsumer) {
			t.Error(err)
		}
		for name, end := range map[string]func(app) int{
			"cut":       func(app) int { return srv.CloseAll(0, "") },
			"mid-frame": func(app) int { return srv.VanishMidFrame() },
			"stop": func(app) int {
				n := srv.Server().Connections()
				if err := errors.Join(srv.Stop(), srv.Start()); err != nil {
					t.Error(err)
				}
				return n
			},
			"ack": func(a app) int {
				before := done.Load()
				srv.DropAcks(1)
				if err := work(a); !errors.Is(err, client.ErrConnectionLost) || done.Load() != before+1 {
					t.Error(err, done.Load())
				}
				return 1
			},
		} {
			if err := try(name, end); !strings.Contains(err.Error(), "lost") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := srv.Connections(); n < cases+5 {
			t.Error(n)
		}
	})
}

func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := holdfasttest.New(t, holdfasttest.Config{})
		a := newApp(t, srv, "ann")
		c := follow(a.Socket())
		if err := a.Socket().Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		start := time.Now()
		srv.Silence()
		if err := c.ended(t); !errors.Is(err, client.ErrPingTimeout) || time.Since(start) < 20*time.Second {
			t.Error(err, time.Since(start))
		}
	})
}

func TestPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := holdfasttest.New(t, holdfasttest.Config{Plain: true, Setup: func(s *server.Server) {
			server.Handle(s, "hi", func(context.Context, *server.Conn, int) (int, error) { return 1, nil })
		}})
		a := newApp(t, srv, "ann")
		var events []string
		a.Socket().OnAny(func(_ context.Context, event string, _ socketio.Args) { events = append(events, event) })
		if err := a.Socket().Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n, err := client.EmitAck[int](t.Context(), a.Socket(), "hi", 1); n != 1 || err != nil {
			t.Error(n, err)
		}
		if _, ok := a.Socket().Session(); ok || len(events) > 0 {
			t.Error(events)
		}
	})
}

// Rooms' history lives over a stop, unless it is wiped, and so do revocations.
func TestRestart(t *testing.T) {
	everywhere(t, func(t *testing.T, tcp bool) {
		srv := holdfasttest.New(t, holdfasttest.Config{TCP: tcp})
		publish := func() holdfast.Position {
			p, err := srv.Server().Publish(t.Context(), "room", "note", 1)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		srv.Handle("/api/me", srv.Require(http.HandlerFunc(me)))
		a := newApp(t, srv, "ann")
		first := publish()
		if srv.Wipe() == nil {
			t.Error("wiped while it runs")
		}
		if err := srv.Revoke("ann"); err != nil {
			t.Error(err)
		}
		if err := errors.Join(srv.Stop(), srv.Stop()); err != nil {
			t.Fatal(err)
		}
		if _, err := srv.Dial(t.Context()); err == nil {
			t.Error("somebody listens")
		}
		if err := errors.Join(srv.Start(), srv.Start()); err != nil {
			t.Fatal(err)
		}
		if second := publish(); second.Epoch != first.Epoch || second.Offset <= first.Offset {
			t.Error(first, second)
		}
		if _, err := a.me(t); !errors.Is(err, holdfast.SessionRevoked) || a.SignedIn() {
			t.Error(err)
		}
		if err := errors.Join(srv.Stop(), srv.Wipe(), srv.Start()); err != nil {
			t.Fatal(err)
		}
		if third := publish(); third.Epoch == first.Epoch {
			t.Error(first, third)
		}
		if err := errors.Join(srv.Close(), srv.Close()); err != nil {
			t.Error(err)
		}
		if srv.Start() == nil {
			t.Error("started after Close")
		}
	})
}

func TestCSRF(t *testing.T) {
	for _, way := range []string{"header", "body", "cookie"} {
		synctest.Test(t, func(t *testing.T) {
			srv := holdfasttest.New(t, holdfasttest.Config{CSRF: way})
			srv.Handle("/x", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			post := func(token string) int {
				req, _ := http.NewRequest("POST", srv.URL+"/x", nil)
				req.Header.Set("X-CSRF-Token", token)
				resp, err := srv.Client().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				return resp.StatusCode
			}
			resp, err := srv.Client().Get(srv.URL + holdfasttest.CSRF)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var in map[string]string
			_ = json.NewDecoder(resp.Body).Decode(&in)
			found := map[string]string{"header": resp.Header.Get("X-CSRF-Token"), "body": in["csrfToken"]}
			for _, c := range resp.Cookies() {
				found["cookie"] = c.Value
			}
			for w, token := range found {
				if (w == way) != (token != "") {
					t.Errorf("%s: %v", way, found)
				}
			}
			bearer, _ := http.NewRequest("POST", srv.URL+"/x", nil)
			bearer.Header.Set("Authorization", "Bearer x") // no page makes a browser send it
			if resp, err := srv.Client().Do(bearer); err != nil || resp.StatusCode != 200 || resp.Body.Close() != nil {
				t.Error(way, resp, err)
			}
			if a, b := post(""), post(found[way]); a != 403 || b != 200 {
				t.Error(way, a, b)
			}
			srv.ForgetCSRF()
			if status := post(found[way]); status != 403 {
				t.Error(way, status)
			}
		})
	}
}

func TestBadConfig(t *testing.T) {
	for name, cfg := range map[string]holdfasttest.Config{
		"lifetime": {Lifetime: -1},
		"csrf":     {CSRF: "x"},
		"path":     {Server: server.Config{Path: "x"}},
	} {
		if _, err := holdfasttest.NewServer(cfg); err == nil {
			t.Error(name)
		}
	}
}
