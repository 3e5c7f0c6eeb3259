package checker

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/holdfast-dev/holdfast"
)

// order is what is known of a room's events in one epoch.
type order struct {
	room, epoch string
	places      map[uint64]*place
	sorted      []*place // by offset
	final       *uint64  // where a last reading ended
}

// place is one event of an order.
type place struct {
	offset uint64
	value  string
	by     string // who said so first
	seen   bool   // by a member or reading, not only in an ack
	acked  bool
	pub    *event
}

// event is what all attempts to publish one value come to.
type event struct {
	room, value  string
	attempts     int
	refused      int
	firstInvoked int64
	places       map[*order]*place
	returned     map[*order]int64 // first ack that names a place of the order
}

// world is the state of one Check.
type world struct {
	report *Report
	events map[string]*event              // by value
	rooms  map[string]map[string]*order   // by room and epoch
	elsewh map[string]map[string]struct{} // values already reported, by rule
}

func (w *world) order(room, epoch string) *order {
	if w.rooms[room] == nil {
		w.rooms[room] = make(map[string]*order)
	}
	o := w.rooms[room][epoch]
	if o == nil {
		o = &order{room: room, epoch: epoch, places: make(map[uint64]*place)}
		w.rooms[room][epoch] = o
	}
	return o
}

// once reports whether a fault of a rule about a value is new: many members may
// have seen it.
func (w *world) once(rule, value string) bool {
	if w.elsewh[rule] == nil {
		w.elsewh[rule] = make(map[string]struct{})
	}
	_, known := w.elsewh[rule][value]
	w.elsewh[rule][value] = struct{}{}
	return !known
}

// publishes takes in what publishers did.
func (w *world) publishes(all []Publish) {
	for i := range all {
		p := &all[i]
		e := w.events[p.Value]
		if e == nil {
			e = &event{
				room: p.Room, value: p.Value, firstInvoked: p.Invoked,
				places: make(map[*order]*place), returned: make(map[*order]int64),
			}
			w.events[p.Value] = e
		}
		if e.room != p.Room {
			w.report.add("record", p.Room, "", fmt.Sprintf("value %q was published to %q as well", p.Value, e.room))
			continue
		}
		e.attempts++
		e.firstInvoked = min(e.firstInvoked, p.Invoked)
		if p.Outcome == Refused {
			e.refused++
		}
	}
	for i := range all {
		p := &all[i]
		if p.Outcome != Acked || w.events[p.Value].room != p.Room {
			continue
		}
		by := fmt.Sprintf("the answer to its publish (tick %d)", p.Returned)
		if pl, o := w.witness(p.Room, p.Position, p.Value, by, false); pl != nil {
			pl.acked = true
			if first, ok := pl.pub.returned[o]; !ok || p.Returned < first {
				pl.pub.returned[o] = p.Returned
			}
		}
	}
}

// witness takes in that somebody saw value at pos. It returns nil if that
// can't be.
func (w *world) witness(room string, pos holdfast.Position, value, by string, seen bool) (*place, *order) {
	if err := pos.Check(); err != nil || pos.Offset == 0 {
		w.report.add("position", room, "", fmt.Sprintf("%q is at %v, which is no place, as of %s", value, pos, by))
		return nil, nil
	}
	o := w.order(room, pos.Epoch)
	pl := o.places[pos.Offset]
	if pl != nil && pl.value != value {
		if w.once("conflict", pl.value+"\x00"+value) {
			w.report.add("conflict", room, "", fmt.Sprintf("at %s:%d there is %q, as of %s, and %q, as of %s", pos.Epoch, pos.Offset, pl.value, pl.by, value, by))
		}
		return nil, nil
	}
	if pl != nil {
		pl.seen = pl.seen || seen
		return pl, o
	}
	e := w.events[value]
	switch {
	case e == nil:
		w.report.add("nowhere", room, "", fmt.Sprintf("%q at %s:%d, as of %s, was never published", value, pos.Epoch, pos.Offset, by))
		e = &event{room: room, value: value, attempts: 1, places: make(map[*order]*place), returned: make(map[*order]int64)}
		w.events[value] = e
	case e.room != room:
		w.report.add("nowhere", room, "", fmt.Sprintf("%q at %s:%d, as of %s, was published to room %q", value, pos.Epoch, pos.Offset, by, e.room))
		e = &event{room: room, value: value, attempts: 1, places: make(map[*order]*place), returned: make(map[*order]int64)}
	case e.refused == e.attempts:
		w.report.add("refused", room, "", fmt.Sprintf("%q at %s:%d, as of %s, was refused", value, pos.Epoch, pos.Offset, by))
	}
	pl = &place{offset: pos.Offset, value: value, by: by, seen: seen, pub: e}
	o.places[pos.Offset] = pl
	if other := e.places[o]; other != nil {
		w.report.add("twice", room, "", fmt.Sprintf("%q is at %s:%d, as of %s, and at %d, as of %s", value, o.epoch, other.offset, other.by, pl.offset, by))
		return pl, o
	}
	e.places[o] = pl
	if len(e.places) > e.attempts {
		w.report.add("twice", room, "", fmt.Sprintf("%q is in %d epochs and was published %d times", value, len(e.places), e.attempts))
	}
	return pl, o
}

// sort is called when all witnesses were heard.
func (w *world) sort() {
	for _, epochs := range w.rooms {
		for _, o := range epochs {
			for _, pl := range o.places {
				o.sorted = append(o.sorted, pl)
			}
			slices.SortFunc(o.sorted, func(a, b *place) int { return cmp.Compare(a.offset, b.offset) })
		}
	}
}

// between returns the events after one offset and before another.
func (o *order) between(after, before uint64) []*place {
	at := func(offset uint64) int {
		i, _ := slices.BinarySearchFunc(o.sorted, offset, func(p *place, offset uint64) int { return cmp.Compare(p.offset, offset) })
		return i
	}
	if before <= after {
		return nil
	}
	return o.sorted[at(after+1):at(before)]
}

// realTime checks that what ended before something else began comes first.
func (w *world) realTime() {
	for room, epochs := range w.rooms {
		var spans []span
		for _, o := range epochs {
			w.realTimeWithin(o)
			spans = append(spans, o.span())
		}
		slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.order.epoch, b.order.epoch) })
		for i, a := range spans {
			for _, b := range spans[i+1:] {
				if a.before(b) && b.before(a) {
					w.report.add("epoch", room, "", fmt.Sprintf("epochs %s and %s take turns: each was used when the other had been", a.order.epoch, b.order.epoch))
				}
			}
		}
	}
}

// realTimeWithin walks an order from its end. If an event's first answer came
// before the publish of an earlier one began, they are the wrong way round.
func (w *world) realTimeWithin(o *order) {
	var earliest *place // of those behind, the one answered first
	for _, pl := range slices.Backward(o.sorted) {
		if earliest != nil && pl.pub.places[o] == pl && pl.pub.firstInvoked > earliest.pub.returned[o] {
			w.report.add("time", o.room, "", fmt.Sprintf("%q at %s:%d was published (tick %d) after %q was acknowledged (tick %d), which comes later: %d\n  order: %s",
				pl.value, o.epoch, pl.offset, pl.pub.firstInvoked, earliest.value, earliest.pub.returned[o], earliest.offset, o.around(pl.offset)))
		}
		if at, ok := pl.pub.returned[o]; ok && (earliest == nil || at < earliest.pub.returned[o]) {
			earliest = pl
		}
	}
}

// span is when an epoch was surely in use: something was answered in it at
// firstReturned, and something was begun that came into it at lastInvoked.
type span struct {
	order                      *order
	firstReturned, lastInvoked int64
}

func (o *order) span() span {
	s := span{order: o, firstReturned: 1 << 62}
	for _, pl := range o.sorted {
		if at, ok := pl.pub.returned[o]; ok {
			s.firstReturned = min(s.firstReturned, at)
		}
		s.lastInvoked = max(s.lastInvoked, pl.pub.firstInvoked)
	}
	return s
}

func (s span) before(o span) bool { return s.firstReturned < o.lastInvoked }
