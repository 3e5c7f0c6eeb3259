package server_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

func TestExpiry(t *testing.T) {
	cases := []struct{ lifetime, warning time.Duration }{
		{time.Hour, 30 * time.Second},
		{100 * time.Second, 20 * time.Second},
		{5 * time.Second, 2 * time.Second},
	}
	for _, tc := range cases {
		t.Run(tc.lifetime.String(), func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t, server.Config{})
				start := time.Now()
				p := w.dial()
				p.connect(token(t, "alice", tc.lifetime))
				var notice []json.RawMessage
				if err := json.Unmarshal([]byte(strings.TrimPrefix(p.want(`42["auth:expiring",`), "42")), &notice); err != nil {
					t.Fatal(err)
				}
				if at := time.Since(start); at != tc.lifetime-tc.warning {
					t.Errorf("warned after %v, want %v", at, tc.lifetime-tc.warning)
				}
				var e struct {
					ExpiresAt, ExpiresIn int64
					Reason               string
				}
				if err := json.Unmarshal(notice[1], &e); err != nil {
					t.Fatal(err)
				}
				if e.ExpiresAt != start.Add(tc.lifetime).UnixMilli() || e.ExpiresIn != int64(tc.warning/time.Second) || e.Reason != "expiry" {
					t.Errorf("auth:expiring %+v", e)
				}
				seen := p.wantClose(4002, "TOKEN_EXPIRED")
				if at := time.Since(start); at != tc.lifetime+5*time.Second {
					t.Errorf("closed after %v, want %v and 5 s", at, tc.lifetime)
				}
				if len(seen) != 1 || seen[0] != `42["auth:closing",{"message":"Unauthorized: token expired","code":"TOKEN_EXPIRED"}]` {
					t.Errorf("before the close: %q", seen)
				}
			})
		})
	}
}

// Tokens of any lifetime must neither overflow the timer nor end early.
func TestLongLifetimes(t *testing.T) {
	in(t, func(t *testing.T) {
		for _, expires := range []time.Time{{}, time.Now().Add(100 * 365 * 24 * time.Hour), time.Now().AddDate(1000, 0, 0)} {
			w := newWorld(t, server.Config{Authenticator: auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
				return &holdfast.Identity{User: "alice", Expires: expires}, nil
			})})
			p := w.dial()
			p.connect("any")
			done := make(chan string, 1)
			go func() { m, _ := p.tryRecv(); done <- m }()
			<-time.After(40 * time.Minute)
			select {
			case m := <-done:
				t.Errorf("expires %v: got %q", expires, m)
			default:
			}
			p.conn.CloseNow()
			<-done
		}
	})
}

func TestRefreshInPlace(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.srv.Of("/two")
		server.Handle(w.srv, "whoami", func(ctx context.Context, c *server.Conn, _ *struct{}) (string, error) {
			id, _ := holdfast.IdentityFrom(ctx)
			return id.Name + " " + c.Identity().Name, nil
		})
		p := w.dial()
		p.connect(token(t, "alice", time.Minute, `{"name":"old"}`))
		p.send(`40/two,{"token":"` + token(t, "alice", time.Minute) + `"}`)
		p.want("40/two,")
		p.want(`42/two,["auth:session"`)
		p.send(`421["room:join",{"room":"kept"}]`, `422["room:join",{"room":"lost"}]`, `42/two,3["room:join",{"room":"lost"}]`)
		p.want("431[")
		p.want("432[")
		p.want("43/two,3[")

		p.send(`424["auth:refresh",{"token":"` + token(t, "bob", time.Hour) + `"}]`)
		if got := p.recv(); !strings.Contains(got, `"code":"FORBIDDEN"`) {
			t.Errorf("another user's token: %s", got)
		}
		p.send(`425["auth:refresh",{"token":"` + token(t, "alice", -time.Hour) + `"}]`)
		if got := p.recv(); !strings.Contains(got, `"code":"TOKEN_EXPIRED"`) {
			t.Errorf("expired token: %s", got)
		}
		p.send(`426["auth:refresh",{"token":"` + token(t, "alice", time.Hour, `{"name":"new","permissions":{"rooms":["kept"]}}`) + `"}]`)
		got := map[string]bool{}
		for range 3 {
			m, _, _ := strings.Cut(p.recv(), `"message"`)
			got[m] = true
		}
		for _, want := range []string{`42["room:left",{"room":"lost","code":"FORBIDDEN",`, `42/two,["room:left",{"room":"lost","code":"FORBIDDEN",`} {
			if !got[want] {
				t.Errorf("no %s in %v", want, got)
			}
		}
		p.send(`427["whoami"]`)
		p.want(`437[{"ok":true,"data":"new new"}]`)
		// The old expiry passes without a word, the new one counts.
		start := time.Now()
		p.want(`42["auth:expiring"`)
		if at := time.Since(start); at < 59*time.Minute {
			t.Errorf("warned after %v", at)
		}
	})
}

func TestShutdown(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		server.Handle(w.srv, "slow", func(context.Context, *server.Conn, *struct{}) (int, error) {
			<-time.After(2 * time.Second)
			return 1, nil
		})
		p, busy, idle := w.connect("alice"), w.connect("bob"), w.dial()
		busy.send(`421["slow"]`)
		synctest.Wait()
		done := make(chan error)
		go func() { done <- w.srv.Shutdown(t.Context()) }()
		synctest.Wait()
		if _, err := w.tryDial(); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "GOING_AWAY") {
			t.Errorf("a new connection: %v", err)
		}
		if status, _, body := w.request("GET", "/readyz", ""); status != 503 || !strings.Contains(body, "GOING_AWAY") {
			t.Errorf("readyz: %d %s", status, body)
		}
		if status, _, _ := w.request("GET", "/healthz", ""); status != 200 {
			t.Errorf("healthz: %d", status)
		}
		seen := p.wantClose(1001, "GOING_AWAY")
		if len(seen) != 1 || seen[0] != `42["auth:closing",{"message":"The server is going away","code":"GOING_AWAY"}]` {
			t.Errorf("before the close: %q", seen)
		}
		busy.wantClose(1001, "GOING_AWAY")
		if seen := idle.wantClose(1001, "GOING_AWAY"); len(seen) != 0 {
			t.Errorf("a connection that was not admitted got %q", seen)
		}
		if err := <-done; err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestCloseByTheApplication(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		server.Handle(w.srv, "kick-me", func(_ context.Context, c *server.Conn, _ *struct{}) (int, error) {
			c.Close(holdfast.Forbidden.New())
			return 0, nil
		})
		p := w.connect("alice")
		p.send(`42["kick-me"]`)
		seen := p.wantClose(4003, "FORBIDDEN")
		if len(seen) != 1 || seen[0] != `42["auth:closing",{"message":"Not allowed","code":"FORBIDDEN"}]` {
			t.Errorf("before the close: %q", seen)
		}
	})
}
