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
	p := j.packet
	if own(j.event) {
		cmd, err := readCommand(j.event, j.args)
		reply := func(result any, err error) { c.reply(p, result, err) }
		if j.event == "room:join" && !p.HasID {
			reply = c.joinRefused(cmd)
		}
		if err != nil {
			reply(nil, err)
			return
		}
		c.do(c.Context(), cmd, reply)
		return
	}
	h, ok := c.ns.handler(j.event)
	if !ok {
		c.answerIf(p, socketio.Args{}, errNoHandler(), false)
		return
	}
	out, err := c.callHandler(j.event, h, j.args)
	c.answerIf(p, out, err, h.raw)
}

func errNoHandler() error {
	return holdfast.Errorf(holdfast.NotFound, "there is no handler for this event")
}

// callHandler calls an application's handler with data that fits.
func (c *Conn) callHandler(event string, h handler, args socketio.Args) (socketio.Args, error) {
	if err := c.checkData(args); err != nil {
		return socketio.Args{}, err
	}
	out, err := c.link.srv.serve(c.Context(), c, event, h, args)
	if err != nil {
		if e := holdfast.AsError(err); e.Code == holdfast.Internal && e.Err != nil {
			c.link.srv.log.Error("event failed", "connection", c.link.id, "err", e.Err)
		}
	}
	return out, err
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

// command is one of Holdfast's own events, whatever protocol it came by.
type command struct {
	name        string
	Room        string             `json:"room"`
	Since       *holdfast.Position `json:"since"`
	Event       string             `json:"event"`
	Data        json.RawMessage    `json:"data"`
	ID          string             `json:"id"`
	Token       string             `json:"token"`
	attachments [][]byte
}

// readCommand reads the payload of one of Holdfast's own events.
func readCommand(event string, args socketio.Args) (command, error) {
	cmd := command{attachments: args.Attachments}
	if len(args.Values) == 0 || args.Values[0][0] != '{' {
		return cmd, holdfast.Errorf(holdfast.InvalidArgument, "%s needs an object as its payload", event)
	}
	if err := json.Unmarshal(args.Values[0], &cmd); err != nil {
		return cmd, invalidPayload(event, err)
	}
	cmd.name = event
	return cmd, nil
}

// joinResult is the answer to room:join.
type joinResult struct {
	Room      string `json:"room"`
	Epoch     string `json:"epoch"`
	Offset    uint64 `json:"offset"`
	Recovered *bool  `json:"recovered,omitempty"`
}

// do carries a command out and replies once: with one of a few structs, nil
// for null, or an error. The reply to a join has its place between the replay
// and the live events.
func (c *Conn) do(ctx context.Context, cmd command, reply func(result any, err error)) {
	switch cmd.name {
	case "room:join":
		_, err := c.session.Join(ctx, cmd.Room, hub.JoinOptions{Since: cmd.Since}, func(j hub.Joined) {
			reply(joinResult{Room: j.Room, Epoch: j.Position.Epoch, Offset: j.Position.Offset, Recovered: j.Recovered}, nil)
		})
		if err != nil {
			reply(nil, err)
		}
	case "room:leave":
		err := holdfast.CheckRoom(cmd.Room)
		if err == nil {
			c.session.Leave(cmd.Room)
		}
		reply(nil, err)
	case "room:publish":
		position, err := c.publish(ctx, cmd)
		reply(position, err)
	case "auth:refresh":
		result, err := c.link.refresh(cmd.Token)
		reply(result, err)
	}
}

// joinRefused tells a client that asked for no ack that it is not in the room.
func (c *Conn) joinRefused(cmd command) func(any, error) {
	return func(_ any, err error) {
		if err == nil {
			return
		}
		e := holdfast.AsError(err)
		c.emitJSON("room:error", roomError{Room: cmd.Room, Code: e.Code, Message: e.PublicMessage()})
	}
}

func (c *Conn) publish(ctx context.Context, cmd command) (holdfast.Position, error) {
	if len(cmd.attachments) > 0 {
		// Every attachment must be in the data that goes out again, or what
		// the members get would not parse.
		if err := socketio.CheckPlaceholders(cmd.Data, len(cmd.attachments)); err != nil {
			return holdfast.Position{}, holdfast.Errorf(holdfast.InvalidArgument, "room:publish: binary parts are only allowed in data")
		}
	}
	return c.session.Publish(ctx, &holdfast.Event{
		Room: cmd.Room, Name: cmd.Event, Data: cmd.Data, Attachments: cmd.attachments, ID: cmd.ID, From: c.Identity().User,
	})
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
