package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/engineio"
	"github.com/holdfast-dev/holdfast/internal/refusal"
	"github.com/holdfast-dev/holdfast/internal/wsclient"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
	"github.com/holdfast-dev/holdfast/socketio"
)

// errReplace is what read returns where another goroutine is to go on.
var errReplace = errors.New("client: to be read on by another goroutine")

// read handles what the server sends until the connection ends.
//
// A stack that has grown for an event does not shrink to its first size again.
// So after a ping, which comes to idle connections too, a goroutine that has
// handled something leaves the reading to a new one.
func (c *conn) read() error {
	for {
		// Waiting is done here where it can be, with nothing of what handles a
		// packet on the stack.
		if err := c.wire.await(); err != nil {
			return err
		}
		if err := c.readOne(); err != nil {
			return err
		}
	}
}

func (c *conn) readOne() error {
	kind, data, err := c.wire.read()
	if err != nil {
		return err
	}
	switch kind {
	case wsclient.Ping:
		if c.out.answer(data) {
			c.writeNow()
		}
		return nil
	case wsclient.Binary:
		var p socketio.Packet
		var ok bool
		if p, ok, err = c.decoder.Binary(bytes.Clone(data)); err == nil && ok {
			err = c.packet(p)
		}
	default:
		var p engineio.Packet
		if p, err = engineio.Parse(data); err == nil {
			err = c.frame(p)
		}
	}
	switch {
	case err == nil:
		return nil
	case err == errReplace:
		return err
	}
	if kind == wsclient.Binary {
		data = nil
	}
	return c.broken(err, data)
}

// broken ends the connection because of what the server sent, or of what over
// says, and reads on until it is closed in order. text is the message, if it
// was one.
func (c *conn) broken(err error, text []byte) error {
	if o, ok := errors.AsType[*over](err); ok {
		c.hangUp(o.err, wsframe.Normal)
	} else {
		status := wsframe.Protocol
		switch {
		case errors.Is(err, holdfast.MessageTooLarge):
			status = wsframe.TooBig
		case !utf8.Valid(text): // RFC 6455 §8.1, which is not looked at before
			status = wsframe.BadData
		}
		c.hangUp(&localError{fmt.Errorf("client: packet from the server: %w", err)}, status)
	}
	for {
		if _, _, err := c.wire.read(); err != nil {
			return err
		}
	}
}

// over ends reading for a reason that is no fault of the protocol.
type over struct{ err error }

func (o *over) Error() string { return o.err.Error() }

// frame handles one Engine.IO packet.
func (c *conn) frame(p engineio.Packet) error {
	if c.watch == nil && p.Type != engineio.Open {
		return holdfast.Errorf(holdfast.ProtocolError, "%v packet before the handshake", p.Type)
	}
	switch p.Type {
	case engineio.Open:
		return c.open(p.Data)
	case engineio.Ping:
		return c.beat(p.Data)
	case engineio.Close:
		return &over{errors.New("client: the server closed the session")}
	case engineio.Message:
		// What comes of it stays: the buffer that it was read to is needed again.
		sp, ok, err := c.decoder.Text(bytes.Clone(p.Data))
		if err != nil || !ok {
			return err
		}
		return c.packet(sp)
	}
	return nil // noop, and what makes no sense from a server
}

// beat answers a ping.
func (c *conn) beat(data []byte) error {
	c.watch.Reset(c.patience)
	if c.out.pong(data) {
		c.writeNow()
	}
	c.s.inbox.rest()
	if c.handled {
		c.handled = false
		return errReplace
	}
	return nil
}

// open handles the handshake: the heartbeat is watched from here on, and the
// namespace is asked for.
func (c *conn) open(data []byte) error {
	if c.watch != nil {
		return holdfast.Errorf(holdfast.ProtocolError, "second handshake")
	}
	h, err := engineio.ParseHandshake(data)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.maxPayload = h.MaxPayload
	c.mu.Unlock()
	c.patience = h.PingInterval + h.PingTimeout
	c.watch = time.AfterFunc(c.patience, func() { c.fail(&localError{ErrPingTimeout}) })
	if c.out.pushNow(c.encode(socketio.Packet{Type: socketio.Connect, Namespace: c.s.ns, Data: c.auth})) {
		c.writeNow()
	}
	return nil
}

// packet handles one Socket.IO packet.
func (c *conn) packet(p socketio.Packet) error {
	if p.Namespace != c.s.ns {
		return nil
	}
	c.handled = true
	switch p.Type {
	case socketio.Connect:
		if c.live.IsZero() {
			c.admit()
		}
		return nil
	case socketio.ConnectError:
		return &over{connectError(p.Data)}
	case socketio.Disconnect:
		return &over{ErrDisconnected}
	}
	if c.live.IsZero() {
		return holdfast.Errorf(holdfast.ProtocolError, "%v packet before the namespace was entered", p.Type)
	}
	switch p.Type {
	case socketio.Ack, socketio.BinaryAck:
		c.greet()
		if fn := c.forget(p.ID); fn != nil {
			args, err := p.AckArgs()
			fn(args, err)
		}
		return nil
	case socketio.Event, socketio.BinaryEvent:
		return c.event(p)
	}
	return nil
}

// admit makes it known that the server has let the socket in.
func (c *conn) admit() {
	if !c.s.ours(c) {
		c.fail(&localError{errAnotherUser})
		return
	}
	c.opened()
	c.live = time.Now()
	c.auth = nil
	c.s.up(c)
	if c.s.cfg.Queue != nil {
		c.tasks.Go(c.sendQueue)
	}
}

// event puts an event in the queue of the handlers, after the socket itself
// has looked at it.
func (c *conn) event(p socketio.Packet) error {
	name, args, err := c.decoder.Event(p)
	if err != nil {
		return err
	}
	d := &delivery{event: name, args: args, conn: c, ackID: p.ID, wanted: p.HasID}
	it := item{d: d, size: itemCost + len(p.Data)}
	for _, a := range p.Attachments {
		it.size += len(a)
	}
	switch name {
	case EventSession:
		c.signedIn(args)
	case EventExpiring:
		c.expiring(args)
	case EventClosing:
		c.announced(args)
	case "room:left":
		c.s.removed(c, args)
	}
	c.greet()
	if d.place.read(args, &c.last) {
		d.meta = &d.place
		c.last = meta{Room: d.place.Room, Epoch: d.place.Epoch, From: d.place.From}
		var fresh bool
		if it.room, fresh = c.s.expected(c, d.meta); !fresh {
			return nil
		}
	} else {
		it.room = c.s.beside(c, d)
	}
	switch err := c.s.inbox.push(it, c.ctx.Done()); {
	case err == nil:
		if it.room != nil && d.meta != nil {
			c.s.arrived(it.room, d.meta.position())
		}
		return nil
	case errors.Is(err, ErrClosed):
		return nil // nobody listens any more, but the goodbye is still to be read
	default:
		return &over{err}
	}
}

// greet notes that the first packet after CONNECT has come: a Holdfast
// server's is auth:session.
func (c *conn) greet() {
	if !c.greets {
		c.greets = true
		close(c.greeted)
	}
}

// signedIn takes note of auth:session.
func (c *conn) signedIn(args socketio.Args) {
	var session Session
	if args.Decode(0, &session) != nil || session.Connection == "" {
		return // another server's event of that name
	}
	c.mu.Lock()
	c.whole = true
	c.mu.Unlock()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.sending && c.session == nil {
		c.hangUp(&localError{errLate}, 1000)
	}
	c.session = &session
	if _, known := c.s.client.present(); known {
		return
	}
	c.user = session.User.ID
	if c.s.ownLocked(c.user) {
		c.hangUp(&localError{errAnotherUser}, 1000) // it was asked for the other's rooms
	}
}

// errLate is why a connection is made anew over which the queue was taken for
// somebody else's, or the server for a plain one.
var errLate = errors.New("client: the server said too late who it is")

// announced takes note of auth:closing: it says more than the close frame.
func (c *conn) announced(args socketio.Args) {
	var closing Closing
	if args.Decode(0, &closing) != nil || !closing.Code.Known() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closing = closing.err()
}

// connectError is the error of a CONNECT_ERROR packet.
func connectError(data json.RawMessage) error {
	var e struct {
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	_ = json.Unmarshal(data, &e)
	var d struct {
		Code       json.RawMessage `json:"code"`
		RetryAfter float64         `json:"retryAfter"`
	}
	_ = json.Unmarshal(e.Data, &d)
	code := holdfast.Code(refusal.Text(d.Code))
	if !code.Known() {
		code = codeOfMessage(e.Message)
	}
	return &holdfast.Error{Code: code, Message: e.Message, RetryAfter: refusal.Seconds(d.RetryAfter), Details: e.Data}
}
