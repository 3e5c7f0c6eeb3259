package server

import (
	"encoding/json"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/jsonws"
	"github.com/holdfast-dev/holdfast/internal/transport"
	"github.com/holdfast-dev/holdfast/socketio"
)

// plainWS is the protocol of docs/protocol.md §5: one JSON object a message,
// for clients written by hand. A connection is in the namespace "/" alone.
type plainWS struct{ form textForm }

// plainJob is a message that waits for its turn; a nil message is the
// credential of the handshake.
type plainJob struct {
	message *jsonws.Message
	err     *holdfast.Error
}

func (p plainWS) encoder(string) hub.Encoder { return p.form.encoder() }

// plainEncoder encodes room events for plain WebSockets.
type plainEncoder struct{}

func (plainEncoder) Encode(ev *holdfast.Event) *hub.Frame {
	text, err := jsonws.AppendEvent(make([]byte, 0, len(ev.Data)+256), ev)
	if err != nil {
		return nil // attachments that don't fit: no publish path lets them in
	}
	return transport.NewTextFrame(text)
}

func (p plainWS) receive(l *link, data []byte, _ bool) {
	own := append([]byte(nil), data...) // the message aliases it, and waits
	m, err := p.form.parse(own)
	if over := l.overRate(); over != nil {
		if m.Ref == nil {
			l.end(over)
			return
		}
		p.fail(l, &m, over)
		return
	}
	l.work.offer(l, job{plain: &plainJob{message: &m, err: holdfast.AsError(err)}, packet: socketio.Packet{Data: own}})
}

func (p plainWS) handle(l *link, j job) {
	m := j.plain.message
	switch c := l.conn("/"); {
	case m == nil:
		p.admit(l, l.credential(nil), nil)
	case j.plain.err != nil:
		p.fail(l, m, j.plain.err)
	case m.Type == jsonws.TypePing:
		l.eio.Send(transport.NewTextFrame(p.form.answer(m, nil, nil)))
	case c != nil:
		p.message(c, j)
	case m.Type == jsonws.TypeAuth:
		credential := l.credential(nil)
		credential.Token = m.Token
		if m.Token == "" {
			p.refuse(l, holdfast.Unauthenticated.New())
			return
		}
		p.admit(l, credential, m)
	default:
		p.refuse(l, holdfast.Unauthenticated.New())
	}
}

// hasCredential reports whether the handshake carried something to be
// admitted by; a client without waits for its first message.
func hasCredential(s *Server, r *transport.Request) bool {
	if r.Header.Get("Authorization") != "" || s.cfg.AllowQueryToken && r.URL.Query().Get("token") != "" {
		return true
	}
	return s.hasSession(s.credentialHeader(r.Header))
}

// admit lets the client in by a credential, that of m if there is one, or ends
// the connection.
func (p plainWS) admit(l *link, credential auth.Credential, m *jsonws.Message) {
	l.mu.Lock()
	l.life.pause()
	l.mu.Unlock()
	identity, err := l.authenticate(credential)
	if err == nil {
		err = l.admit(l.srv.Namespace, nil, identity, func(c *Conn) []*hub.Frame {
			frames := []*hub.Frame{p.notice(c, notice{name: "auth:session", expiry: expiryOf(identity)})}
			if m != nil && m.Ref != nil {
				frames = append(frames, p.okFrame(m, marshal(expiryOf(identity))))
			}
			return frames
		})
	}
	if err != nil {
		p.refuse(l, holdfast.AsError(err))
	}
}

// refuse ends a connection that was not admitted: the client sees the code in
// a message and in the close, since the handshake itself always succeeds.
func (p plainWS) refuse(l *link, err *holdfast.Error) {
	if !l.delayRefusal(err.Code) {
		return
	}
	p.fail(l, nil, err)
	l.end(err)
}

// message handles a message of a client that is admitted.
func (p plainWS) message(c *Conn, j job) {
	m := j.plain.message
	cmd := command{Room: m.Room, Since: m.Since, Presence: m.Presence, Event: m.Event, Data: m.Data, Key: m.Key, ID: m.ID, Token: m.Token}
	switch m.Type {
	case jsonws.TypeJoin:
		cmd.name = "room:join"
	case jsonws.TypeLeave:
		cmd.name = "room:leave"
	case jsonws.TypePublish:
		cmd.name = "room:publish"
	case jsonws.TypeSignal:
		cmd.name = "room:signal"
	case jsonws.TypePresence:
		cmd.name = "presence:update"
	case jsonws.TypeTyping:
		cmd.name = "typing"
	case jsonws.TypeAuth:
		cmd.name = "auth:refresh"
	case jsonws.TypePresenceGet:
		cmd.name = "presence:get"
	case jsonws.TypeEvent:
		p.handleEvent(c, m)
		return
	}
	if !own(cmd.name) {
		p.fail(c.link, m, holdfast.Errorf(holdfast.NotFound, "this server does not serve messages of this type"))
		return
	}
	if c.link.setAside(&cmd, j) {
		return
	}
	c.do(c.Context(), cmd, func(result any, err error) {
		if err != nil {
			p.fail(c.link, m, holdfast.AsError(err))
			return
		}
		if m.Type == jsonws.TypeAuth {
			c.notify(notice{name: "auth:session", expiry: expiryOf(c.Identity())})
		}
		if m.Ref != nil {
			c.Send(p.okFrame(m, marshal(result)))
		}
	})
}

// handleEvent hands an event to the application's handler.
func (p plainWS) handleEvent(c *Conn, m *jsonws.Message) {
	h, ok := c.ns.handler(m.Event)
	if !ok {
		p.fail(c.link, m, errNoHandler())
		return
	}
	var args socketio.Args
	if m.Data != nil {
		args.Values = []json.RawMessage{m.Data}
	}
	out, err := c.callHandler(m.Event, m.ID, h, args)
	if err == nil {
		out, err = out.Portable()
	}
	if err != nil {
		p.fail(c.link, m, holdfast.AsError(err))
		return
	}
	if m.Ref == nil {
		return
	}
	c.sendLast(p.okFrame(m, single(out)))
}

// fail answers a message that can't be served, nil for the handshake; the
// connection stays.
func (p plainWS) fail(l *link, m *jsonws.Message, err *holdfast.Error) {
	l.eio.Send(transport.NewTextFrame(p.form.answer(m, nil, err)))
}

// event makes a message of an event that the application sends.
func (p plainWS) event(c *Conn, name string, args socketio.Args, ack *uint64) (*hub.Frame, error) {
	if ack != nil {
		return nil, holdfast.Errorf(holdfast.InvalidArgument, "clients of the plain WebSocket do not acknowledge")
	}
	args, err := args.Portable()
	if err != nil {
		return nil, err
	}
	return transport.NewTextFrame(p.form.emit(name, single(args))), nil
}

func (p plainWS) notice(c *Conn, n notice) *hub.Frame {
	return transport.NewTextFrame(p.form.notice(c, n))
}

// single puts arguments, which have no binary parts, where there is room for
// one value: several become an array.
func single(args socketio.Args) json.RawMessage {
	switch len(args.Values) {
	case 0:
		return json.RawMessage("null")
	case 1:
		return args.Values[0]
	}
	return args.AppendArray(nil)
}

func (p plainWS) okFrame(m *jsonws.Message, data json.RawMessage) *hub.Frame {
	return transport.NewTextFrame(p.form.answer(m, data, nil))
}

// marshal encodes one of the answers of Conn.do, which always can be.
func marshal(v any) json.RawMessage {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // of strings and numbers alone: can't be
	}
	return data
}
