package checker

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// maxTold bounds the faults of one rule that are kept; the rest is counted.
const maxTold = 10

// Fault is something that must not be.
type Fault struct {
	// Rule is short for what is wrong: "conflict" (two events at one place),
	// "twice", "nowhere" (never published there), "refused" (and seen), "gap",
	// "again" (a repeat, or too late), "epoch", "uninvited" (not in the room),
	// "replay" (not what the answer to the join says), "behind" (not up to date),
	// "lost" (acknowledged and not there), "time", "position", "record" (the
	// record itself makes no sense).
	Rule string
	Room string
	// Member is whose log it is about; empty for none.
	Member string
	// Text says it in words, with an excerpt of log and order.
	Text string
}

// Report is the result of Check.
type Report struct {
	// Faults are the first of each rule; Count is how many there are.
	Faults []Fault
	Count  map[string]int

	// What there was to check.
	Rooms, Epochs, Events int
	// Acked counts acknowledged publishes, Unknown those without an answer that
	// nobody repeated, Unseen the events that only their acknowledgement speaks
	// of.
	Acked, Unknown, Unseen int
	// Received counts events that members got, Recovered and Lost joins that
	// went on without a gap and that did not, Told losses without a join.
	Received, Recovered, Lost, Told int
}

func (r *Report) add(rule, room, member, text string) {
	if r.Count == nil {
		r.Count = make(map[string]int)
	}
	r.Count[rule]++
	if r.Count[rule] <= maxTold {
		r.Faults = append(r.Faults, Fault{rule, room, member, text})
	}
}

// String is the report for people.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d rooms, %d epochs, %d events; %d publishes acknowledged, %d unknown; %d received, %d joins recovered, %d not, %d times told; %d unseen",
		r.Rooms, r.Epochs, r.Events, r.Acked, r.Unknown, r.Received, r.Recovered, r.Lost, r.Told, r.Unseen)
	for _, f := range r.Faults {
		fmt.Fprintf(&b, "\n%s, room %q", f.Rule, f.Room)
		if f.Member != "" {
			fmt.Fprintf(&b, ", member %s", f.Member)
		}
		fmt.Fprintf(&b, ": %s", f.Text)
	}
	for rule, n := range r.Count {
		if n > maxTold {
			fmt.Fprintf(&b, "\n%s: %d in all", rule, n)
		}
	}
	return b.String()
}

// Err is the report as an error; nil without faults.
func (r *Report) Err() error {
	if len(r.Faults) == 0 {
		return nil
	}
	return errors.New(r.String())
}

// Rules returns the rules that were broken, sorted.
func (r *Report) Rules() []string {
	var rules []string
	for rule := range r.Count {
		rules = append(rules, rule)
	}
	slices.Sort(rules)
	return rules
}

// around is the order near an offset.
func (o *order) around(offset uint64) string {
	i := slices.IndexFunc(o.sorted, func(p *place) bool { return p.offset >= offset })
	if i < 0 {
		i = len(o.sorted)
	}
	from, to := max(i-3, 0), min(i+4, len(o.sorted))
	var parts []string
	if from > 0 {
		parts = append(parts, "…")
	}
	for _, p := range o.sorted[from:to] {
		part := fmt.Sprintf("%d=%s", p.offset, p.value)
		if p.offset == offset {
			part = "[" + part + "]"
		}
		parts = append(parts, part)
	}
	if to < len(o.sorted) {
		parts = append(parts, "…")
	}
	return strings.Join(parts, " ")
}

// around is the log near an entry.
func (l *Log) around(i int) string {
	var b strings.Builder
	for j := max(i-5, 0); j < min(i+3, len(l.Entries)); j++ {
		mark := "   "
		if j == i {
			mark = "-> "
		}
		fmt.Fprintf(&b, "\n    %s%d. %s", mark, j, l.Entries[j])
	}
	return b.String()
}

// String is the entry for people.
func (e Entry) String() string {
	at := fmt.Sprintf("%s:%d", e.Position.Epoch, e.Position.Offset)
	switch e.Kind {
	case Asked:
		if e.Since == nil {
			return "asks to join"
		}
		return fmt.Sprintf("asks to join since %s:%d", e.Since.Epoch, e.Since.Offset)
	case Joined:
		if e.Recovered == nil {
			return "joined at " + at
		}
		return fmt.Sprintf("joined at %s, recovered %v", at, *e.Recovered)
	case Already:
		return "was in all along"
	case Resumed:
		return "a stream begins"
	case Event:
		return fmt.Sprintf("event %s %s", at, e.Value)
	case Left:
		return "out: " + e.Note
	case Cut:
		return "cut: " + e.Note
	case Reset:
		return "reset: " + e.Note
	default:
		return "must be up to " + at
	}
}
