package tokens

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// flight is a refresh under way. Its result is set before done is closed.
type flight struct {
	done    chan struct{}
	refused bool // the server has refused the token
	token   Token
	err     error
}

// Token returns the access token, renewed first if it has expired. While it is
// only about to, it is returned at once: its renewal is on the way.
//
// Errors: ErrNone if nobody is signed in; the refresh's, which says by its
// code whether it will be tried again; ctx's, which does not stop the refresh;
// ErrClosed.
func (m *Manager) Token(ctx context.Context) (Token, error) {
	if h := m.present.Load(); h != nil && m.age(h) < h.fresh {
		return h.token(), nil
	}
	m.mu.Lock()
	return m.tokenLocked(ctx)
}

// tokenLocked is Token; mu is released.
func (m *Manager) tokenLocked(ctx context.Context) (Token, error) {
	h := m.held
	switch {
	case m.closed:
		m.mu.Unlock()
		return Token{}, ErrClosed
	case h == nil && m.ambientLocked():
		return m.renewLocked(ctx, byAge)
	case h == nil:
		m.mu.Unlock()
		return Token{}, ErrNone
	case m.age(h) < h.fresh, !m.refreshedAt.IsZero() && time.Since(m.refreshedAt) < minRefreshPause:
		t := h.token()
		m.mu.Unlock()
		return t, nil
	}
	return m.renewLocked(ctx, byAge)
}

// Refresh renews the session now, or joins the refresh that is under way. It
// does not wait for the pause after a failed one.
func (m *Manager) Refresh(ctx context.Context) error {
	m.mu.Lock()
	switch {
	case m.closed:
		m.mu.Unlock()
		return ErrClosed
	case m.held == nil && !m.cfg.Ambient:
		m.mu.Unlock()
		return ErrNone
	case m.cfg.Refresh == nil:
		m.mu.Unlock()
		return errNoRefresh
	}
	_, err := m.renewLocked(ctx, byWish)
	return err
}

var errNoRefresh = errors.New("tokens: Config.Refresh is not set: the session can't be renewed")

// Refused implements Refresher: see there. A token that was refused for the
// end of the session signs out.
func (m *Manager) Refused(ctx context.Context, refused Token, reason *holdfast.Error) (Token, error) {
	m.mu.Lock()
	h := m.held
	switch {
	case m.closed:
		m.mu.Unlock()
		return Token{}, ErrClosed
	case h == nil:
		m.mu.Unlock()
		return Token{}, ErrNone
	case h.Access != refused.Access:
		return m.tokenLocked(ctx)
	}
	terminal := &RefusedError{Token: refused, Reason: reason}
	switch {
	case reason.Code.Info().Action == holdfast.ActionSignedOut:
		m.out = true
		end := m.endLocked(terminal)
		m.mu.Unlock()
		end()
		return Token{}, terminal
	case m.cfg.Refresh == nil, m.freshLocked() && !m.mayRefuseLocked():
		m.mu.Unlock()
		return Token{}, terminal
	case !m.freshLocked():
		return m.renewLocked(ctx, byAge)
	}
	return m.renewLocked(ctx, byRefusal)
}

// freshLocked reports whether the token is in the first quarter of its life,
// or its life is not known. One that is older has been good, and may be refused
// because it ends, or is about to, as often as tokens are short-lived.
func (m *Manager) freshLocked() bool {
	return m.held.Lifetime <= 0 || m.age(m.held) < m.held.Lifetime/4
}

// mayRefuseLocked reports whether another refresh for a refused token is within
// the limit: a server that refuses what it has just given is asked no more for
// a while. Refreshes that failed don't count, they have their own pauses.
func (m *Manager) mayRefuseLocked() bool {
	for len(m.refusals) > 0 && time.Since(m.refusals[0]) >= refusedWindow {
		m.refusals = m.refusals[1:]
	}
	return len(m.refusals) < refusedLimit || m.flight != nil
}

// cause is why a refresh is begun.
type cause uint8

const (
	byAge     cause = iota // its time has come
	byRefusal              // the server has refused the token
	byWish                 // somebody has called Refresh: pauses do not count
)

// renewLocked joins the refresh under way or begins one, and waits for it; mu
// is released.
func (m *Manager) renewLocked(ctx context.Context, why cause) (Token, error) {
	if m.flight == nil && why != byWish && time.Now().Before(m.retryAt) {
		err := m.failure
		m.mu.Unlock()
		return Token{}, err
	}
	f := m.beginLocked(why)
	m.mu.Unlock()
	select {
	case <-f.done:
		return f.token, f.err
	case <-ctx.Done():
		return Token{}, ctx.Err()
	}
}

// ambientLocked reports whether a session can be got where there is none.
func (m *Manager) ambientLocked() bool { return m.cfg.Ambient && !m.out && m.cfg.Refresh != nil }

// beginLocked returns the refresh under way, begun if need be.
func (m *Manager) beginLocked(why cause) *flight {
	if m.flight == nil {
		f := &flight{done: make(chan struct{}), refused: why == byRefusal}
		m.flight = f
		old, generation := m.sessionLocked(), m.generation
		m.crew.begin(func() {
			if after := m.fly(f, old, generation); after != nil {
				after()
			}
		})
	}
	return m.flight
}

// atLocked reports whether the session is still the one that was to be renewed.
func (m *Manager) atLocked(old *Session, generation uint64) bool {
	now := m.sessionLocked()
	return m.generation == generation && same(&now, old)
}

// fly renews a session, once over all processes: whoever has the store's lock
// looks first whether another has done it. What it returns is to be done
// without the lock.
func (m *Manager) fly(f *flight, old Session, generation uint64) (after func()) {
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.RefreshTimeout)
	defer cancel()
	unlock, err := m.store.Lock(ctx)
	switch {
	case err == nil:
		defer unlock()
	case ctx.Err() != nil:
		return m.failed(f, &old, generation, &namedError{"another process is refreshing and did not end: ", err})
	default:
		m.fail(&namedError{"the store can't be locked: ", err})
	}
	m.adopt()
	m.mu.Lock()
	current := m.atLocked(&old, generation)
	m.urgent = m.urgent || current && m.held != nil
	m.mu.Unlock()
	if !current { // somebody else was quicker, or signed out
		m.land(f, nil)
		return nil
	}
	m.noteRefresh(&old)
	next, err := m.ask(ctx, old)
	if err == nil {
		return m.arrived(f, &old, generation, &next)
	}
	if final(err) {
		m.adopt() // another may have renewed it, for all locks
	}
	return m.failed(f, &old, generation, err)
}

// ask calls Config.Refresh, whose panic ends nothing but the refresh.
func (m *Manager) ask(ctx context.Context, old Session) (next Session, err error) {
	defer func() {
		if v := recover(); v != nil {
			m.log.Error("tokens: Config.Refresh panicked", "type", fmt.Sprintf("%T", v), "stack", string(debug.Stack()))
			err = fmt.Errorf("tokens: Config.Refresh panicked: %T", v)
		}
	}()
	next, err = m.cfg.Refresh(ctx, old)
	if err == nil && next.Access == "" {
		err = errors.New("tokens: the refresh was answered without a token")
	}
	if err != nil {
		return Session{}, err
	}
	if next.Refresh == "" {
		next.Refresh = old.Refresh
	}
	if next.SessionID == "" {
		next.SessionID = old.SessionID
	}
	if next.User.ID == "" {
		c, _ := readClaims(next.Access)
		if c.Subject == "" || c.Subject == old.User.ID {
			next.User = old.User
			if c.Roles != nil {
				next.User.Roles = c.Roles
			}
		}
	}
	_, wall := m.now()
	return next.complete(wall), nil
}

// arrived ends a flight with a new session: on the disk first, for who has a
// token may use it as soon as he likes.
func (m *Manager) arrived(f *flight, old *Session, generation uint64, next *Session) (after func()) {
	current := m.write(old, generation, next, func() {
		if m.held == nil {
			m.signInLocked(Event{Kind: SignIn, Session: *next})
		} else {
			m.holdLocked(next)
			m.failures, m.failure, m.retryAt = 0, nil, time.Time{}
			m.tellLocked(Event{Kind: Refreshed, Session: *next})
		}
		m.refreshedAt = time.Now()
		if f.refused {
			m.refusals = append(m.refusals, m.refreshedAt)
		}
	})
	m.land(f, nil)
	if current {
		return nil
	}
	return func() { m.giveBack(next) }
}

// failed ends a flight with an error.
func (m *Manager) failed(f *flight, old *Session, generation uint64, err error) (after func()) {
	m.mu.Lock()
	switch {
	case !m.atLocked(old, generation):
		err = nil // of a session that nobody wants any more
	case final(err):
		m.out = true
		m.tellLocked(Event{Kind: RefreshFailed, Session: m.sessionLocked(), Err: err})
		after = m.endLocked(err)
	default:
		err = m.failedLocked(err)
	}
	m.mu.Unlock()
	m.land(f, err)
	return after
}

// land tells who waits for a flight: an error, or what there is by now.
func (m *Manager) land(f *flight, err error) {
	m.mu.Lock()
	switch {
	case err != nil:
		f.err = err
	case m.held == nil:
		f.err = ErrNone
	default:
		f.token = m.held.token()
	}
	m.flight = nil
	m.mu.Unlock()
	close(f.done)
	m.poke()
}

// final reports whether a refresh that failed so will never succeed.
func final(err error) bool {
	switch holdfast.CodeOf(err) {
	case holdfast.Unauthenticated, holdfast.SessionRevoked, holdfast.RefreshReused,
		holdfast.TokenExpired, holdfast.InvalidCredentials, holdfast.Forbidden:
		return true
	}
	return false
}

// failedLocked counts a failure and settles when the next attempt is due:
// after a random time up to a bound that doubles, and not before the server
// wants it. It returns what the callers are told.
func (m *Manager) failedLocked(err error) error {
	bound := min(minBackoff<<min(m.failures, 10), maxBackoff)
	wait := time.Duration(rand.Float64() * float64(bound))
	if e, ok := errors.AsType[*holdfast.Error](err); ok && e.RetryAfter > 0 {
		wait = max(wait, min(e.RetryAfter, maxRetryAfter))
	}
	if Final(err) { // by its code, which was not meant so here
		err = &holdfast.Error{Code: holdfast.Internal, Message: "The session could not be renewed now", Err: err}
	}
	m.failures++
	m.failure, m.retryAt = err, time.Now().Add(wait)
	m.log.Warn("tokens: the refresh failed; it will be tried again", "err", err, "in", wait)
	m.tellLocked(Event{Kind: Failed, Session: m.sessionLocked(), Err: err})
	return err
}

// giveBack ends a session that came too late to be used: somebody signed out,
// or in, while it was on its way. If the present session is of the same login,
// it would end with it, so it stays.
func (m *Manager) giveBack(late *Session) {
	if now, ok := m.Session(); m.cfg.SignOut == nil || ok && sameLogin(&now, late) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), signOutTimeout)
	defer cancel()
	if err := m.cfg.SignOut(ctx, *late); err != nil {
		m.fail(&namedError{"a refresh that came too late could not be taken back: ", err})
	}
}

// endLocked signs out because the server has ended the session. What it returns
// is to be done without locks.
func (m *Manager) endLocked(err error) (after func()) {
	seen := m.seen
	m.pending++
	m.signOutLocked(Event{Kind: SignOut, Err: err})
	return func() {
		m.forget(seen)
		m.poke()
		if m.cfg.OnUnauthorized != nil {
			m.cfg.OnUnauthorized(err)
		}
	}
}
