package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// Causes of the errors with which Receiver.Closed is called.
var (
	// ErrLost: the transport broke without a close. The code is GOING_AWAY.
	ErrLost = errors.New("transport: connection lost")
	// ErrPingTimeout: a ping was not answered in time. The code is GOING_AWAY.
	ErrPingTimeout = errors.New("transport: ping timeout")
)

// state is how far a session has come.
type state uint8

const (
	stateOpen    state = iota
	stateClosing       // nothing is received or queued any more; what is queued goes out
	stateClosed        // nothing is left but to be forgotten
)

var (
	_ hub.Sink   = (*Conn)(nil)
	_ hub.Pacer  = (*Conn)(nil)
	_ hub.Lagger = (*Conn)(nil)
)

// Conn is a session. Its methods are safe for concurrent use.
type Conn struct {
	// Static after Open.
	host     *host
	id       string
	request  *Request
	receiver Receiver
	poll     *polling // nil for a session that was opened on WebSocket

	// queue is what waits to be written. It has its own lock, below mu.
	queue hub.Queue

	mu sync.Mutex
	// All below is guarded by mu.
	state      state
	registered bool
	delivering bool  // Open or Receiver.Message is running
	notify     bool  // Receiver.Closed is due once delivering ends
	claimable  *Turn // while Receiver.Message runs in one
	err        *holdfast.Error
	ctx        context.Context // made when first asked for
	cancel     context.CancelCauseFunc

	ws          *socket // nil while the session is polled
	writing     bool    // a writer is running
	closeCode   uint16  // of the Close frame to write; 0: without a body
	closeReason string
	desynced    bool          // what the peer sends can't be read any more
	closeSent   bool          // our Close frame is written
	closeGot    bool          // the peer's Close frame was read
	pingDue     bool          // a WebSocket Ping is to be sent
	pongs       []byte        // answers to WebSocket Pings, as frames
	caughtUp    chan struct{} // see CaughtUp; nil while nobody waits for it

	timer   *time.Timer
	armed   instant // when timer fires
	pingAt  instant // next ping
	pongBy  instant // the ping must be answered; 0: none is under way
	excused bool    // that time was put off because the receiver blocked
	slowBy  instant // the message that began must be complete
	writeBy instant // the write under way must end
	closeBy instant // a closing session is cut
}

// ID returns the session's id. Who knows it can take the session over: it is
// no name to show to others.
func (c *Conn) ID() string { return c.id }

// Request returns what is kept of the request that opened the session.
func (c *Conn) Request() *Request { return c.request }

// Transport returns what the session is on: "polling" or "websocket", and "ws"
// for a session of a Plain.
func (c *Conn) Transport() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.poll != nil && c.ws == nil {
		return transportPolling
	}
	if c.host.plain {
		return transportPlain
	}
	return transportWebSocket
}

// Context returns a context that ends with the session, just before Closed is
// called; its cause is Closed's error.
func (c *Conn) Context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx == nil {
		c.ctx, c.cancel = context.WithCancelCause(context.Background())
		if c.state != stateOpen {
			c.cancel(c.cause())
		}
	}
	return c.ctx
}

// cause is err for a context, whose own cause is context.Canceled.
func (c *Conn) cause() error {
	if c.err == nil {
		return nil
	}
	return c.err
}

// Send queues f, or drops it where its Overflow says so, and never blocks. It
// returns false once the session is over, or when f does not fit into the queue
// and may not be dropped: then the session is closed with SLOW_CONSUMER, without
// sending what is queued. It is a hub.Sink.
func (c *Conn) Send(f *hub.Frame) bool {
	wake, ok := c.queue.Push(f)
	if !ok {
		c.end(slowConsumer()) // changes nothing unless the queue overflowed
		return false
	}
	if wake {
		c.mu.Lock()
		c.kick()
		c.mu.Unlock()
	}
	return true
}

// SendAll is Send for frames that belong together: one write takes them, if
// nobody writes just then.
func (c *Conn) SendAll(frames ...*hub.Frame) bool {
	any := false
	for _, f := range frames {
		wake, ok := c.queue.Push(f)
		if !ok {
			c.end(slowConsumer())
			return false
		}
		any = any || wake
	}
	if any {
		c.mu.Lock()
		c.kick()
		c.mu.Unlock()
	}
	return true
}

func slowConsumer() ending {
	return ending{err: holdfast.SlowConsumer.New(), linger: true}
}

// Pace waits until half of the queue is free or the session is over, or
// returns ctx's error. It is a hub.Pacer.
func (c *Conn) Pace(ctx context.Context) error { return c.queue.Wait(ctx, 0) }

// Queued returns how many bytes wait to be written, as they count against
// QueueBytes.
func (c *Conn) Queued() int { return c.queue.Bytes() }

// Lags reports that over an eighth of QueueBytes waits for a writer that this
// process has not had the time for. Where a write waits for the peer it is the
// peer who is slow, as it may be on sockets that are always written to so: those
// that are no bare TCP. It is a hub.Lagger.
func (c *Conn) Lags() bool {
	if !c.waitsMuch() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isLate()
}

func (c *Conn) waitsMuch() bool {
	return c.queue.Bytes() > cmp.Or(c.queue.Limit, hub.DefaultQueueLimit)/8
}

// isLate reports that what waits does so for this process. mu is held.
func (c *Conn) isLate() bool { return c.state == stateOpen && c.writing && c.writeBy == 0 }

// CaughtUp returns a channel that is closed when Lags has become false; nil if
// it is so now. It is a hub.Lagger.
func (c *Conn) CaughtUp() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.isLate() || !c.waitsMuch() {
		return nil
	}
	if c.caughtUp == nil {
		c.caughtUp = make(chan struct{})
	}
	return c.caughtUp
}

// tellCaughtUp closes that channel if it is time. It is called wherever Lags may
// have become false. mu is held.
func (c *Conn) tellCaughtUp() {
	if c.caughtUp == nil || c.isLate() && c.waitsMuch() {
		return
	}
	close(c.caughtUp)
	c.caughtUp = nil
}

// Close ends the session: nothing more is received, what is queued is sent,
// and then the close, with err's close code and its code as the reason
// (1000 for nil). A polling session is told so by its next poll. Close does not wait; only
// the first call counts.
func (c *Conn) Close(err *holdfast.Error) {
	c.end(ending{err: err, flush: true, linger: true})
}

// begin makes the session known after Open, and starts its heartbeat and what
// was held back while Open ran.
func (c *Conn) begin() error {
	c.mu.Lock()
	c.registered = true
	c.mu.Unlock()
	ok := c.host.register(c)
	if !ok { // the engine was closed meanwhile
		c.mu.Lock()
		c.registered = false
		c.mu.Unlock()
		c.end(ending{err: holdfast.GoingAway.New()})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.delivered()
	if !ok {
		c.state = stateClosed
		return holdfast.GoingAway.New()
	}
	if c.state != stateClosed {
		now := c.host.now()
		c.pingAt = now.add(c.host.cfg.PingInterval)
		c.armed = c.pingAt
		if c.state == stateClosing {
			c.armed = c.closeBy
		}
		c.timer = time.AfterFunc(time.Duration(c.armed-now), c.tick)
	}
	return nil
}

// deliver hands a message to the receiver, which may claim t unless it is nil.
// If t is gone then, nothing of the session is the caller's any more.
func (c *Conn) deliver(data []byte, binary bool, t *Turn) {
	c.mu.Lock()
	if c.state != stateOpen {
		c.mu.Unlock()
		return
	}
	c.delivering, c.claimable = true, t
	c.mu.Unlock()

	c.guard("Message", func() { c.receiver.Message(c, data, binary) })

	if t != nil && !t.Release() { // which it has done, unless it panicked
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claimable = nil
	c.delivered()
}

// delivered ends a delivery, and starts Closed if it was held back. mu is held.
func (c *Conn) delivered() {
	c.delivering = false
	if c.excused { // now the pong can get through
		c.excused = false
		c.pongBy = c.host.now().add(c.host.cfg.PingTimeout)
	}
	if c.notify {
		c.notify = false
		c.notifyClosed()
	}
}

// notifyClosed starts the call of Closed. mu is held, and whoever calls is
// counted by the engine, or the session is.
func (c *Conn) notifyClosed() {
	err := c.cause()
	c.host.wg.Go(func() {
		c.guard("Closed", func() { c.receiver.Closed(c, err) })
	})
}

// guard calls the receiver. A panic in it must not take the other sessions
// down; where it was is logged, but neither its value nor the stack, which may
// hold what the peer sent.
func (c *Conn) guard(method string, call func()) {
	defer func() {
		if v := recover(); v != nil {
			c.host.cfg.Logger.Error("receiver panicked",
				"method", method, "type", fmt.Sprintf("%T", v), "at", panicSite())
			c.end(ending{err: holdfast.Internal.New(), linger: true})
		}
	}()
	call()
}

// panicSite returns the place of the panic that is being recovered.
func panicSite() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", f.Function, f.Line)
		}
		if !more {
			return "unknown"
		}
	}
}
