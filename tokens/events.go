package tokens

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
)

// EventKind says what happened to a session.
type EventKind uint8

const (
	// SignIn: there is a session, of nobody or of somebody else before.
	SignIn EventKind = iota
	// SignOut: there is none any more. Err says why where nobody asked for it.
	SignOut
	// Refreshed: the same session has new tokens.
	Refreshed
	// RefreshFailed: the server refused the refresh for good; a SignOut
	// follows. Err says why.
	RefreshFailed
	// InactivityTimeout: nobody was active for Config.IdleTimeout. Nothing was
	// changed: what it means is the application's to say.
	InactivityTimeout
	// Failed: something went wrong and the session goes on: a refresh that will
	// be tried again, a store that can't be read or written, a server that did
	// not take a sign-out. Err says what.
	Failed
)

// String returns the kind as it is known to clients in other languages:
// "sign-in", "sign-out", "refresh", "refresh-failed", "inactivity-timeout",
// "error".
func (k EventKind) String() string {
	names := [...]string{"sign-in", "sign-out", "refresh", "refresh-failed", "inactivity-timeout", "error"}
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("EventKind(%d)", k)
}

// Event is something that happened to a Manager's session.
type Event struct {
	Kind EventKind
	// Remote: it happened in another process or Manager that shares the store.
	Remote bool
	// Session is the one there is after the event; for SignOut and
	// RefreshFailed the one that there was. Zero where there is none.
	Session Session
	// Err is set for RefreshFailed and Failed, and for a SignOut that nobody
	// asked for.
	Err error
	// Missed is more than 0 where events were dropped because the subscriber was
	// slow; over all that he gets it adds up to how many.
	Missed int
}

// LogValue gives a log the event without secrets.
func (e Event) LogValue() slog.Value {
	return slog.GroupValue(slog.String("kind", e.Kind.String()), slog.Bool("remote", e.Remote),
		slog.Any("session", e.Session), slog.Any("err", e.Err), slog.Int("missed", e.Missed))
}

// Sessions is a Source that knows whose token it gives, and tells when that
// changes. A client drops what belongs to a user when that one has gone.
type Sessions interface {
	Source
	// Session returns the present session; false where nobody is signed in.
	Session() (Session, bool)
	// Events subscribes: see Manager.Events.
	Events(buffer int) (events <-chan Event, stop func())
}

// Events subscribes to what happens from now on. buffer is how many events may
// wait (at least 1); beyond that the oldest are dropped, and Event.Missed tells
// how many: a slow subscriber holds nobody up. The channel is closed by stop,
// which may be called more than once, and by Close after the last event.
func (m *Manager) Events(buffer int) (events <-chan Event, stop func()) {
	ch := make(chan Event, max(buffer, 1))
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		close(ch)
		return ch, func() {}
	}
	s := &subscriber{ch: ch}
	if m.subscribers == nil {
		m.subscribers = make(map[*subscriber]struct{})
	}
	m.subscribers[s] = struct{}{}
	if m.early != nil {
		s.send(*m.early)
		m.early = nil
	}
	return ch, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if _, ok := m.subscribers[s]; ok {
			delete(m.subscribers, s)
			close(ch)
		}
	}
}

// subscriber is one channel of events. Manager.mu guards it.
type subscriber struct {
	ch     chan Event
	missed int
}

// Follow calls fn for each event from now on, one after another, on a goroutine
// that is only there while there are events: thousands of sockets may follow one
// Manager. fn must neither block nor close the Manager; of what happens while
// followers are called the newest events are kept, and Event.Missed counts the
// others. stop, which may be called more than once, does not wait for a call
// that is running. After Close nothing is told.
func (m *Manager) Follow(fn func(Event)) (stop func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return func() {}
	}
	f := &follower{fn: fn}
	if m.followers == nil {
		m.followers = make(map[*follower]struct{})
	}
	m.followers[f] = struct{}{}
	return func() {
		f.gone.Store(true)
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.followers, f)
	}
}

// follower is one function of Follow.
type follower struct {
	fn   func(Event)
	gone atomic.Bool
}

// newsKept is how many events wait for the followers at most.
const newsKept = 64

// tellLocked hands an event to the subscribers and followers without waiting for
// any.
func (m *Manager) tellLocked(e Event) {
	for s := range m.subscribers {
		s.send(e)
	}
	if len(m.followers) == 0 {
		return
	}
	if len(m.news) == newsKept {
		missed := 1 + m.news[0].Missed
		m.news = slices.Delete(m.news, 0, 1)
		m.news[0].Missed += missed
	}
	m.news = append(m.news, e)
	if !m.telling {
		m.telling = true
		m.crew.begin(m.tell)
	}
}

// tell calls the followers until there is no more to tell.
func (m *Manager) tell() {
	for {
		m.mu.Lock()
		if len(m.news) == 0 {
			m.news, m.telling = nil, false
			m.mu.Unlock()
			return
		}
		e := m.news[0]
		m.news = m.news[1:]
		followers := slices.Collect(maps.Keys(m.followers))
		m.mu.Unlock()
		for _, f := range followers {
			if !f.gone.Load() {
				f.fn(e)
			}
		}
	}
}

func (s *subscriber) send(e Event) {
	for {
		e.Missed = s.missed
		select {
		case s.ch <- e:
			s.missed = 0
			return
		default:
		}
		select {
		case old := <-s.ch:
			s.missed += 1 + old.Missed
		default: // the subscriber was quicker
		}
	}
}
