package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"sync"

	"github.com/holdfast-dev/holdfast/tokens"
)

// Socket is a realtime connection in one namespace of a Socket.IO server. It
// lives over reconnects. All methods may be called from any goroutine and from
// handlers.
type Socket struct {
	// static after construction
	client *Client
	cfg    SocketConfig
	ns     string

	// paths is owned by the run.
	paths paths

	registry registry
	inbox    inbox
	ctx      context.Context // of handlers; ends with Close
	cancel   context.CancelFunc

	mu       sync.Mutex // guards what follows
	closed   bool
	last     Change
	watchers []chan Change
	run      *run  // nil while stopped
	conn     *conn // nil unless connected
	auth     func(ctx context.Context, t tokens.Token) (any, error)
	query    url.Values
	emits    map[string]*waitingEmit
	owner    string // whose the rooms are, if owned
	owned    bool
	user     string // of the last connection, if seen, where the Source doesn't tell
	seen     bool
	rooms    map[string]*room
}

// run is the time from a Connect to the end of its attempts.
type run struct {
	ctx   context.Context
	hurry chan struct{} // has one element when the wait before an attempt is to end
	up    chan struct{} // closed at the first connection
	done  chan struct{} // closed at the end
	err   error         // why it ended; set before done is closed

	end context.CancelCauseFunc // of ctx

	mu      sync.Mutex
	serving *conn // to be said goodbye to when the run is stopped; guarded by mu
}

// stop ends the run; the first cause counts.
func (r *run) stop(cause error) {
	r.end(cause)
	r.serve(r.present())
}

func (r *run) present() *conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.serving
}

// serve notes the connection that the run has, nil for none, and says goodbye to
// it if the run has been stopped.
func (r *run) serve(c *conn) {
	r.mu.Lock()
	r.serving = c
	r.mu.Unlock()
	if c != nil && r.ctx.Err() != nil {
		c.goodbye()
	}
}

func newSocket(c *Client, namespace string) *Socket {
	s := &Socket{client: c, cfg: c.cfg.Socket, ns: namespace, rooms: make(map[string]*room), emits: make(map[string]*waitingEmit)}
	s.last.Final = true
	s.auth, s.query = s.cfg.Auth, maps.Clone(s.cfg.Query)
	s.paths.list = s.cfg.Transports
	s.registry.log = c.log
	s.inbox.limit, s.inbox.done = s.cfg.ReceiveBuffer, make(chan struct{})
	s.inbox.start = func() { go s.dispatch() }
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.ctx = context.WithValue(s.ctx, handlerKey{}, s)
	return s
}

// handlerKey marks the context of a socket's handlers.
type handlerKey struct{}

func (s *Socket) events() *registry { return &s.registry }

// Namespace returns the socket's namespace, such as "/".
func (s *Socket) Namespace() string { return s.ns }

// Connect connects and returns when the server has admitted the socket; it
// stays up by itself from then on. It tries until it succeeds, until the server
// refuses for good (the error then holds the *holdfast.Error), until
// MaxAttempts, or until ctx ends: then the attempts end too, and the error
// holds ctx's and the last attempt's. ctx counts only until Connect returns.
//
// A socket that has stopped (Change.Final) may be connected again; its rooms
// are joined again. After Close, Connect returns ErrClosed.
func (s *Socket) Connect(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	r, mine := s.run, false
	if r == nil {
		r, mine = s.startLocked(), true
	}
	s.mu.Unlock()

	select {
	case <-r.up:
		return nil
	case <-r.done:
		select {
		case <-r.up: // and has ended since, of which Changes tells
			return nil
		default:
			return r.err
		}
	case <-ctx.Done():
	}
	if !mine {
		return ctx.Err()
	}
	select {
	case <-r.up: // it came at the same moment: connected is connected
		return nil
	default:
	}
	r.stop(&givenUp{ctx.Err()})
	<-r.done
	return r.err
}

// givenUp ends a run because the caller of Connect went away.
type givenUp struct{ err error }

func (g *givenUp) Error() string { return "client: connecting was given up: " + g.err.Error() }
func (g *givenUp) Unwrap() error { return g.err }

func (s *Socket) startLocked() *run {
	r := &run{hurry: make(chan struct{}, 1), up: make(chan struct{}), done: make(chan struct{})}
	r.ctx, r.end = context.WithCancelCause(context.Background())
	s.run = r
	s.setLocked(Change{State: Connecting, Attempt: 1})
	go s.keep(r)
	return r
}

// Close ends the socket for good: it says goodbye to the server if it is
// connected, and no event, timer or token brings it back. Joins and acks that
// wait end with an error; events that wait are dropped. When Close returns, the
// socket's goroutines have ended, but for a handler that is still running; its
// ctx has ended, and Done tells when it is through. It always returns nil.
func (s *Socket) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	r := s.run
	s.mu.Unlock()
	if first {
		s.cancel()
	}
	s.inbox.close()
	if r != nil {
		r.stop(ErrClosed)
		<-r.done
	}
	if first {
		s.mu.Lock()
		s.setLocked(Change{State: Closed, Final: true})
		s.dropLocked(ErrClosed)
		s.mu.Unlock()
	}
	if s.inbox.running() {
		return nil
	}
	<-s.inbox.done
	return nil
}

// Done is closed when Close was called and the last handler has returned.
func (s *Socket) Done() <-chan struct{} { return s.inbox.done }

// finish makes the end of a run known.
func (s *Socket) finish(r *run, attempt int, err error) {
	if cause := context.Cause(r.ctx); cause != nil {
		if _, ok := errors.AsType[*givenUp](cause); ok && err != nil {
			cause = fmt.Errorf("%w; the last attempt: %w", cause, err)
		}
		err = cause
	}
	s.mu.Lock()
	r.err = err
	s.run = nil
	s.dropWaitingLocked(err)
	if !s.closed {
		s.setLocked(Change{State: Disconnected, Err: err, Attempt: attempt, Final: true})
	}
	s.mu.Unlock()
	r.stop(err) // frees the context
	close(r.done)
}
