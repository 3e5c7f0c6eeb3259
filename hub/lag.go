package hub

import (
	"context"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// A room that is published to faster than this process can write would fill the
// queues of all its members, and close them for being slow although they are
// not. So publishers wait while a room's members are behind, and are refused if
// that takes too long. A member whose own connection is what holds things up
// counts as one who keeps up: nobody waits for it, and it is closed in the end.

// Lagger is a Sink that can say that it is not its peer's fault if frames wait.
// Its methods must not block nor call back into the hub; they are called from
// many goroutines.
type Lagger interface {
	// Lags reports that much waits that has not been offered to the peer.
	Lags() bool
	// CaughtUp returns a channel that is closed as soon as Lags reports false
	// again, also when the Sink ends. It is nil if Lags would report false now.
	CaughtUp() <-chan struct{}
}

// How publishers wait.
const (
	lagSample   = 8           // members that are looked at
	lagPatience = time.Second // then the publish is refused
)

// Behind reports whether MakeWay would have a publisher in the room wait, as
// far as the last fan-out shows. Where no room is behind it costs one atomic
// load.
func (h *Hub) Behind(room string) bool {
	if h.lagging.Load() == 0 {
		return false
	}
	h.mu.Lock()
	r := h.rooms[room]
	h.mu.Unlock()
	return r.turnstile() != nil
}

// MakeWay waits while a quarter or more of the members that the room has in
// this process are behind, as their Sinks say if they are Laggers, at most for a
// second; then it fails with RATE_LIMITED, before any member has to be closed. Who publishes
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
	if err := r.awaitMembers(ctx, patience.C); err != nil {
		<-turns
		return nil, err
	}
	return func() { <-turns }, nil
}

// awaitMembers returns when not too many members are behind. The caller has the
// turn.
func (r *room) awaitMembers(ctx context.Context, patience <-chan time.Time) error {
	for {
		news := r.lagNews()
		if len(news) == 0 {
			return nil
		}
		switch awaitAny(ctx.Done(), patience, news) {
		case 0:
			return ctx.Err()
		case 1:
			return errLagging()
		}
	}
}

// awaitAny waits until one of the channels can be received from, and returns
// which: 0 for ended, 1 for late, more for news.
func awaitAny(ended <-chan struct{}, late <-chan time.Time, news []<-chan struct{}) int {
	cases := make([]reflect.SelectCase, 0, 2+len(news))
	cases = append(cases,
		reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ended)},
		reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(late)})
	for _, ch := range news {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ch)})
	}
	chosen, _, _ := reflect.Select(cases)
	return chosen
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
		r.turns, r.changed = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	return r.turns
}

// lagNews looks at the members anew. It returns what tells that it is time for
// another look, nothing if not too many members are behind.
func (r *room) lagNews() []<-chan struct{} {
	var sinks []Sink
	news := make([]<-chan struct{}, 0, lagSample+1)
	r.mu.Lock()
	if r.lags {
		sinks = sample(make([]Sink, 0, lagSample), r.groups, func(g *group) []receiver { return g.live })
	}
	select {
	case <-r.changed: // before this look
	default:
	}
	r.mu.Unlock()
	for _, sink := range sinks {
		if l, ok := sink.(Lagger); ok {
			if ch := l.CaughtUp(); ch != nil {
				news = append(news, ch)
			}
		}
	}
	if tooMany(len(news), len(sinks)) {
		return append(news, r.changed)
	}
	r.mu.Lock()
	r.setLags(false)
	r.mu.Unlock()
	return nil
}

// snapshotLags looks at the members that were just sent to. It is called by who
// fans out.
func snapshotLags(groups []*group) bool {
	var few [lagSample]Sink
	return lag(sample(few[:0], groups, func(g *group) []receiver { return g.snapshot }))
}

// sample appends some of the members' sinks, as many as dst has room for, each
// by chance from its part of the room: members that come in turn to the same
// writer must not be all that is ever seen.
func sample(dst []Sink, groups []*group, of func(*group) []receiver) []Sink {
	n := 0
	for _, g := range groups {
		n += len(of(g))
	}
	looks, before := min(cap(dst), n), 0
	for k := range looks {
		from, to := k*n/looks, (k+1)*n/looks
		at := from + rand.IntN(to-from)
		for at-before >= len(of(groups[0])) {
			before += len(of(groups[0]))
			groups = groups[1:]
		}
		dst = append(dst, of(groups[0])[at-before].sink)
	}
	return dst
}

// tooMany reports whether so many of n members are behind that publishers have
// to wait: a quarter, as where one of a few writers has not kept up. Less may be
// a member that hears too much elsewhere.
func tooMany(behind, n int) bool { return behind > 0 && 4*behind >= n }

// lag reports whether too many of the sinks lag.
func lag(sinks []Sink) bool {
	behind := 0
	for _, sink := range sinks {
		if l, ok := sink.(Lagger); ok && l.Lags() {
			behind++
		}
	}
	return tooMany(behind, len(sinks))
}

// setLags notes whether too many members are behind. mu is held.
func (r *room) setLags(lags bool) {
	if r.lags == lags || r.dead && lags {
		return
	}
	r.lags = lags
	if lags {
		r.hub.lagging.Add(1)
		return
	}
	r.hub.lagging.Add(-1)
	r.tellPublisher()
}

// tellPublisher has the publisher whose turn it is look again: members have
// come or gone, or are not behind any more. mu is held.
func (r *room) tellPublisher() {
	select {
	case r.changed <- struct{}{}: // nil where nobody has waited yet
	default:
	}
}
