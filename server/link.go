package server

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/transport"
	"github.com/holdfast-dev/holdfast/socketio"
)

// lastEvents is how long the events of a connection that is gone may still be
// handled.
const lastEvents = 5 * time.Second

// protocol is what the messages of a connection look like.
type protocol interface {
	// receive takes one message of the client, whose data is valid only
	// during the call, and does or queues what it asks for.
	receive(l *link, data []byte, binary bool)
	// handle does the work of one queued job.
	handle(l *link, j job)
	// event makes a frame of an event that the application sends to c; ack
	// is the id under which an answer is expected.
	event(c *Conn, name string, args socketio.Args, ack *uint64) (*hub.Frame, error)
	// notice makes a frame of something that Holdfast itself has to say.
	notice(c *Conn, n notice) *hub.Frame
	// encoder encodes the events of rooms that were joined in a namespace.
	encoder(namespace string) hub.Encoder
}

// pipe is the transport's end of a connection: a *transport.Conn, or what
// stands for one where there is no socket.
type pipe interface {
	// Send and Pace are those of hub.Sink and hub.Pacer.
	Send(f *hub.Frame) bool
	Pace(ctx context.Context) error
	// Close sends what is queued, and then the end; only the first call counts.
	Close(err *holdfast.Error)
	// Context ends with the connection.
	Context() context.Context
	// Request is what is kept of the request that opened it.
	Request() *transport.Request
	// Transport names it: "websocket", "polling", "ws", …
	Transport() string
}

// quickPipe is a pipe that can do better than write soon what it is given, and
// say whose fault it is if it has not: see transport.Conn.
type quickPipe interface {
	hub.Lagger
	SendNow(f *hub.Frame) bool
	SendAll(frames ...*hub.Frame) bool
	Claim() *transport.Turn
	Hurried() bool
	HandOn()
}

var (
	_ pipe      = (*transport.Conn)(nil)
	_ quickPipe = (*transport.Conn)(nil)
)

// notice is something that Holdfast itself says to a client.
type notice struct {
	name   string // auth:session, auth:expiring, auth:closing, room:left, room:error
	err    *holdfast.Error
	room   string
	expiry expiry
	reason string
}

// link is one connection of the transport: what all its namespaces share. The
// transport calls Message and Closed one at a time.
type link struct {
	// static after construction
	srv     *Server
	proto   protocol
	eio     pipe
	quickly quickPipe    // eio, if it is one
	id      string       // public; the Engine.IO sid is a secret of the client
	ip      netip.Addr   // the client's, as trusted proxies tell it
	addr    netip.Prefix // what limits count by

	// owned by the reader
	dec     socketio.Decoder // of Socket.IO
	limiter *rate.Limiter

	work workQueue
	lane *lane // nil until something waits in it; see there

	entering operation // an admission under way; owned by the work's goroutine

	// swap is held while an identity is put in place everywhere, so that of two
	// the later one wins everywhere. It is taken before mu.
	swap sync.Mutex

	mu        sync.Mutex         // guards what follows
	conns     []*Conn            // admitted, at most one a namespace
	identity  *holdfast.Identity // the one verified last: all namespaces have it
	life      lifetime
	pending   bool // counts among its address's unauthenticated connections
	refused   bool // a CONNECT was refused
	ended     bool
	last      *time.Timer // ends its contexts soon; nil while it lives
	cancelled bool        // all contexts have ended
	ties      []*tie      // the others
	why       error       // why it ended; nil as long as it has not, or if in order
}

// Message handles one message of the client: transport.Receiver.
func (l *link) Message(_ *transport.Conn, data []byte, binary bool) {
	if len(data) > l.srv.cfg.MaxUnauthenticated && !l.admitted() {
		l.end(holdfast.Errorf(holdfast.MessageTooLarge, "more than %d bytes before authentication", l.srv.cfg.MaxUnauthenticated))
		return
	}
	l.proto.receive(l, data, binary)
}

// Ending gives the handlers that run a little time: they may finish after the
// close. It is transport.Ender.
func (l *link) Ending() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil && !l.cancelled {
		l.last = time.AfterFunc(lastEvents, l.cancel)
	}
}

// Closed ends the connection's namespaces: transport.Receiver. Events that
// have arrived are still handled, with a context that lives for that long.
func (l *link) Closed(_ *transport.Conn, err error) {
	l.Ending() // where the end came too early for it
	l.mu.Lock()
	l.ended = true
	if l.why == nil {
		l.why = err
	}
	l.life.stop()
	l.settle()
	l.mu.Unlock()
	if err != nil {
		l.srv.log.Debug("connection ended", "connection", l.id, "code", string(holdfast.CodeOf(err)), "err", err)
	}
	l.srv.metrics.ended(err)
	l.work.finish(l)
}

// finished runs once, when the connection is gone and its last event handled.
func (l *link) finished() {
	l.cancel()
	l.mu.Lock()
	if l.last != nil {
		l.last.Stop() // or it would hold all of the link until then
	}
	conns, why := l.conns, l.why
	l.conns = nil
	l.mu.Unlock()
	for _, c := range conns {
		c.leave(why)
	}
	l.srv.ids.forget(anonymousScope(l))
	l.srv.forget(l)
}

// end tells an admitted client why, and closes the connection. Only the first
// call has an effect.
func (l *link) end(err *holdfast.Error) {
	l.mu.Lock()
	conns, first := l.endLocked(err)
	l.mu.Unlock()
	if first {
		l.close(conns, err)
	}
}

// endLocked lets nothing change any more; close is to follow where it is the
// first to do so. mu is held.
func (l *link) endLocked(err *holdfast.Error) (conns []*Conn, first bool) {
	if l.ended {
		return nil, false
	}
	l.ended, l.why = true, err
	return append([]*Conn(nil), l.conns...), true
}

// close is the rest of end.
func (l *link) close(conns []*Conn, err *holdfast.Error) {
	for _, c := range conns {
		c.notify(notice{name: "auth:closing", err: err})
	}
	l.eio.Close(err)
}

// adopt makes identity that of all the link's namespaces; false if the link has
// ended.
func (l *link) adopt(identity *holdfast.Identity) bool {
	l.swap.Lock()
	defer l.swap.Unlock()
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return false
	}
	l.identity = identity
	l.life.follow(l, identity)
	conns := append([]*Conn(nil), l.conns...)
	l.mu.Unlock()
	apply(conns, identity)
	return true
}

// apply gives namespaces their identity; the link's swap is held.
func apply(conns []*Conn, identity *holdfast.Identity) {
	for _, c := range conns {
		c.setIdentity(identity)
		c.session.SetIdentity(identity)
	}
}

// cause returns why the connection ended.
func (l *link) cause() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

// conn returns the connection's part in a namespace, nil if there is none.
func (l *link) conn(namespace string) *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		if c.ns.name == namespace {
			return c
		}
	}
	return nil
}

func (l *link) admitted() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns) > 0
}

// overRate returns a refusal if the client sends more than it may.
func (l *link) overRate() *holdfast.Error {
	if l.limiter == nil {
		return nil
	}
	r := l.limiter.Reserve()
	wait := r.Delay()
	if wait == 0 {
		return nil
	}
	r.Cancel()
	refusal := &holdfast.Error{Code: holdfast.RateLimited, Message: "Too many messages", RetryAfter: wait}
	l.srv.metrics.refused(atMessage, refusal)
	return refusal
}

// settle stops counting the link as unauthenticated; l.mu is held.
func (l *link) settle() {
	if l.pending {
		l.pending = false
		l.srv.unauthenticated.release(l.addr)
	}
}
