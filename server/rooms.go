package server

import (
	"context"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// publication is an event that somebody wants to publish.
type publication struct {
	event    holdfast.Event
	conn     *Conn              // by which it came; nil for HTTP and the application
	identity *holdfast.Identity // who wants to; nil for a backend and the application
}

// publish is the one way of events into rooms: over every transport, from
// backends, and from the application.
func (s *Server) publish(ctx context.Context, p publication) (holdfast.Position, error) {
	if p.identity != nil {
		p.event.From = p.identity.User
		if err := mayPublish(p.identity, p.event.Room); err != nil {
			return holdfast.Position{}, err
		}
	}
	if p.conn != nil {
		return p.conn.session.Publish(ctx, &p.event)
	}
	return s.hub.Publish(ctx, &p.event)
}

// join is the one way of a connection into a room.
func (c *Conn) join(ctx context.Context, room string, o hub.JoinOptions, ready func(hub.Joined)) (hub.Joined, error) {
	if err := c.link.srv.mayJoin(ctx, c, c.Identity(), room); err != nil {
		return hub.Joined{}, err
	}
	return c.session.Join(ctx, room, o, ready)
}

// mayJoin reports why identity can't hear what is said in a room; conn is nil
// where it would only read, over HTTP.
func (s *Server) mayJoin(_ context.Context, _ *Conn, identity *holdfast.Identity, room string) error {
	if err := holdfast.CheckRoom(room); err != nil {
		return err
	}
	if !identity.Permissions.Room(room).Has(holdfast.VerbJoin) {
		return holdfast.Errorf(holdfast.Forbidden, "Not allowed in this room")
	}
	return nil
}

// mayPublish reports why identity can't publish in a room.
func mayPublish(identity *holdfast.Identity, room string) error {
	if err := holdfast.CheckRoom(room); err != nil {
		return err
	}
	if !identity.Permissions.Room(room).Has(holdfast.VerbPublish) {
		return holdfast.Errorf(holdfast.Forbidden, "Not allowed to publish in this room")
	}
	return nil
}
