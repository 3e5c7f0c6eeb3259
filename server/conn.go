package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/socketio"
)

// Conn is one admitted connection, in one namespace. All methods may be
// called from any goroutine, also after the connection is gone.
type Conn struct {
	// static after construction
	link    *link
	ns      *Namespace
	sid     string
	payload json.RawMessage

	session *hub.Session // set before any handler sees the Conn
	ctx     context.Context
	tie     *tie // ends ctx when the namespace is left

	state atomic.Pointer[identityState] // replaced by each refresh

	open atomic.Bool // the client knows that it is connected
	gone atomic.Bool // it has left the namespace

	mu      sync.Mutex // guards what follows
	held    *hub.Queue // what was sent before open; nil for nothing
	acks    map[uint64]chan socketio.Args
	nextAck uint64
	line    line
}

// identityState is an identity with a context that carries it.
type identityState struct {
	identity *holdfast.Identity
	ctx      context.Context
}

// ID returns the public id of the connection, which all its namespaces
// share; it may be shown and logged.
func (c *Conn) ID() string { return c.link.id }

// Namespace returns the name of the namespace.
func (c *Conn) Namespace() string { return c.ns.name }

// Identity returns who this is now; a refresh replaces it.
func (c *Conn) Identity() *holdfast.Identity { return c.state.Load().identity }

// Context carries the identity and ends when the client has left the namespace
// or the connection is gone. Events that had arrived by then are still
// handled, within 5 s, before it ends.
func (c *Conn) Context() context.Context { return c.state.Load().ctx }

// Payload returns the auth payload of the client's CONNECT as it was sent;
// nil where there was none. It may hold a credential: do not log it.
func (c *Conn) Payload() json.RawMessage { return c.payload }

// Header returns the headers of the request that opened the connection. It
// may hold credentials: do not log it, and do not change it.
func (c *Conn) Header() http.Header { return c.link.eio.Request().Header }

// RemoteAddr returns the client's address as trusted proxies tell it; the
// zero Addr where the network has no IP addresses.
func (c *Conn) RemoteAddr() netip.Addr { return c.link.ip }

// Transport returns "websocket" or "polling", of which an upgrade changes one to
// the other, "ws" for a plain WebSocket, or "sse" for an event stream.
func (c *Conn) Transport() string { return c.link.eio.Transport() }

// Emit sends an event to this connection alone. Each of args is encoded as
// encoding/json does; a []byte or socketio.Binary goes as binary. The error
// is NOT_FOUND when the connection is gone, and INVALID_ARGUMENT when the
// name is reserved or an argument can't be encoded.
func (c *Conn) Emit(event string, args ...any) error {
	a, err := newArgs(event, args)
	if err != nil {
		return err
	}
	return c.emit(event, a, nil)
}

// EmitArgs is Emit for arguments as they came, such as HandleRaw's.
func (c *Conn) EmitArgs(event string, args socketio.Args) error {
	if err := holdfast.CheckPublish(event); err != nil {
		return err
	}
	return c.emit(event, args, nil)
}

func newArgs(event string, args []any) (socketio.Args, error) {
	if err := holdfast.CheckPublish(event); err != nil {
		return socketio.Args{}, err
	}
	a, err := socketio.NewArgs(args...)
	if err != nil {
		return socketio.Args{}, holdfast.Errorf(holdfast.InvalidArgument, "%s: %w", event, err)
	}
	return a, nil
}

// EmitAck sends an event and waits for the client's ack, whose arguments it
// returns. It ends with ctx, or with NOT_FOUND when the connection goes. At
// most 64 acks may be outstanding on a connection: RATE_LIMITED.
func (c *Conn) EmitAck(ctx context.Context, event string, args ...any) (socketio.Args, error) {
	a, err := newArgs(event, args)
	if err != nil {
		return socketio.Args{}, err
	}
	id, answer, err := c.expectAck()
	if err != nil {
		return socketio.Args{}, err
	}
	defer c.forgetAck(id)
	if err := c.emit(event, a, &id); err != nil {
		return socketio.Args{}, err
	}
	if q := c.link.quickly; q != nil {
		q.HandOn() // or the reader may be who waits here for what it would read
	}
	select {
	case out := <-answer:
		return out, nil
	case <-ctx.Done():
		return socketio.Args{}, ctx.Err()
	case <-c.link.eio.Context().Done():
		return socketio.Args{}, errGone()
	case <-c.ctx.Done():
		return socketio.Args{}, errGone()
	}
}

// Ask emits an event and decodes the first argument of the ack into Out.
func Ask[Out any](ctx context.Context, c *Conn, event string, args ...any) (Out, error) {
	var out Out
	a, err := c.EmitAck(ctx, event, args...)
	if err != nil {
		return out, err
	}
	if err := a.Decode(0, &out); err != nil {
		return out, invalidPayload(event, err)
	}
	return out, nil
}

// Join puts the connection into a room, as if its client had asked: the
// identity's permissions decide. To join is to hear; joining again changes
// nothing.
func (c *Conn) Join(ctx context.Context, room string) (holdfast.Position, error) {
	joined, err := c.join(ctx, room, hub.JoinOptions{}, nil)
	return joined.Position, err
}

// Leave takes the connection out of a room. Its client is not told.
func (c *Conn) Leave(room string) { c.session.Leave(room) }

// Remove takes the connection out of a room for the reason that err gives, and
// tells the client with room:left and err's code. Nothing happens if it is not in
// the room. It may join again, if its permissions and the OnJoin functions let it.
func (c *Conn) Remove(room string, err error) {
	if err == nil {
		err = holdfast.Forbidden
	}
	own := *holdfast.AsError(err)
	own.Err = removal{own.Err}
	c.session.Remove(room, &own)
}

// removal is the cause of what the program wants, whatever its code: a room
// that was lost otherwise may be joined again for a client.
type removal struct{ cause error } // which may be nil

// Error implements error.
func (r removal) Error() string {
	if r.cause == nil {
		return "removed by the program"
	}
	return r.cause.Error()
}

// Unwrap returns what the program gave as the cause.
func (r removal) Unwrap() error { return r.cause }

// Rooms returns the rooms that the connection is in, in this namespace.
func (c *Conn) Rooms() []string { return c.session.Rooms() }

// Close ends the whole connection: the client gets auth:closing with the
// error's code, then the close. A nil error is an orderly end without a code.
func (c *Conn) Close(err error) {
	if err == nil {
		c.link.eio.Close(nil)
		return
	}
	c.link.end(holdfast.AsError(err))
}

func errGone() error { return holdfast.Errorf(holdfast.NotFound, "the connection is gone") }

// emit sends an event without a check of its name.
func (c *Conn) emit(event string, args socketio.Args, ack *uint64) error {
	frame, err := c.link.proto.event(c, event, args, ack)
	if err != nil {
		return err
	}
	if !c.Send(frame) {
		return errGone()
	}
	return nil
}

// notify sends what Holdfast itself has to say; a connection that is gone
// needs no more.
func (c *Conn) notify(n notice) { c.Send(c.link.proto.notice(c, n)) }

// Send implements hub.Sink. What is sent before the client knows that it is
// connected waits until it does.
func (c *Conn) Send(f *hub.Frame) bool {
	if c.gone.Load() {
		return false
	}
	if c.open.Load() {
		return c.link.eio.Send(f)
	}
	c.mu.Lock()
	if c.open.Load() {
		c.mu.Unlock()
		return c.link.eio.Send(f)
	}
	if c.held == nil {
		c.held = &hub.Queue{Limit: c.link.srv.cfg.QueueBytes, Drops: &c.link.srv.drops}
	}
	_, fits := c.held.Push(f)
	c.mu.Unlock()
	if !fits {
		c.link.eio.Close(holdfast.SlowConsumer.New())
	}
	return fits
}

// sendLast is Send for the answer to a job: where it is the last one, nothing
// is likely to follow that the answer could share a write with.
func (c *Conn) sendLast(f *hub.Frame) bool {
	l := c.link
	if l.quickly == nil || c.gone.Load() || !c.open.Load() || !l.work.last() {
		return c.Send(f)
	}
	return l.quickly.SendNow(f)
}

// Lags implements hub.Lagger.
func (c *Conn) Lags() bool { return c.link.quickly != nil && c.link.quickly.Lags() }

// CaughtUp implements hub.Lagger.
func (c *Conn) CaughtUp() <-chan struct{} {
	if c.link.quickly == nil {
		return nil
	}
	return c.link.quickly.CaughtUp()
}

// Pace implements hub.Pacer: it waits until there is room in the queue for
// more of a replay.
func (c *Conn) Pace(ctx context.Context) error {
	if !c.open.Load() {
		return nil // held frames are bounded by Send
	}
	return c.link.eio.Pace(ctx)
}

// release tells the client that it is connected and lets go what was held. Who
// sends meanwhile waits, so that link.end can't close the transport ahead of
// the auth:closing of a client that was told already.
func (c *Conn) release(first ...*hub.Frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.link.quickly; q != nil {
		q.SendAll(first...)
	} else {
		for _, f := range first {
			c.link.eio.Send(f)
		}
	}
	if c.held != nil {
		for _, f := range c.held.Pop(nil, 0, 0) {
			c.link.eio.Send(f)
		}
		c.held = nil
	}
	c.open.Store(true)
}

func (c *Conn) expectAck() (uint64, chan socketio.Args, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone.Load() {
		return 0, nil, errGone()
	}
	if len(c.acks) >= pendingAcks {
		return 0, nil, holdfast.Errorf(holdfast.RateLimited, "the client owes %d acks already", pendingAcks)
	}
	if c.acks == nil {
		c.acks = make(map[uint64]chan socketio.Args)
	}
	id := c.nextAck
	c.nextAck++
	answer := make(chan socketio.Args, 1)
	c.acks[id] = answer
	return id, answer, nil
}

func (c *Conn) forgetAck(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.acks, id)
}

// resolveAck hands the client's answer to who waits for it. An ack that
// nobody waits for, any more, is ignored.
func (c *Conn) resolveAck(id uint64, args socketio.Args) {
	c.mu.Lock()
	answer := c.acks[id]
	delete(c.acks, id)
	c.mu.Unlock()
	if answer != nil {
		answer <- args // buffered, and taken out of the map: never blocks
	}
}

// leave ends the namespace's part of a connection; why is nil if it ended in
// order.
func (c *Conn) leave(why error) {
	c.gone.Store(true)
	c.link.untie(c.tie)
	c.mu.Lock()
	c.held = nil
	c.mu.Unlock()
	c.closeLine(why)
	c.session.Close()
	c.mu.Lock()
	c.endLine()
	c.mu.Unlock()
}
