package wsclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Kind is what Read returns.
type Kind uint8

// The kinds.
const (
	// Text is a whole message of UTF-8.
	Text Kind = iota
	// Binary is a whole message of bytes.
	Binary
	// Ping is to be answered with a pong of the same bytes.
	Ping
)

// Close codes of RFC 6455 §7.4.1.
const (
	StatusNormal      uint16 = 1000
	StatusProtocol    uint16 = 1002
	StatusNone        uint16 = 1005 // stands for a Close frame without a code
	StatusInvalidData uint16 = 1007
	StatusTooBig      uint16 = 1009
)

// CloseError is the Close frame that the peer has sent: Read's last word.
type CloseError struct {
	Code   uint16 // StatusNone where there was none
	Reason string
}

// Error tells the code and the reason.
func (e *CloseError) Error() string {
	return fmt.Sprintf("websocket closed with %d %q", e.Code, e.Reason)
}

// FrameError is a breach of RFC 6455 by the peer, or a message over the limit.
// Nothing can be read after it.
type FrameError struct {
	// Code is what the connection is to be closed with.
	Code uint16
	text string
}

// Error tells the breach.
func (e *FrameError) Error() string { return "websocket: " + e.text }

func breach(text string) error { return &FrameError{StatusProtocol, text} }

func notUTF8() error { return &FrameError{StatusInvalidData, "text is not UTF-8"} }

const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
)

// The buffers of all connections, which have one only while bytes are on the
// move.
var (
	small sync.Pool // of *[smallBuffer]byte
	large sync.Pool // of *[largeBuffer]byte
)

// getBuffer returns at least n bytes, at their full length.
func getBuffer(n int) []byte {
	switch {
	case n <= smallBuffer:
		if p, ok := small.Get().(*[smallBuffer]byte); ok {
			return p[:]
		}
		return make([]byte, smallBuffer)
	case n <= largeBuffer:
		if p, ok := large.Get().(*[largeBuffer]byte); ok {
			return p[:]
		}
		return make([]byte, largeBuffer)
	}
	return make([]byte, n)
}

// putBuffer takes back what getBuffer returned.
func putBuffer(p []byte) {
	switch cap(p) {
	case smallBuffer:
		small.Put((*[smallBuffer]byte)(p[:smallBuffer]))
	case largeBuffer:
		large.Put((*[largeBuffer]byte)(p[:largeBuffer]))
	}
}

// source is where a reader's bytes come from: fill reads at least one to
// rd.room(), and may call rd.idle before it waits.
type source interface {
	fill(rd *reader) (int, error)
}

// reader takes messages from the server's bytes. As many are read as come at
// once, into a borrowed buffer that grows as the bytes of a frame arrive, never
// by what its header promises.
type reader struct {
	src   source
	limit int

	buf  []byte // borrowed; nil while idle
	r, w int    // what is unread is buf[r:w]
	need int    // size of the frame under way, as far as it is known

	op      ws.OpCode // of the fragmented message under way; 0: there is none
	msg     []byte    // its payload so far
	checked int       // how much of msg is known to be UTF-8
}

// room returns where fill may put bytes: at least one.
func (rd *reader) room() []byte {
	switch {
	case rd.buf == nil:
		rd.buf = getBuffer(smallBuffer)
	case rd.r == rd.w:
		rd.r, rd.w = 0, 0
	case rd.w == len(rd.buf) && rd.r > 0:
		rd.w = copy(rd.buf, rd.buf[rd.r:rd.w])
		rd.r = 0
	case rd.w == len(rd.buf):
		size := min(max(2*len(rd.buf), largeBuffer), max(rd.need, len(rd.buf)+ws.MaxHeaderSize))
		larger := getBuffer(size)
		copy(larger, rd.buf)
		putBuffer(rd.buf)
		rd.buf = larger
	}
	return rd.buf[rd.w:]
}

// idle gives the buffer back if there is nothing in it.
func (rd *reader) idle() {
	if rd.r == rd.w && rd.buf != nil {
		putBuffer(rd.buf)
		rd.buf, rd.r, rd.w = nil, 0, 0
	}
}

func (rd *reader) more() error {
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

// Pending reports whether bytes are here that were not returned yet. Then the
// next Read may not have to wait.
func (c *Conn) Pending() bool { return c.rd.w > c.rd.r }

// Await waits until there is something to read. It needs less stack for that
// than Read, which need not be called after it fails.
func (c *Conn) Await() error {
	if c.rd.w > c.rd.r {
		return nil
	}
	return c.rd.more()
}

// Read returns the next message, or a Ping. data is valid until the next Read or Await.
// The error is a *CloseError, a *FrameError, or what broke the connection.
func (c *Conn) Read() (kind Kind, data []byte, err error) {
	rd := &c.rd
	if rd.op == 0 {
		rd.msg = nil
	}
	for {
		h, body, err := rd.frame()
		if err != nil {
			return 0, nil, err
		}
		op := h.OpCode
		switch {
		case op == ws.OpPing:
			return Ping, body, nil
		case op == ws.OpPong:
			continue
		case op == ws.OpClose:
			return 0, nil, parseClose(body)
		case h.Fin && rd.op == 0:
			if op == ws.OpText && !utf8.Valid(body) {
				return 0, nil, notUTF8()
			}
			data = body
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
		if op == ws.OpText {
			return Text, data, nil
		}
		return Binary, data, nil
	}
}

// fragment adds a fragment to the message under way, and reports whether it
// was the last one.
func (rd *reader) fragment(h ws.Header, body []byte) (done bool, err error) {
	if rd.op == 0 {
		rd.op, rd.checked = h.OpCode, 0
	}
	rd.msg = append(rd.msg, body...)
	if rd.op == ws.OpText {
		n, ok := validUTF8(rd.msg[rd.checked:])
		rd.checked += n
		if !ok || h.Fin && rd.checked < len(rd.msg) {
			return false, notUTF8()
		}
	}
	return h.Fin, nil
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

// frame returns the next frame, after the checks that need no more than its
// header.
func (rd *reader) frame() (h ws.Header, body []byte, err error) {
	rd.need = 0
	size := 0
	for {
		if h, size, err = rd.header(); err != nil {
			return h, nil, err
		}
		if size > 0 {
			break
		}
		if err := rd.more(); err != nil {
			return h, nil, broken(err)
		}
	}
	rd.need = size + int(h.Length)
	for rd.w-rd.r < rd.need {
		if err := rd.more(); err != nil {
			return h, nil, broken(err)
		}
	}
	body = rd.buf[rd.r+size : rd.r+rd.need : rd.r+rd.need]
	rd.r += rd.need
	return h, body, nil
}

// broken is the error of a stream that ends without a Close frame.
func broken(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// header reads and checks a frame's header (RFC 6455 §5.2). size is 0 where it
// has not all come; what is there is checked all the same.
func (rd *reader) header() (h ws.Header, size int, err error) {
	p := rd.buf[rd.r:rd.w]
	if len(p) < 2 {
		return h, 0, nil
	}
	h.Fin = p[0]&0x80 != 0
	h.Rsv = p[0] & 0x70 >> 4
	h.OpCode = ws.OpCode(p[0] & 0x0f)
	h.Masked = p[1]&0x80 != 0
	h.Length = int64(p[1] & 0x7f)
	state := ws.StateClientSide
	if rd.op != 0 {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return h, 0, breach(err.Error())
	}
	size = 2
	switch h.Length {
	case 126:
		if size += 2; len(p) < size {
			return h, 0, nil
		}
		if h.Length = int64(binary.BigEndian.Uint16(p[2:])); h.Length < 126 {
			return h, 0, breach("frame length is not in its shortest form")
		}
	case 127:
		if size += 8; len(p) < size {
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
	if h.OpCode.IsData() && h.Length > int64(rd.limit-len(rd.msg)) {
		return h, 0, &FrameError{StatusTooBig, fmt.Sprintf("message is larger than %d bytes", rd.limit)}
	}
	return h, size, nil
}

// parseClose reads the body of a Close frame (RFC 6455 §5.5.1, §7.4).
func parseClose(body []byte) error {
	if len(body) == 0 {
		return &CloseError{Code: StatusNone}
	}
	if len(body) == 1 {
		return breach("close frame has half a code")
	}
	code := binary.BigEndian.Uint16(body)
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
	default:
		return breach("close code can't be sent")
	}
	if !utf8.Valid(body[2:]) {
		return notUTF8()
	}
	return &CloseError{Code: code, Reason: string(body[2:])}
}

// TooBig reports whether an error is of a message over the limit.
func TooBig(err error) bool {
	e, ok := errors.AsType[*FrameError](err)
	return ok && e.Code == StatusTooBig
}

// plainSource reads anything. While it waits it holds only a few bytes, since
// the borrowed buffer would be pinned.
type plainSource struct {
	r     io.Reader
	first [32]byte
}

func (s *plainSource) fill(rd *reader) (int, error) {
	if rd.w > rd.r {
		return s.r.Read(rd.room())
	}
	rd.idle()
	n, err := s.r.Read(s.first[:])
	if n > 0 {
		copy(rd.room(), s.first[:n])
	}
	return n, err
}
