package client

import (
	"context"
	"sync"

	"github.com/coder/websocket"

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

// outbox holds what waits to be written on one connection. Over its limit of
// bytes push waits; pushNow, for the few small packets of the protocol itself,
// does not.
type outbox struct {
	limit int
	wake  chan struct{} // has one element while there is something to do
	end   chan struct{} // closed by close

	mu       sync.Mutex // guards what follows
	items    []outgoing
	bytes    int
	space    chan struct{}        // closed when there is room again; nil if nobody waits
	status   websocket.StatusCode // of the close frame; not 0: nothing more is taken
	ponging  bool                 // a pong is among items
	isClosed bool
}

func (o *outbox) init(limit int) {
	o.limit = limit
	o.wake = make(chan struct{}, 1)
	o.end = make(chan struct{})
}

// push adds a packet. A packet over the limit is taken when nothing else waits.
func (o *outbox) push(ctx context.Context, p outgoing) error {
	n := p.size()
	for {
		o.mu.Lock()
		if o.status != 0 || o.isClosed {
			o.mu.Unlock()
			return ErrNotConnected
		}
		if o.bytes == 0 || o.bytes+n <= o.limit {
			o.addLocked(p, n)
			o.mu.Unlock()
			return nil
		}
		if o.space == nil {
			o.space = make(chan struct{})
		}
		space := o.space
		o.mu.Unlock()
		select {
		case <-space:
		case <-o.end:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pushNow adds a packet whatever waits.
func (o *outbox) pushNow(p outgoing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.status == 0 && !o.isClosed {
		o.addLocked(p, p.size())
	}
}

func (o *outbox) addLocked(p outgoing, n int) {
	o.items = append(o.items, p)
	o.bytes += n
	o.poke()
}

func (o *outbox) poke() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// pong answers a ping. One answer at a time waits: a peer that pings and does
// not read fills nothing.
func (o *outbox) pong(data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ponging || o.status != 0 || o.isClosed {
		return
	}
	o.ponging = true
	p := engineio.Packet{Type: engineio.Pong, Data: data}
	o.addLocked(outgoing{text: p.Append(nil)}, len(data)+1)
}

// pop takes everything that waits; done says that nothing will follow, but for
// a close frame if there is a status.
func (o *outbox) pop() (items []outgoing, status websocket.StatusCode, done bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	items = o.items
	o.items, o.bytes, o.ponging = nil, 0, false
	if o.space != nil {
		close(o.space)
		o.space = nil
	}
	return items, o.status, o.status != 0 || o.isClosed
}

// finish takes no more packets after the given ones, and a close frame.
func (o *outbox) finish(status websocket.StatusCode, last ...outgoing) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.status != 0 || o.isClosed {
		return
	}
	for _, p := range last {
		o.addLocked(p, p.size())
	}
	o.status = status
	o.poke()
}

// close drops what waits and wakes everybody.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.isClosed {
		o.isClosed = true
		o.items = nil
		close(o.end)
	}
}
