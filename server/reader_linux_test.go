package server_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
)

// byReader reports whether its caller is run by a goroutine that reads
// connections.
func byReader() bool {
	return strings.Contains(string(debug.Stack()), "transport.(*Conn).readMessages")
}

// readerCall is an event whose handler is to be run by a reader. Where the machine
// is slow it may be another goroutine: then the call is made again.
type readerCall struct {
	event string
	begun chan bool
	run   func(ctx context.Context, c *server.Conn) error
}

func newReaderCall(event string, run func(ctx context.Context, c *server.Conn) error) *readerCall {
	return &readerCall{event: event, begun: make(chan bool), run: run}
}

func (r *readerCall) handle(ctx context.Context, c *server.Conn, args socketio.Args) (socketio.Args, error) {
	mine := byReader()
	r.begun <- mine
	if !mine {
		return args, nil
	}
	return args, r.run(ctx, c)
}

// make makes a reader run the handler, and returns when it does. Its ack has the id 7.
func (r *readerCall) make(p *peer) {
	p.t.Helper()
	for range 100_000 {
		p.send(fmt.Sprintf(`427[%q]`, r.event))
		if <-r.begun {
			return
		}
		p.want(`437[]`)
	}
	p.t.Fatal("no reader ever runs a handler")
}

// loopWorld is a server on TCP, whose loops run handlers.
func loopWorld(t *testing.T, calls ...*readerCall) (*world, *peer) {
	t.Helper()
	w := newTCPWorld(t, server.Config{MessageRate: -1})
	for _, call := range calls {
		server.HandleRaw(w.srv, call.event, call.handle)
	}
	return w, w.connect("alice")
}

// ping waits for a pong, while nothing else comes but what goes to first.
func (p *peer) ping(first chan<- string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	go func() { m, _ := p.tryRecv(); first <- m }() // which takes the pong as well
	if err := p.conn.Ping(ctx); err != nil {
		p.t.Fatalf("no pong while a handler blocks: %v", err)
	}
}

// A handler that waits for its client's ack gets it, though it is run by
// the goroutine that was to read it.
func TestReaderAsks(t *testing.T) {
	answers := make(chan string, 1)
	ask := newReaderCall("ask", func(ctx context.Context, c *server.Conn) error {
		answer, err := server.Ask[string](ctx, c, "question")
		answers <- answer
		return err
	})
	_, p := loopWorld(t, ask)
	ask.make(p)
	id := strings.TrimSuffix(strings.TrimPrefix(p.want(`42`), "42"), `["question"]`)
	p.send(`43` + id + `["yes"]`)
	p.want(`437[]`)
	if answer := <-answers; answer != "yes" {
		t.Errorf("the answer was %q", answer)
	}
}

// While a handler blocks, its connection's other messages are read, and its
// events wait, in order.
func TestReaderBlocks(t *testing.T) {
	hold := make(chan struct{})
	order := make(chan string, 21)
	call := newReaderCall("hold", func(context.Context, *server.Conn) error {
		<-hold
		order <- "hold"
		return nil
	})
	w, p := loopWorld(t, call)
	server.HandleRaw(w.srv, "note", func(_ context.Context, _ *server.Conn, args socketio.Args) (socketio.Args, error) {
		order <- string(args.AppendArray(nil))
		return args, nil
	})
	call.make(p)
	for i := range 20 {
		p.send(fmt.Sprintf(`42%d["note",%d]`, 100+i, i))
	}
	first := make(chan string, 1)
	p.ping(first)
	select {
	case m := <-first:
		t.Fatalf("%s came while the first handler blocks", m)
	default:
	}
	close(hold)
	if m := <-first; m != `437[]` {
		t.Fatalf("%s came first", m)
	}
	for i := range 20 {
		p.want(fmt.Sprintf(`43%d[%d]`, 100+i, i))
	}
	if got := <-order; got != "hold" {
		t.Errorf("%s was handled first", got)
	}
	for i := range 20 {
		if got, want := <-order, fmt.Sprintf("[%d]", i); got != want {
			t.Errorf("%s was handled, not %s", got, want)
		}
	}
}

// A connection whose handler blocks hears of its end, and the end waits for the
// handler.
func TestReaderBlocksAtTheEnd(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(*world, *peer)
	}{
		{"revoked", func(w *world, p *peer) {
			if err := w.srv.Revoke(p.ctx, auth.Revocation{User: "alice"}); err != nil {
				p.t.Error(err)
			}
			p.wantClose(4001, "SESSION_REVOKED")
		}},
		{"the client closes", func(_ *world, p *peer) {
			if err := p.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
				p.t.Error(err)
			}
		}},
		{"the client is lost", func(_ *world, p *peer) { p.conn.CloseNow() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hold, left := make(chan struct{}), make(chan struct{})
			var returns atomic.Bool
			call := newReaderCall("hold", func(context.Context, *server.Conn) error {
				<-hold
				returns.Store(true)
				return nil
			})
			w, p := loopWorld(t, call)
			w.srv.OnDisconnect(func(context.Context, *server.Conn, error) {
				if !returns.Load() {
					t.Error("the connection is gone while its handler runs")
				}
				close(left)
			})
			call.make(p)
			tc.end(w, p)
			close(hold)
			<-left
		})
	}
}

// Shutdown waits for a handler that a reader runs, and no longer than it may.
func TestReaderBlocksShutdown(t *testing.T) {
	cancelled := make(chan struct{})
	call := newReaderCall("hold", func(ctx context.Context, _ *server.Conn) error {
		<-ctx.Done()
		close(cancelled)
		return nil
	})
	w, p := loopWorld(t, call)
	call.make(p)
	go p.wantClose(1001, "GOING_AWAY")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	select {
	case <-cancelled:
	default:
		t.Error("Shutdown has not waited for the handler")
	}
}

// A handler that ends its goroutine does not take the reader with it: not from
// its own connection, nor from others.
func TestReaderEnds(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%v", late), func(t *testing.T) {
			hold, handled, left := make(chan struct{}), make(chan struct{}), make(chan error, 100)
			call := newReaderCall("end", func(context.Context, *server.Conn) error {
				if late {
					<-hold
				}
				runtime.Goexit()
				return nil
			})
			w, p := loopWorld(t, call)
			server.HandleRaw(w.srv, "next", func(_ context.Context, _ *server.Conn, args socketio.Args) (socketio.Args, error) {
				close(handled)
				return args, nil
			})
			server.HandleRaw(w.srv, "other", func(_ context.Context, _ *server.Conn, args socketio.Args) (socketio.Args, error) {
				return args, nil
			})
			var others []*peer
			for range 2 * runtime.GOMAXPROCS(0) { // of which some are the same reader's
				others = append(others, w.connect("bob"))
			}
			w.srv.OnDisconnect(func(_ context.Context, _ *server.Conn, err error) { left <- err })
			call.make(p)
			if late {
				p.send(`42["next"]`)
				ended := make(chan string, 1)
				p.ping(ended)
				close(hold)
				<-handled
				<-ended
			} else {
				p.wantClose(1011, "INTERNAL")
			}
			<-left
			for _, o := range others {
				o.send(`428["other",1]`)
				o.want(`438[1]`)
			}
		})
	}
}

// A panic behind a handler's own recovery ends the call alone.
func TestReaderPanics(t *testing.T) {
	call := newReaderCall("panic", func(context.Context, *server.Conn) error { panic("no") })
	_, p := loopWorld(t, call)
	call.make(p)
	p.want(`437[{"ok":false,"error":{"message":`)
	call.make(p)
	p.want(`437[{"ok":false,"error":{"message":`)
}
