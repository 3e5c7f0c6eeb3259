package server

import (
	"runtime"
	"sync"

	"github.com/holdfast-dev/holdfast/internal/transport"
)

// idleWorkers is how many goroutines of a crew may wait for work, for each
// processor. A goroutine that is made for each event has to grow its stack anew
// each time, which takes longer than many a handler.
const idleWorkers = 2

// task is the first job of a link's workQueue that had nothing to do.
type task struct {
	queue *workQueue
	link  *link
	job   job
}

// crew has goroutines that do the work of workQueues. There are as many as
// have work, and a few that wait.
type crew struct {
	// tally counts all goroutines. It is no sync.WaitGroup: readers that
	// Shutdown does not wait for any longer may give the crew work while it ends.
	tally tally

	mu     sync.Mutex  // guards what follows
	idle   []chan task // of those that wait; the one that came last goes first
	closed bool
}

// start has a task done.
func (c *crew) start(t task) {
	c.mu.Lock()
	if n := len(c.idle); n > 0 {
		next := c.idle[n-1]
		c.idle = c.idle[:n-1]
		c.mu.Unlock()
		next <- t // which has room, and belongs to somebody who waits
		return
	}
	c.mu.Unlock()
	c.grow(t)
}

// grow has a task done by a new goroutine. It is apart from start so that a
// task need not be on the heap where there is one already.
func (c *crew) grow(t task) {
	c.tally.add()
	go func() {
		defer c.tally.done()
		c.work(t)
	}()
}

// join has a task done by the caller, which reads connections and has claimed
// a turn for this one. Where another goroutine reads on, this one does the
// connection's work to its end, as those of the crew do.
func (c *crew) join(turn *transport.Turn, t task) {
	c.tally.add()
	defer c.tally.done()
	returned := false
	defer func() {
		if returned {
			return
		}
		// A handler has ended the goroutine: others read, and do what waits.
		turn.HandOn()
		if j, more := t.queue.next(t.link); more {
			c.grow(task{t.queue, t.link, j})
		}
	}()
	t.queue.run(t.link, t.job)
	returned = true
	turn.Release()
}

func (c *crew) work(t task) {
	busy := true
	defer func() {
		if !busy {
			return
		}
		// A handler has ended the goroutine: another one does what waits behind it.
		if j, more := t.queue.next(t.link); more {
			c.grow(task{t.queue, t.link, j})
		}
	}()
	var next chan task
	for more := true; more; t, more = <-next {
		busy = true
		t.queue.run(t.link, t.job)
		busy = false
		if next == nil {
			next = make(chan task, 1)
		}
		t = task{} // what waits holds no connection
		c.mu.Lock()
		if c.closed || len(c.idle) >= idleWorkers*runtime.GOMAXPROCS(0) {
			c.mu.Unlock()
			return
		}
		c.idle = append(c.idle, next)
		c.mu.Unlock()
	}
}

// wait sends those away who wait for work, and waits for the others.
func (c *crew) wait() {
	c.mu.Lock()
	c.closed = true
	for _, next := range c.idle {
		close(next)
	}
	c.idle = nil
	c.mu.Unlock()
	c.tally.wait()
}
