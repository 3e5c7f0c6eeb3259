package transport

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// TestStuckPeerOnTCP has a peer that reads nothing, on sockets that a shard
// writes to: what it does not take in time ends the session, though nothing
// waits in the shard.
func TestStuckPeerOnTCP(t *testing.T) {
	for name, send := range map[string]func(c *Conn, s *session) bool{
		"Send":    func(c *Conn, s *session) bool { return c.Send(s.frame(strings.Repeat("a", 1<<20))) },
		"SendNow": func(c *Conn, s *session) bool { return c.SendNow(s.frame(strings.Repeat("a", 1<<20))) },
	} {
		t.Run(name, func(t *testing.T) {
			rg := newRig(t, tcpNetwork(t), EngineConfig{QueueBytes: 1 << 30, PingInterval: time.Hour, WriteTimeout: 50 * time.Millisecond, CloseTimeout: time.Hour})
			_, s := rg.connect()
			for range 64 { // more than a socket takes
				if !send(s.conn, s) {
					break // it has ended already
				}
			}
			s.end(t, holdfast.SlowConsumer, nil)
		})
	}
}

// TestNothingBeginsAfterClose has the engine closed while a frame is half-way
// out, by a sender that the engine does not wait for. Who writes the rest of it
// would be left over.
func TestNothingBeginsAfterClose(t *testing.T) {
	rg := newRig(t, tcpNetwork(t), EngineConfig{QueueBytes: 1 << 30, PingInterval: time.Hour, ReaderEach: true}) // a loop waits for the write
	client, s := rg.connect()
	c := s.conn
	c.Send(s.frame("first"))
	client.want("text 4first")
	until(func() bool { // the writer of that is done
		c.mu.Lock()
		defer c.mu.Unlock()
		return !c.writing
	})
	c.mu.Lock()
	socket := c.ws
	c.writing = true // by this test
	c.mu.Unlock()
	c.Send(s.frame(strings.Repeat("a", 16<<20))) // more than a socket takes
	a := newAttempt()
	step := a.step
	a.step = func(fd uintptr) bool {
		done := step(fd)
		go c.cut()          // which returns after the step
		rg.engine.wg.Wait() // as Close does, whose sessions are gone
		return done
	}
	rg.engine.mu.Lock()
	rg.engine.closed = true // or its writers would not end
	rg.engine.mu.Unlock()
	c.tryWrite(socket, a)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writing {
		t.Error("a goroutine was started for a session that is gone")
	}
}
