package hub

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/holdfast-dev/holdfast"
)

// Session is one admitted peer: it joins rooms and publishes. It is safe for
// concurrent use.
type Session struct {
	// Static after Open.
	hub     *Hub
	id      string
	conn    *connection
	sink    Sink
	encoder Encoder
	left    func(room string, err *holdfast.Error)
	ended   func(room string, err *holdfast.Error)

	mu sync.Mutex
	// Guarded by mu, as are the fields of members that say so.
	identity *holdfast.Identity
	members  []*member
	closed   bool
}

// member is a session's membership in a room, or its way into one.
type member struct {
	session *Session
	room    *room

	// Guarded by Session.mu.
	pending *pendingJoin  // while phase is joining
	wait    chan struct{} // closed when phase is live, or the membership over; made by who waits
	phase   phase
	hidden  bool // it only listens; static

	// Guarded by room.mu.
	parked  bool   // in room.joining, but only until an event after served
	entered bool   // from the answer to its join until it is taken out
	counts  bool   // its user is present by it, and it may see who else is
	paused  bool   // its client knows that it is not told of changes of presence
	watched bool   // its client's picture is still to be made what it may see: see show
	queued  bool   // in talk.views for that
	group   *group // nil unless live in it
	buffer  *joinBuffer
	notes   []note        // said since the answer to its join, to be sent by that; at most maxNotes
	answer  *[]Member     // while watched: what the answer to its join showed, if it did
	index   int32         // in group.live
	sees    atomic.Uint32 // a sight; read without the lock by who fans out
	served  uint64        // up to where the member was served when its join was done
}

// phase is where a membership stands. Whoever moves it from live to leaving
// ends it; as long as it is joining, only its Join does.
type phase uint8

const (
	phaseJoining phase = iota
	phaseLive
	phaseLeaving
)

// pendingJoin is what others need to stop a join. Guarded by Session.mu.
type pendingJoin struct {
	cancel func(error)     // nil until the join has a context
	cause  *holdfast.Error // set: the join was stopped
	tell   bool            // Left must hear of cause if the peer thinks that it is in
}

// ID returns the session's id.
func (s *Session) ID() string { return s.id }

// Identity returns who the session is now. It is never nil.
func (s *Session) Identity() *holdfast.Identity {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.identity
}

// Rooms returns the rooms that the session is in, in no particular order.
func (s *Session) Rooms() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.members))
	for _, m := range s.members {
		if m.phase == phaseLive {
			names = append(names, m.room.name)
		}
	}
	return names
}

// member returns the membership in a room, in whatever phase. mu is held.
func (s *Session) member(room string) *member {
	for _, m := range s.members {
		if m.room.name == room {
			return m
		}
	}
	return nil
}

// Leave leaves a room, or stops a join under way; nothing happens if the
// session is not in it. An event whose fan-out had begun may still be sent
// just after Leave returned, but not after a later Join's replay or ready.
func (s *Session) Leave(room string) {
	s.mu.Lock()
	m := s.member(room)
	ended := m != nil && s.end(m, errLeft(), false)
	s.mu.Unlock()
	if ended {
		s.over(m, nil)
		s.finish(m)
	}
}

// end moves a membership on its way out. It reports whether the caller must
// finish it once mu is released. mu is held.
func (s *Session) end(m *member, cause *holdfast.Error, tell bool) bool {
	switch m.phase {
	case phaseLive:
		m.phase = phaseLeaving
		return true
	case phaseJoining:
		if m.pending.cause == nil {
			m.pending.cause, m.pending.tell = cause, tell
			if m.pending.cancel != nil {
				m.pending.cancel(cause)
			}
		}
	}
	return false
}

// finish takes a membership that is ended out of its room. If a fan-out is
// under way that may still send to the session, the rest is left to its end.
func (s *Session) finish(m *member) {
	s.hub.uncount(s.conn)
	if m.room.remove(m) {
		s.forget(m)
	}
}

// forget is the end of a membership: another join of the room may begin.
func (s *Session) forget(m *member) {
	s.mu.Lock()
	if i := slices.Index(s.members, m); i >= 0 {
		s.members = slices.Delete(s.members, i, i+1)
		if len(s.members) == 0 {
			s.members = nil
		}
	}
	if m.wait != nil {
		close(m.wait)
	}
	s.mu.Unlock()
	s.hub.release(m.room)
}

// lost ends a membership that the room could not carry on.
func (s *Session) lost(m *member, err *holdfast.Error) {
	s.mu.Lock()
	ended := s.end(m, err, true)
	s.mu.Unlock()
	if ended {
		s.over(m, err)
		s.finish(m)
		s.tell(m.room.name, err)
	}
}

func (s *Session) tell(room string, err *holdfast.Error) {
	if s.left != nil {
		s.left(room, err)
	}
}

// SetIdentity replaces who the session is, after a refresh or a change of
// permissions, and leaves the rooms that the new identity may not be in; Left
// hears of each. Where the right to presence is lost alone, its user is not
// present by it any more, and it is sent a NoticeLeave for each user whom it
// knew of; where the right is new, a NoticeJoin for each who is there. nil means anonymous, without any right. The user must be the
// same as before: the caller checks that.
func (s *Session) SetIdentity(id *holdfast.Identity) {
	if id == nil {
		id = new(holdfast.Identity)
	}
	s.mu.Lock()
	s.identity = id
	members := slices.Clone(s.members)
	s.mu.Unlock()
	for _, m := range members {
		if id.Permissions.Room(m.room.name).Has(holdfast.VerbJoin) {
			m.room.mu.Lock()
			m.room.review(m)
			m.room.stir()
			continue
		}
		s.lost(m, errForbidden())
	}
}

// Close leaves all rooms and stops joins under way. Left is not told. It does
// not wait for events that are being sent to the Sink. A second Close does nothing.
func (s *Session) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	var ended []*member
	for _, m := range s.members {
		if s.end(m, errClosed(), false) {
			ended = append(ended, m)
		}
	}
	s.mu.Unlock()
	for _, m := range ended {
		s.over(m, errClosed())
		s.finish(m)
	}
	s.hub.forget(s)
}

func errForbidden() *holdfast.Error {
	return holdfast.Errorf(holdfast.Forbidden, "Not allowed in this room")
}

func errLeft() *holdfast.Error {
	return holdfast.Errorf(holdfast.Conflict, "The room was left while joining it")
}

func errClosed() *holdfast.Error {
	return holdfast.Errorf(holdfast.GoingAway, "The session is closed")
}
