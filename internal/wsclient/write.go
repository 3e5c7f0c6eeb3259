package wsclient

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"time"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

// Frames are WebSocket frames on their way out, in a borrowed buffer. Done
// gives that back.
type Frames struct{ buf []byte }

// Len returns how many bytes there are.
func (f *Frames) Len() int { return len(f.buf) }

// Message appends a whole message.
func (f *Frames) Message(kind Kind, payload []byte) {
	op := ws.OpText
	if kind == Binary {
		op = ws.OpBinary
	}
	f.append(op, payload)
}

// Pong appends the answer to a Ping.
func (f *Frames) Pong(payload []byte) { f.append(ws.OpPong, payload) }

// Close appends a Close frame; wsframe.NoStatus makes one without a code.
func (f *Frames) Close(code uint16) {
	if code == wsframe.NoStatus {
		f.append(ws.OpClose, nil)
		return
	}
	f.append(ws.OpClose, binary.BigEndian.AppendUint16(nil, code))
}

// append appends a final frame, masked by a key that nobody can foresee (RFC
// 6455 §5.3).
func (f *Frames) append(op ws.OpCode, payload []byte) {
	f.grow(ws.MaxHeaderSize + len(payload))
	length := len(payload)
	f.buf = append(f.buf, 0x80|byte(op))
	switch {
	case length <= 125:
		f.buf = append(f.buf, 0x80|byte(length))
	case length <= 0xffff:
		f.buf = binary.BigEndian.AppendUint16(append(f.buf, 0x80|126), uint16(length))
	default:
		f.buf = binary.BigEndian.AppendUint64(append(f.buf, 0x80|127), uint64(length))
	}
	at := len(f.buf)
	f.buf = f.buf[:at+4]
	var mask [4]byte
	_, _ = rand.Read(f.buf[at:]) // which never fails
	copy(mask[:], f.buf[at:])
	f.buf = append(f.buf, payload...)
	ws.Cipher(f.buf[at+4:], mask, 0)
}

// grow makes room for n bytes more.
func (f *Frames) grow(n int) {
	if cap(f.buf)-len(f.buf) >= n {
		return
	}
	larger := buffers.Get(max(len(f.buf)+n, 2*cap(f.buf)))
	larger = larger[:copy(larger, f.buf)]
	buffers.Put(f.buf)
	f.buf = larger
}

// Done gives the buffer back. The Frames are empty then, and may be used again.
func (f *Frames) Done() {
	buffers.Put(f.buf)
	f.buf = nil
}

// CanTry reports whether Try can write at all: it can on TCP.
func (c *Conn) CanTry() bool { return c.raw != nil }

// Try writes as much of f as can be written without waiting. done is false
// where there is more: Write then goes on with that, which is copied.
func (c *Conn) Try(f *Frames) (done bool, err error) {
	n, err := tryWrite(c.raw, f.buf)
	if err != nil || n == len(f.buf) {
		return err == nil, err
	}
	c.rest = slices.Clone(f.buf[n:])
	return false, nil
}

// Write writes what Try has left, and then f. It fails if that takes longer than
// timeout, and then the connection is of no more use.
func (c *Conn) Write(f *Frames, timeout time.Duration) error {
	if c.conn == nil {
		defer time.AfterFunc(timeout, c.Close).Stop()
	} else {
		if err := c.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		// Try would fail with one that has passed.
		defer func() { _ = c.conn.SetWriteDeadline(time.Time{}) }()
	}
	if rest := c.rest; rest != nil {
		c.rest = nil
		if _, err := c.body.Write(rest); err != nil {
			return err
		}
	}
	if len(f.buf) == 0 {
		return nil
	}
	_, err := c.body.Write(f.buf)
	return err
}
