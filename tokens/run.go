package tokens

import "time"

// run does what is due: refreshes ahead of expiry, retries, and the end of
// idleness.
func (m *Manager) run() {
	timer := time.NewTimer(maxTimer)
	defer timer.Stop()
	for {
		timer.Reset(m.step())
		select {
		case <-timer.C:
		case <-m.wake:
		case <-m.ctx.Done():
			return
		}
	}
}

// step does what is due now and returns when to look again.
func (m *Manager) step() time.Duration {
	m.share()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.held == nil {
		return maxTimer
	}
	return max(min(m.refreshLocked(), m.idleLocked(), maxTimer), 0)
}

// refreshLocked begins a refresh if one is due, and returns when the next is.
func (m *Manager) refreshLocked() time.Duration {
	after, ok := m.dueAfter(m.held)
	if !ok || m.cfg.Refresh == nil || m.flight != nil {
		return maxTimer // the end of a flight wakes run
	}
	wait := after - m.age(m.held)
	if !m.refreshedAt.IsZero() {
		wait = max(wait, minRefreshPause-time.Since(m.refreshedAt))
	}
	wait = max(wait, time.Until(m.retryAt))
	if wait > 0 {
		return wait
	}
	m.beginLocked()
	return maxTimer
}

// idleLocked tells of idleness once, and returns when to look for it again.
func (m *Manager) idleLocked() time.Duration {
	if m.cfg.IdleTimeout == 0 || m.idleTold {
		return maxTimer
	}
	if wait := m.cfg.IdleTimeout - m.wall().Sub(m.active); wait > 0 {
		return wait
	}
	m.idleTold = true
	m.tellLocked(Event{Kind: InactivityTimeout, Session: m.held.Session})
	return maxTimer
}

// share exchanges with the store when the user was last active.
func (m *Manager) share() {
	s, ok := m.store.(ActivityStore)
	if !ok || m.cfg.IdleTimeout == 0 || m.cfg.NoSync {
		return
	}
	m.mu.Lock()
	active := m.active
	tell := active.Sub(m.shared) >= m.cfg.IdleTimeout/10
	if tell {
		m.shared = active
	}
	m.mu.Unlock()
	if tell {
		if err := s.Touch(m.ctx, active); err != nil && m.ctx.Err() == nil {
			m.fail(err)
		}
	}
	at, err := s.Active(m.ctx)
	if err != nil {
		return // a store that fails shares nothing; Touch has told of it
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if at.After(m.active) && !at.After(m.wall()) {
		m.active, m.idleTold = at, false
	}
}

// watch follows what others do to the store.
func (m *Manager) watch() {
	for {
		err := m.store.Watch(m.ctx, func() {
			m.adopt()
			m.poke()
		})
		if m.ctx.Err() != nil {
			return
		}
		if err != nil {
			m.fail(err)
		}
		t := time.NewTimer(maxBackoff)
		select {
		case <-t.C:
		case <-m.ctx.Done():
			t.Stop()
			return
		}
	}
}

// adopt takes over what others have put into the store.
func (m *Manager) adopt() {
	kept, err := m.load()
	if err != nil && !isCorrupt(err) {
		if m.ctx.Err() == nil {
			m.fail(err)
		}
		return
	}
	if err != nil {
		m.fail(err) // and what was there is gone
	}
	m.apply(kept)
}

// apply takes over what the store keeps now, if that is news.
func (m *Manager) apply(kept *Session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if same(kept, m.seen) || kept != nil && same(kept, m.ours) {
		return // no news, or a write of ours, which whoever made it tells of
	}
	m.seen = kept
	switch {
	case kept == nil:
		m.signOutLocked(Event{Kind: SignOut, Remote: true})
		return
	case m.held == nil || m.held.User.ID != kept.User.ID || m.held.SessionID != kept.SessionID:
		m.signInLocked(Event{Kind: SignIn, Remote: true, Session: *kept})
		return
	case same(&m.held.Session, kept):
		return
	}
	m.held = m.hold(*kept)
	m.refreshedAt = time.Now()
	m.failures, m.failure, m.retryAt = 0, nil, time.Time{}
	m.tellLocked(Event{Kind: Refreshed, Remote: true, Session: *kept})
}
