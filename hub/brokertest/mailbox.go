package brokertest

import (
	"sync"

	"github.com/holdfast-dev/holdfast/hub"
)

// mailbox calls a Receiver, one call at a time, in a goroutine of its own that
// ends with close. Its queue has no bound: who fills it is a test.
type mailbox struct {
	receiver hub.Receiver
	before   func()                     // called before each call, without locks: a delay
	shuffle  func([]func(hub.Receiver)) // called under mu after each put

	mu     sync.Mutex // guards what follows
	queue  []func(hub.Receiver)
	closed bool
	wake   chan struct{}
}

func newMailbox(wg *sync.WaitGroup, r hub.Receiver, before func(), shuffle func([]func(hub.Receiver))) *mailbox {
	m := &mailbox{receiver: r, before: before, shuffle: shuffle, wake: make(chan struct{}, 1)}
	wg.Go(m.run)
	return m
}

func (m *mailbox) run() {
	for range m.wake {
		for {
			m.mu.Lock()
			if m.closed || len(m.queue) == 0 {
				closed := m.closed
				m.mu.Unlock()
				if closed {
					return
				}
				break
			}
			call := m.queue[0]
			m.queue = m.queue[1:]
			m.mu.Unlock()
			m.before()
			call(m.receiver)
		}
	}
}

// put queues calls; after close it does nothing.
func (m *mailbox) put(calls ...func(hub.Receiver)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.queue = append(m.queue, calls...)
	m.shuffle(m.queue)
	m.rouse()
}

// drop forgets what is queued, and then tells the receiver that it is stale.
func (m *mailbox) drop() {
	m.mu.Lock()
	m.queue = nil
	m.mu.Unlock()
	m.put(hub.Receiver.Stale)
}

// close ends the mailbox, without waiting for a call that is under way.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.rouse()
}

// rouse is called with mu held.
func (m *mailbox) rouse() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}
