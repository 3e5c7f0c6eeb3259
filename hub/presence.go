package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
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

// present returns the membership's user, who is there. mu is held.
func (r *room) present(m *member) *present {
	i, _ := r.crowd.find(m.session.conn.user)
	return r.crowd.users[i]
}

// enter makes a join's user present, which it stays until the membership ends
// or the right is lost, and returns who is in the room, or how many where they
// are too many, if the session may know. data nil leaves what the user has.
func (r *room) enter(m *member, data json.RawMessage) (list []Member, viewers int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	m.entered = true
	verbs := r.review(m)
	if m.counts && data != nil {
		r.setData(m, data)
	}
	if m.hidden || !verbs.Has(holdfast.VerbPresence) {
		return nil, 0
	}
	list, viewers = r.list()
	if m.counts {
		if m.paused = list == nil; !m.paused {
			answer := list
			m.answer = &answer
		}
	}
	return list, viewers
}

// memberList is what the answer to a join shows of who is in the room, for a
// member who may know.
func (r *room) memberList(m *member) (list []Member, viewers int) {
	may := !m.hidden && m.session.Identity().Permissions.Room(r.name).Has(holdfast.VerbPresence)
	if !may {
		return nil, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list, viewers = r.list()
	if list == nil && m.counts && !m.paused {
		m.paused = true // and is told when that ends, should it end before the others hear of it
		r.watch(m)
	}
	return list, viewers
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
		p.add(m)
		r.watch(m)
	}
	r.count(p)
	r.touch(p)
}

// depart ends that a membership counts. With the user's last one the time
// begins after which he has gone. mu is held.
func (r *room) depart(m *member) {
	m.counts = false
	m.sees.CompareAndSwap(seesAll, seesLeaves)
	p := r.present(m)
	if p.remove(m); len(p.members) > 0 {
		return
	}
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
	if !p.told {
		r.crowd.forget(p) // nobody needs to hear of him
		r.unsay(p)
	}
	if r.count(p); p.told {
		r.touch(p)
	}
	r.tidy()
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
	r.count(p)
	r.touch(p)
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
