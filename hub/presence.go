package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// MaxPresence bounds a user's presence data in a room, in bytes.
const MaxPresence = 4 << 10

// maxPresenceDepth is how many arrays and objects of it may be open at once. In
// an answer it is inside some more, and all of them must not be more than the 32
// that a reader takes.
const maxPresenceDepth = 24

// crowd is who is in a room. Rooms without anybody who counts have none. All of
// it is guarded by room.mu.
type crowd struct {
	users []*present // sorted by user
	told  int        // how many of them the others know of
}

// present is a user who is in a room, or was a moment ago.
type present struct {
	user    string
	name    string
	data    json.RawMessage // not changed, only replaced
	members []*member       // his memberships that count; none while leave runs
	leave   *time.Timer
	leaves  uint32 // tells a timer that is late from the one that counts
	told    bool   // the others know that he is here
	dirty   bool   // in talk.dirty
	changed bool   // what the others know of him is old
	gone    bool   // for good; in users until the others know
}

// checkPresence returns why data can't be presence data. Empty data and null
// are good, and stand for none.
func checkPresence(data json.RawMessage) error {
	if len(data) > MaxPresence {
		return holdfast.Errorf(holdfast.MessageTooLarge, "Presence data is larger than %d bytes", MaxPresence)
	}
	if len(data) == 0 {
		return nil
	}
	if err := jsonscan.Check(data, jsonscan.Limits{Depth: maxPresenceDepth}); err != nil {
		return &holdfast.Error{Code: holdfast.InvalidArgument, Message: "Presence data must be JSON, at most 24 deep", Err: err}
	}
	return nil
}

// find returns where in users the user is, or belongs.
func (c *crowd) find(user string) (int, bool) {
	return slices.BinarySearchFunc(c.users, user, func(p *present, user string) int { return strings.Compare(p.user, user) })
}

// present returns the membership's user, who is there. mu is held.
func (r *room) present(m *member) *present {
	i, _ := r.crowd.find(m.session.conn.user)
	return r.crowd.users[i]
}

// enter makes a join's user present, which it stays until the membership ends
// or the right is lost, and returns who is in the room, if the session may
// know. data nil leaves what the user has.
func (r *room) enter(m *member, data json.RawMessage) []Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.entered = true
	verbs := r.review(m)
	if m.counts && data != nil {
		r.setData(m, data)
	}
	if m.hidden || !verbs.Has(holdfast.VerbPresence) {
		return nil
	}
	list := r.members()
	if m.counts {
		i := slices.IndexFunc(r.talk.waiting, func(v view) bool { return v.member == m })
		r.talk.waiting[i].list = list
	}
	return list
}

// memberList lists who is in the room, for a member who may know; else nil.
func (r *room) memberList(m *member) []Member {
	may := !m.hidden && m.session.Identity().Permissions.Room(r.name).Has(holdfast.VerbPresence)
	if !may {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.members()
}

// review makes the membership count as its session's identity says now, which
// it returns the verbs of. mu is held; it is taken before Session.mu.
func (r *room) review(m *member) holdfast.Verb {
	id := m.session.Identity()
	verbs := id.Permissions.Room(r.name)
	if !m.entered {
		return verbs
	}
	counts := !m.hidden && id.User != "" && id.User == m.session.conn.user && verbs.Has(holdfast.VerbJoin|holdfast.VerbPresence)
	switch {
	case counts:
		r.arrive(m, id.Name)
	case m.counts:
		r.depart(m)
		r.watch(m)
	}
	return verbs
}

// arrive makes a membership count for its user. mu is held.
func (r *room) arrive(m *member, name string) {
	if r.crowd == nil {
		r.crowd = new(crowd)
	}
	user := m.session.conn.user
	i, found := r.crowd.find(user)
	if !found {
		r.crowd.users = slices.Insert(r.crowd.users, i, &present{user: user, name: name})
	}
	p := r.crowd.users[i]
	p.gone = false
	if p.leave != nil {
		r.stopLeave(p)
	}
	if p.name != name {
		p.name, p.changed = name, true
	}
	if !m.counts {
		m.counts = true
		p.members = append(p.members, m)
		r.watch(m)
	}
	r.touch(p)
}

// depart ends that a membership counts. With the user's last one the time
// begins after which he has gone. mu is held.
func (r *room) depart(m *member) {
	m.counts = false
	m.sees.CompareAndSwap(seesAll, seesLeaves)
	p := r.present(m)
	p.members = slices.DeleteFunc(p.members, func(other *member) bool { return other == m })
	if len(p.members) > 0 {
		return
	}
	p.members = nil
	h := r.hub
	h.wg.Add(1) // the room has the hub waiting already
	p.leaves++
	leave := p.leaves
	p.leave = time.AfterFunc(h.cfg.PresenceGrace, func() {
		defer h.wg.Done()
		r.expire(p, leave)
	})
}

// stopLeave ends a leave's time, for a user who is back or a room that is
// closed. mu is held.
func (r *room) stopLeave(p *present) {
	if p.leave.Stop() {
		r.hub.wg.Done()
	}
	p.leave = nil
}

// expire is the end of the time that a user had to come back.
func (r *room) expire(p *present, leave uint32) {
	r.mu.Lock()
	if r.dead || p.leave == nil || p.leaves != leave {
		r.mu.Unlock()
		return
	}
	p.leave = nil
	p.gone = true
	p.changed = p.changed || len(p.data) > 0
	p.data = nil
	r.touch(p)
	r.stir()
}

// withdraw takes an ending membership out of presence. mu is held.
func (r *room) withdraw(m *member) {
	m.entered = false
	if m.counts {
		r.depart(m)
	}
	m.sees.Store(seesNothing)
	r.unwatch(m)
}

// abandon ends presence with the room. mu is held.
func (r *room) abandon() {
	if r.crowd != nil {
		for _, p := range r.crowd.users {
			if p.leave != nil {
				r.stopLeave(p)
			}
		}
	}
	r.crowd, r.talk = nil, nil
}

// setData sets the data of the membership's user, which counts. mu is held.
func (r *room) setData(m *member, data json.RawMessage) {
	p := r.present(m)
	if string(data) == "null" {
		data = nil
	}
	if bytes.Equal(p.data, data) {
		return
	}
	p.data = bytes.Clone(data) // it may alias a larger message
	p.changed = true
	r.touch(p)
}

// members lists who is in the room. mu is held.
func (r *room) members() []Member {
	if r.crowd == nil {
		return []Member{}
	}
	list := make([]Member, 0, len(r.crowd.users))
	for _, p := range r.crowd.users {
		if !p.gone {
			list = append(list, Member{ID: p.user, Name: p.name, Data: p.data, Connections: p.connections()})
		}
	}
	return list
}

// connections counts a connection once that is in the room by several sessions.
func (p *present) connections() int {
	n := 0
	for i, m := range p.members {
		if !slices.ContainsFunc(p.members[:i], func(other *member) bool { return other.session.conn == m.session.conn }) {
			n++
		}
	}
	return n
}

// SetPresence sets the data that the session's user shows in a room, JSON of at
// most 4 KiB, for all his connections: the last call wins. Empty data, or null,
// takes it away. It lasts until the user has gone from the room. The others who
// may see presence there get a NoticeUpdate, if it changed.
//
// Errors: INVALID_ARGUMENT for a bad name or data that is no JSON,
// MESSAGE_TOO_LARGE, FORBIDDEN for a session that is not in the room, is hidden
// or anonymous, or has no right to presence; GOING_AWAY when it is closed; ctx's.
func (s *Session) SetPresence(ctx context.Context, room string, data json.RawMessage) error {
	if err := checkPresence(data); err != nil {
		return err
	}
	m, err := s.live(ctx, room)
	if err != nil {
		return err
	}
	r := m.room
	r.mu.Lock()
	if !m.counts {
		r.mu.Unlock()
		return errNoPresence()
	}
	r.setData(m, data)
	r.stir()
	return nil
}

// Members lists the users in a room, sorted by their ids: those with a
// connection there whose identity has the right to presence, and those whose
// last one went less than Config.PresenceGrace ago, with Connections 0. The
// result's Data must not be changed.
//
// Errors: INVALID_ARGUMENT for a bad name, FORBIDDEN for a session that is not
// in the room or has no right to presence there, GOING_AWAY when it is closed;
// ctx's.
func (s *Session) Members(ctx context.Context, room string) ([]Member, error) {
	m, err := s.live(ctx, room)
	if err != nil {
		return nil, err
	}
	if !s.Identity().Permissions.Room(room).Has(holdfast.VerbPresence) {
		return nil, errNoPresence()
	}
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return m.room.members(), nil
}

// Members lists the users in a room as Session.Members does, without looking at
// rights; it is empty for a room that nobody is in. Errors: INVALID_ARGUMENT for
// a bad name, GOING_AWAY once the hub is closed; ctx's.
func (h *Hub) Members(ctx context.Context, room string) ([]Member, error) {
	if err := holdfast.CheckRoom(room); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	h.mu.Lock()
	r, closed := h.rooms[room], h.closed
	h.mu.Unlock()
	switch {
	case closed:
		return nil, holdfast.GoingAway.New()
	case r == nil:
		return []Member{}, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.members(), nil
}

// live returns the session's membership in a room that it has joined.
func (s *Session) live(ctx context.Context, room string) (*member, error) {
	if err := holdfast.CheckRoom(room); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.member(room)
	switch {
	case s.closed:
		return nil, errClosed()
	case m == nil || m.phase != phaseLive:
		return nil, holdfast.Errorf(holdfast.Forbidden, "Not in this room: join it first")
	}
	return m, nil
}

func errNoPresence() *holdfast.Error {
	return holdfast.Errorf(holdfast.Forbidden, "Not allowed to take part in this room's presence")
}
