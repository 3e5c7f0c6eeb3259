package transport

import (
	"encoding/binary"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast/hub"
)

// NewFrame makes a frame of an Engine.IO packet in its text form (such as
// `42["e"]`) and the binary messages that follow it. The arguments become part
// of the frame and must not be changed afterwards.
func NewFrame(text []byte, binary ...[]byte) *hub.Frame {
	f := &hub.Frame{Text: text, Binary: binary}
	f.Wire = appendWire(nil, f)
	return f
}

// HeaderSpace is how many bytes FrameIn needs in front of the text.
const HeaderSpace = 10

// FrameIn is NewFrame for a text with HeaderSpace bytes in front of it, of any
// kind, where the frame's header goes: nothing is copied.
func FrameIn(buf []byte, binary ...[]byte) *hub.Frame {
	text := buf[HeaderSpace:]
	if len(binary) > 0 || len(text) == 0 {
		return NewFrame(text, binary...)
	}
	var space [HeaderSpace]byte
	header := appendHeader(space[:0], ws.OpText, len(text))
	wire := buf[HeaderSpace-len(header):]
	copy(wire, header)
	return &hub.Frame{Text: text, Wire: wire}
}

// NewBinaryFrame makes a frame of one binary message without a text part.
func NewBinaryFrame(data []byte) *hub.Frame { return NewFrame(nil, data) }

// NewTextFrame makes a frame of one text message for the connections of a
// Plain. text is copied.
func NewTextFrame(text []byte) *hub.Frame {
	wire := make([]byte, 0, ws.MaxHeaderSize+len(text))
	wire = append(appendHeader(wire, ws.OpText, len(text)), text...)
	return &hub.Frame{Text: wire[len(wire)-len(text):], Wire: wire}
}

// appendWire appends f as WebSocket frames, unmasked as servers send them.
// A frame without text is only its binary messages.
func appendWire(dst []byte, f *hub.Frame) []byte {
	if dst == nil {
		n := ws.MaxHeaderSize + len(f.Text)
		for _, b := range f.Binary {
			n += ws.MaxHeaderSize + len(b)
		}
		dst = make([]byte, 0, n)
	}
	if len(f.Text) > 0 {
		dst = append(appendHeader(dst, ws.OpText, len(f.Text)), f.Text...)
	}
	for _, b := range f.Binary {
		dst = append(appendHeader(dst, ws.OpBinary, len(b)), b...)
	}
	return dst
}

// appendHeader appends the header of a final, unmasked frame (RFC 6455 §5.2).
func appendHeader(dst []byte, op ws.OpCode, length int) []byte {
	dst = append(dst, 0x80|byte(op))
	switch {
	case length <= 125:
		return append(dst, byte(length))
	case length <= 0xffff:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(length))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(length))
}

// appendClose appends a Close frame; code 0 makes one without a body.
func appendClose(dst []byte, code uint16, reason string) []byte {
	if code == 0 {
		return appendHeader(dst, ws.OpClose, 0)
	}
	dst = appendHeader(dst, ws.OpClose, 2+len(reason))
	dst = binary.BigEndian.AppendUint16(dst, code)
	return append(dst, reason...)
}
