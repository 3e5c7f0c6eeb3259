package transport

import (
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A goroutine that waits for each connection costs its stack, a wake-up for each
// message, and a read that finds nothing before it waits again. So connections
// that are bare TCP sockets wait in a few loops, one a processor. A
// loop is told which of its connections can be read, reads each once, and does what
// the messages ask for; see Turn for what takes long.

const (
	// pollerBatch is how many connections a loop is told of at once.
	pollerBatch = 128
	// readsEach bounds how often a connection is read before the others have
	// their turn. It is read again only where a read has filled its buffer.
	readsEach = 4
)

// loop is a set of connections, and the goroutine that serves them, one after the
// other. Where Receiver.Message takes long another goroutine gets the loop; which
// one has it, count decides.
type loop struct {
	host *host // static

	// count says what the goroutine does that has the loop: its two lowest bits
	// are a stage. The others are a number that goes up with each connection that
	// it serves, and when another goroutine gets the loop.
	count atomic.Uint64

	mu sync.Mutex
	// Guarded by mu.
	poller  *poller // nil until there is a connection; replaced never
	stopped bool    // no connection is taken any more
	seats   map[uint64]pending
	tag     uint64 // the last one; none is used twice, since an event may be late

	// What follows belongs to the goroutine that has the loop.
	tags  []uint64
	due   []pending // of those that can be read, the ones that are not served yet
	batch []pending // of all that could
	now   pending   // is being served
	pace  pace
}

func newLoops(h *host, n int) []loop {
	loops := make([]loop, n)
	for i := range loops {
		loops[i].host = h
	}
	return loops
}

// take has p served by the loop from now on. If it returns false somebody
// else has to read p: the loop is stopped, or the system has reached a limit.
// The caller is counted by the host's wg.
func (l *loop) take(p pending) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || !l.open() {
		return false
	}
	l.tag++
	if l.poller.add(p.socket.raw, l.tag) != nil {
		return false
	}
	p.socket.tag = l.tag
	l.seats[l.tag] = p
	return true
}

// open starts the loop when it is needed first. mu is held.
func (l *loop) open() bool {
	if l.poller != nil {
		return true
	}
	poller, err := newPoller()
	if err != nil {
		return false
	}
	l.poller, l.seats = poller, make(map[uint64]pending)
	l.host.wg.Add(1)
	go l.run()
	return true
}

// drop has a connection served no more. mu is held.
func (l *loop) drop(s *socket) {
	if _, known := l.seats[s.tag]; known {
		delete(l.seats, s.tag)
		_ = l.poller.remove(s.raw) // fails if the socket is closed, which does the same
	}
}

// forget is drop for the goroutine that is about to close s.
func (l *loop) forget(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(s)
}

// stop ends the loop, and what is left of its connections.
func (l *loop) stop() {
	l.mu.Lock()
	l.stopped = true
	poller := l.poller
	l.mu.Unlock()
	if poller != nil {
		poller.close()
	}
}

// run serves connections until the loop is stopped, or another goroutine
// has got the loop. host.wg counts the one that has it.
func (l *loop) run() {
	t := &Turn{loop: l}
	defer t.rescue()
	for {
		for len(l.due) > 0 {
			p := l.due[0]
			l.due[0] = pending{}
			l.due = l.due[1:]
			if !l.serve(t, p) {
				t.over = true
				return
			}
			if l.pace.served() || len(l.due) == 0 {
				l.pace.look(time.Now())
			}
		}
		l.now, t.conn = pending{}, nil // who waits holds no connection
		if !l.wait() {
			l.endAll()
			t.over = true
			l.host.wg.Done()
			return
		}
	}
}

// endAll ends what is left when the loop is stopped: of a session that got its
// WebSocket while it was removed, the end has not been read.
func (l *loop) endAll() {
	l.mu.Lock()
	left := slices.Collect(maps.Values(l.seats))
	l.mu.Unlock()
	for _, p := range left {
		p.conn.end(lost(net.ErrClosed))
		p.conn.readEnded(p.socket)
	}
}

// wait waits until connections can be read; false if the loop is stopped.
func (l *loop) wait() bool {
	var err error
	if l.tags, err = l.poller.wait(l.tags[:0]); err != nil {
		return false
	}
	l.pace.begin(time.Now())
	l.batch = l.batch[:0]
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, tag := range l.tags {
		if p, known := l.seats[tag]; known {
			l.batch = append(l.batch, p)
		}
	}
	l.due = l.batch
	return true
}

// serve reads a connection once, and does what its messages ask for. It
// returns false if another goroutine has got the loop meanwhile.
func (l *loop) serve(t *Turn, p pending) bool {
	n := l.count.Load()
	l.now = p
	t.begin(n, p.conn, l.pace.allows())
	l.count.Store(n | serving)
	l.host.watched()
	p.socket.rd.reads = readsEach
	how := p.conn.readMessages(p.socket, t)
	if how == replaced {
		return false
	}
	if how == ended {
		p.conn.readEnded(p.socket)
	}
	if l.count.CompareAndSwap(n|serving, n+nextTurn) {
		return true
	}
	if how == later {
		p.conn.readApart(p.socket, how)
	}
	return false
}

// read begins to read s for the session: by a loop, if that can be. host.wg counts
// the reading, which ends with the session.
func (c *Conn) read(s *socket) {
	if s.loop == nil {
		go c.readLoop(s)
		return
	}
	s.rd.slow = c.slow
	s.rd.served = true
	if s.rd.in.Len() == 0 {
		c.readApart(s, later)
		return
	}
	go c.readRest(s) // what came with the handshake will not be told by the poller
}

// readRest takes what was read already. It is the goroutine's own.
func (c *Conn) readRest(s *socket) { c.readApart(s, c.readMessages(s, nil)) }

// readApart goes on for a connection that no loop serves, where readMessages has
// returned how.
func (c *Conn) readApart(s *socket, how stopped) {
	switch {
	case how == ended:
		c.readEnded(s)
	case !s.loop.take(pending{c, s}):
		s.rd.served = false
		go c.readLoop(s)
	}
}
