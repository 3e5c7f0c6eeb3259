package brokertest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// testCancelled: no call outlasts its context.
func testCancelled(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	pos := publish(t, b, event("r", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	soon(t, "a call whose context is over", func() {
		// Whether it is still done or not is the broker's choice, but it says so.
		_, publishErr := b.Publish(ctx, event("r", "2"))
		_, _ = b.History(ctx, "r", nil, 0)
		if _, err := b.Subscribe(ctx, "r", &receiver{}); err == nil {
			unsubscribe(t, b, "r")
		}
		h := history(t, b, "r", &pos, 0)
		if publishErr == nil && dataOf(h.Events) != "2" {
			t.Errorf("published, and history has %q", dataOf(h.Events))
		}
	})
	// A subscription that failed does not stand in the way of another.
	r := &receiver{}
	subscribe(t, b, "r", r)
	defer unsubscribe(t, b, "r")
	r.await(t, publish(t, b, event("r", "3")))
}

// testGivenUp: publishers who gave up waiting published at most once, those who
// did not exactly once, and the room goes on.
func testGivenUp(t *testing.T, cfg Config) {
	const publishers, most = 4, 300
	b := cfg.New(t, Bounds{})
	gate := make(chan struct{})
	r := &receiver{then: func(*holdfast.Event) { <-gate }}
	start := subscribe(t, b, "r", r)
	defer unsubscribe(t, b, "r")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var mu sync.Mutex
	answers := make(map[string]holdfast.Position) // of those who got one
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range most {
				data := fmt.Sprintf(`"%d.%d"`, p, i)
				pos, err := b.Publish(ctx, event("r", data))
				if err != nil {
					return
				}
				mu.Lock()
				answers[data] = pos
				mu.Unlock()
			}
		})
	}
	<-ctx.Done()
	close(gate)
	soon(t, "a publisher who gave up", wg.Wait)
	last := publish(t, b, event("r", `"the last"`))
	there := make(map[string]holdfast.Position)
	for _, ev := range history(t, b, "r", &start, 0).Events {
		if at, ok := there[string(ev.Data)]; ok {
			t.Errorf("%s is there twice, at %v and %v", ev.Data, at, ev.Position)
		}
		there[string(ev.Data)] = ev.Position
	}
	for data, pos := range answers {
		if there[data] != pos {
			t.Errorf("%s was answered %v, and is at %v", data, pos, there[data])
		}
	}
	r.await(t, last)
}

// testClose: a broker that is closed while it is used lets everybody go.
func testClose(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	gate := make(chan struct{})
	entered := make(chan struct{})
	var once sync.Once
	subscribe(t, b, "r", &receiver{then: func(*holdfast.Event) {
		once.Do(func() { close(entered) })
		<-gate
	}})
	var wg, first sync.WaitGroup
	first.Go(func() { _, _ = b.Publish(t.Context(), event("r", "0")) }) // may deliver it itself
	<-entered
	for range 8 {
		wg.Go(func() {
			for range 300 {
				if _, err := b.Publish(t.Context(), event("r", "1")); err != nil {
					return
				}
			}
		})
	}
	var closed sync.WaitGroup
	closed.Go(func() { cfg.Close(t, b) })
	soon(t, "a publisher, when the broker is closed,", wg.Wait)
	close(gate)
	soon(t, "Close", closed.Wait)
	soon(t, "the publisher who delivers", first.Wait)
	soon(t, "a call after Close", func() {
		if _, err := b.Publish(t.Context(), event("r", "2")); err == nil {
			t.Error("a publish after Close succeeds")
		}
		if _, err := b.Subscribe(t.Context(), "s", &receiver{}); err == nil {
			t.Error("a subscription after Close succeeds")
		}
		if _, err := b.History(t.Context(), "r", nil, 0); err == nil {
			t.Error("history can be read after Close")
		}
		_ = b.Unsubscribe(t.Context(), "r")
	})
}

// outage is a room with a receiver, and what was published to it before.
type outage struct {
	b     hub.Broker
	r     *receiver
	start holdfast.Position
	id    holdfast.Position // of the event with the id "before"
	stale int               // how often the receiver was told before
}

func newOutage(t *testing.T, b hub.Broker) *outage {
	o := &outage{b: b, r: &receiver{}}
	o.start = subscribe(t, b, "r", o.r)
	t.Cleanup(func() { unsubscribe(t, b, "r") })
	o.id = withID(t, b, "r", "u", "before")
	o.r.await(t, o.id)
	o.r.mu.Lock()
	o.stale = o.r.stale
	o.r.mu.Unlock()
	return o
}

// over checks what a broker that has kept its events owes after an outage: the
// receiver was told or missed nothing, up to last; ids hold; all goes on.
func (o *outage) over(t *testing.T, last holdfast.Position) {
	t.Helper()
	o.r.until(t, "Stale, or what was missed,", func() bool {
		n := len(o.r.events)
		return o.r.stale > o.stale || n > 0 && o.r.events[n-1].Position.Offset >= last.Offset
	})
	again := insist(t, func(ctx context.Context) (holdfast.Position, error) {
		return o.b.Publish(ctx, &holdfast.Event{Room: "r", Name: "e", From: "u", ID: "before"})
	})
	if again != o.id {
		t.Errorf("a repeat got %v, the first %v", again, o.id)
	}
	h := history(t, o.b, "r", &o.start, 0)
	if !h.Recovered || h.Position.Epoch != o.start.Epoch {
		t.Errorf("history since %v is of %v, recovered %v", o.start, h.Position, h.Recovered)
	}
	pos := publish(t, o.b, event("r", `"after"`))
	live, prevs := o.r.await(t, pos)
	checkLive(t, history(t, o.b, "r", &o.start, 0).Events, live, prevs)
}

// testCut: a broker whose server is away for a while.
func testCut(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	brokers := nodes(t, cfg, b)
	o := newOutage(t, b)
	subscribe(t, b, "left meanwhile", &receiver{})
	restore := cfg.Cut(t, b)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	during := &holdfast.Event{Room: "r", Name: "e", From: "u", ID: "during"}
	soon(t, "a call while the server is away", func() {
		_, _ = b.Publish(ctx, during)
		_, _ = b.History(ctx, "r", nil, 0)
		unsubscribe(t, b, "left meanwhile") // does not wait for the network
	})
	last := o.id
	if len(brokers) > 1 {
		for i := range 5 {
			last = publish(t, brokers[1], event("r", fmt.Sprint(i)))
		}
	}
	restore()
	first := insist(t, func(ctx context.Context) (holdfast.Position, error) { return b.Publish(ctx, during) })
	if again := publish(t, b, during); again != first {
		t.Errorf("published again while the server was away: at %v, and at %v", first, again)
	}
	o.over(t, last)
}

// testRestart: a server that was away, and has kept everything.
func testRestart(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	o := newOutage(t, b)
	for range 3 {
		cfg.Restart(t, b)
		insist(t, func(ctx context.Context) (hub.History, error) { return b.History(ctx, "r", nil, 1) })
	}
	o.over(t, o.id)
}

// testWipe: a server that has kept nothing begins new epochs, and never gives
// the same position to two events.
func testWipe(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	r := &receiver{}
	subscribe(t, b, "r", r)
	defer unsubscribe(t, b, "r")
	used := make(map[string]bool)
	taken := make(map[holdfast.Position]bool)
	var last holdfast.Position
	for round := range 4 {
		for i := range 5 {
			ev := &holdfast.Event{Room: "r", Name: "e", From: "u", ID: fmt.Sprint("id-", i)}
			last = insist(t, func(ctx context.Context) (holdfast.Position, error) { return b.Publish(ctx, ev) })
			if taken[last] {
				t.Fatalf("round %d: position %v names two events", round, last)
			}
			taken[last] = true
		}
		if used[last.Epoch] {
			t.Fatalf("round %d: epoch %s again", round, last.Epoch)
		}
		used[last.Epoch] = true
		r.mu.Lock()
		told := r.stale
		r.mu.Unlock()
		cfg.Wipe(t, b)
		h := insist(t, func(ctx context.Context) (hub.History, error) {
			h, err := b.History(ctx, "r", &last, 0)
			if err == nil && used[h.Position.Epoch] {
				err = fmt.Errorf("still in epoch %s", h.Position.Epoch)
			}
			return h, err
		})
		if h.Recovered || len(h.Events) > 0 {
			t.Errorf("round %d: since %v history has %d events, recovered %v", round, last, len(h.Events), h.Recovered)
		}
		r.until(t, "Stale, or an event of the new epoch,", func() bool {
			n := len(r.events)
			return r.stale > told || n > 0 && !used[r.events[n-1].Position.Epoch]
		})
	}
	pos := publish(t, b, event("r", `"at last"`))
	r.await(t, pos)
}
