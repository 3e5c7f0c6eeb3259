package client

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/socketio"
)

// Target is what has events: a *Socket has all, a *Room those of its room.
type Target interface{ events() *registry }

// Event is an event of a room with its payload decoded.
type Event[T any] struct {
	// Room is where it was published, Name is the event's name.
	Room, Name string
	// Data is the payload.
	Data T
	// Position is its place in the room's history. An application that keeps
	// it can come back with JoinOptions.Since.
	Position holdfast.Position
	// ID is the publisher's own id of it; may be empty.
	ID string
	// From is the publisher's user id; empty for backends.
	From string
}

// On calls fn for each event of that name, with its first argument decoded
// into a T as encoding/json does; a missing argument is null. A T that is, or
// has fields of, []byte or socketio.Binary takes binary data. An event that
// doesn't fit is logged and passed over.
//
// Handlers run in the order of their registration, one at a time: see the
// package's comment. They stay over reconnects. ctx ends when the socket is
// closed. off removes the handler: it isn't called any more once off has
// returned, unless it is running then.
func On[T any](t Target, event string, fn func(ctx context.Context, data T)) (off func()) {
	return t.events().add(event, typed(t, fn), false)
}

// Once is On for the next event of that name alone. An event that doesn't fit
// T counts too.
func Once[T any](t Target, event string, fn func(ctx context.Context, data T)) (off func()) {
	return t.events().add(event, typed(t, fn), true)
}

// Off removes all handlers of an event's name, those of Handle too. The off
// of each registration removes one.
func Off(t Target, event string) { t.events().clear(event) }

func typed[T any](t Target, fn func(context.Context, T)) func(context.Context, *delivery) {
	return func(ctx context.Context, d *delivery) {
		var data T
		if err := d.args.Decode(0, &data); err != nil {
			t.events().log.Warn("event does not fit its handler", "event", d.event, "err", err)
			return
		}
		fn(ctx, data)
	}
}

// OnEvent is On for events of rooms, with where they come from. Other events
// of that name are passed over.
func OnEvent[T any](t Target, event string, fn func(ctx context.Context, ev Event[T])) (off func()) {
	return t.events().add(event, func(ctx context.Context, d *delivery) {
		if d.meta == nil {
			return
		}
		var data T
		if err := d.args.Decode(0, &data); err != nil {
			t.events().log.Warn("event does not fit its handler", "event", d.event, "room", d.meta.Room, "err", err)
			return
		}
		fn(ctx, Event[T]{Room: d.meta.Room, Name: d.event, Data: data, Position: d.meta.position(), ID: d.meta.ID, From: d.meta.From})
	}, false)
}

// OnRaw calls fn for each event of that name with all its arguments as they
// came. fn must not change them.
func (s *Socket) OnRaw(event string, fn func(ctx context.Context, args socketio.Args)) (off func()) {
	return s.registry.add(event, func(ctx context.Context, d *delivery) { fn(ctx, d.args) }, false)
}

// OnAny calls fn for every event, before the handlers of its name.
func (s *Socket) OnAny(fn func(ctx context.Context, event string, args socketio.Args)) (off func()) {
	return s.registry.add(anyEvent, func(ctx context.Context, d *delivery) { fn(ctx, d.event, d.args) }, false)
}

// Handle answers events that the server wants acknowledged: the first argument
// is decoded into In, and what fn returns is the ack's one argument. An error
// is answered as {"ok":false,"error":{"message","code"}}, the form of
// docs/protocol.md §4, and so are a payload that doesn't fit and a panic; the
// text of an error without a code stays here. A second registration of a name
// replaces the first. An event that nobody handles isn't answered.
func Handle[In, Out any](s *Socket, event string, fn func(ctx context.Context, in In) (Out, error)) (off func()) {
	return s.HandleRaw(event, func(ctx context.Context, args socketio.Args) (socketio.Args, error) {
		var in In
		if err := args.Decode(0, &in); err != nil {
			return socketio.Args{}, err
		}
		out, err := fn(ctx, in)
		if err != nil {
			return socketio.Args{}, err
		}
		return socketio.NewArgs(out)
	})
}

// HandleRaw is Handle with any arguments in and out.
func (s *Socket) HandleRaw(event string, fn func(ctx context.Context, args socketio.Args) (socketio.Args, error)) (off func()) {
	return s.registry.handle(event, fn)
}

// anyEvent is the name under which handlers of all events are kept: no event
// has it.
const anyEvent = "\x00"

// delivery is one event on its way to its handlers.
type delivery struct {
	event string
	args  socketio.Args
	meta  *meta // of a room's event, else nil; may be place
	place meta

	err      error       // of a room's leftEvent
	dead     *queue.Dead // of deadEvent
	named    string      // what a room's handlers know it by, if not by event
	presence *PresenceEvent
	typing   *Typing
	signal   *signalMeta
	conn     *conn // where it came from
	ackID    uint64
	wanted   bool // the server wants an ack
}

// raw makes the event of a room of it.
func (d *delivery) raw() *holdfast.Event {
	ev := &holdfast.Event{
		Room: d.meta.Room, Name: d.event, Attachments: d.args.Attachments,
		Position: d.meta.position(), ID: d.meta.ID, From: d.meta.From,
	}
	if d.args.Len() > 0 {
		ev.Data = d.args.Values[0]
	}
	return ev
}

// meta is the last argument of a room's event (docs/protocol.md §4).
type meta struct {
	Room   string  `json:"room"`
	Epoch  string  `json:"epoch"`
	Offset *uint64 `json:"offset"`
	ID     string  `json:"id,omitempty"`
	From   string  `json:"from,omitempty"`

	offset uint64 // where Offset points, if it needs a place
}

func (m *meta) position() holdfast.Position {
	return holdfast.Position{Epoch: m.Epoch, Offset: *m.Offset}
}

// registry holds the handlers of a target.
type registry struct {
	log logger

	mu       sync.Mutex // guards what follows; the slices are never changed in place
	handlers map[string][]*handler
	answers  map[string]*answer
}

type handler struct {
	fn   func(context.Context, *delivery)
	once bool
	off  atomic.Bool
}

type answer struct {
	fn func(context.Context, socketio.Args) (socketio.Args, error)
}

func (r *registry) add(event string, fn func(context.Context, *delivery), once bool) (off func()) {
	h := &handler{fn: fn, once: once}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handlers == nil {
		r.handlers = make(map[string][]*handler)
	}
	r.handlers[event] = append(slices.Clip(r.handlers[event]), h)
	return func() { r.remove(event, h) }
}

// remove takes h out and reports whether it was still in.
func (r *registry) remove(event string, h *handler) bool {
	if h.off.Swap(true) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	list := slices.DeleteFunc(slices.Clone(r.handlers[event]), func(x *handler) bool { return x == h })
	if len(list) == 0 {
		delete(r.handlers, event)
	} else {
		r.handlers[event] = list
	}
	return true
}

// clear takes out all handlers of an event.
func (r *registry) clear(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range []string{event, signalPrefix + event} {
		for _, h := range r.handlers[name] {
			h.off.Store(true)
		}
		delete(r.handlers, name)
	}
	delete(r.answers, event)
}

func (r *registry) handle(event string, fn func(context.Context, socketio.Args) (socketio.Args, error)) (off func()) {
	a := &answer{fn: fn}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.answers == nil {
		r.answers = make(map[string]*answer)
	}
	r.answers[event] = a
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.answers[event] == a {
			delete(r.answers, event)
		}
	}
}

// deliver calls the handlers of d, one after another; with wide also those of
// all events.
func (r *registry) deliver(ctx context.Context, d *delivery, wide bool) {
	r.mu.Lock()
	all, named := r.handlers[anyEvent], r.handlers[d.event]
	r.mu.Unlock()
	if !wide {
		all = nil
	}
	for i, list := range [2][]*handler{all, named} {
		for _, h := range list {
			switch {
			case h.off.Load():
				continue
			case h.once && !r.remove([2]string{anyEvent, d.event}[i], h):
				continue
			}
			r.guard(d.event, func() { h.fn(ctx, d) })
		}
	}
}

// answerFor returns the function that answers event, nil if there is none.
func (r *registry) answerFor(event string) *answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answers[event]
}
