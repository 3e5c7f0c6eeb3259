package server

import (
	"context"
	"crypto/rand"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// publication is an event that somebody wants to publish.
type publication struct {
	event    holdfast.Event
	conn     *Conn              // by which it came; nil for HTTP and the application
	identity *holdfast.Identity // who wants to; nil for a backend and the application
	own      bool               // the application itself speaks: it isn't asked
	prompt   bool               // the room was not behind a moment ago, and the reader must not wait
}

// publish is the one way of events into rooms: over every transport, from
// backends, and from the application.
func (s *Server) publish(ctx context.Context, p publication) (holdfast.Position, error) {
	var by pipe
	if p.conn != nil {
		by = p.conn.link.eio
	}
	ctx, op := s.begin(ctx, spanPublish, by)
	position, err := s.publishAs(ctx, p)
	s.metrics.published(op.end(err), err)
	return position, err
}

// publishAs checks who publishes, and whether he did so before.
func (s *Server) publishAs(ctx context.Context, p publication) (holdfast.Position, error) {
	if p.identity != nil {
		p.event.From = p.identity.User
		if p.event.From == "" && p.conn == nil {
			p.event.Scope = rand.Text() // nothing tells this caller from another one
		}
		if err := mayPublish(p.identity, p.event.Room); err != nil {
			return holdfast.Position{}, err
		}
	}
	if p.event.ID != "" {
		return s.publishOnce(ctx, p)
	}
	return s.publishNow(ctx, p)
}

// publishNow publishes what is no repeat, if the application allows it.
func (s *Server) publishNow(ctx context.Context, p publication) (holdfast.Position, error) {
	set := s.hooks.load()
	if len(set.publish) > 0 && !p.own {
		if err := s.askPublish(ctx, set, &p); err != nil {
			return holdfast.Position{}, err
		}
	}
	position, err := s.append(ctx, &p)
	if err == nil && len(set.observers) > 0 {
		s.published(ctx, set, &p, position)
	}
	return position, err
}

// append hands an event to the hub, when there is room for it. What the program
// itself has to say is held up, but not refused: it may not look at the error.
func (s *Server) append(ctx context.Context, p *publication) (holdfast.Position, error) {
	if !p.prompt {
		if p.conn != nil && s.hub.Behind(p.event.Room) {
			p.conn.link.letRead()
		}
		done, err := s.hub.MakeWay(ctx, p.event.Room)
		if err == nil {
			defer done()
		} else if !p.own || ctx.Err() != nil {
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
	ctx, op := c.link.srv.begin(ctx, spanJoin, c.link.eio)
	joined, err := c.joinNow(ctx, room, o, ready)
	op.end(err)
	c.link.srv.metrics.refused(atJoin, err)
	return joined, err
}

func (c *Conn) joinNow(ctx context.Context, room string, o hub.JoinOptions, ready func(hub.Joined)) (hub.Joined, error) {
	if err := mayHear(c.Identity(), room); err != nil {
		return hub.Joined{}, err
	}
	return c.joinAllowed(ctx, room, o, ready, false)
}

// joinAllowed is join for who may hear the room. asked: the application has
// been asked already.
func (c *Conn) joinAllowed(ctx context.Context, room string, o hub.JoinOptions, ready func(hub.Joined), asked bool) (hub.Joined, error) {
	if err := c.enter(ctx); err != nil {
		return hub.Joined{}, err
	}
	if set := c.link.srv.hooks.load(); len(set.join)+len(set.observers) > 0 {
		o, ready = c.hooked(set, room, o, ready)
		if asked {
			o.Ask = nil
		}
	}
	joined, err := c.session.Join(ctx, room, o, ready)
	if err != nil || joined.Already {
		c.exit()
	}
	return joined, err
}

// mayJoin reports why j.Identity can't hear what is said in j.Room; j.Conn is
// nil where it would only read, over HTTP.
func (s *Server) mayJoin(ctx context.Context, j *Join) error {
	if err := mayHear(j.Identity, j.Room); err != nil {
		return err
	}
	return s.askJoin(ctx, s.hooks.load(), j)
}

// mayHear reports why identity has no right to hear what is said in a room.
func mayHear(identity *holdfast.Identity, room string) error {
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
