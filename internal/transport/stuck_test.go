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
