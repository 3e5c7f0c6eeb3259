package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
)

// Figures of rooms.
const (
	// joinWindow is how many joins are under way at once after a reconnect.
	joinWindow = 32
	// joinRenewals is how many refusals in a row, each after the token was
	// renewed, keep the socket out of a room for good.
	joinRenewals = 5
)

// room is what the holders of a room share. Guarded by the socket's mu.
type room struct {
	name    string
	holders []*Room
	waiting []waiter // Joins that wait for the server's word

	position *holdfast.Position // of the last event in the inbox; nil: never joined
	member   bool               // of the room, on the present connection
	asked    bool               // a join is under way on the present connection
	settled  bool               // it was a member once, or was joined before Connect
	tries    int                // refusals in a row
	renewals int                // how many of them the token was renewed for

	presence json.RawMessage // what others are to see; nil: nothing was set
	told     json.RawMessage // what the server was told, on the present connection
	typed    time.Time       // when it was told that this user types
	typers   map[string]*time.Timer
}

// waiter is a Join under way.
type waiter struct {
	holder *Room
	asking *asking
	answer chan error // has room for the one answer
}

// Join enters a room and returns this holder's part of it: see Room. It waits
// until the server has answered, over reconnects, or until ctx ends, which takes
// the join back. A refusal is returned (as *holdfast.Error) and not tried again.
//
// A Join before the first Connect, or after the socket has stopped, returns at
// once: the room is joined when the socket is connected, and a refusal is told
// to OnLeft. After Close, Join returns ErrClosed.
func (s *Socket) Join(ctx context.Context, name string, o JoinOptions) (*Room, error) {
	if err := holdfast.CheckRoom(name); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h := &Room{s: s, name: name}
	h.registry.log = s.registry.log
	if o.OnEvent != nil {
		h.OnAny(o.OnEvent)
	}
	if o.OnReset != nil {
		h.OnReset(o.OnReset)
	}
	if o.OnLeft != nil {
		h.OnLeft(o.OnLeft)
	}
	if o.OnPresence != nil {
		h.OnPresence(o.OnPresence)
	}
	var presence json.RawMessage
	if o.Presence != nil {
		raw, err := json.Marshal(o.Presence)
		if err != nil {
			return nil, holdfast.Errorf(holdfast.InvalidArgument, "presence: %w", err)
		}
		presence = raw
	}

	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	if user, known := s.client.present(); known {
		s.ownLocked(user)
	}
	r := s.rooms[name]
	if r == nil {
		r = &room{name: name}
		if o.Since != nil {
			since := *o.Since
			r.position = &since
		}
		s.rooms[name] = r
	}
	r.holders = append(slices.Clip(r.holders), h)
	if r.position != nil {
		h.position = *r.position
	}
	s.appearLocked(r, presence)
	if r.member || s.run == nil {
		r.settled = true
		s.mu.Unlock()
		return h, nil
	}
	answer := make(chan error, 1)
	var err error
	a := s.asking(ctx)
	defer a.end()
	r.waiting = append(r.waiting, waiter{h, a, answer})
	if s.conn != nil {
		s.askLocked(s.conn, r)
	}
	s.mu.Unlock()

	select {
	case err := <-answer:
		if err != nil {
			return nil, err
		}
		return h, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-a.cut():
		err = errBehind
	}
	s.mu.Lock()
	r.waiting = slices.DeleteFunc(r.waiting, func(w waiter) bool { return w.holder == h })
	s.leaveLocked(h)
	s.mu.Unlock()
	return nil, err
}

// appearLocked notes what a Join says of this user.
func (s *Socket) appearLocked(r *room, presence json.RawMessage) {
	if presence == nil {
		return
	}
	r.presence = presence
	if r.member && s.conn != nil {
		s.presentLocked(s.conn, r, nil)
	}
}

// Leave ends this holder's part of the room: its handlers are called no more,
// but for one that is running. When the last holder leaves, the server is told,
// without waiting for its answer; where there is no connection there is nothing
// to tell. A second Leave does nothing. It always returns nil.
func (r *Room) Leave() error {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.s.leaveLocked(r)
	return nil
}

func (s *Socket) leaveLocked(h *Room) {
	if h.left.Swap(true) {
		return
	}
	r := s.rooms[h.name]
	if r == nil {
		return
	}
	if !r.drop(h) || len(r.holders) > 0 {
		return
	}
	delete(s.rooms, r.name)
	r.quiet()
	if c := s.conn; c != nil {
		c.forgetRetry(r)
		if r.member || r.asked {
			if c.leaving == nil {
				c.leaving = make(map[string]bool)
			}
			c.leaving[r.name] = true
			c.askNow("room:leave", roomName{r.name}, func(socketio.Args, error) { s.leftRoom(c, r.name) })
		}
	}
}

// drop takes a holder out and reports whether it was in.
func (r *room) drop(h *Room) bool {
	i := slices.Index(r.holders, h)
	if i < 0 {
		return false
	}
	r.holders = slices.Concat(r.holders[:i], r.holders[i+1:]) // others may be reading the old one
	return true
}

// leftRoom notes that the server has seen the leaving of a room: from here on
// its events belong to a later join.
func (s *Socket) leftRoom(c *conn, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(c.leaving, name)
	if r := s.rooms[name]; r != nil && s.conn == c {
		s.askLocked(c, r)
	}
}

type roomName struct {
	Room string `json:"room"`
}

// holders returns who is to hear of a room.
func (s *Socket) holders(r *room) []*Room {
	s.mu.Lock()
	defer s.mu.Unlock()
	return r.holders
}

// up makes an admitted connection the present one and comes back into the rooms.
func (s *Socket) up(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = c
	if _, known := s.client.present(); known {
		s.ownLocked(c.user)
	}
	s.setLocked(Change{State: Connected})
	select {
	case <-c.run.up:
	default:
		close(c.run.up)
	}
	for _, r := range s.rooms {
		r.member, r.asked, r.tries, r.renewals, r.told, r.typed = false, false, 0, 0, nil, time.Time{}
	}
	s.askMoreLocked(c)
}

// askMoreLocked asks to join the rooms that are not asked for yet, so many
// that joinWindow are under way.
func (s *Socket) askMoreLocked(c *conn) {
	under := 0
	for _, r := range s.rooms {
		if r.asked {
			under++
		}
	}
	for _, r := range s.rooms {
		if under >= joinWindow {
			return
		}
		if !r.member && !r.asked && c.retries[r] == nil && !c.leaving[r.name] {
			s.askLocked(c, r)
			under++
		}
	}
}

// askLocked asks to join one room; not while the server has yet to see that it
// was left, for its events till then could not be told from those of this join.
func (s *Socket) askLocked(c *conn, r *room) {
	if r.asked || r.member || c.leaving[r.name] || c.retries[r] != nil {
		return
	}
	if c.told && s.owned && s.owner != c.user {
		return // the next connection will be theirs
	}
	r.asked = true
	ask := struct {
		Room     string             `json:"room"`
		Since    *holdfast.Position `json:"since,omitempty"`
		Presence json.RawMessage    `json:"presence,omitempty"`
	}{r.name, r.position, r.presence}
	r.told = r.presence
	c.askNow("room:join", ask, func(args socketio.Args, err error) { s.joined(c, r, args, err) })
}

// joinAck is the data of the ack of room:join.
type joinAck struct {
	Room      string    `json:"room"`
	Recovered *bool     `json:"recovered"`
	Presence  []Present `json:"presence"`
	holdfast.Position
}

// joined handles the server's word on a join.
func (s *Socket) joined(c *conn, r *room, args socketio.Args, err error) {
	var ack joinAck
	if err == nil {
		args, err = unwrap(args)
	}
	if err == nil {
		err = args.Decode(0, &ack)
	}
	if err == nil && ack.Epoch == "" {
		err = holdfast.Errorf(holdfast.ProtocolError, "room %q: the server gave no position", r.name)
	}
	if errors.Is(err, ErrConnectionLost) {
		return // the next connection asks again
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != c || s.rooms[r.name] != r || !r.asked {
		return // left meanwhile
	}
	r.asked = false
	defer s.askMoreLocked(c)
	if err != nil {
		s.refusedLocked(c, r, err)
		return
	}
	r.member, r.settled, r.tries, r.renewals = true, true, 0, 0
	missed := ack.Recovered != nil && !*ack.Recovered
	s.settleLocked(r, ack.Position, missed)
	s.presentLocked(c, r, ack.Presence)
	r.answer(nil)
}

// presentLocked tells who is in a room that was entered, and the server what
// was set meanwhile.
func (s *Socket) presentLocked(c *conn, r *room, users []Present) {
	if users != nil {
		d := &delivery{event: presenceEvent, presence: &PresenceEvent{Room: r.name, Kind: PresenceSync, Users: users}}
		s.inbox.pushNow(item{d: d, room: r, notice: true, size: itemCost * (1 + len(users))})
	}
	if !bytes.Equal(r.told, r.presence) {
		r.told = r.presence
		c.askNow("presence:update", presenceUpdate{r.name, r.presence}, func(socketio.Args, error) {})
	}
}

// settleLocked notes where a room stands after a join.
func (s *Socket) settleLocked(r *room, at holdfast.Position, missed bool) {
	before := r.position
	if before != nil && !missed && before.Epoch == at.Epoch && before.Offset > at.Offset {
		return // what was seen was seen
	}
	r.position = &at
	if before == nil {
		for _, h := range r.holders {
			h.advance(at)
		}
		return
	}
	d := &delivery{event: movedEvent, meta: metaAt(r.name, at)}
	if missed {
		d.event = resetEvent
	}
	s.inbox.pushNow(item{d: d, room: r, notice: true, size: itemCost})
}

// movedEvent only carries a position past the events before it.
const movedEvent = "\x00moved"

func metaAt(room string, at holdfast.Position) *meta {
	return &meta{Room: room, Epoch: at.Epoch, Offset: &at.Offset}
}

// refusedLocked handles a refused join: the first one is the joiner's to hear
// of; a room that the socket was in is asked for again only where the server
// says that it may work later, and then until it does: a server that is busy for
// minutes after a restart must not cost anybody a room.
func (s *Socket) refusedLocked(c *conn, r *room, err error) {
	r.tries++
	again := false
	if refusal, ok := errors.AsType[*holdfast.Error](err); ok && r.settled {
		rules := rules{cfg: s.cfg, random: randomFraction, attempts: r.tries}
		switch refusal.Code.Info().Action {
		case holdfast.ActionWait, holdfast.ActionReconnect:
			again = true
		case holdfast.ActionRefresh, holdfast.ActionRefreshOnce:
			r.renewals++
			again = r.renewals <= joinRenewals && c.refreshLocked(refusal)
		}
		if again {
			wait := rules.backoff(refusal)
			if c.retries == nil {
				c.retries = make(map[*room]*time.Timer)
			}
			c.retries[r] = time.AfterFunc(wait, func() { s.retry(c, r) })
			return
		}
	}
	s.expelLocked(r, err)
}

// retry asks for a room once more.
func (s *Socket) retry(c *conn, r *room) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != c || c.retries[r] == nil {
		return
	}
	delete(c.retries, r)
	if s.rooms[r.name] == r {
		s.askLocked(c, r)
	}
}

// forgetRetry stops a room's retry. The caller holds s.mu.
func (c *conn) forgetRetry(r *room) {
	if t := c.retries[r]; t != nil {
		t.Stop()
		delete(c.retries, r)
	}
}

// expelLocked takes the socket out of a room and tells everybody why.
func (s *Socket) expelLocked(r *room, err error) {
	delete(s.rooms, r.name)
	r.member, r.asked = false, false
	r.quiet()
	r.answer(err)
	if r.settled {
		s.inbox.pushNow(item{d: &delivery{event: leftEvent, err: err}, room: r, notice: true, size: itemCost})
	}
}

// removed handles room:left.
func (s *Socket) removed(c *conn, args socketio.Args) {
	var left struct {
		Room    string        `json:"room"`
		Code    holdfast.Code `json:"code"`
		Message string        `json:"message"`
	}
	if args.Decode(0, &left) != nil || left.Room == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.rooms[left.Room]; r != nil && s.conn == c && r.member {
		s.expelLocked(r, &holdfast.Error{Code: left.Code, Message: left.Message})
	}
}

// expected looks at an event of a room before it goes to the handlers: whose
// it is (nil if the socket has not joined that room), and whether it is new.
func (s *Socket) expected(c *conn, m *meta) (r *room, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r = s.rooms[m.Room]
	if r == nil || s.conn != c || !r.member && !r.asked {
		return nil, true
	}
	at := r.position
	if at != nil && at.Epoch == m.Epoch && *m.Offset <= at.Offset {
		return r, false
	}
	return r, true
}

// arrived notes that an event is in the inbox: a rejoin asks for what follows.
func (s *Socket) arrived(r *room, at holdfast.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.position == nil {
		r.position = new(holdfast.Position)
	}
	*r.position = at
}

// down takes note that a connection is gone.
func (s *Socket) down(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range c.retries {
		c.forgetRetry(r)
	}
	if s.conn != c {
		return
	}
	s.conn = nil
	for _, r := range s.rooms {
		r.member, r.asked = false, false
	}
}

// dropWaitingLocked ends the Joins that wait, when the socket stops.
func (s *Socket) dropWaitingLocked(err error) {
	for name, r := range s.rooms {
		r.answer(err)
		if len(r.holders) == 0 {
			r.quiet()
			delete(s.rooms, name)
		}
	}
}

// dropLocked forgets all rooms, for good.
func (s *Socket) dropLocked(err error) {
	s.dropWaitingLocked(err)
	for _, r := range s.rooms {
		r.quiet()
	}
	clear(s.rooms)
}

// answer tells the Joins that wait; with an error they hold nothing.
func (r *room) answer(err error) {
	for _, w := range r.waiting {
		if err != nil {
			r.drop(w.holder)
		}
		w.asking.end()
		w.answer <- err
	}
	r.waiting = nil
}

// current returns the connection to send on, nil if there is none.
func (s *Socket) current() *conn {
	s.mu.Lock()
	c := s.conn
	s.mu.Unlock()
	if c != nil && !s.ours(c) {
		return nil // somebody else has signed in: nothing goes out in the old name
	}
	return c
}
