package hub

import (
	"context"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/holdfast-dev/holdfast"
)

// MaxSignalKey bounds Signal.Key, in bytes.
const MaxSignalKey = 128

// Signal is something that matters only now, such as where a cursor is: the
// others in the room get it or they don't, and it is kept nowhere.
type Signal struct {
	Room string
	// Event is its name, as that of a published event.
	Event string
	// Data is JSON; nil stands for null.
	Data json.RawMessage
	// Key tells signals of one user and event apart: of those with the same
	// key a slow reader keeps only the newest. At most 128 bytes of UTF-8.
	Key string
}

// Signal sends a signal to all other sessions in the room, those of the same
// user among them. It needs the right to publish, and membership. That Data is
// JSON is the caller's business. Where the room is so busy that 256 signals wait,
// the oldest is dropped.
//
// Errors: INVALID_ARGUMENT for bad or reserved names and for a bad key,
// MESSAGE_TOO_LARGE over Config.MaxData, FORBIDDEN without the right or for a
// session that is not in the room or is hidden; RATE_LIMITED, with RetryAfter,
// over Config.SignalRate; GOING_AWAY when the session is closed; ctx's.
func (s *Session) Signal(ctx context.Context, sig Signal) error {
	if err := s.hub.checkEvent(&holdfast.Event{Room: sig.Room, Name: sig.Event, Data: sig.Data}); err != nil {
		return err
	}
	switch {
	case len(sig.Key) > MaxSignalKey:
		return holdfast.Errorf(holdfast.InvalidArgument, "key is longer than %d bytes", MaxSignalKey)
	case !utf8.ValidString(sig.Key):
		return holdfast.Errorf(holdfast.InvalidArgument, "key is not UTF-8")
	}
	m, err := s.speaker(ctx, sig.Room)
	if err != nil {
		return err
	}
	if !s.Identity().Permissions.Room(sig.Room).Has(holdfast.VerbPublish) {
		return holdfast.Errorf(holdfast.Forbidden, "Not allowed to publish in this room")
	}
	if err := s.hub.allowSignal(s.conn); err != nil {
		return err
	}
	m.room.note(note{
		Notice: Notice{Kind: NoticeSignal, Room: sig.Room, User: s.shown(), Event: sig.Event, Data: sig.Data, Key: sig.Key},
		from:   s,
		key:    frameKey('s', sig.Room, s.conn, sig.Event, sig.Key),
	})
	return nil
}

// Typing tells the other users in the room that this one types; if he is
// anonymous, all other sessions. It needs membership.
//
// Errors: INVALID_ARGUMENT for a bad name, FORBIDDEN for a session that is not
// in the room or is hidden, GOING_AWAY when it is closed; ctx's.
func (s *Session) Typing(ctx context.Context, room string) error {
	m, err := s.speaker(ctx, room)
	if err != nil {
		return err
	}
	m.room.note(note{
		Notice: Notice{Kind: NoticeTyping, Room: room, User: s.shown()},
		from:   s,
		key:    frameKey('t', room, s.conn),
	})
	return nil
}

// speaker is live for a session that is seen by the others.
func (s *Session) speaker(ctx context.Context, room string) (*member, error) {
	m, err := s.live(ctx, room)
	if err == nil && m.hidden {
		return nil, holdfast.Errorf(holdfast.Forbidden, "This session only listens")
	}
	return m, err
}

// shown is how the session's user is shown to others.
func (s *Session) shown() Member { return Member{ID: s.conn.user, Name: s.Identity().Name} }

// note has a notice sent to the members. The oldest that waits is dropped for
// one that is too many.
func (r *room) note(n note) {
	r.mu.Lock()
	if r.dead {
		r.mu.Unlock()
		return
	}
	t := r.says()
	if t.notes.len() >= maxNotes {
		t.notes.pop()
	}
	t.notes.push(n)
	r.stir()
}

// frameKey makes a key of what frames have in common of which only the latest
// counts. Lengths go before the parts: different parts never make the same key.
// An anonymous user is told apart by his connection.
func frameKey(kind byte, room string, from *connection, parts ...string) string {
	key := append(make([]byte, 0, 64), kind)
	add := func(part string) {
		key = strconv.AppendInt(key, int64(len(part)), 10)
		key = append(append(key, ':'), part...)
	}
	add(room)
	add(from.user)
	if from.user == "" {
		add(from.id)
	}
	for _, part := range parts {
		add(part)
	}
	return string(key)
}

// signaller is whose signals are counted together: a user's, or where he is
// anonymous a connection's.
type signaller struct{ user, connection string }

func (c *connection) signaller() signaller {
	if c.user == "" {
		return signaller{connection: c.id}
	}
	return signaller{user: c.user}
}

// allowSignal counts a signal that comes over a connection.
func (h *Hub) allowSignal(c *connection) error {
	if h.cfg.SignalRate < 0 {
		return nil
	}
	h.mu.Lock()
	limiter := h.signals[c.signaller()]
	if limiter == nil {
		limiter = rate.NewLimiter(rate.Limit(h.cfg.SignalRate), max(1, int(h.cfg.SignalRate)))
		if h.conns[c.id] == c { // until the last connection goes
			h.signals[c.signaller()] = limiter
		}
	}
	h.mu.Unlock()

	r := limiter.Reserve()
	delay := r.Delay()
	if delay == 0 {
		return nil
	}
	r.Cancel()
	err := holdfast.Errorf(holdfast.RateLimited, "At most %v signals a second", h.cfg.SignalRate)
	err.RetryAfter = max(delay, time.Millisecond)
	return err
}
