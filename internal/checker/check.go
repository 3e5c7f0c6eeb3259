package checker

import (
	"fmt"

	"github.com/holdfast-dev/holdfast"
)

// Check decides whether a run was as it had to be. It does not change h.
func Check(h History) *Report {
	w := &world{
		report: &Report{},
		events: make(map[string]*event),
		rooms:  make(map[string]map[string]*order),
		elsewh: make(map[string]map[string]struct{}),
	}
	w.publishes(h.Publishes)
	for _, l := range h.Logs {
		for i, e := range l.Entries {
			if e.Kind == Event {
				w.witness(l.Room, e.Position, e.Value, fmt.Sprintf("%s (line %d)", l.Member, i), true)
			}
		}
	}
	w.sort()
	for _, l := range h.Logs {
		walk := &walker{world: w, log: l}
		for i := range l.Entries {
			walk.at = i
			walk.step(&l.Entries[i])
		}
	}
	w.lost()
	w.realTime()
	w.count(h.Publishes)
	return w.report
}

// lost checks that no acknowledged event lies behind a last reading.
func (w *world) lost() {
	for room, epochs := range w.rooms {
		for _, o := range epochs {
			if o.final == nil {
				continue
			}
			for _, pl := range o.between(*o.final, holdfast.MaxOffset) {
				if pl.acked {
					w.report.add("lost", room, "", fmt.Sprintf("%q was acknowledged at %s:%d, and the last reading ends at %d", pl.value, o.epoch, pl.offset, *o.final))
				}
			}
		}
	}
}

func (w *world) count(all []Publish) {
	r := w.report
	for _, p := range all {
		if p.Outcome == Acked {
			r.Acked++
		}
	}
	for _, e := range w.events {
		if len(e.returned) == 0 && e.refused < e.attempts {
			r.Unknown++
		}
	}
	r.Rooms = len(w.rooms)
	for _, epochs := range w.rooms {
		r.Epochs += len(epochs)
		for _, o := range epochs {
			r.Events += len(o.sorted)
			for _, pl := range o.sorted {
				if !pl.seen {
					r.Unseen++
				}
			}
		}
	}
}

// state is where a member stands in a room.
type state uint8

const (
	out   state = iota
	asked       // has asked, and got no answer yet
	in
)

// walker goes through a log.
type walker struct {
	world *world
	log   *Log
	at    int

	state  state
	cursor *holdfast.Position // what the member has; nil: nothing, or it does not matter
	from   int64              // with a nil cursor in state in: what was published after this tick must come

	since  *holdfast.Position // of the join that was asked for
	late   *holdfast.Position // what came last, while events may still be on their way
	replay []*Entry
}

func (k *walker) fault(rule, format string, args ...any) {
	text := fmt.Sprintf(format, args...) + k.log.around(k.at)
	k.world.report.add(rule, k.log.Room, k.log.Member, text)
}

func (k *walker) order(epoch string) *order { return k.world.order(k.log.Room, epoch) }

func (k *walker) step(e *Entry) {
	switch e.Kind {
	case Asked:
		k.ask(e)
	case Joined:
		k.joined(e)
	case Already:
		k.already()
	case Resumed:
		k.state, k.late = in, nil
		if k.cursor == nil {
			k.from = e.At
		}
	case Event:
		k.world.report.Received++
		k.event(e)
	case Left:
		k.unanswered()
		if k.state == in {
			k.late = k.cursor
		}
		k.state, k.cursor = out, nil
	case Cut:
		k.unanswered()
		k.state, k.late = out, nil // the cursor stays, for a Resumed
	case Reset:
		k.world.report.Told++
		k.cursor, k.from = nil, e.At
	case Upto:
		k.upto(e)
	}
}

func (k *walker) ask(e *Entry) {
	k.unanswered()
	if k.state == in {
		k.fault("record", "a join is asked for by a member who is in")
	}
	k.state, k.since, k.replay = asked, e.Since, nil
}

func (k *walker) event(e *Entry) {
	switch {
	case k.state == asked:
		k.replay = append(k.replay, e)
	case k.state == in:
		k.follow(e)
	case k.late != nil:
		k.cursor = k.late
		k.follow(e)
		k.late, k.cursor = k.cursor, nil
	default:
		k.fault("uninvited", "%q came to a member who is not in the room", e.Value)
	}
}

// follow checks that e is what comes next after the cursor, which it moves.
func (k *walker) follow(e *Entry) {
	pos := e.Position
	switch c := k.cursor; {
	case c == nil:
		k.first(pos)
	case c.Epoch != pos.Epoch:
		k.fault("epoch", "%q is of epoch %s, the member was in %s and was told nothing", e.Value, pos.Epoch, c.Epoch)
	case pos.Offset <= c.Offset:
		k.fault("again", "%q at %d comes after %d\n  order: %s", e.Value, pos.Offset, c.Offset, k.order(pos.Epoch).around(pos.Offset))
		return
	default:
		k.passedOver(k.order(pos.Epoch).between(c.Offset, pos.Offset), pos)
	}
	k.cursor = &pos
}

// first checks an event from which on the member's cursor is known: it is the
// first of those that were published since.
func (k *walker) first(pos holdfast.Position) {
	var missing []*place
	for _, pl := range k.order(pos.Epoch).between(0, pos.Offset) {
		if pl.pub.firstInvoked > k.from {
			missing = append(missing, pl)
		}
	}
	k.passedOver(missing, pos)
}

func (k *walker) passedOver(missing []*place, pos holdfast.Position) {
	if len(missing) == 0 {
		return
	}
	k.fault("gap", "%d events before %s:%d did not come, the first is %q at %d, as of %s\n  order: %s",
		len(missing), pos.Epoch, pos.Offset, missing[0].value, missing[0].offset, missing[0].by, k.order(pos.Epoch).around(missing[0].offset))
}

// joined checks what came between the question and its answer.
func (k *walker) joined(e *Entry) {
	if k.state != asked {
		k.fault("record", "an answer to a join that nobody asked for")
	}
	pos, report := e.Position, k.world.report
	switch {
	case (k.since == nil) != (e.Recovered == nil):
		k.fault("replay", "recovered is there where since is, and only there")
	case e.Recovered == nil:
		k.lateOnly()
	case *e.Recovered:
		report.Recovered++
		k.recovered(pos)
	default:
		report.Lost++
		k.partial()
	}
	for _, pl := range k.order(pos.Epoch).between(0, pos.Offset+1) {
		if pl.pub.firstInvoked > e.At {
			k.fault("replay", "joined at %s:%d, which is past %q, published afterwards", pos.Epoch, pos.Offset, pl.value)
			break
		}
	}
	if k.log.Final {
		o := k.order(pos.Epoch)
		if o.final == nil || pos.Offset < *o.final {
			o.final = &pos.Offset
		}
	}
	k.state, k.cursor, k.late, k.replay = in, &pos, nil, nil
}

// already checks an answer by which the member was never out, whatever it had
// heard: a word of the server that was overtaken.
func (k *walker) already() {
	if k.state != asked || k.late == nil {
		k.fault("record", "already in, for a member who did not ask or was never in")
		return
	}
	k.lateOnly()
	last := *k.late
	if n := len(k.replay); n > 0 {
		last = k.replay[n-1].Position
	}
	k.state, k.cursor, k.late, k.replay = in, &last, nil, nil
}

// recovered checks a replay that is said to be whole: it ends with all events
// after since up to pos. Before them there may be some that were on their way.
func (k *walker) recovered(pos holdfast.Position) {
	if k.since.Epoch != pos.Epoch || k.since.Offset > pos.Offset {
		k.fault("replay", "recovered from %s:%d to %s:%d", k.since.Epoch, k.since.Offset, pos.Epoch, pos.Offset)
		return
	}
	want := k.order(pos.Epoch).between(k.since.Offset, pos.Offset+1)
	own := len(k.replay) - len(want)
	if own < 0 || !matches(k.replay[own:], want, pos.Epoch) || !k.wasOnItsWay(k.replay[:own]) {
		k.fault("replay", "%d events came of the %d that are the whole of %s:%d to %d, or other ones\n  came: %s\n  want: %s",
			len(k.replay), len(want), pos.Epoch, k.since.Offset, pos.Offset, entries(k.replay), places(want))
	}
}

// partial checks a replay that broke off: it is a beginning of what comes after
// since, and before it there may be events that were on their way.
func (k *walker) partial() {
	if k.since == nil {
		k.lateOnly()
		return
	}
	all := k.order(k.since.Epoch).between(k.since.Offset, holdfast.MaxOffset)
	for own := range len(k.replay) + 1 {
		rest := k.replay[own:]
		if len(rest) <= len(all) && matches(rest, all[:len(rest)], k.since.Epoch) && k.wasOnItsWay(k.replay[:own]) {
			return
		}
	}
	k.fault("replay", "what came is no beginning of what follows %s:%d\n  came: %s\n  want: %s", k.since.Epoch, k.since.Offset, entries(k.replay), places(all))
}

// lateOnly checks that nothing came that was not on its way before the join.
func (k *walker) lateOnly() {
	if !k.wasOnItsWay(k.replay) {
		k.fault("replay", "a replay that nobody asked for: %s", entries(k.replay))
	}
}

// unanswered ends a join that got no answer, or an error.
func (k *walker) unanswered() {
	if k.state != asked {
		return
	}
	k.partial()
	k.state, k.cursor, k.late, k.replay = out, nil, nil, nil
}

// wasOnItsWay reports whether events follow on what came before the member was
// out.
func (k *walker) wasOnItsWay(events []*Entry) bool {
	if len(events) == 0 {
		return true
	}
	if k.late == nil || len(events) > 0 && events[0].Position.Epoch != k.late.Epoch {
		return false
	}
	all := k.order(k.late.Epoch).between(k.late.Offset, holdfast.MaxOffset)
	return len(events) <= len(all) && matches(events, all[:len(events)], k.late.Epoch)
}

func (k *walker) upto(e *Entry) {
	pos := e.Position
	o := k.order(pos.Epoch)
	var missing []*place
	switch {
	case k.state != in:
		k.fault("behind", "the member is not in the room, which is at %s:%d", pos.Epoch, pos.Offset)
	case k.cursor == nil:
		for _, pl := range o.between(0, pos.Offset+1) {
			if pl.pub.firstInvoked > k.from {
				missing = append(missing, pl)
			}
		}
	case k.cursor.Epoch != pos.Epoch:
		k.fault("behind", "the member is in epoch %s, the room at %s:%d", k.cursor.Epoch, pos.Epoch, pos.Offset)
	default:
		missing = o.between(k.cursor.Offset, pos.Offset+1)
	}
	if len(missing) > 0 {
		k.fault("behind", "the member must have all up to %s:%d, and %d did not come: %s", pos.Epoch, pos.Offset, len(missing), places(missing))
	}
}

func matches(got []*Entry, want []*place, epoch string) bool {
	if len(got) != len(want) {
		return false
	}
	for i, e := range got {
		if e.Position.Epoch != epoch || e.Position.Offset != want[i].offset {
			return false
		}
	}
	return true
}

func entries(all []*Entry) string {
	text := ""
	for i, e := range all {
		if i == 20 {
			return text + " …"
		}
		text += fmt.Sprintf(" %s:%d=%s", e.Position.Epoch, e.Position.Offset, e.Value)
	}
	return text
}

func places(all []*place) string {
	text := ""
	for i, p := range all {
		if i == 20 {
			return text + " …"
		}
		text += fmt.Sprintf(" %d=%s", p.offset, p.value)
	}
	return text
}
