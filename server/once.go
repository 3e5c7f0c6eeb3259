package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
)

// Bounds of what is remembered of events with ids. Those of bytes are for
// memory alone; a store keeps what memory has dropped.
const (
	idAge        = 24 * time.Hour
	idsPerScope  = 10_000
	idScopeBytes = 8 << 20
	idTotalBytes = 128 << 20
	// maxKeptAck bounds an answer that is kept, in bytes. Of a longer one it is
	// remembered that there was one.
	maxKeptAck = 16 << 10
	// storeTimeout bounds one call of the EventStore.
	storeTimeout = 10 * time.Second
)

// eventIDs lets each event with an id have one effect, and answers repeats as
// the first one was answered. It is safe for concurrent use.
type eventIDs struct {
	// static after construction
	store EventStore // nil: memory alone
	log   *slog.Logger

	mu      sync.Mutex // guards what follows
	running map[idKey]*running
	window  idWindow
}

// running is an event that is being handled. There are no more of them than
// connections and requests, since each waits for its own.
type running struct {
	name string
	done chan struct{} // closed at the end; the answer is set before that
	args socketio.Args
	err  error
}

func newEventIDs(store EventStore, log *slog.Logger) *eventIDs {
	return &eventIDs{
		store: store, log: log,
		running: make(map[idKey]*running),
		window:  idWindow{limits: idLimits{age: idAge, perScope: idsPerScope, scopeBytes: idScopeBytes, totalBytes: idTotalBytes}},
	}
}

// onceEvent is an event with an id.
type onceEvent struct {
	key  idKey
	name string // what the id was used for: with another name, it is a CONFLICT
	// durable events go to the store as well, if there is one.
	durable bool
	// refusals says that final refusals are remembered like results.
	refusals bool
}

// once calls do for the first event of its key, and answers each repeat as
// that one was answered. A repeat that comes while the first is being handled
// waits for it, as long as ctx lasts.
//
// What can be otherwise next time is not remembered, though those that waited
// are answered with it: a panic, and each refusal after which clients try
// again. Where the store can't be asked, do is not called.
func (e *eventIDs) once(ctx context.Context, ev onceEvent, do func() (socketio.Args, error)) (args socketio.Args, err error) {
	e.mu.Lock()
	if r := e.window.find(ev.key, time.Now()); r != nil {
		e.mu.Unlock()
		return repeat(ev, r.name, r.ack)
	}
	if r := e.running[ev.key]; r != nil {
		e.mu.Unlock()
		return r.wait(ctx, ev)
	}
	r := &running{name: ev.name, done: make(chan struct{}), err: holdfast.Internal.New()}
	e.running[ev.key] = r
	e.mu.Unlock()
	var ack []byte // nil: nothing to be remembered
	defer func() { // do may panic, or end its goroutine
		e.mu.Lock()
		delete(e.running, ev.key)
		if ack != nil {
			e.window.add(ev.key, ev.name, ack, time.Now())
		}
		e.mu.Unlock()
		close(r.done)
	}()
	r.args, ack, r.err = e.first(ctx, ev, do)
	return r.args, r.err
}

// wait returns the answer to the first event, when it is there.
func (r *running) wait(ctx context.Context, ev onceEvent) (socketio.Args, error) {
	if r.name != ev.name {
		return socketio.Args{}, errIDUsed()
	}
	select {
	case <-r.done:
		return r.args, r.err
	case <-ctx.Done():
		return socketio.Args{}, ctx.Err()
	}
}

// first handles an event that memory does not know. ack is what to remember of
// it, nil for nothing: what the store knows needs no second place.
func (e *eventIDs) first(ctx context.Context, ev onceEvent, do func() (socketio.Args, error)) (args socketio.Args, ack []byte, err error) {
	durable := ev.durable && e.store != nil
	if durable {
		name, stored, found, err := e.load(ctx, ev.key)
		if err != nil {
			return socketio.Args{}, nil, err
		}
		if found {
			args, err = repeat(ev, name, stored)
			return args, nil, err
		}
	}
	args, err = do()
	if err != nil && (!ev.refusals || !final(err)) {
		return args, nil, err
	}
	ack = encodeAck(args, err)
	if durable {
		e.save(ctx, ev, ack)
	}
	return args, ack, err
}

func (e *eventIDs) load(ctx context.Context, k idKey) (name string, ack []byte, found bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	name, ack, found, err = e.store.LoadEvent(ctx, k.scope, k.id)
	if err != nil {
		// Without knowing, a second effect is possible; the client tries again.
		e.log.Error("event ids can't be looked up", "err", err)
		return "", nil, false, &holdfast.Error{Code: holdfast.Internal, Message: "The server's memory of events can't be reached", Err: err}
	}
	return name, ack, found, nil
}

// save writes the record, also for a client that has gone: it will ask again.
// If it can't be written, the effect is there all the same, and the answer goes
// out: memory knows the id until the process ends.
func (e *eventIDs) save(ctx context.Context, ev onceEvent, ack []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := e.store.SaveEvent(ctx, ev.key.scope, ev.key.id, ev.name, ack, time.Now()); err != nil {
		e.log.Error("an event's id can't be kept over a restart", "err", err)
	}
}

// forget drops what nobody can ask for any more.
func (e *eventIDs) forget(scope string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.window.forget(scope)
}

// final reports whether a refusal stays as it is: clients do not try again.
func final(err error) bool {
	return holdfast.AsError(err).Code.Info().Action == holdfast.ActionStop
}

// repeat answers an event whose id was used before, for an event of this name.
func repeat(ev onceEvent, name string, ack []byte) (socketio.Args, error) {
	if name != ev.name {
		return socketio.Args{}, errIDUsed()
	}
	return decodeAck(ack)
}

func errIDUsed() error {
	return holdfast.Errorf(holdfast.Conflict, "This id was used for another event")
}

// The scopes of ids. The first byte says of what kind they are, so that no
// user's id can be another kind's.
func eventScope(c *Conn) (scope string, durable bool) {
	if user := c.Identity().User; user != "" {
		return "u" + user, true
	}
	return anonymousScope(c.link), false // nobody else can ask for it
}

func anonymousScope(l *link) string { return "c" + l.id }

// handleOnce has an application's handler deal with an event: once, if it has
// an id.
func (c *Conn) handleOnce(event, id string, h handler, args socketio.Args) (socketio.Args, error) {
	srv := c.link.srv
	if id == "" {
		return srv.serve(c.Context(), c, event, h, args)
	}
	if err := holdfast.CheckEventID(id); err != nil {
		return socketio.Args{}, err
	}
	ev := onceEvent{name: c.ns.name + " " + event, refusals: true}
	ev.key.id = id
	ev.key.scope, ev.durable = eventScope(c)
	ctx := context.WithValue(c.Context(), eventIDKey{}, id)
	return srv.ids.once(ctx, ev, func() (socketio.Args, error) { return srv.serve(ctx, c, event, h, args) })
}

// publishOnce publishes an event that has an ID. The broker takes care of
// repeats as long as it remembers; the store does so for 24 hours, and over
// restarts, from which a broker in memory comes back knowing nothing.
func (s *Server) publishOnce(ctx context.Context, p publication) (holdfast.Position, error) {
	ev := onceEvent{name: "room:publish", durable: true}
	switch {
	case s.ids.store == nil || p.identity != nil && p.identity.User == "":
		return s.publishNow(ctx, p) // whoever has no name has nothing to be known by
	case p.event.From == "":
		ev.key = idKey{"b" + p.event.Room, p.event.ID}
	default:
		// A user's ids are bounded over all rooms; room names have no NUL.
		ev.key = idKey{"p" + p.event.From, p.event.Room + "\x00" + p.event.ID}
	}
	if err := holdfast.CheckRoom(p.event.Room); err != nil {
		return holdfast.Position{}, err
	}
	if err := holdfast.CheckEventID(p.event.ID); err != nil {
		return holdfast.Position{}, err
	}
	args, err := s.ids.once(ctx, ev, func() (socketio.Args, error) {
		position, err := s.publishNow(ctx, p)
		if err != nil {
			return socketio.Args{}, err
		}
		return socketio.Args{Values: []json.RawMessage{marshal(position)}}, nil
	})
	var position holdfast.Position
	if err == nil {
		err = args.Decode(0, &position)
	}
	return position, err
}
