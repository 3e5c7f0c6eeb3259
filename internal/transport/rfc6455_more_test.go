package transport

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// What the server writes is unmasked, whole, and has lengths in their shortest
// form: next looks at all of that.
func TestServersFrames(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		c, s := rg.connect()
		for _, size := range []int{1, 124, 125, 126, 127, 65534, 65535, 65536, 200_000} {
			data := []byte(strings.Repeat("x", size))
			s.conn.Send(NewFrame(data, data))
			c.want("text "+string(data), "binary "+hex.EncodeToString(data))
			s.conn.Send(FrameIn(append(make([]byte, HeaderSpace), data...)))
			c.want("text " + string(data))
		}
		c.bye()
	})
}

// A pong is due while a frame is half-way out: it comes between frames.
func TestFramesAreNotTorn(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{QueueBytes: 100 << 20})
		c, s := rg.connect()
		large := strings.Repeat("x", 12<<20) // more than sockets take at once
		for range 3 {
			s.conn.Send(NewFrame([]byte("4" + large)))
			s.conn.Send(NewFrame([]byte("4small")))
			c.write(cat(frame(fPing, "p"), frame(fText, "4read")))
			if got := s.message(t); got != "read" { // and the ping before it
				t.Fatal(got)
			}
			var got []string
			for range 3 {
				got = append(got, c.next())
			}
			rest := slices.DeleteFunc(slices.Clone(got), func(f string) bool { return f == "pong p" })
			if len(rest) != 2 || rest[0] != "text 4"+large || rest[1] != "text 4small" {
				t.Fatalf("got %.60q", got)
			}
		}
		c.bye()
	})
}

// What comes before a Close frame is still handed over, also when it is read
// together with it.
func TestMessageBeforeClose(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		c, s := rg.connect()
		c.write(cat(frame(fText, "4a"), frame(fTextBegin, "4b"), frame(fLast, "c"), closeFrame(1000, "")))
		c.want("close 1000", "eof")
		s.end(t, "", nil)
		for _, want := range []string{"a", "bc"} {
			if got := s.message(t); got != want {
				t.Errorf("got %q, not %q", got, want)
			}
		}
		c.conn.Close()
	})
}

// A stream that ends, also one that only ends this way, without a Close frame
// says nothing about why.
func TestEndWithoutClose(t *testing.T) {
	for name, send := range map[string][]byte{
		"between messages":  frame(fText, "4a"),
		"inside a header":   cat(frame(fText, "4a"), []byte{fText}),
		"inside a payload":  cat(frame(fText, "4a"), frame(fText, "4hello")[:8]),
		"between fragments": cat(frame(fText, "4a"), frame(fTextBegin, "4b")),
		"inside a close":    cat(frame(fText, "4a"), closeFrame(1000, "")[:7]),
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				rg := newRig(t, n, EngineConfig{})
				for _, half := range []bool{false, true} {
					c, s := rg.connect()
					c.write(send)
					if got := s.message(t); got != "a" {
						t.Errorf("got %q", got)
					}
					if half {
						halfClose(c.conn)
						c.want("eof")
					}
					c.conn.Close()
					s.end(t, holdfast.GoingAway, ErrLost)
					if len(s.got) != 0 {
						t.Error("half a message was handed over")
					}
				}
			})
		})
	}
}

// Every fault is told as well on a WebSocket that a polling session tries, and
// the session goes on without it.
func TestRFC6455OnProbe(t *testing.T) {
	for _, r := range rules() {
		if len(r.want) > 2 || r.code() == "" { // others begin with a message, which has no place there
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				rg := newRig(t, n, EngineConfig{MaxPayload: maxMessage})
				sid := rg.open()
				s := rg.opened()
				c := rg.webSocket(websocketQuery + "&sid=" + sid)
				written := make(chan struct{})
				go func() {
					defer close(written)
					_, _ = c.conn.Write(r.send)
				}()
				c.want(r.want...)
				c.conn.Close()
				<-written
				rg.post(sid, "4still here")
				if got := s.message(t); got != "still here" {
					t.Errorf("got %q", got)
				}
			})
		})
	}
}

// Pings that come faster than they can be answered do not pile up, and the last
// is answered always.
func TestPingsDoNotPileUp(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{QueueBytes: 100 << 20})
		c, s := rg.connect()
		s.conn.Send(NewFrame(make([]byte, 50<<20))) // nothing is written behind it
		until(func() bool { return s.conn.Queued() == 0 })
		const pings = 1000
		for i := range pings {
			c.write(frame(fPing, fmt.Sprint(i)))
		}
		c.text("4read") // all of them before it
		s.message(t)
		s.conn.mu.Lock()
		waiting := len(s.conn.pongs)
		s.conn.mu.Unlock()
		if waiting == 0 || waiting > pongBytes {
			t.Errorf("%d bytes of pongs wait", waiting)
		}
		if got := c.next(); len(got) < 50<<20 {
			t.Fatalf("got %.100q", got)
		}
		answers, last := 0, ""
		for ; last != fmt.Sprint("pong ", pings-1); answers++ {
			if last = c.next(); !strings.HasPrefix(last, "pong ") {
				t.Fatalf("got %.100q", last)
			}
		}
		if answers > pongBytes/2 {
			t.Errorf("%d answers", answers)
		}
		c.bye()
	})
}

// counting counts the calls of Write on a server's connections.
type counting struct {
	net.Listener
	writes *atomic.Int64
}

type countingConn struct {
	net.Conn
	writes *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return countingConn{conn, l.writes}, err
}

func (c countingConn) Write(p []byte) (int, error) {
	c.writes.Add(1)
	return c.Conn.Write(p)
}

// dallying is a receiver whose Ending lets everybody else go on.
type dallying struct{ closed chan error }

func (dallying) Message(*Conn, []byte, bool) {}
func (dallying) Ending()                     { time.Sleep(time.Nanosecond) }

func (d dallying) Closed(_ *Conn, err error) { d.closed <- err }

// A connection that was lost is closed, and nobody tries to write to it before.
func TestNothingIsWrittenToALostConnection(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		writes := new(atomic.Int64)
		n.listener = counting{n.listener, writes}
		closed := make(chan error, 1)
		rg := newPlainRig(t, n, PlainConfig{Open: func(*Conn) (Receiver, error) { return dallying{closed}, nil }})
		c := rg.webSocket("")
		synctest.Wait()
		before := writes.Load()
		halfClose(c.conn)
		c.want("eof")
		if err := <-closed; !errors.Is(err, ErrLost) {
			t.Errorf("closed with %v", err)
		}
		if n := writes.Load() - before; n != 0 {
			t.Errorf("%d writes", n)
		}
	})
}
