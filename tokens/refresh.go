package tokens

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// flight is a refresh under way. Its result is set before done is closed.
type flight struct {
	done  chan struct{}
	token Token
	err   error
}

// Token returns the access token, renewed first if it has expired. While it is
// only about to, it is returned at once: its renewal is on the way.
//
// Errors: ErrNone if nobody is signed in; the refresh's, which says by its
// code whether it will be tried again; ctx's, which does not stop the refresh;
// ErrClosed.
func (m *Manager) Token(ctx context.Context) (Token, error) {
	m.mu.Lock()
	h := m.held
	switch {
	case m.closed:
		m.mu.Unlock()
		return Token{}, ErrClosed
	case h == nil && m.ambientLocked():
		return m.renewLocked(ctx, false)
	case h == nil:
		m.mu.Unlock()
		return Token{}, ErrNone
	case h.Lifetime <= 0 || m.cfg.Refresh == nil || m.age(h) < h.Lifetime || time.Since(m.refreshedAt) < minRefreshPause && !m.refreshedAt.IsZero():
		t := h.token()
		m.mu.Unlock()
		return t, nil
	}
	return m.renewLocked(ctx, false)
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
	_, err := m.renewLocked(ctx, true)
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
		t := h.token()
		m.mu.Unlock()
		return t, nil
	}
	terminal := &RefusedError{Token: refused, Reason: reason}
	switch {
	case reason.Code.Info().Action == holdfast.ActionSignedOut:
		m.signOutLocked(Event{Kind: SignOut, Err: terminal})
		m.mu.Unlock()
		m.ended(terminal)
		return Token{}, terminal
	case m.cfg.Refresh == nil:
		m.mu.Unlock()
		return Token{}, terminal
	case m.flight == nil && !m.mayRefuseLocked():
		// A server that refuses what it has just given is asked no more for a
		// while: see refusedLimit.
		m.mu.Unlock()
		return Token{}, terminal
	}
	return m.renewLocked(ctx, false)
}

// mayRefuseLocked counts a refresh for a refused token, within the limit.
func (m *Manager) mayRefuseLocked() bool {
	now := time.Now()
	for len(m.refusals) > 0 && now.Sub(m.refusals[0]) >= refusedWindow {
		m.refusals = m.refusals[1:]
	}
	if len(m.refusals) >= refusedLimit {
		return false
	}
	m.refusals = append(m.refusals, now)
	return true
}

// renewLocked joins the refresh under way or begins one, and waits for it; mu
// is released. Between failures nobody is asked unless force is set.
func (m *Manager) renewLocked(ctx context.Context, force bool) (Token, error) {
	if m.flight == nil && !force && time.Now().Before(m.retryAt) {
		err := m.failure
		m.mu.Unlock()
		return Token{}, err
	}
	f := m.beginLocked()
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
func (m *Manager) beginLocked() *flight {
	if m.flight == nil {
		f := &flight{done: make(chan struct{})}
		m.flight = f
		old, generation := m.sessionLocked(), m.generation
		m.wg.Go(func() { m.fly(f, old, generation) })
	}
	return m.flight
}

// fly renews a session, once over all processes: whoever has the store's lock
// looks first whether another has done it.
func (m *Manager) fly(f *flight, old Session, generation uint64) {
	ctx, cancel := context.WithTimeout(m.ctx, m.cfg.RefreshTimeout)
	defer cancel()
	unlock, err := m.store.Lock(ctx)
	if err != nil {
		if ctx.Err() != nil {
			m.land(f, generation, nil, fmt.Errorf("tokens: another process is refreshing and did not end: %w", err))
			return
		}
		m.fail(fmt.Errorf("tokens: the store can't be locked: %w", err))
		unlock = func() {}
	}
	defer unlock()
	m.adopt()
	m.mu.Lock()
	now := m.sessionLocked()
	stale := m.generation != generation || !same(&now, &old)
	m.mu.Unlock()
	if stale { // somebody else was quicker, or signed out
		m.land(f, generation, nil, nil)
		return
	}
	next, err := m.ask(ctx, old)
	if err != nil {
		m.land(f, generation, nil, err)
		return
	}
	m.land(f, generation, &next, nil)
}

// ask calls Config.Refresh, whose panic ends nothing but the refresh.
func (m *Manager) ask(ctx context.Context, old Session) (next Session, err error) {
	defer func() {
		if v := recover(); v != nil {
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
	return next.complete(m.wall()), nil
}

// land ends a flight: with a new session, an error, or neither where the
// present session is another one by now.
func (m *Manager) land(f *flight, generation uint64, next *Session, err error) {
	var late, ended error
	m.mu.Lock()
	current := m.generation == generation
	m.mu.Unlock()
	if next != nil && current {
		// On the disk first: who has the token may use it as soon as he likes.
		if kept, ok := m.keepOver(next); !ok {
			current = false
			m.apply(kept)
		}
	}
	m.mu.Lock()
	current = current && m.generation == generation
	switch {
	case next != nil && current && m.held == nil:
		m.signInLocked(Event{Kind: SignIn, Session: *next})
		m.refreshedAt = time.Now()
	case next != nil && current:
		m.held = m.hold(*next)
		m.refreshedAt = time.Now()
		m.failures, m.failure, m.retryAt = 0, nil, time.Time{}
		m.tellLocked(Event{Kind: Refreshed, Session: *next})
	case err != nil && current && final(err):
		m.tellLocked(Event{Kind: RefreshFailed, Session: m.sessionLocked(), Err: err})
		m.signOutLocked(Event{Kind: SignOut, Err: err})
		m.out, ended = true, err
	case err != nil && current:
		m.failedLocked(err)
	}
	switch {
	case ended != nil:
		f.err = ended
	case err != nil && current:
		f.err = m.failure
	case m.held == nil:
		f.err = ErrNone
	default:
		f.token = m.held.token()
	}
	m.flight = nil
	m.mu.Unlock()
	close(f.done)
	m.poke()
	if next != nil && !current {
		late = m.giveBack(*next)
	}
	if late != nil {
		m.fail(late)
	}
	if ended != nil {
		m.ended(ended)
	}
}

// final reports whether a refresh that failed so will never succeed.
func final(err error) bool {
	e, ok := errors.AsType[*holdfast.Error](err)
	if !ok {
		return false
	}
	switch e.Code {
	case holdfast.Unauthenticated, holdfast.SessionRevoked, holdfast.RefreshReused,
		holdfast.TokenExpired, holdfast.InvalidCredentials, holdfast.Forbidden:
		return true
	}
	return false
}

// failedLocked counts a failure and settles when the next attempt is due:
// after a random time up to a bound that doubles, and not before the server
// wants it.
func (m *Manager) failedLocked(err error) {
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
}

// keepOver puts a renewed session into the store, unless somebody else has put
// another one there meanwhile: that is returned. A store that fails is told of,
// and not in the way.
func (m *Manager) keepOver(next *Session) (kept *Session, ok bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), storeTimeout)
	defer cancel()
	m.mu.Lock()
	seen := m.seen
	m.ours = next
	m.mu.Unlock()
	now, err := m.store.Swap(ctx, seen, next)
	switch {
	case err != nil:
		m.fail(err)
		return nil, true
	case same(now, next):
		m.mu.Lock()
		m.seen = next
		m.mu.Unlock()
		return next, true
	}
	return now, false
}

// giveBack ends a session that came too late to be used: somebody signed out,
// or in, while it was on its way.
func (m *Manager) giveBack(s Session) error {
	if m.cfg.SignOut == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), signOutTimeout)
	defer cancel()
	if err := m.cfg.SignOut(ctx, s); err != nil {
		return fmt.Errorf("tokens: a refresh that came too late could not be taken back: %w", err)
	}
	return nil
}

// ended is what happens, without locks, when the server has ended the session.
func (m *Manager) ended(err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), storeTimeout)
	defer cancel()
	m.mu.Lock()
	seen := m.seen
	m.mu.Unlock()
	// Only what ended is taken out of the store: another process may have
	// signed in anew.
	now, serr := m.store.Swap(ctx, seen, nil)
	switch {
	case serr != nil:
		m.fail(serr)
	default:
		m.apply(now)
	}
	m.poke()
	if m.cfg.OnUnauthorized != nil {
		m.cfg.OnUnauthorized(err)
	}
}
