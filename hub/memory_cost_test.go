package hub

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Rooms that everybody has left cost nothing any more once their history is
// over, though nobody asks for them again.
func TestRoomsThatWereLeftAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(MemoryConfig{})
		defer m.Close()
		h := newHub(t, Config{Broker: m})
		defer h.Close()
		const rooms = 100
		for i := range rooms {
			room := fmt.Sprint("room-", i)
			id := verbs("", "join", "publish")
			id.User = fmt.Sprint("user-", i)
			s, err := h.Open(SessionConfig{ID: id.User, Identity: id, Sink: new(countSink), Encoder: new(fixedEncoder)})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Join(t.Context(), room, JoinOptions{}, nil); err != nil {
				t.Fatal(err)
			}
			for n := range 20 {
				if _, err := h.Publish(t.Context(), &holdfast.Event{Room: room, Name: "e", ID: fmt.Sprint(n), From: id.User}); err != nil {
					t.Fatal(err)
				}
			}
			s.Close()
		}
		kept := func() (rooms int) {
			for i := range m.shards {
				m.shards[i].mu.Lock()
				rooms += len(m.shards[i].rooms)
				m.shards[i].mu.Unlock()
			}
			return rooms
		}
		if n := kept(); n != rooms || m.bytes.Load() == 0 {
			t.Errorf("%d rooms and %d bytes at first: the test shows nothing", n, m.bytes.Load())
		}
		time.Sleep(11*time.Minute + time.Second) // their age, and a sweep
		synctest.Wait()
		if n := kept(); n != 0 || m.bytes.Load() != 0 {
			t.Errorf("%d rooms and %d bytes are left", n, m.bytes.Load())
		}
	})
}

// The estimate that TotalBytes bounds is not far below what is used, whatever
// it is used for.
func TestMemoryEstimate(t *testing.T) {
	for _, c := range []struct {
		name                string
		rooms, events, size int
		id                  bool
	}{
		{"history", 200, 100, 128, false},
		{"history with ids", 200, 100, 128, true},
		{"ids alone", 4, 10_000, 2, true},
	} {
		before := heap()
		m := NewMemory(MemoryConfig{})
		for r := range c.rooms {
			for n := range c.events {
				ev := &holdfast.Event{Room: fmt.Sprint("board-", r), Name: "card:moved", Data: make([]byte, c.size), From: "user"}
				if c.id {
					ev.ID = fmt.Sprintf("%032d", n)
				}
				if _, err := m.Publish(t.Context(), ev); err != nil {
					t.Fatal(err)
				}
			}
		}
		used, estimate := heap()-before, m.bytes.Load()
		if float64(used) > 1.2*float64(estimate) {
			t.Errorf("%s: %d bytes are used, and %d are counted", c.name, used, estimate)
		}
		runtime.KeepAlive(m)
		m.Close()
	}
}
