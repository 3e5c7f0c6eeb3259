package client

import (
	"slices"
	"strconv"
	"time"
)

// State is where a Socket stands.
type State int

// The states.
const (
	// Disconnected: there is no connection. Either the socket waits before the
	// next attempt, or it has stopped (Change.Final): it was never started, its
	// Connect was given up, or the server refused it for good.
	Disconnected State = iota
	// Connecting: an attempt is under way.
	Connecting
	// Connected: the server has admitted the socket.
	Connected
	// Closed: Close was called; nothing follows.
	Closed
)

// String returns the state's name in lower case.
func (s State) String() string {
	switch s {
	case Disconnected:
		return "disconnected"
	case Connecting:
		return "connecting"
	case Connected:
		return "connected"
	case Closed:
		return "closed"
	}
	return "state " + strconv.Itoa(int(s))
}

// Change is one change of a Socket's state.
type Change struct {
	// State is the new state.
	State State
	// Err is why a connection or an attempt ended, with State Disconnected.
	// errors.Is finds the server's code in it, where there is one.
	Err error
	// Attempt counts the attempts since the last connection that lasted, the
	// one under way included.
	Attempt int
	// RetryIn is how long the socket waits before the next attempt.
	RetryIn time.Duration
	// Final says that no attempt follows, unless Connect is called again.
	Final bool
}

// State returns the present state.
func (s *Socket) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last.State
}

// Changes subscribes to the changes of state; the first that comes is the
// present state. It never blocks the socket: the channel holds at least one
// change, and buffer if that is more, and when it is full the oldest is
// dropped, so that the newest always arrives. The channel is closed by stop,
// and after Closed.
func (s *Socket) Changes(buffer int) (changes <-chan Change, stop func()) {
	ch := make(chan Change, max(buffer, 1))
	s.mu.Lock()
	defer s.mu.Unlock()
	ch <- s.last
	if s.last.State == Closed {
		close(ch)
		return ch, func() {}
	}
	s.watchers = append(s.watchers, ch)
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if i := slices.Index(s.watchers, ch); i >= 0 {
			s.watchers = slices.Delete(s.watchers, i, i+1)
			close(ch)
		}
	}
}

// setLocked makes a change known. The caller holds s.mu.
func (s *Socket) setLocked(c Change) {
	if s.last.State == Closed {
		return
	}
	s.last = c
	for _, ch := range s.watchers {
		select {
		case ch <- c:
			continue
		default:
		}
		// Full. Nobody else sends, so after taking one out there is room.
		select {
		case <-ch:
		default:
		}
		ch <- c
	}
	if c.State == Closed {
		for _, ch := range s.watchers {
			close(ch)
		}
		s.watchers = nil
	}
}
