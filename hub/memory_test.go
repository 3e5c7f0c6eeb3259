package hub

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// receiverFuncs is a Receiver of functions.
type receiverFuncs struct {
	deliver func(ev *holdfast.Event, prev uint64)
}

func (r receiverFuncs) Deliver(ev *holdfast.Event, prev uint64) { r.deliver(ev, prev) }
func (r receiverFuncs) Stale()                                  {}

func history(t testing.TB, b Broker, room string, since *holdfast.Position, limit int) History {
	t.Helper()
	h, err := b.History(t.Context(), room, since, limit)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func dataOf(h History) string {
	var all []string
	for _, ev := range h.Events {
		all = append(all, string(ev.Data))
	}
	return strings.Join(all, " ")
}

// heldBytes compares the estimate of memory with what is there.
func checkBytes(t testing.TB, m *Memory) {
	t.Helper()
	var want int64
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.Lock()
		listed := 0
		for e := sh.events.first; e != nil; e = e.next {
			listed++
		}
		kept := 0
		for _, r := range sh.rooms {
			want += r.cost()
			for j := range r.events.len() {
				want += r.events.at(j).cost()
				kept++
			}
			for j := range r.ids.order.len() {
				want += r.ids.order.at(j).key.cost()
			}
			if r.ids.order.len() != len(r.ids.seen) {
				t.Errorf("%d ids in order, %d in the map", r.ids.order.len(), len(r.ids.seen))
			}
		}
		if listed != kept {
			t.Errorf("%d events in the list, %d in rooms", listed, kept)
		}
		sh.mu.Unlock()
	}
	if got := m.bytes.Load(); got != want {
		t.Errorf("%d bytes counted, %d there", got, want)
	}
}

func TestMemoryBounds(t *testing.T) {
	big := `"` + strings.Repeat("x", 100) + `"`
	for _, c := range []struct {
		name string
		cfg  MemoryConfig
		data []string
		want int // events kept
	}{
		{"count", MemoryConfig{Events: 3}, []string{"1", "2", "3", "4", "5"}, 3},
		{"bytes", MemoryConfig{Bytes: 250}, []string{big, big, big}, 2},
		{"one over bytes", MemoryConfig{Bytes: 50}, []string{"1", big}, 0},
		{"no history", MemoryConfig{Events: -1}, []string{"1", "2"}, 0},
		{"default", MemoryConfig{}, []string{"1", "2"}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMemory(t, c.cfg)
			at := publish(t, m, "r", c.data...)
			h := history(t, m, "r", nil, 0)
			if len(h.Events) != c.want || h.Position != at[len(at)-1] || !h.Recovered {
				t.Errorf("%d events at %v, want %d at %v", len(h.Events), h.Position, c.want, at[len(at)-1])
			}
			for i, pos := range at {
				h := history(t, m, "r", &pos, 0)
				missed := len(at) - 1 - i
				if wantOK := missed <= c.want; h.Recovered != wantOK || h.Recovered && len(h.Events) != missed {
					t.Errorf("since %d: recovered %v with %d events", pos.Offset, h.Recovered, len(h.Events))
				}
			}
			checkBytes(t, m)
		})
	}
}

// TestMemoryEpochs: each room has its own, and 0 is before its first event. What
// any broker must do is in brokertest.
func TestMemoryEpochs(t *testing.T) {
	m := newMemory(t, MemoryConfig{})
	at := publish(t, m, "r", "1", "2")
	if h := history(t, m, "r", &holdfast.Position{Epoch: at[0].Epoch}, 0); dataOf(h) != "1 2" || !h.Recovered || h.Position != at[1] {
		t.Errorf("from the start: %+v", h)
	}
	if other := publish(t, m, "r2", "1"); other[0].Epoch == at[0].Epoch {
		t.Error("two rooms have one epoch")
	}
}

func TestMemoryIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{IDs: 3, Age: time.Minute, Events: 1})
		defer m.Close()
		send := func(room, from, id string) uint64 {
			pos, err := m.Publish(t.Context(), &holdfast.Event{Room: room, Name: "e", From: from, ID: id})
			if err != nil {
				t.Fatal(err)
			}
			return pos.Offset
		}
		for i, c := range []struct {
			room, from, id string
			want           uint64
		}{
			{"r", "u", "a", 1},
			{"r", "u", "a", 1}, // again
			{"r", "v", "a", 2}, // another publisher
			{"s", "u", "a", 1}, // another room
			{"r", "", "a", 3},  // a backend
			{"r", "u", "a", 1}, // its event is out of history
			{"r", "u", "b", 4}, // the fourth id: the first is forgotten
			{"r", "u", "a", 5},
			{"r", "u", "b", 4},
			{"r", "u", "", 6},
			{"r", "u", "", 7},
		} {
			if got := send(c.room, c.from, c.id); got != c.want {
				t.Fatalf("%d: %+v: offset %d", i, c, got)
			}
		}
		checkBytes(t, m)
		<-time.After(2 * time.Minute)
		checkBytes(t, m)
		if got := send("r", "u", "b"); got != 1 {
			t.Errorf("offset %d in a room made anew", got)
		}
	})
}

func TestMemoryAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{Age: time.Minute})
		defer m.Close()
		first := publish(t, m, "r", "1")[0]
		<-time.After(40 * time.Second)
		second := publish(t, m, "r", "2")[0]
		<-time.After(30 * time.Second)
		if h := history(t, m, "r", nil, 0); dataOf(h) != "2" {
			t.Errorf("after 70 s: %q", dataOf(h))
		}
		if h := history(t, m, "r", &first, 0); dataOf(h) != "2" || !h.Recovered {
			t.Errorf("since the first: %q, %v", dataOf(h), h.Recovered)
		}
		before := holdfast.Position{Epoch: first.Epoch}
		if h := history(t, m, "r", &before, 0); h.Recovered {
			t.Error("recovered what is gone")
		}
		<-time.After(50 * time.Second)
		// Nothing is kept, but the room is: whoever has seen all is up to date.
		if h := history(t, m, "r", &second, 0); !h.Recovered || len(h.Events) > 0 || h.Position != second {
			t.Errorf("without history: %+v", h)
		}
		<-time.After(2 * time.Minute)
		checkBytes(t, m)
		if n := m.bytes.Load(); n != 0 {
			t.Errorf("%d bytes for nothing", n)
		}
		if h := history(t, m, "r", &second, 0); h.Recovered || h.Position.Epoch == second.Epoch {
			t.Errorf("a room made anew answers a since from before: %+v", h)
		}
	})
}

func TestMemorySubscribedRoomStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{Age: time.Minute})
		defer m.Close()
		at := publish(t, m, "r", "1")[0]
		if pos, err := m.Subscribe(t.Context(), "r", receiverFuncs{}); err != nil || pos != at {
			t.Fatal(pos, err)
		}
		_, err := m.Subscribe(t.Context(), "r", receiverFuncs{})
		wantCode(t, err, holdfast.Conflict)
		<-time.After(time.Hour)
		if h := history(t, m, "r", &at, 0); !h.Recovered {
			t.Error("a room with a subscription was freed")
		}
		_ = m.Unsubscribe(t.Context(), "r")
		_ = m.Unsubscribe(t.Context(), "never")
		<-time.After(30 * time.Second)
		if h := history(t, m, "r", &at, 0); !h.Recovered {
			t.Error("a room was freed at once")
		}
		<-time.After(time.Hour)
		if h := history(t, m, "r", &at, 0); h.Recovered {
			t.Error("a room was never freed")
		}
	})
}

// TestMemoryTotal: over the bound of all rooms, the oldest go first, wherever
// they are.
func TestMemoryTotal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const each = memoryEventCost + len("room-0") + 1 + 1
		total := int64(100*each + 20*(memoryRoomCost+len("room-0")))
		m := NewMemory(MemoryConfig{TotalBytes: total})
		defer m.Close()
		var at []holdfast.Position
		for i := range 500 {
			at = append(at, publish(t, m, fmt.Sprintf("room-%c", 'a'+i%20), "1")...)
			if n := m.bytes.Load(); n > total {
				t.Fatalf("%d bytes, bound %d", n, total)
			}
			<-time.After(time.Millisecond)
		}
		checkBytes(t, m)
		kept := 0
		for i := range 20 {
			kept += len(history(t, m, fmt.Sprintf("room-%c", 'a'+i), nil, 0).Events)
		}
		if kept != 100 {
			t.Errorf("%d events kept", kept)
		}
		for i, pos := range at {
			h := history(t, m, fmt.Sprintf("room-%c", 'a'+i%20), &pos, 0)
			if want := i >= 400-20; h.Recovered != want {
				t.Fatalf("event %d: recovered %v", i, h.Recovered)
			}
		}
		// Rooms alone can fill it too.
		for i := range 2000 {
			history(t, m, fmt.Sprintf("asked-%d", i), nil, 0)
			<-time.After(10 * time.Millisecond)
		}
		if n := m.bytes.Load(); n > total+200*memoryRoomCost {
			t.Errorf("%d bytes of rooms that nobody uses", n)
		}
		checkBytes(t, m)
	})
}

// TestMemoryPublisherWaits: a room whose readers are behind stops its
// publishers, who give up with their context, and delivers in order later.
func TestMemoryPublisherWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		defer m.Close()
		gate := make(chan struct{})
		var seen []uint64
		_, err := m.Subscribe(t.Context(), "r", receiverFuncs{deliver: func(ev *holdfast.Event, prev uint64) {
			<-gate
			if prev != ev.Position.Offset-1 {
				t.Errorf("offset %d after %d", ev.Position.Offset, prev)
			}
			seen = append(seen, ev.Position.Offset)
		}})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _, _ = m.Publish(t.Context(), event("r", "0")) })
		synctest.Wait()
		publish(t, m, "r", make([]string, memoryPending)...)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := m.Publish(ctx, event("r", "late")); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a full room: %v", err)
		}
		for range 10 {
			wg.Go(func() { _, _ = m.Publish(t.Context(), event("r", "waited")) })
		}
		publish(t, m, "other", "not held up")
		synctest.Wait()
		if h := history(t, m, "r", nil, 0); h.Position.Offset != 1+memoryPending {
			t.Errorf("%d appended", h.Position.Offset)
		}
		close(gate)
		wg.Wait()
		synctest.Wait()
		if want := 1 + memoryPending + 10; len(seen) != want {
			t.Fatalf("%d delivered, want %d", len(seen), want)
		}
		for i, offset := range seen {
			if offset != uint64(i+1) {
				t.Fatalf("delivery %d has offset %d", i, offset)
			}
		}
	})
}

// TestMemoryPublisherIsRelieved: nobody delivers for others for ever.
func TestMemoryPublisherIsRelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		defer m.Close()
		gates := map[uint64]chan struct{}{1: make(chan struct{}), 100: make(chan struct{})}
		delivered := 0
		_, err := m.Subscribe(t.Context(), "r", receiverFuncs{deliver: func(ev *holdfast.Event, _ uint64) {
			if gate := gates[ev.Position.Offset]; gate != nil {
				<-gate
			}
			delivered++
		}})
		if err != nil {
			t.Fatal(err)
		}
		returned := make(chan struct{})
		go func() {
			publish(t, m, "r", "first")
			close(returned)
		}()
		synctest.Wait()
		publish(t, m, "r", make([]string, 200)...)
		close(gates[1])
		synctest.Wait()
		select {
		case <-returned:
		default:
			t.Error("the first publisher still delivers")
		}
		close(gates[100])
		synctest.Wait()
		if delivered != 201 {
			t.Errorf("%d delivered", delivered)
		}
	})
}

func TestMemoryClosed(t *testing.T) {
	m := newMemory(t, MemoryConfig{})
	publish(t, m, "r", "1")
	_ = m.Close()
	_ = m.Close()
	_, err := m.Publish(t.Context(), event("r", "2"))
	wantCode(t, err, holdfast.GoingAway)
	_, err = m.Subscribe(t.Context(), "r", receiverFuncs{})
	wantCode(t, err, holdfast.GoingAway)
	_, err = m.History(t.Context(), "r", nil, 0)
	wantCode(t, err, holdfast.GoingAway)
}

// Whoever only asks where rooms stand that nobody uses takes no history away
// from those that are used.
func TestMemoryUnusedRoomsGoFirst(t *testing.T) {
	m := NewMemory(MemoryConfig{TotalBytes: 8 << 20})
	defer m.Close()
	var first holdfast.Position
	for i := range 100 {
		p, err := m.Publish(t.Context(), &holdfast.Event{Room: "r", Name: "e", Data: []byte("1")})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = p
		}
	}
	for i := range 50_000 {
		if _, err := m.History(t.Context(), fmt.Sprint("other-", i), nil, 1); err != nil {
			t.Fatal(err)
		}
	}
	h, err := m.History(t.Context(), "r", &first, 0)
	if err != nil || !h.Recovered || len(h.Events) != 99 {
		t.Errorf("%d events after the first, recovered %v, %v", len(h.Events), h.Recovered, err)
	}
}

// An epoch is given on command lines, where a hyphen would begin a flag.
func TestEpochBeginsWithALetter(t *testing.T) {
	for range 500 {
		m := NewMemory(MemoryConfig{})
		if c := m.prefix[0] | 0x20; c < 'a' || c > 'z' {
			t.Errorf("epochs begin with %q", m.prefix)
		}
		m.Close()
	}
}

// Whoever closes it, closed is closed: nothing is delivered any more.
func TestMemoryClosedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		const last = memoryTurn + 2
		n, release := 0, make(chan struct{})
		to := receiverFuncs{func(*holdfast.Event, uint64) {
			if n++; n == 1 || n == last {
				<-release
			}
		}}
		if _, err := m.Subscribe(t.Context(), "r", to); err != nil {
			t.Fatal(err)
		}
		for range last { // the first publisher delivers, and hands the end on
			go func() { _, _ = m.Publish(context.Background(), event("r", "1")) }()
			synctest.Wait()
		}
		release <- struct{}{}
		synctest.Wait()
		var closed atomic.Int32
		for range 2 {
			go func() { m.Close(); closed.Add(1) }()
			synctest.Wait()
		}
		if n := closed.Load(); n != 0 {
			t.Errorf("%d of two have closed it while it delivers", n)
		}
		close(release)
		synctest.Wait()
		if n := closed.Load(); n != 2 {
			t.Errorf("%d of two have closed it", n)
		}
	})
}
