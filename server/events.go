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
	case "room:join", "room:leave", "room:publish", "room:signal", "presence:update", "presence:get", "typing", "auth:refresh":
		return true
	}
	return false
}

func errNoHandler() *holdfast.Error {
	return holdfast.Errorf(holdfast.NotFound, "there is no handler for this event")
}

// callHandler calls an application's handler with data that fits; id is the
// client's own of the event, "" for none.
func (c *Conn) callHandler(event, id string, h handler, args socketio.Args) (socketio.Args, error) {
	if err := c.checkData(args); err != nil {
		return socketio.Args{}, err
	}
	c.link.emptyLane()
	out, err := c.handleOnce(event, id, h, args)
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
	Key         string             `json:"key"`
	Presence    json.RawMessage    `json:"presence"`
	ID          string             `json:"id"`
	Token       string             `json:"token"`
	attachments [][]byte
	prompt      bool // to be published without waiting for a room that is behind
}

// joinResult is the answer to room:join.
type joinResult struct {
	Room      string `json:"room"`
	Epoch     string `json:"epoch"`
	Offset    uint64 `json:"offset"`
	Recovered *bool  `json:"recovered,omitempty"`
	// Presence is there for those who may see it, empty or not; but where there
	// are too many users, it is Viewers that is there.
	Presence []hub.Member `json:"presence,omitzero"`
	Viewers  int          `json:"viewers,omitempty"`
}

// do carries a command out and replies once: with one of a few structs, a list
// of them, nil for null, or an error. The reply to a join has its place between the replay
// and the live events.
func (c *Conn) do(ctx context.Context, cmd command, reply func(result any, err error)) {
	switch cmd.name {
	case "room:join":
		if err := cmd.noBinary(); err != nil {
			reply(nil, err)
			return
		}
		if cmd.Since != nil {
			if err := cmd.Since.Check(); err != nil {
				reply(nil, err)
				return
			}
		}
		o := hub.JoinOptions{Since: cmd.Since}
		if string(cmd.Presence) != "null" {
			o.Presence = cmd.Presence
		}
		_, err := c.join(ctx, cmd.Room, o, func(j hub.Joined) {
			reply(joinResult{Room: j.Room, Epoch: j.Position.Epoch, Offset: j.Position.Offset, Recovered: j.Recovered, Presence: j.Members, Viewers: j.Viewers}, nil)
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
		c.link.srv.metrics.refused(atPublish, err)
		reply(position, err)
	case "room:signal":
		reply(nil, c.signal(ctx, cmd))
	case "presence:update":
		err := cmd.noBinary()
		if err == nil {
			err = c.session.SetPresence(ctx, cmd.Room, cmd.Data)
		}
		reply(nil, err)
	case "presence:get":
		members, err := c.session.Members(ctx, cmd.Room)
		reply(members, err)
	case "typing":
		reply(nil, c.session.Typing(ctx, cmd.Room))
	case "auth:refresh":
		result, err := c.link.refresh(cmd.Token)
		reply(result, err)
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
	return c.link.srv.publish(ctx, publication{
		event: holdfast.Event{Room: cmd.Room, Name: cmd.Event, Data: cmd.Data, Attachments: cmd.attachments, ID: cmd.ID},
		conn:  c, identity: c.Identity(), prompt: cmd.prompt,
	})
}
