// Package memnet is a network in memory, for tests on the fake clock.
//
// Its connections behave as loopback TCP does where programs can see it:
// writes go to a buffer of limited size and block when it is full, both
// deadlines work, the data written before a Close is still read by the other
// side, and what follows it is io.EOF. Everything blocks on conditions and
// channels that were made with the listener, so that a testing/synctest
// bubble that makes its own listener sees its goroutines as durably blocked.
package memnet

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// DefaultBuffer is how many bytes a connection holds in each direction.
const DefaultBuffer = 64 << 10

// backlog is how many connections wait for Accept before Dial blocks.
const backlog = 128

// Config is for listeners with other than the usual figures. The zero value
// is what Listen uses.
type Config struct {
	// Buffer is how many bytes each direction of a connection holds before
	// Write blocks. Default: DefaultBuffer.
	Buffer int
}

// Listener is a net.Listener whose connections never leave the process. It is
// safe for concurrent use.
type Listener struct {
	buffer  int
	queue   chan *Conn
	closing chan struct{}
	once    sync.Once

	mu   sync.Mutex
	port int // guarded by mu: of the last client
}

// Listen returns a new listener with the default buffers.
func Listen() *Listener { return Config{}.Listen() }

// Listen returns a new listener.
func (cfg Config) Listen() *Listener {
	if cfg.Buffer <= 0 {
		cfg.Buffer = DefaultBuffer
	}
	return &Listener{
		buffer:  cfg.Buffer,
		queue:   make(chan *Conn, backlog),
		closing: make(chan struct{}),
		port:    20000,
	}
}

// Pipe returns the two ends of a connection without a listener. buffer is the
// size of each direction in bytes; 0 means DefaultBuffer.
func Pipe(buffer int) (client, server *Conn) {
	if buffer <= 0 {
		buffer = DefaultBuffer
	}
	return connect(buffer, loopback(20001), loopback(serverPort))
}

// serverPort is the port of every listener; it is no real port of the machine.
const serverPort = 4000

func loopback(port int) *net.TCPAddr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port}
}

// Accept waits for the next connection. After Close it returns net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.closing:
		return nil, l.opError("accept", net.ErrClosed)
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closing:
		return nil, l.opError("accept", net.ErrClosed)
	}
}

// Close refuses further Dials, ends Accepts, and closes the connections that
// nobody accepted. Accepted ones stay open.
func (l *Listener) Close() error {
	err := l.opError("close", net.ErrClosed)
	l.once.Do(func() {
		close(l.closing)
		err = nil
		l.drain()
	})
	return err
}

func (l *Listener) drain() {
	for {
		select {
		case c := <-l.queue:
			c.Close()
		default:
			return
		}
	}
}

// Addr returns an address of the form 127.0.0.1:4000; nothing listens there
// in the real network.
func (l *Listener) Addr() net.Addr { return loopback(serverPort) }

// Dial connects to l. It waits while the backlog of l is full, until ctx ends.
func (l *Listener) Dial(ctx context.Context) (net.Conn, error) {
	l.mu.Lock()
	l.port++
	port := l.port
	l.mu.Unlock()
	return l.DialFrom(ctx, loopback(port))
}

// DialFrom is Dial from an address of the caller's choice, which the accepted
// side sees as its RemoteAddr.
func (l *Listener) DialFrom(ctx context.Context, from net.Addr) (net.Conn, error) {
	select {
	case <-l.closing:
		return nil, l.opError("dial", syscall.ECONNREFUSED)
	default:
	}
	client, server := connect(l.buffer, from, l.Addr())
	select {
	case l.queue <- server:
	case <-l.closing:
		return nil, l.opError("dial", syscall.ECONNREFUSED)
	case <-ctx.Done():
		return nil, l.opError("dial", ctx.Err())
	}
	select {
	case <-l.closing: // Close may have drained the queue before this one came
		l.drain()
	default:
	}
	return client, nil
}

// DialContext is Dial in the form that http.Transport and WebSocket dialers
// take. Network and address are ignored: there is only one place to go.
func (l *Listener) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	return l.Dial(ctx)
}

func (l *Listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "memnet", Addr: l.Addr(), Err: err}
}
