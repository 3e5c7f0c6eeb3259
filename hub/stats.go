package hub

import (
	"sync/atomic"
	"time"
)

// Stats are what a hub has, and what it has done since it was made.
type Stats struct {
	// Rooms are those with members here, or joins under way; Memberships are
	// these members and joins.
	Rooms, Memberships int
	// Published are the events that the broker took from this process, repeats
	// of an ID among them.
	Published uint64
	// Deliveries are the frames that live events were given to members' Sinks,
	// replays not counted. What a queue drops later was delivered to it.
	Deliveries uint64
}

// counts are kept by event, never by delivery, so that they cost a fan-out
// nothing that grows with the room.
type counts struct {
	published, deliveries atomic.Uint64
}

// Stats returns the numbers of this moment.
func (h *Hub) Stats() Stats {
	s := Stats{Published: h.stats.published.Load(), Deliveries: h.stats.deliveries.Load()}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Rooms, s.Memberships = len(h.rooms), h.in
	return s
}

// startFanOut returns when a fan-out began, if anybody wants to know.
func (h *Hub) startFanOut() time.Time {
	if h.cfg.FannedOut == nil {
		return time.Time{}
	}
	return time.Now()
}

// endFanOut counts what a fan-out sent.
func (h *Hub) endFanOut(began time.Time, sent int) {
	h.stats.deliveries.Add(uint64(sent))
	if h.cfg.FannedOut != nil {
		h.cfg.FannedOut(time.Since(began))
	}
}
