package hub

import (
	"context"
	"slices"
	"sync"

	"github.com/holdfast-dev/holdfast"
)

// room is a room that has members, or joins under way, in this process. It is
// the Receiver of its events.
type room struct {
	// Static.
	hub  *Hub
	name string
	// overflow is set before anybody is in, and static from then on. nil: close.
	overflow *RoomOverflow

	// Guarded by Hub.mu.
	refs  int // memberships and joins
	state roomState
	err   error         // why state is roomFailed
	wake  chan struct{} // closed at the next change of state; made by who waits

	mu sync.Mutex // taken before Session.mu, never after it
	// Guarded by mu, but for what a group says.
	dead bool              // nothing is delivered any more
	pos  holdfast.Position // of the last event whose fan-out has begun, or skipped
	sent uint64            // offset of the last event whose fan-out is done, or skipped

	// Delivery. Whoever sets busy has the right to fan out, until he clears it
	// or hands it on; others put what they have into held. It starts out set:
	// subscribe has it.
	busy    bool
	fanning bool // mu is released while the groups' snapshots are being sent to
	unread  bool // history must be read before held can go on
	round   int  // counts readings of history
	held    fifo[heldEvent]

	lags    bool          // too many members were behind at the last look
	turns   chan struct{} // taken by the publisher whose turn it is; made when needed
	changed chan struct{} // tells that publisher to look again; made with turns, has room for one

	groups  []*group
	joining []*member // with a buffer, or parked
	leaving []*member // to be forgotten when the fan-out is done

	crowd *crowd // nil while nobody counts as present
	talk  *talk  // nil while there is nothing to say beside the order
}

type roomState uint8

const (
	roomSubscribing roomState = iota
	roomLive
	roomClosing
	roomFailed
)

// group is the live members that share an encoder.
type group struct {
	encoder Encoder
	id      uint64 // no other group of the hub has or had it
	// live is guarded by room.mu. While room.fanning, snapshot shares its array
	// and is read without the lock: elements below its length must not change
	// then, but more may be appended.
	live     []receiver
	shared   bool
	snapshot []receiver // owned by whoever fans out
}

// receiver is one live member. The sink is here so that a fan-out walks one
// array and nothing else of ours.
type receiver struct {
	sink   Sink
	member *member
}

type heldEvent struct {
	event *holdfast.Event
	prev  uint64
	round int // readings of history that had begun when it came
}

// joinBuffer holds the events that a join has still to send, in order and
// without gaps, or the fact that it does not.
type joinBuffer struct {
	events []*holdfast.Event
	bytes  int
	over   bool // it overflowed, or the room's continuity was lost
}

// wakeup returns a channel that is closed at the room's next change of state.
// Hub.mu is held.
func (r *room) wakeup() <-chan struct{} {
	if r.wake == nil {
		r.wake = make(chan struct{})
	}
	return r.wake
}

// wakeAll is called after a change of state. Hub.mu is held.
func (r *room) wakeAll() {
	if r.wake != nil {
		close(r.wake)
		r.wake = nil
	}
}

// subscribe runs in a goroutine of the hub as soon as the room is made.
func (r *room) subscribe() {
	h := r.hub
	if h.cfg.Overflow != nil {
		if o := h.cfg.Overflow(r.name); o.Overflow != OverflowClose {
			r.overflow = &o
		}
	}
	ctx, cancel := context.WithTimeout(h.ctx, subscribeTimeout)
	defer cancel()
	pos, err := h.broker.Subscribe(ctx, r.name, r)
	if err != nil {
		if h.ctx.Err() == nil {
			h.log.Warn("broker: subscribe failed", "room", r.name, "error", err)
		}
		r.kill()
		h.mu.Lock()
		r.state, r.err = roomFailed, err
		h.drop(r)
		h.mu.Unlock()
		return
	}
	r.mu.Lock()
	r.pos, r.sent = pos, pos.Offset
	r.pump() // before anybody is in: members then find delivery free

	h.mu.Lock()
	r.state = roomLive
	r.wakeAll()
	h.closeIfUnused(r)
}

// await returns when the room is subscribed, or why it is not.
func (r *room) await(ctx context.Context) error {
	h := r.hub
	for {
		h.mu.Lock()
		state, err := r.state, r.err
		if state != roomSubscribing {
			h.mu.Unlock()
			return err
		}
		wake := r.wakeup()
		h.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// kill ends delivery, before the subscription is given up.
func (r *room) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = true
	r.setLags(false)
	r.held.clear()
	r.abandon()
}

// position returns the room's position and how far the member was served.
func (r *room) position(m *member) holdfast.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return holdfast.Position{Epoch: r.pos.Epoch, Offset: max(r.sent, m.served)}
}

// begin puts a join into the buffering state, or back into it, and returns the
// position after which the buffer has everything.
func (r *room) begin(m *member) holdfast.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m.buffer == nil {
		r.joining = append(r.joining, m)
	}
	m.buffer = new(joinBuffer)
	return r.pos
}

// take returns what was buffered since the last call, and whether the member
// is done: live from now on, having been served everything up to served. ok is
// false if the buffer is not whole; begin anew then.
func (r *room) take(m *member, served holdfast.Position) (events []*holdfast.Event, notes []note, done, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := m.buffer
	switch {
	case b.over || served.Epoch != r.pos.Epoch:
		return nil, nil, false, false
	case len(b.events)+len(m.notes) > 0:
		events, b.events, b.bytes = b.events, nil, 0
		notes, m.notes = m.notes, nil
		return events, notes, false, true
	}
	m.served = served.Offset
	m.buffer = nil
	if served.Offset > r.pos.Offset {
		m.parked = true // history was ahead of us: events up to served are still to come here
		return nil, nil, true, true
	}
	r.unjoin(m)
	r.add(m)
	return nil, nil, true, true
}

// unpark makes those live for whom all events have come that they were served by
// history. mu is held by who fans out, and does not just then.
func (r *room) unpark() {
	for _, m := range slices.Clone(r.joining) {
		if m.parked && m.served <= r.pos.Offset {
			r.unjoin(m)
			r.add(m)
		}
	}
}

// add makes a member live. mu is held.
func (r *room) add(m *member) {
	g := r.groupOf(m)
	m.group, m.index = g, int32(len(g.live))
	g.live = append(g.live, receiver{sink: m.session.sink, member: m})
	r.tellPublisher()
	r.queue(m)
}

// groupOf returns the group that a member is in when it is live, made if need be.
// mu is held.
func (r *room) groupOf(m *member) *group {
	i := slices.IndexFunc(r.groups, func(g *group) bool { return g.encoder == m.session.encoder })
	if i < 0 {
		i = len(r.groups)
		r.groups = append(r.groups, &group{encoder: m.session.encoder, id: r.hub.groups.Add(1)})
	}
	return r.groups[i]
}

// unjoin takes a member off the joining ones. mu is held.
func (r *room) unjoin(m *member) {
	m.buffer, m.notes, m.parked = nil, nil, false
	if i := slices.Index(r.joining, m); i >= 0 {
		r.joining = slices.Delete(r.joining, i, i+1)
	}
	if len(r.joining) == 0 {
		r.joining = nil
	}
}

// remove takes a member out, in whatever state it is. It reports whether that
// is the end of it; otherwise a fan-out may still send to it, and whoever does
// that forgets it.
func (r *room) remove(m *member) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.withdraw(m)
	if m.group == nil {
		r.unjoin(m)
	} else {
		m.group.remove(m)
		m.group = nil
		r.tellPublisher()
		if !r.fanning {
			r.groups = slices.DeleteFunc(r.groups, (*group).empty)
		}
	}
	if r.fanning {
		r.leaving = append(r.leaving, m)
		return false
	}
	return true
}

func (g *group) empty() bool { return len(g.live) == 0 }

// remove fills the member's place with the last one, in a copy if the array is
// being read.
func (g *group) remove(m *member) {
	if g.shared {
		g.live = slices.Clone(g.live)
		g.shared = false
	}
	last := len(g.live) - 1
	g.live[m.index] = g.live[last]
	g.live[m.index].member.index = m.index
	g.live[last] = receiver{}
	g.live = g.live[:last]
	if c := cap(g.live); c > 32 && last < c/4 {
		g.live = slices.Clone(g.live)
	}
}
