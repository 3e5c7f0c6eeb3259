package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
)

type logger = *slog.Logger

// item is something for the goroutine of the handlers: an event, or a room's
// own notice.
type item struct {
	d    *delivery
	room *room // whose event or notice it is; may be nil
	// notice: only the room's handlers of exactly d.event get it.
	notice bool
	size   int
}

// itemCost is what an item counts for besides its bytes.
const itemCost = 200

// errBehind cuts a connection whose reader waits for a handler that waits for
// the reader.
var errBehind = &localError{fmt.Errorf("client: events came faster than their handlers, which wait for the server: %w", holdfast.SlowConsumer)}

// inbox holds what waits for handlers. It is bounded in bytes: over its limit
// push waits for the handlers. While there is nothing to do it has no goroutine,
// and keeps nothing.
type inbox struct {
	limit int
	start func()        // starts the goroutine of the handlers
	done  chan struct{} // closed when it is closed and no handler runs any more

	mu       sync.Mutex // guards what follows
	items    []item     // those from head on wait
	head     int
	bytes    int
	space    chan struct{}    // closed when push should look again; nil if nobody waits
	asking   map[*asking]bool // calls inside handlers whose answer has not come
	wake     chan struct{}    // of the goroutine of the handlers; nil while there is none
	waiting  bool             // it waits for wake
	quiet    bool             // nothing came since rest was called last
	leave    bool             // it is to end
	busy     bool             // a handler is running
	isClosed bool
}

// push adds an item, waiting for room until stop is closed.
func (q *inbox) push(it item, stop <-chan struct{}) error {
	for {
		q.mu.Lock()
		switch {
		case q.isClosed:
			q.mu.Unlock()
			return ErrClosed
		case q.bytes == 0 || q.bytes+it.size <= q.limit:
			q.addLocked(it)
			q.mu.Unlock()
			return nil
		case len(q.asking) > 0:
			for a := range q.asking {
				close(a.behind)
			}
			clear(q.asking)
			q.mu.Unlock()
			return errBehind
		}
		if q.space == nil {
			q.space = make(chan struct{})
		}
		space := q.space
		q.mu.Unlock()
		select {
		case <-space:
		case <-stop:
			return ErrNotConnected
		}
	}
}

// pushNow adds one of the few notices that don't come from the wire.
func (q *inbox) pushNow(it item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.isClosed {
		q.addLocked(it)
	}
}

func (q *inbox) addLocked(it item) {
	q.items = append(q.items, it)
	q.bytes += it.size
	q.quiet = false
	if q.wake == nil {
		q.wake = make(chan struct{}, 1)
		q.start()
		return
	}
	q.wakeLocked()
}

// wakeLocked wakes the goroutine of the handlers if it waits.
func (q *inbox) wakeLocked() {
	if q.waiting {
		q.waiting = false
		q.wake <- struct{}{}
	}
}

// rest is called from time to time. If nothing came since the last time, the
// goroutine of the handlers ends; the next event starts another.
func (q *inbox) rest() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.quiet && q.waiting {
		q.leave = true
		q.wakeLocked()
	}
	q.quiet = true
}

// lookLocked makes push look again.
func (q *inbox) lookLocked() {
	if q.space != nil {
		close(q.space)
		q.space = nil
	}
}

// fewItems is for how many items the place is kept while the goroutine of the
// handlers waits.
const fewItems = 16

// take waits for the next item and marks the handlers as busy, until gone.
// Without an item the goroutine is to end.
func (q *inbox) take() (it item, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.head == len(q.items) && !q.isClosed && !q.leave {
		q.items, q.head = q.items[:0], 0
		if cap(q.items) > fewItems {
			q.items = nil
		}
		q.waiting = true
		wake := q.wake
		q.mu.Unlock()
		<-wake
		q.mu.Lock()
	}
	if q.head == len(q.items) || q.isClosed {
		q.items, q.head, q.wake, q.leave = nil, 0, nil, false
		if q.isClosed {
			close(q.done)
		}
		return item{}, false
	}
	it = q.items[q.head]
	q.items[q.head] = item{}
	q.head++
	q.busy, q.leave = true, false
	return it, true
}

// gone tells that an item's handlers have returned.
func (q *inbox) gone(it item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= it.size
	q.busy = false
	q.lookLocked()
}

// asking is a call inside a handler that may wait for the server. Nil is a call
// elsewhere.
type asking struct {
	q *inbox
	// behind is closed when the connection is cut because of it. A call that
	// waits over all connections must end then, for what fills the buffer stays
	// there until its handler goes on, and would cut the next one too.
	behind chan struct{}
}

// cut returns behind.
func (a *asking) cut() <-chan struct{} {
	if a == nil {
		return nil
	}
	return a.behind
}

// begin notes that the call waits for the server, if it doesn't already.
func (a *asking) begin() {
	if a == nil {
		return
	}
	a.q.mu.Lock()
	defer a.q.mu.Unlock()
	select {
	case <-a.behind:
	default:
		if a.q.asking == nil {
			a.q.asking = make(map[*asking]bool)
		}
		a.q.asking[a] = true
		a.q.lookLocked()
	}
}

// end notes that it needs the server no more. Who brings the answer says so, and
// not the call: until its goroutine runs again, the reader may come to the bound.
func (a *asking) end() {
	if a == nil {
		return
	}
	a.q.mu.Lock()
	defer a.q.mu.Unlock()
	delete(a.q.asking, a)
}

// running reports whether a handler is running.
func (q *inbox) running() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.busy
}

// close drops what waits and takes no more.
func (q *inbox) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.isClosed {
		return
	}
	q.isClosed = true
	q.items, q.head = nil, 0
	q.lookLocked()
	if q.wake == nil {
		close(q.done)
		return
	}
	q.wakeLocked()
}

// asking begins a call that waits for the server. The caller ends it.
func (s *Socket) asking(ctx context.Context) *asking {
	a := s.askingLater(ctx)
	a.begin()
	return a
}

// askingLater is asking for a call that begins by itself to wait.
func (s *Socket) askingLater(ctx context.Context) *asking {
	if ctx.Value(handlerKey{}) != s {
		return nil // it keeps no handler from going on
	}
	return &asking{q: &s.inbox, behind: make(chan struct{})}
}

// dispatch runs the handlers until there is nothing to do for a while.
func (s *Socket) dispatch() {
	for {
		it, ok := s.inbox.take()
		if !ok {
			return
		}
		s.deliver(it)
		s.inbox.gone(it)
	}
}

// deliver calls the handlers of one item.
func (s *Socket) deliver(it item) {
	d := it.d
	pass := it.notice || s.incoming(d)
	if pass && (!it.notice || it.room == nil) {
		s.registry.deliver(s.ctx, d, !it.notice)
	}
	if it.room != nil {
		for _, r := range s.holders(it.room) {
			r.deliver(s.ctx, it, pass)
		}
	}
	if a := s.registry.answerFor(d.event); a != nil && !it.notice && pass {
		s.answer(d, a)
	}
}

// deliver calls a holder's handlers, and notes how far they are. Without pass
// an interceptor has kept the event back.
func (r *Room) deliver(ctx context.Context, it item, pass bool) {
	d := it.d
	if r.left.Load() {
		return // by a handler before this one
	}
	if it.notice && d.meta != nil {
		r.advance(d.meta.position())
	}
	if pass {
		known := d
		if d.named != "" {
			as := *d
			as.event, known = d.named, &as
		}
		r.registry.deliver(ctx, known, !it.notice && d.meta != nil)
	}
	if !it.notice && d.meta != nil {
		r.advance(d.meta.position())
	}
}

// answer runs the handler that answers an event, and sends what it says if the
// server asked for it.
func (s *Socket) answer(d *delivery, a *answer) {
	out, err := socketio.Args{}, error(holdfast.Internal.New())
	s.registry.guard(d.event, func() { out, err = a.fn(s.ctx, d.args) })
	if err != nil {
		if holdfast.CodeOf(err) == holdfast.Internal {
			s.registry.log.Warn("handler failed", "event", d.event, "err", err)
		}
		out = negative(err)
	}
	if !d.wanted {
		return
	}
	if err = d.reply(out); errors.Is(err, holdfast.MessageTooLarge) {
		err = d.reply(negative(err))
	}
	if err != nil && !errors.Is(err, ErrNotConnected) && s.ctx.Err() == nil {
		s.registry.log.Warn("ack was not sent", "event", d.event, "err", err)
	}
}

// reply sends the ack that the server asked for.
func (d *delivery) reply(args socketio.Args) error {
	s := d.conn.s
	return d.conn.send(s.ctx, socketio.Packet{
		Type: socketio.Ack, Namespace: s.ns, ID: d.ackID, HasID: true, Data: args.AppendArray(nil), Attachments: args.Attachments,
	})
}

// guard runs a handler and keeps its panic to itself.
func (r *registry) guard(event string, fn func()) {
	defer func() {
		if v := recover(); v != nil {
			r.log.Error("handler panicked", "event", event, "panic", panicText(v), "stack", string(debug.Stack()))
		}
	}()
	fn()
}
