package transport

import (
	"bytes"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

const (
	// joinFrames bounds the frames of one write, so that the stack of a writer
	// of its own stays small.
	joinFrames = 64
	// joinBytes bounds the bytes of one write, but for a frame that is larger.
	joinBytes = wsframe.LargeBuffer
	// copyBytes: from here on a frame that goes alone is written without a copy.
	copyBytes = wsframe.SmallBuffer
)

// Who writes: a connection whose socket can be written to without waiting is
// put into a shard, whose one goroutine writes for many; see shard. Where that
// would have to wait, and for all other sockets, a goroutine of the
// connection's own does it, for as long as there is something to write.
// Conn.writing says that one of the two is at it.

// kick sees to it that what is queued, or has to be said, is taken care of: by
// the poll that waits, or by a writer. mu is held.
func (c *Conn) kick() {
	switch {
	case c.state == stateClosed:
	case c.ws == nil:
		if c.poll != nil {
			c.poll.rouse()
		}
	case !c.mayWrite():
	default:
		c.writing = true
		if s := c.ws; s.raw == nil || !s.shard.push(c, s) {
			c.host.wg.Add(1)
			go c.write(s)
		}
	}
}

// mayWrite reports whether nobody writes to the WebSocket, which there is. mu
// is held.
func (c *Conn) mayWrite() bool {
	return !c.writing && (c.poll == nil || c.poll.writing == 0)
}

// write runs until there is nothing to write. It waits for the peer.
func (c *Conn) write(s *socket) {
	defer c.host.wg.Done()
	var frames [joinFrames]*hub.Frame
	for {
		batch, control, closing, ok := c.nextWrite(frames[:0], true)
		if !ok {
			return
		}
		err := c.writeBatch(s, batch, control)
		clear(frames[:])
		if !c.written(s, err, closing) {
			return
		}
	}
}

// nextWrite returns what goes into the next write, for which the peer may take
// its time if waits is set. ok is false if there is nothing, and the writer's
// time is over.
func (c *Conn) nextWrite(dst []*hub.Frame, waits bool) (batch []*hub.Frame, control []byte, closing, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	control, c.pongs = c.pongs, nil
	if c.pingDue {
		control = appendHeader(control, ws.OpPing, 0)
		c.pingDue = false
	}
	batch = c.queue.Pop(dst, joinBytes, joinFrames)
	if len(batch) == 0 && c.state != stateOpen && !c.closeSent {
		control = appendClose(control, c.closeCode, c.closeReason)
		closing = true
	}
	if len(batch) == 0 && len(control) == 0 || c.state == stateClosed {
		c.writing, c.writeBy = false, 0
		return nil, nil, false, false
	}
	if waits {
		c.mayTake()
	}
	c.tellCaughtUp() // of what was popped
	return batch, control, closing, true
}

// mayTake starts the time that one write may take. mu is held.
func (c *Conn) mayTake() {
	c.writeBy = c.host.now().add(c.host.cfg.WriteTimeout)
	c.arm(c.writeBy)
	c.tellCaughtUp()
}

// writeBatch writes a control frame and frames, joined.
func (c *Conn) writeBatch(s *socket, batch []*hub.Frame, control []byte) error {
	if size := sizeOf(batch, control); len(batch) == 1 && size > copyBytes { // the control frame goes alone, before it
		if len(control) > 0 {
			if _, err := s.conn.Write(control); err != nil {
				return err
			}
		}
		_, err := s.conn.Write(s.bytes(batch[0]))
		return err
	} else if len(batch) != 1 || len(control) > 0 {
		buf := c.host.pool.Get(size)
		_, err := s.conn.Write(s.join(buf[:0], batch, control))
		c.host.pool.Put(buf)
		return err
	}
	_, err := s.conn.Write(s.bytes(batch[0]))
	return err
}

// sizeOf is not less than what join appends.
func sizeOf(batch []*hub.Frame, control []byte) int {
	size := len(control)
	for _, f := range batch {
		size += f.Size() // which is not less than what s.wire returns
	}
	return size
}

// join appends a control frame and frames as they go to s.
func (s *socket) join(dst []byte, batch []*hub.Frame, control []byte) []byte {
	dst = append(dst, control...)
	for _, f := range batch {
		if wire := s.wire(f); len(wire) > 0 {
			dst = append(dst, wire...)
		} else {
			dst = appendWire(dst, f)
		}
	}
	return dst
}

// bytes returns a frame as it goes to s, shared with others if it can be.
func (s *socket) bytes(f *hub.Frame) []byte {
	if wire := s.wire(f); len(wire) > 0 {
		return wire
	}
	return appendWire(nil, f)
}

// wire returns a frame as it goes to s; nil if its Wire is.
func (s *socket) wire(f *hub.Frame) []byte {
	if s.pack == nil || len(f.Wire) == 0 {
		return f.Wire
	}
	return s.pack.wire(f)
}

// tryWrite writes once what can be written without waiting. It leaves the rest
// to a goroutine, and what has come meanwhile to the next turn of the shard:
// more may join it until then.
func (c *Conn) tryWrite(s *socket, a *attempt) {
	batch, control, closing, ok := c.nextWrite(a.frames[:0], false)
	if !ok {
		return
	}
	a.joined += len(batch)
	var out, buf []byte
	if len(batch) == 1 && len(control) == 0 {
		out = s.bytes(batch[0])
	} else {
		buf = c.host.pool.Get(sizeOf(batch, control))
		out = s.join(buf[:0], batch, control)
	}
	clear(a.frames[:])
	n, err := a.write(s.raw, out)
	rest := out[n:]
	if buf != nil {
		if err == nil && len(rest) > 0 {
			rest = bytes.Clone(rest)
		}
		c.host.pool.Put(buf)
	}
	if err == nil && len(rest) > 0 {
		c.leaveRest(s, rest, closing)
		return
	}
	if !c.written(s, err, closing) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	if len(c.pongs) > 0 || c.pingDue || c.state == stateClosing && !c.closeSent || c.queue.Len() > 0 {
		c.kick()
	}
}

// leaveRest has a goroutine write the rest. Of a session that is gone there is
// nothing to write, and the host, which counts goroutines, may have ended: who
// sends need not be counted by it.
func (c *Conn) leaveRest(s *socket, rest []byte, closing bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed {
		c.writing = false
		return
	}
	c.host.wg.Add(1)
	go c.writeRest(s, rest, closing)
}

// writeRest writes what the socket did not take at once, and then as write.
func (c *Conn) writeRest(s *socket, rest []byte, closing bool) {
	c.mu.Lock()
	c.mayTake()
	c.mu.Unlock()
	_, err := s.conn.Write(rest)
	if !c.written(s, err, closing) {
		c.host.wg.Done()
		return
	}
	c.write(s)
}

// written takes the result of a write, and reports whether the writer goes on.
func (c *Conn) written(s *socket, err error, closing bool) bool {
	switch {
	case err != nil:
		c.stopWriting()
		c.end(lost(err))
		return false
	case closing:
		c.closeWritten(s)
		return false
	}
	return true
}

func (c *Conn) stopWriting() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing, c.writeBy = false, 0
}

// closeWritten goes on with the close handshake after our Close frame.
func (c *Conn) closeWritten(s *socket) {
	c.mu.Lock()
	c.writing, c.writeBy = false, 0
	c.closeSent = true
	got, desynced := c.closeGot, c.desynced
	c.mu.Unlock()
	switch {
	case got:
		s.hangUp() // which ends the reading
	case desynced:
		halfClose(s.conn)
	}
}

// SendNow is Send for a frame that nothing else is about to follow, such as an
// answer to the last of a client's messages: where nobody writes to the
// connection, the caller does, without waiting for the peer.
func (c *Conn) SendNow(f *hub.Frame) bool {
	wake, ok := c.queue.Push(f)
	if !ok {
		c.end(slowConsumer())
		return false
	}
	if !wake {
		return true
	}
	c.mu.Lock()
	s := c.ws
	if s == nil || s.raw == nil || c.state == stateClosed || !c.mayWrite() {
		c.kick()
		c.mu.Unlock()
		return true
	}
	c.writing = true
	c.mu.Unlock()
	a, ok := c.host.attempts.Get().(*attempt)
	if !ok {
		a = newAttempt()
	}
	c.tryWrite(s, a)
	c.host.attempts.Put(a)
	return true
}
