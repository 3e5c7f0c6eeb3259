package transport

import (
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/hub"
)

// A goroutine a write costs a stack that is grown anew each time, and its
// turn with the scheduler: as much as a third of a short write. So there are a
// few writers, one a processor, and each writes for the connections of its
// shard, one after the other, without ever waiting for one of them. While it
// is at the others, frames gather for a connection, and go out in one write.

// shard is a writer, and the connections that it has to write for.
type shard struct {
	wg *sync.WaitGroup // the host's; static

	mu sync.Mutex
	// Guarded by mu.
	due     []pending // in order; a connection is in one shard, once, and has writing set
	running bool      // its goroutine was started, and has not ended
	parked  bool      // it waits for wake
	stopped bool      // nothing more is taken
	wake    sync.Cond
}

// pending is a connection to write for, and its socket.
type pending struct {
	conn   *Conn
	socket *socket
}

func newShards(n int, wg *sync.WaitGroup) []shard {
	shards := make([]shard, n)
	for i := range shards {
		shards[i].wg = wg
		shards[i].wake.L = &shards[i].mu
	}
	return shards
}

// push has c written to s; false if the shard is stopped. The due connections
// are bounded by the host's.
func (sh *shard) push(c *Conn, s *socket) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	switch {
	case sh.stopped:
		return false
	case !sh.running:
		sh.running = true
		sh.wg.Go(sh.run) // the host waits for c already
	case sh.parked:
		sh.parked = false
		sh.wake.Signal()
	}
	sh.due = append(sh.due, pending{c, s})
	return true
}

// stop ends the shard's goroutine once nothing is due.
func (sh *shard) stop() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.stopped, sh.parked = true, false
	sh.wake.Signal()
}

// run writes in turns: each of the connections that are due once. What is more
// waits for the next turn, and more may join it until then.
func (sh *shard) run() {
	a := newAttempt()
	var turn []pending
	var g gather
	for {
		sh.mu.Lock()
		for len(sh.due) == 0 {
			if sh.stopped {
				sh.running = false
				sh.mu.Unlock()
				return
			}
			sh.parked = true
			sh.wake.Wait()
		}
		if hold := g.hold(len(sh.due)); hold > 0 && !sh.stopped {
			sh.mu.Unlock()
			time.Sleep(hold)
			sh.mu.Lock()
		}
		turn, sh.due = sh.due, turn[:0]
		sh.mu.Unlock()
		var began time.Time
		if len(turn) >= gatherFrom { // of small turns nothing is learnt, so the clock is not asked
			began = time.Now()
		}
		a.joined = 0
		for i, p := range turn {
			turn[i] = pending{}
			p.conn.tryWrite(p.socket, a)
		}
		if !began.IsZero() {
			g.turned(len(turn), a.joined, time.Since(began))
		}
	}
}

// attempt is what one goroutine needs to write without waiting.
type attempt struct {
	frames [joinFrames]*hub.Frame
	joined int // frames since it was set to 0
	step   func(fd uintptr) bool

	// Of the write under way.
	out []byte
	n   int
	err error
}

func newAttempt() *attempt {
	a := &attempt{}
	a.step = a.try
	return a
}
