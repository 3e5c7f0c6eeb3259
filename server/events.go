package server

import (
	"context"
	"encoding/json"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/socketio"
)

// own are the events that Holdfast itself answers, in every namespace.
func own(event string) bool {
	switch event {
	case "room:join", "room:leave", "room:publish", "auth:refresh":
		return true
	}
	return false
}

// run handles one event of the client.
func (c *Conn) run(j job) {
	ctx, p, event, args := c.Context(), j.packet, j.event, j.args
	if own(event) {
		c.command(ctx, p, event, args)
		return
	}
	h, ok := c.ns.handler(event)
	if !ok {
		if p.HasID {
			c.answer(p.ID, socketio.Args{}, holdfast.Errorf(holdfast.NotFound, "there is no handler for this event"), false)
		}
		return
	}
	if err := c.checkData(args); err != nil {
		c.answerIf(p, socketio.Args{}, err, false)
		return
	}
	out, err := c.link.srv.serve(ctx, c, event, h, args)
	c.answerIf(p, out, err, h.raw)
}

// checkData refuses an event whose data is over the limit; the connection
// stays.
func (c *Conn) checkData(args socketio.Args) error {
	size := 0
	for _, v := range args.Values {
		size += len(v)
	}
	for _, a := range args.Attachments {
		size += len(a)
	}
	if limit := c.link.srv.cfg.MaxEventData; size > limit {
		return holdfast.Errorf(holdfast.MessageTooLarge, "the event's data is %d bytes; %d are allowed", size, limit)
	}
	return nil
}

// joinResult is the ack of room:join.
type joinResult struct {
	Room      string `json:"room"`
	Epoch     string `json:"epoch"`
	Offset    uint64 `json:"offset"`
	Recovered *bool  `json:"recovered,omitempty"`
}

// command answers one of Holdfast's own events.
func (c *Conn) command(ctx context.Context, p socketio.Packet, event string, args socketio.Args) {
	var payload json.RawMessage
	if len(args.Values) > 0 {
		payload = args.Values[0]
	}
	var result any // one of a few structs; nil is null
	var err error
	switch event {
	case "room:join":
		c.join(ctx, p, payload)
		return // has answered, in its place between replay and live events
	case "room:leave":
		var in struct {
			Room string `json:"room"`
		}
		if err = decode(event, payload, &in); err == nil {
			if err = holdfast.CheckRoom(in.Room); err == nil {
				c.session.Leave(in.Room)
			}
		}
	case "room:publish":
		result, err = c.publish(ctx, payload, args.Attachments)
	case "auth:refresh":
		var in struct {
			Token string `json:"token"`
		}
		if err = decode(event, payload, &in); err == nil {
			result, err = c.link.refresh(in.Token)
		}
	}
	c.reply(p, result, err)
}

func (c *Conn) join(ctx context.Context, p socketio.Packet, payload json.RawMessage) {
	var in struct {
		Room  string             `json:"room"`
		Since *holdfast.Position `json:"since"`
	}
	err := decode("room:join", payload, &in)
	if err == nil {
		_, err = c.session.Join(ctx, in.Room, hub.JoinOptions{Since: in.Since}, func(j hub.Joined) {
			c.reply(p, joinResult{Room: j.Room, Epoch: j.Position.Epoch, Offset: j.Position.Offset, Recovered: j.Recovered}, nil)
		})
	}
	if err == nil {
		return
	}
	if p.HasID {
		c.reply(p, nil, err)
		return
	}
	e := holdfast.AsError(err)
	c.emitJSON("room:error", roomError{Room: in.Room, Code: e.Code, Message: e.PublicMessage()})
}

func (c *Conn) publish(ctx context.Context, payload json.RawMessage, attachments [][]byte) (holdfast.Position, error) {
	var in publication
	if err := decode("room:publish", payload, &in); err != nil {
		return holdfast.Position{}, err
	}
	if len(attachments) > 0 {
		// Every attachment must be in the data that goes out again, or what
		// the members get would not parse.
		if err := socketio.CheckPlaceholders(in.Data, len(attachments)); err != nil {
			return holdfast.Position{}, holdfast.Errorf(holdfast.InvalidArgument, "room:publish: binary parts are only allowed in data")
		}
	}
	ev := in.event(in.Room)
	ev.Attachments = attachments
	ev.From = c.Identity().User
	return c.session.Publish(ctx, ev)
}

// publication is the payload of room:publish; over HTTP without the room.
type publication struct {
	Room  string          `json:"room"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
	ID    string          `json:"id"`
}

func (in publication) event(room string) *holdfast.Event {
	return &holdfast.Event{Room: room, Name: in.Event, Data: in.Data, ID: in.ID}
}

// decode reads the payload of one of Holdfast's own events.
func decode[T any](event string, payload json.RawMessage, into *T) error {
	if len(payload) == 0 || payload[0] != '{' {
		return holdfast.Errorf(holdfast.InvalidArgument, "%s needs an object as its payload", event)
	}
	if err := json.Unmarshal(payload, into); err != nil {
		return invalidPayload(event, err)
	}
	return nil
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

func (c *Conn) answerIf(p socketio.Packet, out socketio.Args, err error, raw bool) {
	if err != nil {
		if e := holdfast.AsError(err); e.Code == holdfast.Internal && e.Err != nil {
			c.link.srv.log.Error("event failed", "connection", c.link.id, "err", e.Err)
		}
	}
	if p.HasID {
		c.answer(p.ID, out, err, raw)
	}
}

// answer sends an ack.
func (c *Conn) answer(id uint64, out socketio.Args, err error, raw bool) {
	switch {
	case err != nil:
		out = refusalArgs(err)
	case !raw:
		out = accepted(out)
	}
	c.Send(ackFrame(c.ns.name, id, out))
}

func refusalArgs(err error) socketio.Args {
	return socketio.Args{Values: []json.RawMessage{refusal(err)}}
}

func ackFrame(namespace string, id uint64, args socketio.Args) *hub.Frame {
	return packetFrame(socketio.Packet{
		Type: socketio.Ack, Namespace: namespace, ID: id, HasID: true,
		Data: args.AppendArray(make([]byte, 0, 64)), Attachments: args.Attachments,
	})
}
