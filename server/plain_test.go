package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
)

// plain opens /ws; the handshake succeeds whatever the credential is.
func (w *world) plain(query string, header ...string) *peer {
	w.t.Helper()
	return w.webSocket("/ws"+query, nil, header...)
}

// webSocket opens a WebSocket at a path and query, with options of its own or
// nil.
func (w *world) webSocket(target string, options *websocket.DialOptions, header ...string) *peer {
	w.t.Helper()
	o := websocket.DialOptions{HTTPClient: w.client(), HTTPHeader: http.Header{}}
	if options != nil {
		o.CompressionMode, o.CompressionThreshold = options.CompressionMode, options.CompressionThreshold
	}
	for i := 0; i+1 < len(header); i += 2 {
		o.HTTPHeader.Set(header[i], header[i+1])
	}
	ctx, cancel := context.WithTimeout(context.Background(), 48*time.Hour)
	w.t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, "ws://holdfast.test"+target, &o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.CloseNow() })
	return &peer{t: w.t, conn: conn, ctx: ctx}
}

func (w *world) plainUser(sub string, more ...string) *peer {
	w.t.Helper()
	p := w.plain("")
	p.send(`{"type":"auth","token":"` + token(w.t, sub, time.Hour, more...) + `"}`)
	p.want(`{"type":"authenticated","user":{"id":"` + sub + `"`)
	return p
}

func TestPlainAdmission(t *testing.T) {
	cookies := auth.Func(func(_ context.Context, c auth.Credential) (*holdfast.Identity, error) {
		cookie, err := (&http.Request{Header: c.Header}).Cookie("session")
		if err != nil {
			return nil, holdfast.Unauthenticated.New()
		}
		switch cookie.Value {
		case "good":
			return &holdfast.Identity{User: "alice", Name: "Alice", Expires: time.Now().Add(time.Hour)}, nil
		case "dead":
			return nil, holdfast.SessionRevoked.New()
		}
		return nil, holdfast.Unauthenticated.New()
	})
	cases := []struct {
		name   string
		cfg    server.Config
		query  func(t *testing.T) string
		header func(t *testing.T) []string
		send   func(t *testing.T) string
		want   string // a prefix
		code   int    // of the close, 0 if admitted
		reason string
		after  time.Duration // from the handshake to want
	}{
		{name: "first message", send: func(t *testing.T) string { return `{"type":"auth","token":"` + token(t, "alice", time.Hour) + `"}` },
			want: `{"type":"authenticated","user":{"id":"alice"},"expiresAt":`},
		{name: "header", header: func(t *testing.T) []string {
			return []string{"Authorization", "Bearer " + token(t, "alice", time.Hour)}
		}, want: `{"type":"authenticated"`},
		{name: "cookie", cfg: server.Config{Authenticator: cookies}, header: func(*testing.T) []string { return []string{"Cookie", "session=good"} },
			want: `{"type":"authenticated","user":{"id":"alice","name":"Alice"}`},
		{name: "query where it is allowed", cfg: server.Config{AllowQueryToken: true}, query: func(t *testing.T) string { return "?token=" + token(t, "alice", time.Hour) },
			want: `{"type":"authenticated"`},
		{name: "nothing in time", want: `{"error":"Unauthorized","code":"UNAUTHENTICATED"}`, code: 4001, reason: "UNAUTHENTICATED", after: 10 * time.Second},
		{name: "query where it is not allowed", query: func(t *testing.T) string { return "?token=" + token(t, "alice", time.Hour) },
			want: `{"error":"Unauthorized","code":"UNAUTHENTICATED"}`, code: 4001, reason: "UNAUTHENTICATED", after: 10 * time.Second},
		{name: "another message first", send: func(*testing.T) string { return `{"type":"join","room":"r"}` },
			want: `{"error":"Unauthorized","code":"UNAUTHENTICATED"}`, code: 4001, reason: "UNAUTHENTICATED"},
		{name: "bad token", send: func(*testing.T) string { return `{"type":"auth","token":"abc"}` },
			want: `{"error":"Unauthorized","code":"UNAUTHENTICATED"}`, code: 4001, reason: "UNAUTHENTICATED"},
		{name: "no token", send: func(*testing.T) string { return `{"type":"auth"}` },
			want: `{"error":"Unauthorized","code":"UNAUTHENTICATED"}`, code: 4001, reason: "UNAUTHENTICATED"},
		{name: "expired token", send: func(t *testing.T) string {
			return `{"type":"auth","token":"` + token(t, "alice", -time.Hour) + `"}`
		}, want: `{"error":"Unauthorized: token expired","code":"TOKEN_EXPIRED"}`, code: 4002, reason: "TOKEN_EXPIRED"},
		{name: "dead session", cfg: server.Config{Authenticator: cookies}, header: func(*testing.T) []string { return []string{"Cookie", "session=dead"} },
			want: `{"error":"Invalid session","code":"SESSION_REVOKED"}`, code: 4001, reason: "SESSION_REVOKED"},
		{name: "a cookie that is nobody's", cfg: server.Config{Authenticator: cookies}, header: func(*testing.T) []string { return []string{"Cookie", "session=x"} },
			want: `{"error":"Unauthorized","code":"UNAUTHENTICATED"}`, code: 4001, reason: "UNAUTHENTICATED"},
		{name: "the cookie comes before the query", cfg: server.Config{Authenticator: cookies, AllowQueryToken: true}, query: func(*testing.T) string { return "?token=abc" },
			header: func(*testing.T) []string { return []string{"Cookie", "session=good"} }, want: `{"type":"authenticated","user":{"id":"alice","name":"Alice"}`},
		{name: "cookies are off for any origin", cfg: server.Config{Authenticator: cookies, AllowedOrigins: []string{"*"}},
			header: func(*testing.T) []string { return []string{"Cookie", "session=good", "Origin", "http://evil.test"} },
			want:   `{"error":"Unauthorized","code":"UNAUTHENTICATED"}`, code: 4001, reason: "UNAUTHENTICATED", after: 10 * time.Second},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t, tc.cfg)
				query, header := "", []string(nil)
				if tc.query != nil {
					query = tc.query(t)
				}
				if tc.header != nil {
					header = tc.header(t)
				}
				start := time.Now()
				p := w.plain(query, header...)
				if tc.send != nil {
					p.send(tc.send(t))
				}
				p.want(tc.want)
				if d := time.Since(start); d != tc.after {
					t.Errorf("answered after %v, want %v", d, tc.after)
				}
				if tc.code != 0 {
					p.wantClose(tc.code, tc.reason)
					return
				}
				p.send(`{"type":"ping","ref":1}`)
				p.want(`{"type":"pong","ref":1}`)
			})
		})
	}
}

func TestPlainForbiddenByTheApplication(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.srv.OnConnect(func(context.Context, *server.Conn) error { return holdfast.Forbidden.New() })
		p := w.plain("", "Authorization", "Bearer "+token(t, "alice", time.Hour))
		p.want(`{"error":"Not allowed","code":"FORBIDDEN"}`)
		p.wantClose(4003, "FORBIDDEN")
	})
}

// One room is the same room over both protocols.
func TestPlainRooms(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		alice, bob := w.plainUser("alice"), w.connect("bob")
		alice.send(`{"type":"join","boardId":"r","ref":"j"}`)
		ack := alice.want(`{"type":"ok","ref":"j","data":{"room":"r","epoch":"`)
		epoch := strings.SplitN(strings.SplitN(ack, `"epoch":"`, 2)[1], `"`, 2)[0]
		bob.send(`421["room:join",{"room":"r"}]`)
		bob.want("431[")
		alice.want(`{"type":"user_joined","room":"r","user":{"id":"bob"},"viewers":2}`)

		bob.send(`422["room:publish",{"room":"r","event":"hi","data":{"n":1},"id":"x"}]`)
		alice.want(fmt.Sprintf(`{"type":"event","room":"r","event":"hi","data":{"n":1},"epoch":%q,"offset":1,"id":"x","from":"bob"}`, epoch))
		bob.recv()
		bob.recv()
		alice.send(`{"type":"publish","room":"r","event":"re","data":[2],"ref":7}`)
		bob.want(fmt.Sprintf(`42["re",[2],{"room":"r","epoch":%q,"offset":2,"from":"alice"}]`, epoch))
		got := map[string]bool{alice.recv(): true, alice.recv(): true}
		if !got[fmt.Sprintf(`{"type":"ok","ref":7,"data":{"epoch":%q,"offset":2}}`, epoch)] {
			t.Errorf("alice got %v", got)
		}
		// Binary shows as base64.
		bob.send(`451-3["room:publish",{"room":"r","event":"bin","data":{"b":{"_placeholder":true,"num":0}}}]`)
		bob.sendBinary([]byte("hello"))
		if m := alice.recv(); !strings.Contains(m, `"data":{"b":{"$base64":"aGVsbG8="}}`) {
			t.Errorf("binary came as %s", m)
		}
		// Resume after a leave.
		alice.send(`{"type":"leave","room":"r"}`, fmt.Sprintf(`{"type":"join","room":"r","since":{"epoch":%q,"offset":2},"ref":8}`, epoch))
		alice.want(`{"type":"event","room":"r","event":"bin"`)
		if m := alice.want(`{"type":"ok","ref":8`); !strings.Contains(m, `"recovered":true`) {
			t.Errorf("ack %s", m)
		}
	})
}

func TestPlainRefusals(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		server.Handle(w.srv, "double", func(_ context.Context, _ *server.Conn, n int) (int, error) { return 2 * n, nil })
		server.HandleRaw(w.srv, "raw", func(_ context.Context, c *server.Conn, args socketio.Args) (socketio.Args, error) {
			if err := c.Emit("told", socketio.Binary("x")); err != nil {
				return socketio.Args{}, err
			}
			if _, err := c.EmitAck(c.Context(), "ask"); err == nil {
				t.Error("a plain client acknowledged")
			}
			return socketio.NewArgs(1, "two")
		})
		p := w.plainUser("alice", `{"permissions":{"rooms":{"hall":["join"]}}}`)
		for _, tc := range []struct{ send, want string }{
			{`{`, `{"error":"Invalid JSON","code":"INVALID_ARGUMENT"}`},
			{`[]`, `{"error":"`},
			{`{"type":"dance","ref":1}`, `{"type":"error","ref":1,"error":"`},
			{`{"type":"join","room":"a","boardId":"b","ref":2}`, `{"type":"error","ref":2,`},
			{`{"type":"join","room":"secret","ref":3}`, `{"type":"error","ref":3,"error":"`},
			{`{"type":"publish","room":"hall","event":"e","ref":4}`, `{"type":"error","ref":4,`},
			{`{"type":"signal","room":"hall","event":"e","ref":5}`, `{"type":"error","ref":5,`},
			{`{"type":"event","event":"nobody:home","ref":6}`, `{"type":"error","ref":6,`},
			{`{"type":"event","event":"double","data":21,"ref":7}`, `{"type":"ok","ref":7,"data":42}`},
			{`{"type":"event","event":"double","data":"x","ref":8}`, `{"type":"error","ref":8,`},
			{`{"type":"event","event":"raw","ref":9}`, `{"type":"event","event":"told","data":{"$base64":"eA=="}}`},
			{`{"type":"ping"}`, `{"type":"ok","ref":9,"data":[1,"two"]}`},
			{`{"type":"auth","token":"abc","ref":10}`, `{"type":"pong"}`},
			{`{"type":"ping"}`, `{"type":"error","ref":10,"error":"Unauthorized`},
		} {
			p.send(tc.send)
			p.want(tc.want)
		}
		p.want(`{"type":"pong"}`)
	})
}

func TestPlainLife(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		p := w.plain("", "Authorization", "Bearer "+token(t, "alice", 100*time.Second))
		start := time.Now()
		p.want(`{"type":"authenticated"`)
		p.send(`{"type":"join","room":"lost","ref":1}`)
		p.want(`{"type":"ok"`)
		var notice struct {
			Type      string
			ExpiresIn int64
			Reason    string
		}
		if err := json.Unmarshal([]byte(p.recv()), &notice); err != nil || notice.Type != "auth_expiring" || notice.ExpiresIn != 20 || notice.Reason != "expiry" {
			t.Errorf("%+v %v", notice, err)
		}
		p.send(`{"type":"auth","token":"` + token(t, "alice", 100*time.Second, `{"permissions":{"rooms":["r"]}}`) + `","ref":2}`)
		p.want(`{"type":"room_left","room":"lost","code":"FORBIDDEN"`)
		p.want(`{"type":"authenticated","user":{"id":"alice"},"expiresAt":`)
		p.want(`{"type":"ok","ref":2,"data":{"expiresAt":`)
		p.want(`{"type":"auth_expiring"`)
		seen := p.wantClose(4002, "TOKEN_EXPIRED")
		if len(seen) != 1 || !strings.HasPrefix(seen[0], `{"type":"auth_closing","code":"TOKEN_EXPIRED"`) {
			t.Errorf("before the close: %q", seen)
		}
		if d := time.Since(start); d != 185*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

// A client that knows that it is admitted is told why it is closed, however
// soon that is.
func TestPlainRevocation(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		for round := range 100 {
			user := fmt.Sprint("user-", round)
			p := w.plainUser(user)
			if err := w.srv.Revoke(t.Context(), auth.Revocation{User: user}); err != nil {
				t.Fatal(err)
			}
			p.want(`{"type":"auth_closing","code":"SESSION_REVOKED"`)
			p.wantClose(4001, "SESSION_REVOKED")
		}
	})
}

func TestPlainOrigin(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		for origin, ok := range map[string]bool{"": true, "http://holdfast.test": true, "http://evil.test": false, "null": false} {
			h := http.Header{}
			if origin != "" {
				h.Set("Origin", origin)
			}
			conn, resp, err := websocket.Dial(t.Context(), "ws://holdfast.test/ws?sid=x", &websocket.DialOptions{HTTPClient: w.client(), HTTPHeader: h})
			if (err == nil) != ok || !ok && resp.StatusCode != 403 {
				t.Errorf("from %q: %v", origin, err)
			}
			if conn != nil {
				conn.CloseNow()
			}
		}
	})
}
