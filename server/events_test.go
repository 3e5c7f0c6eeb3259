package server_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
)

func TestRooms(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		alice, bob := w.connect("alice"), w.connect("bob")
		var epoch string
		for _, p := range []*peer{alice, bob} {
			p.send(`421["room:join",{"room":"r"}]`)
			ack := p.want(`431[{"ok":true,"data":{"room":"r","epoch":"`)
			epoch = strings.SplitN(strings.SplitN(ack, `"epoch":"`, 2)[1], `"`, 2)[0]
			if !strings.Contains(ack, `,"offset":0,"presence":[{"id":"alice","connections":1}`) {
				t.Errorf("ack %s", ack)
			}
		}
		alice.want(`42["presence:join",{"room":"r","user":{"id":"bob"}}]`)
		event := `42["hi",{"n":1},{"room":"r","epoch":"` + epoch + `","offset":1,"id":"x1","from":"alice"}]`
		alice.send(`422["room:publish",{"room":"r","event":"hi","data":{"n":1},"id":"x1"}]`)
		got := map[string]bool{alice.recv(): true, alice.recv(): true} // his own event may come before or after his ack
		if !got[event] || !got[`432[{"ok":true,"data":{"epoch":"`+epoch+`","offset":1}}]`] {
			t.Errorf("alice got %v", got)
		}
		if m := bob.recv(); m != event {
			t.Errorf("bob got %s", m)
		}
		// The same id again has no second effect and the same answer.
		alice.send(`423["room:publish",{"room":"r","event":"hi","data":{"n":1},"id":"x1"}]`)
		alice.want(`433[{"ok":true,"data":{"epoch":"` + epoch + `","offset":1}}]`)
		bob.quiet()

		// A repeated join changes nothing and replays nothing.
		bob.send(`424["room:join",{"room":"r","since":{"epoch":"` + epoch + `","offset":0}}]`)
		bob.want(`434[{"ok":true,"data":{"room":"r"`)
		bob.quiet()

		// Publishing needs the right, not membership.
		bob.send(`425["room:leave",{"room":"r"}]`)
		bob.want(`435[{"ok":true,"data":null}]`)
		bob.send(`426["room:publish",{"room":"r","event":"bye"}]`)
		bob.want(`436[{"ok":true`)
		alice.want(`42["bye",null,{"room":"r","epoch":"` + epoch + `","offset":2,"from":"bob"}]`)
		bob.quiet()
	})
}

func TestSince(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		var first holdfast.Position
		for i := range 5 {
			pos, err := w.srv.Publish(t.Context(), "r", "n", i)
			if err != nil {
				t.Fatal(err)
			}
			if i == 1 {
				first = pos
			}
		}
		p := w.connect("alice")
		p.send(fmt.Sprintf(`421["room:join",{"room":"r","since":{"epoch":%q,"offset":%d}}]`, first.Epoch, first.Offset))
		for i := 2; i < 5; i++ {
			p.want(fmt.Sprintf(`42["n",%d,{`, i))
		}
		if ack := p.want(`431[{"ok":true`); !strings.Contains(ack, `"offset":5,"recovered":true`) {
			t.Errorf("ack %s", ack)
		}
		p.send(`422["room:leave",{"room":"r"}]`, `423["room:join",{"room":"r","since":{"epoch":"other","offset":1}}]`)
		p.want(`432[`)
		if ack := p.want(`433[{"ok":true`); !strings.Contains(ack, `"recovered":false`) {
			t.Errorf("ack %s", ack)
		}
		p.quiet()
	})
}

func TestRefusedEvents(t *testing.T) {
	cases := []struct{ name, event, code string }{
		{"room not permitted", `["room:join",{"room":"secret"}]`, "FORBIDDEN"},
		{"publish not permitted", `["room:publish",{"room":"hall","event":"e"}]`, "FORBIDDEN"},
		{"payload missing", `["room:join"]`, "INVALID_ARGUMENT"},
		{"payload null", `["room:join",null]`, "INVALID_ARGUMENT"},
		{"payload of another type", `["room:join","hall"]`, "INVALID_ARGUMENT"},
		{"room of another type", `["room:join",{"room":7}]`, "INVALID_ARGUMENT"},
		{"room missing", `["room:join",{}]`, "INVALID_ARGUMENT"},
		{"room with a wildcard", `["room:join",{"room":"ha*"}]`, "INVALID_ARGUMENT"},
		{"room with a zero-width character", `["room:join",{"room":"ha\u200bll"}]`, "INVALID_ARGUMENT"},
		{"room with a control character", `["room:leave",{"room":"ha\nll"}]`, "INVALID_ARGUMENT"},
		{"since of no epoch", `["room:join",{"room":"hall","since":{"epoch":"","offset":1}}]`, "INVALID_ARGUMENT"},
		{"since of another alphabet", `["room:join",{"room":"hall","since":{"epoch":"a b","offset":1}}]`, "INVALID_ARGUMENT"},
		{"since too far", `["room:join",{"room":"hall","since":{"epoch":"x","offset":9007199254740992}}]`, "INVALID_ARGUMENT"},
		{"negative since", `["room:join",{"room":"hall","since":{"epoch":"x","offset":-1}}]`, "INVALID_ARGUMENT"},
		{"event missing", `["room:publish",{"room":"pub"}]`, "INVALID_ARGUMENT"},
		{"reserved event", `["room:publish",{"room":"pub","event":"disconnect"}]`, "INVALID_ARGUMENT"},
		{"forged event", `["room:publish",{"room":"pub","event":"presence:join","data":{}}]`, "INVALID_ARGUMENT"},
		{"id too long", `["room:publish",{"room":"pub","event":"e","id":"` + strings.Repeat("i", 129) + `"}]`, "INVALID_ARGUMENT"},
		{"data too large", `["room:publish",{"room":"pub","event":"e","data":"` + strings.Repeat("d", 70_000) + `"}]`, "MESSAGE_TOO_LARGE"},
		{"unknown event", `["nobody:home",{}]`, "NOT_FOUND"},
		{"own event that does not exist", `["room:destroy",{}]`, "NOT_FOUND"},
		{"refresh without a token", `["auth:refresh",{}]`, "INVALID_ARGUMENT"},
		{"refresh with a bad token", `["auth:refresh",{"token":"abc"}]`, "UNAUTHENTICATED"},
		{"handler's payload of another type", `["typed",{"n":"x"}]`, "INVALID_ARGUMENT"},
		{"handler's own error", `["fails",null]`, "CONFLICT"},
		{"handler's hidden error", `["breaks",null]`, "INTERNAL"},
		{"handler's panic", `["panics",null]`, "INTERNAL"},
		{"handler's data too large", `["typed","` + strings.Repeat("d", 70_000) + `"]`, "MESSAGE_TOO_LARGE"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t, server.Config{})
				server.Handle(w.srv, "typed", func(_ context.Context, _ *server.Conn, in struct{ N int }) (int, error) { return in.N, nil })
				server.Handle(w.srv, "fails", func(context.Context, *server.Conn, *struct{}) (int, error) {
					return 0, &holdfast.Error{Code: holdfast.Conflict, Message: "taken", Details: []byte(`{"by":"bob"}`)}
				})
				server.Handle(w.srv, "breaks", func(context.Context, *server.Conn, *struct{}) (int, error) {
					return 0, errors.New("the password of the database is hunter2")
				})
				server.Handle(w.srv, "panics", func(context.Context, *server.Conn, *struct{}) (int, error) { panic("hunter2") })
				p := w.connect("alice", `{"permissions":{"rooms":{"hall":["join"],"pub":["publish"]}}}`)
				p.send("427" + tc.event)
				got := p.want(`437[{"ok":false,"error":{"message":"`)
				if !strings.Contains(got, `"code":"`+tc.code+`"`) || strings.Contains(got, "hunter2") {
					t.Errorf("got %s, want %s", got, tc.code)
				}
				if tc.code == "CONFLICT" && !strings.Contains(got, `"details":{"by":"bob"}`) {
					t.Errorf("no details in %s", got)
				}
				p.quiet() // the connection stays
			})
		})
	}
}

func TestJoinRefusedWithoutAck(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		p := w.connect("alice", `{"permissions":{"rooms":[]}}`)
		p.send(`42["room:join",{"room":"hall"}]`)
		p.want(`42["room:error",{"room":"hall","code":"FORBIDDEN","message":"`)
	})
}

// What breaks the protocol ends the connection with a code.
func TestProtocolErrors(t *testing.T) {
	cases := []struct {
		name   string
		send   []string
		binary []byte
	}{
		{name: "unknown packet type", send: []string{"4abc"}},
		{name: "event that is no array", send: []string{"42{}"}},
		{name: "event without a name", send: []string{"42[]"}},
		{name: "ack id that is no number", send: []string{`42abc["e"]`}},
		{name: "bad JSON", send: []string{`42["e",{]`}},
		{name: "deep JSON", send: []string{`42["e",` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `]`}},
		{name: "connect error from a client", send: []string{`44{"message":"x"}`}},
		{name: "event for a namespace that is not connected", send: []string{`42/x,["e"]`}},
		{name: "text where an attachment is due", send: []string{`451-["e",{"_placeholder":true,"num":0}]`, `42["e"]`}},
		{name: "binary that nobody announced", binary: []byte{1}},
		{name: "forged placeholder", send: []string{`451-["e",{"_placeholder":true,"num":7}]`}, binary: []byte{1}},
		{name: "too many attachments", send: []string{`4599-["e"]`}},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				w := newWorld(t, server.Config{})
				server.HandleRaw(w.srv, "e", func(context.Context, *server.Conn, socketio.Args) (socketio.Args, error) {
					t.Error("a handler saw it")
					return socketio.Args{}, nil
				})
				p := w.connect("alice")
				p.send(tc.send...)
				if tc.binary != nil {
					p.sendBinary(tc.binary)
				}
				seen := p.wantClose(1002, "PROTOCOL_ERROR")
				if len(seen) != 1 || !strings.Contains(seen[0], `"code":"PROTOCOL_ERROR"`) {
					t.Errorf("before the close: %q", seen)
				}
			})
		})
	}
}

func TestTooLargeBeforeAdmission(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		p := w.dial()
		p.send(`40{"token":"` + strings.Repeat("a", 17<<10) + `"}`)
		p.wantClose(1009, "MESSAGE_TOO_LARGE")
	})
}

func TestBinary(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		type file struct {
			Name string          `json:"name"`
			Body socketio.Binary `json:"body"`
		}
		server.Handle(w.srv, "upload", func(_ context.Context, _ *server.Conn, in file) (file, error) {
			return file{Name: in.Name, Body: append(socketio.Binary("got "), in.Body...)}, nil
		})
		server.HandleRaw(w.srv, "raw", func(_ context.Context, _ *server.Conn, args socketio.Args) (socketio.Args, error) { return args, nil })
		p := w.connect("alice")
		p.send(`451-1["upload",{"name":"a","body":{"_placeholder":true,"num":0}}]`)
		p.sendBinary([]byte("bytes"))
		p.want(`461-1[{"ok":true,"data":{"name":"a","body":{"_placeholder":true,"num":0}}}]`)
		p.want("binary:got bytes")

		p.send(`451-2["raw",7,{"_placeholder":true,"num":0}]`)
		p.sendBinary([]byte("bytes"))
		p.want(`461-2[7,{"_placeholder":true,"num":0}]`)
		p.want("binary:bytes")

		// Through a room, and from its history.
		p.send(`423["room:join",{"room":"r"}]`)
		p.want("433[")
		p.send(`451-4["room:publish",{"room":"r","event":"file","data":[{"_placeholder":true,"num":0}]}]`)
		p.sendBinary([]byte("bytes"))
		p.want(`451-["file",[{"_placeholder":true,"num":0}],{"room":"r"`)
		p.want("binary:bytes")
		p.want("434[")

		// Binary anywhere but in the data would make an event that no parser takes.
		p.send(`451-5["room:publish",{"room":"r","event":"file","data":1,"x":{"_placeholder":true,"num":0}}]`)
		p.sendBinary([]byte("bytes"))
		if got := p.recv(); !strings.Contains(got, `"code":"INVALID_ARGUMENT"`) {
			t.Errorf("got %s", got)
		}
	})
}

func TestServerAsks(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		server.Handle(w.srv, "ask-me", func(ctx context.Context, c *server.Conn, _ *struct{}) (string, error) {
			// The client's answer must arrive while its event is being handled.
			return server.Ask[string](ctx, c, "name?")
		})
		server.Handle(w.srv, "ask-much", func(ctx context.Context, c *server.Conn, _ *struct{}) (int, error) {
			refused := make(chan int, 1)
			for range 64 {
				go c.EmitAck(ctx, "q")
			}
			synctest.Wait()
			n := 0
			if _, err := c.EmitAck(ctx, "q"); errors.Is(err, holdfast.RateLimited) {
				n = 1
			}
			refused <- n
			return <-refused, nil
		})
		p := w.connect("alice")
		p.send(`421["ask-me"]`)
		p.want(`420["name?"]`)
		p.send(`430["Alice"]`)
		p.want(`431[{"ok":true,"data":"Alice"}]`)
		p.send(`4399["nobody asked"]`)
		p.quiet()

		p.send(`422["ask-much"]`)
		for range 64 {
			p.want(`42`)
		}
		p.want(`432[{"ok":true,"data":1}]`)
	})
}

// A handler that takes long must not hold up heartbeats, acks, or others.
func TestSlowHandler(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		server.Handle(w.srv, "sleep", func(ctx context.Context, _ *server.Conn, _ *struct{}) (string, error) {
			select {
			case <-time.After(5 * time.Minute):
				return "slept", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		})
		slow := w.dial()
		slow.connect(token(t, "alice", time.Hour))
		slow.send(`421["sleep"]`, `422["room:join",{"room":"r"}]`)
		other := w.connect("bob")
		other.quiet()
		slow.want(`431[{"ok":true,"data":"slept"}]`) // answers 12 heartbeats on the way
		slow.want(`432[`)                            // in order
	})
}

// More events than may wait are read later, not lost.
func TestBackpressure(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{MessageRate: -1})
		gate := make(chan struct{})
		server.Handle(w.srv, "n", func(_ context.Context, _ *server.Conn, n int) (int, error) {
			<-gate
			return n, nil
		})
		p := w.connect("alice")
		const events = 1000
		go func() {
			for i := range events {
				p.send(fmt.Sprintf(`42%d["n",%d]`, i, i))
			}
		}()
		synctest.Wait()
		close(gate)
		for i := range events {
			p.want(fmt.Sprintf(`43%d[{"ok":true,"data":%d}]`, i, i))
		}
	})
}

// Events that arrived before the client left are still handled.
func TestEventsBeforeLeaving(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		handled := make(chan error, 3)
		server.Handle(w.srv, "work", func(ctx context.Context, _ *server.Conn, _ *struct{}) (int, error) {
			<-time.After(time.Second)
			handled <- ctx.Err()
			return 0, nil
		})
		p := w.connect("alice")
		p.send(`42["work"]`, `42["work"]`, `42["work"]`)
		synctest.Wait()
		p.conn.CloseNow()
		for range 3 {
			if err := <-handled; err != nil {
				t.Errorf("context ended: %v", err)
			}
		}
		synctest.Wait()
		if n := w.srv.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

func TestMessageRate(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{MessageRate: 10, MessageBurst: 20})
		server.Handle(w.srv, "n", func(_ context.Context, _ *server.Conn, n int) (int, error) { return n, nil })
		p := w.connect("alice") // its CONNECT counts
		for i := range 19 {
			p.send(fmt.Sprintf(`42%d["n",%d]`, i, i))
			p.want(fmt.Sprintf(`43%d[{"ok":true`, i))
		}
		p.send(`4220["n",1]`)
		if got := p.recv(); got != `4320[{"ok":false,"error":{"message":"Too many messages","code":"RATE_LIMITED","retryAfter":1}}]` {
			t.Errorf("got %s", got)
		}
		<-time.After(time.Second)
		p.send(`4221["n",1]`)
		p.want(`4321[{"ok":true`)
		// Without an ack there is no other way to say it.
		for range 12 {
			p.conn.Write(p.ctx, 1, []byte(`42["n",1]`))
		}
		seen := p.wantClose(4008, "RATE_LIMITED")
		if len(seen) != 1 || seen[0] != `42["auth:closing",{"message":"Too many messages","code":"RATE_LIMITED","retryAfter":1}]` {
			t.Errorf("before the close: %q", seen)
		}
	})
}

func TestSlowConsumer(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{QueueBytes: 256 << 10, MessageRate: -1})
		slow, quick := w.connect("slow"), w.connect("quick")
		for _, p := range []*peer{slow, quick} {
			p.send(`421["room:join",{"room":"r"}]`)
			p.want("431[")
		}
		data := strings.Repeat("x", 10_000)
		for i := range 200 {
			if _, err := w.srv.Publish(t.Context(), "r", "big", data); err != nil {
				t.Fatal(err)
			}
			quick.want(`42["big","xxx`)
			if i == 199 {
				break
			}
		}
		synctest.Wait()
		if n := w.srv.Connections(); n != 1 {
			t.Errorf("%d connections, want the quick one alone", n)
		}
	})
}

// What a handler was given stays as it was sent while more arrives.
func TestBinaryIsTheHandlersOwn(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		gate := make(chan struct{})
		server.HandleRaw(w.srv, "keep", func(_ context.Context, _ *server.Conn, args socketio.Args) (socketio.Args, error) {
			<-gate
			return args, nil
		})
		p := w.connect("alice")
		for i := range 3 {
			p.send(fmt.Sprintf(`452-%d["keep",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, i))
			p.sendBinary([]byte(fmt.Sprintf("first %d", i)))
			p.sendBinary([]byte(fmt.Sprintf("second %d", i)))
			synctest.Wait() // so that the next lands where this one was
		}
		synctest.Wait()
		close(gate)
		for i := range 3 {
			p.want(fmt.Sprintf(`462-%d[`, i))
			p.want(fmt.Sprintf("binary:first %d", i))
			p.want(fmt.Sprintf("binary:second %d", i))
		}
	})
}
