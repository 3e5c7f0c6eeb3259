package server

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// backlog is what history has for a poll in one room.
type backlog struct {
	place  int // in the request
	room   string
	events []*holdfast.Event
	end    holdfast.Position // where the reader stands after all of them
}

// catchUp puts into a what history has after the places of its cursor. Events
// of several rooms come in the order in which they were appended, as the
// broker's clocks tell it, and those of one room in the room's order.
func (s *Server) catchUp(ctx context.Context, a *pollAnswer) error {
	places := a.cursor.places
	budget := pollEvents
	logs := make([]backlog, 0, len(places))
	// A busy room that fills every answer must not keep the others from it.
	first := rand.IntN(len(places))
	for i := range places {
		if budget == 0 {
			break
		}
		at := (first + i) % len(places)
		p := &places[at]
		if p.fresh || p.reset {
			continue // it was read a moment ago
		}
		history, err := s.hub.History(ctx, p.room, &p.position, budget)
		if err != nil {
			return err
		}
		if !history.Recovered {
			a.resets = append(a.resets, p.room)
			a.cursor.move(p.room, history.Position)
			continue
		}
		log := backlog{at, p.room, history.Events, history.Position}
		if len(log.events) >= budget { // there may be more
			log.events = log.events[:budget]
			log.end = log.events[budget-1].Position
		}
		budget -= len(log.events)
		logs = append(logs, log)
	}
	slices.SortFunc(logs, func(a, b backlog) int { return cmp.Compare(a.place, b.place) })
	a.merge(logs)
	return nil
}

// merge adds the events of logs, as far as they fit; of the same moment, those
// of the room that the request names first.
func (a *pollAnswer) merge(logs []backlog) {
	for {
		var oldest *backlog
		for i := range logs {
			l := &logs[i]
			if len(l.events) > 0 && (oldest == nil || l.events[0].Time.Before(oldest.events[0].Time)) {
				oldest = l
			}
		}
		if oldest == nil {
			break
		}
		if f := (pollEncoder{}).Encode(oldest.events[0]); f != nil && !a.add(f) {
			break
		}
		oldest.events = oldest.events[1:]
	}
	for _, l := range logs {
		if len(l.events) == 0 {
			a.cursor.move(l.room, l.end)
		}
	}
}

// sortResets puts the rooms that begin anew into the order of the request, so
// that equal answers are equal byte for byte.
func (a *pollAnswer) sortResets() {
	if len(a.resets) < 2 {
		return
	}
	lost := make(map[string]bool, len(a.resets))
	for _, room := range a.resets {
		lost[room] = true
	}
	a.resets = a.resets[:0]
	for i := range a.cursor.places {
		if room := a.cursor.places[i].room; lost[room] {
			a.resets = append(a.resets, room)
		}
	}
}

var _ hub.Encoder = pollEncoder{}
