package checker

import (
	"slices"
	"sync"

	"github.com/holdfast-dev/holdfast"
)

// Outcome is how an attempt to publish ended.
type Outcome uint8

const (
	// Unknown: no answer, or an error after which the event may be there.
	Unknown Outcome = iota
	// Acked: the answer was a position.
	Acked
	// Refused: the answer was an error that means that nothing was appended.
	Refused
)

// Publish is one attempt to publish. Attempts with the same Value in the same
// room are repeats with the same event id: they are one event.
type Publish struct {
	Room string
	// Value is the payload by which the event is known; no two events of a run
	// have the same.
	Value string
	// Invoked and Returned are ticks of the run's Recorder, Returned 0 while
	// there is no answer.
	Invoked, Returned int64
	Outcome           Outcome
	// Position is what the answer said, where it is Acked.
	Position holdfast.Position
}

// Kind tells the entries of a log apart.
type Kind uint8

const (
	// Asked: the member asks to join, Since says from where; nil: from now.
	Asked Kind = iota
	// Joined: the answer: Position, and Recovered where the join had a Since.
	Joined
	// Already: the answer to a join is that the member was in all along: it goes
	// on from what it has.
	Already
	// Resumed: a stream has begun that follows on what the member had, or, if it
	// had nothing or was told, on the present. For streams whose cursor is
	// opaque.
	Resumed
	// Event: Value came, at Position.
	Event
	// Left: the member knows that it is out of the room, or that something was
	// lost. An event that was on its way may still come.
	Left
	// Cut: the connection is over, and nothing comes any more. A Resumed goes on
	// from what the member has, an Asked from what it says.
	Cut
	// Reset: the member was told that what comes next does not follow on what it
	// has.
	Reset
	// Upto: the member must have everything up to Position by now.
	Upto
)

// Entry is one line of a log.
type Entry struct {
	Kind      Kind
	At        int64 // tick
	Since     *holdfast.Position
	Position  holdfast.Position
	Recovered *bool
	Value     string
	Note      string // for readers of a report
}

// Log is what one member saw of one room.
type Log struct {
	Member, Room string
	Entries      []Entry
	// Final: the log is a reading of the room's whole history after everything
	// had ended: no acknowledged event of its epoch may lie behind it.
	Final bool
}

// History is what happened in a run.
type History struct {
	Publishes []Publish
	Logs      []*Log
}

// Recorder collects a run's History. Its ticks count calls, so that of two
// things, one of which ended before the other began, the first has the lower
// tick. The zero value is ready; it is safe for concurrent use.
type Recorder struct {
	mu   sync.Mutex
	tick int64
	pubs []*Attempt
	logs map[[2]string]*Log // by member and room
	all  []*Log
}

// Attempt is a publish under way.
type Attempt struct {
	r *Recorder
	p Publish // guarded by r.mu
}

// Publish is to be called before each attempt to publish value, repeats too.
func (r *Recorder) Publish(room, value string) *Attempt {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tick++
	a := &Attempt{r: r, p: Publish{Room: room, Value: value, Invoked: r.tick}}
	r.pubs = append(r.pubs, a)
	return a
}

// Acked ends an attempt that was answered with a position.
func (a *Attempt) Acked(pos holdfast.Position) { a.end(Acked, pos) }

// Refused ends an attempt that surely appended nothing. Without either, the
// outcome is Unknown.
func (a *Attempt) Refused() { a.end(Refused, holdfast.Position{}) }

func (a *Attempt) end(o Outcome, pos holdfast.Position) {
	a.r.mu.Lock()
	defer a.r.mu.Unlock()
	a.r.tick++
	a.p.Outcome, a.p.Position, a.p.Returned = o, pos, a.r.tick
}

// Member is one member's side of a Recorder.
type Member struct {
	r    *Recorder
	name string
}

// Member returns the recording of a member, whose logs begin empty.
func (r *Recorder) Member(name string) *Member { return &Member{r, name} }

func (m *Member) put(room string, e Entry) {
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	m.r.put(m.name, room, e)
}

// put is called with mu held.
func (r *Recorder) put(member, room string, e Entry) *Log {
	key := [2]string{member, room}
	l := r.logs[key]
	if l == nil {
		l = &Log{Member: member, Room: room}
		if r.logs == nil {
			r.logs = make(map[[2]string]*Log)
		}
		r.logs[key] = l
		r.all = append(r.all, l)
	}
	r.tick++
	e.At = r.tick
	l.Entries = append(l.Entries, e)
	return l
}

// Asked: the member is about to ask to join.
func (m *Member) Asked(room string, since *holdfast.Position) {
	if since != nil {
		own := *since
		since = &own
	}
	m.put(room, Entry{Kind: Asked, Since: since})
}

// Joined: the answer to it has come.
func (m *Member) Joined(room string, pos holdfast.Position, recovered *bool) {
	m.put(room, Entry{Kind: Joined, Position: pos, Recovered: recovered})
}

// Already: the answer has come, and says that the member was in.
func (m *Member) Already(room string) { m.put(room, Entry{Kind: Already}) }

// Resumed: a stream with an opaque cursor has begun.
func (m *Member) Resumed(room string) { m.put(room, Entry{Kind: Resumed}) }

// Event: an event has come.
func (m *Member) Event(room string, pos holdfast.Position, value string) {
	m.put(room, Entry{Kind: Event, Position: pos, Value: value})
}

// Left: the member left, was put out, or was refused.
func (m *Member) Left(room, note string) { m.put(room, Entry{Kind: Left, Note: note}) }

// Cut: the member's connection is over.
func (m *Member) Cut(room, note string) { m.put(room, Entry{Kind: Cut, Note: note}) }

// Reset: the member was told that there is a gap.
func (m *Member) Reset(room, note string) { m.put(room, Entry{Kind: Reset, Note: note}) }

// Upto: the member must have all up to pos.
func (m *Member) Upto(room string, pos holdfast.Position) {
	m.put(room, Entry{Kind: Upto, Position: pos})
}

// Reading records a reading of history that was answered as complete from the
// first of events (with since: from there) up to pos. final: see Log.
func (r *Recorder) Reading(name, room string, since *holdfast.Position, events []*holdfast.Event, value func(*holdfast.Event) string, pos holdfast.Position, final bool) {
	if since == nil {
		since = &holdfast.Position{Epoch: pos.Epoch, Offset: pos.Offset}
		if len(events) > 0 {
			since.Offset = events[0].Position.Offset - 1
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	recovered := true
	l := r.put(name, room, Entry{Kind: Asked, Since: since})
	for _, ev := range events {
		r.put(name, room, Entry{Kind: Event, Position: ev.Position, Value: value(ev)})
	}
	r.put(name, room, Entry{Kind: Joined, Position: pos, Recovered: &recovered})
	l.Final = final
}

// History returns what was recorded so far.
func (r *Recorder) History() History {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := History{Publishes: make([]Publish, len(r.pubs))}
	for i, a := range r.pubs {
		h.Publishes[i] = a.p
	}
	for _, l := range r.all {
		h.Logs = append(h.Logs, &Log{Member: l.Member, Room: l.Room, Entries: slices.Clone(l.Entries), Final: l.Final})
	}
	return h
}
