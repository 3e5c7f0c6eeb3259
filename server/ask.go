package server

import (
	"bytes"
	"context"
	"encoding/json"
	"runtime/debug"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/socketio"
)

// afterwards bounds each call of a function that is told of something.
const afterwards = 10 * time.Second

// ask calls a function of the application that may refuse. A panic is
// INTERNAL, and so is any error without a code.
func (s *Server) ask(what string, fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("hook panicked", "hook", what, "panic", panicText(v), "stack", string(debug.Stack()))
			err = holdfast.Internal.New()
		}
	}()
	if err = fn(); err == nil {
		return nil
	}
	e := holdfast.AsError(err)
	if e.Code == holdfast.Internal && e.Err != nil {
		s.log.Error("hook failed", "hook", what, "err", e.Err)
	}
	return e
}

// tell calls a function of the application that can't refuse. ctx gives its
// values; when it ends does not matter.
func (s *Server) tell(ctx context.Context, what string, fn func(context.Context)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	defer context.AfterFunc(s.giveUp, cancel)()
	_ = s.ask(what, func() error { fn(ctx); return nil }) // can only be a panic, which is logged
}

// slow reports whether the program may be asked about one of Holdfast's own
// events, so that the reader must not wait for it.
func (h *hooks) slow(event string) bool {
	set := h.set.Load()
	if set == nil {
		return false
	}
	switch event {
	case "room:join":
		return len(set.join)+len(set.observers) > 0
	case "room:publish":
		return len(set.publish)+len(set.observers) > 0
	}
	return false
}

// askJoin asks the OnJoin functions about j, which gets the presence data that
// they choose.
func (s *Server) askJoin(ctx context.Context, set hookSet, j *Join) error {
	for _, fn := range set.join {
		asked := *j
		if err := s.ask("join", func() error { return fn(ctx, &asked) }); err != nil {
			return err
		}
		if bytes.Equal(asked.Presence, j.Presence) {
			continue
		}
		if len(asked.Presence) > hub.MaxPresence || asked.Presence != nil && !json.Valid(asked.Presence) {
			return s.badHook("join", holdfast.Errorf(holdfast.InvalidArgument, "presence data must be JSON of at most %d bytes", hub.MaxPresence))
		}
		j.Presence = asked.Presence
	}
	return nil
}

// askPublish asks the OnPublish functions about p, whose event becomes what
// they make of it.
func (s *Server) askPublish(ctx context.Context, set hookSet, p *publication) error {
	if err := s.hub.Check(&p.event); err != nil {
		return err
	}
	for _, fn := range set.publish {
		asked := p.event
		if err := s.ask("publish", func() error {
			return fn(ctx, &Publish{Conn: p.conn, Identity: p.identity, Event: &asked})
		}); err != nil {
			return err
		}
		p.event.Name, p.event.Data, p.event.Attachments = asked.Name, asked.Data, asked.Attachments
		if err := s.checkChanged(&p.event); err != nil {
			return s.badHook("publish", err)
		}
	}
	return nil
}

// checkChanged reports what is wrong with an event that the program has had in
// its hands.
func (s *Server) checkChanged(ev *holdfast.Event) error {
	if ev.Data != nil && !json.Valid(ev.Data) {
		return holdfast.Errorf(holdfast.InvalidArgument, "the event's data is no JSON")
	}
	if n := len(ev.Attachments); n > 0 {
		if err := socketio.CheckPlaceholders(ev.Data, n); err != nil {
			return err
		}
	}
	return s.hub.Check(ev)
}

// badHook is the answer to somebody who did nothing wrong.
func (s *Server) badHook(what string, err error) error {
	s.log.Error("hook made something that can't be", "hook", what, "err", err)
	return holdfast.Internal.New()
}

// published tells the observers of an event that was appended.
func (s *Server) published(ctx context.Context, set hookSet, p *publication, position holdfast.Position) {
	for _, o := range set.observers {
		if o.Published == nil {
			continue
		}
		ev := p.event
		ev.Position = position
		s.tell(ctx, "published", func(ctx context.Context) {
			o.Published(ctx, Publish{Conn: p.conn, Identity: p.identity, Event: &ev})
		})
	}
}

// hooked puts the program's part into a join: it is asked before, and told
// when the connection is in, which is before it can be told that it is out.
func (c *Conn) hooked(set hookSet, room string, o hub.JoinOptions, ready func(hub.Joined)) (hub.JoinOptions, func(hub.Joined)) {
	// As it was where the application has been asked already; Ask looks again.
	j := Join{Conn: c, Identity: c.Identity(), Room: room, Since: o.Since, Presence: o.Presence}
	o.Ask = func(ctx context.Context, o *hub.JoinOptions) error {
		j.Identity, j.Presence = c.Identity(), o.Presence
		err := c.link.srv.askJoin(ctx, set, &j)
		o.Presence = j.Presence
		return err
	}
	return o, func(joined hub.Joined) {
		if !joined.Already {
			j.Position = joined.Position
			c.tellJoined(set, j)
		}
		if ready != nil {
			ready(joined)
		}
	}
}

func (c *Conn) tellJoined(set hookSet, j Join) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, o := range set.observers {
		if o.Joined != nil {
			c.push("joined", func(ctx context.Context) { o.Joined(ctx, j) })
		}
	}
}
