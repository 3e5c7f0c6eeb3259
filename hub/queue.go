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
// It is bounded by bytes, and Frame.Overflow says what becomes of a frame that
// does not fit. With OverflowClose it takes the place of frames that may be
// dropped, the oldest of them first, and closes the queue if that is not
// enough: the reader is too slow, and what was queued before can still be
// popped. With the others only frames of the same kind give way, and if that
// is not enough the frame itself is dropped. A frame is always let into an
// empty queue, whatever its size, since messages have limits of their own.
//
// A frame with OverflowLatest goes to the back also where it replaces another:
// what is popped is always in the order in which it was pushed, with parts left
// out, so that positions of a room never go back. A key that changes faster
// than the reader reads therefore comes after those that change less often.
//
// A Queue is safe for concurrent use and must not be copied after first use.
type Queue struct {
	// Limit bounds the bytes queued, each frame counting Size()+16. 0: 1 MiB.
	// Set it before first use.
	Limit int
	// Drops counts what is dropped, for any number of queues. nil: nobody does.
	// Set it before first use.
	Drops *Drops

	mu sync.Mutex
	// All below is guarded by mu. The n slots start at ring[head] and wrap
	// around; a nil ring stands for the few slots of inline. Slots of frames
	// that were dropped are nil, but never the first and the last one.
	ring   []*Frame
	head   int
	n      int
	bytes  int
	loose  *loose // about the frames that may be dropped; nil if none wait
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

// Push appends f, or drops it where its Overflow says so. wake reports that the
// queue was empty before: the caller then starts, or wakes, whoever pops. ok is
// false if the queue was closed, or if f did not fit and may not be dropped,
// which closes it.
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
	wake = q.n == 0
	if over := q.bytes + size - limit; over > 0 && !wake || q.loose != nil && f.Overflow == OverflowLatest {
		if !q.giveWay(f, over) {
			if !f.droppable() {
				q.close()
				return false, false
			}
			q.Drops.count(f)
			return false, true
		}
	}
	ring := q.grow(1)
	ring[(q.head+q.n)&(len(ring)-1)] = f
	q.n++
	q.bytes += size
	if f.droppable() {
		q.loosen(f, q.n-1)
	}
	return wake, true
}

// PushFront puts frames that were popped and not sent back to the front, in
// their order, whether or not they fit and also when the queue is closed. One
// that was replaced meanwhile (OverflowLatest) is dropped. It signals nothing.
func (q *Queue) PushFront(frames ...*Frame) {
	if len(frames) == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	ring := q.grow(len(frames))
	for i := len(frames) - 1; i >= 0; i-- {
		f := frames[i]
		if f.Overflow == OverflowLatest && q.loose != nil {
			if _, replaced := q.find(f.Key); replaced {
				q.Drops.count(f)
				continue
			}
		}
		q.head = (q.head - 1) & (len(ring) - 1)
		ring[q.head] = f
		q.n++
		q.bytes += f.Size() + frameOverhead
		if q.loose != nil {
			q.loose.first--
		}
		if f.droppable() {
			q.loosen(f, 0)
		}
	}
}

// grow makes room for more frames and returns the ring, whose length is a
// power of two. mu is held.
func (q *Queue) grow(more int) []*Frame {
	old := q.slots()
	if q.n+more <= len(old) {
		return old
	}
	if l := q.loose; l != nil && l.holes*2 >= len(old) && q.n-l.holes+more <= len(old) {
		q.moveTo(old)
		return old
	}
	size := len(old) * 4
	for size < q.n+more {
		size *= 2
	}
	ring := make([]*Frame, size)
	q.moveTo(ring)
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
		if q.loose != nil {
			q.popped(f)
		}
	}
	if q.n == 0 {
		q.ring, q.head = nil, 0
	}
	q.signal()
	return dst
}

// Wait returns once fewer than below bytes are queued (below 0: half of the
// limit), or the queue is closed, or with ctx's error. Where several goroutines
// wait, all of them go on with the first.
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
	if q.low == nil {
		q.low, q.lowAt = make(chan struct{}), below
	}
	q.lowAt = max(q.lowAt, below)
	low := q.low
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
	q.ring, q.head, q.n, q.bytes, q.loose = nil, 0, 0, 0, nil
	q.signal()
}

// Len returns the number of frames queued.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.loose != nil {
		return q.n - q.loose.holes
	}
	return q.n
}

// Bytes returns what is queued, as it counts against Limit.
func (q *Queue) Bytes() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
}
