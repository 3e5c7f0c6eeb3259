package webhook

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"
)

// Bounds of a Memory. Whatever comes over them is refused: what waits already
// is older. Of those given up, the oldest are forgotten.
const (
	memoryEntries = 10_000
	memoryBytes   = 64 << 20
	memoryDead    = 100
)

// Memory is an Outbox that ends with its process. It holds 10,000 entries with
// 64 MiB of bodies, and the last 100 that were given up.
type Memory struct {
	mu      sync.Mutex // guards what follows
	byID    map[string]*waiting
	targets map[string]*dueHeap
	bytes   int
	dead    []Failure
}

// Failure is an entry that was given up.
type Failure struct {
	Entry
	// At is when it was given up, and Reason why.
	At     time.Time
	Reason string
}

var _ Outbox = (*Memory)(nil)

// NewMemory makes an empty Memory.
func NewMemory() *Memory {
	return &Memory{byID: make(map[string]*waiting), targets: make(map[string]*dueHeap)}
}

// waiting is an entry with when it is due, or until when it is claimed.
type waiting struct {
	Entry
	due time.Time
	at  int // in the heap
}

// Add implements Outbox.
func (m *Memory) Add(_ context.Context, entries []Entry) error {
	size := 0
	for _, e := range entries {
		size += len(e.Body)
	}
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.byID)+len(entries) > memoryEntries || m.bytes+size > memoryBytes {
		return ErrFull()
	}
	m.bytes += size
	for _, e := range entries {
		w := &waiting{Entry: e, due: now}
		m.byID[e.ID] = w
		if m.targets[e.Target] == nil {
			m.targets[e.Target] = new(dueHeap)
		}
		heap.Push(m.targets[e.Target], w)
	}
	return nil
}

// Claim implements Outbox.
func (m *Memory) Claim(_ context.Context, target string, limit int, lease time.Duration) (entries []Entry, next time.Time, err error) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.targets[target]
	if h == nil {
		return nil, time.Time{}, nil
	}
	for len(entries) < limit && h.Len() > 0 && !(*h)[0].due.After(now) {
		w := (*h)[0]
		w.due = now.Add(lease)
		heap.Fix(h, 0)
		entries = append(entries, w.Entry)
	}
	if h.Len() > 0 {
		next = (*h)[0].due
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	return entries, next, nil
}

// Settle implements Outbox.
func (m *Memory) Settle(_ context.Context, outcomes []Outcome) error {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range outcomes {
		w, ok := m.byID[o.ID]
		if !ok || w.Attempts != o.Attempts && !o.Done {
			continue
		}
		h := m.targets[w.Target]
		switch {
		case o.Done || o.Dead:
			heap.Remove(h, w.at)
			delete(m.byID, o.ID)
			m.bytes -= len(w.Body)
			if h.Len() == 0 {
				delete(m.targets, w.Target)
			}
			if o.Dead {
				m.bury(w, o, now)
			}
		default:
			if o.Failed {
				w.Attempts++
			}
			w.due = o.Next
			heap.Fix(h, w.at)
		}
	}
	return nil
}

func (m *Memory) bury(w *waiting, o Outcome, now time.Time) {
	if o.Failed {
		w.Attempts++
	}
	if len(m.dead) == memoryDead {
		m.dead = slices.Delete(m.dead, 0, 1)
	}
	m.dead = append(m.dead, Failure{Entry: w.Entry, At: now, Reason: o.Reason})
}

// Dead returns the last entries that were given up, the oldest first.
func (m *Memory) Dead() []Failure {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.dead)
}

// Len returns how many entries wait or are claimed.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.byID)
}

// dueHeap has what is due first at its top: container/heap.Interface.
type dueHeap []*waiting

// Len implements heap.Interface.
func (h dueHeap) Len() int { return len(h) }

// Less implements heap.Interface.
func (h dueHeap) Less(i, j int) bool {
	return cmp.Or(h[i].due.Compare(h[j].due), cmp.Compare(h[i].Seq, h[j].Seq)) < 0
}

// Swap implements heap.Interface.
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *dueHeap) Push(x any) {
	w := x.(*waiting)
	w.at = len(*h)
	*h = append(*h, w)
}

// Pop implements heap.Interface.
func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	w := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return w
}
