package transport

import (
	"sync/atomic"
	"time"
)

// What a message asks for may take long, or wait for what the peer sends next.
// To leave all of it to other goroutines wakes one for each message, and often
// a sleeping thread with it. So while there is much to do the reader does
// the work itself, and a watcher has another goroutine read on where it takes
// long. While there is little to do, nobody pays for a watcher.

const (
	// lookEvery is how often the watcher looks. Where it finds a turn it looks
	// once more after lookAgain: what it finds twice takes long. To look more often
	// would wake as many threads as it saves.
	lookEvery = 4 * time.Millisecond
	lookAgain = time.Millisecond
	// turnsEach is how many readers may work at once, for each processor.
	turnsEach = 2
	// A watcher is started where burst messages come within burstTime, and ends
	// after as many looks as restLooks with fewer turns than looks.
	burst     = 64
	burstTime = instant(32 * time.Millisecond)
	restLooks = 16
	// mostWary is how many messages at most a reader leaves to others after one
	// that took long: the next ones of the connection are likely to as well.
	mostWary = 63
)

// handedOn is a Turn's count once another goroutine reads. It is even.
const handedOn = 1 << 63

// Turn is the time that a goroutine which reads a connection takes for what a
// message asks for. See Conn.Claim.
type Turn struct {
	// static
	conn   *Conn
	socket *socket

	// count is odd while the turn is claimed, and another number each time.
	count atomic.Uint64

	// owned by the reader
	slot  int   // where it is claimed, or was last
	wary  uint8 // messages that are to be left to others
	doubt uint8 // what wary was at first, or 0 since one took no time
}

// slot is where the watcher finds a turn that is claimed. Each has a cache line
// of its own, since the processors write to them all the time.
type slot struct {
	turn atomic.Pointer[Turn]
	_    [56]byte
}

// watch is a host's watcher and what it looks at.
type watch struct {
	slots  []slot // static
	active atomic.Bool
	claims atomic.Uint64 // turns claimed so far

	// while it is not active
	messages atomic.Uint64 // since the start
	since    atomic.Int64  // the instant at which a burst of them began
}

// turn returns what a message that was just read may be worked on with by the
// reader; nil if it may not. Where more has been read, the work is left to
// others: what is answered meanwhile can share a write.
func (c *Conn) turn(s *socket) *Turn {
	if s.rd.in.Len() > 0 || !c.host.watched() {
		return nil
	}
	if s.turn == nil {
		s.turn = &Turn{conn: c, socket: s}
	}
	if s.turn.wary > 0 {
		s.turn.wary--
		return nil
	}
	return s.turn
}

// watched counts a message, and reports whether somebody looks at turns. The
// caller is counted by wg.
func (h *host) watched() bool {
	w := &h.watch
	if w.active.Load() {
		return true
	}
	if w.messages.Add(1)%burst != 0 {
		return false
	}
	now := h.now()
	if now-instant(w.since.Swap(int64(now))) > burstTime || !w.active.CompareAndSwap(false, true) {
		return false
	}
	h.wg.Go(h.watchTurns)
	return true
}

// watchTurns hands on the reading of connections whose turn takes long. It ends
// when there is little to do.
func (h *host) watchTurns() {
	w := &h.watch
	seen := make([]sight, len(w.slots))
	wait := lookEvery
	for claims := w.claims.Load(); ; {
		for range restLooks {
			time.Sleep(wait)
			if wait = lookEvery; w.look(seen) {
				wait = lookAgain
			}
		}
		before := claims
		if claims = w.claims.Load(); claims-before < restLooks && w.rest() {
			return
		}
	}
}

// sight is what the watcher has seen in a slot: a turn that was claimed, or
// nothing.
type sight struct {
	turn  *Turn
	count uint64
}

// look hands on where seen has a turn that is still claimed, and notes what is
// claimed now. It reports whether there is anything.
func (w *watch) look(seen []sight) (any bool) {
	for i := range w.slots {
		before := seen[i]
		seen[i] = sight{}
		t := w.slots[i].turn.Load()
		if t == nil {
			continue
		}
		now := sight{t, t.count.Load()}
		switch {
		case now.count%2 == 0:
		case now == before:
			t.handOn(now.count)
		default:
			seen[i], any = now, true
		}
	}
	return any
}

// rest ends the watching, unless there is still something to look at.
func (w *watch) rest() bool {
	w.active.Store(false)
	for i := range w.slots {
		if w.slots[i].turn.Load() != nil {
			return !w.active.CompareAndSwap(false, true) // or another one was started
		}
	}
	return true
}

// Claim asks whether the call of Receiver.Message that is under way may take
// long, or wait for the peer; it is to be called there, by its goroutine. Nil
// says no. Else the connection is watched until Turn.Release: when
// Message has not come that far after a few milliseconds, or HandOn is
// called, it counts as having returned. Another goroutine then reads on, so that
// nothing may be touched any more that belongs to Message alone, its data
// for one. The host's Close does not wait for what follows: who claims does.
func (c *Conn) Claim() *Turn {
	t := c.claimable
	if t == nil {
		return nil
	}
	w := &c.host.watch
	for i := range w.slots {
		k := (t.slot + i) % len(w.slots)
		if !w.slots[k].turn.CompareAndSwap(nil, t) {
			continue
		}
		if !w.active.Load() { // nobody would look at it
			w.slots[k].turn.Store(nil)
			return nil
		}
		t.slot = k
		t.count.Add(1)
		w.claims.Add(1)
		return t
	}
	return nil
}

// Release ends a turn that was claimed. It reports whether Message still runs
// for the transport: false if another goroutine reads.
func (t *Turn) Release() bool {
	n := t.count.Load()
	if n%2 == 0 || !t.count.CompareAndSwap(n, n+1) {
		return t.count.Load() != handedOn
	}
	t.doubt = 0
	t.conn.host.watch.slots[t.slot].turn.Store(nil)
	return true
}

// HandOn has another goroutine read on at once, if t is claimed: for who knows
// that it will take long, or that its goroutine ends.
func (t *Turn) HandOn() { t.handOn(t.count.Load()) }

// HandOn is Turn.HandOn for the turn under way, if there is one: for who is about
// to wait for the peer. Any goroutine may call it.
func (c *Conn) HandOn() {
	c.mu.Lock()
	t := c.claimable
	c.mu.Unlock()
	if t != nil {
		t.HandOn()
	}
}

// handOn has another goroutine read on, if t is still claimed with that count.
// host.wg, which counted the one that reads, counts the new one instead.
func (t *Turn) handOn(n uint64) {
	if n%2 == 0 || !t.count.CompareAndSwap(n, handedOn) {
		return
	}
	c, s := t.conn, t.socket
	c.host.watch.slots[t.slot].turn.Store(nil)
	// What the reader owns is nobody's now.
	doubt := min(2*t.doubt+1, mostWary)
	s.turn = &Turn{conn: c, socket: s, slot: t.slot, wary: doubt, doubt: doubt}
	s.rd.deep = false
	c.mu.Lock()
	c.claimable = nil
	c.delivered()
	c.mu.Unlock()
	go c.readLoop(s)
}
