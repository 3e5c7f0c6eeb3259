package hub

import (
	"bytes"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// memRoom is a room of a Memory. All of it is guarded by its shard's lock.
type memRoom struct {
	shard  *memShard
	name   string
	epoch  string
	top    uint64           // offset of the last event; they count by one
	events fifo[*keptEvent] // history, oldest first; ends at top
	size   int              // of events, by Event.Size
	ids    idWindow
	used   time.Time // last use

	receiver Receiver         // nil: not subscribed
	pending  fifo[*keptEvent] // to be delivered
	draining bool             // somebody delivers
	space    chan struct{}    // closed when pending was taken; made by who waits
}

// keptEvent is an event in a room's history and in its shard's list.
type keptEvent struct {
	event      holdfast.Event
	size       int
	room       *memRoom // nil once dropped
	prev, next *keptEvent
}

// eventList links the events of a shard, oldest first. The zero value is empty.
type eventList struct{ first, last *keptEvent }

func (l *eventList) push(e *keptEvent) {
	e.prev = l.last
	if l.last == nil {
		l.first = e
	} else {
		l.last.next = e
	}
	l.last = e
}

func (l *eventList) remove(e *keptEvent) {
	if e.prev == nil {
		l.first = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.last = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
}

// newKept copies an event, with all that it points to that may change.
func newKept(ev *holdfast.Event) *keptEvent {
	e := &keptEvent{event: *ev, size: ev.Size()}
	e.event.Data = bytes.Clone(ev.Data)
	if len(ev.Attachments) > 0 {
		e.event.Attachments = make([][]byte, len(ev.Attachments))
		for i, a := range ev.Attachments {
			e.event.Attachments[i] = bytes.Clone(a)
		}
	}
	return e
}

func (r *memRoom) cost() int64 { return int64(memoryRoomCost + len(r.name)) }

func (e *keptEvent) cost() int64 { return int64(memoryEventCost + e.size) }

func (r *memRoom) position() holdfast.Position {
	return holdfast.Position{Epoch: r.epoch, Offset: r.top}
}

// append gives e the next offset and puts it into history.
func (r *memRoom) append(e *keptEvent, now time.Time) {
	sh, cfg := r.shard, &r.shard.memory.cfg
	r.top++
	r.used = now
	e.event.Room = r.name
	e.event.Time = now
	e.event.Position = r.position()
	e.room = r
	r.events.push(e)
	r.size += e.size
	sh.events.push(e)
	sh.memory.bytes.Add(e.cost())
	if e.event.ID != "" {
		r.ids.add(e, cfg.IDs, sh.memory)
	}
	r.expire(now.Add(-cfg.Age))
	for r.events.len() > 0 && (r.events.len() > cfg.Events || r.size > cfg.Bytes) {
		r.dropOldest()
	}
	sh.noteOldest()
}

// dropOldest takes the oldest event out of history.
func (r *memRoom) dropOldest() {
	e := r.events.pop()
	r.size -= e.size
	r.shard.events.remove(e)
	r.shard.memory.bytes.Add(-e.cost())
	e.room = nil
	r.shard.noteOldest()
}

func (sh *memShard) noteOldest() {
	if sh.events.first == nil {
		sh.oldest.Store(0)
	} else {
		sh.oldest.Store(sh.events.first.event.Time.UnixNano())
	}
}

// expire drops what is from before cutoff.
func (r *memRoom) expire(cutoff time.Time) {
	for r.events.len() > 0 && r.events.at(0).event.Time.Before(cutoff) {
		r.dropOldest()
	}
	r.ids.expire(cutoff, r.shard.memory)
}

// history returns what is kept after since.
func (r *memRoom) history(since *holdfast.Position, limit int) History {
	h := History{Position: r.position(), Recovered: true}
	kept := r.events.len()
	first := r.top - uint64(kept) // the offset before the oldest
	skip := 0
	switch {
	case since == nil:
		if limit > 0 {
			skip = max(kept-limit, 0)
		}
	case since.Epoch != r.epoch || since.Offset > r.top || since.Offset < first:
		h.Recovered = false
		return h
	default:
		skip = int(since.Offset - first)
	}
	n := kept - skip
	if limit > 0 {
		n = min(n, limit)
	}
	if n == 0 {
		return h
	}
	h.Events = make([]*holdfast.Event, n)
	for i := range h.Events {
		h.Events[i] = &r.events.at(skip + i).event
	}
	return h
}

// waitSpace returns a channel that is closed when pending was taken.
func (r *memRoom) waitSpace() <-chan struct{} {
	if r.space == nil {
		r.space = make(chan struct{})
	}
	return r.space
}

func (r *memRoom) freeSpace() {
	if r.space != nil {
		close(r.space)
		r.space = nil
	}
}

func (r *memRoom) unsubscribe() {
	r.receiver = nil
	r.pending.clear()
	r.freeSpace()
}

// deliver hands e over, and after it what is pending, in order; the caller has
// set draining. After turn events it leaves the rest to a goroutine, so that a
// publisher is not kept for long; turn < 0: never. The lock is not held.
func (r *memRoom) deliver(e *keptEvent, receiver Receiver, turn int) {
	sh := r.shard
	for n := 1; ; n++ {
		receiver.Deliver(&e.event, e.event.Position.Offset-1)
		sh.mu.Lock()
		if r.pending.len() == 0 {
			r.draining = false
			sh.mu.Unlock()
			return
		}
		e, receiver = r.pending.pop(), r.receiver // there is a receiver, or pending would be empty
		if r.pending.len() <= memoryPending/2 {
			r.freeSpace()
		}
		if n == turn {
			next, to := e, receiver
			sh.memory.wg.Go(func() { r.deliver(next, to, -1) }) // the shard is open: see above
			sh.mu.Unlock()
			return
		}
		sh.mu.Unlock()
	}
}

// idWindow remembers the ids of published events, and their offsets. The zero
// value is empty.
type idWindow struct {
	seen  map[idKey]uint64
	order fifo[idEntry]
}

type idKey struct{ from, scope, id string }

func idKeyOf(ev *holdfast.Event) idKey { return idKey{ev.From, ev.Scope, ev.ID} }

type idEntry struct {
	key  idKey
	when time.Time
}

func (k idKey) cost() int64 { return int64(memoryIDCost + len(k.from) + len(k.scope) + len(k.id)) }

func (w *idWindow) find(ev *holdfast.Event) (offset uint64, ok bool) {
	offset, ok = w.seen[idKeyOf(ev)]
	return offset, ok
}

func (w *idWindow) add(e *keptEvent, limit int, m *Memory) {
	for w.order.len() >= limit {
		w.dropOldest(m)
	}
	if w.seen == nil {
		w.seen = make(map[idKey]uint64)
	}
	key := idKeyOf(&e.event)
	w.seen[key] = e.event.Position.Offset
	w.order.push(idEntry{key, e.event.Time})
	m.bytes.Add(key.cost())
}

func (w *idWindow) dropOldest(m *Memory) {
	key := w.order.pop().key
	delete(w.seen, key)
	m.bytes.Add(-key.cost())
	if len(w.seen) == 0 {
		w.seen = nil // a map does not shrink
	}
}

func (w *idWindow) expire(cutoff time.Time, m *Memory) {
	for w.order.len() > 0 && w.order.at(0).when.Before(cutoff) {
		w.dropOldest(m)
	}
}

func (w *idWindow) clear(m *Memory) {
	for w.order.len() > 0 {
		w.dropOldest(m)
	}
}
