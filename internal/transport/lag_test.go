package transport

import (
	"runtime"
	"testing"
)

// TestLags has frames wait because nobody has the time to write them, and
// because the peer does not read: only the first is this process's fault. Who
// asks is told when it is over.
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

	stop := func() { // the shard's writer can't go on
		busy.conn.mu.Lock()
		busy.conn.writing = true
		shard.push(busy.conn, busy.conn.ws)
	}
	told := func() <-chan struct{} {
		caughtUp := s.conn.CaughtUp()
		if caughtUp == nil || !s.conn.Lags() {
			t.Fatal("it does not lag, and nobody writes")
		}
		return caughtUp
	}
	stop()
	n := fill(limit / 16)
	if s.conn.Lags() || s.conn.CaughtUp() != nil {
		t.Error("it lags with a sixteenth of the queue")
	}
	n += fill(limit / 8)
	caughtUp := told()
	busy.conn.mu.Unlock()
	for range n {
		c.want("text " + string(f.Text))
	}
	<-caughtUp
	if s.conn.Lags() || s.conn.CaughtUp() != nil {
		t.Error("it lags with nothing to write")
	}

	stop()
	fill(limit / 4)
	caughtUp = told()
	busy.conn.mu.Unlock()
	until(func() bool { // how much a socket takes is the system's to say
		fill(limit / 4)
		s.conn.mu.Lock()
		defer s.conn.mu.Unlock()
		return s.conn.writeBy != 0
	})
	<-caughtUp
	fill(limit / 4)
	if s.conn.Lags() || s.conn.CaughtUp() != nil {
		t.Error("it lags, and the peer does not read")
	}
	s.conn.cut()
	busy.conn.cut()
}

// TestLagEnds has a session end while frames wait for this process: who waits
// for it to catch up is told.
func TestLagEnds(t *testing.T) {
	rg := newRig(t, tcpNetwork(t), EngineConfig{})
	_, s := rg.connect()
	until(func() bool {
		s.conn.mu.Lock()
		defer s.conn.mu.Unlock()
		return s.conn.ws != nil && s.conn.queue.Len() == 0 && !s.conn.writing
	})
	s.conn.mu.Lock()
	s.conn.writing = true // by nobody
	s.conn.mu.Unlock()
	for f := NewFrame(append([]byte{'4'}, make([]byte, 64<<10)...)); !s.conn.Lags(); {
		if !s.conn.Send(f) {
			t.Fatal("not sent")
		}
	}
	caughtUp := s.conn.CaughtUp()
	s.conn.Close(nil)
	<-caughtUp
	s.conn.mu.Lock()
	s.conn.writing = false
	s.conn.kick()
	s.conn.mu.Unlock()
}
