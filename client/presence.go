package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
)

// Figures of what is said in a room beside its order (docs/protocol.md §4).
const (
	// typingLasts is how long somebody types who doesn't say so again.
	typingLasts = 5 * time.Second
	// typingPause is how often the server is told that this user types.
	typingPause = 3 * time.Second
	// maxTypers bounds how many users of a room are known to type; of more
	// nobody is told.
	maxTypers = 1000
)

// Present is a user in a room.
type Present struct {
	// ID is the user's id; Name may be empty.
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	// Data is what the user has set with SetPresence, JSON; nil for nothing.
	Data json.RawMessage `json:"data,omitempty"`
	// Connections is by how many connections the user is in the room, where
	// Presence returned it.
	Connections int `json:"connections,omitempty"`
}

// PresenceKind says what a PresenceEvent tells.
type PresenceKind string

// The kinds.
const (
	// PresenceJoin: a user has come.
	PresenceJoin PresenceKind = "join"
	// PresenceLeave: a user has gone, 5 s ago.
	PresenceLeave PresenceKind = "leave"
	// PresenceUpdate: a user's data has changed.
	PresenceUpdate PresenceKind = "update"
	// PresenceSync: the socket has entered the room, for the first time or
	// after a cut, during which users came and went. Users are all of them.
	PresenceSync PresenceKind = "sync"
)

// PresenceEvent tells who is in a room.
type PresenceEvent struct {
	Room string
	Kind PresenceKind
	// User is whom it is about; never this client's own.
	User Present
	// Users is everybody, with PresenceSync.
	Users []Present
}

// Typing tells that somebody types, or does so no more.
type Typing struct {
	Room string
	User Present
	// Active is false when the user has not typed for 5 s.
	Active bool
}

// Signal is something that was sent to those who are in a room at the moment,
// such as where a pointer is. It has no position and isn't kept.
type Signal[T any] struct {
	// Room is where, Event what was sent, and Key is the sender's: of each
	// (From, Event, Key) a slow client may get only the newest.
	Room, Event, Key string
	// Data is the payload.
	Data T
	// From is the sender's user id.
	From string
}

// Names under which a room's handlers of these are kept.
const (
	presenceEvent = "\x00presence"
	typingEvent   = "\x00typing"
	signalPrefix  = "\x00signal "
)

// Presence asks who is in the room. It needs the right to; without it the
// error is holdfast.Forbidden.
func (r *Room) Presence(ctx context.Context) ([]Present, error) {
	return askRoom[[]Present](ctx, r.s, "presence:get", roomName{r.name})
}

// SetPresence sets what others see of this user in the room, anything that
// marshals to JSON of at most 4 KiB; nil is nothing. It is said again after
// each reconnect. Without a connection it is only noted, and said when there
// is one.
func (r *Room) SetPresence(ctx context.Context, data any) error {
	raw, err := json.Marshal(data)
	if err != nil {
		return holdfast.Errorf(holdfast.InvalidArgument, "presence: %w", err)
	}
	r.s.mu.Lock()
	shared := r.s.rooms[r.name]
	if shared == nil || r.left.Load() {
		r.s.mu.Unlock()
		return ErrLeft
	}
	shared.presence = raw
	member := shared.member
	if member {
		shared.told = raw
	}
	r.s.mu.Unlock()
	if !member {
		return nil
	}
	_, err = askRoom[struct{}](ctx, r.s, "presence:update", presenceUpdate{r.name, raw})
	return err
}

type presenceUpdate struct {
	Room string          `json:"room"`
	Data json.RawMessage `json:"data"`
}

// OnPresence calls fn when users come, go or change their data, in its place
// among the room's events. It needs the right to see them.
func (r *Room) OnPresence(fn func(ctx context.Context, e PresenceEvent)) (off func()) {
	return r.registry.add(presenceEvent, func(ctx context.Context, d *delivery) { fn(ctx, *d.presence) }, false)
}

// Typing tells the others that this user types. Call it at each key: the server
// is told at most once in 3 s.
func (r *Room) Typing(ctx context.Context) error {
	r.s.mu.Lock()
	shared := r.s.rooms[r.name]
	if shared == nil || r.left.Load() {
		r.s.mu.Unlock()
		return ErrLeft
	}
	now := time.Now()
	if now.Sub(shared.typed) < typingPause {
		r.s.mu.Unlock()
		r.s.client.touch()
		return nil
	}
	shared.typed = now
	r.s.mu.Unlock()
	_, err := askRoom[struct{}](ctx, r.s, "typing", roomName{r.name})
	if err != nil {
		r.s.mu.Lock()
		shared.typed = time.Time{}
		r.s.mu.Unlock()
	}
	return err
}

// OnTyping calls fn when somebody else begins to type, and when that was not
// said again for 5 s.
func (r *Room) OnTyping(fn func(ctx context.Context, t Typing)) (off func()) {
	return r.registry.add(typingEvent, func(ctx context.Context, d *delivery) { fn(ctx, *d.typing) }, false)
}

// Signal sends something to the others in the room, now: it isn't kept, nor
// queued while there is no connection. data is as with Emit, but not binary. A
// user may send 20 in a second; beyond that the error is holdfast.RateLimited.
func (r *Room) Signal(ctx context.Context, event string, data any, key string) error {
	if err := holdfast.CheckPublish(event); err != nil {
		return err
	}
	_, err := askRoom[struct{}](ctx, r.s, "room:signal", struct {
		Room  string `json:"room"`
		Event string `json:"event"`
		Data  any    `json:"data"`
		Key   string `json:"key,omitempty"`
	}{r.name, event, data, key})
	return err
}

// OnSignal calls fn for each signal of that name, decoded as with On: a Room's
// own, or with a Socket those of all rooms.
func OnSignal[T any](t Target, event string, fn func(ctx context.Context, s Signal[T])) (off func()) {
	name := event
	if _, ok := t.(*Room); ok {
		name = signalPrefix + event
	}
	return t.events().add(name, func(ctx context.Context, d *delivery) {
		if d.signal == nil {
			return
		}
		s := Signal[T]{Room: d.signal.Room, Event: event, Key: d.signal.Key, From: d.signal.From}
		if err := d.args.Decode(0, &s.Data); err != nil {
			t.events().log.Warn("signal does not fit its handler", "event", event, "room", s.Room, "err", err)
			return
		}
		fn(ctx, s)
	}, false)
}

// askRoom sends one of the protocol's own events, which are never queued.
func askRoom[T any](ctx context.Context, s *Socket, event string, payload any) (out T, err error) {
	s.client.touch()
	args, err := socketio.NewArgs(payload)
	if err == nil {
		args, err = s.askNow(ctx, event, args)
	}
	if err == nil {
		args, err = unwrap(args)
	}
	if err != nil {
		return out, err
	}
	if _, drop := any(out).(struct{}); drop {
		return out, nil
	}
	if err = args.Decode(0, &out); err != nil {
		err = fmt.Errorf("client: ack of %s: %w", event, err)
	}
	return out, err
}

// beside looks at what a Holdfast server says in a room beside its events, and
// returns the room whose holders are to hear of it, nil for none.
func (s *Socket) beside(c *conn, d *delivery) *room {
	switch d.event {
	case "presence:join", "presence:leave", "presence:update", "user_typing":
		var said struct {
			Room string
			User Present
		}
		if d.args.Decode(0, &said) != nil || said.User.ID == "" {
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		r := s.besideLocked(c, said.Room)
		switch {
		case r == nil:
		case d.event == "user_typing":
			return s.typingLocked(r, d, said.User)
		default:
			kind := PresenceKind(d.event[len("presence:"):])
			d.named, d.presence = presenceEvent, &PresenceEvent{Room: r.name, Kind: kind, User: said.User}
		}
		return r
	}
	m := signalOf(d.args)
	if m == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.besideLocked(c, m.Room)
	if r != nil {
		d.named, d.signal = signalPrefix+d.event, m
	}
	return r
}

func (s *Socket) besideLocked(c *conn, name string) *room {
	r := s.rooms[name]
	if r == nil || s.conn != c || c.session == nil || !r.member && !r.asked {
		return nil
	}
	return r
}

// signalMeta is the last argument of a signal.
type signalMeta struct {
	Room string `json:"room"`
	From string `json:"from"`
	Key  string `json:"key"`
}

func signalOf(args socketio.Args) *signalMeta {
	if args.Len() != 2 || len(args.Values[1]) == 0 || args.Values[1][0] != '{' {
		return nil
	}
	var m signalMeta
	if json.Unmarshal(args.Values[1], &m) != nil || m.Room == "" {
		return nil
	}
	return &m
}

// typingLocked notes that somebody types. Only the beginning is told.
func (s *Socket) typingLocked(r *room, d *delivery, user Present) *room {
	before := r.typers[user.ID]
	switch {
	case before != nil:
		before.Stop() // and if it has fired, it finds another one
	case len(r.typers) >= maxTypers:
		return nil
	}
	if r.typers == nil {
		r.typers = make(map[string]*time.Timer)
	}
	var timer *time.Timer
	timer = time.AfterFunc(typingLasts, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.typers[user.ID] != timer {
			return
		}
		delete(r.typers, user.ID)
		end := &delivery{event: typingEvent, typing: &Typing{Room: r.name, User: user}}
		s.inbox.pushNow(item{d: end, room: r, notice: true, size: itemCost})
	})
	r.typers[user.ID] = timer
	if before != nil {
		return nil
	}
	d.named, d.typing = typingEvent, &Typing{Room: r.name, User: user, Active: true}
	return r
}

// quiet forgets who types in a room that is left.
func (r *room) quiet() {
	for _, timer := range r.typers {
		timer.Stop()
	}
	r.typers = nil
}
