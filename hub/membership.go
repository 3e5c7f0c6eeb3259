package hub

import "github.com/holdfast-dev/holdfast"

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

// Check reports why Publish would refuse ev at once, whoever publishes it.
func (h *Hub) Check(ev *holdfast.Event) error { return h.checkEvent(ev) }
