package queue

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Memory is a Queue that ends with the process.
type Memory struct {
	limits Limits

	mu     sync.Mutex // guards what follows
	state  state
	change chan struct{} // closed at the next change
	leads  map[Lane]bool // lanes that somebody leads
}

var _ Queue = (*Memory)(nil)

// NewMemory makes an empty queue.
func NewMemory(limits Limits) *Memory {
	return &Memory{limits: limits.withDefaults(), change: make(chan struct{}), leads: make(map[Lane]bool)}
}

// Add implements Queue.
func (m *Memory) Add(_ context.Context, item Item) error {
	if err := item.check(); err != nil {
		return err
	}
	m.mu.Lock()
	drop, ok := m.state.room(&item, m.limits)
	if !ok {
		m.mu.Unlock()
		return ErrFull
	}
	dropped := slices.Clone(m.state.items[:drop])
	for _, d := range dropped {
		m.state.drop(d.ID)
	}
	m.state.add(item)
	m.changedLocked()
	m.mu.Unlock()
	m.limits.tell(dropped)
	return nil
}

func (l Limits) tell(dropped []Item) {
	if l.Dropped == nil {
		return
	}
	for _, d := range dropped {
		l.Dropped(d)
	}
}

// Next implements Queue.
func (m *Memory) Next(ctx context.Context, lane Lane) (item Item, err error) {
	err = m.until(ctx, func() (ok bool) {
		item, ok = m.state.next(lane)
		return ok
	})
	return item, err
}

// Gone implements Queue.
func (m *Memory) Gone(ctx context.Context, id string) (dead *Dead, err error) {
	var how error
	err = m.until(ctx, func() (ok bool) {
		dead, ok, how = m.state.gone(id)
		return ok
	})
	if err == nil {
		err = how
	}
	return dead, err
}

// until waits for ready, which is called under mu at each change.
func (m *Memory) until(ctx context.Context, ready func() bool) error {
	for {
		m.mu.Lock()
		ok := ready()
		change := m.change
		m.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Remove implements Queue.
func (m *Memory) Remove(_ context.Context, id string, cause *holdfast.Error) (was bool, _ error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if cause == nil {
		was = m.state.remove(id)
	} else {
		was = m.state.bury(id, cause.Code, cause.Message, time.Now(), m.limits.Dead)
	}
	m.changedLocked()
	return was, nil
}

// Lead implements Queue.
func (m *Memory) Lead(ctx context.Context, lane Lane) (func(), error) {
	err := m.until(ctx, func() bool {
		if m.leads[lane] {
			return false
		}
		m.leads[lane] = true
		return true
	})
	if err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.leads, lane)
		m.changedLocked()
	}), nil
}

// Items returns what waits, oldest first, and Dead what the server refused.
func (m *Memory) Items() []Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.state.items)
}

// Dead returns what the server refused for good, oldest first.
func (m *Memory) Dead() []Dead {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.state.dead)
}

func (m *Memory) changedLocked() {
	close(m.change)
	m.change = make(chan struct{})
}
