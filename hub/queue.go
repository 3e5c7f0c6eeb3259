package hub

import (
	"context"
	"sync"
)

// DefaultQueueLimit is the limit of a Queue whose Limit is 0: 1 MiB.
const DefaultQueueLimit = 1 << 20

// frameOverhead is what each queued frame counts for besides its bytes, so
// that empty frames are bounded too.
const frameOverhead = 16

// Queue holds the frames that a connection has still to send. The zero value
// is an empty queue with the default limit; it costs no memory of its own
// until frames wait in it, and gives that memory back when it is emptied.
//
// It is bounded by bytes. A frame that does not fit closes the queue: the
// reader is too slow, and what was queued before can still be popped. A frame
// is always let into an empty queue, whatever its size, since messages have
// limits of their own.
//
// A Queue is safe for concurrent use and must not be copied after first use.
type Queue struct {
	// Limit bounds the bytes queued, each frame counting Size()+16. 0: 1 MiB.
	// Set it before first use.
	Limit int

	mu sync.Mutex
	// All below is guarded by mu. The n frames start at ring[head] and wrap
	// around; a nil ring stands for the few slots of inline.
	ring   []*Frame
	head   int
	n      int
	bytes  int
	closed bool
	low    chan struct{} // closed when bytes falls below lowAt, for Wait
	lowAt  int
	inline [4]*Frame
}

// slots returns the ring in use. mu is held.
func (q *Queue) slots() []*Frame {
	if q.ring == nil {
		return q.inline[:]
	}
	return q.ring
}

// Push appends f. wake reports that the queue was empty before: the caller
// then starts, or wakes, whoever pops. ok is false if the queue was closed, or
// if f did not fit, which closes it; f is then not queued.
func (q *Queue) Push(f *Frame) (wake, ok bool) {
	size := f.Size() + frameOverhead
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false, false
	}
	limit := q.Limit
	if limit <= 0 {
		limit = DefaultQueueLimit
	}
	if q.n > 0 && q.bytes+size > limit {
		q.close()
		return false, false
	}
	ring := q.grow(1)
	ring[(q.head+q.n)&(len(ring)-1)] = f
	q.n++
	q.bytes += size
	return q.n == 1, true
}

// PushFront puts frames that were popped and not sent back to the front, in
// their order, whether or not they fit and also when the queue is closed. It
// signals nothing.
func (q *Queue) PushFront(frames ...*Frame) {
	if len(frames) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	ring := q.grow(len(frames))
	q.head = (q.head - len(frames)) & (len(ring) - 1)
	for i, f := range frames {
		ring[(q.head+i)&(len(ring)-1)] = f
		q.bytes += f.Size() + frameOverhead
	}
	q.n += len(frames)
}

// grow makes room for more frames and returns the ring, whose length is a
// power of two. mu is held.
func (q *Queue) grow(more int) []*Frame {
	old := q.slots()
	if q.n+more <= len(old) {
		return old
	}
	size := len(old) * 4
	for size < q.n+more {
		size *= 2
	}
	ring := make([]*Frame, size)
	for i := range q.n {
		ring[i] = old[(q.head+i)&(len(old)-1)]
	}
	clear(q.inline[:])
	q.ring, q.head = ring, 0
	return ring
}

// Pop appends frames from the front to dst and takes them off the queue: at
// least one if there is any, at most maxFrames, and no more than maxBytes
// (by Size) unless the first alone is larger. A maximum of 0 or less is none.
func (q *Queue) Pop(dst []*Frame, maxBytes, maxFrames int) []*Frame {
	q.mu.Lock()
	defer q.mu.Unlock()
	ring := q.slots()
	total := 0
	for taken := 0; q.n > 0; taken++ {
		f := ring[q.head]
		size := f.Size()
		if maxFrames > 0 && taken == maxFrames || maxBytes > 0 && taken > 0 && total+size > maxBytes {
			break
		}
		total += size
		dst = append(dst, f)
		ring[q.head] = nil
		q.head = (q.head + 1) & (len(ring) - 1)
		q.n--
		q.bytes -= size + frameOverhead
	}
	if q.n == 0 {
		q.ring, q.head = nil, 0
	}
	q.signal()
	return dst
}

// Wait returns once fewer than below bytes are queued (below 0: half of the
// limit), or the queue is closed, or with ctx's error. One goroutine at a time
// may wait.
func (q *Queue) Wait(ctx context.Context, below int) error {
	q.mu.Lock()
	if below <= 0 {
		if below = q.Limit / 2; below <= 0 {
			below = DefaultQueueLimit / 2
		}
	}
	if q.closed || q.bytes < below {
		q.mu.Unlock()
		return nil
	}
	low := make(chan struct{})
	q.low, q.lowAt = low, below
	q.mu.Unlock()
	select {
	case <-low:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// signal wakes whoever waits for space. mu is held.
func (q *Queue) signal() {
	if q.low != nil && (q.closed || q.bytes < q.lowAt) {
		close(q.low)
		q.low = nil
	}
}

// Close lets no more frames in. What is queued can still be popped.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.close()
}

func (q *Queue) close() {
	q.closed = true
	q.signal()
}

// Clear drops all that is queued.
func (q *Queue) Clear() {
	q.mu.Lock()
	defer q.mu.Unlock()
	clear(q.inline[:])
	q.ring, q.head, q.n, q.bytes = nil, 0, 0, 0
	q.signal()
}

// Len returns the number of frames queued.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// Bytes returns what is queued, as it counts against Limit.
func (q *Queue) Bytes() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
