package server

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/jsonws"
	"github.com/holdfast-dev/holdfast/internal/sse"
	"github.com/holdfast-dev/holdfast/internal/transport"
	"github.com/holdfast-dev/holdfast/socketio"
)

// The time after which a client connects again is different for each, so that
// a restart does not bring all of them back at one moment.
const (
	minRetry   = 1500 // milliseconds
	retryRange = 2000
)

// eventStream is the protocol of docs/protocol.md §6 over one stream of
// Server-Sent Events. It is in the namespace "/" alone, and its client only
// listens.
//
// A stream's rooms and its cursor are known before its first byte, and so is
// where it begins in each; its joins run behind that, in a job of the link.
type eventStream struct {
	// static once the stream is open
	link  *link
	rooms []string // of the request

	// Owned by whoever opens the stream, and from then on by its writer.
	cursor cursorWriter

	mu      sync.Mutex // guards what follows
	pending []entry    // rooms to be joined
	joining bool       // a job is under way
}

// entry is a join to be made.
type entry struct {
	room     string
	since    *holdfast.Position // nil for a room that was lost: it goes on from now
	presence json.RawMessage    // which the application chose
}

// rejoiner is a protocol whose client can't join a room again by itself.
type rejoiner interface {
	// rejoin reports whether a room that was lost will be joined again. It does
	// not wait.
	rejoin(room string, err *holdfast.Error) bool
}

var (
	_ protocol                 = (*eventStream)(nil)
	_ rejoiner                 = (*eventStream)(nil)
	_ transport.StreamReceiver = (*eventStream)(nil)
)

// openStream begins a stream: transport.StreamsConfig.Open.
func (s *Server) openStream(t *transport.Stream) (transport.StreamReceiver, error) {
	query := t.Request().URL.Query()
	rooms, err := s.roomsOf(query)
	if err != nil {
		s.metrics.refused(atHandshake, err)
		return nil, err
	}
	since := query.Get("since")
	if id := t.Request().Header.Get("Last-Event-ID"); id != "" {
		since = id
	}
	e := &eventStream{rooms: rooms}
	if e.link, err = s.open(t, e); err != nil {
		return nil, err
	}
	if err := e.start(since); err != nil {
		e.link.Closed(nil, err)
		return nil, err
	}
	return e, nil
}

// start admits the client. What it returns is answered over HTTP.
func (e *eventStream) start(since string) (err error) {
	l := e.link
	defer func() {
		if v := recover(); v != nil { // in the application's code, its Authenticator for one
			l.srv.log.Error("connection panicked", "connection", l.id, "panic", panicText(v), "stack", string(debug.Stack()))
			err = holdfast.Internal.New()
		}
	}()
	l.mu.Lock()
	l.life.pause()
	l.mu.Unlock()
	identity, err := l.authenticate(l.credential(nil))
	if err != nil {
		l.delayRefusal(holdfast.CodeOf(err))
		return err
	}
	var refused error
	var entries []entry
	err = l.admit(l.srv.Namespace, nil, identity, func(c *Conn) (first []*hub.Frame) {
		first, entries, refused = e.welcome(c, since)
		return first
	})
	if err == nil {
		l.srv.metrics.refused(atJoin, refused)
		err = refused
	}
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.pending = append(e.pending, entries...)
	e.joining = true
	e.mu.Unlock()
	l.work.push(l, job{})
	return nil
}

// connected is the data of a stream's first event.
type connected struct {
	Type       string         `json:"type"`
	User       *holdfast.User `json:"user,omitempty"`
	Connection string         `json:"connection"`
	expiry
	Rooms []roomPosition `json:"rooms"`
}

// roomPosition is after which position a stream begins in a room.
type roomPosition struct {
	Room string `json:"room"`
	holdfast.Position
}

// welcome makes the first events and what is to be joined, or refuses the
// client for its rooms. Since the first event has a cursor already, a client
// that is cut off at any time has one to go on from.
func (e *eventStream) welcome(c *Conn, since string) ([]*hub.Frame, []entry, error) {
	s, identity := e.link.srv, c.Identity()
	entries := make([]entry, len(e.rooms))
	for i, room := range e.rooms {
		j := Join{Conn: c, Identity: identity, Room: room}
		if err := s.mayJoin(c.Context(), &j); err != nil {
			return nil, nil, err
		}
		entries[i] = entry{room: room, presence: j.Presence}
	}
	var marks map[roomKey]mark
	damaged := false
	if since != "" {
		var err error
		marks, err = parseCursor(since)
		damaged = err != nil
	}
	ctx, cancel := context.WithTimeout(c.Context(), readTimeout)
	defer cancel()
	places, err := s.places(ctx, e.rooms, marks)
	if err != nil {
		return nil, nil, err
	}
	entries = skipJoined(c, places, entries)
	e.cursor.places = places
	hello := connected{Type: "connected", Connection: c.ID(), expiry: expiryOf(identity), Rooms: make([]roomPosition, len(places))}
	if identity.User != "" {
		hello.User = &holdfast.User{ID: identity.User, Name: identity.Name}
	}
	first := make([]*hub.Frame, 1, 1+len(places))
	for i, p := range places {
		hello.Rooms[i] = roomPosition{p.room, p.position}
		// An EventSource gives up for good when it is answered an error, so a
		// cursor that is none means that everything may have been missed.
		if p.reset || damaged {
			first = append(first, resetFrame(p.room, p.position))
		}
	}
	text := sse.AppendRetry(nil, minRetry+rand.UintN(retryRange))
	text = sse.AppendData(sse.AppendName(text, "connected"), marshal(hello))
	first[0] = &hub.Frame{Text: sse.AppendEnd(text), Event: new(holdfast.Event)}
	return first, entries, nil
}

// skipJoined says from where on each of entries is to be joined, and takes out
// the rooms that the application has joined already. There the stream goes on
// from that join, whose events follow the first ones, and not from where its
// client stands.
func skipJoined(c *Conn, places []place, entries []entry) []entry {
	left := entries[:0]
	for i := range places {
		p := &places[i]
		began, ok := c.session.Began(p.room)
		if !ok {
			since := p.position // the place itself moves on
			entries[i].since = &since
			left = append(left, entries[i])
			continue
		}
		p.reset = !p.fresh && (p.reset || began != p.position)
		p.position = began
	}
	return left
}

// receive implements protocol: there is nothing to receive.
func (*eventStream) receive(*link, []byte, bool) {}

// handle joins the rooms that are pending.
func (e *eventStream) handle(l *link, _ job) {
	c := l.conn("/")
	for {
		e.mu.Lock()
		if len(e.pending) == 0 || c == nil || c.Context().Err() != nil {
			e.joining, e.pending = false, nil
			e.mu.Unlock()
			return
		}
		next := e.pending[0]
		e.pending = e.pending[1:]
		e.mu.Unlock()
		e.join(c, next)
	}
}

// join takes the stream into a room. The client hears of what was missed and
// can't be had any more.
func (e *eventStream) join(c *Conn, next entry) {
	ready := func(j hub.Joined) {
		missed := next.since == nil || j.Recovered != nil && !*j.Recovered
		if j.Already { // the application was quicker, and without since
			missed = next.since == nil || j.Position != *next.since
		}
		if missed {
			c.Send(resetFrame(next.room, j.Position))
			return
		}
		// The cursor goes on to what was skipped as well.
		c.Send(&hub.Frame{Event: &holdfast.Event{Room: next.room, Position: j.Position}})
	}
	var err error
	if o := (hub.JoinOptions{Since: next.since, Presence: next.presence}); next.since == nil {
		_, err = c.join(c.Context(), next.room, o, ready)
	} else { // start has asked whether it may
		_, err = c.joinAllowed(c.Context(), next.room, o, ready, true)
	}
	switch code := holdfast.CodeOf(err); {
	case err == nil, c.Context().Err() != nil, code == holdfast.GoingAway:
	case code == holdfast.Internal, code == holdfast.RateLimited, code == holdfast.SlowConsumer:
		c.link.end(holdfast.AsError(err)) // the client connects again, with its cursor
	default:
		c.notify(notice{name: "room:left", room: next.room, err: holdfast.AsError(err)})
	}
}

// rejoin implements rejoiner: a room that could not be carried on goes on with
// a reset; one that the client has no right to any more is lost, and so is one
// that the program took it out of.
func (e *eventStream) rejoin(room string, err *holdfast.Error) bool {
	if _, meant := err.Err.(removal); meant {
		return false
	}
	if !slices.Contains(e.rooms, room) || err.Code != holdfast.Internal && err.Code != holdfast.RateLimited {
		return false
	}
	e.mu.Lock()
	e.pending = append(e.pending, entry{room: room})
	start := !e.joining
	e.joining = true
	e.mu.Unlock()
	if start {
		e.link.work.push(e.link, job{}) // which is the only one
	}
	return true
}

// Append implements transport.StreamReceiver: the cursor is written here,
// since it is each stream's own.
func (e *eventStream) Append(dst []byte, f *hub.Frame) []byte {
	if ev := f.Event; ev != nil {
		known := ev.Room == "" || e.cursor.move(ev.Room, ev.Position)
		if known && len(f.Text) > 0 {
			dst = append(e.cursor.append(append(dst, "id: "...)), '\n')
		}
	}
	return append(dst, f.Text...)
}

// Closed implements transport.StreamReceiver.
func (e *eventStream) Closed(err error) { e.link.Closed(nil, err) }

func (*eventStream) encoder(string) hub.Encoder { return streamEncoder{} }

// streamEncoder encodes a room's events for streams, which add their cursors.
type streamEncoder struct{}

func (streamEncoder) Encode(ev *holdfast.Event) *hub.Frame {
	data, err := jsonws.AppendEvent(make([]byte, 0, len(ev.Data)+256), ev)
	if err != nil {
		return nil // attachments that don't fit: no publish path lets them in
	}
	return &hub.Frame{Text: appendNamed(make([]byte, 0, len(data)+len(ev.Name)+32), ev.Name, data), Event: ev}
}

// appendNamed appends an event with its name, unless that means something else
// to a receiver.
func appendNamed(dst []byte, name string, data []byte) []byte {
	switch name {
	case "open", "error", "connected", "reset", "auth_closing":
	default:
		dst = sse.AppendName(dst, name)
	}
	return sse.AppendEnd(sse.AppendData(dst, data))
}

// resetFrame tells that what happened in a room before position may be missing.
func resetFrame(room string, position holdfast.Position) *hub.Frame {
	data := marshal(struct {
		Type string `json:"type"`
		roomPosition
	}{"reset", roomPosition{room, position}})
	text := sse.AppendEnd(sse.AppendData(sse.AppendName(nil, "reset"), data))
	return &hub.Frame{Text: text, Event: &holdfast.Event{Room: room, Position: position}}
}

// event makes an event that the application sends to c.
func (*eventStream) event(_ *Conn, name string, args socketio.Args, ack *uint64) (*hub.Frame, error) {
	if ack != nil {
		return nil, holdfast.Errorf(holdfast.InvalidArgument, "clients of event streams do not acknowledge")
	}
	args, err := args.Portable()
	if err != nil {
		return nil, err
	}
	return &hub.Frame{Text: appendNamed(nil, name, jsonws.AppendEmit(nil, name, single(args)))}, nil
}

// notice makes one of §5's objects. Only auth_closing has a name: publishers
// may use the others.
func (*eventStream) notice(_ *Conn, n notice) *hub.Frame {
	var text []byte
	switch n.name {
	case "auth:closing":
		text = sse.AppendName(nil, "auth_closing")
		text = sse.AppendData(text, jsonws.AppendAuthClosing(nil, n.err))
	case "auth:expiring":
		text = sse.AppendData(nil, jsonws.AppendAuthExpiring(nil, n.expiry.ExpiresAt, n.expiry.ExpiresIn, n.reason))
	default: // room:left
		text = sse.AppendData(nil, jsonws.AppendRoomLeft(nil, n.room, n.err))
	}
	return &hub.Frame{Text: sse.AppendEnd(text)}
}
