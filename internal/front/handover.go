package front

import (
	"net"
	"sync"
)

// handover is the listener whose connections are those that the front leaves to
// the http.Server.
type handover struct {
	addr   net.Addr // static once it is served
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newHandover() *handover {
	return &handover{conns: make(chan net.Conn), closed: make(chan struct{})}
}

// give waits until the server takes conn, which is at once; it closes conn where
// there is no server any more.
func (h *handover) give(conn net.Conn) {
	select {
	case h.conns <- conn:
	case <-h.closed:
		conn.Close()
	}
}

// Accept implements net.Listener.
func (h *handover) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handover) Close() error {
	h.once.Do(func() { close(h.closed) })
	return nil
}

// Addr implements net.Listener.
func (h *handover) Addr() net.Addr { return h.addr }

// replayed is a connection of which something was read, and is to be read again.
// Like any connection it has one reader at a time.
type replayed struct {
	net.Conn
	rest []byte
}

// Read implements net.Conn.
func (r *replayed) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return r.Conn.Read(p)
	}
	n := copy(p, r.rest)
	if r.rest = r.rest[n:]; len(r.rest) == 0 {
		r.rest = nil // or it would be held as long as the connection is
	}
	return n, nil
}

// CloseWrite ends our direction, where that can be ended alone.
func (r *replayed) CloseWrite() error {
	if c, ok := r.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Bare returns the connection itself once nothing is to be read again, and else
// r. Whoever takes the connection over may want to read it at less cost.
func (r *replayed) Bare() net.Conn {
	if len(r.rest) == 0 {
		return r.Conn
	}
	return r
}
