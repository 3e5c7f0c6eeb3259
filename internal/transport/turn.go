package transport

import (
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// What a message asks for may take long, or wait for what the peer sends next.
// A loop that serves many connections must not wait for it. So a watcher looks
// whether it does, and has another goroutine go on with the loop then.

// The stages of a loop, which are the two lowest bits of its count.
const (
	serving = 1 // a connection is read, and its messages are delivered
	claimed = 2 // its receiver has claimed the turn
	// nextTurn is what is added to the rest of the count.
	nextTurn = 4
	stages   = nextTurn - 1
)

// Turn is the time for which a goroutine that has a loop serves a connection. See
// Conn.Claim. It is that goroutine's, except for HandOn.
type Turn struct {
	loop *loop         // static
	n    atomic.Uint64 // the loop's count, without a stage

	conn    *Conn
	may     bool // claim it
	claimed bool
	gone    bool // another goroutine has got the loop, and the connection as well
	over    bool // its goroutine ends in order
}

// begin makes t the turn of c.
func (t *Turn) begin(n uint64, c *Conn, may bool) {
	t.n.Store(n)
	t.conn, t.may = c, may
}

// Claim asks whether the call of Receiver.Message that is under way may take
// long, or wait for the peer; it is to be called there, by its goroutine. Nil
// says no. Else the connection is watched until Turn.Release: when
// Message has not come that far after a few milliseconds, or HandOn is
// called, it counts as having returned. Another goroutine then reads on, so that
// nothing may be touched any more that belongs to Message alone, its data
// for one. The host's Close does not wait for what follows: who claims does.
//
// Where much was read at once, only the last message may be claimed: what is
// answered meanwhile can share a write.
func (c *Conn) Claim() *Turn {
	t := c.claimable
	if t == nil || !t.may || c.ws.rd.in.Len() > 0 {
		return nil
	}
	n := t.n.Load()
	if !t.loop.count.CompareAndSwap(n|serving, n|claimed) {
		return nil // it took long already, and another goroutine has got the loop
	}
	t.claimed = true
	return t
}

// Hurried reports whether the call of Receiver.Message that is under way should
// leave to others what may take a millisecond: it holds up other connections, and
// that took long lately. It is to be called as Claim is.
func (c *Conn) Hurried() bool { return c.claimable != nil && !c.claimable.may }

// Release ends a turn that was claimed. It reports whether Message still runs
// for the transport: false if another goroutine reads.
func (t *Turn) Release() bool {
	if t.claimed {
		t.claimed = false
		n := t.n.Load()
		t.gone = !t.loop.count.CompareAndSwap(n|claimed, n|serving)
	}
	return !t.gone
}

// HandOn has another goroutine read on at once, if t is claimed: for who knows
// that it will take long, or that its goroutine ends. Without a claim others
// of the loop are read on, and the connection when Message has returned.
func (t *Turn) HandOn() {
	l, n := t.loop, t.n.Load()
	if count := l.count.Load(); count&^stages == n {
		l.handOn(count)
	}
}

// HandOn is Turn.HandOn for the turn under way, if there is one: for who is about
// to wait, for the peer or for something else. Any goroutine may call it.
func (c *Conn) HandOn() {
	c.mu.Lock()
	t := c.claimable
	c.mu.Unlock()
	if t != nil {
		t.HandOn()
	}
}

// handOn has another goroutine go on with the loop, if its count is still that one and
// a connection is served. host.wg, which counted the one that had the
// loop, counts the new one instead.
func (l *loop) handOn(count uint64) {
	if !l.leave(count) {
		return
	}
	if count&stages == claimed {
		c := l.now.conn
		c.mu.Lock()
		c.claimable = nil
		c.delivered()
		c.mu.Unlock()
	}
	l.now = pending{}
	l.pace.served()
	l.pace.look(time.Now())
	go l.run()
}

// leave takes the loop from the goroutine that has it. A connection that is not
// claimed goes with that goroutine: its next message must not be read while one is
// delivered. The goroutine can have the loop serve it again only after that,
// because of mu.
func (l *loop) leave(count uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if count&stages == 0 || !l.count.CompareAndSwap(count, count&^stages+nextTurn) {
		return false
	}
	if count&stages == serving {
		l.drop(l.now.socket)
	}
	return true
}

// rescue goes on for a goroutine that has a loop and is ended by a receiver.
func (t *Turn) rescue() {
	if t.over {
		return
	}
	mine := !t.claimed && !t.gone
	t.HandOn()
	if mine {
		go t.conn.forsaken()
	}
}

// forsaken ends a session whose receiver has ended the goroutine that delivered
// to it.
func (c *Conn) forsaken() {
	c.mu.Lock()
	c.claimable = nil
	c.delivered()
	c.mu.Unlock()
	c.end(ending{err: holdfast.Internal.New(), linger: true})
	c.readRest(c.ws)
}
