// Package engineio reads and writes the packets of the Engine.IO protocol,
// version 4, as both of its transports carry them: one packet a WebSocket
// message, or several in the body of an HTTP long-polling request. It does no
// I/O and keeps no state.
//
// Every error is a *holdfast.Error: ProtocolError for what is no packet, and
// MessageTooLarge for more of them than allowed. All functions are safe for
// concurrent use. docs/protocol.md says what packets mean and when they are
// sent.
package engineio

import (
	"bytes"
	"encoding/base64"
	"slices"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast"
)

// PacketType is the first byte of a packet in text form.
type PacketType byte

// The packet types.
const (
	// Open carries the Handshake, from the server.
	Open PacketType = '0' + iota
	// Close asks for the end of the session.
	Close
	// Ping is sent by the server as a heartbeat, and by a client with the
	// data "probe" to try a WebSocket before upgrading to it.
	Ping
	// Pong answers a Ping with the same data.
	Pong
	// Message carries a message of the protocol above.
	Message
	// Upgrade, from the client, ends the change of transport.
	Upgrade
	// Noop does nothing; it ends a pending poll.
	Noop
)

// String returns the type's name, for logs.
func (t PacketType) String() string {
	switch t {
	case Open:
		return "open"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	case Message:
		return "message"
	case Upgrade:
		return "upgrade"
	case Noop:
		return "noop"
	}
	return "unknown"
}

// Packet is one packet.
type Packet struct {
	Type PacketType
	// Binary tells that Data is bytes; only a Message can be. A binary
	// message is a WebSocket message of its own, without a type, and base64
	// text in long-polling.
	Binary bool
	// Data is what follows the type: UTF-8 text unless Binary. May be empty.
	Data []byte
}

// binaryMark begins a binary message in a long-polling body.
const binaryMark = 'b'

// strictBase64 refuses set bits that mean nothing, so that bytes have one
// spelling alone.
var strictBase64 = base64.StdEncoding.Strict()

// Parse reads one packet in text form, as a WebSocket text message carries
// it. Data aliases text, which is checked to be UTF-8, so that a transport
// need not. Close, Upgrade and Noop have no data. Binary messages have no text
// form there: "b…" is refused.
func Parse(text []byte) (Packet, error) {
	if len(text) == 0 {
		return Packet{}, holdfast.Errorf(holdfast.ProtocolError, "empty packet")
	}
	t := PacketType(text[0])
	if t < Open || t > Noop {
		return Packet{}, holdfast.Errorf(holdfast.ProtocolError, "unknown packet type")
	}
	if !utf8.Valid(text) {
		return Packet{}, holdfast.Errorf(holdfast.ProtocolError, "packet is not UTF-8")
	}
	if len(text) > 1 && (t == Close || t == Upgrade || t == Noop) {
		return Packet{}, holdfast.Errorf(holdfast.ProtocolError, "%s packet has data", t)
	}
	return Packet{Type: t, Data: text[1:]}, nil
}

// Append appends the packet in text form to dst: the type and the data, or
// for a binary one 'b' and the data in base64, as long-polling wants it. (On
// a WebSocket send the Data of a binary packet as a binary message instead.)
func (p Packet) Append(dst []byte) []byte {
	if p.Binary {
		dst = append(dst, binaryMark)
		return base64.StdEncoding.AppendEncode(dst, p.Data)
	}
	return append(append(dst, byte(p.Type)), p.Data...)
}

// size is how many bytes Append appends.
func (p Packet) size() int {
	if p.Binary {
		return 1 + base64.StdEncoding.EncodedLen(len(p.Data))
	}
	return 1 + len(p.Data)
}

// separator stands between the packets of a long-polling body.
const separator = 0x1e

// MaxPackets is how many packets ParsePayload allows when not told otherwise.
const MaxPackets = 64

// ParsePayload reads the body of a long-polling request or response: one to
// max packets (0: MaxPackets), more being MessageTooLarge. The Data of text
// packets alias body; base64 is decoded, and must be padded and without line
// breaks. One bad packet spoils the body.
func ParsePayload(body []byte, max int) ([]Packet, error) {
	if max <= 0 {
		max = MaxPackets
	}
	n := bytes.Count(body, []byte{separator}) + 1
	if n > max {
		return nil, holdfast.Errorf(holdfast.MessageTooLarge, "more than %d packets at once", max)
	}
	packets := make([]Packet, 0, n)
	for more := true; more; {
		var text []byte
		text, body, more = bytes.Cut(body, []byte{separator})
		p, err := parseInPayload(text)
		if err != nil {
			return nil, err
		}
		packets = append(packets, p)
	}
	return packets, nil
}

func parseInPayload(text []byte) (Packet, error) {
	if len(text) == 0 || text[0] != binaryMark {
		return Parse(text)
	}
	text = text[1:]
	// The decoder skips line breaks; a packet has none.
	if bytes.ContainsAny(text, "\r\n") {
		return Packet{}, holdfast.Errorf(holdfast.ProtocolError, "binary packet is not base64")
	}
	data := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := strictBase64.Decode(data, text)
	if err != nil {
		return Packet{}, holdfast.Errorf(holdfast.ProtocolError, "binary packet is not base64")
	}
	return Packet{Type: Message, Binary: true, Data: data[:n:n]}, nil
}

// AppendPayload appends packets as a long-polling body to dst. No text packet
// may hold the separator U+001E, which the protocol has no way to escape;
// JSON text never does.
func AppendPayload(dst []byte, packets ...Packet) []byte {
	total := len(packets)
	for _, p := range packets {
		total += p.size()
	}
	dst = slices.Grow(dst, total)
	for i, p := range packets {
		if i > 0 {
			dst = append(dst, separator)
		}
		dst = p.Append(dst)
	}
	return dst
}
