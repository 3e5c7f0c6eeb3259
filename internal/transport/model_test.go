package transport

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// The close codes that the model knows (RFC 6455 §7.4.1).
const (
	closeProtocol = 1002
	closeBadData  = 1007
	closeTooBig   = 1009
)

// model reads a client's bytes as RFC 6455 §5 and RFC 7692 say, slowly and from
// the start, with all the bytes at hand. It is what the reader is compared with.
type model struct {
	limit   int
	deflate bool

	inside  bool // a fragmented message is under way
	op      byte // its opcode
	packed  bool
	message []byte
}

// read returns what readAll does of a reader.
func (m *model) read(data []byte) (events []string) {
	for {
		event, n, more := m.frame(data)
		if event != "" {
			events = append(events, event)
		}
		if !more {
			return events
		}
		data = data[n:]
	}
}

func fault(code int) (string, int, bool) { return fmt.Sprint("error ", code), 0, false }

// frame reads one frame: what is to be noted of it, how long it is, and
// whether reading goes on.
func (m *model) frame(data []byte) (event string, n int, more bool) {
	if len(data) < 2 {
		return "EOF", 0, false
	}
	fin, rsv, op := data[0]>>7 == 1, data[0]>>4&7, data[0]&15
	masked, length := data[1]>>7 == 1, uint64(data[1]&127)
	control := op >= 8
	switch {
	case op >= 3 && op <= 7, op >= 11:
		return fault(closeProtocol)
	case control && (!fin || length > 125):
		return fault(closeProtocol)
	case rsv != 0 && !(m.deflate && rsv == 4 && (op == 1 || op == 2)):
		return fault(closeProtocol)
	case !masked:
		return fault(closeProtocol)
	case op == 0 && !m.inside, !control && op != 0 && m.inside:
		return fault(closeProtocol)
	}
	at := 2
	switch length {
	case 126:
		if len(data) < 4 {
			return "EOF", 0, false
		}
		length, at = uint64(binary.BigEndian.Uint16(data[2:])), 4
		if length <= 125 {
			return fault(closeProtocol)
		}
	case 127:
		if len(data) < 10 {
			return "EOF", 0, false
		}
		length, at = binary.BigEndian.Uint64(data[2:]), 10
		if length <= 65535 || length>>63 == 1 {
			return fault(closeProtocol)
		}
	}
	if len(data) < at+4 {
		return "EOF", 0, false
	}
	key := data[at : at+4]
	at += 4
	if !control && !m.inside {
		m.op, m.packed, m.message = op, rsv == 4, nil
	}
	if !control {
		most := uint64(m.limit)
		if m.packed { // what can't be compressed gets a little longer
			most += most/256 + 64
		}
		if uint64(len(m.message))+length > most {
			return fault(closeTooBig)
		}
	}
	if uint64(len(data)-at) < length {
		return "EOF", 0, false
	}
	n = at + int(length)
	payload := make([]byte, length)
	for i := range payload {
		payload[i] = data[at+i] ^ key[i%4]
	}
	if control {
		return fmt.Sprintf("%x %x", ws.OpCode(op), payload), n, true
	}
	m.inside = !fin
	m.message = append(m.message, payload...)
	if code := m.judge(fin); code != 0 {
		return fault(code)
	}
	if fin {
		event = fmt.Sprintf("%x %x", ws.OpCode(m.op), m.message)
	}
	return event, n, true
}

// judge looks at the message so far, and decompresses a whole one. code is 0
// if it is good.
func (m *model) judge(whole bool) (code int) {
	if m.packed {
		if !whole {
			return 0
		}
		if m.message, code = modelInflate(m.message, m.limit); code != 0 {
			return code
		}
	}
	text := m.op == 1
	switch {
	case text && whole && !utf8.Valid(m.message), text && !couldBeUTF8(m.message):
		return closeBadData
	}
	return 0
}

// couldBeUTF8 reports whether p is the beginning of some text: it tries what
// could follow.
func couldBeUTF8(p []byte) bool {
	if utf8.Valid(p) {
		return true
	}
	for cut := 1; cut <= 3 && cut <= len(p); cut++ {
		if head, tail := p[:len(p)-cut], p[len(p)-cut:]; utf8.Valid(head) && completable(tail) {
			return true
		}
	}
	return false
}

// completable reports whether up to three bytes make p one character. The
// extremes of continuation bytes are enough: what a lead byte allows next is a
// range that begins or ends with one of them.
func completable(p []byte) bool {
	next := [][]byte{p}
	for range 3 {
		var longer [][]byte
		for _, q := range next {
			for _, b := range []byte{0x80, 0xbf} {
				q2 := append(bytes.Clone(q), b)
				if utf8.Valid(q2) && utf8.RuneCount(q2) == 1 {
					return true
				}
				longer = append(longer, q2)
			}
		}
		next = longer
	}
	return false
}

// modelInflate decompresses a message with a new decompressor for each part that
// a final block ends.
func modelInflate(data []byte, limit int) (out []byte, code int) {
	in := bytes.NewReader(append(bytes.Clone(data), deflateTail...))
	for range maxFinal + 1 {
		part := flate.NewReaderDict(in, out[max(0, len(out)-deflateWindow):])
		got, err := io.ReadAll(io.LimitReader(part, int64(limit+1-len(out))))
		out = append(out, got...)
		switch {
		case len(out) > limit:
			return nil, closeTooBig
		case err != nil:
			return nil, closeBadData
		case in.Len() == 0:
			return out, 0
		}
	}
	return nil, closeBadData
}
