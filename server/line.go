package server

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/holdfast-dev/holdfast"
)

// lineLength is how many calls may wait in a line before the connection's next
// join waits. A line holds that many, and two for each join that was under way
// and each room that the connection was in by then.
const lineLength = 256

// line is what the application has still to be told of one Conn, in order. Its
// goroutine exists only while there is something to tell.
type line struct {
	calls   []lineCall
	stays   int           // joins under way, and rooms that the connection is in
	space   chan struct{} // joins wait here; nil if none does
	held    bool          // the OnConnect functions are still being asked
	passed  bool          // they all let the connection in
	running bool
	left    bool  // no join begins any more
	why     error // why the connection is gone, once left is set
	ended   bool  // left, and out of all rooms: nothing is added any more
}

type lineCall struct {
	what string
	call func(context.Context)
}

// push adds a call. c.mu is held.
func (c *Conn) push(what string, call func(context.Context)) {
	c.line.calls = append(c.line.calls, lineCall{what, call})
	c.startLine()
}

// startLine starts the line's goroutine if there is work for it. c.mu is held.
func (c *Conn) startLine() {
	l := &c.line
	if len(l.calls) == 0 || l.held || l.running {
		return
	}
	l.running = true
	go c.runLine() // Server.lines counts it
}

func (c *Conn) runLine() {
	returned := false
	defer func() {
		if !returned { // a hook has ended the goroutine
			go c.runLine() // the line counts as running still
		}
	}()
	s := c.link.srv
	for {
		c.mu.Lock()
		l := &c.line
		if len(l.calls) == 0 {
			l.calls, l.running = nil, false
			ended := l.ended
			c.mu.Unlock()
			returned = true
			if ended {
				s.lines.done()
			}
			return
		}
		next := l.calls[0]
		l.calls[0] = lineCall{}
		l.calls = l.calls[1:]
		if l.space != nil && len(l.calls) < lineLength {
			close(l.space)
			l.space = nil
		}
		c.mu.Unlock()
		s.tell(c.Context(), next.what, next.call)
	}
}

// enter is called ahead of each join, once there is room in the line. Of those
// that enter each exits once, or its membership ends.
func (c *Conn) enter(ctx context.Context) error {
	for {
		c.mu.Lock()
		l := &c.line
		if l.left {
			c.mu.Unlock()
			return holdfast.Errorf(holdfast.GoingAway, "The session is closed")
		}
		if l.held || len(l.calls) < lineLength {
			l.stays++
			c.mu.Unlock()
			return nil
		}
		if l.space == nil {
			l.space = make(chan struct{})
		}
		space := l.space
		c.mu.Unlock()
		select {
		case <-space:
		case <-c.ctx.Done():
			return errGone()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// exit takes back an enter that put the connection into no room.
func (c *Conn) exit() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line.stays--
	c.endLine()
}

// ended is told of the end of each stay in a room: hub.SessionConfig.Ended.
func (c *Conn) ended(room string, err *holdfast.Error) {
	set := c.link.srv.hooks.load()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(set.observers) > 0 {
		c.tellLeft(set, room, err)
	}
	c.line.stays--
	c.endLine()
}

// tellLeft adds what the observers hear of the end of a stay. c.mu is held.
func (c *Conn) tellLeft(set hookSet, room string, err *holdfast.Error) {
	leave := Leave{Conn: c, Room: room, Err: err}
	if c.line.left && err != nil && err.Code == holdfast.GoingAway {
		leave.Disconnected, leave.Err = true, holdfast.AsError(c.line.why)
	}
	for _, o := range set.observers {
		if o.Left != nil {
			c.push("left", func(ctx context.Context) { o.Left(ctx, leave) })
		}
	}
}

// pass opens the line of a Conn that the OnConnect functions let in.
func (c *Conn) pass() {
	set := c.link.srv.hooks.load()
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.line
	l.held, l.passed = false, true
	waiting := l.calls // from rooms that were joined in OnConnect
	l.calls = nil
	for _, o := range set.observers {
		if o.Connected != nil {
			l.calls = append(l.calls, lineCall{"connected", func(ctx context.Context) { o.Connected(ctx, c) }})
		}
	}
	l.calls = append(l.calls, waiting...)
	c.startLine()
}

// closeLine lets no further join begin. endLine has to follow, once the
// session is closed.
func (c *Conn) closeLine(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.line.left, c.line.held, c.line.why = true, false, why
	c.startLine()
}

// endLine adds the last calls when the Conn is gone and out of all rooms. c.mu
// is held.
func (c *Conn) endLine() {
	l, s := &c.line, c.link.srv
	if !l.left || l.stays > 0 || l.ended {
		return
	}
	l.ended = true
	if why := l.why; l.passed {
		for _, fn := range c.ns.disconnectHooks() {
			c.push("disconnect", func(ctx context.Context) { fn(ctx, c, why) })
		}
		for _, o := range s.hooks.load().observers {
			if o.Disconnected != nil {
				c.push("disconnected", func(ctx context.Context) { o.Disconnected(ctx, c, why) })
			}
		}
	}
	if !l.running {
		s.lines.done()
	}
}

// tally counts what Shutdown waits for. Unlike a sync.WaitGroup's, its count
// may rise from zero while somebody waits. To count costs what it does there,
// as long as nobody has waited.
type tally struct {
	n      atomic.Int64
	waited atomic.Bool // somebody waits, or has

	mu   sync.Mutex    // guards zero
	zero chan struct{} // closed at zero; nil if nobody waits
}

func (t *tally) add() { t.n.Add(1) }

func (t *tally) done() {
	if t.n.Add(-1) > 0 || !t.waited.Load() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// It may have risen since: then whoever brings it to zero again comes here.
	if t.n.Load() == 0 && t.zero != nil {
		close(t.zero)
		t.zero = nil
	}
}

// wait waits until the count is zero.
func (t *tally) wait() {
	t.mu.Lock()
	t.waited.Store(true) // before the look: who brings it to zero after that sees it
	if t.n.Load() == 0 {
		t.mu.Unlock()
		return
	}
	if t.zero == nil {
		t.zero = make(chan struct{})
	}
	zero := t.zero
	t.mu.Unlock()
	<-zero
}
