package tokens

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Defaults and limits of a Manager.
const (
	// DefaultBuffer is how long before its expiry a token is refreshed.
	DefaultBuffer = 30 * time.Second
	// DefaultRefreshTimeout ends one call of Config.Refresh.
	DefaultRefreshTimeout = 30 * time.Second

	minRefreshPause = time.Second      // between two refreshes
	minBackoff      = time.Second      // after a failed refresh, doubled
	maxBackoff      = time.Minute      // up to this
	maxRetryAfter   = 10 * time.Minute // of what a server asks for
	maxTimer        = 24 * time.Hour   // of the timer; then it looks again
	refusedLimit    = 3                // refreshes for refused tokens
	refusedWindow   = 30 * time.Second // in this time
	storeTimeout    = 5 * time.Second  // of one use of the store
	storeRetry      = 30 * time.Second // after a write that failed
	watchRetry      = time.Second      // after a watch that ended
	signOutTimeout  = 10 * time.Second // of Config.SignOut for a late answer
	closeTimeout    = 5 * time.Second  // that Close leaves a refresh under way
)

// RefreshFunc gets new tokens in place of a session's. ctx ends with the
// Manager or after Config.RefreshTimeout, not with whoever asked.
//
// What an error means is settled by its *holdfast.Error: UNAUTHENTICATED,
// SESSION_REVOKED, REFRESH_REUSED, TOKEN_EXPIRED, INVALID_CREDENTIALS and
// FORBIDDEN are final, and sign out. After any other the refresh is tried
// again: not before RetryAfter, where there is one.
type RefreshFunc func(ctx context.Context, old Session) (Session, error)

// Config configures a Manager. The zero value works: a session in memory that
// nobody can renew.
type Config struct {
	// Store keeps the session and shares it. Nil: a Memory of its own.
	Store Store
	// Refresh renews the session: Endpoint makes one for a server. Nil: a
	// token that is refused is at its end.
	Refresh RefreshFunc
	// Ambient: what proves who it is is not in the session but around it, a
	// cookie of the HTTP client or the machine's own identity. Where there is no
	// session, Token then gets one by Refresh, which is given a zero Session;
	// not after Clear or a final refusal, until Manager.Refresh is called.
	Ambient bool
	// SignOut tells the server of a sign-out, and takes back what a refresh
	// that came too late has got. Nil: only this side forgets. Endpoint has one
	// as well.
	SignOut func(ctx context.Context, s Session) error
	// Buffer is how long before its expiry a token is refreshed, though not
	// before four fifths of its lifetime are over: 30 s.
	Buffer time.Duration
	// RefreshTimeout ends one call of Refresh: 30 s.
	RefreshTimeout time.Duration
	// IdleTimeout is after how long without Touch there is an
	// InactivityTimeout. 0: never.
	IdleTimeout time.Duration
	// NoSync: what others do to the store goes unnoticed until the next
	// refresh.
	NoSync bool
	// OnUnauthorized is called once when the server has ended the session,
	// after SignOut events are on their way. It is called without locks.
	OnUnauthorized func(err error)
	// Logger takes what went wrong; never tokens. Nil: slog.Default().
	Logger *slog.Logger
}

// Manager owns the life of a session: it keeps it in a Store, renews it before
// it ends or when the server has refused it, and learns what others do to the
// same Store. It is a Source and a Refresher, so that package client and
// Transport take it as they take a fixed token. All methods may be called from
// any goroutine.
type Manager struct {
	// Static after NewManager.
	cfg   Config
	store Store
	notes NoteStore // the same; nil where it is none
	log   *slog.Logger
	wall  func() time.Time // nil: this machine's clock
	ctx   context.Context  // ends with Close
	stop  context.CancelFunc
	turns turns // of run
	crew  crew  // run, watch, flights and tell
	// turn is full while somebody reads or writes the store's session, so that
	// what the store says is taken in the order in which it was said. It is
	// taken before mu.
	turn chan struct{}

	// present is held, for readers in a hurry; nil when closed. It changes with
	// held, under mu.
	present atomic.Pointer[held]

	mu          sync.Mutex // guards what follows
	closed      bool
	held        *held     // nil: signed out; never changed, only replaced
	out         bool      // signed out by somebody's wish, or for good: Ambient rests
	generation  uint64    // of the session; raised by each sign-in and sign-out
	seen        *Session  // what the store was last known to keep
	signOutNote string    // the same of its note
	pending     int       // writes of ours that the store does not know of yet
	dirty       bool      // the last write has failed: it is tried again
	writeAt     time.Time // not before
	urgent      bool      // a refresh was begun and nobody knows how it ended
	flight      *flight
	failures    int       // refreshes in a row that will be tried again
	failure     error     // the last one's
	retryAt     time.Time // not before
	refreshedAt time.Time
	refusals    []time.Time // refreshes for refused tokens, lately; at most refusedLimit
	active      time.Time   // by wall
	shared      time.Time   // activity that the store has been told
	idleTold    bool
	subscribers map[*subscriber]struct{}
	followers   map[*follower]struct{}
	news        []Event // for the followers
	telling     bool    // tell is running
	early       *Event  // what happened before anybody could subscribe
}

var _ Refresher = (*Manager)(nil)

// held is the session in use.
type held struct {
	Session
	since time.Time     // when it came, on the monotonic clock
	fresh time.Duration // up to this age it is used as it is
}

// ErrClosed is returned after Close.
var ErrClosed = errors.New("tokens: the manager is closed")

// NewManager makes a Manager of what the store keeps. Close it after use. A
// store that can't be read is no error: the Manager then starts signed out,
// and tells the first subscriber why, with Failed.
func NewManager(cfg Config) (*Manager, error) { return newManager(cfg, nil) }

func newManager(cfg Config, wall func() time.Time) (*Manager, error) {
	if cfg.Buffer < 0 || cfg.IdleTimeout < 0 || cfg.RefreshTimeout < 0 {
		return nil, errors.New("tokens: Config: a time is negative")
	}
	alone := cfg.Store == nil
	if alone {
		cfg.Store = NewMemory()
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = DefaultBuffer
	}
	if cfg.RefreshTimeout == 0 {
		cfg.RefreshTimeout = DefaultRefreshTimeout
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	m := &Manager{
		cfg: cfg, store: cfg.Store, log: cfg.Logger, wall: wall,
		turn: make(chan struct{}, 1),
	}
	m.notes, _ = cfg.Store.(NoteStore)
	m.ctx, m.stop = context.WithCancel(context.Background())
	_, m.active = m.now()
	m.begin()
	m.poke()
	if !cfg.NoSync && !alone { // nobody else changes a store of its own
		m.crew.begin(m.watch)
	}
	return m, nil
}

// now returns the time with the monotonic clock, which nobody sets, and by the
// wall clock, which goes on while the machine sleeps.
func (m *Manager) now() (now, wall time.Time) {
	now = time.Now()
	if m.wall != nil {
		return now, m.wall()
	}
	return now, now.Round(0)
}

// holdLocked takes a session into use that was received at some time; nil is
// none.
func (m *Manager) holdLocked(s *Session) {
	m.urgent = false
	if s == nil {
		m.held = nil
		m.present.Store(nil)
		return
	}
	since, wall := m.now()
	if passed := wall.Sub(s.Received); passed > 0 && !s.Received.IsZero() {
		since = since.Add(-passed)
	}
	m.held = &held{Session: *s, since: since, fresh: math.MaxInt64}
	if s.Lifetime > 0 && m.cfg.Refresh != nil {
		m.held.fresh = s.Lifetime
	}
	if !m.closed {
		m.present.Store(m.held)
	}
}

// age is how long ago a session came. The monotonic clock stands still while
// the machine sleeps, and the wall clock may be set: the longer one counts,
// which costs a refresh at worst.
func (m *Manager) age(h *held) time.Duration {
	now, wall := m.now()
	return max(now.Sub(h.since), wall.Sub(h.Received))
}

// dueAfter is the age at which a token is to be renewed; ok is false for never.
func (m *Manager) dueAfter(h *held) (time.Duration, bool) {
	if h.Lifetime <= 0 {
		return 0, false
	}
	return max(h.Lifetime-m.cfg.Buffer, h.Lifetime/5*4), true
}

// Close ends the Manager: timers, watching and subscriptions. The store keeps
// the session. A refresh under way is left 5 s to end, so that its answer is
// not lost, and then cut off. Further calls of methods return ErrClosed.
// OnUnauthorized must not call it, since it waits for that to return.
func (m *Manager) Close() error {
	m.mu.Lock()
	first := !m.closed
	m.closed = true
	m.present.Store(nil)
	f := m.flight
	m.mu.Unlock()
	if first && f != nil {
		t := time.NewTimer(closeTimeout)
		select {
		case <-f.done:
		case <-t.C:
		}
		t.Stop()
	}
	m.turns.end()
	m.stop()
	m.crew.end()
	if first {
		m.mu.Lock()
		m.followers = nil
		m.mu.Unlock()
		m.flushDirty(time.Time{})
		m.mu.Lock()
		defer m.mu.Unlock()
		for s := range m.subscribers {
			close(s.ch)
		}
		clear(m.subscribers)
	}
	return nil
}

// SetTokens signs in, or replaces the tokens of whoever is signed in. The
// error is the store's: the Manager goes on with the tokens in memory.
func (m *Manager) SetTokens(ctx context.Context, s Session) error {
	if s.Access == "" {
		return errors.New("tokens: SetTokens: the access token is missing; Clear signs out")
	}
	_, wall := m.now()
	s = s.complete(wall)
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	m.pending++
	m.signInLocked(Event{Kind: SignIn, Session: s})
	m.mu.Unlock()
	m.poke()
	return m.flush(ctx, false)
}

// Clear signs out: here at once, whatever else fails; then in the store and, by
// Config.SignOut, with the server. The error tells what of that failed.
func (m *Manager) Clear(ctx context.Context) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return ErrClosed
	}
	m.out = true
	m.pending++
	old := m.signOutLocked(Event{Kind: SignOut})
	if old == nil {
		m.generation++ // what is on its way comes too late all the same
	}
	m.mu.Unlock()
	m.poke()
	err := errors.Join(m.flush(ctx, false), m.noteSignOut(ctx))
	if old != nil && m.cfg.SignOut != nil {
		if serr := m.cfg.SignOut(ctx, old.Session); serr != nil {
			m.fail(serr)
			err = errors.Join(err, serr)
		}
	}
	return err
}

// signInLocked takes over a session, e's, that is not a renewal.
func (m *Manager) signInLocked(e Event) {
	m.generation++
	m.holdLocked(&e.Session)
	m.out = false
	m.resetLocked()
	_, m.active = m.now()
	m.idleTold = false
	m.tellLocked(e)
}

// signOutLocked forgets the session and tells of it; nil if there was none.
func (m *Manager) signOutLocked(e Event) *held {
	old := m.held
	if old == nil {
		return nil
	}
	m.generation++
	m.holdLocked(nil)
	m.resetLocked()
	e.Session = old.Session
	m.tellLocked(e)
	return old
}

// resetLocked forgets what was counted of the session before.
func (m *Manager) resetLocked() {
	m.failures, m.failure, m.retryAt = 0, nil, time.Time{}
	m.refreshedAt, m.refusals = time.Time{}, nil
}

// fail tells of something that went wrong and changes nothing.
func (m *Manager) fail(err error) {
	m.log.Warn("tokens: something went wrong, and the session goes on", "err", err)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tellLocked(Event{Kind: Failed, Session: m.sessionLocked(), Err: err})
}

// sessionLocked is the present session, zero for none.
func (m *Manager) sessionLocked() Session {
	if m.held == nil {
		return Session{}
	}
	return m.held.Session
}

// poke makes run look again.
func (m *Manager) poke() {
	if m.turns.begin() {
		m.crew.begin(m.run)
	}
}

// Session returns the present session; false where nobody is signed in.
func (m *Manager) Session() (Session, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held == nil {
		return Session{}, false
	}
	return m.held.Session, true
}

// User returns who is signed in; zero for nobody.
func (m *Manager) User() holdfast.User {
	s, _ := m.Session()
	return s.User
}

// SessionID returns the public id of the login session; "" where there is none.
func (m *Manager) SessionID() string {
	s, _ := m.Session()
	return s.SessionID
}

// SignedIn reports whether there is a session. One whose token has expired and
// can be renewed is one.
func (m *Manager) SignedIn() bool {
	_, ok := m.Session()
	return ok
}

// HasRole reports whether the user has one of the roles.
func (m *Manager) HasRole(roles ...string) bool {
	user := m.User()
	return slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(user.Roles, role) })
}

// Can reports whether the access token permits an action, as
// holdfast.Permissions.Can. It is for showing or hiding a button: the server
// decides.
func (m *Manager) Can(action string) bool {
	s, _ := m.Session()
	p, _ := s.rights()
	return p.Can(action)
}

// CanJoin reports whether the access token permits to join a room. A token
// that says nothing about rooms leaves that to the server: true. So decides
// the server in the end.
func (m *Manager) CanJoin(room string) bool {
	s, ok := m.Session()
	if !ok || holdfast.CheckRoom(room) != nil {
		return false
	}
	p, known := s.rights()
	return !known || p.Room(room).Has(holdfast.VerbJoin)
}

// Touch says that the user is active, which puts off InactivityTimeout, in
// other processes as well where the store shares it.
func (m *Manager) Touch() {
	if m.cfg.IdleTimeout == 0 {
		return
	}
	m.mu.Lock()
	_, now := m.now()
	// run knows already that there is something to share, or is to be told.
	told := m.active.After(m.shared) && !m.idleTold
	m.active, m.idleTold = now, false
	m.mu.Unlock()
	if !told {
		m.poke()
	}
}
