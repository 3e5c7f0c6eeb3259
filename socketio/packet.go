package socketio

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast"
)

// PacketType is the first byte of a packet.
type PacketType byte

// The packet types.
const (
	// Connect asks for a namespace, and answers that it is granted.
	Connect PacketType = '0' + iota
	// Disconnect leaves a namespace.
	Disconnect
	// Event carries an event, with an id if an Ack is wanted.
	Event
	// Ack answers the event with the same id.
	Ack
	// ConnectError answers a Connect that is refused.
	ConnectError
	// BinaryEvent is how an Event with attachments is written.
	BinaryEvent
	// BinaryAck is how an Ack with attachments is written.
	BinaryAck
)

// String returns the type's name, for logs.
func (t PacketType) String() string {
	switch t {
	case Connect:
		return "connect"
	case Disconnect:
		return "disconnect"
	case Event:
		return "event"
	case Ack:
		return "ack"
	case ConnectError:
		return "connect_error"
	case BinaryEvent:
		return "binary_event"
	case BinaryAck:
		return "binary_ack"
	}
	return "unknown"
}

// MaxID is the largest id of an event: 2^53−1, as JavaScript counts.
const MaxID = 1<<53 - 1

// MaxNamespace is how long a namespace's name may be, in bytes.
const MaxNamespace = 200

// Packet is one packet together with its attachments.
type Packet struct {
	// Type is never BinaryEvent or BinaryAck in a decoded packet: those are
	// an Event or Ack whose Attachments are not empty.
	Type PacketType
	// Namespace begins with "/", which alone is the main one and stands for
	// "" too. A decoded one has no query string.
	Namespace string
	// ID relates an Ack to its Event; events without HasID want none.
	ID    uint64
	HasID bool
	// Data is the payload as on the wire: an array for events and acks, an
	// object or nothing for Connect, an object or string for ConnectError,
	// nothing for Disconnect.
	Data json.RawMessage
	// Attachments are the binary parts of an event or ack, which Data's
	// placeholders number.
	Attachments [][]byte
}

// Append appends the packet's text to dst, without the type of the Engine.IO
// message around it. The attachments are to follow, each as a binary message.
// An Event or Ack is written as binary if and only if it has attachments.
//
// Append does not check the packet: Namespace must satisfy CheckNamespace,
// and Data be what the type wants.
func (p Packet) Append(dst []byte) []byte {
	t := p.Type
	switch t {
	case Event, BinaryEvent:
		t = Event
		if len(p.Attachments) > 0 {
			t = BinaryEvent
		}
	case Ack, BinaryAck:
		t = Ack
		if len(p.Attachments) > 0 {
			t = BinaryAck
		}
	}
	dst = append(dst, byte(t))
	if t == BinaryEvent || t == BinaryAck {
		dst = strconv.AppendInt(dst, int64(len(p.Attachments)), 10)
		dst = append(dst, '-')
	}
	if p.Namespace != "/" && p.Namespace != "" {
		dst = append(dst, p.Namespace...)
		dst = append(dst, ',')
	}
	if p.HasID {
		dst = strconv.AppendUint(dst, p.ID, 10)
	}
	return append(dst, p.Data...)
}

// CheckNamespace returns an InvalidArgument error unless name can be a
// namespace: "/" and more, up to 200 bytes of UTF-8 without control
// characters, ',' and '?'.
func CheckNamespace(name string) error {
	if why := badNamespace(name); why != "" {
		return holdfast.Errorf(holdfast.InvalidArgument, "namespace %s", why)
	}
	return nil
}

// badNamespace says what is wrong with a name, "" if nothing. Control
// characters could, sent back, end a packet of a long-polling body early.
func badNamespace[T string | []byte](name T) string {
	switch {
	case len(name) == 0 || name[0] != '/':
		return "does not begin with '/'"
	case len(name) > MaxNamespace:
		return "is longer than 200 bytes"
	}
	ascii := true
	for i := range len(name) {
		switch c := name[i]; {
		case c < 0x20 || c == 0x7f:
			return "has a control character"
		case c == ',' || c == '?':
			return "has a ',' or '?'"
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if !ascii && strings.ContainsFunc(string(name), func(r rune) bool { return r >= 0x80 && r < 0xa0 }) {
		return "has a control character"
	}
	if !ascii && !utf8.ValidString(string(name)) {
		return "is not UTF-8"
	}
	return ""
}
