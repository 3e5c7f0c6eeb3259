package hub

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// behind is a recorder that lags when it is told to.
type behind struct {
	recorder
	lags  atomic.Bool
	looks atomic.Int64
}

func (b *behind) Lags() bool { b.looks.Add(1); return b.lags.Load() }

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
		sinks[0].lags.Store(true)
		sinks[2].lags.Store(true)
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
		sinks[2].lags.Store(false) // one of three is nobody's business
		for range waiting {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := len(sinks[1].data("r")); n != 2+waiting || h.lagging.Load() != 0 {
			t.Errorf("%d events, %d rooms behind", n, h.lagging.Load())
		}
	})
}

// TestLaggingRoomEnds has a room end while its members are behind: nothing of it
// is left to slow others down.
func TestLaggingRoomEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, sinks := laggards(t, 1)
		sinks[0].lags.Store(true)
		publish(t, h, "r", "1")
		if n := h.lagging.Load(); n != 1 {
			t.Errorf("%d rooms are behind", n)
		}
		for _, c := range h.conns {
			c.sessions[0].Leave("r")
		}
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
	if looked < lagSample-1 || looked > lagSample || last < 75 {
		t.Errorf("%d were looked at, the last is %d", looked, last)
	}

	loose := newHub(t, Config{Overflow: func(string) RoomOverflow { return RoomOverflow{Overflow: OverflowDropOldest} }})
	sink := new(behind)
	sink.lags.Store(true)
	join(t, open(t, loose, "m", sink), "r", nil)
	publish(t, loose, "r", "1", "2")
	if sink.looks.Load() > 0 || loose.lagging.Load() > 0 {
		t.Error("a member who may miss events holds publishers up")
	}
}
