package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// journal is what an application was told, one line a call.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

// take returns what was told since the last call.
func (j *journal) take() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	lines := strings.Join(j.lines, "\n")
	j.lines = nil
	return lines
}

// follow registers everything that tells something.
func (j *journal) follow(srv *server.Server) {
	srv.OnLeave(func(_ context.Context, l server.Leave) {
		j.add("leave %s %s %v %s", l.Conn.Identity().User, l.Room, l.Disconnected, codeOf(l.Err))
	})
	srv.OnDisconnect(func(ctx context.Context, c *server.Conn, err error) {
		id, _ := holdfast.IdentityFrom(ctx)
		j.add("disconnect %s %s", id.User, codeOf(holdfast.AsError(err)))
	})
	srv.Observe(server.Observer{
		Connected: func(ctx context.Context, c *server.Conn) { j.add("connected %s", c.Identity().User) },
		Joined: func(ctx context.Context, in server.Join) {
			j.add("joined %s %s %d", in.Identity.User, in.Room, in.Position.Offset)
		},
		Disconnected: func(ctx context.Context, c *server.Conn, err error) {
			j.add("disconnected %s %s", c.Identity().User, codeOf(holdfast.AsError(err)))
		},
		Published: func(ctx context.Context, p server.Publish) {
			j.add("published %s %s %d %s", p.Event.From, p.Event.Name, p.Event.Position.Offset, p.Event.Data)
		},
	})
}

// codeOf is an error's code, "-" for none.
func codeOf(err *holdfast.Error) string {
	if err == nil {
		return "-"
	}
	return string(err.Code)
}

// refusals are the ways in which a hook can say no, with what a client sees.
var refusals = []struct {
	name string
	fail func() error
	code string
}{
	{"code", func() error { return holdfast.Conflict }, "CONFLICT"},
	{"error with a code", func() error { return holdfast.Errorf(holdfast.Forbidden, "no guests") }, "FORBIDDEN"},
	{"wrapped", func() error { return fmt.Errorf("hunter2: %w", holdfast.NotFound.New()) }, "NOT_FOUND"},
	{"rate limited", func() error { return &holdfast.Error{Code: holdfast.RateLimited, RetryAfter: 3 * time.Second} }, "RATE_LIMITED"},
	{"hidden", func() error { return errors.New("hunter2") }, "INTERNAL"},
	{"cancelled", func() error { return context.DeadlineExceeded }, "INTERNAL"},
	{"panic", func() error { panic("hunter2") }, "INTERNAL"},
}

func TestHooksRefuse(t *testing.T) {
	for _, tc := range refusals {
		t.Run(tc.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorldWithKeys(t)
				j := new(journal)
				j.follow(w.srv)
				w.srv.OnJoin(func(context.Context, *server.Join) error { return tc.fail() })
				w.srv.OnPublish(func(context.Context, *server.Publish) error { return tc.fail() })
				check := func(answer string) {
					t.Helper()
					if !strings.Contains(answer, `"code":"`+tc.code+`"`) || strings.Contains(answer, "hunter2") {
						t.Errorf("got %s, want %s", answer, tc.code)
					}
					if (tc.code == "RATE_LIMITED") != strings.Contains(answer, `"retryAfter":3`) {
						t.Errorf("retryAfter in %s", answer)
					}
				}
				p := w.connect("alice")
				p.send(`421["room:join",{"room":"r"}]`)
				check(p.want(`431[{"ok":false`))
				p.send(`42["room:join",{"room":"r"}]`)
				if m := p.want(`42["room:error",{"room":"r","code":"`); !strings.Contains(m, tc.code) {
					t.Errorf("got %s, want %s", m, tc.code)
				}
				p.send(`422["room:publish",{"room":"r","event":"e"}]`)
				check(p.want(`432[{"ok":false`))
				p.quiet() // the connection stays

				plain := w.plainUser("bob")
				plain.send(`{"type":"join","room":"r","ref":1}`, `{"type":"publish","room":"r","event":"e","ref":2}`)
				check(plain.want(`{"type":"error","ref":1`))
				check(plain.want(`{"type":"error","ref":2`))

				for _, credential := range []string{token(t, "carol", time.Hour), staticKey} {
					status, _, body := w.request("POST", roomPath("r"), `{"event":"e"}`, "Authorization", "Bearer "+credential)
					check(body)
					if want := holdfast.Code(tc.code).Info().HTTP; status != want {
						t.Errorf("status %d, want %d", status, want)
					}
				}
				if _, err := w.srv.Publish(t.Context(), "r", "own", 1); err != nil {
					t.Errorf("the program's own event: %v", err)
				}
				synctest.Wait()
				told := strings.Split(j.take(), "\n") // of three, which have no order among them
				slices.Sort(told)
				if want := []string{"connected alice", "connected bob", "published  own 1 1"}; !slices.Equal(told, want) {
					t.Errorf("told %q, want %q", told, want)
				}
			})
		})
	}
}

// What is told of one connection comes in order, and once.
func TestTold(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		j := new(journal)
		j.follow(w.srv)
		joins := 0
		w.srv.OnJoin(func(context.Context, *server.Join) error { joins++; return nil })
		w.srv.OnConnect(func(ctx context.Context, c *server.Conn) error {
			_, err := c.Join(ctx, "lobby")
			return err
		})
		w.srv.OnConnect(func(ctx context.Context, c *server.Conn) error {
			if c.Identity().User == "mallory" {
				return holdfast.Forbidden.New()
			}
			return nil
		})
		want := func(lines ...string) {
			t.Helper()
			synctest.Wait()
			if got := j.take(); got != strings.Join(lines, "\n") {
				t.Errorf("told\n%s\nwant\n%s", got, strings.Join(lines, "\n"))
			}
		}
		p := w.connect("alice")
		want("connected alice", "joined alice lobby 0")
		p.send(`421["room:join",{"room":"r"}]`, `422["room:join",{"room":"r"}]`)
		p.want(`431[{"ok":true`)
		p.want(`432[{"ok":true`)
		want("joined alice r 0")
		p.send(`423["room:publish",{"room":"x","event":"e","data":{"n":1}}]`)
		p.want(`433[{"ok":true`)
		want(`published alice e 1 {"n":1}`)
		if joins != 2 {
			t.Errorf("asked about %d joins, want 2", joins)
		}
		p.send(`424["room:leave",{"room":"r"}]`, `425["room:leave",{"room":"r"}]`, `426["room:join",{"room":"r"}]`)
		p.want(`434[`)
		p.want(`435[`)
		p.want(`436[`)
		want("leave alice r false -", "joined alice r 0")
		p.send("41")
		p.conn.CloseNow()
		synctest.Wait()
		got := j.take()
		for _, line := range []string{"leave alice r true -", "leave alice lobby true -"} {
			if strings.Count(got, line) != 1 {
				t.Errorf("%q is not once in\n%s", line, got)
			}
		}
		if !strings.HasSuffix(got, "\ndisconnect alice -\ndisconnected alice -") {
			t.Errorf("told\n%s", got)
		}

		// Refused by a later function: what it joined is told, and nothing else.
		m := w.dial()
		m.send(`40{"token":"` + token(t, "mallory", time.Hour) + `"}`)
		m.want("44{")
		want("joined mallory lobby 0", "leave mallory lobby true FORBIDDEN")
	})
}

// The functions change what they may change, and nothing else.
func TestPublishChanged(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.srv.OnPublish(func(_ context.Context, p *server.Publish) error {
			e := p.Event
			e.Name, e.Data = e.Name+"1", json.RawMessage(`{"by":"`+p.Identity.User+`"}`)
			e.Room, e.From, e.ID, e.Except = "elsewhere", "mallory", "other", p.Conn.ID()
			return nil
		})
		w.srv.OnPublish(func(_ context.Context, p *server.Publish) error {
			e := p.Event
			if e.Room != "r" || e.From != "alice" || e.ID != "i" || e.Except != "" {
				t.Errorf("the second function got %+v", e)
			}
			e.Name += "2"
			return nil
		})
		p := w.connect("alice")
		p.send(`421["room:join",{"room":"r"}]`)
		p.want(`431[`)
		p.send(`42["room:publish",{"room":"r","event":"e","data":1,"id":"i"}]`)
		m := p.want(`42["e12",{"by":"alice"},{"room":"r",`)
		if !strings.HasSuffix(m, `"offset":1,"id":"i","from":"alice"}]`) {
			t.Errorf("got %s", m)
		}
	})
}

// The error of OnDisconnect tells why a connection ended, on every transport.
func TestDisconnectReasons(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(t *testing.T, w *world, p *peer)
		code string
	}{
		{"client closes", func(_ *testing.T, _ *world, p *peer) { p.conn.Close(1000, "") }, "-"},
		{"cut off", func(_ *testing.T, _ *world, p *peer) { p.conn.CloseNow() }, "GOING_AWAY"},
		{"silent", func(*testing.T, *world, *peer) { <-time.After(2 * time.Minute) }, "GOING_AWAY"},
		{"expired", func(_ *testing.T, _ *world, p *peer) {
			for {
				if _, err := p.tryRecv(); err != nil {
					return
				}
			}
		}, "TOKEN_EXPIRED"},
		{"revoked", func(t *testing.T, w *world, _ *peer) {
			if err := w.srv.Revoke(t.Context(), auth.Revocation{User: "alice"}); err != nil {
				t.Error(err)
			}
		}, "SESSION_REVOKED"},
		{"closed by the program", func(_ *testing.T, w *world, _ *peer) {
			for c := range w.srv.Conns() {
				c.Close(holdfast.Conflict)
			}
		}, "CONFLICT"},
		{"closed by the program, in order", func(_ *testing.T, w *world, _ *peer) {
			for c := range w.srv.Conns() {
				c.Close(nil)
			}
		}, "-"},
		{"shut down", func(t *testing.T, w *world, p *peer) {
			go p.wantClose(1001, "GOING_AWAY")
			if err := w.srv.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		}, "GOING_AWAY"},
		{"bad message", func(_ *testing.T, _ *world, p *peer) { p.sendBinary([]byte{1}) }, "PROTOCOL_ERROR"},
	} {
		for _, transport := range []string{"socket.io", "ws"} {
			t.Run(tc.name+" "+transport, func(t *testing.T) {
				in(t, func(t *testing.T) {
					w := newWorld(t, server.Config{})
					j := new(journal)
					j.follow(w.srv)
					var p *peer
					if transport == "ws" {
						p = w.plainUser("alice")
						p.send(`{"type":"join","room":"r","ref":1}`)
						p.want(`{"type":"ok"`)
					} else {
						p = w.connect("alice")
						p.send(`421["room:join",{"room":"r"}]`)
						p.want("431[")
					}
					tc.end(t, w, p)
					<-time.After(10 * time.Second) // for a close that nobody answers
					synctest.Wait()
					want := "connected alice\njoined alice r 0\nleave alice r true " + tc.code +
						"\ndisconnect alice " + tc.code + "\ndisconnected alice " + tc.code
					if got := j.take(); got != want {
						t.Errorf("told\n%s\nwant\n%s", got, want)
					}
				})
			})
		}
	}
}

// A namespace has its own connections, and its own ends of them.
func TestDisconnectOfNamespace(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		j := new(journal)
		w.srv.OnDisconnect(func(_ context.Context, c *server.Conn, err error) { j.add("main %s %v", c.Namespace(), err) })
		w.srv.Of("/chat").OnDisconnect(func(_ context.Context, c *server.Conn, err error) { j.add("chat %s %v", c.Namespace(), err) })
		w.srv.Observe(server.Observer{Disconnected: func(_ context.Context, c *server.Conn, _ error) { j.add("any %s", c.Namespace()) }})
		p := w.connect("alice")
		p.send(`40/chat,{"token":"` + token(t, "alice", time.Hour) + `"}`)
		p.want(`40/chat,`)
		p.want(`42/chat,["auth:session"`)
		p.send("41/chat,")
		p.quiet()
		synctest.Wait()
		if got := j.take(); got != "chat /chat <nil>\nany /chat" {
			t.Errorf("told %s", got)
		}
		p.conn.Close(1000, "")
		synctest.Wait()
		if got := j.take(); got != "main / <nil>\nany /" {
			t.Errorf("told %s", got)
		}
	})
}
