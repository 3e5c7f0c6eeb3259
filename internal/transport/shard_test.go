package transport

import (
	"runtime"
	"strconv"
	"testing"
)

// TestSlowPeersHoldUpNoShard has a peer that does not read in each shard, and
// others beside them.
func TestSlowPeersHoldUpNoShard(t *testing.T) {
	const large = 1 << 20
	shards := runtime.GOMAXPROCS(0)
	rg := newRig(t, tcpNetwork(t), EngineConfig{QueueBytes: 256 << 20})
	big := NewFrame(append([]byte{'4'}, make([]byte, large)...))
	var slow []*session
	for range shards {
		_, s := rg.connect()
		slow = append(slow, s)
		for range 128 { // more than a socket takes
			if !s.conn.Send(big) {
				t.Fatal("not sent")
			}
		}
	}
	for range 4 * shards {
		c, s := rg.connect()
		for i := range 10 {
			s.conn.Send(s.frame(strconv.Itoa(i)))
		}
		for i := range 10 {
			c.want("text 4" + strconv.Itoa(i))
		}
		c.bye()
	}
	for _, s := range slow {
		if s.conn.Queued() == 0 {
			t.Error("a socket took all of it: the test shows nothing")
		}
		s.conn.cut()
	}
}

// TestSendNow mixes the two ways to send; the order is that of the calls.
func TestSendNow(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		c, s := rg.connect()
		const frames = 300
		for i := range frames {
			send := s.conn.Send
			if i%3 == 1 {
				send = s.conn.SendNow
			}
			if !send(s.frame(strconv.Itoa(i))) {
				t.Fatal("not sent")
			}
		}
		for i := range frames {
			c.want("text 4" + strconv.Itoa(i))
		}
		s.conn.Close(nil)
		if s.conn.SendNow(s.frame("late")) {
			t.Error("sent after the end")
		}
		c.bye()
	})
}

// TestDeliveryAllocates sends to an idle connection, and waits until that is
// written.
func TestDeliveryAllocates(t *testing.T) {
	rg := newRig(t, tcpNetwork(t), EngineConfig{})
	c, s := rg.connect()
	f := s.frame("event")
	one := make([]byte, len(f.Wire))
	for _, send := range []func() bool{
		func() bool { return s.conn.Send(f) },
		func() bool { return s.conn.SendNow(f) },
	} {
		if n := testing.AllocsPerRun(500, func() {
			if !send() {
				t.Fatal("not sent")
			}
			if _, err := c.in.Read(one); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("a delivery makes %v allocations", n)
		}
	}
	c.bye()
}
