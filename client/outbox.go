package client

import (
	"context"
	"sync"

	"github.com/holdfast-dev/holdfast/engineio"
)

// outgoing is one packet: a text message and the binary messages after it.
type outgoing struct {
	text   []byte
	binary [][]byte
}

func (o outgoing) size() int {
	n := len(o.text)
	for _, b := range o.binary {
		n += len(b)
	}
	return n
}

// batch is what one turn writes.
type batch struct {
	items  []outgoing
	bytes  int    // of items
	ping   []byte // to be answered, if pinged
	pinged bool
	status uint16 // of the close frame after all this; 0: there is none
	rest   bool   // the wire keeps what it has not written of an earlier one
}

func (b batch) empty() bool { return len(b.items) == 0 && !b.pinged && b.status == 0 && !b.rest }

// outbox holds what waits to be written on one connection. Over its limit of
// bytes push waits; pushNow, for the few small packets of the protocol itself,
// does not.
//
// Nobody waits to write: who adds something while nobody writes has the turn,
// and must see to it that pop is called until there is nothing more. turns
// counts that.
type outbox struct {
	limit int
	turns *sync.WaitGroup

	mu       sync.Mutex // guards what follows
	items    []outgoing
	bytes    int
	space    chan struct{} // closed when push should look again; nil if nobody waits
	idle     chan struct{} // closed when nobody writes; nil if nobody waits for that
	status   uint16        // of the close frame; not 0: nothing more is taken
	ponging  bool          // a pong is among items
	pinged   bool          // the transport's own ping is to be answered,
	ping     []byte        // with this
	writing  bool          // somebody has the turn
	saidBye  bool          // the close frame was popped
	isClosed bool
}

// push adds a packet. A packet over the limit is taken when nothing else waits.
func (o *outbox) push(ctx context.Context, p outgoing) (turn bool, err error) {
	n := p.size()
	for {
		o.mu.Lock()
		if o.status != 0 || o.isClosed {
			o.mu.Unlock()
			return false, ErrNotConnected
		}
		if o.bytes == 0 || o.bytes+n <= o.limit {
			turn = o.addLocked(p, n)
			o.mu.Unlock()
			return turn, nil
		}
		if o.space == nil {
			o.space = make(chan struct{})
		}
		space := o.space
		o.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}

// pushNow adds a packet whatever waits.
func (o *outbox) pushNow(p outgoing) (turn bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.status != 0 || o.isClosed {
		return false
	}
	return o.addLocked(p, p.size())
}

func (o *outbox) addLocked(p outgoing, n int) (turn bool) {
	o.items = append(o.items, p)
	o.bytes += n
	return o.turnLocked()
}

// turnLocked gives the turn to the caller if nobody has it.
func (o *outbox) turnLocked() bool {
	if o.writing || o.isClosed {
		return false
	}
	o.writing = true
	o.turns.Add(1)
	return true
}

// lookLocked makes push look again.
func (o *outbox) lookLocked() {
	if o.space != nil {
		close(o.space)
		o.space = nil
	}
}

// pong answers a ping. One answer at a time waits: a peer that pings and does
// not read fills nothing.
func (o *outbox) pong(data []byte) (turn bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ponging || o.status != 0 || o.isClosed {
		return false
	}
	o.ponging = true
	p := engineio.Packet{Type: engineio.Pong, Data: data}
	return o.addLocked(outgoing{text: p.Append(make([]byte, 0, len(data)+1))}, len(data)+1)
}

// answer has the transport's own ping answered. A later one takes the place of
// one that was not answered yet (RFC 6455 §5.5.3).
func (o *outbox) answer(ping []byte) (turn bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.status != 0 || o.isClosed {
		return false
	}
	o.pinged, o.ping = true, append(o.ping[:0:0], ping...)
	return o.turnLocked()
}

// pop takes everything that waits. Where that is nothing the turn ends, and ok
// is false.
func (o *outbox) pop() (b batch, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b = batch{items: o.items, bytes: o.bytes, pinged: o.pinged, ping: o.ping}
	if !o.saidBye {
		b.status = o.status
	}
	if o.isClosed || b.empty() {
		o.endTurnLocked()
		return batch{}, false
	}
	o.items, o.bytes, o.ponging, o.pinged, o.ping = nil, 0, false, false, nil
	o.saidBye = b.status != 0
	o.lookLocked()
	return b, true
}

// more reports whether there is something to pop, and ends the turn if not.
func (o *outbox) more() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.isClosed || len(o.items) == 0 && !o.pinged && (o.status == 0 || o.saidBye) {
		o.endTurnLocked()
		return false
	}
	return true
}

func (o *outbox) endTurnLocked() {
	o.writing = false
	o.turns.Done()
	if o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// finish takes no more packets after the given ones, and a close frame. With
// drop what waits already is dropped.
func (o *outbox) finish(status uint16, drop bool, last ...outgoing) (turn bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.status != 0 || o.isClosed {
		return false
	}
	if drop {
		o.items, o.bytes, o.pinged = nil, 0, false
	}
	for _, p := range last {
		o.items = append(o.items, p)
		o.bytes += p.size()
	}
	o.status = status
	o.lookLocked()
	return o.turnLocked()
}

// flushed is closed when nobody writes.
func (o *outbox) flushed() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.idle == nil {
		o.idle = make(chan struct{})
	}
	idle := o.idle
	if !o.writing {
		close(o.idle)
		o.idle = nil
	}
	return idle
}

// close drops what waits and wakes everybody. Whoever has the turn ends it by
// pop.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.isClosed = true
	o.items, o.ping = nil, nil
	o.lookLocked()
}
