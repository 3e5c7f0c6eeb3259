package hub

import (
	"context"

	"github.com/holdfast-dev/holdfast"
)

// Publish appends ev to its room and returns its position. Members of the room
// get it, in this process and wherever the broker reaches. ev is not changed
// or kept; Position and Time are the broker's to set, in its own copy.
//
// With an ID, publishing is idempotent for each (From, Scope, Room): a repeat appends
// nothing and returns the first position, for as long as the broker remembers.
//
// Rights are the caller's business (see Session.Publish), and so is that Data
// is JSON. Errors: INVALID_ARGUMENT for bad or reserved names,
// MESSAGE_TOO_LARGE over Config.MaxData, GOING_AWAY once closed, ctx's, and
// the broker's, after which the event may have been appended or not.
func (h *Hub) Publish(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error) {
	if err := h.checkEvent(ev); err != nil {
		return holdfast.Position{}, err
	}
	if h.ctx.Err() != nil {
		return holdfast.Position{}, holdfast.GoingAway.New()
	}
	return h.append(ctx, ev)
}

// Publish publishes as the session's user: it needs the right to publish in
// the room (FORBIDDEN), not membership, and sets From and Scope in a copy of
// ev. The Scope of a session without a user is its connection: it must not be
// taken for a backend, whose events a repeated ID would keep away. Otherwise it
// is as Hub.Publish.
func (s *Session) Publish(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error) {
	if err := s.hub.checkEvent(ev); err != nil {
		return holdfast.Position{}, err
	}
	s.mu.Lock()
	id, closed := s.identity, s.closed
	s.mu.Unlock()
	if closed || s.hub.ctx.Err() != nil {
		return holdfast.Position{}, errClosed()
	}
	if !id.Permissions.Room(ev.Room).Has(holdfast.VerbPublish) {
		return holdfast.Position{}, holdfast.Errorf(holdfast.Forbidden, "Not allowed to publish in this room")
	}
	scope := ""
	if id.User == "" {
		scope = s.conn.id
	}
	if ev.From != id.User || ev.Scope != scope {
		own := *ev
		own.From, own.Scope = id.User, scope
		ev = &own
	}
	return s.hub.append(ctx, ev)
}

// append gives an event that was checked to the broker, and counts it.
func (h *Hub) append(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error) {
	position, err := h.broker.Publish(ctx, ev)
	if err == nil {
		h.stats.published.Add(1)
	}
	return position, err
}

func (h *Hub) checkEvent(ev *holdfast.Event) error {
	if err := holdfast.CheckRoom(ev.Room); err != nil {
		return err
	}
	if err := holdfast.CheckPublish(ev.Name); err != nil {
		return err
	}
	if err := holdfast.CheckEventID(ev.ID); err != nil {
		return err
	}
	size := len(ev.Data)
	for _, a := range ev.Attachments {
		size += len(a)
	}
	if size > h.cfg.MaxData {
		return holdfast.Errorf(holdfast.MessageTooLarge, "The event's data is larger than %d bytes", h.cfg.MaxData)
	}
	return nil
}

// History reads a room's history, as Broker.History: what is strictly after
// since, or with since nil the newest events; at most limit of them if that is
// over 0. Rights are the caller's business.
func (h *Hub) History(ctx context.Context, room string, since *holdfast.Position, limit int) (History, error) {
	if err := holdfast.CheckRoom(room); err != nil {
		return History{}, err
	}
	if h.ctx.Err() != nil {
		return History{}, holdfast.GoingAway.New()
	}
	return h.broker.History(ctx, room, since, limit)
}
