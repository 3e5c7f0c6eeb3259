package hub

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

func frameOf(n int) *Frame { return &Frame{Text: make([]byte, n)} }

func TestFrameSize(t *testing.T) {
	for _, c := range []struct {
		name  string
		frame *Frame
		want  int
	}{
		{"empty", &Frame{}, 0},
		{"text", &Frame{Text: make([]byte, 7)}, 7},
		{"text and binary", &Frame{Text: make([]byte, 7), Binary: [][]byte{make([]byte, 2), make([]byte, 3)}}, 12},
		{"wire", &Frame{Text: make([]byte, 7), Wire: make([]byte, 9)}, 9},
	} {
		if got := c.frame.Size(); got != c.want {
			t.Errorf("%s: size %d, want %d", c.name, got, c.want)
		}
	}
}

func TestQueueLimit(t *testing.T) {
	for _, c := range []struct {
		name   string
		limit  int
		sizes  []int
		wantOK []bool
	}{
		{"fits exactly", 2 * (100 + frameOverhead), []int{100, 100}, []bool{true, true}},
		{"one byte over", 2*(100+frameOverhead) - 1, []int{100, 100, 1}, []bool{true, false, false}},
		{"large into empty", 10, []int{5000, 1}, []bool{true, false}},
		{"empty frames count", 3 * frameOverhead, []int{0, 0, 0, 0}, []bool{true, true, true, false}},
		{"default", 0, []int{DefaultQueueLimit - 2*frameOverhead, 0, 0}, []bool{true, true, false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := Queue{Limit: c.limit}
			accepted := 0
			for i, size := range c.sizes {
				wake, ok := q.Push(frameOf(size))
				if ok != c.wantOK[i] || wake != (i == 0) {
					t.Fatalf("push %d: wake %v, ok %v", i, wake, ok)
				}
				if ok {
					accepted++
				}
			}
			if n := len(q.Pop(nil, 0, 0)); n != accepted {
				t.Errorf("popped %d of %d after overflow", n, accepted)
			}
			last := c.wantOK[len(c.wantOK)-1]
			if _, ok := q.Push(frameOf(1)); ok != last {
				t.Errorf("push after it was emptied: %v, want %v", ok, last)
			}
		})
	}
}

func TestQueuePopMaxima(t *testing.T) {
	var q Queue
	for _, size := range []int{10, 20, 30, 40} {
		q.Push(frameOf(size))
	}
	for i, c := range []struct{ bytes, frames, want int }{{5, 0, 1}, {49, 0, 1}, {0, 1, 1}, {0, 0, 1}, {0, 0, 0}} {
		if got := len(q.Pop(nil, c.bytes, c.frames)); got != c.want {
			t.Errorf("pop %d: %d frames, want %d", i, got, c.want)
		}
	}
}

func TestQueueGivesMemoryBack(t *testing.T) {
	var q Queue
	for range 1000 {
		q.Push(frameOf(10))
	}
	if len(q.ring) < 1000 {
		t.Fatalf("ring of %d", len(q.ring))
	}
	q.Pop(nil, 0, 0)
	if q.ring != nil || q.Bytes() != 0 {
		t.Errorf("an empty queue keeps a ring of %d, %d bytes", len(q.ring), q.Bytes())
	}
	for _, f := range q.inline {
		if f != nil {
			t.Error("an empty queue keeps a frame")
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		f := frame0
		q.Push(f)
		q.Push(f)
	}); n > 1 { // the ring, as nobody pops
		t.Errorf("%v allocations", n)
	}
}

var frame0 = &Frame{Text: []byte("x")}

func TestQueueWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := Queue{Limit: 1000}
		if err := q.Wait(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		q.Push(frameOf(300))
		q.Push(frameOf(300))
		done := make(chan error, 1)
		go func() { done <- q.Wait(t.Context(), 0) }()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("it did not wait")
		default:
		}
		q.Pop(nil, 0, 1)
		if err := <-done; err != nil {
			t.Fatal(err)
		}

		q.Push(frameOf(500))
		ctx, cancel := context.WithCancel(t.Context())
		go func() { done <- q.Wait(ctx, 0) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		go func() { done <- q.Wait(t.Context(), 10) }()
		synctest.Wait()
		q.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if q.Len() != 2 {
			t.Errorf("a closed queue has %d frames, want 2", q.Len())
		}
		q.Clear()
		if q.Len() != 0 || q.Bytes() != 0 {
			t.Error("cleared, and not empty")
		}
	})
}

// TestQueueModel compares a Queue with a slice.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(50, 2000).Draw(t, "limit")
		q := Queue{Limit: limit}
		var model []*Frame
		bytes, closed := 0, false
		count := func(frames []*Frame) (n int) {
			for _, f := range frames {
				n += f.Size() + frameOverhead
			}
			return n
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				f := frameOf(rapid.IntRange(0, 100).Draw(t, "size"))
				cost := f.Size() + frameOverhead
				wantOK := !closed && (len(model) == 0 || bytes+cost <= limit)
				wake, ok := q.Push(f)
				if ok != wantOK || wake != (ok && len(model) == 0) {
					t.Fatalf("push: wake %v, ok %v, want ok %v", wake, ok, wantOK)
				}
				if ok {
					model, bytes = append(model, f), bytes+cost
				} else {
					closed = true
				}
			},
			"pop": func(t *rapid.T) {
				maxBytes, maxFrames := rapid.IntRange(0, 300).Draw(t, "bytes"), rapid.IntRange(0, 5).Draw(t, "frames")
				n, total := 0, 0
				for n < len(model) && (maxFrames == 0 || n < maxFrames) {
					total += model[n].Size()
					if n > 0 && maxBytes > 0 && total > maxBytes {
						break
					}
					n++
				}
				popped := q.Pop(nil, maxBytes, maxFrames)
				if !slices.Equal(popped, model[:n]) {
					t.Fatalf("popped %d frames, want %d", len(popped), n)
				}
				back := rapid.IntRange(0, len(popped)).Draw(t, "back")
				q.PushFront(popped[back:]...)
				model = model[back:]
				bytes = count(model)
			},
			"clear": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "sure") == 0 {
					q.Clear()
					model, bytes = nil, 0
				}
			},
			"": func(t *rapid.T) {
				if q.Len() != len(model) || q.Bytes() != bytes {
					t.Fatalf("%d frames, %d bytes; want %d, %d", q.Len(), q.Bytes(), len(model), bytes)
				}
			},
		})
	})
}

// TestQueueConcurrent: whoever is told to wake pops until nothing is left, and
// nothing is lost or reordered.
func TestQueueConcurrent(t *testing.T) {
	const pushers, each = 8, 2000
	q := Queue{Limit: 1 << 30}
	wake := make(chan struct{}, pushers*each)
	var wg sync.WaitGroup
	for p := range pushers {
		wg.Go(func() {
			for i := range each {
				w, ok := q.Push(&Frame{Text: []byte{byte(p), byte(i >> 8), byte(i)}})
				if !ok {
					t.Error("refused")
				}
				if w {
					wake <- struct{}{}
				}
			}
		})
	}
	var next [pushers]int
	for total := 0; total < pushers*each; {
		<-wake
		for frames := q.Pop(nil, 0, 7); len(frames) > 0; frames = q.Pop(frames[:0], 0, 7) {
			for _, f := range frames {
				p, i := f.Text[0], int(f.Text[1])<<8|int(f.Text[2])
				if i != next[p] {
					t.Fatalf("pusher %d: frame %d, want %d", p, i, next[p])
				}
				next[p]++
				total++
			}
		}
	}
	wg.Wait()
}

// Two sessions of one connection may both wait for its reader.
func TestQueueManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := Queue{Limit: 100}
		q.Push(&Frame{Text: make([]byte, 80)})
		done := make(chan error, 3)
		for range cap(done) {
			go func() { done <- q.Wait(t.Context(), 0) }()
		}
		synctest.Wait()
		if len(done) > 0 {
			t.Error("went on with a full queue")
		}
		q.Pop(nil, 0, 0)
		synctest.Wait()
		if len(done) != cap(done) {
			t.Errorf("%d of %d went on", len(done), cap(done))
		}
		q.Close()
	})
}
