package client

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/holdfast-dev/holdfast"
)

// JoinOptions are for one Join. The handlers in it are registered before the
// server is asked, so that they miss nothing of what it replays.
type JoinOptions struct {
	// Since asks for what was published after this position. It has no effect
	// if the socket is in the room already: it then hears what comes from now on.
	Since *holdfast.Position
	// OnEvent is called for each event of the room, as with Room.OnAny.
	OnEvent func(ctx context.Context, ev *holdfast.Event)
	// OnReset is as with Room.OnReset.
	OnReset func(ctx context.Context, r Reset)
	// OnLeft is as with Room.OnLeft.
	OnLeft func(ctx context.Context, err error)
	// OnPresence is as with Room.OnPresence.
	OnPresence func(ctx context.Context, e PresenceEvent)
	// Presence is set as with Room.SetPresence, as the room is entered; nil
	// leaves it as it is.
	Presence any
}

// Reset says that events of a room were missed and are gone from its history:
// read the state of things anew. Events after Position follow.
type Reset struct {
	Room     string
	Position holdfast.Position
}

// Room is one holder's part of a room that the socket is in. The socket joins
// a room once however many hold it, comes back into it after each reconnect
// with the position of the last event that arrived, and leaves it when the
// last holder leaves. All methods may be called from any goroutine.
type Room struct {
	s        *Socket
	name     string
	registry registry

	left atomic.Bool // set under s.mu

	mu       sync.Mutex // guards what follows
	position holdfast.Position
}

func (r *Room) events() *registry { return &r.registry }

// Name returns the room's name.
func (r *Room) Name() string { return r.name }

// Position returns the place of the last event whose handlers have returned,
// or where the room stood when it was joined. The zero Position means not
// joined yet.
func (r *Room) Position() holdfast.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.position
}

func (r *Room) advance(p holdfast.Position) {
	r.mu.Lock()
	r.position = p
	r.mu.Unlock()
}

// On calls fn for each event of that name in the room, undecoded; client.On
// and client.OnEvent decode. Handlers are as with client.On. fn must not change
// the event.
func (r *Room) On(event string, fn func(ctx context.Context, ev *holdfast.Event)) (off func()) {
	return r.registry.add(event, func(ctx context.Context, d *delivery) { fn(ctx, d.raw()) }, false)
}

// OnAny calls fn for every event of the room, before the handlers of its name.
func (r *Room) OnAny(fn func(ctx context.Context, ev *holdfast.Event)) (off func()) {
	return r.registry.add(anyEvent, func(ctx context.Context, d *delivery) { fn(ctx, d.raw()) }, false)
}

// OnReset calls fn, in its place among the events, when events were missed for
// good. See Reset.
func (r *Room) OnReset(fn func(ctx context.Context, reset Reset)) (off func()) {
	return r.registry.add(resetEvent, func(ctx context.Context, d *delivery) {
		fn(ctx, Reset{Room: r.name, Position: d.meta.position()})
	}, false)
}

// OnLeft calls fn, in its place among the events, when the socket is out of
// the room without Leave: the right to be in it was lost, or the server refused
// to take the socket back. The socket doesn't try again; Join does.
func (r *Room) OnLeft(fn func(ctx context.Context, err error)) (off func()) {
	return r.registry.add(leftEvent, func(ctx context.Context, d *delivery) { fn(ctx, d.err) }, false)
}

// Names under which the room's own notices are kept; no event has them.
const (
	resetEvent = "\x00reset"
	leftEvent  = "\x00left"
)
