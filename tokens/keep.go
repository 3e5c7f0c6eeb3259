package tokens

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// The names of a Manager's notes: see NoteStore.
const (
	noteActive  = "active"
	noteSignOut = "signed-out"
	noteRefresh = "refreshing"
)

// writeTries bounds how often a write begins again because others write too.
const writeTries = 100

// take waits for the turn at the store; give ends it.
func (m *Manager) take(ctx context.Context) error {
	select {
	case m.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("tokens: the store did not answer: %w", ctx.Err())
	}
}

func (m *Manager) give() { <-m.turn }

// begin takes over what the store keeps when the Manager begins.
func (m *Manager) begin() {
	ctx, cancel := context.WithTimeout(m.ctx, storeTimeout)
	defer cancel()
	kept, err := m.store.Load(ctx)
	if err != nil {
		m.log.Warn("tokens: the session can't be read", "err", err)
		m.early = &Event{Kind: Failed, Err: err}
		kept = nil
	}
	m.seen, m.signOutNote = kept, m.noted(noteSignOut)
	m.holdLocked(kept)
	m.urgent = kept != nil && m.noted(noteRefresh) == fingerprint(kept)
}

// flush puts into the store what is in memory: whatever is there, for it is
// news; again, for a write that failed before, only where others have written
// nothing since. Whoever calls it has raised pending, with what he changed.
func (m *Manager) flush(ctx context.Context, again bool) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := m.take(ctx)
	if err == nil {
		err = m.overwrite(ctx, again)
		m.give()
	}
	m.mu.Lock()
	m.pending--
	m.dirty = err != nil
	m.writeAt = time.Now().Add(storeRetry)
	m.mu.Unlock()
	if err != nil {
		m.poke()
	}
	return err
}

// overwrite makes the store keep what is in memory by now, which may be more
// recent than what the caller has put there. It needs the turn.
func (m *Manager) overwrite(ctx context.Context, again bool) (err error) {
	for range writeTries {
		m.mu.Lock()
		seen, want := m.seen, m.wantLocked()
		m.mu.Unlock()
		var now *Session
		now, err = m.store.Swap(ctx, seen, want)
		if err != nil && !isCorrupt(err) {
			break
		}
		m.mu.Lock()
		theirs := err == nil && again && !same(now, want) && !m.signedOutLocked(now)
		if theirs && m.pending == 1 { // this one
			m.takeOverLocked(now)
		}
		m.seen = now
		m.mu.Unlock()
		if theirs || err == nil && same(now, want) {
			return nil
		}
		if err != nil {
			m.fail(err) // and what was there is put aside
		}
	}
	if err == nil {
		err = errors.New("tokens: the store is written to without end")
	}
	m.fail(err)
	return err
}

// signedOutLocked reports whether a session is of the login that was signed out
// here, which the store was not told of yet.
func (m *Manager) signedOutLocked(kept *Session) bool {
	return m.dirty && m.held == nil && kept != nil && m.seen != nil && sameLogin(kept, m.seen)
}

// wantLocked is what the store should keep.
func (m *Manager) wantLocked() *Session {
	if m.held == nil {
		return nil
	}
	return &m.held.Session
}

// flushDirty tries a write again that has failed, if it is time, and returns
// when to call it again. The zero time is always time.
func (m *Manager) flushDirty(now time.Time) time.Duration {
	m.mu.Lock()
	wait := m.writeAt.Sub(now)
	if !m.dirty || m.pending > 0 || wait > 0 && !now.IsZero() {
		dirty := m.dirty && m.pending == 0
		m.mu.Unlock()
		if dirty {
			return wait
		}
		return maxTimer
	}
	m.pending++
	m.mu.Unlock()
	_ = m.flush(context.WithoutCancel(m.ctx), true) // which has told of it
	return storeRetry
}

// write puts a renewed session into the store and then, by install, into
// memory, unless somebody has changed the one that it replaces; then it
// returns false. A store that fails is told of, and not in the way. install
// is called under mu.
func (m *Manager) write(old *Session, generation uint64, next *Session, install func()) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), storeTimeout)
	defer cancel()
	err := m.take(ctx)
	if err == nil {
		defer m.give()
	}
	m.mu.Lock()
	current, seen := m.atLocked(old, generation), m.seen
	m.mu.Unlock()
	if !current {
		return false
	}
	now := next
	if err == nil {
		now, err = m.store.Swap(ctx, seen, next)
	}
	if isCorrupt(err) {
		m.fail(err)
		now, err = m.store.Swap(ctx, nil, next)
	}
	if err != nil {
		m.fail(err)
		now = next
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.seen = now
	}
	if !same(now, next) { // others were quicker, for all locks
		if m.pending == 0 {
			m.takeOverLocked(now)
		}
		return false
	}
	if !m.atLocked(old, generation) {
		return false // whoever has changed it waits to write that
	}
	m.dirty = err != nil
	m.writeAt = time.Now().Add(storeRetry)
	install()
	return true
}

// forget takes a session out of the store that has ended, which has raised
// pending, unless somebody has put another one there.
func (m *Manager) forget(ended *Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), storeTimeout)
	defer cancel()
	err := m.take(ctx)
	var now *Session
	if err == nil {
		defer m.give()
		now, err = m.store.Swap(ctx, ended, nil)
	}
	if err != nil {
		m.fail(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pending--
	switch {
	case err != nil && !isCorrupt(err):
		m.dirty = m.held == nil
		m.writeAt = time.Now().Add(storeRetry)
	case m.pending > 0:
		m.seen = now
	case now != nil:
		m.takeOverLocked(now)
	default:
		m.seen = nil
	}
}

// adopt takes over what others have put into the store.
func (m *Manager) adopt() {
	ctx, cancel := context.WithTimeout(m.ctx, storeTimeout)
	defer cancel()
	err := m.take(ctx)
	if err == nil {
		defer m.give()
		var kept *Session
		if kept, err = m.store.Load(ctx); err == nil || isCorrupt(err) {
			defer m.apply(kept, m.noted(noteSignOut), m.noted(noteRefresh))
		}
	}
	if err != nil && m.ctx.Err() == nil {
		m.fail(err)
	}
}

// apply takes over what the store keeps and notes now, if that is news.
func (m *Manager) apply(kept *Session, signedOut, refreshing string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	news := !same(kept, m.seen)
	// A sign-out is news even where the store had nothing.
	news = news || kept == nil && signedOut != "" && signedOut != m.signOutNote
	m.signOutNote = signedOut
	if m.pending > 0 || m.signedOutLocked(kept) {
		m.seen = kept
		return // it is about to be overwritten
	}
	m.seen = kept
	if news {
		m.takeOverLocked(kept)
	}
	if kept != nil && m.held != nil && same(&m.held.Session, kept) && refreshing == fingerprint(kept) {
		// Others are renewing it. If they can't finish, this Manager does, as
		// soon as they have left the lock: the server may have used it up.
		m.urgent = true
	}
}

// takeOverLocked makes the store's session this Manager's.
func (m *Manager) takeOverLocked(kept *Session) {
	m.seen, m.dirty = kept, false
	switch {
	case kept == nil:
		m.out = true
		m.signOutLocked(Event{Kind: SignOut, Remote: true})
	case m.held == nil || !sameLogin(&m.held.Session, kept):
		m.signInLocked(Event{Kind: SignIn, Remote: true, Session: *kept})
	case !same(&m.held.Session, kept):
		m.holdLocked(kept)
		m.refreshedAt = time.Now()
		m.failures, m.failure, m.retryAt = 0, nil, time.Time{}
		m.tellLocked(Event{Kind: Refreshed, Remote: true, Session: *kept})
	}
}

// noteSignOut tells other processes of a sign-out, for those whose session the
// store did not have.
func (m *Manager) noteSignOut(ctx context.Context) error {
	if m.notes == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := m.take(ctx); err != nil {
		return err
	}
	defer m.give()
	text := rand.Text()
	if err := m.notes.SetNote(ctx, noteSignOut, text); err != nil {
		m.fail(err)
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signOutNote = text
	return nil
}

// noteRefresh notes that a session is about to be renewed.
func (m *Manager) noteRefresh(s *Session) {
	if s.Access != "" {
		m.note(noteRefresh, fingerprint(s))
	}
}

// note keeps a note, if the store has notes.
func (m *Manager) note(name, text string) {
	if m.notes == nil {
		return
	}
	ctx, cancel := context.WithTimeout(m.ctx, storeTimeout)
	defer cancel()
	if err := m.notes.SetNote(ctx, name, text); err != nil && m.ctx.Err() == nil {
		m.fail(err)
	}
}

// noted returns a note, "" for none. That it can't be read is not told: the
// session beside it can't either, or nobody misses it.
func (m *Manager) noted(name string) string {
	if m.notes == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(m.ctx, storeTimeout)
	defer cancel()
	text, err := m.notes.Note(ctx, name)
	if err != nil {
		return ""
	}
	return text
}

// fingerprint names a session's tokens without giving them away.
func fingerprint(s *Session) string {
	sum := sha256.Sum256([]byte(s.Access + "\n" + s.Refresh))
	return hex.EncodeToString(sum[:16])
}

func isCorrupt(err error) bool {
	_, ok := errors.AsType[*CorruptError](err)
	return ok
}
