package transport

import (
	"encoding/binary"
	"errors"
	"io"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast"
)

// Close codes that appear here and not in the table of codes (RFC 6455 §7.4.1).
const (
	closeNormal      = 1000
	closeProtocol    = 1002
	closeUnsupported = 1003
	closeBadData     = 1007
	closePolicy      = 1008
	closeTooBig      = 1009
)

// frameError is a breach of RFC 6455 by the peer. After it the stream can't be
// read any further.
type frameError struct {
	code uint16 // to close with
	err  *holdfast.Error
}

func (e *frameError) Error() string { return e.err.Error() }
func (e *frameError) Unwrap() error { return e.err }

func breach(message string) error {
	return &frameError{closeProtocol, holdfast.Errorf(holdfast.ProtocolError, "%s", message)}
}

func notUTF8() error {
	return &frameError{closeBadData, holdfast.Errorf(holdfast.ProtocolError, "text is not UTF-8")}
}

// source is where a reader's bytes come from.
type source interface {
	// fill reads at least one byte to rd.room(). If it has to wait for it, it
	// sets rd.parked meanwhile and may call rd.idle before.
	fill(rd *reader) (int, error)
}

// reader takes WebSocket messages from a client's bytes. It belongs to one
// goroutine, except for parked.
//
// Bytes are read as many as come at once into a borrowed buffer, which grows
// as the bytes of a large frame arrive (never by what its header promises) and
// goes back when there is nothing left in it.
type reader struct {
	src   source
	pool  *buffers
	limit int       // bytes of a message over all its fragments
	pack  *deflater // decompresses messages; nil where none may be compressed

	buf  []byte // borrowed; nil while idle
	r, w int    // what is unread is buf[r:w]
	need int    // size of the frame under way, as far as it is known

	op      ws.OpCode // of the fragmented message under way; 0: there is none
	msg     []byte    // its payload so far
	checked int       // how much of msg is known to be UTF-8
	packed  bool      // it is compressed

	// slow, if set, is told when bytes of a message that began are waited for,
	// and when that message is complete.
	slow    func(waiting bool)
	waiting bool

	// What replaces the goroutine; see Conn.readLoop.
	clock   func() instant // nil: it is never replaced
	deep    bool           // it has handled messages
	renewed instant        // when it was replaced last; 0: never

	// parked is true while fill waits for the peer. Any goroutine may read it.
	parked atomic.Bool
}

// room returns where fill may put bytes: at least one.
func (rd *reader) room() []byte {
	switch {
	case rd.buf == nil:
		rd.buf = rd.pool.get(smallBuffer)
	case rd.r == rd.w:
		rd.r, rd.w = 0, 0
	case rd.w == len(rd.buf) && rd.r > 0:
		rd.w = copy(rd.buf, rd.buf[rd.r:rd.w])
		rd.r = 0
	case rd.w == len(rd.buf):
		size := min(max(2*len(rd.buf), largeBuffer), max(rd.need, len(rd.buf)+ws.MaxHeaderSize))
		larger := rd.pool.get(size)
		copy(larger, rd.buf)
		rd.pool.put(rd.buf)
		rd.buf = larger
	}
	return rd.buf[rd.w:]
}

// idle gives the buffer back if there is nothing in it.
func (rd *reader) idle() {
	if rd.r == rd.w && rd.buf != nil {
		rd.pool.put(rd.buf)
		rd.buf, rd.r, rd.w = nil, 0, 0
	}
}

// preload puts bytes in that were read before the reader was made.
func (rd *reader) preload(p []byte) {
	if len(p) > 0 {
		rd.buf = rd.pool.get(len(p))
		rd.r, rd.w = 0, copy(rd.buf, p)
	}
}

// more reads at least one byte more.
func (rd *reader) more() error {
	if !rd.waiting && rd.slow != nil && (rd.w > rd.r || rd.op != 0) {
		rd.waiting = true
		rd.slow(true)
	}
	n, err := rd.src.fill(rd)
	rd.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// next returns the next control frame (OpPing, OpPong, OpClose) or whole
// message (OpText, OpBinary). Text is UTF-8 and the frames follow RFC 6455 §5,
// else err is a *frameError; the body of a Close frame is not looked at. data
// is valid until the next call.
func (rd *reader) next() (op ws.OpCode, data []byte, err error) {
	if rd.op == 0 {
		rd.msg = nil
	}
	for {
		h, body, err := rd.frame()
		if err != nil {
			return 0, nil, err
		}
		switch {
		case h.OpCode.IsControl():
			op, data = h.OpCode, body
		case h.Fin && rd.op == 0:
			if h.Rsv == rsv1 {
				if body, err = rd.pack.inflate(body, rd.limit); err != nil {
					return 0, nil, err
				}
			}
			if h.OpCode == ws.OpText && !utf8.Valid(body) {
				return 0, nil, notUTF8()
			}
			op, data = h.OpCode, body
		default:
			done, err := rd.fragment(h, body)
			if err != nil {
				return 0, nil, err
			}
			if !done {
				continue
			}
			op, data, rd.op = rd.op, rd.msg, 0
		}
		if rd.waiting && rd.op == 0 {
			rd.waiting = false
			rd.slow(false)
		}
		return op, data, nil
	}
}

// fragment adds a fragment to the message under way, and reports whether it
// was the last one.
func (rd *reader) fragment(h ws.Header, body []byte) (done bool, err error) {
	if rd.op == 0 {
		rd.op, rd.checked, rd.packed = h.OpCode, 0, h.Rsv == rsv1
	}
	rd.msg = append(rd.msg, body...)
	if rd.packed {
		if !h.Fin {
			return false, nil
		}
		if rd.msg, err = rd.pack.inflate(rd.msg, rd.limit); err != nil {
			return false, err
		}
	}
	if rd.op == ws.OpText {
		n, ok := validUTF8(rd.msg[rd.checked:])
		rd.checked += n
		if !ok || h.Fin && rd.checked < len(rd.msg) {
			return false, notUTF8()
		}
	}
	return h.Fin, nil
}

// frame returns the next frame, unmasked, after the checks that need no more
// than its header.
func (rd *reader) frame() (ws.Header, []byte, error) {
	rd.need = 0
	var h ws.Header
	var size int
	for {
		var err error
		if h, size, err = parseHeader(rd.buf[rd.r:rd.w]); err != nil {
			return h, nil, err
		}
		if size > 0 {
			break
		}
		// The two bytes of a header that are always there say much already.
		if rd.w-rd.r >= 2 {
			if err := rd.check(h); err != nil {
				return h, nil, err
			}
		}
		if err := rd.more(); err != nil {
			return h, nil, err
		}
	}
	if err := rd.check(h); err != nil {
		return h, nil, err
	}
	if h.OpCode.IsData() && h.Length > int64(rd.bound(h)-len(rd.msg)) {
		return h, nil, tooLarge(rd.limit)
	}
	rd.need = size + int(h.Length)
	for rd.w-rd.r < rd.need {
		if err := rd.more(); err != nil {
			return h, nil, err
		}
	}
	body := rd.buf[rd.r+size : rd.r+rd.need : rd.r+rd.need]
	rd.r += rd.need
	ws.Cipher(body, h.Mask, 0)
	return h, body, nil
}

// bound is how many bytes the message of h may have as it comes. What can't be
// compressed becomes a little longer by it.
func (rd *reader) bound(h ws.Header) int {
	if h.Rsv == rsv1 || rd.op != 0 && rd.packed {
		return rd.limit + rd.limit>>8 + 64
	}
	return rd.limit
}

// check looks at a header in the state of the stream.
func (rd *reader) check(h ws.Header) error {
	if rd.pack != nil && h.Rsv == rsv1 && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary) {
		h.Rsv = 0 // RFC 7692 §6: the first frame of a message, and no other
	}
	state := ws.StateServerSide
	if rd.op != 0 {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return breach(err.Error())
	}
	return nil
}

// renewEvery is how often a goroutine that reads may be replaced. The stack of a
// new one grows at the next message: among 10,000 connections with a message a
// second each, a seventh of all CPU went into that when it was a second. One
// that goes quiet meanwhile keeps its stack until its next pong.
const renewEvery = instant(10 * time.Second)

// errRenew is what a fill returns that would have to wait for the first byte of
// a message, where another goroutine is to do that.
var errRenew = errors.New("transport: to be read on by another goroutine")

// renewDue reports whether it is time for errRenew.
func (rd *reader) renewDue() bool {
	return rd.deep && rd.buf == nil && rd.op == 0 && rd.clock != nil &&
		(rd.renewed == 0 || rd.clock()-rd.renewed >= renewEvery)
}

// parseHeader reads a frame's header (RFC 6455 §5.2). size is 0 if p has not
// the whole of it; h then has what the first two bytes say.
func parseHeader(p []byte) (h ws.Header, size int, err error) {
	if len(p) < 2 {
		return h, 0, nil
	}
	h.Fin = p[0]&0x80 != 0
	h.Rsv = p[0] & 0x70 >> 4
	h.OpCode = ws.OpCode(p[0] & 0x0f)
	h.Masked = p[1]&0x80 != 0
	h.Length = int64(p[1] & 0x7f)
	n := 2
	switch h.Length {
	case 126:
		if n += 2; len(p) < n {
			return h, 0, nil
		}
		if h.Length = int64(binary.BigEndian.Uint16(p[2:])); h.Length < 126 {
			return h, 0, breach("frame length is not in its shortest form")
		}
	case 127:
		if n += 8; len(p) < n {
			return h, 0, nil
		}
		length := binary.BigEndian.Uint64(p[2:])
		if length > 1<<63-1 {
			return h, 0, breach("frame length has its highest bit set")
		}
		if h.Length = int64(length); h.Length <= 0xffff {
			return h, 0, breach("frame length is not in its shortest form")
		}
	}
	if h.Masked {
		if len(p) < n+4 {
			return h, 0, nil
		}
		n += copy(h.Mask[:], p[n:])
	}
	return h, n, nil
}

// discard reads until the stream ends, and keeps nothing.
func (rd *reader) discard() {
	rd.slow, rd.msg, rd.op, rd.clock = nil, nil, 0, nil
	for {
		rd.r, rd.w = 0, 0
		if rd.more() != nil {
			rd.r, rd.w = 0, 0
			rd.idle()
			return
		}
	}
}

// validUTF8 returns how many bytes of p are whole characters; ok is false if
// what follows them can't become one.
func validUTF8(p []byte) (n int, ok bool) {
	if utf8.Valid(p) {
		return len(p), true
	}
	n = len(p)
	for i := 1; i < utf8.UTFMax && i <= len(p); i++ {
		if utf8.RuneStart(p[len(p)-i]) {
			if !utf8.FullRune(p[len(p)-i:]) {
				n -= i
			}
			break
		}
	}
	return n, utf8.Valid(p[:n])
}

// parseClose reads the body of a Close frame (RFC 6455 §5.5.1, §7.4). code is
// 0 if there is none.
func parseClose(body []byte) (code uint16, err error) {
	if len(body) == 0 {
		return 0, nil
	}
	if len(body) == 1 {
		return 0, breach("close frame has half a code")
	}
	code = binary.BigEndian.Uint16(body)
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
	default:
		return 0, breach("close code can't be sent")
	}
	if !utf8.Valid(body[2:]) {
		return 0, notUTF8()
	}
	return code, nil
}
