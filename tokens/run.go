package tokens

import (
	"strconv"
	"sync"
	"time"
)

// turns says when there is a goroutine that does what is due: while there is
// something to do. Else a timer waits, which costs a Manager less.
type turns struct {
	mu      sync.Mutex // guards what follows
	running bool
	again   bool // something has changed since it began to look
	ended   bool
	timer   *time.Timer // nil until it was first set
}

// begin reports whether the caller has to start the goroutine.
func (t *turns) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.again = t.running
	if t.running || t.ended {
		return false
	}
	t.running = true
	return true
}

// rest ends the goroutine's turn until poke is called, after wait at the latest;
// not if it has to look again.
func (t *turns) rest(wait time.Duration, poke func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ended:
	case t.again:
		t.again = false
		return false
	case t.timer == nil:
		t.timer = time.AfterFunc(wait, poke)
	default:
		t.timer.Reset(wait)
	}
	t.running = false
	return true
}

// end lets no other turn begin.
func (t *turns) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// crew is the goroutines of a Manager. Unlike a sync.WaitGroup it may be given
// work while somebody waits for it to end: a timer may fire during Close.
type crew struct {
	mu    sync.Mutex // guards what follows
	n     int        // at work
	ended bool
	idle  chan struct{} // closed when nobody is at work, and nobody ever will be
}

// begin starts f on a goroutine; false once the crew has ended, where those who
// still work may begin more.
func (c *crew) begin(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended && c.n == 0 {
		return false
	}
	c.n++
	go func() {
		defer c.leave()
		f()
	}()
	return true
}

func (c *crew) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n == 0 && c.idle != nil {
		close(c.idle)
	}
}

// end waits until nobody is at work and lets nothing begin after that.
func (c *crew) end() {
	c.mu.Lock()
	c.ended = true
	if c.idle == nil && c.n > 0 {
		c.idle = make(chan struct{})
	}
	idle, n := c.idle, c.n
	c.mu.Unlock()
	if n > 0 {
		<-idle
	}
}

// run does what is due: refreshes ahead of expiry, retries, and the end of
// idleness.
func (m *Manager) run() {
	for !m.turns.rest(m.step(), m.poke) {
	}
}

// step does what is due now and returns when to look again.
func (m *Manager) step() time.Duration {
	wait := min(m.share(), m.flushDirty(time.Now()), maxTimer)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.held == nil {
		return wait
	}
	return max(min(m.refreshLocked(), m.idleLocked(), wait), 0)
}

// refreshLocked begins a refresh if one is due, and returns when the next is.
func (m *Manager) refreshLocked() time.Duration {
	after, ok := m.dueAfter(m.held)
	if !ok && !m.urgent || m.cfg.Refresh == nil || m.flight != nil {
		return maxTimer // the end of a flight wakes run
	}
	wait := after - m.age(m.held)
	if m.urgent {
		wait = 0
	}
	if !m.refreshedAt.IsZero() {
		wait = max(wait, minRefreshPause-time.Since(m.refreshedAt))
	}
	wait = max(wait, time.Until(m.retryAt))
	if wait > 0 {
		return wait
	}
	m.beginLocked(byAge)
	return maxTimer
}

// idleLocked tells of idleness once, and returns when to look for it again.
func (m *Manager) idleLocked() time.Duration {
	if m.cfg.IdleTimeout == 0 || m.idleTold {
		return maxTimer
	}
	_, wall := m.now()
	if wait := m.cfg.IdleTimeout - wall.Sub(m.active); wait > 0 {
		return wait
	}
	m.idleTold = true
	m.tellLocked(Event{Kind: InactivityTimeout, Session: m.held.Session})
	return maxTimer
}

// share exchanges with the store when the user was last active, and returns
// when there is something to tell again. The store is told ten times in the
// timeout at most.
func (m *Manager) share() time.Duration {
	if m.notes == nil || m.cfg.IdleTimeout == 0 || m.cfg.NoSync {
		return maxTimer
	}
	m.mu.Lock()
	active := m.active
	_, wall := m.now()
	wait := maxTimer
	if active.After(m.shared) {
		wait = m.cfg.IdleTimeout/10 - wall.Sub(m.shared)
	}
	if wait <= 0 {
		m.shared = active
	}
	m.mu.Unlock()
	if wait <= 0 {
		wait = maxTimer
		m.note(noteActive, strconv.FormatInt(active.UnixNano(), 10))
	}
	at, err := strconv.ParseInt(m.noted(noteActive), 10, 64)
	if err != nil {
		return wait // nobody was, or the store has been told of its fault
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if at := time.Unix(0, at); at.After(m.active) && !at.After(wall) {
		m.active, m.shared, m.idleTold = at, at, false
	}
	return wait
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
		t := time.NewTimer(watchRetry)
		select {
		case <-t.C:
		case <-m.ctx.Done():
			t.Stop()
			return
		}
	}
}
