package hub

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// maxListBytes bounds the list of who is in a room, in bytes of JSON: it must
// leave room in a Queue for what comes with it.
const maxListBytes = 256 << 10

// crowd is who is in a room. Rooms without anybody who counts have none. All of
// it is guarded by room.mu.
//
// A crowd that is too large is paused: members are not told of changes, since n
// users who come would be n lists of n users and n times n notices. What they
// were told last is still known by told and changed of each user, and by those
// who have gone but are kept until that is told; these are no more than were
// told, and so within what is bounded. When the crowd is small again, the
// differences are said as if they had just come about.
type crowd struct {
	users  []*present // sorted by user
	here   int        // how many of them have not gone
	bytes  int        // of the list of these
	told   int        // how many of users the others know of
	paused bool       // too large to tell members of each other
	hushed bool       // members think that it is
}

// present is a user who is in a room, or was a moment ago.
type present struct {
	user    string
	name    string
	data    json.RawMessage // not changed, only replaced
	members []*member       // his memberships that count, sorted by connection; none while leave runs
	leave   *time.Timer
	leaves  uint32 // tells a timer that is late from the one that counts
	conns   int32  // connections of members
	bytes   int32  // what he takes in a list; 0: he is in none
	told    bool   // the others know that he is here
	dirty   bool   // in talk.dirty
	changed bool   // what the others know of him is old
	gone    bool   // for good; in users until the others know
}

// find returns where in users the user is, or belongs.
func (c *crowd) find(user string) (int, bool) {
	return slices.BinarySearchFunc(c.users, user, func(p *present, user string) int { return strings.Compare(p.user, user) })
}

// forget takes a user off the crowd.
func (c *crowd) forget(p *present) {
	if i, found := c.find(p.user); found {
		c.users = slices.Delete(c.users, i, i+1)
	}
}

// known lists whom the others know of. Of their data nothing is known.
func (c *crowd) known() []Member {
	list := make([]Member, 0, c.told)
	for _, p := range c.users {
		if p.told {
			list = append(list, Member{ID: p.user, Name: p.name})
		}
	}
	return list
}

// place returns where among p.members those of a connection begin.
func (p *present) place(conn *connection) int {
	i, _ := slices.BinarySearchFunc(p.members, conn.id, func(m *member, id string) int { return strings.Compare(m.session.conn.id, id) })
	return i
}

// has reports whether the connection is at place i of p.members.
func (p *present) has(i int, conn *connection) bool {
	return i < len(p.members) && p.members[i].session.conn == conn
}

// add adds a membership. A connection that is in the room by several sessions
// counts once.
func (p *present) add(m *member) {
	i := p.place(m.session.conn)
	if !p.has(i, m.session.conn) {
		p.conns++
	}
	p.members = slices.Insert(p.members, i, m)
}

// remove takes a membership off, which is there.
func (p *present) remove(m *member) {
	first := p.place(m.session.conn)
	i := first
	for p.members[i] != m {
		i++
	}
	p.members = slices.Delete(p.members, i, i+1)
	if !p.has(first, m.session.conn) {
		p.conns--
	}
	if len(p.members) == 0 {
		p.members = nil
	}
}

// weight bounds what the user takes in a list, in bytes of JSON.
func (p *present) weight() int {
	return len(`{"id":"","name":"","data":,"connections":00},`) + quoted(p.user) + quoted(p.name) + escaped(string(p.data))
}

// escaped bounds the length that JSON has once it is fit for HTML, as
// encoding/json makes it.
func escaped(s string) int {
	n := len(s)
	for i := range len(s) {
		switch s[i] {
		case '<', '>', '&':
			n += 5
		case 0xE2: // may begin a line separator
			n += 3
		}
	}
	return n
}

// quoted bounds the length of a string in JSON, without the quotes.
func quoted(s string) int {
	n := escaped(s)
	for i := range len(s) {
		switch {
		case s[i] < 0x20, s[i] == 0x7F:
			n += 5
		case s[i] == '"', s[i] == '\\':
			n++
		}
	}
	return n
}

// count takes into account that a user came, went, or changed, and pauses the
// crowd or ends that. The end has a margin, so that one user who comes and goes
// does not have all of it told anew each time. mu is held.
func (r *room) count(p *present) {
	c, bytes := r.crowd, int32(0)
	if !p.gone {
		bytes = int32(p.weight())
	}
	switch {
	case p.bytes == 0 && bytes > 0:
		c.here++
	case p.bytes > 0 && bytes == 0:
		c.here--
	}
	c.bytes += int(bytes - p.bytes)
	p.bytes = bytes

	limit := r.hub.cfg.PresenceLimit
	switch {
	case limit < 0:
	case c.here > limit || c.bytes > maxListBytes:
		c.paused = true
	case c.paused && c.here <= limit-limit/10 && c.bytes <= maxListBytes-maxListBytes/10:
		c.paused = false
		for _, p := range c.users {
			r.touch(p)
		}
	}
}

// list lists who is in the room for a member, or, where they are too many, says
// how many they are. mu is held.
func (r *room) list() (list []Member, viewers int) {
	if r.crowd != nil && r.crowd.paused {
		return nil, r.crowd.here
	}
	return r.members(), 0
}

// members lists who is in the room. mu is held.
func (r *room) members() []Member {
	if r.crowd == nil {
		return []Member{}
	}
	return r.crowd.first(r.crowd.here, r.crowd.bytes)
}

// firstMembers lists as many of who is in the room as a list may have, and says
// how many there are. mu is held.
func (r *room) firstMembers() (list []Member, viewers int) {
	c, limit := r.crowd, r.hub.cfg.PresenceLimit
	switch {
	case c == nil:
		return []Member{}, 0
	case limit < 0:
		return r.members(), c.here
	}
	return c.first(limit, maxListBytes), c.here
}

// first lists the first users, at most so many and with so many bytes.
func (c *crowd) first(users, bytes int) []Member {
	list := make([]Member, 0, min(users, c.here))
	for _, p := range c.users {
		if p.gone {
			continue
		}
		if len(list) == users || int(p.bytes) > bytes {
			break
		}
		bytes -= int(p.bytes)
		list = append(list, Member{ID: p.user, Name: p.name, Data: p.data, Connections: int(p.conns)})
	}
	return list
}

// Members lists the users in a room, sorted by their ids: those with a
// connection there whose identity has the right to presence, and those whose
// last one went less than Config.PresenceGrace ago, with Connections 0. If they
// are more than Config.PresenceLimit, these are the first of them. The result's
// Data must not be changed.
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
	list, _ := m.room.firstMembers()
	return list, nil
}

// Members lists all users in a room, however many they are, as Session.Members
// does, without looking at rights; it is empty for a room that nobody is in.
// Errors: INVALID_ARGUMENT for a bad name, GOING_AWAY once the hub is closed;
// ctx's.
func (h *Hub) Members(ctx context.Context, name string) ([]Member, error) {
	list := []Member{}
	err := h.look(ctx, name, func(r *room) { list = r.members() })
	if err != nil {
		return nil, err
	}
	return list, nil
}

// FirstMembers is Members for who may get a list of bounded length only: as many
// users as Session.Members lists, and how many there are.
func (h *Hub) FirstMembers(ctx context.Context, name string) (list []Member, viewers int, err error) {
	list = []Member{}
	err = h.look(ctx, name, func(r *room) { list, viewers = r.firstMembers() })
	if err != nil {
		return nil, 0, err
	}
	return list, viewers, nil
}

// look calls f with the room, if there is one, and its mu held.
func (h *Hub) look(ctx context.Context, name string, f func(r *room)) error {
	if err := holdfast.CheckRoom(name); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	h.mu.Lock()
	r, closed := h.rooms[name], h.closed
	h.mu.Unlock()
	switch {
	case closed:
		return holdfast.GoingAway.New()
	case r != nil:
		r.mu.Lock()
		defer r.mu.Unlock()
		f(r)
	}
	return nil
}
