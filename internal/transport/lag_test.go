package transport

import (
	"runtime"
	"testing"
)

// TestLags has frames wait because nobody has the time to write them, and
// because the peer does not read: only the first is this process's fault.
func TestLags(t *testing.T) {
	const size, limit = 16 << 10, 16 << 20
	rg := newRig(t, tcpNetwork(t), EngineConfig{QueueBytes: limit})
	shards := runtime.GOMAXPROCS(0)
	of := func(s *session) (sh *shard) {
		until(func() bool {
			s.conn.mu.Lock()
			defer s.conn.mu.Unlock()
			if s.conn.ws != nil {
				sh = s.conn.ws.shard
			}
			return sh != nil
		})
		return sh
	}
	_, busy := rg.connect()
	shard := of(busy)
	var c *wsClient
	var s *session
	for s == nil || of(s) != shard {
		c, s = rg.connect()
		if shards--; shards < 0 {
			t.Fatal("no other connection of the shard")
		}
	}
	f := NewFrame(append([]byte{'4'}, make([]byte, size)...))
	fill := func(bytes int) (frames int) {
		for ; s.conn.Queued() <= bytes; frames++ {
			if !s.conn.Send(f) {
				t.Fatal("not sent")
			}
		}
		return frames
	}

	busy.conn.mu.Lock() // the shard's writer can't go on
	busy.conn.writing = true
	shard.push(busy.conn, busy.conn.ws)
	n := fill(limit / 16)
	if s.conn.Lags() {
		t.Error("it lags with a sixteenth of the queue")
	}
	n += fill(limit / 8)
	if !s.conn.Lags() {
		t.Error("it does not lag, and nobody writes")
	}
	busy.conn.mu.Unlock()
	for range n {
		c.want("text " + string(f.Text))
	}
	if s.conn.Lags() {
		t.Error("it lags with nothing to write")
	}

	until(func() bool { // how much a socket takes is the system's to say
		fill(limit / 4)
		s.conn.mu.Lock()
		defer s.conn.mu.Unlock()
		return s.conn.writeBy != 0
	})
	fill(limit / 4)
	if s.conn.Lags() {
		t.Error("it lags, and the peer does not read")
	}
	s.conn.cut()
	busy.conn.cut()
}
