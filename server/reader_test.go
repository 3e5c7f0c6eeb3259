package server_test

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
)

// byReader reports whether its caller is run by a goroutine that reads a
// connection.
func byReader() bool {
	return strings.Contains(string(debug.Stack()), "transport.(*Conn).readMessages")
}

// busyWorld is a server that has so much to do that readers run handlers. It
// has a handler "where", which tells whether one runs it, and "name" for
// each of handlers, which get the arguments' text.
func busyWorld(t *testing.T, cfg server.Config, handlers map[string]func(ctx context.Context, c *server.Conn, text string) error) (*world, *peer) {
	t.Helper()
	cfg.MessageRate = -1
	w := newWorld(t, cfg)
	server.HandleRaw(w.srv, "where", func(context.Context, *server.Conn, socketio.Args) (socketio.Args, error) {
		return socketio.NewArgs(byReader())
	})
	for name, call := range handlers {
		server.HandleRaw(w.srv, name, func(ctx context.Context, c *server.Conn, args socketio.Args) (socketio.Args, error) {
			return args, call(ctx, c, string(args.AppendArray(nil)))
		})
	}
	p := w.connect("alice")
	p.warm()
	return w, p
}

// warm sends events until the reader runs handlers. In a bubble that takes no
// time, however slow the machine is.
func (p *peer) warm() {
	p.t.Helper()
	for range 1000 {
		p.send(`421["where"]`)
		if p.want(`431[`) == `431[true]` {
			return
		}
	}
	p.t.Fatal("no reader ever runs a handler")
}

// A handler that waits for its client's ack gets it, though it is run by
// the goroutine that was to read it, and at once.
func TestReaderAsks(t *testing.T) {
	in(t, func(t *testing.T) {
		answers := make(chan string, 1)
		_, p := busyWorld(t, server.Config{}, map[string]func(context.Context, *server.Conn, string) error{
			"ask": func(ctx context.Context, c *server.Conn, _ string) error {
				if !byReader() {
					t.Error("this does not test what it should")
				}
				answer, err := server.Ask[string](ctx, c, "question")
				answers <- answer
				return err
			},
		})
		before := time.Now()
		p.send(`427["ask"]`)
		id := strings.TrimSuffix(strings.TrimPrefix(p.want(`42`), "42"), `["question"]`)
		p.send(`43` + id + `["yes"]`)
		p.want(`437[]`)
		if answer := <-answers; answer != "yes" {
			t.Errorf("the answer was %q", answer)
		}
		if waited := time.Since(before); waited != 0 {
			t.Errorf("the ack was read %v late", waited)
		}
	})
}

// While a handler blocks, its connection's other messages are read, and its
// events wait, in order.
func TestReaderBlocks(t *testing.T) {
	in(t, func(t *testing.T) {
		begun, hold := make(chan struct{}), make(chan struct{})
		var order []string // what runs handlers is one goroutine at a time
		_, p := busyWorld(t, server.Config{}, map[string]func(context.Context, *server.Conn, string) error{
			"hold": func(context.Context, *server.Conn, string) error {
				if !byReader() {
					t.Error("this does not test what it should")
				}
				close(begun)
				<-hold
				order = append(order, "hold")
				return nil
			},
			"note": func(_ context.Context, _ *server.Conn, text string) error {
				order = append(order, text)
				return nil
			},
		})
		p.send(`427["hold"]`)
		<-begun // or it would be read together with what follows
		for i := range 20 {
			p.send(fmt.Sprintf(`42%d["note",%d]`, 100+i, i))
		}
		ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
		defer cancel()
		first := make(chan string, 1)
		go func() { m, _ := p.tryRecv(); first <- m }() // which takes the pong as well
		if err := p.conn.Ping(ctx); err != nil {
			t.Fatalf("no pong while a handler blocks: %v", err)
		}
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
		want := "[hold"
		for i := range 20 {
			want += fmt.Sprintf(" [%d]", i)
		}
		if got := fmt.Sprint(order); got != want+"]" {
			t.Errorf("handled in the order %s", got)
		}
		p.warm() // the connection is tried again
	})
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
			in(t, func(t *testing.T) {
				begun, hold, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
				w, p := busyWorld(t, server.Config{}, map[string]func(context.Context, *server.Conn, string) error{
					"hold": func(ctx context.Context, _ *server.Conn, _ string) error {
						if !byReader() {
							t.Error("this does not test what it should")
						}
						close(begun)
						<-hold
						return nil
					},
				})
				w.srv.OnDisconnect(func(context.Context, *server.Conn, error) { close(left) })
				p.send(`427["hold"]`)
				<-begun
				tc.end(w, p)
				synctest.Wait()
				select {
				case <-left:
					t.Error("the connection is gone while its handler runs")
				default:
				}
				close(hold)
				<-left
			})
		})
	}
}

// Shutdown waits for a handler that a reader runs, and no longer than it may.
func TestReaderBlocksShutdown(t *testing.T) {
	in(t, func(t *testing.T) {
		begun, cancelled := make(chan struct{}), make(chan struct{})
		w, p := busyWorld(t, server.Config{}, map[string]func(context.Context, *server.Conn, string) error{
			"hold": func(ctx context.Context, _ *server.Conn, _ string) error {
				close(begun)
				<-ctx.Done()
				close(cancelled)
				return nil
			},
		})
		p.send(`427["hold"]`)
		<-begun
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
	})
}

// A handler that ends its goroutine does not take the reader with it.
func TestReaderEnds(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late=%v", late), func(t *testing.T) {
			in(t, func(t *testing.T) {
				begun, hold, handled := make(chan struct{}), make(chan struct{}), make(chan struct{})
				w, p := busyWorld(t, server.Config{}, map[string]func(context.Context, *server.Conn, string) error{
					"end": func(context.Context, *server.Conn, string) error {
						if !byReader() {
							t.Error("this does not test what it should")
						}
						close(begun)
						if late {
							<-hold
						}
						runtime.Goexit()
						return nil
					},
					"next": func(context.Context, *server.Conn, string) error { close(handled); return nil },
				})
				left := make(chan error, 1)
				w.srv.OnDisconnect(func(_ context.Context, _ *server.Conn, err error) { left <- err })
				p.send(`42["end"]`)
				<-begun
				if late {
					p.send(`42["next"]`)
					synctest.Wait() // the event waits, or is still unread
					time.Sleep(10 * time.Millisecond)
					close(hold)
					<-handled
				}
				p.wantClose(1011, "INTERNAL")
				<-left
			})
		})
	}
}

// A panic behind a handler's own recovery ends the connection alone.
func TestReaderPanics(t *testing.T) {
	in(t, func(t *testing.T) {
		_, p := busyWorld(t, server.Config{}, map[string]func(context.Context, *server.Conn, string) error{
			"panic": func(context.Context, *server.Conn, string) error { panic("no") },
		})
		p.send(`427["panic"]`)
		p.want(`437[{"ok":false,"error":{"message":`)
		p.warm()
	})
}
