package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is one end of a connection. Like every net.Conn it is safe for
// concurrent use.
type Conn struct {
	in, out       *stream
	local, remote net.Addr
}

func connect(buffer int, clientAddr, serverAddr net.Addr) (client, server *Conn) {
	up, down := newStream(buffer), newStream(buffer)
	client = &Conn{in: down, out: up, local: clientAddr, remote: serverAddr}
	server = &Conn{in: up, out: down, local: serverAddr, remote: clientAddr}
	return client, server
}

// Read reads what the other end wrote. It returns io.EOF when the other end
// was closed and everything was read.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	if err != nil && err != io.EOF {
		err = c.opError("read", err)
	}
	return n, err
}

// Write blocks while the buffer to the other end is full. When the other end
// was closed it fails with syscall.EPIPE.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	if err != nil {
		err = c.opError("write", err)
	}
	return n, err
}

// Close ends both directions. The other end still reads what was written
// before.
func (c *Conn) Close() error {
	c.in.closeReader() // first: the other end may answer the end of out
	if first := c.out.closeWriter(); !first {
		return c.opError("close", net.ErrClosed)
	}
	return nil
}

// CloseWrite ends the direction to the other end, as the method of
// *net.TCPConn does.
func (c *Conn) CloseWrite() error {
	c.out.finish()
	return nil
}

// LocalAddr returns this end's address.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr returns the other end's address.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline sets both deadlines; the zero time means none.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline ends Reads, those that already wait too, at t with
// os.ErrDeadlineExceeded.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if !c.in.setReadDeadline(t) {
		return c.opError("set", net.ErrClosed)
	}
	return nil
}

// SetWriteDeadline ends Writes at t with os.ErrDeadlineExceeded.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	if !c.out.setWriteDeadline(t) {
		return c.opError("set", net.ErrClosed)
	}
	return nil
}

func (c *Conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: "memnet", Source: c.local, Addr: c.remote, Err: err}
}

// stream is one direction.
type stream struct {
	limit int
	wmu   chan struct{} // holds one token: whole Writes don't interleave

	mu       sync.Mutex
	readable sync.Cond
	writable sync.Cond
	buf      []byte // unread bytes; guarded by mu, as all below
	ended    bool   // no more bytes will come
	writerUp bool   // the writing end is open
	readerUp bool   // the reading end is open
	readBy   deadline
	writeBy  deadline
}

func newStream(limit int) *stream {
	s := &stream{limit: limit, wmu: make(chan struct{}, 1), writerUp: true, readerUp: true}
	s.readable.L = &s.mu
	s.writable.L = &s.mu
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case !s.readerUp:
			return 0, net.ErrClosed
		case s.readBy.passed:
			return 0, os.ErrDeadlineExceeded
		case len(p) == 0:
			return 0, nil
		case len(s.buf) > 0:
			n := copy(p, s.buf)
			s.buf = s.buf[n:]
			if len(s.buf) == 0 {
				s.buf = nil
			}
			s.writable.Broadcast()
			return n, nil
		case s.ended:
			return 0, io.EOF
		}
		s.readable.Wait()
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.wmu <- struct{}{}
	defer func() { <-s.wmu }()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for {
		switch {
		case !s.writerUp:
			return n, net.ErrClosed
		case s.writeBy.passed:
			return n, os.ErrDeadlineExceeded
		case s.ended || !s.readerUp:
			return n, syscall.EPIPE
		}
		if room := s.limit - len(s.buf); room > 0 {
			k := min(room, len(p)-n)
			s.buf = append(s.buf, p[n:n+k]...)
			n += k
			s.readable.Broadcast()
		}
		if n == len(p) {
			return n, nil
		}
		s.writable.Wait()
	}
}

// finish says that no more bytes will come.
func (s *stream) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.readable.Broadcast()
	s.writable.Broadcast()
}

// closeWriter reports whether the writing end was open.
func (s *stream) closeWriter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.writerUp
	s.writerUp, s.ended = false, true
	s.writeBy.stop()
	s.readable.Broadcast()
	s.writable.Broadcast()
	return first
}

func (s *stream) closeReader() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readerUp, s.buf = false, nil
	s.readBy.stop()
	s.readable.Broadcast()
	s.writable.Broadcast()
}

func (s *stream) setReadDeadline(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.readerUp {
		return false
	}
	s.readBy.set(t, &s.readable)
	return true
}

func (s *stream) setWriteDeadline(t time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.writerUp {
		return false
	}
	s.writeBy.set(t, &s.writable)
	return true
}

// deadline wakes the waiters of a condition at its time. Its fields are
// guarded by the condition's lock.
type deadline struct {
	passed bool
	timer  *time.Timer
	turn   int // tells a timer that was replaced from the one that counts
}

func (d *deadline) stop() {
	d.turn++
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (d *deadline) set(t time.Time, wake *sync.Cond) {
	d.stop()
	d.passed = false
	if t.IsZero() {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		d.passed = true
		wake.Broadcast()
		return
	}
	turn := d.turn
	d.timer = time.AfterFunc(wait, func() {
		wake.L.Lock()
		defer wake.L.Unlock()
		if d.turn == turn {
			d.passed = true
			wake.Broadcast()
		}
	})
}
