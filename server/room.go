package server

import (
	"context"
	"encoding/json"
	"iter"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// historyPage is how many events one reading of a room's history fetches.
const historyPage = 100

// Room is a room as the program sees it: no rights are checked, and OnJoin and
// OnPublish functions are not asked. It is a small value and no state: two of
// one name are the same room, whether anybody was ever in it or not. All
// methods may be called from any goroutine.
type Room struct {
	srv    *Server
	name   string
	from   string
	except string
}

// Room returns the room with this name. What is wrong with the name is the
// error of the first call that needs it.
func (s *Server) Room(name string) Room { return Room{srv: s, name: name} }

// To is Room, where it reads better: srv.To("todos").Except(c).Publish(…).
func (s *Server) To(room string) Room { return s.Room(room) }

// To returns the room for the connection to speak to the others in it: what is
// published is from its user, and the connection itself is not sent it. It
// need not be in the room.
func (c *Conn) To(room string) Room {
	return Room{srv: c.link.srv, name: room, from: c.Identity().User, except: c.ID()}
}

// Name returns the room's name.
func (r Room) Name() string { return r.name }

// Except returns the room, to publish what c is not sent as it happens, in none
// of its namespaces. There can be one such connection: of two, the last counts.
// The event has its place in the room's order and history all the same, so that
// c sees it when it joins again and resumes from before it.
func (r Room) Except(c *Conn) Room {
	r.except = c.ID()
	return r
}

// Publish appends an event to the room and sends it to the members: see
// Server.Publish.
func (r Room) Publish(ctx context.Context, event string, data any) (holdfast.Position, error) {
	encoded, err := json.Marshal(data)
	if err != nil {
		return holdfast.Position{}, holdfast.Errorf(holdfast.InvalidArgument, "publish %s: %w", event, err)
	}
	return r.srv.PublishEvent(ctx, holdfast.Event{Room: r.name, Name: event, Data: encoded, From: r.from, Except: r.except})
}

// Members lists the users who are in the room by connections to this process
// and have the right to be seen there, all of them, sorted by id. The list is the
// caller's, the bytes of the data are shared.
func (r Room) Members(ctx context.Context) ([]hub.Member, error) {
	return r.srv.hub.Members(ctx, r.name)
}

// Conns yields the connections of this process that are in the room, in no
// particular order; one that is in it in two namespaces comes twice. Those that
// join or leave meanwhile may be among them or not.
func (r Room) Conns() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for c := range r.srv.Conns() {
			if c.session.In(r.name) && !yield(c) {
				return
			}
		}
	}
}

// Conns yields the connections of this process, those that are admitted, one
// for each namespace, in no particular order. Those that come or go meanwhile
// may be among them or not.
func (s *Server) Conns() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, l := range s.all() {
			l.mu.Lock()
			conns := append([]*Conn(nil), l.conns...)
			l.mu.Unlock()
			for _, c := range conns {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// HistoryOptions choose what of a room's history is read. The zero value reads
// all that is kept.
type HistoryOptions struct {
	// Since asks for what comes strictly after it; nil: from the oldest event
	// that is kept.
	Since *holdfast.Position
	// Limit bounds how many events there are: the first ones after Since, or the
	// newest ones without it. 0: no limit.
	Limit int
}

// History yields the room's events in order, up to the one that was the newest
// when it began: of what is published meanwhile there is nothing. With Since it
// is read in pages as it goes; without, at once. The events' bytes are shared:
// do not change them.
//
// An error is the last that it yields. NOT_FOUND: the history does not go on
// from Since, or from where it was read last, without a gap, because it is of
// another epoch or was kept no longer; begin again without Since.
// INVALID_ARGUMENT: the name or Since is bad. Else it is ctx's or the broker's.
func (r Room) History(ctx context.Context, o HistoryOptions) iter.Seq2[holdfast.Event, error] {
	return func(yield func(holdfast.Event, error) bool) {
		if o.Since == nil {
			page, err := r.srv.hub.History(ctx, r.name, nil, max(o.Limit, 0))
			if err != nil {
				yield(holdfast.Event{}, err)
				return
			}
			for _, ev := range page.Events {
				if !yield(*ev, nil) {
					return
				}
			}
			return
		}
		if err := r.since(ctx, *o.Since, o.Limit, yield); err != nil {
			yield(holdfast.Event{}, err)
		}
	}
}

// since yields what comes after a position; an error is still to be yielded.
func (r Room) since(ctx context.Context, since holdfast.Position, limit int, yield func(holdfast.Event, error) bool) error {
	if err := since.Check(); err != nil {
		return err
	}
	var end holdfast.Position
	for first := true; ; first = false {
		count := historyPage
		if limit > 0 {
			count = min(count, limit)
		}
		page, err := r.srv.hub.History(ctx, r.name, &since, count)
		if err != nil {
			return err
		}
		if first {
			end = page.Position
		}
		if !page.Recovered || page.Position.Epoch != end.Epoch {
			return holdfast.Errorf(holdfast.NotFound, "The room's history does not go on from there")
		}
		for _, ev := range page.Events {
			if ev.Position.Offset > end.Offset || !yield(*ev, nil) {
				return nil
			}
			since = ev.Position
		}
		if limit > 0 {
			if limit -= len(page.Events); limit <= 0 {
				return nil
			}
		}
		if len(page.Events) < count || since.Offset >= end.Offset {
			return nil
		}
	}
}
