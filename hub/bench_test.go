package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

// fixedEncoder makes one frame an event, and nothing else.
type fixedEncoder struct{ frame *Frame }

func (e *fixedEncoder) Encode(*holdfast.Event) *Frame { return e.frame }

// queueSink is what a connection does: a Queue, popped when it was empty.
type queueSink struct {
	queue Queue
	dst   []*Frame
}

func (s *queueSink) Send(f *Frame) bool {
	wake, ok := s.queue.Push(f)
	if wake {
		s.dst = s.queue.Pop(s.dst[:0], 0, 0)
	}
	return ok
}

type countSink struct{ n int }

func (s *countSink) Send(*Frame) bool { s.n++; return true }

// payload is 128 bytes of JSON.
var payload = json.RawMessage(`{"text":"` + strings.Repeat("x", 117) + `"}`)

func fill(b testing.TB, h *Hub, rooms, members int, sink func() Sink, encoder Encoder) {
	for r := range rooms {
		for m := range members {
			s, err := h.Open(SessionConfig{ID: fmt.Sprint(r, "/", m), Identity: user("", "**"), Sink: sink(), Encoder: encoder})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := s.Join(context.Background(), "room-"+strconv.Itoa(r), JoinOptions{}, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkFanOut(b *testing.B) {
	for _, c := range []struct {
		name           string
		rooms, members int
		sink           func() Sink
	}{
		{"1x1000/count", 1, 1000, func() Sink { return new(countSink) }},
		{"1x1000/queue", 1, 1000, func() Sink { return new(queueSink) }},
		{"1000x5/queue", 1000, 5, func() Sink { return new(queueSink) }},
		{"1x10000/queue", 1, 10000, func() Sink { return new(queueSink) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := newHub(b, Config{})
			fill(b, h, c.rooms, c.members, c.sink, &fixedEncoder{&Frame{Text: make([]byte, 200)}})
			names := make([]string, c.rooms)
			for i := range names {
				names[i] = "room-" + strconv.Itoa(i)
			}
			ev := &holdfast.Event{Name: "e", Data: payload, From: "u"}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				ev.Room = names[i%len(names)]
				i++
				if _, err := h.Publish(context.Background(), ev); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.members), "ns/delivery")
		})
	}
}

// BenchmarkFanOutParallel publishes from all processors, to one room and to many.
func BenchmarkFanOutParallel(b *testing.B) {
	for _, c := range []struct{ rooms, members int }{{1, 1000}, {1000, 5}} {
		b.Run(fmt.Sprintf("%dx%d", c.rooms, c.members), func(b *testing.B) {
			h := newHub(b, Config{})
			fill(b, h, c.rooms, c.members, func() Sink { return new(queueSink) }, &fixedEncoder{&Frame{Text: make([]byte, 200)}})
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				ev := &holdfast.Event{Name: "e", Data: payload, From: "u"}
				for i := 0; pb.Next(); i++ {
					ev.Room = "room-" + strconv.Itoa(i%c.rooms)
					if _, err := h.Publish(context.Background(), ev); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(c.members), "ns/delivery")
		})
	}
}

func BenchmarkPublishNobody(b *testing.B) {
	for _, id := range []bool{false, true} {
		b.Run(fmt.Sprintf("id=%v", id), func(b *testing.B) {
			h := newHub(b, Config{})
			ev := &holdfast.Event{Room: "r", Name: "e", Data: payload}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if id {
					ev.ID = strconv.Itoa(i)
				}
				if _, err := h.Publish(context.Background(), ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkJoinLeave(b *testing.B) {
	for _, c := range []struct {
		name    string
		members int
		since   bool
	}{{"empty", 0, false}, {"1000", 1000, false}, {"1000/since", 1000, true}} {
		b.Run(c.name, func(b *testing.B) {
			h := newHub(b, Config{})
			fill(b, h, 1, c.members, func() Sink { return new(countSink) }, lineEncoder{})
			s := open(b, h, "u", new(countSink))
			var o JoinOptions
			if c.since {
				at := publish(b, h, "room-0", "1", "2", "3", "4", "5", "6")
				o.Since = &at[0]
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Join(context.Background(), "room-0", o, nil); err != nil {
					b.Fatal(err)
				}
				s.Leave("room-0")
			}
		})
	}
}

// BenchmarkMemory prints bytes a session, a membership and a room, for sessions
// whose user is not present in the rooms, and for those where he is.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct {
		name  string
		verbs []string
	}{{"quiet", []string{"join"}}, {"present", []string{"join", "presence"}}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				memory(b, c.verbs)
			}
		})
	}
}

func memory(b *testing.B, may []string) {
	h := New(Config{RoomsPerConnection: 1000})
	const n = 10000
	sink, encoder := new(countSink), new(fixedEncoder)
	names, ids := make([]string, n), make([]*holdfast.Identity, n)
	rights := verbs("", may...).Permissions
	for i := range names {
		names[i] = "room-" + strconv.Itoa(i)
		ids[i] = &holdfast.Identity{User: "user-" + strconv.Itoa(i), Permissions: rights}
	}
	before := heap()
	sessions := make([]*Session, n)
	for i := range sessions {
		sessions[i], _ = h.Open(SessionConfig{ID: ids[i].User, Identity: ids[i], Sink: sink, Encoder: encoder})
	}
	opened := heap()
	for _, s := range sessions {
		_, _ = s.Join(context.Background(), "one", JoinOptions{}, nil)
	}
	joined := heap()
	for i, s := range sessions {
		_, _ = s.Join(context.Background(), names[i], JoinOptions{}, nil)
	}
	rooms := heap()
	b.ReportMetric(float64(opened-before)/n, "B/session")
	b.ReportMetric(float64(joined-opened)/n, "B/membership")
	b.ReportMetric(float64(rooms-joined)/n, "B/room+member")
	_ = h.Close()
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
