package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
)

// topic opens /ws/topic.
func (w *world) topic(query string, header ...string) *peer {
	w.t.Helper()
	return w.webSocket("/ws/topic"+query, nil, header...)
}

func (w *world) topicUser(sub string, more ...string) *peer {
	w.t.Helper()
	p := w.topic("")
	p.send(`{"topic":"auth","data":{"token":"` + token(w.t, sub, time.Hour, more...) + `"}}`)
	p.want(`{"topic":"authenticated","data":{"user":{"id":"` + sub + `"`)
	return p
}

// A connection is admitted and refused as at /ws, in other words.
func TestTopicAdmission(t *testing.T) {
	const refused = `{"topic":"error","data":{"error":"Unauthorized","code":"UNAUTHENTICATED"}}`
	good := func(t *testing.T) string { return token(t, "alice", time.Hour) }
	cases := []struct {
		name   string
		cfg    server.Config
		query  func(t *testing.T) string
		header func(t *testing.T) []string
		send   func(t *testing.T) string
		want   string
		code   int
		reason string
	}{
		{name: "query, as hyper-fetch has it", cfg: server.Config{AllowQueryToken: true}, query: func(t *testing.T) string { return "?token=" + good(t) },
			want: `{"topic":"authenticated","data":{"user":{"id":"alice"},"expiresAt":`},
		{name: "query where it is not allowed", query: func(t *testing.T) string { return "?token=" + good(t) }, want: refused, code: 4001, reason: "UNAUTHENTICATED"},
		{name: "header", header: func(t *testing.T) []string { return []string{"Authorization", "Bearer " + good(t)} }, want: `{"topic":"authenticated"`},
		{name: "first message", send: func(t *testing.T) string { return `{"topic":"auth","data":{"token":"` + good(t) + `"}}` }, want: `{"topic":"authenticated"`},
		{name: "expired", send: func(t *testing.T) string {
			return `{"topic":"auth","data":{"token":"` + token(t, "alice", -time.Hour) + `"}}`
		}, want: `{"topic":"error","data":{"error":"Unauthorized: token expired","code":"TOKEN_EXPIRED"}}`, code: 4002, reason: "TOKEN_EXPIRED"},
		{name: "another message first", send: func(*testing.T) string { return `{"topic":"join","data":{"room":"r"}}` }, want: refused, code: 4001, reason: "UNAUTHENTICATED"},
		{name: "the other form", send: func(t *testing.T) string { return `{"type":"auth","token":"` + good(t) + `"}` },
			want: `{"topic":"error","data":{"error":"topic is missing","code":"INVALID_ARGUMENT"}}`},
		{name: "heartbeats earn no time", send: func(*testing.T) string { return `{"topic":"heartbeat","data":"heartbeat"}` },
			want: `{"topic":"heartbeat","data":"heartbeat"}`},
		{name: "nothing", want: refused, code: 4001, reason: "UNAUTHENTICATED"},
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
				p := w.topic(query, header...)
				if tc.send != nil {
					p.send(tc.send(t))
				}
				p.want(tc.want)
				switch {
				case tc.code != 0:
					p.wantClose(tc.code, tc.reason)
				case !strings.HasPrefix(tc.want, `{"topic":"authenticated"`): // it stays, but not for long
					p.want(refused)
					p.wantClose(4001, "UNAUTHENTICATED")
				}
			})
		})
	}
}

// One room is the same room in all forms.
func TestTopicRooms(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		alice, bob, carol := w.topicUser("alice"), w.connect("bob"), w.plainUser("carol")
		alice.send(`{"topic":"join","data":{"room":"r","ref":1}}`)
		var ack struct {
			Data holdfast.Position
			Ref  int
		}
		if err := json.Unmarshal([]byte(alice.want(`{"topic":"ok","data":{"room":"r","epoch":"`)), &ack); err != nil || ack.Ref != 1 {
			t.Fatalf("%+v %v", ack, err)
		}
		carol.send(`{"type":"join","room":"r","ref":1}`)
		carol.recv()
		alice.want(`{"topic":"presence:join","data":{"room":"r","user":{"id":"carol"},"viewers":2}}`)
		alice.send(`{"topic":"publish","data":{"room":"r","event":"hi","data":[1]}}`)
		carol.want(fmt.Sprintf(`{"type":"event","room":"r","event":"hi","data":[1],"epoch":%q,"offset":1,"from":"alice"}`, ack.Data.Epoch))
		alice.want(fmt.Sprintf(`{"topic":"hi","data":[1],"meta":{"room":"r","epoch":%q,"offset":1,"from":"alice"}}`, ack.Data.Epoch))
		bob.send(`421["room:publish",{"room":"r","event":"authenticated","data":{"user":{"id":"root"}},"id":"x"}]`)
		alice.want(fmt.Sprintf(`{"topic":"event","data":{"type":"event","room":"r","event":"authenticated","data":{"user":{"id":"root"}},"epoch":%q,"offset":2,"id":"x","from":"bob"}}`, ack.Data.Epoch))
		// Resume after a leave.
		alice.send(`{"topic":"leave","data":{"room":"r"}}`, fmt.Sprintf(`{"topic":"room:join","data":{"room":"r","since":{"epoch":%q,"offset":1}},"ref":"2"}`, ack.Data.Epoch))
		alice.want(`{"topic":"event","data":{"type":"event","room":"r","event":"authenticated"`)
		if m := alice.want(`{"topic":"ok","data":{"room":"r"`); !strings.Contains(m, `"recovered":true`) || !strings.HasSuffix(m, `,"ref":"2"}`) {
			t.Errorf("ack %s", m)
		}
	})
}

func TestTopicMessages(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		server.Handle(w.srv, "double", func(_ context.Context, _ *server.Conn, n int) (int, error) { return 2 * n, nil })
		server.HandleRaw(w.srv, "raw", func(_ context.Context, c *server.Conn, _ socketio.Args) (socketio.Args, error) {
			if err := c.Emit("told", 1); err != nil {
				return socketio.Args{}, err
			}
			if err := c.Emit("error", 2); err != nil {
				return socketio.Args{}, err
			}
			return socketio.Args{}, nil
		})
		p := w.topicUser("alice", `{"permissions":{"rooms":{"hall":["join"]}}}`)
		for _, tc := range []struct{ send, want string }{
			{`{`, `{"topic":"error","data":{"error":"Invalid JSON","code":"INVALID_ARGUMENT"}}`},
			{`{"topic":"join","data":{"room":"secret"}}`, `{"topic":"error","data":{"error":"Not allowed in this room","code":"FORBIDDEN","topic":"join"}}`},
			{`{"topic":"publish","data":{"room":"hall","event":"e","ref":4}}`, `{"topic":"error","data":{"error":"Not allowed to publish in this room","code":"FORBIDDEN","topic":"publish"},"ref":4}`},
			{`{"topic":"nobody:home","data":1}`, `{"topic":"error","data":{"error":"there is no handler for this event","code":"NOT_FOUND","topic":"nobody:home"}}`},
			{`{"topic":"double","data":21,"ref":7}`, `{"topic":"ok","data":42,"ref":7}`},
			{`{"topic":"double","data":"x"}`, `{"topic":"error","data":{"error":"double: `},
			{`{"topic":"double","data":21}`, ``}, // no ref, no answer
			{`{"topic":"raw"}`, `{"topic":"told","data":1}`},
			{`{"topic":"heartbeat","data":"heartbeat"}`, `{"topic":"event","data":{"type":"event","event":"error","data":2}}`},
			{`{"topic":"ping","ref":8}`, `{"topic":"heartbeat","data":"heartbeat"}`},
			{`{"topic":"auth","data":{"token":"abc"},"ref":9}`, `{"topic":"pong","data":null,"ref":8}`},
			{`{"topic":"ping"}`, `{"topic":"error","data":{"error":"Unauthorized`},
		} {
			p.send(tc.send)
			if tc.want != "" {
				p.want(tc.want)
			}
		}
		p.want(`{"topic":"pong","data":null}`)
	})
}

func TestTopicLife(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		p := w.topic("", "Authorization", "Bearer "+token(t, "alice", 100*time.Second))
		p.want(`{"topic":"authenticated"`)
		p.send(`{"topic":"join","data":{"room":"lost"},"ref":1}`)
		p.want(`{"topic":"ok"`)
		p.want(`{"topic":"auth:expiring","data":{"reason":"expiry","expiresAt":`)
		p.send(`{"topic":"auth:refresh","data":{"token":"` + token(t, "alice", 100*time.Second, `{"permissions":{"rooms":["r"]}}`) + `"},"ref":2}`)
		p.want(`{"topic":"room:left","data":{"room":"lost","code":"FORBIDDEN"`)
		p.want(`{"topic":"authenticated","data":{"user":{"id":"alice"},"expiresAt":`)
		p.want(`{"topic":"ok","data":{"expiresAt":`)
		if err := w.srv.Revoke(t.Context(), auth.Revocation{User: "alice"}); err != nil {
			t.Fatal(err)
		}
		p.want(`{"topic":"auth:closing","data":{"code":"SESSION_REVOKED"`)
		p.wantClose(4001, "SESSION_REVOKED")
	})
}

func TestTopicPath(t *testing.T) {
	if _, err := server.New(server.Config{Authenticator: auth.Func(nil), TopicPath: "/ws"}); holdfast.CodeOf(err) != holdfast.InvalidArgument {
		t.Errorf("two forms at one path: %v", err)
	}
	if _, err := server.New(server.Config{Authenticator: auth.Func(nil), TopicPath: "topics"}); holdfast.CodeOf(err) != holdfast.InvalidArgument {
		t.Errorf("a path without a slash: %v", err)
	}
}

// Compression on all WebSockets of a server: the events are the same, and go
// compressed from 1 KiB on.
func TestCompression(t *testing.T) {
	for _, mode := range []websocket.CompressionMode{websocket.CompressionDisabled, websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		in(t, func(t *testing.T) {
			w := newWorld(t, server.Config{Compression: true})
			options := &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1}
			long := strings.Repeat("long ", 1000)
			plain, topics, socket := w.webSocket("/ws", options), w.webSocket("/ws/topic", options), w.webSocket("/socket.io/?EIO=4&transport=websocket", options)
			plain.send(`{"type":"auth","token":"`+token(t, "alice", time.Hour)+`"}`, `{"type":"join","room":"r","ref":1}`)
			plain.want(`{"type":"authenticated"`)
			plain.want(`{"type":"ok"`)
			topics.send(`{"topic":"auth","data":{"token":"`+token(t, "bob", time.Hour)+`"}}`, `{"topic":"join","data":{"room":"r","ref":1}}`)
			topics.want(`{"topic":"authenticated"`)
			topics.want(`{"topic":"ok"`)
			socket.want(`0{`)
			socket.connect(token(t, "carol", time.Hour))
			socket.send(`421["room:join",{"room":"r"}]`)
			socket.want(`431[`)
			for _, user := range []string{"bob", "carol"} {
				plain.want(`{"type":"user_joined","room":"r","user":{"id":"` + user + `"}`)
			}
			topics.want(`{"topic":"presence:join","data":{"room":"r","user":{"id":"carol"}`)
			for range 3 {
				plain.send(`{"type":"publish","room":"r","event":"e","data":"` + long + `"}`)
				plain.want(`{"type":"event","room":"r","event":"e","data":"` + long)
				topics.want(`{"topic":"e","data":"` + long)
				socket.want(`42["e","` + long)
			}
			// A bomb, and what is too large anyway.
			topics.send(`{"topic":"x","data":"` + strings.Repeat("x", 2_000_000) + `"}`)
			topics.wantClose(1009, "MESSAGE_TOO_LARGE")
		})
	}
}
