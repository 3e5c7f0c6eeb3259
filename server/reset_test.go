package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/server"
)

// mortal is a broker whose memory can be lost, as a real one's can.
type mortal struct {
	mu        sync.Mutex // guards what follows
	memory    *hub.Memory
	receivers map[string]hub.Receiver
}

func newMortal(t testing.TB) *mortal {
	m := &mortal{memory: hub.NewMemory(hub.MemoryConfig{}), receivers: make(map[string]hub.Receiver)}
	t.Cleanup(func() { m.now().Close() })
	return m
}

func (m *mortal) now() *hub.Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.memory
}

func (m *mortal) Publish(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error) {
	return m.now().Publish(ctx, ev)
}

func (m *mortal) Subscribe(ctx context.Context, room string, r hub.Receiver) (holdfast.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.receivers[room] = r
	return m.memory.Subscribe(ctx, room, r)
}

func (m *mortal) Unsubscribe(ctx context.Context, room string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.receivers, room)
	return m.memory.Unsubscribe(ctx, room)
}

func (m *mortal) History(ctx context.Context, room string, since *holdfast.Position, limit int) (hub.History, error) {
	return m.now().History(ctx, room, since, limit)
}

// die loses all history; what is published from then on begins new ones.
func (m *mortal) die(t testing.TB) {
	t.Helper()
	m.mu.Lock()
	old := m.memory
	m.memory = hub.NewMemory(hub.MemoryConfig{})
	receivers := maps.Clone(m.receivers)
	for room, r := range receivers {
		if _, err := m.memory.Subscribe(context.Background(), room, r); err != nil {
			t.Fatal(err)
		}
	}
	m.mu.Unlock()
	old.Close()
	for _, r := range receivers {
		r.Stale()
	}
}

// resets reads n events of reset and returns their rooms.
func (s *stream) resets(n int) []string {
	s.t.Helper()
	var rooms []string
	for range n {
		var data struct {
			Type, Room, Epoch string
			Offset            *uint64
		}
		ev := s.want("reset", `{"type":"reset",`)
		if err := json.Unmarshal([]byte(ev.Data), &data); err != nil || data.Epoch == "" || data.Offset == nil || ev.ID == "" {
			s.t.Fatalf("%s: %v", ev.Data, err)
		}
		rooms = append(rooms, data.Room)
	}
	slices.Sort(rooms)
	return rooms
}

func TestResets(t *testing.T) {
	in(t, func(t *testing.T) {
		broker := hub.NewMemory(hub.MemoryConfig{Events: 3})
		defer broker.Close()
		w := newWorld(t, server.Config{Broker: broker})
		before := w.poll("alice", "?room=a&room=b").Cursor
		for i := range 4 {
			w.publish("a", fmt.Sprint("a", i), nil)
		}
		w.publish("b", "b0", nil)

		// Of a, something is gone; of b, nothing.
		s := w.listen("alice", "?room=a&room=b", "Last-Event-ID", before)
		if got := s.resets(1); got[0] != "a" {
			t.Errorf("%v", got)
		}
		s.want("b0", "")
		w.publish("a", "a4", nil)
		after := s.want("a4", "").ID
		p := w.poll("alice", "?room=a&room=b&since="+before)
		if got := p.names(t); !slices.Equal(got, []string{"b0"}) || !slices.Equal(p.Reset, []string{"a"}) {
			t.Errorf("%s", p.body)
		}
		if p.Cursor != after { // both have seen all there is
			t.Errorf("cursors %s and %s", p.Cursor, after)
		}

		// A cursor of another server's, or none at all.
		for _, cursor := range []string{"garbage", strings.Repeat("A", 5000), "%00"} {
			s := w.listen("alice", "?room=a&room=b", "Last-Event-ID", cursor)
			if got := s.resets(2); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("%v", got)
			}
			w.publish("b", "next", nil)
			s.want("next", "")
			s.close()
			if s := w.listen("alice", "?room=a&since="+cursor); !slices.Equal(s.resets(1), []string{"a"}) {
				t.Errorf("since=%s", cursor)
			}
			if p := w.poll("alice", "?room=a&since="+cursor); p.status != 400 || codeIn(p.body) != holdfast.InvalidArgument {
				t.Errorf("poll since %.20s: %d %s", cursor, p.status, p.body)
			}
		}
		other := newWorld(t, server.Config{})
		if s := other.listen("alice", "?room=a&room=c", "Last-Event-ID", after); !slices.Equal(s.resets(1), []string{"a"}) {
			t.Error("another server's cursor")
		}
		if p := other.poll("alice", "?room=a&room=b&since="+after); !slices.Equal(p.Reset, []string{"a", "b"}) || len(p.Events) > 0 {
			t.Errorf("another server's cursor: %s", p.body)
		}
	})
}

// A room that can't be carried on without a gap goes on with a reset, and the
// stream stays.
func TestStreamOutlivesItsRooms(t *testing.T) {
	in(t, func(t *testing.T) {
		broker := newMortal(t)
		w := newWorld(t, server.Config{Broker: broker})
		s := w.listen("alice", "?room=a&room=b&room=c")
		synctest.Wait()
		for round := range 3 {
			w.publish("a", "old", nil)
			s.want("old", "")
			broker.die(t)
			if got := s.resets(3); !slices.Equal(got, []string{"a", "b", "c"}) {
				t.Errorf("%v", got)
			}
			synctest.Wait()
			p := w.publish("b", "new", round)
			if ev := s.want("new", ""); ev.Data != eventJSON("b", "new", fmt.Sprint(round), p) {
				t.Errorf("%s", ev.Data)
			}
		}
		again := w.listen("alice", "?room=a&room=b&room=c", "Last-Event-ID", s.in.LastID())
		w.publish("c", "end", nil)
		again.want("end", "") // without a reset
	})
}

// A poll that is held when its room is lost is answered, and the next one
// tells.
func TestPollOutlivesItsRooms(t *testing.T) {
	in(t, func(t *testing.T) {
		broker := newMortal(t)
		w := newWorld(t, server.Config{Broker: broker})
		cursor := w.poll("alice", "?room=a&room=b").Cursor
		go func() { time.Sleep(time.Second); broker.die(t) }()
		start := time.Now()
		p := w.poll("alice", "?room=a&room=b&since="+cursor)
		if p.status != 200 || len(p.Events) > 0 || time.Since(start) != time.Second {
			t.Errorf("%s after %v", p.body, time.Since(start))
		}
		w.publish("a", "new", nil)
		if p.Reset == nil {
			p = w.poll("alice", "?room=a&room=b&since="+p.Cursor)
		}
		if !slices.Equal(p.Reset, []string{"a", "b"}) || len(p.Events) > 0 || time.Since(start) != time.Second {
			t.Errorf("%s after %v", p.body, time.Since(start))
		}
		w.publish("b", "newer", nil)
		p = w.poll("alice", "?room=a&room=b&since="+p.Cursor)
		if got := p.names(t); !slices.Equal(got, []string{"newer"}) || p.Reset != nil {
			t.Errorf("%s", p.body)
		}
	})
}
