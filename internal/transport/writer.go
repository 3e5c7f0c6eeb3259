package transport

import (
	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast/hub"
)

const (
	// joinFrames bounds the frames of one write, so that the writer's stack
	// stays small.
	joinFrames = 64
	// joinBytes bounds the bytes of one write, but for a frame that is larger.
	joinBytes = largeBuffer
	// copyBytes: from here on a frame that goes alone is written without a copy.
	copyBytes = smallBuffer
)

// kick sees to it that what is queued, or has to be said, is taken care of: by
// the poll that waits, or by a writer. mu is held.
func (c *Conn) kick() {
	switch {
	case c.state == stateClosed:
	case c.ws == nil:
		if c.poll != nil {
			c.poll.rouse()
		}
	case c.writing, c.poll != nil && c.poll.writing > 0:
	default:
		c.writing = true
		c.host.wg.Add(1)
		go c.write(c.ws)
	}
}

// write runs until there is nothing to write.
func (c *Conn) write(s *socket) {
	defer c.host.wg.Done()
	var frames [joinFrames]*hub.Frame
	for {
		batch, control, closing, ok := c.nextWrite(frames[:0])
		if !ok {
			return
		}
		err := c.writeBatch(s, batch, control)
		clear(frames[:])
		if err != nil {
			c.stopWriting()
			c.end(lost(err))
			return
		}
		if closing {
			c.closeWritten(s)
			return
		}
	}
}

// nextWrite returns what goes into the next write. ok is false if there is
// nothing, and the writer's time is over.
func (c *Conn) nextWrite(dst []*hub.Frame) (batch []*hub.Frame, control []byte, closing, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pongDue {
		control = append(appendHeader(nil, ws.OpPong, len(c.pong)), c.pong...)
		c.pong, c.pongDue = nil, false
	}
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
	c.writeBy = c.host.now().add(c.host.cfg.WriteTimeout)
	c.arm(c.writeBy)
	return batch, control, closing, true
}

// writeBatch writes a control frame and frames, joined.
func (c *Conn) writeBatch(s *socket, batch []*hub.Frame, control []byte) error {
	if len(batch) == 1 && len(control) == 0 && len(batch[0].Wire) > 0 {
		_, err := s.conn.Write(s.wire(batch[0]))
		return err
	}
	size := len(control)
	for _, f := range batch {
		size += f.Size() // which is not less than what s.wire returns
	}
	if len(batch) == 1 && size > copyBytes { // the control frame goes alone, before it
		if len(control) > 0 {
			if _, err := s.conn.Write(control); err != nil {
				return err
			}
		}
		wire := s.wire(batch[0])
		if len(wire) == 0 {
			wire = appendWire(nil, batch[0])
		}
		_, err := s.conn.Write(wire)
		return err
	}
	buf := c.host.pool.get(size)
	out := append(buf[:0], control...)
	for _, f := range batch {
		if wire := s.wire(f); len(wire) > 0 {
			out = append(out, wire...)
		} else {
			out = appendWire(out, f)
		}
	}
	_, err := s.conn.Write(out)
	c.host.pool.put(buf)
	return err
}

// wire returns a frame as it goes to s; nil if its Wire is.
func (s *socket) wire(f *hub.Frame) []byte {
	if s.pack == nil || len(f.Wire) == 0 {
		return f.Wire
	}
	return s.pack.wire(f)
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
		s.conn.Close() // which ends the read loop
	case desynced:
		halfClose(s.conn)
	}
}
