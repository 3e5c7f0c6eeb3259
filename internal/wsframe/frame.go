// Package wsframe has what both ends of a WebSocket read alike: frame headers,
// Close frames, UTF-8 across fragments (RFC 6455 §5, §7.4, §8.1), and the
// buffers that bytes are read into.
package wsframe

import (
	"encoding/binary"
	"unicode/utf8"
)

// Close codes of RFC 6455 §7.4.1.
const (
	Normal      uint16 = 1000
	Protocol    uint16 = 1002
	Unsupported uint16 = 1003
	NoStatus    uint16 = 1005 // never sent: stands for a Close frame without a code
	BadData     uint16 = 1007
	Policy      uint16 = 1008
	TooBig      uint16 = 1009
)

// Error is a breach of RFC 6455 by the peer. Nothing can be read after it.
type Error struct {
	Code uint16 // to close with
	Text string // what is wrong, in a few words
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Breach returns an Error with the code Protocol.
func Breach(text string) *Error { return &Error{Protocol, text} }

// NotUTF8 returns the Error of a text that is not UTF-8.
func NotUTF8() *Error { return &Error{BadData, "text is not UTF-8"} }

// Header is a frame's header (RFC 6455 §5.2).
type Header struct {
	Fin    bool
	Rsv    byte // three bits
	OpCode byte // four bits
	Masked bool
	Mask   [4]byte // if Masked
	Length int64   // of the payload
}

// ParseHeader reads a frame's header (RFC 6455 §5.2) from the beginning of p.
// size is 0 if p has not the whole of it; h then has what the first two bytes
// say, if they are there. An error is an *Error; what a header may say in the
// state of a stream is not looked at.
func ParseHeader(p []byte) (h Header, size int, err error) {
	if len(p) < 2 {
		return h, 0, nil
	}
	h.Fin = p[0]&0x80 != 0
	h.Rsv = p[0] & 0x70 >> 4
	h.OpCode = p[0] & 0x0f
	h.Masked = p[1]&0x80 != 0
	h.Length = int64(p[1] & 0x7f)
	n := 2
	switch h.Length {
	case 126:
		if n += 2; len(p) < n {
			return h, 0, nil
		}
		if h.Length = int64(binary.BigEndian.Uint16(p[2:])); h.Length < 126 {
			return h, 0, Breach("frame length is not in its shortest form")
		}
	case 127:
		if n += 8; len(p) < n {
			return h, 0, nil
		}
		length := binary.BigEndian.Uint64(p[2:])
		if length > 1<<63-1 {
			return h, 0, Breach("frame length has its highest bit set")
		}
		if h.Length = int64(length); h.Length <= 0xffff {
			return h, 0, Breach("frame length is not in its shortest form")
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

// ParseClose reads the body of a Close frame (RFC 6455 §5.5.1, §7.4). code is
// NoStatus if there is none; an error is an *Error.
func ParseClose(body []byte) (code uint16, reason []byte, err error) {
	if len(body) == 0 {
		return NoStatus, nil, nil
	}
	if len(body) == 1 {
		return 0, nil, Breach("close frame has half a code")
	}
	code, reason = binary.BigEndian.Uint16(body), body[2:]
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
	default:
		return 0, nil, Breach("close code can't be sent")
	}
	if !utf8.Valid(reason) {
		return 0, nil, NotUTF8()
	}
	return code, reason, nil
}

// Text checks a text message that comes in fragments, each as soon as it is
// there. The zero value is the beginning of a message.
type Text struct{ checked int }

// Check looks at what of msg, the message so far, is new; fin says that it is
// all of it. It reports false as soon as the message can't become UTF-8.
func (t *Text) Check(msg []byte, fin bool) bool {
	n, ok := validUTF8(msg[t.checked:])
	t.checked += n
	return ok && (!fin || t.checked == len(msg))
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
