package hub

import (
	"sync/atomic"

	"github.com/holdfast-dev/holdfast"
)

// Overflow is what becomes of a reader who is too slow.
type Overflow uint8

const (
	// OverflowClose: the queue is closed, and its connection ends with
	// SLOW_CONSUMER: nothing is lost in silence. The default.
	OverflowClose Overflow = iota
	// OverflowDropOldest: the oldest frames of this kind that wait are dropped,
	// as many as it takes.
	OverflowDropOldest
	// OverflowLatest: a frame with the same Key that still waits is dropped, full
	// or not; if the new one does not fit even so, more of this kind are, the
	// oldest first.
	OverflowLatest
)

// String returns "close", "drop-oldest" or "latest".
func (o Overflow) String() string {
	switch o {
	case OverflowDropOldest:
		return "drop-oldest"
	case OverflowLatest:
		return "latest"
	}
	return "close"
}

// ParseOverflow is the reverse of String. The error is INVALID_ARGUMENT.
func ParseOverflow(text string) (Overflow, error) {
	for _, o := range [...]Overflow{OverflowClose, OverflowDropOldest, OverflowLatest} {
		if text == o.String() {
			return o, nil
		}
	}
	return 0, holdfast.Errorf(holdfast.InvalidArgument, "%.40q is none of close, drop-oldest and latest", text)
}

// droppable reports whether a queue may drop f.
func (f *Frame) droppable() bool {
	return f.Overflow == OverflowDropOldest || f.Overflow == OverflowLatest
}

// Drops counts the frames that queues dropped, by the policy that let them:
// those that gave way, those that were replaced, and those that found no room.
// The zero value is ready, and safe for concurrent use.
type Drops struct {
	DropOldest, Latest atomic.Uint64
}

func (d *Drops) count(f *Frame) {
	switch {
	case d == nil:
	case f.Overflow == OverflowDropOldest:
		d.DropOldest.Add(1)
	default:
		d.Latest.Add(1)
	}
}

// loose is what a Queue knows of its frames that may be dropped. A slot is
// known by its serial number: that of the first slot is first, and those behind
// it count up from there. What was dropped leaves a hole, so that nothing has
// to move; holes at the ends go at once, the others before the ring would grow.
type loose struct {
	first int64
	holes int
	kinds [OverflowLatest + 1]looseKind // by Overflow; OverflowClose has none
	// latest finds frames with OverflowLatest by Key. It is made when there is
	// too much to look through, and has as many entries as there are such
	// frames, which the queue's limit bounds.
	latest map[string]int64
}

type looseKind struct {
	n, bytes int
	from     int64 // no frame of the kind is in a slot before this
}

// fewSlots is how many slots are looked through for a key, instead of having a
// map.
const fewSlots = 16

// at returns the index in the ring of a slot. mu is held.
func (q *Queue) at(serial int64) int {
	return (q.head + int(serial-q.loose.first)) & (len(q.slots()) - 1)
}

// loosen takes note of f, which was put into the slot at this place. mu is held.
func (q *Queue) loosen(f *Frame, place int) {
	if q.loose == nil {
		q.loose = new(loose)
	}
	l := q.loose
	serial := l.first + int64(place)
	k := &l.kinds[f.Overflow]
	if k.n == 0 || serial < k.from {
		k.from = serial
	}
	k.n++
	k.bytes += f.Size() + frameOverhead
	if f.Overflow == OverflowLatest && l.latest != nil {
		l.latest[f.Key] = serial
	}
}

// tighten is the reverse: f is in this slot no more. mu is held.
func (q *Queue) tighten(f *Frame, serial int64) {
	l := q.loose
	k := &l.kinds[f.Overflow]
	k.n--
	k.bytes -= f.Size() + frameOverhead
	if f.Overflow == OverflowLatest && l.latest[f.Key] == serial {
		delete(l.latest, f.Key)
	}
}

// oldest returns the slot of the oldest frame of a kind, of which there is at
// least one. What it has looked through it does not look through again. mu is
// held.
func (q *Queue) oldest(kind Overflow) int64 {
	ring, k := q.slots(), &q.loose.kinds[kind]
	k.from = max(k.from, q.loose.first)
	for {
		if f := ring[q.at(k.from)]; f != nil && f.Overflow == kind {
			return k.from
		}
		k.from++
	}
}

// find returns the slot of the frame with OverflowLatest and this key. mu is
// held, and q.loose not nil.
func (q *Queue) find(key string) (serial int64, ok bool) {
	l := q.loose
	if l.kinds[OverflowLatest].n == 0 {
		return 0, false
	}
	if l.latest == nil {
		ring, from, end := q.slots(), q.oldest(OverflowLatest), l.first+int64(q.n)
		if end-from <= fewSlots {
			for i := from; i < end; i++ {
				if f := ring[q.at(i)]; f != nil && f.Overflow == OverflowLatest && f.Key == key {
					return i, true
				}
			}
			return 0, false
		}
		l.latest = make(map[string]int64, l.kinds[OverflowLatest].n)
		for i := from; i < end; i++ {
			if f := ring[q.at(i)]; f != nil && f.Overflow == OverflowLatest {
				l.latest[f.Key] = i
			}
		}
	}
	serial, ok = l.latest[key]
	return serial, ok
}

// giveWay drops what f replaces, and what else may be dropped for it until over
// bytes less are queued, or the queue is empty. It returns false, and has
// dropped nothing, if that can't be. mu is held.
func (q *Queue) giveWay(f *Frame, over int) bool {
	l := q.loose
	if l == nil {
		return false
	}
	kinds := [...]Overflow{OverflowDropOldest, OverflowLatest}
	from := kinds[:]
	if f.droppable() {
		from = kinds[f.Overflow-OverflowDropOldest:][:1]
	}
	spare := 0
	for _, kind := range from {
		spare += l.kinds[kind].bytes
	}
	if over > spare && spare < q.bytes {
		return false
	}
	if f.Overflow == OverflowLatest {
		if serial, ok := q.find(f.Key); ok {
			over -= q.drop(serial)
		}
	}
	for over > 0 {
		serial, found := int64(0), false
		for _, kind := range from {
			if l.kinds[kind].n == 0 {
				continue
			}
			if s := q.oldest(kind); !found || s < serial {
				serial, found = s, true
			}
		}
		if !found {
			break // the queue is empty
		}
		over -= q.drop(serial)
	}
	q.trim()
	q.signal()
	return true
}

// drop empties a slot and returns how many bytes that frees. The caller trims
// afterwards. mu is held.
func (q *Queue) drop(serial int64) int {
	ring, i := q.slots(), q.at(serial)
	f := ring[i]
	ring[i] = nil
	q.loose.holes++
	q.tighten(f, serial)
	q.Drops.count(f)
	size := f.Size() + frameOverhead
	q.bytes -= size
	return size
}

// popped takes note of f, which was popped. mu is held.
func (q *Queue) popped(f *Frame) {
	if f.droppable() {
		q.tighten(f, q.loose.first)
	}
	q.loose.first++
	q.trim()
}

// trim takes the holes off both ends, and forgets what there is no more need
// to know. mu is held.
func (q *Queue) trim() {
	ring, l := q.slots(), q.loose
	mask := len(ring) - 1
	for q.n > 0 && ring[q.head] == nil {
		q.head = (q.head + 1) & mask
		q.n--
		l.first++
		l.holes--
	}
	for q.n > 0 && ring[(q.head+q.n-1)&mask] == nil {
		q.n--
		l.holes--
	}
	if l.holes == 0 && l.kinds[OverflowDropOldest].n+l.kinds[OverflowLatest].n == 0 {
		q.loose = nil
	}
}

// moveTo moves the frames, without the holes between them: to the front of
// another ring, or together in their own. mu is held.
func (q *Queue) moveTo(ring []*Frame) {
	old := q.slots()
	begin := 0
	if &ring[0] == &old[0] {
		begin = q.head
	}
	n := 0
	for i := range q.n {
		f := old[(q.head+i)&(len(old)-1)]
		if f == nil {
			continue
		}
		ring[(begin+n)&(len(ring)-1)] = f
		n++
	}
	if n == q.n {
		return
	}
	for i := n; i < q.n && &ring[0] == &old[0]; i++ {
		ring[(begin+i)&(len(ring)-1)] = nil
	}
	q.n = n
	l := q.loose
	l.holes, l.latest = 0, nil // the slots have other numbers now
	for kind := range l.kinds {
		l.kinds[kind].from = l.first
	}
}
