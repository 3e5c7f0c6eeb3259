package hub

import (
	"context"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// A room that is published to faster than this process can write would fill the
// queues of all its members, and close them for being slow although they are
// not. So publishers wait while a room's members are behind, and are refused if
// that takes too long. A member whose own connection is what holds things up
// counts as one who keeps up: nobody waits for it, and it is closed in the end.

// Lagger is a Sink that can say that it is not its peer's fault if frames wait.
type Lagger interface {
	// Lags reports that much waits that has not been offered to the peer. It must
	// not block nor call back into the hub; it is called from many goroutines.
	Lags() bool
}

// How publishers wait.
const (
	lagSample   = 8                    // members that are looked at
	lagPatience = time.Second          // then the publish is refused
	lagLook     = 2 * time.Millisecond // between two looks
)

// MakeWay waits while most members that the room has in this process are
// behind, as their Sinks say if they are Laggers, at most for a second; then it
// fails with RATE_LIMITED, before any member has to be closed. Who publishes
// calls it before, and done after that, if there is no error: while members are
// behind one publisher goes at a time. Where they are not it costs one atomic
// load. Other errors are ctx's.
func (h *Hub) MakeWay(ctx context.Context, room string) (done func(), err error) {
	if h.lagging.Load() == 0 {
		return func() {}, nil
	}
	h.mu.Lock()
	r := h.rooms[room]
	h.mu.Unlock()
	turns := r.turnstile()
	if turns == nil {
		return func() {}, nil
	}
	patience := time.NewTimer(lagPatience)
	defer patience.Stop()
	select {
	case turns <- struct{}{}:
	case <-patience.C:
		return nil, errLagging()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for r.stillLags() {
		look := time.NewTimer(lagLook)
		select {
		case <-look.C:
			continue
		case <-patience.C:
			err = errLagging()
		case <-ctx.Done():
			err = ctx.Err()
		}
		look.Stop()
		<-turns
		return nil, err
	}
	return func() { <-turns }, nil
}

func errLagging() *holdfast.Error {
	return &holdfast.Error{Code: holdfast.RateLimited, Message: "More is published in this room than can be delivered", RetryAfter: time.Second}
}

// turnstile lets one publisher at a time through. It is nil if the room's
// members are not behind.
func (r *room) turnstile() chan struct{} {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.lags {
		return nil
	}
	if r.turns == nil {
		r.turns = make(chan struct{}, 1)
	}
	return r.turns
}

// stillLags looks at the members anew.
func (r *room) stillLags() bool {
	r.mu.Lock()
	sinks := make([]Sink, 0, lagSample)
	if r.lags {
		sinks = sample(sinks, r.groups, func(g *group) []receiver { return g.live })
	}
	r.mu.Unlock()
	if most(sinks) {
		return true
	}
	r.mu.Lock()
	r.setLags(false)
	r.mu.Unlock()
	return false
}

// snapshotLags looks at the members that were just sent to. It is called by who
// fans out.
func snapshotLags(groups []*group) bool {
	var few [lagSample]Sink
	return most(sample(few[:0], groups, func(g *group) []receiver { return g.snapshot }))
}

// sample appends some of the members' sinks, from all over the room, as many as
// dst has room for.
func sample(dst []Sink, groups []*group, of func(*group) []receiver) []Sink {
	n := 0
	for _, g := range groups {
		n += len(of(g))
	}
	step, at := max(1, (n+cap(dst)-1)/cap(dst)), 0
	for _, g := range groups {
		list := of(g)
		for ; at < len(list); at += step {
			dst = append(dst, list[at].sink)
		}
		at -= len(list)
	}
	return dst
}

// most reports whether more than half of the sinks lag.
func most(sinks []Sink) bool {
	behind := 0
	for _, sink := range sinks {
		if l, ok := sink.(Lagger); ok && l.Lags() {
			behind++
		}
	}
	return 2*behind > len(sinks)
}

// setLags notes whether most members are behind. mu is held.
func (r *room) setLags(lags bool) {
	if r.lags == lags || r.dead && lags {
		return
	}
	r.lags = lags
	if lags {
		r.hub.lagging.Add(1)
	} else {
		r.hub.lagging.Add(-1)
	}
}
