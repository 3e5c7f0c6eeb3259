package hub

import (
	"context"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Deliver implements Receiver.
func (r *room) Deliver(ev *holdfast.Event, prev uint64) {
	r.mu.Lock()
	if r.dead {
		r.mu.Unlock()
		return
	}
	if r.busy {
		r.hold(ev, prev)
		r.mu.Unlock()
		return
	}
	r.busy = true
	if r.follows(ev, prev) {
		r.fanOut(ev)
	} else {
		r.hold(ev, prev)
	}
	r.pump()
}

// Stale implements Receiver.
func (r *room) Stale() {
	r.mu.Lock()
	r.unread = true
	if r.busy || r.dead {
		r.mu.Unlock()
		return
	}
	r.busy = true
	r.pump()
}

// isNew reports whether ev comes after what was delivered. mu is held.
func (r *room) isNew(ev *holdfast.Event) bool {
	return ev.Position.Epoch == r.pos.Epoch && ev.Position.Offset > r.pos.Offset
}

// follows reports whether ev is what comes next, prev being the offset of what
// came before it. mu is held.
func (r *room) follows(ev *holdfast.Event, prev uint64) bool {
	return r.isNew(ev) && prev <= r.pos.Offset
}

// seen reports whether ev has been delivered or skipped. mu is held.
func (r *room) seen(ev *holdfast.Event) bool {
	return ev.Position.Epoch == r.pos.Epoch && ev.Position.Offset <= r.pos.Offset
}

// hold keeps an event for later. If that is too much, all of them are dropped:
// history has them. mu is held.
func (r *room) hold(ev *holdfast.Event, prev uint64) {
	if r.held.len() >= r.hub.cfg.JoinBuffer {
		r.held.clear()
		r.unread = true
		return
	}
	r.held.push(heldEvent{event: ev, prev: prev, round: r.round})
}

// pump delivers what is held, as far as it goes without reading history, which
// it leaves to a goroutine. It is called with mu held by who has the right to
// fan out; it gives both away.
func (r *room) pump() {
	for !r.dead {
		said := r.say()
		if r.dead {
			break
		}
		if r.unread {
			r.hub.wg.Go(r.catchUp) // a room that is not dead has the hub waiting for it already
			r.mu.Unlock()
			return
		}
		if r.held.len() == 0 {
			if said {
				continue
			}
			break
		}
		next := r.held.at(0)
		switch {
		case r.follows(next.event, next.prev):
			r.held.pop()
			r.fanOut(next.event)
		case r.seen(next.event):
			r.held.pop()
		case next.event.Position.Epoch != r.pos.Epoch && next.round < r.round:
			r.held.pop() // history, read since it came, did not know its epoch: it is an old one
		default:
			r.unread = true
		}
	}
	r.busy = false
	r.mu.Unlock()
}

// fanOut sends an event that follows to every live member, and puts it into the
// buffers of joins. It is called with mu held by who has the right to fan out,
// and releases it while it sends.
func (r *room) fanOut(ev *holdfast.Event) {
	r.pos.Offset = ev.Position.Offset
	if len(r.joining) > 0 {
		r.buffer(ev)
	}
	if len(r.groups) > 0 {
		for _, g := range r.groups {
			g.snapshot, g.shared = g.live, true
		}
		groups := r.groups // nothing is taken out while fanning is set
		r.fanning = true
		r.mu.Unlock()
		began, sent, key := r.hub.startFanOut(), 0, ""
		if r.overflow != nil {
			key = r.overflow.key(ev)
		}
		for _, g := range groups {
			if len(g.snapshot) == 0 {
				continue
			}
			frame := g.encoder.Encode(ev)
			if frame == nil {
				continue
			}
			if r.overflow != nil {
				frame = r.overflow.apply(frame, g, key)
			}
			sent += len(g.snapshot)
			for i := range g.snapshot {
				if ev.Except != "" && g.snapshot[i].member.session.excepted(ev) {
					continue
				}
				g.snapshot[i].sink.Send(frame) // false: its owner closes the session
			}
		}
		r.hub.endFanOut(began, sent)
		lags := r.overflow == nil && snapshotLags(groups)
		r.mu.Lock()
		r.setLags(lags)
		r.fanning = false
		for _, g := range groups {
			g.snapshot, g.shared = nil, false
		}
	}
	r.sent = r.pos.Offset
	if len(r.joining) > 0 {
		r.unpark()
	}
	if len(r.leaving) > 0 {
		r.forgetLeaving()
	}
}

// forgetLeaving ends the memberships that were removed during a fan-out. mu is
// held, and released meanwhile.
func (r *room) forgetLeaving() {
	leaving := r.leaving
	r.leaving = nil
	r.groups = slices.DeleteFunc(r.groups, (*group).empty)
	r.mu.Unlock()
	for _, m := range leaving {
		m.session.forget(m)
	}
	r.mu.Lock()
}

// buffer gives ev to the joins under way, and makes parked members live if it
// is for them. mu is held.
func (r *room) buffer(ev *holdfast.Event) {
	parked := false
	for _, m := range r.joining {
		b := m.buffer
		switch {
		case m.parked:
			parked = parked || ev.Position.Offset > m.served
		case b.over:
		case len(b.events) >= r.hub.cfg.JoinBuffer || b.bytes+ev.Size() > joinBufferBytes && len(b.events) > 0:
			*b = joinBuffer{over: true}
		default:
			b.events = append(b.events, ev)
			b.bytes += ev.Size()
		}
	}
	if !parked {
		return
	}
	for _, m := range slices.Clone(r.joining) {
		if m.parked && ev.Position.Offset > m.served {
			r.unjoin(m)
			r.add(m)
		}
	}
}

// catchUp reads history until nothing is missing. It has the right to fan out,
// and gives it back.
func (r *room) catchUp() {
	h := r.hub
	backoff := 100 * time.Millisecond
	for behind := 0; ; {
		r.mu.Lock()
		for n := 0; n < maxNotes && r.say(); n++ { // what the broker's outage should not hold up
		}
		if r.dead {
			r.mu.Unlock()
			return
		}
		since := r.pos
		r.unread = false
		r.round++
		r.mu.Unlock()

		ctx, cancel := context.WithTimeout(h.ctx, historyTimeout)
		history, err := h.broker.History(ctx, r.name, &since, 0)
		cancel()
		if h.ctx.Err() != nil {
			return
		}
		if err == nil {
			behind++
			if r.apply(history, since, behind > maxBehind) {
				return
			}
		} else {
			h.log.Warn("broker: history can't be read; trying again", "room", r.name, "error", err)
		}
		select {
		case <-time.After(backoff):
		case <-h.ctx.Done():
			return
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// apply delivers what a reading of history since r.pos found, and then what was
// held. It returns false, keeping the right to fan out, if history is behind
// what was delivered and must be read again; with last set, the room is given
// up as lost instead.
func (r *room) apply(history History, since holdfast.Position, last bool) bool {
	now := history.Position
	switch {
	case now.Epoch == since.Epoch && now.Offset < since.Offset && !last:
		return false
	case now.Epoch != since.Epoch || !history.Recovered:
		r.lose(now)
		r.mu.Lock()
		r.pump()
		return true
	}
	r.mu.Lock()
	for _, ev := range history.Events {
		if !r.dead && r.isNew(ev) {
			r.fanOut(ev)
		}
	}
	if now.Offset > r.pos.Offset {
		r.pos.Offset, r.sent = now.Offset, now.Offset
		r.unpark()
	}
	if r.behind() {
		if !last {
			r.mu.Unlock()
			return false
		}
		r.mu.Unlock()
		r.lose(now)
		r.mu.Lock()
	}
	r.pump()
	return true
}

// behind reports whether history, read after an event came, did not have it
// nor what led up to it. mu is held.
func (r *room) behind() bool {
	for r.held.len() > 0 && r.seen(r.held.at(0).event) {
		r.held.pop()
	}
	if r.held.len() == 0 {
		return false
	}
	first := r.held.at(0)
	return first.round < r.round && first.event.Position.Epoch == r.pos.Epoch && !r.follows(first.event, first.prev)
}

// lose sets the room to where history is now, puts the members out, and makes
// joins begin anew. The caller has the right to fan out.
func (r *room) lose(now holdfast.Position) {
	r.hub.log.Warn("room: continuity lost", "room", r.name, "epoch", now.Epoch, "offset", now.Offset)
	r.mu.Lock()
	r.pos, r.sent = now, now.Offset
	r.held.clear()
	r.unread = true // for what was held
	var members []*member
	for _, g := range r.groups {
		for _, rcv := range g.live {
			rcv.member.group = nil
			members = append(members, rcv.member)
		}
	}
	r.groups = nil
	r.tellPublisher()
	for _, m := range slices.Clone(r.joining) {
		if m.parked {
			r.unjoin(m)
			members = append(members, m)
		} else {
			*m.buffer = joinBuffer{over: true}
		}
	}
	r.mu.Unlock()
	for _, m := range members {
		m.session.lost(m, errLost())
	}
}
