package hub

import (
	"context"
	"runtime"
	"strconv"
	"testing"
)

// shape is a way to have many memberships.
type shape struct {
	name string
	// place says in which session and room membership i of n is.
	place func(i int) (session, room int)
	most  float64 // bytes a membership, with its part of rooms and sessions
}

// shapes are the three ways in which a hub grows. The bounds are half over
// what was measured on 64 bits.
func shapes() []shape {
	return []shape{
		{"rooms of one member, 100 a session", func(i int) (int, int) { return i / 100, i }, 1250},
		{"one room of members", func(i int) (int, int) { return i, 0 }, 600},
		{"members with a room each", func(i int) (int, int) { return i, i }, 1600},
	}
}

// weigh returns the bytes of heap and stacks that a hub with n memberships
// takes, names of rooms and ids of sessions included; not the sinks, which are
// the connections' own.
func weigh(t testing.TB, s shape, n int) float64 {
	id, sink, encoder := user("", "**"), new(countSink), new(fixedEncoder)
	before := inUse()
	h := New(Config{RoomsPerConnection: 1000})
	sessions := make(map[int]*Session)
	for i := range n {
		number, room := s.place(i)
		session := sessions[number]
		if session == nil {
			var err error
			session, err = h.Open(SessionConfig{ID: "session-" + strconv.Itoa(number), Identity: id, Sink: sink, Encoder: encoder})
			if err != nil {
				t.Fatal(err)
			}
			sessions[number] = session
		}
		if _, err := session.Join(context.Background(), "room-"+strconv.Itoa(room), JoinOptions{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	clear(sessions)
	sessions = nil
	bytes := inUse() - before
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	return float64(bytes)
}

// inUse returns the bytes of live objects and of stacks.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what the first one finalised
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestWeight: many rooms and many members take memory in proportion to their
// number, and not too much of it.
func TestWeight(t *testing.T) {
	sizes := []int{2500, 5000, 10_000}
	var of []float64 // each shape's, for the largest size
	for _, s := range shapes() {
		weigh(t, s, 100) // what is made once
		var each []float64
		for _, n := range sizes {
			each = append(each, weigh(t, s, n)/float64(n))
		}
		t.Logf("%-36s %.0f, %.0f and %.0f bytes each, for %v", s.name+":", each[0], each[1], each[2], sizes)
		last := each[len(each)-1]
		if of = append(of, last); last > s.most {
			t.Errorf("%s: %.0f bytes each, more than %.0f", s.name, last, s.most)
		}
		for i := range each[1:] {
			if each[i+1] > 1.15*each[i] {
				t.Errorf("%s: %.0f bytes each for %d, and %.0f for %d", s.name, each[i], sizes[i], each[i+1], sizes[i+1])
			}
		}
	}
	t.Logf("so a room takes %.0f bytes, a membership %.0f and a session %.0f", of[2]-of[1], of[0]+of[1]-of[2], of[2]-of[0])
}

// BenchmarkWeight prints what TestWeight bounds, for 10,000.
func BenchmarkWeight(b *testing.B) {
	for _, s := range shapes() {
		b.Run(s.name, func(b *testing.B) {
			const n = 10_000
			for b.Loop() {
				b.ReportMetric(weigh(b, s, n)/n, "B/membership")
			}
		})
	}
}
