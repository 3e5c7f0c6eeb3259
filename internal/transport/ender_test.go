package transport

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// enderSession is a session that notes in which order it is told of its end.
type enderSession struct {
	*session
	mu     sync.Mutex
	calls  []string
	closed chan struct{}
}

func (s *enderSession) note(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

func (s *enderSession) Ending() {
	time.Sleep(time.Second) // of the fake clock: as one that is held up would
	s.note("Ending")
}

func (s *enderSession) Closed(c *Conn, err error) {
	if c.Context().Err() != nil {
		s.note("context")
	}
	s.note("Closed")
	close(s.closed)
	s.session.Closed(c, err)
}

// Whoever is told of the end is told in the order that is promised: Ending,
// the context, Closed; also where it ends while a message is handled.
func TestEndingComesBeforeClosed(t *testing.T) {
	for _, handling := range []bool{false, true} {
		onMemnet(t, func(t *testing.T, n network) {
			opened := make(chan *enderSession, 1)
			rg := newRig(t, n, EngineConfig{Open: func(c *Conn) (Receiver, error) {
				c.Context() // which is made when it is asked for
				s := &enderSession{session: &session{conn: c, closed: make(chan error, 2)}, closed: make(chan struct{})}
				if handling {
					s.hold = make(chan struct{})
				}
				opened <- s
				return s, nil
			}})
			c := rg.webSocket(websocketQuery)
			s := <-opened
			if handling {
				c.text("4hello")
				until(func() bool {
					s.session.mu.Lock()
					defer s.session.mu.Unlock()
					return s.session.busy
				})
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.conn.Close(holdfast.GoingAway.New())
			}()
			synctest.Wait() // Ending runs
			if handling {
				close(s.hold) // the message is handled while Ending runs
			}
			<-done
			<-s.closed
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.calls) != 3 || s.calls[0] != "Ending" || s.calls[1] != "context" || s.calls[2] != "Closed" {
				t.Errorf("handling %v: %q", handling, s.calls)
			}
		})
	}
}
