package transport

import (
	"net"
	"syscall"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/engineio"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

// socket is a WebSocket after its upgrade.
type socket struct {
	conn  net.Conn
	raw   syscall.RawConn // of conn; nil if it can't be written to without waiting
	shard *shard          // writes to raw
	loop  *loop           // reads raw; nil if a goroutine of the connection's own does
	tag   uint64          // what loop knows it by; guarded by loop.mu
	rd    reader          // belongs to the goroutine that reads conn
	pack  *deflater       // of permessage-deflate; nil where it was not agreed on
}

// newSocket makes a socket; pack is the host's if compression was agreed on.
func (h *host) newSocket(conn net.Conn, early []byte, pack *deflater) *socket {
	raw := newRaw(conn)
	s := &socket{conn: conn, raw: raw, pack: pack, rd: reader{src: newSource(conn, raw), in: wsframe.Buffer{Pool: &h.pool}, clock: h.clock, limit: h.cfg.MaxPayload, pack: pack}}
	n := h.sockets.Add(1)
	s.shard = &h.shards[n%uint64(len(h.shards))]
	if raw != nil && len(h.loops) > 0 {
		s.loop = &h.loops[n%uint64(len(h.loops))]
	}
	s.rd.in.Preload(early)
	return s
}

// readLoop is the life of a session on a WebSocket that no loop serves. host.wg
// counts it.
//
// A stack that has grown for a message does not shrink to its first size again:
// that would be 2 KB more for a connection as long as it lives. So before it
// waits, a goroutine that has handled messages leaves the loop to a new one, but
// not so often that it could be felt.
func (c *Conn) readLoop(s *socket) {
	s.rd.slow = c.slow
	if c.readMessages(s, nil) == renewed {
		s.rd.deep, s.rd.renewed = false, c.host.now()
		go c.readLoop(s)
		return
	}
	c.readEnded(s)
}

// readEnded ends the session when nothing is read for it any more.
func (c *Conn) readEnded(s *socket) {
	if s.loop != nil {
		s.loop.forget(s)
	}
	s.conn.Close()
	s.rd.in.Drop()
	s.rd.in.Idle()
	c.remove()
	c.host.wg.Done()
}

// hangUp ends the connection, so that who reads it finds that out and closes it.
// What a loop serves is closed by nobody else: the number of a descriptor
// that is closed is given to the next one at once.
func (s *socket) hangUp() {
	if tcp, ok := s.conn.(*net.TCPConn); ok && s.loop != nil {
		_ = tcp.CloseRead() // these fail if the peer did so before
		_ = tcp.CloseWrite()
		return
	}
	s.conn.Close()
}

// stopped is why a goroutine stops reading.
type stopped uint8

const (
	ended    stopped = iota // the connection is not needed any more
	renewed                 // another goroutine is to go on
	replaced                // another goroutine has gone on, and s is its
	later                   // there is nothing to read just now
)

// readMessages takes messages until nothing more is to be read, or not just now
// or by the caller. Where a loop serves s, that is done in the turn t.
func (c *Conn) readMessages(s *socket, t *Turn) stopped {
	if s.rd.drops {
		return s.rd.discard()
	}
	for {
		// Waiting is done here where it can be, with nothing of what reads a
		// message on the stack.
		if s.rd.in.Len() == 0 {
			if err := s.rd.more(); err != nil {
				return c.readStops(s, err)
			}
		}
		op, data, err := s.rd.next()
		if err == nil {
			switch op {
			case ws.OpText, ws.OpBinary:
				if binary := op == ws.OpBinary; c.host.plain {
					c.message(data, binary, t)
				} else if binary {
					c.deliver(data, true, t)
				} else {
					c.text(data, t)
				}
				if t != nil && t.gone {
					return replaced
				}
				s.rd.deep = true
			case ws.OpPing:
				c.answerPing(data)
			case ws.OpPong:
				if c.host.plain {
					c.heard()
				}
			case ws.OpClose:
				code, _, fault := wsframe.ParseClose(data)
				if fault == nil {
					return c.closeReceived(s, code)
				}
				err = breach(fault)
			}
		}
		if err != nil {
			return c.readStops(s, err)
		}
	}
}

// readStops says why readMessages stops at err, and ends the session if it is for good.
func (c *Conn) readStops(s *socket, err error) stopped {
	switch err {
	case errLater:
		return later
	case errRenew:
		return renewed
	}
	if fe, ok := err.(*frameError); ok {
		c.end(ending{err: fe.err, code: fe.code, flush: true, desynced: true})
		return c.abandon(s)
	}
	c.end(lost(err))
	return ended
}

// text takes a text message of Engine.IO.
func (c *Conn) text(data []byte, t *Turn) {
	if len(data) > 0 {
		switch p := (engineio.Packet{Type: engineio.PacketType(data[0]), Data: data[1:]}); {
		case p.Type == engineio.Close:
			c.end(ending{})
			return
		case p.Type < engineio.Open || p.Type > engineio.Noop:
		default:
			if err := c.packet(p, t); err != nil {
				c.end(ending{err: err, flush: true})
			}
			return
		}
	}
	c.end(ending{err: holdfast.Errorf(holdfast.ProtocolError, "message is no packet"), flush: true})
}

// pongBytes bounds the answers to WebSocket Pings that wait to be written.
const pongBytes = 1 << 10

// answerPing has a WebSocket Ping answered. Of more than can wait, only the last
// ones are (RFC 6455 §5.5.3), so that they can't pile up.
func (c *Conn) answerPing(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateOpen {
		if len(c.pongs)+2+len(data) > pongBytes {
			c.pongs = c.pongs[:0]
		}
		c.pongs = append(appendHeader(c.pongs, ws.OpPong, len(data)), data...)
		c.kick()
	}
}

// closeReceived answers the peer's Close frame, if it is not itself the
// answer to ours. The connection can be closed when nothing is left to be read.
func (c *Conn) closeReceived(s *socket, code uint16) stopped {
	c.end(ending{code: code, bare: code == wsframe.NoStatus})
	c.mu.Lock()
	c.closeGot = true
	sent := c.closeSent
	c.queue.Clear() // the peer takes nothing more
	c.mu.Unlock()
	if sent {
		return ended
	}
	return s.rd.discard() // until the writer has answered and hangs up
}

// abandon waits for the end of a stream that can't be read any more, so that
// the peer can still read why.
func (c *Conn) abandon(s *socket) stopped {
	c.mu.Lock()
	c.desynced = true // also if the session was closing already
	sent := c.closeSent
	c.mu.Unlock()
	if sent {
		halfClose(s.conn)
	}
	return s.rd.discard()
}

// halfClose ends our direction of conn, if it can be ended alone.
func halfClose(conn net.Conn) {
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
		return
	}
	conn.Close()
}
