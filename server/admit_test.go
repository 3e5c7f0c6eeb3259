package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// in runs a test in a bubble with a fake clock.
func in(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, test)
}

func TestAdmission(t *testing.T) {
	cases := []struct {
		name    string
		connect func(t *testing.T) string
		header  func(t *testing.T) []string
		want    string // exact or, with a final …, a prefix
	}{
		{name: "auth payload", connect: func(t *testing.T) string { return `40{"token":"` + token(t, "alice", time.Hour) + `"}` }, want: `40{"sid":"…`},
		{name: "authorization header", connect: func(*testing.T) string { return "40" }, header: func(t *testing.T) []string {
			return []string{"Authorization", "Bearer " + token(t, "alice", time.Hour)}
		}, want: `40{"sid":"…`},
		{name: "missing", connect: func(*testing.T) string { return "40" }, want: `44{"message":"Unauthorized…`},
		{name: "empty payload", connect: func(*testing.T) string { return "40{}" }, want: `44{"message":"Unauthorized…`},
		{name: "expired", connect: func(t *testing.T) string { return `40{"token":"` + token(t, "alice", -time.Hour) + `"}` },
			want: `44{"message":"Unauthorized: token expired","data":{"code":"TOKEN_EXPIRED"}}`},
		{name: "garbage", connect: func(*testing.T) string { return `40{"token":"abc.def.ghi"}` }, want: `44{"message":"Unauthorized…`},
		{name: "over 8 KiB", connect: func(*testing.T) string { return `40{"token":"` + strings.Repeat("a", 9000) + `"}` }, want: `44{"message":"Unauthorized…`},
		{name: "a bad payload is not replaced by a good header", connect: func(*testing.T) string { return `40{"token":"abc"}` }, header: func(t *testing.T) []string {
			return []string{"Authorization", "Bearer " + token(t, "alice", time.Hour)}
		}, want: `44{"message":"Unauthorized…`},
		{name: "query token is off", connect: func(*testing.T) string { return "40" }, want: `44{"message":"Unauthorized…`},
		{name: "unknown namespace", connect: func(*testing.T) string { return "40/random," }, want: `44/random,{"message":"Invalid namespace"}`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t, server.Config{})
				var header []string
				if tc.header != nil {
					header = tc.header(t)
				}
				p := w.dial(header...)
				p.send(tc.connect(t))
				got := p.recv()
				prefix, isPrefix := strings.CutSuffix(tc.want, "…")
				if got != tc.want && (!isPrefix || !strings.HasPrefix(got, prefix)) {
					t.Errorf("got %s, want %s", got, tc.want)
				}
				if strings.HasPrefix(got, "44{") && !strings.Contains(got, `"code":"`) {
					t.Errorf("no code in %s", got)
				}
			})
		})
	}
}

func TestSessionEvent(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		p := w.dial()
		p.send(`40{"token":"` + token(t, "alice", time.Hour, `{"name":"Alice","roles":["admin"]}`) + `"}`)
		connected := p.want(`40{"sid":"`)
		var packet []json.RawMessage
		if err := json.Unmarshal([]byte(strings.TrimPrefix(p.recv(), "42")), &packet); err != nil {
			t.Fatal(err)
		}
		var session struct {
			User       holdfast.User
			Connection string
			ExpiresAt  int64
			ExpiresIn  int64
			Features   []string
		}
		if err := json.Unmarshal(packet[1], &session); err != nil {
			t.Fatal(err)
		}
		if session.User.ID != "alice" || session.User.Name != "Alice" || session.User.Roles[0] != "admin" {
			t.Errorf("user %+v", session.User)
		}
		if want := time.Now().Add(time.Hour).UnixMilli(); session.ExpiresAt != want || session.ExpiresIn != 3600 {
			t.Errorf("expires at %d in %d, want %d in 3600", session.ExpiresAt, session.ExpiresIn, want)
		}
		if session.Connection == "" || !strings.Contains(connected, session.Connection) {
			t.Errorf("connection %q, %s", session.Connection, connected)
		}
	})
}

// A 44 that is not about the credential must not make the clients that read
// its words refresh.
func TestRefusalWords(t *testing.T) {
	for _, tc := range []struct{ err, want string }{
		{"the jwt says you may not", `44{"message":"Not allowed","data":{"code":"FORBIDDEN"}}`},
		{"Only on weekdays", `44{"message":"Only on weekdays","data":{"code":"FORBIDDEN"}}`},
	} {
		in(t, func(t *testing.T) {
			w := newWorld(t, server.Config{})
			w.srv.OnConnect(func(context.Context, *server.Conn) error { return holdfast.Errorf(holdfast.Forbidden, "%s", tc.err) })
			p := w.dial()
			p.send(`40{"token":"` + token(t, "alice", time.Hour) + `"}`)
			if got := p.recv(); got != tc.want {
				t.Errorf("got %s, want %s", got, tc.want)
			}
		})
	}
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{Authenticator: auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
			return nil, holdfast.Errorf(holdfast.SessionRevoked, "ended elsewhere")
		})})
		p := w.dial()
		p.send("40")
		if got, want := p.recv(), `44{"message":"Unauthorized: ended elsewhere","data":{"code":"SESSION_REVOKED"}}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// Official clients never retry after a 44, so what will pass closes the
// transport.
func TestRetryableRefusalCloses(t *testing.T) {
	for code, closeCode := range map[holdfast.Code]int{
		holdfast.Internal: 1011, holdfast.RateLimited: 4008, holdfast.ConnectionLimit: 4010, holdfast.GoingAway: 1001,
	} {
		t.Run(string(code), func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t, server.Config{Authenticator: auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
					return nil, code.New()
				})})
				p := w.dial()
				p.send("40")
				if seen := p.wantClose(closeCode, string(code)); len(seen) != 0 {
					t.Errorf("sent %q before the close", seen)
				}
			})
		})
	}
}

func TestNoConnectInTime(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		start := time.Now()
		p := w.dial()
		p.wantClose(1001, "GOING_AWAY")
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

// The official client sends a second CONNECT when its connect() is called
// again before the answer is there.
func TestSecondConnectChangesNothing(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		p := w.dial()
		p.send(`40{"token":"`+token(t, "alice", time.Hour)+`"}`, `40{"token":"`+token(t, "bob", time.Hour)+`"}`)
		p.want(`40{"sid":"`)
		if got := p.want(`42["auth:session",`); !strings.Contains(got, `"alice"`) {
			t.Errorf("got %s", got)
		}
		p.quiet()
	})
}

func TestNamespaces(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.srv.Of("/admin")
		p := w.connect("alice")
		p.send(`40/admin,{"token":"` + token(t, "bob", time.Hour) + `"}`)
		p.want(`44/admin,{"message":"This connection belongs to another user","data":{"code":"FORBIDDEN"}}`)
		p.send(`40/admin,{"token":"` + token(t, "alice", time.Hour) + `"}`)
		p.want(`40/admin,{"sid":"`)
		p.want(`42/admin,["auth:session",`)

		p.send(`42/admin,1["room:join",{"room":"r"}]`)
		p.want(`43/admin,1[{"ok":true`)
		p.send(`422["room:publish",{"room":"r","event":"e","data":1}]`)
		// Rooms are the server's, and events go to the namespace that joined.
		got := []string{p.recv(), p.recv()}
		if !(strings.HasPrefix(got[0], `42/admin,["e",1,{"room":"r"`) && strings.HasPrefix(got[1], `432[{"ok":true`)) {
			t.Errorf("got %q", got)
		}
		p.send("41/admin,", `42/admin,3["room:leave",{"room":"r"}]`)
		p.wantClose(1002, "PROTOCOL_ERROR")
	})
}

func TestRefusalsAreDelayed(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		var waits []time.Duration
		for range 14 {
			p := w.dial()
			start := time.Now()
			p.send("40")
			p.want("44{")
			waits = append(waits, time.Since(start))
			p.conn.CloseNow()
		}
		if waits[0] != 0 || waits[len(waits)-1] != 10*time.Second {
			t.Errorf("waits: %v", waits)
		}
		for i := 1; i < len(waits); i++ {
			if waits[i] < waits[i-1] || (waits[i-1] > 0 && waits[i] > 2*waits[i-1]) {
				t.Errorf("waits: %v", waits)
			}
		}
	})
}

// Clients whose tokens have expired come again with better ones; that is no
// reason to hold up others behind the same address.
func TestExpiredTokensAreNotDelayed(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		expired := token(t, "alice", -time.Hour)
		start := time.Now()
		for range 20 {
			p := w.dial()
			p.send(`40{"token":"` + expired + `"}`)
			p.want("44{")
			p.conn.CloseNow()
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("20 refusals took %v", d)
		}
	})
}

func TestConnectionsOfAUser(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{ConnectionsPerUser: 2})
		first := w.connect("alice")
		w.connect("alice")
		w.connect("bob")
		p := w.dial()
		p.send(`40{"token":"` + token(t, "alice", time.Hour) + `"}`)
		p.wantClose(4010, "CONNECTION_LIMIT")
		first.conn.CloseNow()
		synctest.Wait()
		w.connect("alice")
	})
}

func TestUnauthenticatedOfAnAddress(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{UnauthenticatedPerAddress: 3})
		w.connect("alice") // no longer counts
		var last *peer
		for range 3 {
			last = w.dial()
		}
		if _, err := w.tryDial(); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "CONNECTION_LIMIT") {
			t.Errorf("fourth: %v", err)
		}
		last.connect(token(t, "bob", time.Hour))
		w.dial()
	})
}

func TestAdmissionRate(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{AdmissionRate: 1})
		for range 5 {
			w.dial()
		}
		_, err := w.tryDial()
		if err == nil || !strings.HasPrefix(err.Error(), "429 Too Many Requests 1 ") || !strings.Contains(err.Error(), "RATE_LIMITED") {
			t.Errorf("sixth: %v", err)
		}
		if _, err := w.tryDial(); err == nil || !strings.HasPrefix(err.Error(), "429 Too Many Requests 3 ") {
			t.Errorf("the next one is told to come after it: %v", err)
		}
		<-time.After(time.Second)
		w.dial()
	})
}

// Over the rate of all addresses it is 503, and those who are refused are told
// to come back one after the other.
func TestTotalAdmissionRate(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{TotalAdmissionRate: 1})
		for range 2 {
			w.dial()
		}
		for _, after := range []string{"1", "3", "4"} {
			_, err := w.tryDial()
			if err == nil || !strings.HasPrefix(err.Error(), "503 Service Unavailable "+after+" ") || !strings.Contains(err.Error(), "CONNECTION_LIMIT") {
				t.Errorf("want %s s: %v", after, err)
			}
		}
		<-time.After(time.Second)
		w.dial()
	})
}

func TestOnConnect(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.srv.OnConnect(func(ctx context.Context, c *server.Conn) error {
			if id, ok := holdfast.IdentityFrom(ctx); !ok || id.User != "alice" {
				return holdfast.Forbidden.New()
			}
			if _, err := c.Join(ctx, "hall"); err != nil {
				return err
			}
			if _, err := w.srv.Publish(ctx, "hall", "arrived", c.ID()); err != nil {
				return err
			}
			return c.Emit("hello", "you")
		})
		p := w.dial()
		p.send(`40{"token":"` + token(t, "alice", time.Hour) + `"}`)
		p.want(`40{"sid":"`)
		p.want(`42["auth:session",`)
		p.want(`42["arrived","`)
		p.want(`42["hello","you"]`)
		q := w.dial()
		q.send(`40{"token":"` + token(t, "bob", time.Hour) + `"}`)
		q.want(`44{"message":"Not allowed","data":{"code":"FORBIDDEN"}}`)
	})
}

// A client may send its CONNECT and its first events without waiting for an
// answer, and none of them may be lost, whatever the Authenticator does
// meanwhile.
func TestConnectAndEventsAtOnce(t *testing.T) {
	rounds := 20_000
	if testing.Short() || raceEnabled {
		rounds = 2_000
	}
	verifier, err := auth.NewJWT(auth.JWTConfig{Secret: secret, DefaultRooms: everyRoom(t)})
	if err != nil {
		t.Fatal(err)
	}
	yielding := auth.Func(func(ctx context.Context, c auth.Credential) (*holdfast.Identity, error) {
		type result struct {
			id  *holdfast.Identity
			err error
		}
		done := make(chan result)
		go func() {
			id, err := verifier.Authenticate(ctx, c)
			done <- result{id, err}
		}()
		r := <-done
		return r.id, r.err
	})
	w := newWorld(t, server.Config{Authenticator: yielding, AdmissionRate: -1, TotalAdmissionRate: -1, ConnectionsPerUser: -1})
	server.Handle(w.srv, "echo", func(_ context.Context, _ *server.Conn, in int) (int, error) { return in, nil })
	tok := token(t, "alice", time.Hour)
	for i := range rounds {
		p := w.dial()
		p.send(`40{"token":"`+tok+`"}`, fmt.Sprintf(`421["echo",%d]`, i), `422["room:join",{"room":"r"}]`)
		p.want(`40{"sid":"`)
		p.want(`42["auth:session",`)
		p.want(fmt.Sprintf(`431[{"ok":true,"data":%d}]`, i))
		p.want(`432[{"ok":true`)
		p.conn.CloseNow()
	}
}
