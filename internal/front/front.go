package front

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Config configures a Front.
type Config struct {
	// Server answers what the front leaves to it, and says how: its Handler,
	// times, BaseContext, ConnContext and ErrorLog count for the front as well.
	// ConnState is told of a connection that the front answers once its request
	// is there, and of none that goes before. MaxHeaderBytes does not matter to
	// a request of at most 4,096 bytes. The Server must not have other listeners,
	// and is not to be served, shut down or closed but by the front. Required.
	Server *http.Server
}

// Front serves a plain TCP listener. It is safe for concurrent use.
type Front struct {
	server *http.Server
	rest   *handover // where connections wait for server

	mu       sync.Mutex // guards what follows
	listener net.Listener
	base     context.Context // of all requests; set with listener
	workers  map[*worker]struct{}
	idle     []*worker // of workers, those without a connection; the one that came last goes first
	closed   bool
	over     chan struct{} // closed when closed and no worker is left
}

// New makes a Front. It panics without a Server.
func New(cfg Config) *Front {
	if cfg.Server == nil {
		panic("front: Config.Server is nil")
	}
	return &Front{server: cfg.Server, rest: newHandover(), workers: make(map[*worker]struct{}), over: make(chan struct{})}
}

// Serve accepts connections until Shutdown or Close, and then returns
// http.ErrServerClosed, or until the listener fails for good. It closes l, and
// can be called once.
func (f *Front) Serve(l net.Listener) error {
	defer l.Close()
	if err := f.open(l); err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(f.rest) }()
	err := f.accept(l)
	f.rest.Close()
	<-served
	return err
}

// open takes l, whose connections are served from then on.
func (f *Front) open(l net.Listener) error {
	base := context.Background()
	if f.server.BaseContext != nil {
		base = f.server.BaseContext(l)
	}
	f.rest.addr = l.Addr()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		return http.ErrServerClosed
	case f.listener != nil:
		return errors.New("front: Serve was called before")
	}
	f.listener, f.base = l, context.WithValue(base, http.ServerContextKey, f.server)
	return nil
}

// Bounds of the wait after a failed Accept, which most often means that there
// are too many open files.
const (
	minAcceptWait = 5 * time.Millisecond
	maxAcceptWait = time.Second
)

func (f *Front) accept(l net.Listener) error {
	wait := minAcceptWait
	for {
		conn, err := l.Accept()
		if err == nil {
			wait = minAcceptWait
			f.hand(conn)
			continue
		}
		if f.isClosed() {
			return http.ErrServerClosed
		}
		var temporary interface{ Temporary() bool }
		if !errors.As(err, &temporary) || !temporary.Temporary() {
			return err
		}
		f.logf("http: Accept error: %v; retrying in %v", err, wait)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-f.rest.closed:
			timer.Stop()
		}
		wait = min(2*wait, maxAcceptWait)
	}
}

// hand gives a connection to a worker.
func (f *Front) hand(conn net.Conn) {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		conn.Close()
		return
	}
	if n := len(f.idle); n > 0 {
		w := f.idle[n-1]
		f.idle = f.idle[:n-1]
		w.conn, w.waits = conn, true
		f.mu.Unlock()
		w.next <- conn // which has room, and belongs to somebody who waits
		return
	}
	w := newWorker(f, conn)
	f.workers[w] = struct{}{}
	f.mu.Unlock()
	go w.run(conn)
}

// Shutdown stops listening, closes connections that have not sent their first
// request, lets the server do the same, and waits for the requests that are
// being answered. When ctx ends first its error is returned; Close cuts off
// what is left. Connections that have become WebSockets are their owners'.
func (f *Front) Shutdown(ctx context.Context) error {
	f.stop()
	if err := f.server.Shutdown(ctx); err != nil {
		return err
	}
	select {
	case <-f.over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close is Shutdown without the wait: it closes all connections that have not
// become WebSockets. Like http.Server's it does not wait for handlers.
func (f *Front) Close() error {
	f.stop()
	f.mu.Lock()
	for w := range f.workers {
		if w.conn != nil {
			w.conn.Close()
		}
	}
	f.mu.Unlock()
	return f.server.Close()
}

// stop takes no more connections, and lets go of those that nobody answers.
func (f *Front) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return
	}
	f.closed = true
	f.rest.Close()
	if f.listener != nil {
		f.listener.Close()
	}
	for _, w := range f.idle {
		close(w.next)
	}
	f.idle = nil
	for w := range f.workers {
		if w.conn != nil && w.waits {
			w.conn.Close()
		}
	}
	if len(f.workers) == 0 {
		close(f.over)
	}
}

func (f *Front) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// headerTimeout is how long a first request may take; 0: as long as it likes.
func (f *Front) headerTimeout() time.Duration {
	if f.server.ReadHeaderTimeout != 0 {
		return max(f.server.ReadHeaderTimeout, 0)
	}
	return max(f.server.ReadTimeout, 0)
}
