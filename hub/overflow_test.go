package hub

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast"
)

// namedFrame makes a frame of 10 bytes, 26 in a queue, whose name is
// "c1" for OverflowClose, "d1" for OverflowDropOldest, and "ax1" for
// OverflowLatest with the key x.
func namedFrame(name string) *Frame {
	f := &Frame{Text: []byte(fmt.Sprintf("%-10s", name))}
	switch name[0] {
	case 'd':
		f.Overflow = OverflowDropOldest
	case 'a':
		f.Overflow, f.Key = OverflowLatest, name[1:2]
	}
	return f
}

func frameNames(frames []*Frame) string {
	names := make([]string, len(frames))
	for i, f := range frames {
		names[i] = strings.TrimSpace(string(f.Text))
	}
	return strings.Join(names, " ")
}

func TestQueueOverflow(t *testing.T) {
	const each = 10 + frameOverhead
	for _, c := range []struct {
		name   string
		limit  int // in frames
		push   string
		want   string // popped
		closed bool
		drops  [2]uint64 // drop-oldest, latest
	}{
		{"close", 2, "c1 c2 c3", "c1 c2", true, [2]uint64{}},
		{"drop-oldest fits", 3, "d1 d2 d3", "d1 d2 d3", false, [2]uint64{}},
		{"drop-oldest", 3, "d1 d2 d3 d4 d5", "d3 d4 d5", false, [2]uint64{2, 0}},
		{"drop-oldest keeps what may not be dropped", 3, "c1 d1 c2 d2 d3", "c1 c2 d3", false, [2]uint64{2, 0}},
		{"drop-oldest finds no room", 2, "c1 c2 d1 d2", "c1 c2", false, [2]uint64{2, 0}},
		{"drop-oldest leaves latest alone", 2, "ax1 c1 d1", "ax1 c1", false, [2]uint64{1, 0}},
		{"latest replaces, at the back", 9, "ax1 ay1 ax2", "ay1 ax2", false, [2]uint64{0, 1}},
		{"latest replaces the only one", 9, "ax1 ax2 ax3", "ax3", false, [2]uint64{0, 2}},
		{"latest replaces in a full queue", 2, "ax1 c1 ax2", "c1 ax2", false, [2]uint64{0, 1}},
		{"latest drops the oldest", 3, "ax1 ay1 c1 az1", "ay1 c1 az1", false, [2]uint64{0, 1}},
		{"latest finds no room", 2, "c1 c2 ax1", "c1 c2", false, [2]uint64{0, 1}},
		{"latest leaves drop-oldest alone", 2, "d1 c1 ax1", "d1 c1", false, [2]uint64{0, 1}},
		{"close takes the place of others", 3, "d1 ax1 c1 c2", "ax1 c1 c2", false, [2]uint64{1, 0}},
		{"close takes the place of all others", 3, "d1 ax1 c1 c2 c3", "c1 c2 c3", false, [2]uint64{1, 1}},
		{"close finds no room", 2, "c1 d1 c2 c3", "c1 c2", true, [2]uint64{1, 0}},
		{"a hole in the middle", 9, "c1 ax1 c2 ax2 c3 ax3 c4", "c1 c2 c3 ax3 c4", false, [2]uint64{0, 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var drops Drops
			q := Queue{Limit: c.limit * each, Drops: &drops}
			ok := true
			for i, name := range strings.Fields(c.push) {
				var wake bool
				if wake, ok = q.Push(namedFrame(name)); wake != (i == 0) {
					t.Errorf("push %s: wake %v", name, wake)
				}
			}
			want := len(strings.Fields(c.want))
			if ok == c.closed || q.Len() != want || q.Bytes() != want*each {
				t.Errorf("ok %v, %d frames, %d bytes", ok, q.Len(), q.Bytes())
			}
			if got := frameNames(q.Pop(nil, 0, 0)); got != c.want {
				t.Errorf("popped %s, want %s", got, c.want)
			}
			if got := [2]uint64{drops.DropOldest.Load(), drops.Latest.Load()}; got != c.drops {
				t.Errorf("drops %v, want %v", got, c.drops)
			}
			if q.loose != nil || q.ring != nil {
				t.Error("an empty queue keeps something")
			}
		})
	}
}

// A frame that is larger than the limit goes into an empty queue, and into one
// that can be emptied for it.
func TestQueueOverflowLarge(t *testing.T) {
	for _, overflow := range []Overflow{OverflowClose, OverflowDropOldest, OverflowLatest} {
		q := Queue{Limit: 100}
		large := &Frame{Text: make([]byte, 500), Overflow: overflow}
		for range 2 {
			if _, ok := q.Push(large); !ok && overflow != OverflowClose {
				t.Errorf("%v: refused", overflow)
			}
			if q.Len() != 1 {
				t.Errorf("%v: %d frames", overflow, q.Len())
			}
		}
	}
}

// A frame that was popped and not sent is put back, unless there is a newer one
// with its key.
func TestQueuePushFrontReplaced(t *testing.T) {
	var drops Drops
	q := Queue{Drops: &drops}
	q.Push(namedFrame("ax1"))
	q.Push(namedFrame("ay1"))
	popped := q.Pop(nil, 0, 0)
	q.Push(namedFrame("c1"))
	q.Push(namedFrame("ax2"))
	q.PushFront(popped...)
	if got := frameNames(q.Pop(nil, 0, 0)); got != "ay1 c1 ax2" || drops.Latest.Load() != 1 {
		t.Errorf("popped %s, %d drops", got, drops.Latest.Load())
	}
}

func TestOverflowText(t *testing.T) {
	for _, o := range []Overflow{OverflowClose, OverflowDropOldest, OverflowLatest} {
		if got, err := ParseOverflow(o.String()); err != nil || got != o {
			t.Errorf("%v: %v, %v", o, got, err)
		}
	}
	for _, text := range []string{"", "Close", "drop"} {
		if _, err := ParseOverflow(text); !errors.Is(err, holdfast.InvalidArgument) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A queue that nobody reads stays as small as what is in it, however often its
// frames are replaced, and however many keys there are.
func TestQueueOverflowIsBounded(t *testing.T) {
	for _, c := range []struct {
		name    string
		overlow Overflow
		keys    int
	}{{"drop-oldest", OverflowDropOldest, 1}, {"few keys", OverflowLatest, 3}, {"many keys", OverflowLatest, 2000}} {
		t.Run(c.name, func(t *testing.T) {
			const fit = 1000
			q := Queue{Limit: fit * (10 + frameOverhead)}
			q.Push(namedFrame("c0")) // keeps what is dropped from being at the front
			frames := make([]*Frame, c.keys)
			for i := range frames {
				frames[i] = &Frame{Text: make([]byte, 10), Overflow: c.overlow, Key: fmt.Sprint(i)}
			}
			for i := range 20 * fit {
				q.Push(frames[i%len(frames)])
				if q.loose.holes < 0 || len(q.slots()) > 8*fit {
					t.Fatalf("after %d: %d holes, ring of %d", i, q.loose.holes, len(q.slots()))
				}
			}
			want := fit
			if c.overlow == OverflowLatest {
				want = min(fit, 1+c.keys)
			}
			if q.Len() != want || len(q.loose.latest) > want {
				t.Errorf("%d frames, want %d; %d keys", q.Len(), want, len(q.loose.latest))
			}
		})
	}
}

// modelQueue is a Queue with a slice, and no thought of speed.
type modelQueue struct {
	limit  int
	frames []*Frame
	closed bool
	drops  [3]uint64
}

func (m *modelQueue) bytes() (n int) {
	for _, f := range m.frames {
		n += f.Size() + frameOverhead
	}
	return n
}

// dropFirst drops the oldest frame that passes.
func (m *modelQueue) dropFirst(pass func(*Frame) bool) bool {
	i := slices.IndexFunc(m.frames, pass)
	if i < 0 {
		return false
	}
	m.drops[m.frames[i].Overflow]++
	m.frames = slices.Delete(m.frames, i, i+1)
	return true
}

func (m *modelQueue) push(f *Frame) bool {
	if m.closed {
		return false
	}
	tried := modelQueue{frames: slices.Clone(m.frames), drops: m.drops}
	if f.Overflow == OverflowLatest {
		tried.dropFirst(func(o *Frame) bool { return o.Overflow == OverflowLatest && o.Key == f.Key })
	}
	for len(tried.frames) > 0 && tried.bytes()+f.Size()+frameOverhead > m.limit {
		gives := func(o *Frame) bool { return o.Overflow == f.Overflow }
		if f.Overflow == OverflowClose {
			gives = (*Frame).droppable
		}
		if !tried.dropFirst(gives) {
			if f.Overflow == OverflowClose {
				m.closed = true
				return false
			}
			m.drops[f.Overflow]++
			return true
		}
	}
	m.frames, m.drops = append(tried.frames, f), tried.drops
	return true
}

func (m *modelQueue) pushFront(frames []*Frame) {
	for _, f := range slices.Backward(frames) {
		if f.Overflow == OverflowLatest && slices.ContainsFunc(m.frames, func(o *Frame) bool { return o.Overflow == OverflowLatest && o.Key == f.Key }) {
			m.drops[OverflowLatest]++
			continue
		}
		m.frames = slices.Insert(m.frames, 0, f)
	}
}

// TestQueueOverflowModel compares a Queue with a modelQueue.
func TestQueueOverflowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var drops Drops
		m := modelQueue{limit: rapid.IntRange(50, 1500).Draw(t, "limit")}
		q := Queue{Limit: m.limit, Drops: &drops}
		keys := rapid.IntRange(1, 40).Draw(t, "keys")
		serial := 0
		push := func(t *rapid.T) {
			f := &Frame{Text: make([]byte, rapid.IntRange(0, 60).Draw(t, "size")), Overflow: Overflow(rapid.IntRange(0, 2).Draw(t, "overflow"))}
			if f.Overflow == OverflowLatest {
				f.Key = fmt.Sprint(rapid.IntRange(1, keys).Draw(t, "key"))
			}
			serial++
			empty := len(m.frames) == 0
			wantOK := m.push(f)
			if wake, ok := q.Push(f); ok != wantOK || wake != (ok && empty) {
				t.Fatalf("push: wake %v, ok %v, want ok %v", wake, ok, wantOK)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"push":   push,
			"push 2": push,
			"push 10": func(t *rapid.T) { // so that it fills up
				for range 10 {
					push(t)
				}
			},
			"pop": func(t *rapid.T) {
				popped := q.Pop(nil, 0, rapid.IntRange(1, 5).Draw(t, "frames"))
				n := min(len(popped), len(m.frames))
				if !slices.Equal(popped, m.frames[:n]) || n == 0 && len(m.frames) > 0 {
					t.Fatalf("popped %d frames", len(popped))
				}
				m.frames = slices.Clone(m.frames[n:])
				back := popped[rapid.IntRange(0, n).Draw(t, "back"):]
				between := rapid.IntRange(0, 2).Draw(t, "between")
				for range between {
					push(t)
				}
				q.PushFront(back...)
				m.pushFront(back)
			},
			"clear": func(t *rapid.T) {
				if rapid.IntRange(0, 19).Draw(t, "sure") == 0 {
					q.Clear()
					m.frames = nil
				}
			},
			"": func(t *rapid.T) {
				if q.Len() != len(m.frames) || q.Bytes() != m.bytes() {
					t.Fatalf("%d frames, %d bytes; want %d, %d", q.Len(), q.Bytes(), len(m.frames), m.bytes())
				}
				if got := [3]uint64{0, drops.DropOldest.Load(), drops.Latest.Load()}; got != m.drops {
					t.Fatalf("drops %v, want %v", got, m.drops)
				}
			},
		})
		if got := q.Pop(nil, 0, 0); !slices.Equal(got, m.frames) {
			t.Fatalf("%d frames at the end, want %d", len(got), len(m.frames))
		}
		if q.loose != nil {
			t.Fatal("an empty queue has loose frames")
		}
	})
}

func BenchmarkQueue(b *testing.B) {
	b.Run("close/read", func(b *testing.B) {
		var q Queue
		f := &Frame{Text: make([]byte, 200)}
		dst := make([]*Frame, 0, 8)
		b.ReportAllocs()
		for b.Loop() {
			q.Push(f)
			dst = q.Pop(dst[:0], 0, 0)
		}
	})
	b.Run("close/64", func(b *testing.B) {
		var q Queue
		f := &Frame{Text: make([]byte, 200)}
		dst := make([]*Frame, 0, 64)
		b.ReportAllocs()
		for b.Loop() {
			for range 64 {
				q.Push(f)
			}
			dst = q.Pop(dst[:0], 0, 0)
		}
	})
}

func BenchmarkQueueOverflow(b *testing.B) {
	for _, c := range []struct {
		name     string
		overflow Overflow
		keys     int
		read     bool
	}{
		{"drop-oldest/read", OverflowDropOldest, 1, true},
		{"latest/read", OverflowLatest, 1, true},
		{"drop-oldest/full", OverflowDropOldest, 1, false},
		{"latest/1", OverflowLatest, 1, false},
		{"latest/10", OverflowLatest, 10, false},
		{"latest/3000", OverflowLatest, 3000, false},
		{"latest/full", OverflowLatest, 10000, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			var q Queue
			frames := make([]*Frame, c.keys)
			for i := range frames {
				frames[i] = &Frame{Text: make([]byte, 200), Overflow: c.overflow, Key: fmt.Sprint("room/cursor/", i)}
			}
			if !c.read {
				q.Push(&Frame{Text: make([]byte, 200)})
			}
			dst := make([]*Frame, 0, 8)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				q.Push(frames[i%len(frames)])
				if c.read {
					dst = q.Pop(dst[:0], 0, 0)
				}
			}
		})
	}
}
