package load

import (
	"fmt"
	"slices"
)

// Faults count what a server did wrong. A run without any is clean.
type Faults struct {
	// Lost messages never came to a member that they were for.
	Lost uint64 `json:"lost"`
	// Duplicated messages, or answers, came more than once.
	Duplicated uint64 `json:"duplicated"`
	// Reordered messages came after a later one of the same publisher.
	Reordered uint64 `json:"reordered"`
	// Foreign messages came to a member of another room.
	Foreign uint64 `json:"foreign"`
	// Damaged messages had another content, or broke a protocol.
	Damaged uint64 `json:"damaged"`
	// Refused are connections, joins, publishes and events that the server
	// answered with an error.
	Refused uint64 `json:"refused"`
	// Disconnected are connections that ended without being asked to.
	Disconnected uint64 `json:"disconnected"`
	// First are sentences about the first of them, at most 8.
	First []string `json:"first,omitempty"`
}

// maxSentences bounds Faults.First.
const maxSentences = 8

// Total is the number of all faults.
func (f *Faults) Total() uint64 {
	return f.Lost + f.Duplicated + f.Reordered + f.Foreign + f.Damaged + f.Refused + f.Disconnected
}

// add counts a fault, and tells about it if it is among the first.
func (f *Faults) add(counter *uint64, format string, args ...any) {
	*counter++
	if len(f.First) < maxSentences {
		f.First = append(f.First, fmt.Sprintf(format, args...))
	}
}

// tracker checks what one member gets of the publishers of its room.
type tracker struct {
	active  bool     // the member is in its room
	base    []uint32 // by publisher: what was sent before it was; nil for nothing
	next    []uint32 // by publisher: the number that must come next
	gaps    []span   // numbers that were jumped over; at most maxGaps
	skipped []span   // numbers ahead of next that will never come: refused ones
}

// span are the numbers from, from+1, … to-1 of a publisher.
type span struct{ pub, from, to uint32 }

// maxGaps bounds what a tracker remembers. Over it, the oldest gap counts as
// lost, and what still comes of it as a duplicate.
const maxGaps = 1024

// begin says that the member is in its room from now on. sent is how many
// messages there were before, by publisher.
func (t *tracker) begin(sent []uint32) {
	t.active, t.base, t.gaps, t.skipped = true, nil, nil, nil
	copy(t.next, sent)
	for _, n := range sent {
		if n > 0 {
			t.base = slices.Clone(sent)
			return
		}
	}
}

// early reports whether a message was sent before the member was in its room:
// it may have come or not.
func (t *tracker) early(pub, seq uint32) bool {
	return int(pub) < len(t.base) && seq < t.base[pub]
}

// awaits reports whether a message that was sent is still to come.
func (t *tracker) awaits(pub, seq uint32) bool {
	return t.active && !t.early(pub, seq) && !t.seen(pub, seq)
}

// see takes in a message. It returns false if it was seen before.
func (t *tracker) see(pub, seq uint32, member fmt.Stringer, f *Faults) bool {
	if int(pub) >= len(t.next) {
		f.add(&f.Damaged, "%s got a message of a publisher that is not there (%d)", member, pub)
		return false
	}
	want := t.next[pub]
	if seq == want {
		t.next[pub]++
		if len(t.skipped) > 0 {
			t.passSkipped(pub)
		}
		return true
	}
	if seq > want {
		t.jump(span{pub, want, seq}, f)
		t.next[pub] = seq + 1
		t.passSkipped(pub)
		return true
	}
	if t.fill(pub, seq) {
		f.add(&f.Reordered, "%s got message %d of publisher %d after message %d", member, seq, pub, want-1)
		return true
	}
	f.add(&f.Duplicated, "%s got message %d of publisher %d again", member, seq, pub)
	return false
}

// seen reports whether a message has come.
func (t *tracker) seen(pub, seq uint32) bool {
	if seq >= t.next[pub] {
		return false
	}
	for _, gap := range t.gaps {
		if gap.pub == pub && gap.from <= seq && seq < gap.to {
			return false
		}
	}
	return true
}

// jump notes numbers that did not come, except those that can't.
func (t *tracker) jump(gap span, f *Faults) {
	for i := 0; i < len(t.skipped); i++ {
		s := t.skipped[i]
		if s.pub != gap.pub || s.from < gap.from || s.from >= gap.to {
			continue
		}
		t.skipped = append(t.skipped[:i], t.skipped[i+1:]...)
		t.jump(span{gap.pub, gap.from, s.from}, f)
		t.jump(span{gap.pub, s.to, gap.to}, f)
		return
	}
	if gap.from >= gap.to {
		return
	}
	if len(t.gaps) == maxGaps {
		f.Lost += uint64(t.gaps[0].to - t.gaps[0].from)
		t.gaps = t.gaps[1:]
	}
	t.gaps = append(t.gaps, gap)
}

// fill takes a number out of the gaps; false if it is in none.
func (t *tracker) fill(pub, seq uint32) bool {
	for i, gap := range t.gaps {
		if gap.pub != pub || seq < gap.from || seq >= gap.to {
			continue
		}
		t.gaps = append(t.gaps[:i], t.gaps[i+1:]...)
		if gap.from < seq {
			t.gaps = append(t.gaps, span{pub, gap.from, seq})
		}
		if seq+1 < gap.to {
			t.gaps = append(t.gaps, span{pub, seq + 1, gap.to})
		}
		return true
	}
	return false
}

// skip says that a message will not come: the server has refused it.
func (t *tracker) skip(pub, seq uint32) {
	if t.fill(pub, seq) || seq < t.next[pub] {
		return
	}
	t.skipped = append(t.skipped, span{pub, seq, seq + 1})
	t.passSkipped(pub)
}

// passSkipped moves next over numbers that will not come.
func (t *tracker) passSkipped(pub uint32) {
	for i := 0; i < len(t.skipped); {
		if s := t.skipped[i]; s.pub == pub && s.from == t.next[pub] {
			t.next[pub] = s.to
			t.skipped = append(t.skipped[:i], t.skipped[i+1:]...)
			i = 0
			continue
		}
		i++
	}
}

// finish counts what has not come of the messages that were sent: sent has
// their number by publisher, and sure how many of them must come, since they were
// not sent by one who was lost before the answer.
func (t *tracker) finish(sent, sure []uint32, member fmt.Stringer, f *Faults) {
	for _, gap := range t.gaps {
		if gap.to = min(gap.to, sure[gap.pub]); gap.from >= gap.to {
			continue
		}
		f.add(&f.Lost, "%s never got messages %d to %d of publisher %d", member, gap.from, gap.to-1, gap.pub)
		f.Lost += uint64(gap.to-gap.from) - 1
	}
	for pub, n := range sent {
		n = min(n, sure[pub])
		missing := uint64(0)
		if next := t.next[pub]; next < n {
			missing = uint64(n - next)
		}
		for _, s := range t.skipped {
			if int(s.pub) == pub {
				missing -= min(missing, uint64(s.to-s.from))
			}
		}
		if missing > 0 {
			f.add(&f.Lost, "%s never got the last %d messages of publisher %d", member, missing, pub)
			f.Lost += missing - 1
		}
	}
	t.gaps, t.skipped = nil, nil
}
