package transport

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// worker is a Receiver that claims a turn for each message.
type worker struct {
	conn   *Conn
	got    chan taken
	hold   chan struct{} // if set, messages that begin with "hold" wait for it
	left   chan bool     // what Release has said about those
	closed chan error
}

// taken is a message, and whether a turn was given for it.
type taken struct {
	text    string
	claimed bool
}

func (w *worker) Message(c *Conn, data []byte, _ bool) {
	text := string(data)
	t := c.Claim()
	w.got <- taken{text, t != nil}
	switch {
	case t == nil:
	case text == "panic":
		panic(text)
	case text == "hold":
		<-w.hold
		w.left <- t.Release()
	case !t.Release():
		w.got <- taken{"handed on: " + text, true}
	}
}

func (w *worker) Closed(_ *Conn, err error) { w.closed <- err }

// newWorker is an engine whose receiver claims turns, and a client of it.
func newWorker(t *testing.T, n network) (*rig, *wsClient, *worker) {
	t.Helper()
	w := &worker{got: make(chan taken, 100), hold: make(chan struct{}), left: make(chan bool, 1), closed: make(chan error, 1)}
	rg := newRig(t, n, EngineConfig{Open: func(c *Conn) (Receiver, error) { w.conn = c; return w, nil }})
	c := rg.webSocket(websocketQuery)
	c.next() // the handshake
	return rg, c, w
}

// claim sends a message until a turn is given for it: the watcher may have ended.
func (w *worker) claim(t *testing.T, c *wsClient, text string) {
	t.Helper()
	for range 1000 {
		h := w.conn.host
		h.watch.messages.Store(burst - 1)
		h.watch.since.Store(int64(h.now().add(time.Hour))) // no machine is too slow for that
		c.text("4" + text)
		if m := <-w.got; m.text != text {
			t.Fatalf("got %q, want %q", m.text, text)
		} else if m.claimed {
			return
		}
	}
	t.Fatal("no turn is ever given")
}

// What takes long is handed on: the rest of what the peer sends is read, and the
// session ends, while it runs.
func TestTurnHandedOn(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		_, c, w := newWorker(t, n)
		w.claim(t, c, "hold")
		c.write(frame(fPing, "x"))
		c.want("pong x")
		for i := range 3 * mostWary {
			text := fmt.Sprint(i)
			c.text("4" + text)
			if m := <-w.got; m.text != text {
				t.Fatalf("got %q, want %q", m.text, text)
			}
		}
		c.bye()
		if err := <-w.closed; err != nil {
			t.Errorf("Closed: %v", err)
		}
		close(w.hold)
		if <-w.left {
			t.Error("Release says that its goroutine reads")
		}
	})
}

// Who knows that it will wait has the reading handed on at once.
func TestTurnHandOn(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		_, c, w := newWorker(t, n)
		w.claim(t, c, "hold")
		before := time.Now()
		w.conn.HandOn()
		c.write(frame(fPing, "x"))
		c.want("pong x")
		if waited := time.Since(before); waited != 0 {
			t.Errorf("the ping was read %v late", waited)
		}
		w.conn.HandOn() // changes nothing
		close(w.hold)
		if <-w.left {
			t.Error("Release says that its goroutine reads")
		}
		c.bye()
	})
}

// A connection of which a message took long gives no turn to the next one, nor
// to twice as many after each further time. One that takes no time ends that.
func TestTurnDoubt(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		_, c, w := newWorker(t, n)
		skipped := func() (n int) {
			for range 1000 {
				c.text("4next")
				if m := <-w.got; m.claimed {
					return n
				}
				n++
			}
			return -1
		}
		hold := func() {
			w.claim(t, c, "hold")
			w.conn.HandOn()
			w.hold <- struct{}{}
			<-w.left
		}
		w.claim(t, c, "first")
		hold()
		if n := skipped(); n != 1 {
			t.Errorf("after one that took long %d were not given a turn, want 1", n)
		}
		hold()
		if n := skipped(); n != 1 {
			t.Errorf("after one that took no time, and one that took long, %d were not given a turn, want 1", n)
		}
		hold()
		c.text("4next")
		<-w.got
		hold() // with a doubt left
		if n := skipped(); n != 3 {
			t.Errorf("after two that took long %d were not given a turn, want 3", n)
		}
		c.bye()
	})
}

// There are as many turns as there are slots. Messages that were read together
// get none, and those of a polling session neither.
func TestTurnsAreFew(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg, c, w := newWorker(t, n)
		w.claim(t, c, "one")
		c.write(append(frame(fText, "4a"), frame(fText, "4b")...))
		if a, b := <-w.got, <-w.got; a != (taken{"a", false}) || b != (taken{"b", true}) {
			t.Errorf("of two that were read together: %v, %v", a, b)
		}
		slots := rg.engine.watch.slots
		other := new(Turn)
		for i := range slots {
			slots[i].turn.Store(other)
		}
		c.text("4none")
		if m := <-w.got; m.claimed {
			t.Error("more turns than slots")
		}
		for i := range slots {
			slots[i].turn.Store(nil)
		}
		w.claim(t, c, "again")
		c.bye()
		<-w.closed
		sid := rg.open()
		rg.post(sid, "4polled")
		if m := <-w.got; m != (taken{"polled", false}) {
			t.Errorf("polled: %v", m)
		}
	})
}

// Where little is to do nobody looks, and nothing is claimed.
func TestTurnsRest(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg, c, w := newWorker(t, n)
		for range 3 * burst {
			time.Sleep(time.Millisecond)
			c.text("4x")
			if m := <-w.got; m.claimed {
				t.Fatal("a turn was given where little is to do")
			}
		}
		given := 0
		for range 3 * burst {
			c.text("4x")
			if m := <-w.got; m.claimed {
				given++
			}
		}
		if given < burst {
			t.Errorf("%d turns were given where much is to do", given)
		}
		time.Sleep(3 * restLooks * lookEvery)
		synctest.Wait()
		if rg.engine.watch.active.Load() {
			t.Error("the watcher does not end")
		}
		c.bye()
	})
}

// A panic in a turn ends the session, and not the reading of its end.
func TestTurnPanics(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg, c, w := newWorker(t, n)
		w.claim(t, c, "panic")
		c.want("close 1011 INTERNAL")
		c.write(closeFrame(1011, ""))
		c.want("eof")
		if err := <-w.closed; !errors.Is(err, holdfast.Internal) {
			t.Errorf("Closed: %v", err)
		}
		if err := rg.engine.Close(context.Background()); err != nil {
			t.Error(err)
		}
		for i := range rg.engine.watch.slots {
			if rg.engine.watch.slots[i].turn.Load() != nil {
				t.Error("the turn was not given back")
			}
		}
	})
}
