package front

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// requestContext is the context of a request. It ends when the handler returns
// or the client goes, which is looked for only if somebody asks: that takes a
// read in the background, and an opening handshake is over before.
type requestContext struct {
	// Static.
	parent context.Context
	conn   net.Conn
	until  time.Time // when reading ends; zero: never

	mu       sync.Mutex // guards what follows
	inner    context.Context
	cancel   context.CancelFunc // of inner
	watching chan struct{}      // closed when the read is over; nil: there is none
	held     []byte             // what it has read; not guarded once watching is closed
	stopped  bool               // no read is to begin or to cancel any more
	ended    bool               // the handler has returned
}

var _ context.Context = (*requestContext)(nil)

// Deadline implements context.Context.
func (c *requestContext) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Done implements context.Context.
func (c *requestContext) Done() <-chan struct{} { return c.real().Done() }

// Err implements context.Context.
func (c *requestContext) Err() error { return c.real().Err() }

// Value implements context.Context.
func (c *requestContext) Value(key any) any {
	if key == http.LocalAddrContextKey {
		return c.conn.LocalAddr()
	}
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner != nil { // it knows the keys of package context, too
		return inner.Value(key)
	}
	return c.parent.Value(key)
}

// real returns the context that can end, and has it end when the client goes.
func (c *requestContext) real() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		return c.inner
	}
	c.inner, c.cancel = context.WithCancel(c.parent)
	switch {
	case c.ended:
		c.cancel()
	case !c.stopped:
		_ = c.conn.SetReadDeadline(c.until)
		c.watching = make(chan struct{})
		go c.watch()
	}
	return c.inner
}

// watch waits for the client to go, or to send something.
func (c *requestContext) watch() {
	defer close(c.watching)
	var one [1]byte
	n, err := c.conn.Read(one[:])
	c.mu.Lock()
	c.held = append(c.held, one[:n]...)
	gone := err != nil && !c.stopped
	cancel := c.cancel
	c.mu.Unlock()
	if gone {
		cancel()
	}
}

// stop ends the looking for the client, for good, and returns what was read by
// it. Only the first call touches the connection.
func (c *requestContext) stop() (held []byte) {
	c.mu.Lock()
	first := !c.stopped
	c.stopped = true
	watching := c.watching
	c.mu.Unlock()
	if watching == nil {
		return nil
	}
	if first {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0)) // long ago
		<-watching
		_ = c.conn.SetReadDeadline(time.Time{})
	}
	<-watching
	return c.held
}

// end is what the return of the handler does.
func (c *requestContext) end() {
	c.stop()
	c.mu.Lock()
	c.ended = true
	cancel := c.cancel
	c.mu.Unlock()
	if cancel != nil {
		cancel()
	}
}
