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
	lead   chan struct{} // holds one value while somebody leads

	mu     sync.Mutex // guards what follows
	state  state
	change chan struct{} // closed at the next change
}

var _ Queue = (*Memory)(nil)

// NewMemory makes an empty queue.
func NewMemory(limits Limits) *Memory {
	return &Memory{limits: limits.withDefaults(), lead: make(chan struct{}, 1), change: make(chan struct{})}
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
		m.state.remove(d.ID)
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
func (m *Memory) Next(ctx context.Context, user string) (Item, error) {
	for {
		m.mu.Lock()
		item, ok := m.state.next(user)
		change := m.change
		m.mu.Unlock()
		if ok {
			return item, nil
		}
		select {
		case <-change:
		case <-ctx.Done():
			return Item{}, ctx.Err()
		}
	}
}

// Remove implements Queue.
func (m *Memory) Remove(_ context.Context, id string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state.remove(id), nil
}

// Bury implements Queue.
func (m *Memory) Bury(_ context.Context, id string, cause *holdfast.Error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.state.bury(id, cause.Code, cause.Message, time.Now(), m.limits.Dead)
	return nil
}

// Lead implements Queue.
func (m *Memory) Lead(ctx context.Context) (func(), error) {
	select {
	case m.lead <- struct{}{}:
		return sync.OnceFunc(func() { <-m.lead }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
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
