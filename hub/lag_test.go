package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// behind is a recorder that lags when it is told to.
type behind struct {
	recorder
	looks atomic.Int64

	mu       sync.Mutex
	caughtUp chan struct{} // nil while it does not lag
}

func (b *behind) Lags() bool { return b.CaughtUp() != nil }

func (b *behind) CaughtUp() <-chan struct{} {
	b.looks.Add(1)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.caughtUp
}

// fallBack has it lag until catchUp.
func (b *behind) fallBack() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.caughtUp = make(chan struct{})
}

func (b *behind) catchUp() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.caughtUp)
	b.caughtUp = nil
}

// laggards makes a hub with a room of n members who lag if told to.
func laggards(t *testing.T, n int) (*Hub, []*behind) {
	h := newHub(t, Config{})
	sinks := make([]*behind, n)
	for i := range sinks {
		sinks[i] = new(behind)
		join(t, open(t, h, fmt.Sprint("m", i), sinks[i]), "r", nil)
	}
	return h, sinks
}

// makeWay publishes as a server does.
func makeWay(ctx context.Context, h *Hub, room, data string) error {
	done, err := h.MakeWay(ctx, room)
	if err != nil {
		return err
	}
	defer done()
	_, err = h.Publish(ctx, event(room, data))
	return err
}

// TestPublishersWait has the members of a room fall behind: who publishes there
// waits until they are not any more, or is refused; other rooms go on.
func TestPublishersWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sinks := laggards(t, 3)
		if err := makeWay(t.Context(), h, "r", "1"); err != nil {
			t.Fatal(err)
		}
		sinks[0].fallBack()
		sinks[2].fallBack()
		began := time.Now()
		if err := makeWay(t.Context(), h, "r", "2"); err != nil || time.Since(began) > 0 {
			t.Fatalf("that they are behind is seen by the next fan-out: %v after %v", err, time.Since(began))
		}

		err := makeWay(t.Context(), h, "r", "3")
		var refused *holdfast.Error
		if !errors.As(err, &refused) || refused.Code != holdfast.RateLimited || refused.RetryAfter != time.Second || time.Since(began) != time.Second {
			t.Errorf("%v after %v, want RATE_LIMITED after a second", err, time.Since(began))
		}
		if err := makeWay(t.Context(), h, "another", "1"); err != nil || time.Since(began) != time.Second {
			t.Errorf("another room waits as well: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := makeWay(ctx, h, "r", "4"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("whose context ends gets %v", err)
		}

		const waiting = 5
		results := make(chan error, waiting)
		for range waiting {
			go func() { results <- makeWay(t.Context(), h, "r", "5") }()
		}
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if len(results) > 0 || len(sinks[0].data("r")) != 2 {
			t.Errorf("%d were let through", len(results))
		}
		sinks[0].catchUp()
		sinks[2].catchUp()
		caughtUp := time.Now()
		for range waiting {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if late := time.Since(caughtUp); late > 0 {
			t.Errorf("they go on %v after that", late)
		}
		if n := len(sinks[1].data("r")); n != 2+waiting || h.lagging.Load() != 0 {
			t.Errorf("%d events, %d rooms behind", n, h.lagging.Load())
		}
	})
}

// TestPublisherIsTold has a publisher wait for members who are behind: it looks
// at them when there is news of them, and not in between.
func TestPublisherIsTold(t *testing.T) {
	for name, news := range map[string]struct {
		lag     int // of four members
		happens func(t *testing.T, h *Hub, sinks []*behind, sessions []*Session)
		looks   int64 // at the first member, then
		waits   bool  // after that, too
	}{
		"one of them caught up":       {4, func(_ *testing.T, _ *Hub, sinks []*behind, _ []*Session) { sinks[1].catchUp() }, 1, true},
		"the last of them caught up":  {1, func(_ *testing.T, _ *Hub, sinks []*behind, _ []*Session) { sinks[0].catchUp() }, 1, false},
		"all of them left":            {4, func(_ *testing.T, _ *Hub, _ []*behind, sessions []*Session) { leaveAll(sessions) }, 0, false},
		"now it is one of five":       {1, func(t *testing.T, h *Hub, _ []*behind, _ []*Session) { joinMore(t, h, 1) }, 1, false},
		"one came who keeps up":       {4, func(t *testing.T, h *Hub, _ []*behind, _ []*Session) { joinMore(t, h, 1) }, 1, true},
		"nothing":                     {4, func(*testing.T, *Hub, []*behind, []*Session) {}, 0, true},
		"the event of another member": {4, func(t *testing.T, h *Hub, _ []*behind, _ []*Session) { publish(t, h, "r", "own") }, 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, sinks := laggards(t, 4)
				sessions := sessionsOf(h)
				for _, s := range sinks[:news.lag] {
					s.fallBack()
				}
				publish(t, h, "r", "1")
				began, result := time.Now(), make(chan error, 1)
				go func() { result <- makeWay(t.Context(), h, "r", "2") }()
				time.Sleep(500 * time.Millisecond)
				synctest.Wait()
				before := sinks[0].looks.Load()
				if before != 2 {
					t.Errorf("%d looks at a member in half a second, want those of the fan-out and of the publisher", before)
				}
				news.happens(t, h, sinks, sessions)
				synctest.Wait()
				if waits := len(result) == 0; waits != news.waits {
					t.Fatalf("it waits: %v", waits)
				}
				if n := sinks[0].looks.Load() - before; news.waits && n != news.looks {
					t.Errorf("%d looks, want %d", n, news.looks)
				}
				want := 500 * time.Millisecond
				if news.waits {
					want = time.Second
				}
				if err := <-result; (err != nil) != news.waits || time.Since(began) != want {
					t.Errorf("%v after %v", err, time.Since(began))
				}
			})
		})
	}
}

func sessionsOf(h *Hub) (sessions []*Session) {
	for _, c := range h.conns {
		sessions = append(sessions, c.sessions...)
	}
	return sessions
}

func leaveAll(sessions []*Session) {
	for _, s := range sessions {
		s.Leave("r")
	}
}

func joinMore(t *testing.T, h *Hub, n int) {
	for i := range n {
		join(t, open(t, h, fmt.Sprint("more", i), new(behind)), "r", nil)
	}
}

// TestOneWriterIsBehind has those members be behind that one of two writers, or
// of four, has to write for: publishers wait, for all of these are to stay.
func TestOneWriterIsBehind(t *testing.T) {
	for lag, waits := range map[int]bool{0: false, 1: false, 2: true, 4: true, 8: true} {
		synctest.Test(t, func(t *testing.T) {
			h, sinks := laggards(t, 8)
			for _, s := range sinks[:lag] {
				s.fallBack()
			}
			publish(t, h, "r", "1")
			if h.Behind("r") != waits || h.Behind("another") {
				t.Errorf("with %d of 8 behind, publishers wait: %v", lag, h.Behind("r"))
			}
		})
	}
}

// TestLaggingRoomEnds has a room end while its members are behind: nothing of it
// is left to slow others down.
func TestLaggingRoomEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sinks := laggards(t, 1)
		sinks[0].fallBack()
		publish(t, h, "r", "1")
		if n := h.lagging.Load(); n != 1 {
			t.Errorf("%d rooms are behind", n)
		}
		leaveAll(sessionsOf(h))
		synctest.Wait()
		if n := h.lagging.Load(); n != 0 {
			t.Errorf("%d rooms are behind", n)
		}
	})
}

// TestLagIsSampled looks at a few members of a large room, from all over it, and
// at none where members may miss events.
func TestLagIsSampled(t *testing.T) {
	h, sinks := laggards(t, 100)
	publish(t, h, "r", "1")
	looked, last := 0, 0
	for i, s := range sinks {
		if s.looks.Load() > 0 {
			looked, last = looked+1, i
		}
	}
	if looked != lagSample || last < 75 {
		t.Errorf("%d were looked at, the last is %d", looked, last)
	}
	for n := 0; slices.ContainsFunc(sinks, func(b *behind) bool { return b.looks.Load() == 0 }); n++ {
		if publish(t, h, "r", "1"); n > 10_000 { // one of thirteen is looked at each time
			t.Fatal("some are never looked at")
		}
	}

	loose := newHub(t, Config{Overflow: func(string) RoomOverflow { return RoomOverflow{Overflow: OverflowDropOldest} }})
	sink := new(behind)
	sink.fallBack()
	join(t, open(t, loose, "m", sink), "r", nil)
	publish(t, loose, "r", "1", "2")
	if sink.looks.Load() > 0 || loose.lagging.Load() > 0 {
		t.Error("a member who may miss events holds publishers up")
	}
}
