package transport

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often the watcher looks at the loops. Where it finds that a
	// connection is served it looks once more after lookAgain: what it finds
	// twice takes long. To look more often would wake as many threads as it saves.
	lookEvery = 4 * time.Millisecond
	lookAgain = time.Millisecond
	// restLooks is after how many looks at loops that served nothing it ends.
	restLooks = 4
)

// watch is a host's watcher: somebody looks whenever a loop serves.
type watch struct {
	active  atomic.Bool
	stop    sync.Once
	stopped chan struct{} // closed when nothing will be served any more
}

// watched sees to it that somebody looks at the loops. The caller is counted by wg.
func (h *host) watched() {
	if !h.watch.active.Load() && h.watch.active.CompareAndSwap(false, true) {
		h.wg.Go(h.watchLoops)
	}
}

// watchLoops hands on loops that take long for a connection. It ends when there
// was nothing to do for a while.
func (h *host) watchLoops() {
	seen := make([]uint64, len(h.loops))
	idle, wait := 0, lookEvery
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for idle < restLooks || !h.rest() {
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-h.watch.stopped:
			return
		}
		busy, moved := h.look(seen)
		if wait = lookEvery; busy {
			wait = lookAgain
		}
		if idle++; moved {
			idle = 0
		}
	}
}

// look hands on where the count is the one of before, and a connection is
// served, and notes the counts. It reports whether any connection is served, and
// whether any count was another one.
func (h *host) look(seen []uint64) (busy, moved bool) {
	for i := range h.loops {
		l := &h.loops[i]
		count := l.count.Load()
		before := seen[i]
		seen[i] = count
		switch {
		case count != before:
			moved = true
			busy = busy || count&stages != 0
		case count&stages != 0:
			l.handOn(count)
			moved = true
		}
	}
	return busy, moved
}

// rest ends the watching, unless a loop serves: one that begins later sees that
// nobody looks.
func (h *host) rest() bool {
	h.watch.active.Store(false)
	for i := range h.loops {
		if h.loops[i].count.Load()&stages != 0 {
			return !h.watch.active.CompareAndSwap(false, true) // or another one was started
		}
	}
	return true
}
