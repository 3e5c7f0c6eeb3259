package brokertest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// testOrder: one order, the same in answers, live and in history.
func testOrder(t *testing.T, cfg Config) {
	const publishers, each = 4, 50
	b := cfg.Open(t, publishers*each)
	r := &receiver{}
	start := subscribe(t, b, "r", r)
	defer unsubscribe(t, b, "r")
	var mu sync.Mutex
	answers := make(map[uint64]string)
	var last holdfast.Position
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			var before uint64
			for i := range each {
				data := fmt.Sprintf(`"%d.%d"`, p, i)
				pos, err := b.Publish(t.Context(), event("r", data))
				if err != nil || pos.Offset <= before {
					t.Errorf("offset %d after %d: %v", pos.Offset, before, err)
					return
				}
				before = pos.Offset
				mu.Lock()
				answers[pos.Offset] = data
				if pos.Offset > last.Offset {
					last = pos
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	kept := history(t, b, "r", &start, 0)
	if len(kept.Events) != publishers*each || len(answers) != publishers*each || !kept.Recovered {
		t.Fatalf("%d events kept, %d answered", len(kept.Events), len(answers))
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
	live, prevs := r.await(t, last)
	checkLive(t, kept.Events, live, prevs)
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

// testSubscribe: while others publish, each subscription gets all that comes
// after its position, or sees that it did not; it may end from within.
func testSubscribe(t *testing.T, cfg Config) {
	b := cfg.Open(t, 10_000)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := b.Publish(t.Context(), event("r", fmt.Sprint(i))); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for range 20 {
		r := &receiver{}
		ended := make(chan struct{})
		var once sync.Once
		r.then = func(*holdfast.Event) {
			r.mu.Lock()
			n := len(r.events)
			r.mu.Unlock()
			if n >= 5 {
				once.Do(func() {
					unsubscribe(t, b, "r")
					close(ended)
				})
			}
		}
		pos := subscribe(t, b, "r", r)
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

// testNotBehind: history has what was delivered, and what was answered.
func testNotBehind(t *testing.T, cfg Config) {
	b := cfg.Open(t, 1000)
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

// testHub: a hub on the broker, with clients that come and go, loses nothing.
func testHub(t *testing.T, cfg Config) {
	b := cfg.Open(t, 10_000)
	runClients(t, b, b)
}

// testNodes: the same over two processes.
func testNodes(t *testing.T, cfg Config) {
	if cfg.Another == nil {
		t.Skip("the broker is for one process")
	}
	first := cfg.Open(t, 10_000)
	runClients(t, first, cfg.Another(t, first))
}

// runClients publishes to one broker and has clients on a hub on another.
func runClients(t *testing.T, publishTo, readFrom hub.Broker) {
	h := hub.New(hub.Config{Broker: readFrom})
	defer h.Close()
	start := history(t, publishTo, "r", nil, 0).Position
	const n = 300
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, data := range want {
			if _, err := publishTo.Publish(t.Context(), event("r", data)); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 3 {
		wg.Go(func() { runClient(t, h, fmt.Sprint("client-", i), start, want) })
	}
	wg.Wait()
}

// runClient joins, and joins again, until it has everything.
func runClient(t *testing.T, h *hub.Hub, id string, pos holdfast.Position, want []string) {
	var got []string
	for len(got) < len(want) {
		sink := &clientSink{more: make(chan struct{}, 1)}
		rooms, err := holdfast.RoomList("r")
		if err != nil {
			t.Error(err)
			return
		}
		s, err := h.Open(hub.SessionConfig{
			ID: id, Identity: &holdfast.Identity{Permissions: holdfast.Permissions{Rooms: rooms}}, Sink: sink, Encoder: sink,
		})
		if err != nil {
			t.Error(err)
			return
		}
		j, err := s.Join(t.Context(), "r", hub.JoinOptions{Since: &pos}, nil)
		if err != nil || !*j.Recovered {
			t.Errorf("join: %+v, %v", j, err)
			return
		}
		if sink.await(len(want)-len(got), 20) == 0 {
			t.Errorf("%s: nothing comes after %v", id, pos)
			return
		}
		s.Close()
		events := sink.close()
		for _, ev := range events {
			got, pos = append(got, string(ev.Data)), ev.Position
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s got %v", id, got)
	}
}

// clientSink keeps the events that it is asked to encode, as its session's only
// encoder.
type clientSink struct {
	mu     sync.Mutex
	events []*holdfast.Event
	closed bool
	more   chan struct{}
}

// Encode keeps ev and sends nothing.
func (s *clientSink) Encode(ev *holdfast.Event) *hub.Frame {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.events = append(s.events, ev)
		select {
		case s.more <- struct{}{}:
		default:
		}
	}
	return nil
}

func (s *clientSink) Send(*hub.Frame) bool { return true }

// await waits for all events, or for some.
func (s *clientSink) await(all, some int) int {
	late := time.After(patience)
	for {
		s.mu.Lock()
		n := len(s.events)
		s.mu.Unlock()
		if n >= min(all, some) {
			return n
		}
		select {
		case <-s.more:
		case <-late:
			return 0
		}
	}
}

func (s *clientSink) close() []*holdfast.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.events
}
