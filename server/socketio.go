package server

import (
	"bytes"
	"encoding/json"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/transport"
	"github.com/holdfast-dev/holdfast/socketio"
)

// socketIO is the protocol of docs/protocol.md §4.
type socketIO struct{}

func (socketIO) encoder(namespace string) hub.Encoder { return roomEncoder{namespace: namespace} }

func (s socketIO) receive(l *link, data []byte, binary bool) {
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
	if n := len(p.Attachments); n > 0 {
		// The last one aliases the transport's buffer, as the text of a packet
		// without attachments does.
		p.Attachments[n-1] = bytes.Clone(p.Attachments[n-1])
	}
	if refusal := l.overRate(); refusal != nil {
		if c := l.conn(p.Namespace); c != nil && p.HasID && isEvent(p) {
			c.answer(p.ID, socketio.Args{}, refusal, false)
			return
		}
		l.end(refusal)
		return
	}
	s.dispatch(l, p)
}

// dispatch does at once what can't take long, and leaves the rest to the
// queue of events, behind those that wait there.
func (s socketIO) dispatch(l *link, p socketio.Packet) {
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
		event, args, err := l.dec.Event(p)
		if err != nil {
			l.end(holdfast.AsError(err))
			return
		}
		j := job{packet: p, event: event, args: args}
		if l.quick(event) && l.mayRead() && (l.quickly == nil || !l.quickly.Hurried()) {
			if c := l.conn(p.Namespace); c != nil {
				s.run(c, j)
				return
			}
		}
		l.work.offer(l, j)
	case socketio.Connect, socketio.Disconnect:
		p.Data = bytes.Clone(p.Data)
		l.work.push(l, job{packet: p})
	default: // a client never sends CONNECT_ERROR
		l.end(holdfast.Errorf(holdfast.ProtocolError, "packet of a type that only servers send"))
	}
}

// quick reports whether an event waits for nothing but the broker.
func (l *link) quick(event string) bool {
	if l.srv.hooks.slow(event) {
		return false
	}
	switch event {
	case "auth:refresh":
		return false
	case "room:publish":
		return l.srv.ids.store == nil // which is asked for ids
	}
	return own(event)
}

// handle does the work of one queued packet.
func (s socketIO) handle(l *link, j job) {
	switch j.packet.Type {
	case socketio.Connect:
		l.emptyLane()
		s.connect(l, j.packet)
	case socketio.Disconnect:
		l.emptyLane()
		l.disconnect(j.packet.Namespace)
	default:
		if c := l.conn(j.packet.Namespace); c != nil {
			s.run(c, j)
			return
		}
		s.stray(l, j.packet)
	}
}

// stray is an event for a namespace that the connection is not in. After a
// refused CONNECT it is an emit that was sent along with it: the refusal has
// said all. Anything else breaks the protocol.
func (socketIO) stray(l *link, p socketio.Packet) {
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

func isEvent(p socketio.Packet) bool {
	return p.Type == socketio.Event || p.Type == socketio.BinaryEvent
}

// run handles one event of the client.
func (socketIO) run(c *Conn, j job) {
	p := j.packet
	args, id, badID := cutEventID(j.args)
	if own(j.event) {
		cmd, err := readCommand(j.event, args)
		if cmd.ID == "" {
			cmd.ID = id
		}
		if badID != nil {
			err = badID
		}
		reply := func(result any, err error) { c.reply(p, result, err) }
		if j.event == "room:join" && !p.HasID {
			reply = c.joinRefused(cmd)
		}
		if err != nil {
			reply(nil, err)
			return
		}
		if !c.link.setAside(&cmd, j) {
			c.do(c.Context(), cmd, reply)
		}
		return
	}
	h, ok := c.ns.handler(j.event)
	if !ok {
		c.answerIf(p, socketio.Args{}, errNoHandler(), false)
		return
	}
	if badID != nil {
		c.answerIf(p, socketio.Args{}, badID, false)
		return
	}
	out, err := c.callHandler(j.event, id, h, args)
	c.answerIf(p, out, err, h.raw)
}

// joinRefused tells a client that asked for no ack that it is not in the room.
func (c *Conn) joinRefused(cmd command) func(any, error) {
	return func(_ any, err error) {
		if err == nil {
			return
		}
		c.notify(notice{name: "room:error", room: cmd.Room, err: holdfast.AsError(err)})
	}
}

// readCommand reads the payload of one of Holdfast's own events.
func readCommand(event string, args socketio.Args) (command, error) {
	cmd := command{attachments: args.Attachments}
	if len(args.Values) == 0 || args.Values[0][0] != '{' {
		return cmd, holdfast.Errorf(holdfast.InvalidArgument, "%s needs an object as its payload", event)
	}
	if err := cmd.readJSON(args.Values[0]); err != nil {
		return cmd, invalidPayload(event, err)
	}
	cmd.name = event
	return cmd, nil
}

// reply answers one of Holdfast's own events, if an ack was asked for.
func (c *Conn) reply(p socketio.Packet, result any, err error) {
	if !p.HasID {
		return
	}
	var out socketio.Args
	if err == nil && result != nil {
		out, err = socketio.NewArgs(result)
	}
	c.answer(p.ID, out, err, false)
}

// answerIf answers an event of the application, if an ack was asked for.
func (c *Conn) answerIf(p socketio.Packet, out socketio.Args, err error, raw bool) {
	if p.HasID {
		c.sendLast(c.ack(p.ID, out, err, raw))
	}
}

// answer sends an ack.
func (c *Conn) answer(id uint64, out socketio.Args, err error, raw bool) {
	c.Send(c.ack(id, out, err, raw))
}

func (c *Conn) ack(id uint64, out socketio.Args, err error, raw bool) *hub.Frame {
	switch {
	case err != nil:
		return ackFrame(c.ns.name, id, refusalArgs(err))
	case raw:
		return ackFrame(c.ns.name, id, out)
	}
	return acceptedFrame(c.ns.name, id, out)
}

func refusalArgs(err error) socketio.Args {
	return socketio.Args{Values: []json.RawMessage{refusal(err)}}
}

func ackFrame(namespace string, id uint64, args socketio.Args) *hub.Frame {
	size := 2
	for _, v := range args.Values {
		size += len(v) + 1
	}
	text := beginAck(namespace, id, args.Attachments, size)
	return transport.FrameIn(args.AppendArray(text), args.Attachments...)
}

// acceptedFrame is the positive ack of a typed handler, whose result is wrapped.
func acceptedFrame(namespace string, id uint64, out socketio.Args) *hub.Frame {
	const before, behind = `[{"ok":true,"data":`, `}]`
	data := json.RawMessage("null")
	if len(out.Values) > 0 {
		data = out.Values[0]
	}
	text := beginAck(namespace, id, out.Attachments, len(before)+len(data)+len(behind))
	text = append(append(append(text, before...), data...), behind...)
	return transport.FrameIn(text, out.Attachments...)
}

// beginAck returns what goes before the arguments of an ack, and has space for
// size bytes more.
func beginAck(namespace string, id uint64, attachments [][]byte, size int) []byte {
	p := socketio.Packet{Type: socketio.Ack, Namespace: namespace, ID: id, HasID: true, Attachments: attachments}
	return p.Append(append(make([]byte, transport.HeaderSpace, transport.HeaderSpace+1+24+len(namespace)+size), '4'))
}
