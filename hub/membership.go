package hub

import "github.com/holdfast-dev/holdfast"

// Remove takes the session out of a room, or stops a join under way, for the
// reason that err gives: Left hears of it. Nothing happens if the session is not
// in the room.
func (s *Session) Remove(room string, err *holdfast.Error) {
	s.mu.Lock()
	m := s.member(room)
	s.mu.Unlock()
	if m != nil {
		s.lost(m, err)
	}
}

// In reports whether the session is in a room: from the answer to its join,
// which may be before Join returns, to the end.
func (s *Session) In(room string) bool {
	s.mu.Lock()
	m := s.member(room)
	s.mu.Unlock()
	if m == nil {
		return false
	}
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return m.entered
}

// Began returns after which position the session hears a room that it has
// joined: up to there it was served by its join, and behind that comes all
// that it is sent live. ok is false where it is not in the room.
func (s *Session) Began(room string) (pos holdfast.Position, ok bool) {
	s.mu.Lock()
	m := s.member(room)
	ok = m != nil && m.phase == phaseLive
	s.mu.Unlock()
	if !ok {
		return pos, false
	}
	m.room.mu.Lock()
	defer m.room.mu.Unlock()
	return holdfast.Position{Epoch: m.room.pos.Epoch, Offset: m.served}, true
}

// Check reports why Publish would refuse ev at once, whoever publishes it.
func (h *Hub) Check(ev *holdfast.Event) error { return h.checkEvent(ev) }

// refused ends a join that JoinOptions.Ask refused, and returns why.
func (s *Session) refused(m *member, err error) error {
	s.mu.Lock()
	if cause := m.pending.cause; cause != nil {
		err = cause
	}
	m.phase, m.pending = phaseLeaving, nil
	s.mu.Unlock()
	s.finish(m)
	return err
}

// over tells of the end of a membership that had been announced, before it is
// finished.
func (s *Session) over(m *member, err *holdfast.Error) {
	if s.ended != nil {
		s.ended(m.room.name, err)
	}
}

// ending is what Ended hears of a join that was announced and then failed: nil
// if the session itself left meanwhile.
func (p *pendingJoin) ending(err error) *holdfast.Error {
	if p.cause != nil && !p.tell && p.cause.Code == holdfast.Conflict {
		return nil
	}
	return holdfast.AsError(err)
}
