package brokertest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// testOrder: one order, the same in answers, live and in history.
func testOrder(t *testing.T, cfg Config) { checkOrder(t, []hub.Broker{cfg.New(t, Bounds{})}) }

// testNodes: the same over two processes.
func testNodes(t *testing.T, cfg Config) { checkOrder(t, nodes(t, cfg, cfg.New(t, Bounds{}))) }

// checkOrder publishes at once by all brokers of the same rooms, and hears on
// each of them.
func checkOrder(t *testing.T, brokers []hub.Broker) {
	const publishers, each = 4, 50
	receivers := make([]*receiver, len(brokers))
	var start holdfast.Position
	for i, b := range brokers {
		receivers[i] = &receiver{}
		start = subscribe(t, b, "r", receivers[i])
		defer unsubscribe(t, b, "r")
	}
	var mu sync.Mutex
	answers := make(map[uint64]string)
	var last holdfast.Position
	var wg sync.WaitGroup
	for p := range publishers * len(brokers) {
		wg.Go(func() {
			var before uint64
			for i := range each {
				data := fmt.Sprintf(`"%d.%d"`, p, i)
				pos, err := brokers[p%len(brokers)].Publish(t.Context(), event("r", data))
				if err != nil || pos.Offset <= before {
					t.Errorf("offset %d after %d: %v", pos.Offset, before, err)
					return
				}
				before = pos.Offset
				mu.Lock()
				if other, ok := answers[pos.Offset]; ok {
					t.Errorf("%s and %s both got offset %d", other, data, pos.Offset)
				}
				answers[pos.Offset] = data
				if pos.Offset > last.Offset {
					last = pos
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	var kept hub.History
	for i, b := range brokers {
		h := insist(t, func(ctx context.Context) (hub.History, error) {
			// What another process published shows here soon, not at once.
			h, err := b.History(ctx, "r", &start, 0)
			if err == nil && len(h.Events) < len(answers) {
				err = fmt.Errorf("%d events kept, %d answered", len(h.Events), len(answers))
			}
			return h, err
		})
		if i > 0 && dataOf(h.Events) != dataOf(kept.Events) {
			t.Errorf("history by one process is\n%s\nand by another\n%s", dataOf(kept.Events), dataOf(h.Events))
		}
		kept = h
	}
	if len(kept.Events) != publishers*len(brokers)*each || !kept.Recovered {
		t.Fatalf("%d events kept", len(kept.Events))
	}
	for _, ev := range kept.Events {
		if answers[ev.Position.Offset] != string(ev.Data) {
			t.Errorf("offset %d is %s in history, %s in the answer", ev.Position.Offset, ev.Data, answers[ev.Position.Offset])
		}
	}
	if !slices.IsSortedFunc(kept.Events, func(a, b *holdfast.Event) int {
		return int(a.Position.Offset) - int(b.Position.Offset)
	}) {
		t.Error("history is not in order")
	}
	for _, r := range receivers {
		live, prevs := r.await(t, last)
		checkLive(t, kept.Events, live, prevs)
	}
}

// testPrevious: prev is the offset of the event before, over pauses in the
// subscription too.
func testPrevious(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	var before uint64 // offset of the last event
	for round := range 4 {
		r := &receiver{}
		pos := subscribe(t, b, "r", r)
		if pos.Offset < before {
			t.Errorf("the subscription is at %d, the room at %d", pos.Offset, before)
		}
		for range 3 {
			pos = publish(t, b, event("r", "1"))
			_, prevs := r.await(t, pos)
			if prev := prevs[len(prevs)-1]; prev != before && prev != hub.UnknownOffset {
				t.Errorf("round %d: %d is said to follow %d, not %d", round, pos.Offset, prev, before)
			}
			before = pos.Offset
		}
		unsubscribe(t, b, "r")
		before = publish(t, b, event("r", "nobody hears it")).Offset
	}
}

// testSubscribe: while others publish, each subscription gets all that comes
// after its position, or sees that it did not; it may end from within.
func testSubscribe(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() {
		for i := range 4000 { // Bounds{} promises no more
			select {
			case <-stop:
				return
			default:
			}
			if _, err := b.Publish(t.Context(), event("r", fmt.Sprint(i))); err != nil {
				t.Error(err)
				return
			}
			runtime.Gosched()
		}
	})
	for range 20 {
		r := &receiver{}
		ended := make(chan struct{})
		var once sync.Once
		r.then = func(*holdfast.Event) {
			once.Do(func() {
				unsubscribe(t, b, "r")
				close(ended)
			})
		}
		pos := subscribe(t, b, "r", r)
		publish(t, b, event("r", `"at least this"`))
		select {
		case <-ended:
		case <-time.After(patience):
			t.Fatal("nothing comes, or a subscription can't end from within a delivery")
		}
		h := history(t, b, "r", &pos, 0)
		r.mu.Lock()
		for i, ev := range r.events {
			if ev.Position.Offset <= pos.Offset {
				continue
			}
			first := h.Events[0].Position.Offset
			if ev.Position.Offset > first && r.prevs[i] <= pos.Offset {
				t.Errorf("after position %d comes %d, said to follow %d; %d was passed over", pos.Offset, ev.Position.Offset, r.prevs[i], first)
			}
			break
		}
		r.mu.Unlock()
	}
}

// testOneAtATime: however many publish, a receiver is called one at a time.
func testOneAtATime(t *testing.T, cfg Config) {
	const publishers, each = 8, 40
	b := cfg.New(t, Bounds{})
	brokers := nodes(t, cfg, b)
	r := &receiver{then: func(*holdfast.Event) { runtime.Gosched() }}
	subscribe(t, b, "r", r)
	defer unsubscribe(t, b, "r")
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for range each {
				if _, err := brokers[p%len(brokers)].Publish(t.Context(), event("r", "1")); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	r.await(t, publish(t, b, event("r", `"the last"`)))
}

// testNotBehind: history has what was delivered, and what was answered.
func testNotBehind(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	r := &receiver{}
	r.then = func(ev *holdfast.Event) {
		before := holdfast.Position{Epoch: ev.Position.Epoch, Offset: ev.Position.Offset - 1}
		h, err := b.History(context.Background(), "r", &before, 1)
		if err != nil || !h.Recovered || len(h.Events) != 1 || h.Events[0].Position != ev.Position {
			t.Errorf("delivered %v, and history has %+v, %v", ev.Position, h, err)
		}
	}
	since := subscribe(t, b, "r", r)
	defer unsubscribe(t, b, "r")
	for i := range 100 {
		pos := publish(t, b, event("r", fmt.Sprint(i)))
		h := history(t, b, "r", &since, 0)
		if n := len(h.Events); !h.Recovered || n == 0 || h.Events[n-1].Position.Offset < pos.Offset || h.Position.Offset < pos.Offset {
			t.Fatalf("published %v, and history has %+v", pos, h)
		}
		since = pos
	}
	r.await(t, since)
}
