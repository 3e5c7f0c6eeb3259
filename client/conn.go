package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/engineio"
	"github.com/holdfast-dev/holdfast/internal/refusal"
	"github.com/holdfast-dev/holdfast/internal/wsclient"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
	"github.com/holdfast-dev/holdfast/socketio"
	"github.com/holdfast-dev/holdfast/tokens"
)

// closeTimeout bounds the goodbye of a connection: the writing of what is
// queued and the WebSocket's close handshake.
const closeTimeout = 2 * time.Second

// conn is one connection. The goroutine that reads it owns it; see keeper.hold.
type conn struct {
	// static after dial
	s     *Socket
	wire  wire
	auth  json.RawMessage // payload of CONNECT, nil for none
	ctx   context.Context // ends when the connection is cut
	end   context.CancelFunc
	out   outbox
	tasks sync.WaitGroup // whoever writes, a refresh, and the sender of the queue
	// user is whose token it has, where the Source tells; else who the server
	// says it is, guarded by s.mu.
	user    string
	told    bool          // by the Source
	greeted chan struct{} // closed when it is known whether the server is Holdfast

	// owned by the reader
	decoder  socketio.Decoder
	last     meta // of a room's event: its strings, to be used again
	run      *run
	patience time.Duration // the longest time between two pings
	greets   bool          // the first packet after CONNECT has come
	live     time.Time     // when the server admitted us; zero before
	opening  func()        // ends the time that the attempt may take; nil after that
	handled  bool          // events since the goroutine that reads was replaced
	watch    *time.Timer   // fires when pings fail to come; nil before the handshake

	// guarded by s.mu
	session    *Session
	refreshing bool
	newer      bool            // a newer token came while refreshing
	stale      *holdfast.Error // rights changed meanwhile
	sending    bool            // the queue is sent by what was known of the server
	retries    map[*room]*time.Timer
	leaving    map[string]bool // rooms whose leaving the server has not seen

	mu         sync.Mutex      // guards what follows
	cause      error           // why this side ended it
	hanging    *time.Timer     // cuts it when its goodbye takes too long
	closing    *holdfast.Error // what the server announced
	used       tokens.Token    // the last that the server accepted, or was sent in CONNECT
	maxPayload int
	whole      bool // maxPayload is for a packet with its attachments
	nextAck    uint64
	acks       map[uint64]func(socketio.Args, error)
	ended      bool
}

// dial opens the connection. extra is added to the query.
func (s *Socket) dial(ctx context.Context, token tokens.Token, auth any, extra url.Values) (*conn, error) {
	c := &conn{s: s, used: token, greeted: make(chan struct{})}
	if auth != nil {
		payload, err := json.Marshal(auth)
		if err != nil {
			return nil, &sourceError{holdfast.Errorf(holdfast.InvalidArgument, "client: auth payload: %w", err)}
		}
		c.auth = payload
	}
	w, err := s.openWire(ctx, s.paths.transport(), extra)
	if err != nil {
		return nil, err
	}
	c.wire = w
	c.decoder.Limits = socketio.Limits{Bytes: s.cfg.MaxMessage}
	c.ctx, c.end = context.WithCancel(context.Background())
	c.out.limit, c.out.turns = s.cfg.SendBuffer, &c.tasks
	return c, nil
}

func refusedHandshake(e *Error) error {
	var b struct {
		Code json.RawMessage `json:"code"`
	}
	_ = json.Unmarshal(e.Body, &b)
	return &handshakeError{status: e.Status, coded: holdfast.Code(refusal.Text(b.Code)).Known(), err: e.Err}
}

// cut ends the connection without a word.
func (c *conn) cut() {
	c.end()
	c.wire.cut()
}

// over is called when reading has ended, and says how the connection did.
func (c *conn) over(err error) (ending, tokens.Token) {
	c.part(err)
	c.opened()
	c.run.serve(nil)
	if c.watch != nil {
		c.watch.Stop()
	}
	c.out.close()
	c.cut()
	c.s.down(c) // from here on nobody adds tasks
	c.tasks.Wait()
	err = c.reason(err)
	c.drop()
	if !c.s.ours(c) && c.run.ctx.Err() == nil {
		err = &localError{errAnotherUser} // whatever was wrong with the other's
	}
	e := ending{err: err}
	if !c.live.IsZero() {
		e.connected, e.lasted = true, time.Since(c.live)
	}
	return e, c.token()
}

// opened ends the time that the attempt may take.
func (c *conn) opened() {
	if c.opening != nil {
		c.opening()
		c.opening = nil
	}
}

// part writes the Close frame that answers the peer's, or says what is wrong
// with what the peer sent. After that nothing can be read.
func (c *conn) part(err error) {
	var status uint16
	if e, ok := errors.AsType[*wsclient.CloseError](err); ok {
		status = e.Code
	} else if e, ok := errors.AsType[*wsclient.FrameError](err); ok {
		status = e.Code
	} else {
		return
	}
	c.mu.Lock()
	if c.hanging == nil {
		c.hanging = time.AfterFunc(closeTimeout, c.cut)
	}
	c.mu.Unlock()
	if c.out.finish(status, true) {
		c.writeNow()
	}
	<-c.out.flushed() // or cut
}

// reason says why the connection ended: what the server announced, else what
// this side found, else what reading ended with.
func (c *conn) reason(read error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closing != nil:
		return c.closing
	case c.cause != nil:
		return c.cause
	}
	if ce, ok := errors.AsType[*wsclient.CloseError](read); ok {
		return closeError(ce)
	}
	if errors.Is(read, errTooBig) {
		return &localError{fmt.Errorf("client: message from the server: %w: %w", holdfast.MessageTooLarge, read)}
	}
	return fmt.Errorf("client: connection lost: %w", read)
}

// fail ends the connection at once.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = err
	}
	c.mu.Unlock()
	c.cut()
}

// hangUp ends the connection in order: what is queued is written, then last,
// then a close frame. It does not wait.
func (c *conn) hangUp(err error, status uint16, last ...outgoing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil || c.ended {
		return
	}
	c.cause = err
	if c.hanging == nil {
		c.hanging = time.AfterFunc(closeTimeout, c.cut)
	}
	if c.out.finish(status, false, last...) {
		go c.write()
	}
}

// goodbye is the end that the application asked for.
func (c *conn) goodbye() {
	p := socketio.Packet{Type: socketio.Disconnect, Namespace: c.s.ns}
	c.hangUp(context.Cause(c.run.ctx), wsframe.Normal, c.encode(p))
}

// encode makes the WebSocket messages of a packet.
func (c *conn) encode(p socketio.Packet) outgoing {
	text := make([]byte, 0, len(p.Data)+len(p.Namespace)+16)
	return outgoing{text: p.Append(append(text, byte(engineio.Message))), binary: p.Attachments}
}

// write writes what is queued until there is nothing more. It runs on a
// goroutine of its own, which has the turn.
func (c *conn) write() {
	for {
		b, ok := c.out.pop()
		if !ok || !c.writeBatch(b) {
			return
		}
	}
}

// writeBatch waits until it is written. Without success the turn has ended.
func (c *conn) writeBatch(b batch) bool {
	return c.written(c.wire.write(b, c.s.cfg.WriteTimeout))
}

func (c *conn) written(err error) bool {
	if err == nil {
		return true
	}
	c.fail(fmt.Errorf("client: write: %w", err))
	c.out.close()
	c.out.pop()
	return false
}

// writeNow writes what is queued as far as that needs no waiting, and leaves the
// rest to write. The caller has the turn, and holds no lock.
func (c *conn) writeNow() {
	b, ok := c.out.pop()
	if !ok {
		return
	}
	left, err := c.wire.try(b)
	if !c.written(err) {
		return
	}
	switch {
	case !left.empty():
		go func() {
			if c.writeBatch(left) {
				c.write()
			}
		}()
	case c.out.more():
		go c.write()
	}
}

// send queues a packet, waiting for room, and writes it if nobody else does.
func (c *conn) send(ctx context.Context, p socketio.Packet) error {
	out := c.encode(p)
	if err := c.fits(out); err != nil {
		return err
	}
	turn, err := c.out.push(ctx, out)
	if turn {
		c.writeNow()
	}
	return err
}

// sendLater queues one of the few small packets of the protocol itself. The
// caller may hold a lock.
func (c *conn) sendLater(p socketio.Packet) {
	if c.out.pushNow(c.encode(p)) {
		go c.write()
	}
}

// fits checks a packet against what the server takes: any Socket.IO server
// bounds each WebSocket message, Holdfast the packet with its attachments.
func (c *conn) fits(p outgoing) error {
	c.mu.Lock()
	limit, whole := c.maxPayload, c.whole
	c.mu.Unlock()
	size := c.wire.size(p, whole)
	if limit > 0 && size > limit {
		return holdfast.Errorf(holdfast.MessageTooLarge, "the message has %d bytes, the server takes %d", size, limit)
	}
	return nil
}

// ask sends a packet that wants an ack and waits for it.
func (c *conn) ask(ctx context.Context, p socketio.Packet) (socketio.Args, error) {
	a := c.s.asking(ctx)
	defer a.end()
	return c.askAs(ctx, a, p)
}

// askAs is ask on behalf of a call, which waits no more when the ack is there.
func (c *conn) askAs(ctx context.Context, a *asking, p socketio.Packet) (socketio.Args, error) {
	type result struct {
		args socketio.Args
		err  error
	}
	answer := make(chan result, 1)
	id, ok := c.expect(func(args socketio.Args, err error) {
		if !errors.Is(err, ErrConnectionLost) { // then the queue asks on the next one
			a.end()
		}
		answer <- result{args, err}
	})
	if !ok {
		return socketio.Args{}, ErrNotConnected
	}
	p.ID, p.HasID = id, true
	if err := c.send(ctx, p); err != nil {
		c.forget(id)
		return socketio.Args{}, err
	}
	select {
	case r := <-answer:
		return r.args, r.err
	case <-ctx.Done():
		c.forget(id)
		return socketio.Args{}, ctx.Err()
	}
}

// askNow sends one of the protocol's own events without waiting. fn gets the
// ack, or an error when the connection ends first; it is called at most once, by
// the reader, and must not block.
func (c *conn) askNow(event string, payload any, fn func(socketio.Args, error)) {
	id, ok := c.expect(fn)
	if !ok {
		return // the connection is over, and the next one asks anew
	}
	data, _ := json.Marshal(payload) // of strings and numbers: can't fail
	p := eventPacket(c.s.ns, event, socketio.Args{Values: []json.RawMessage{data}})
	p.ID, p.HasID = id, true
	c.sendLater(p)
}

// expect registers for an ack. Without success fn isn't called.
func (c *conn) expect(fn func(socketio.Args, error)) (id uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return 0, false
	}
	id = c.nextAck
	c.nextAck++
	if c.acks == nil {
		c.acks = make(map[uint64]func(socketio.Args, error))
	}
	c.acks[id] = fn
	return id, true
}

func (c *conn) forget(id uint64) func(socketio.Args, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn := c.acks[id]
	delete(c.acks, id)
	if len(c.acks) == 0 {
		c.acks = nil // most of the time nothing is asked for
	}
	return fn
}

// drop fails the acks that will not come.
func (c *conn) drop() {
	c.mu.Lock()
	acks := c.acks
	c.acks, c.ended = nil, true
	if c.hanging != nil {
		c.hanging.Stop()
	}
	c.mu.Unlock()
	for _, fn := range acks {
		fn(socketio.Args{}, ErrConnectionLost)
	}
}

func (c *conn) token() tokens.Token {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}
