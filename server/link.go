package server

import (
	"bytes"
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/transport"
	"github.com/holdfast-dev/holdfast/socketio"
)

// lastEvents is how long the events of a connection that is gone may still be
// handled.
const lastEvents = 5 * time.Second

// link is one Engine.IO connection: what all its namespaces share. The
// transport calls Message and Closed one at a time.
type link struct {
	// static after construction
	srv    *Server
	eio    *transport.Conn
	id     string       // public; the Engine.IO sid is a secret of the client
	ip     netip.Addr   // the client's, as trusted proxies tell it
	addr   netip.Prefix // what limits count by
	ctx    context.Context
	cancel context.CancelFunc

	// owned by the reader
	dec     socketio.Decoder
	limiter *rate.Limiter

	work workQueue

	mu       sync.Mutex // guards what follows
	conns    []*Conn    // admitted, at most one a namespace
	identity *holdfast.Identity
	life     lifetime
	pending  bool // counts among its address's unauthenticated connections
	refused  bool // a CONNECT was refused
	ended    bool
}

// Message handles one message of the client: transport.Receiver.
func (l *link) Message(_ *transport.Conn, data []byte, binary bool) {
	if len(data) > l.srv.cfg.MaxUnauthenticated && !l.admitted() {
		l.end(holdfast.Errorf(holdfast.MessageTooLarge, "more than %d bytes before authentication", l.srv.cfg.MaxUnauthenticated))
		return
	}
	var p socketio.Packet
	var complete bool
	var err error
	if binary {
		p, complete, err = l.dec.Binary(data)
	} else {
		p, complete, err = l.dec.Text(data)
	}
	if err != nil {
		l.end(holdfast.AsError(err))
		return
	}
	if !complete {
		return
	}
	if refusal := l.overRate(); refusal != nil {
		if c := l.conn(p.Namespace); c != nil && p.HasID && isEvent(p) {
			c.answer(p.ID, socketio.Args{}, refusal, false)
			return
		}
		l.end(refusal)
		return
	}
	l.dispatch(p)
}

// dispatch does at once what can't take long, and leaves the rest to the
// queue of events, behind those that wait there.
func (l *link) dispatch(p socketio.Packet) {
	switch p.Type {
	case socketio.Ack, socketio.BinaryAck:
		c := l.conn(p.Namespace)
		if c == nil || !p.HasID {
			return // an ack that outlived its namespace
		}
		p.Data = bytes.Clone(p.Data)
		args, err := p.AckArgs()
		if err != nil {
			l.end(holdfast.AsError(err))
			return
		}
		c.resolveAck(p.ID, args)
	case socketio.Event, socketio.BinaryEvent:
		// The packet aliases the transport's buffer; what waits, or is kept
		// in a room's history, needs bytes of its own.
		p.Data = bytes.Clone(p.Data)
		event, args, err := p.Event()
		if err != nil {
			l.end(holdfast.AsError(err))
			return
		}
		j := job{packet: p, event: event, args: args}
		if own(event) && event != "auth:refresh" && l.work.idle() {
			if c := l.conn(p.Namespace); c != nil {
				c.run(j) // waits for nothing but the broker
				return
			}
		}
		l.work.push(l, j)
	case socketio.Connect, socketio.Disconnect:
		p.Data = bytes.Clone(p.Data)
		l.work.push(l, job{packet: p})
	default: // a client never sends CONNECT_ERROR
		l.end(holdfast.Errorf(holdfast.ProtocolError, "packet of a type that only servers send"))
	}
}

// handle does the work of one queued packet.
func (l *link) handle(j job) {
	switch j.packet.Type {
	case socketio.Connect:
		l.connect(j.packet)
	case socketio.Disconnect:
		l.disconnect(j.packet.Namespace)
	default:
		if c := l.conn(j.packet.Namespace); c != nil {
			c.run(j)
			return
		}
		l.stray(j.packet)
	}
}

// stray is an event for a namespace that the connection is not in. After a
// refused CONNECT it is an emit that was sent along with it: the refusal has
// said all. Anything else breaks the protocol.
func (l *link) stray(p socketio.Packet) {
	l.mu.Lock()
	refused := l.refused
	l.mu.Unlock()
	if !refused {
		l.end(holdfast.Errorf(holdfast.ProtocolError, "event for a namespace that is not connected"))
		return
	}
	if p.HasID {
		l.eio.Send(ackFrame(p.Namespace, p.ID, refusalArgs(holdfast.Unauthenticated.New())))
	}
}

// Closed ends the connection's namespaces: transport.Receiver. Events that
// have arrived are still handled, with a context that lives for that long.
func (l *link) Closed(_ *transport.Conn, err error) {
	l.mu.Lock()
	l.ended = true
	l.life.stop()
	l.settle()
	l.mu.Unlock()
	if err != nil {
		l.srv.log.Debug("connection ended", "connection", l.id, "code", string(holdfast.CodeOf(err)), "err", err)
	}
	if l.work.finish(l) {
		return // nothing was waiting: finished at once
	}
	timer := time.AfterFunc(lastEvents, l.cancel)
	context.AfterFunc(l.ctx, func() { timer.Stop() })
}

// finished runs once, when the connection is gone and its last event handled.
func (l *link) finished() {
	l.cancel()
	l.mu.Lock()
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	for _, c := range conns {
		c.leave()
	}
	l.srv.forget(l)
}

// end tells an admitted client why, and closes the connection. Only the first
// call has an effect.
func (l *link) end(err *holdfast.Error) {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	l.ended = true
	conns := append([]*Conn(nil), l.conns...)
	l.mu.Unlock()
	for _, c := range conns {
		c.emitJSON("auth:closing", ackError{Message: err.PublicMessage(), Code: err.Code, RetryAfter: err.RetryAfterSeconds()})
	}
	l.eio.Close(err)
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
	return &holdfast.Error{Code: holdfast.RateLimited, Message: "Too many messages", RetryAfter: wait}
}

// settle stops counting the link as unauthenticated; l.mu is held.
func (l *link) settle() {
	if l.pending {
		l.pending = false
		l.srv.unauthenticated.release(l.addr)
	}
}

func isEvent(p socketio.Packet) bool {
	return p.Type == socketio.Event || p.Type == socketio.BinaryEvent
}
