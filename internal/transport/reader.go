package transport

import (
	"errors"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

// frameError is a breach of RFC 6455 by the peer, or a message that is too large. After
// it the stream can't be read any further.
type frameError struct {
	code uint16 // to close with
	err  *holdfast.Error
}

func (e *frameError) Error() string { return e.err.Error() }
func (e *frameError) Unwrap() error { return e.err }

// breach is the frameError of an error of wsframe.
func breach(err error) error {
	fe, ok := errors.AsType[*wsframe.Error](err)
	if !ok { // of ws.CheckHeader
		fe = wsframe.Breach(err.Error())
	}
	return &frameError{fe.Code, holdfast.Errorf(holdfast.ProtocolError, "%s", fe.Text)}
}

// source is where a reader's bytes come from.
type source interface {
	// fill reads at least one byte to rd.in.Room(). If it has to wait for it, it
	// sets rd.parked meanwhile and may call rd.in.Idle before; if rd.served is set,
	// it returns errLater instead.
	fill(rd *reader) (int, error)
}

// reader takes WebSocket messages from a client's bytes. It belongs to one
// goroutine, except for parked.
type reader struct {
	src   source
	in    wsframe.Buffer
	limit int       // bytes of a message over all its fragments
	pack  *deflater // decompresses messages; nil where none may be compressed

	op     ws.OpCode // of the fragmented message under way; 0: there is none
	msg    []byte    // its payload so far
	text   wsframe.Text
	packed bool // it is compressed

	// slow, if set, is told when bytes of a message that began are waited for,
	// and when that message is complete.
	slow    func(waiting bool)
	waiting bool

	// What replaces the goroutine; see Conn.readLoop.
	clock   func() instant // nil: it is never replaced
	deep    bool           // it has handled messages
	renewed instant        // when it was replaced last; 0: never

	// Of a connection that a loop serves.
	served bool // no fill waits: it returns errLater
	reads  int  // how often it may still be read before it is the others' turn
	drops  bool // what is read is kept no more; see discard

	// parked is true while fill waits for the peer. Any goroutine may read it.
	parked atomic.Bool
}

// more reads at least one byte more.
func (rd *reader) more() error {
	if !rd.waiting && rd.slow != nil && (rd.in.Len() > 0 || rd.op != 0) {
		rd.waiting = true
		rd.slow(true)
	}
	return rd.in.Filled(rd.src.fill(rd))
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
				return 0, nil, breach(wsframe.NotUTF8())
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
		rd.op, rd.text, rd.packed = h.OpCode, wsframe.Text{}, h.Rsv == rsv1
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
	if rd.op == ws.OpText && !rd.text.Check(rd.msg, h.Fin) {
		return false, breach(wsframe.NotUTF8())
	}
	return h.Fin, nil
}

// frame returns the next frame, unmasked, after the checks that need no more
// than its header.
func (rd *reader) frame() (ws.Header, []byte, error) {
	rd.in.Expect(0)
	var h ws.Header
	var size int
	for {
		var err error
		if h, size, err = parseHeader(rd.in.Unread()); err != nil {
			return h, nil, breach(err)
		}
		if size > 0 {
			break
		}
		// The two bytes of a header that are always there say much already.
		if rd.in.Len() >= 2 {
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
	whole := size + int(h.Length)
	rd.in.Expect(whole)
	for rd.in.Len() < whole {
		if err := rd.more(); err != nil {
			return h, nil, err
		}
	}
	body := rd.in.Take(whole)[size:]
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
		return breach(err)
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
	return rd.deep && rd.in.Lent() == 0 && rd.op == 0 && rd.clock != nil &&
		(rd.renewed == 0 || rd.clock()-rd.renewed >= renewEvery)
}

// parseHeader is wsframe.ParseHeader with the header as package ws has it.
func parseHeader(p []byte) (ws.Header, int, error) {
	h, size, err := wsframe.ParseHeader(p)
	return ws.Header{Fin: h.Fin, Rsv: h.Rsv, OpCode: ws.OpCode(h.OpCode), Masked: h.Masked, Mask: h.Mask, Length: h.Length}, size, err
}

// errLater is what a fill returns that would have to wait, where a loop serves the
// connection: the reader is to be called again when there is more. What it has of
// a message it keeps.
var errLater = errors.New("transport: to be read on later")

// discard reads until the stream ends, and keeps nothing. If that is not now, it is
// to be called again.
func (rd *reader) discard() stopped {
	rd.drops = true
	rd.slow, rd.msg, rd.op, rd.clock = nil, nil, 0, nil
	for {
		rd.in.Drop()
		if err := rd.more(); err != nil {
			rd.in.Drop()
			rd.in.Idle()
			if err == errLater {
				return later
			}
			return ended
		}
	}
}
