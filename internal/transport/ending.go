package transport

import (
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

// ending says how a session ends.
type ending struct {
	err    *holdfast.Error // for Closed; nil: the peer closed
	flush  bool            // what is queued is still sent
	linger bool            // a polling session stays until a poll has fetched its end
	cut    bool            // the connection is of no more use: no close handshake
	// For WebSocket.
	code     uint16 // close code, if not err's
	bare     bool   // the Close frame has no body, as the peer's had none
	desynced bool   // nothing that follows can be read
}

// closeCode returns the number for a Close frame. Codes that never close a
// connection by themselves get the nearest that RFC 6455 has.
func closeCode(err *holdfast.Error) uint16 {
	if err == nil {
		return wsframe.Normal
	}
	if n := err.Code.Info().Close; n != 0 {
		return uint16(n)
	}
	if err.Code == holdfast.MessageTooLarge {
		return wsframe.TooBig
	}
	return wsframe.Policy
}

// lost is the ending of a session whose transport broke.
func lost(err error) ending {
	return ending{cut: true, err: &holdfast.Error{
		Code: holdfast.GoingAway, Message: "connection lost", Err: joined{ErrLost, err},
	}}
}

// joined is an error of two causes, the first of which names it.
type joined [2]error

func (j joined) Error() string   { return j[0].Error() + ": " + j[1].Error() }
func (j joined) Unwrap() []error { return j[:] }

// end ends the session. Only the first call decides how; a later one can at
// most cut what the first left open.
func (c *Conn) end(e ending) {
	c.mu.Lock()
	if c.state != stateOpen {
		c.mu.Unlock()
		if e.cut {
			c.cut()
		}
		return
	}
	c.state = stateClosing
	c.err = e.err
	c.closeCode, c.closeReason = closeCode(e.err), ""
	if e.err != nil {
		c.closeReason = string(e.err.Code)
	}
	if e.code != 0 {
		c.closeCode = e.code
	}
	if e.bare {
		c.closeCode = 0
	}
	c.desynced = e.desynced
	c.pingDue = false
	c.queue.Close()
	if !e.flush {
		c.queue.Clear()
		c.pongs = nil
	}
	c.tellCaughtUp()
	c.host.wg.Add(1) // for notifyClosed, which comes last
	defer c.host.wg.Done()
	c.closeBy = c.host.now().add(c.host.cfg.CloseTimeout)
	c.arm(c.closeBy)
	polled := c.poll != nil && c.ws == nil
	var probe *socket
	if c.poll != nil {
		// A client that was told "3probe" polls no more once its last poll is
		// answered, and would not notice that its new WebSocket is gone before
		// it has switched to it: the end waits for it there.
		if !e.flush || !c.poll.probed {
			probe, c.poll.probe = c.poll.probe, nil
		}
		c.poll.posted.Broadcast()
		// The receiver is told before the session is removed: a poll that comes
		// in between finds it gone, as all later ones do.
		c.poll.unknown = polled && !e.linger
	}
	if !e.cut || c.ws == nil { // a WebSocket that is cut takes no Close frame
		c.kick()
	}
	cancel := c.cancel
	cause := c.cause()
	opened := c.registered
	c.mu.Unlock()

	if opened {
		if ender, ok := c.receiver.(Ender); ok {
			ender.Ending()
		}
	}
	if cancel != nil {
		cancel(cause)
	}
	c.mu.Lock()
	if c.delivering {
		c.notify = true
	} else {
		c.notifyClosed()
	}
	c.mu.Unlock()
	if probe != nil {
		probe.conn.Close()
	}
	switch {
	case polled && !e.linger:
		c.remove()
	case e.cut:
		c.cut()
	}
}

// cut ends a session's transport at once.
func (c *Conn) cut() {
	c.mu.Lock()
	s := c.ws
	polled := c.poll != nil && s == nil
	c.mu.Unlock()
	switch {
	case polled:
		c.remove()
	case s != nil:
		s.hangUp() // who reads does the rest
	}
}

// remove makes the session unknown. It comes after everything else that
// starts goroutines for it.
func (c *Conn) remove() {
	c.mu.Lock()
	first := c.registered && c.state != stateClosed
	c.state = stateClosed
	if c.timer != nil {
		c.timer.Stop()
	}
	s := c.ws // which it may have since the caller looked
	var probe *socket
	if c.poll != nil {
		c.poll.end()
		probe, c.poll.probe = c.poll.probe, nil
	}
	c.mu.Unlock()
	if s != nil {
		s.hangUp()
	}
	if probe != nil {
		probe.conn.Close()
	}
	if first {
		c.host.forget(c)
	}
}

// arm makes tick come at the latest at that time. mu is held.
func (c *Conn) arm(at instant) {
	if c.timer != nil && c.state != stateClosed && (c.armed == 0 || at < c.armed) {
		c.armed = at
		c.timer.Reset(time.Duration(at - c.host.now()))
	}
}

// tick is the session's only timer: heartbeat, slow messages, stuck writes and
// unanswered closes. Times are moved without touching the timer where they
// only get later, and it finds that out when it fires.
func (c *Conn) tick() {
	c.mu.Lock()
	c.armed = 0
	if c.state == stateClosed {
		c.mu.Unlock()
		return
	}
	cfg := &c.host.cfg
	now := c.host.now()
	if c.state == stateClosing {
		if now < c.closeBy {
			c.arm(c.closeBy)
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		c.cut()
		return
	}
	if e, due := c.overdue(now); due {
		c.mu.Unlock()
		c.end(e)
		return
	}
	if c.pongBy == 0 && now >= c.pingAt {
		// Counted from when the ping was due, as clients count, but a timer that
		// fires late must not eat up the peer's time.
		c.pongBy = max(c.pingAt.add(cfg.PingTimeout), now.add(cfg.PingTimeout/2))
		if !c.ping() {
			c.mu.Unlock()
			c.end(slowConsumer())
			return
		}
	}
	next := c.pongBy
	if next == 0 {
		next = c.pingAt
	}
	for _, at := range [...]instant{c.writeBy, c.slowBy} {
		if at != 0 {
			next = min(next, at)
		}
	}
	c.arm(next)
	c.mu.Unlock()
}

// ping sends a ping, and returns false if the queue is full. mu is held.
func (c *Conn) ping() bool {
	if c.host.plain {
		c.pingDue = true // a control frame does not wait behind the queue
		c.kick()
		return true
	}
	wake, ok := c.queue.Push(c.host.ping)
	if wake {
		c.kick()
	}
	return ok
}

// overdue says how the session ends if the peer has let one of its times pass.
// mu is held.
func (c *Conn) overdue(now instant) (e ending, due bool) {
	switch {
	case c.writeBy != 0 && now >= c.writeBy:
		// A Close frame can't be sent: another frame is half-way out.
		e = slowConsumer()
		e.cut = true
		return e, true
	case c.slowBy != 0 && now >= c.slowBy:
		return ending{desynced: true, err: holdfast.Errorf(holdfast.GoingAway, "message was not finished in time")}, true
	case c.pongBy != 0 && now >= c.pongBy:
		if c.unheard() {
			c.excused = c.delivering
			c.pongBy = now.add(c.host.cfg.PingTimeout)
			return ending{}, false
		}
		return ending{err: &holdfast.Error{Code: holdfast.GoingAway, Message: "ping timeout", Err: ErrPingTimeout}}, true
	}
	return ending{}, false
}

// unheard reports whether bytes of the peer may wait unread, its pong among
// them: because the receiver blocks, or a long message is on its way. mu is
// held.
func (c *Conn) unheard() bool {
	if c.delivering || c.slowBy != 0 || c.poll != nil && c.poll.posting {
		return true
	}
	return c.ws != nil && !c.ws.rd.parked.Load()
}

// heard is called for each pong: the packet of Engine.IO, else the control
// frame.
func (c *Conn) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pongBy != 0 {
		c.pongBy, c.excused = 0, false
		c.pingAt = c.host.now().add(c.host.cfg.PingInterval)
		c.arm(c.pingAt) // which is earlier than what is armed if PingTimeout is longer
	}
}

// slow is told by the reader when it waits for the rest of a message, and
// when it has it.
func (c *Conn) slow(waiting bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.slowBy = 0
	if waiting {
		c.slowBy = c.host.now().add(c.host.cfg.PingTimeout)
		c.arm(c.slowBy)
	}
}
