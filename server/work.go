package server

import (
	"runtime/debug"
	"sync"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
)

// pendingBytes bounds the data of the packets that wait in a workQueue.
const pendingBytes = 1 << 20

// job is a packet that waits for its turn; an event is already taken apart.
type job struct {
	packet socketio.Packet
	event  string
	args   socketio.Args
	plain  *plainJob // of the plain WebSocket, with the text as packet.Data
	aside  bool      // a publish that is, or was, in the link's lane
}

func (j job) size() int {
	n := len(j.packet.Data)
	for _, a := range j.packet.Attachments {
		n += len(a)
	}
	return n
}

// workQueue holds a connection's jobs until its handlers get to them, and
// hands them out one at a time to a goroutine, which it has only while there is
// work: one of the crew, or the reader itself as long as that takes it no time.
// When the queue is full the reader waits, and with it the client: that
// is the backpressure of slow handlers.
type workQueue struct {
	mu       sync.Mutex // guards what follows
	jobs     []job
	bytes    int
	running  bool
	closed   bool
	hasSpace chan struct{} // who adds waits here, for space or for the end of all jobs; nil if it does not
}

// idle reports whether nothing waits or runs. Only the reader adds work, so
// for the reader the answer stays true.
func (q *workQueue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.running
}

// push adds a job, waiting for space as long as the connection lives.
func (q *workQueue) push(l *link, j job) {
	if q.add(l, j) {
		l.srv.crew.start(task{q, l, j})
	}
}

// offer is push for the call of link.Message that is under way, which may do
// the job itself.
func (q *workQueue) offer(l *link, j job) {
	if !q.add(l, j) {
		return
	}
	if l.quickly != nil {
		if t := l.quickly.Claim(); t != nil {
			l.srv.crew.join(t, task{q, l, j})
			return
		}
	}
	l.srv.crew.start(task{q, l, j})
}

// add puts a job behind others. It reports whether there are none: then the
// caller has it done.
func (q *workQueue) add(l *link, j job) (first bool) {
	size := j.size()
	q.mu.Lock()
	if q.closed { // a room was lost while the connection went: nobody is there
		q.mu.Unlock()
		return false
	}
	for len(q.jobs) > 0 && (len(q.jobs) >= pendingEvents || q.bytes+size > pendingBytes) {
		space := make(chan struct{})
		q.hasSpace = space
		q.mu.Unlock()
		l.letRead()
		select {
		case <-space:
		case <-l.eio.Context().Done():
			return false // cut off: what did not fit was never accepted
		}
		q.mu.Lock()
	}
	first = !q.running
	q.running = true
	if !first {
		q.jobs = append(q.jobs, j)
		q.bytes += size
	}
	q.mu.Unlock()
	return first
}

// run does a job, and those that come meanwhile.
func (q *workQueue) run(l *link, j job) {
	for more := true; more; j, more = q.next(l) {
		l.handle(j)
	}
}

// next takes the job that follows the one that is done. Where there is none the
// goroutine leaves the queue, and was the last one if the link is gone.
func (q *workQueue) next(l *link) (j job, more bool) {
	q.mu.Lock()
	if len(q.jobs) == 0 {
		q.jobs, q.running = nil, false
		closed := q.closed
		q.tell()
		q.mu.Unlock()
		if closed {
			q.finished(l)
		}
		return job{}, false
	}
	defer q.mu.Unlock()
	j = q.jobs[0]
	q.jobs[0] = job{}
	q.jobs = q.jobs[1:]
	q.bytes -= j.size()
	q.tell()
	return j, true
}

// tell tells who adds work that some was taken. mu is held.
func (q *workQueue) tell() {
	if q.hasSpace != nil {
		close(q.hasSpace)
		q.hasSpace = nil
	}
}

// await returns when nothing waits or runs. It is for who adds work.
func (q *workQueue) await() {
	q.mu.Lock()
	for q.running {
		space := make(chan struct{})
		q.hasSpace = space
		q.mu.Unlock()
		<-space
		q.mu.Lock()
	}
	q.mu.Unlock()
}

// last reports whether nothing waits behind the job that runs.
func (q *workQueue) last() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.jobs) == 0
}

// finish says that no job will follow. The link is finished after the last
// one, at once if none waits.
func (q *workQueue) finish(l *link) {
	q.mu.Lock()
	q.closed = true
	running := q.running
	q.mu.Unlock()
	if !running {
		q.finished(l)
	}
}

// finished follows the last job. What is in the lane was put there by one.
func (q *workQueue) finished(l *link) {
	if q == &l.work && l.lane != nil {
		l.lane.queue.finish(l)
		return
	}
	l.finished()
}

// handle does the work of one job. A panic in the application's code, its
// Authenticator for one, ends the connection and not the process; and so does
// code that ends its goroutine, such as a test's FailNow: the client would wait
// for an answer for ever.
func (l *link) handle(j job) {
	returned := false
	defer func() {
		if v := recover(); v != nil {
			l.srv.log.Error("connection panicked", "connection", l.id, "panic", panicText(v), "stack", string(debug.Stack()))
			l.end(holdfast.Internal.New())
		} else if !returned {
			l.srv.log.Error("a connection's code ended its goroutine", "connection", l.id)
			l.end(holdfast.Internal.New())
		}
	}()
	l.proto.handle(l, j)
	returned = true
}
