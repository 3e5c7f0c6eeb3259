package brokertest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// receiver collects what is delivered.
type receiver struct {
	then func(*holdfast.Event) // called in each Deliver; may be nil

	mu      sync.Mutex // guards what follows
	events  []*holdfast.Event
	prevs   []uint64
	stale   int
	more    chan struct{} // closed at the next call; made by who waits
	calls   int           // under way
	overlap bool
}

// Deliver implements hub.Receiver.
func (r *receiver) Deliver(ev *holdfast.Event, prev uint64) {
	r.enter(func() { r.events, r.prevs = append(r.events, ev), append(r.prevs, prev) })
	if r.then != nil {
		r.then(ev)
	}
	r.exit()
}

// Stale implements hub.Receiver.
func (r *receiver) Stale() {
	r.enter(func() { r.stale++ })
	r.exit()
}

func (r *receiver) enter(note func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	r.overlap = r.overlap || r.calls > 1
	note()
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
}

func (r *receiver) exit() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls--
}

// until waits until ok, which is called with mu held, and checks that calls
// came one at a time.
func (r *receiver) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		if r.overlap {
			t.Error("the receiver was called twice at once")
			r.overlap = false
		}
		if ok() {
			r.mu.Unlock()
			return
		}
		if r.more == nil {
			r.more = make(chan struct{})
		}
		more := r.more
		r.mu.Unlock()
		select {
		case <-more:
		case <-late:
			t.Fatalf("%s did not come", what)
		}
	}
}

// await returns what was delivered once an event at pos or after it was.
func (r *receiver) await(t *testing.T, pos holdfast.Position) (events []*holdfast.Event, prevs []uint64) {
	t.Helper()
	r.until(t, "the event at "+pos.Epoch, func() bool {
		events, prevs = slices.Clone(r.events), slices.Clone(r.prevs)
		return slices.ContainsFunc(events, func(ev *holdfast.Event) bool {
			return ev.Position.Epoch == pos.Epoch && ev.Position.Offset >= pos.Offset
		})
	})
	return events, prevs
}

// checkLive compares what was delivered with the room's events: each is one of
// them, and prev is that of the one before, or unknown, so that a gap shows.
func checkLive(t *testing.T, kept, live []*holdfast.Event, prevs []uint64) {
	t.Helper()
	index := make(map[uint64]int)
	for i, ev := range kept {
		index[ev.Position.Offset] = i
	}
	for i, ev := range live {
		at, ok := index[ev.Position.Offset]
		if !ok || string(kept[at].Data) != string(ev.Data) {
			t.Errorf("delivered %s at %d, which is not the room's", ev.Data, ev.Position.Offset)
			continue
		}
		if at > 0 && prevs[i] != hub.UnknownOffset && prevs[i] != kept[at-1].Position.Offset {
			t.Errorf("%d is said to follow %d, not %d", ev.Position.Offset, prevs[i], kept[at-1].Position.Offset)
		}
	}
}
