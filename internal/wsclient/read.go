package wsclient

import (
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast/internal/wsframe"
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

// CloseError is the Close frame that the peer has sent: Read's last word.
type CloseError struct {
	Code   uint16 // wsframe.NoStatus where there was none
	Reason string
}

// Error tells the code and the reason.
func (e *CloseError) Error() string {
	return fmt.Sprintf("websocket closed with %d %q", e.Code, e.Reason)
}

// FrameError is a breach of RFC 6455 by the peer, or a message over the limit.
// Nothing can be read after it.
type FrameError = wsframe.Error

// buffers are those of all connections, which have one only while bytes are on
// the move.
var buffers wsframe.Buffers

// source is where a reader's bytes come from: fill reads at least one to
// rd.in.Room(), and may call rd.in.Idle before it waits.
type source interface {
	fill(rd *reader) (int, error)
}

// reader takes messages from the server's bytes.
type reader struct {
	src   source
	in    wsframe.Buffer
	limit int

	op   ws.OpCode // of the fragmented message under way; 0: there is none
	msg  []byte    // its payload so far
	text wsframe.Text
}

// more reads at least one byte more.
func (rd *reader) more() error { return rd.in.Filled(rd.src.fill(rd)) }

// Pending reports whether bytes are here that were not returned yet. Then the
// next Read may not have to wait.
func (c *Conn) Pending() bool { return c.rd.in.Len() > 0 }

// Await waits until there is something to read. It needs less stack for that
// than Read, which need not be called after it fails.
func (c *Conn) Await() error {
	if c.rd.in.Len() > 0 {
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
			return 0, nil, closed(body)
		case h.Fin && rd.op == 0:
			if op == ws.OpText && !utf8.Valid(body) {
				return 0, nil, wsframe.NotUTF8()
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
		rd.op, rd.text = h.OpCode, wsframe.Text{}
	}
	rd.msg = append(rd.msg, body...)
	if rd.op == ws.OpText && !rd.text.Check(rd.msg, h.Fin) {
		return false, wsframe.NotUTF8()
	}
	return h.Fin, nil
}

// frame returns the next frame, after the checks that need no more than its
// header.
func (rd *reader) frame() (h ws.Header, body []byte, err error) {
	rd.in.Expect(0)
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
	whole := size + int(h.Length)
	rd.in.Expect(whole)
	for rd.in.Len() < whole {
		if err := rd.more(); err != nil {
			return h, nil, broken(err)
		}
	}
	return h, rd.in.Take(whole)[size:], nil
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
	p := rd.in.Unread()
	f, size, err := wsframe.ParseHeader(p)
	if err != nil || len(p) < 2 {
		return h, 0, err
	}
	h = ws.Header{Fin: f.Fin, Rsv: f.Rsv, OpCode: ws.OpCode(f.OpCode), Masked: f.Masked, Length: f.Length}
	state := ws.StateClientSide
	if rd.op != 0 {
		state = state.Set(ws.StateFragmented)
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return h, 0, wsframe.Breach(err.Error())
	}
	if size > 0 && h.OpCode.IsData() && h.Length > int64(rd.limit-len(rd.msg)) {
		return h, 0, &FrameError{Code: wsframe.TooBig, Text: fmt.Sprintf("message is larger than %d bytes", rd.limit)}
	}
	return h, size, nil
}

// closed returns what the body of a Close frame says.
func closed(body []byte) error {
	code, reason, err := wsframe.ParseClose(body)
	if err != nil {
		return err
	}
	return &CloseError{Code: code, Reason: string(reason)}
}

// TooBig reports whether an error is of a message over the limit.
func TooBig(err error) bool {
	e, ok := errors.AsType[*FrameError](err)
	return ok && e.Code == wsframe.TooBig
}

// plainSource reads anything. While it waits it holds only a few bytes, since
// the borrowed buffer would be pinned.
type plainSource struct {
	r     io.Reader
	first [32]byte
}

func (s *plainSource) fill(rd *reader) (int, error) {
	if rd.in.Len() > 0 {
		return s.r.Read(rd.in.Room())
	}
	rd.in.Idle()
	n, err := s.r.Read(s.first[:])
	if n > 0 {
		copy(rd.in.Room(), s.first[:n])
	}
	return n, err
}
