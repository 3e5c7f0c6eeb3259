package transport

import (
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
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
	// More than a small buffer; and a queue has no ring for so few.
	many := slices.Repeat([]*hub.Frame{s.frame(strings.Repeat("x", wsframe.SmallBuffer/3))}, 4)
	for _, tt := range []struct {
		name  string
		send  func() bool
		bytes int
	}{
		{"Send", func() bool { return s.conn.Send(f) }, len(f.Wire)},
		{"SendNow", func() bool { return s.conn.SendNow(f) }, len(f.Wire)},
		{"a joined write", func() bool { return s.conn.SendAll(many...) }, len(many) * len(many[0].Wire)},
	} {
		got := make([]byte, tt.bytes)
		if n := testing.AllocsPerRun(500, func() {
			if !tt.send() {
				t.Fatal("not sent")
			}
			if _, err := io.ReadFull(c.in, got); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: a delivery makes %v allocations", tt.name, n)
		}
	}
	c.bye()
}
