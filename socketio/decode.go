package socketio

import (
	"bytes"
	"encoding/json"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// The default limits.
const (
	MaxAttachments = 16
	MaxDepth       = jsonscan.DefaultDepth
	MaxBytes       = 1_000_000
)

// Limits bounds what a Decoder takes. Fields that are 0 mean the default.
type Limits struct {
	// Attachments of one packet; default 16, negative for none at all.
	Attachments int
	// Depth of a payload, the array of arguments included; default 32.
	Depth int
	// Bytes of one packet's text and attachments together; default 1,000,000.
	Bytes int
}

func (l Limits) withDefaults() Limits {
	if l.Attachments == 0 {
		l.Attachments = MaxAttachments
	}
	if l.Depth <= 0 {
		l.Depth = MaxDepth
	}
	if l.Bytes <= 0 {
		l.Bytes = MaxBytes
	}
	return l
}

// Decoder turns the messages of one connection into packets. The zero value
// is ready. It is not safe for concurrent use. An error drops the packet that
// was under way.
type Decoder struct {
	// Limits must not change while a packet is under way.
	Limits Limits

	waiting *waiting // nil unless attachments are still to come
	// namespace is the last one seen other than "/", so that its string is
	// made only once.
	namespace string
	// event is the last one's name, for the same reason.
	event string
}

// waiting is a packet whose attachments are not all there.
type waiting struct {
	packet Packet
	want   int // attachments in all
	bytes  int // so far
}

// Text takes a text message, without the Engine.IO type. It returns the
// packet, or ok=false if the packet has attachments, which Binary must be
// given first. The packet's Data aliases b when ok; what is kept for later is
// copied.
func (d *Decoder) Text(b []byte) (p Packet, ok bool, err error) {
	if d.waiting != nil {
		d.waiting = nil
		return Packet{}, false, protocolError("a text message while attachments are awaited")
	}
	limits := d.Limits.withDefaults()
	if len(b) > limits.Bytes {
		return Packet{}, false, tooLarge(limits.Bytes)
	}
	attachments, err := d.parse(&p, b, &limits)
	if err != nil {
		return Packet{}, false, err
	}
	if attachments == 0 {
		return p, true, nil
	}
	p.Data = bytes.Clone(p.Data)
	p.Attachments = make([][]byte, 0, attachments)
	d.waiting = &waiting{packet: p, want: attachments, bytes: len(b)}
	return Packet{}, false, nil
}

// Binary takes a binary message: the next attachment. It returns the packet
// when that was the last one, which then aliases b; earlier ones are copied.
func (d *Decoder) Binary(b []byte) (p Packet, ok bool, err error) {
	w := d.waiting
	if w == nil {
		return Packet{}, false, protocolError("a binary message that no packet announced")
	}
	limit := d.Limits.withDefaults().Bytes
	if len(b) > limit-w.bytes {
		d.waiting = nil
		return Packet{}, false, tooLarge(limit)
	}
	w.bytes += len(b)
	if len(w.packet.Attachments)+1 < w.want {
		// Not nil even when empty: it is an attachment.
		w.packet.Attachments = append(w.packet.Attachments, append([]byte{}, b...))
		return Packet{}, false, nil
	}
	d.waiting = nil
	w.packet.Attachments = append(w.packet.Attachments, b)
	return w.packet, true, nil
}

// parse reads a text message into p and returns how many attachments follow.
func (d *Decoder) parse(p *Packet, b []byte, limits *Limits) (attachments int, err error) {
	if len(b) == 0 {
		return 0, protocolError("empty packet")
	}
	p.Type = PacketType(b[0])
	if p.Type < Connect || p.Type > BinaryAck {
		return 0, protocolError("unknown packet type")
	}
	rest := b[1:]
	binary := p.Type >= BinaryEvent
	if binary {
		p.Type -= BinaryEvent - Event
		if attachments, rest, err = cutAttachments(rest, limits.Attachments); err != nil {
			return 0, err
		}
	}
	if p.Namespace, rest, err = d.cutNamespace(rest); err != nil {
		return 0, err
	}
	if p.Type == Event || p.Type == Ack {
		if p.ID, p.HasID, rest, err = cutID(rest); err != nil {
			return 0, err
		}
	}
	if err := checkPayload(p, rest, limits.Depth); err != nil {
		return 0, err
	}
	if binary {
		if err := CheckPlaceholders(rest, attachments); err != nil {
			return 0, err
		}
	}
	if len(rest) > 0 {
		p.Data = rest
	}
	return attachments, nil
}

// checkPayload checks the payload against what p's type wants.
func checkPayload(p *Packet, payload []byte, depth int) error {
	switch p.Type {
	case Connect:
		if len(payload) == 0 {
			return nil
		}
		if payload[0] != '{' {
			return protocolError("connect payload is not an object")
		}
	case Disconnect:
		if len(payload) > 0 {
			return protocolError("disconnect has a payload")
		}
		return nil
	case ConnectError:
		if len(payload) == 0 || payload[0] != '{' && payload[0] != '"' {
			return protocolError("connect error payload is not an object or string")
		}
	default:
		if len(payload) == 0 || payload[0] != '[' {
			return protocolError("%s payload is not an array", p.Type)
		}
		if p.Type == Ack && !p.HasID {
			return protocolError("ack has no id")
		}
	}
	if err := jsonscan.Check(payload, jsonscan.Limits{Depth: depth}); err != nil {
		return protocolError("payload: %s", holdfast.AsError(err).Message)
	}
	if p.Type == Event {
		if _, _, err := cutName(payload); err != nil {
			return err
		}
	}
	return nil
}

// cutAttachments reads "N-".
func cutAttachments(b []byte, limit int) (n int, rest []byte, err error) {
	value, size := digits(b)
	switch {
	case size == 0 || size == len(b) || b[size] != '-':
		return 0, nil, protocolError("count of attachments is missing or malformed")
	case value > uint64(max(limit, 0)):
		return 0, nil, protocolError("more than %d attachments", max(limit, 0))
	}
	return int(value), b[size+1:], nil
}

// cutNamespace reads "/name?query," or, at the end, "/name?query". A packet
// without it is in the main namespace.
func (d *Decoder) cutNamespace(b []byte) (name string, rest []byte, err error) {
	if len(b) == 0 || b[0] != '/' {
		return "/", b, nil
	}
	text, rest, _ := bytes.Cut(b, []byte{','})
	text, _, _ = bytes.Cut(text, []byte{'?'})
	if len(text) == 1 {
		return "/", rest, nil
	}
	if string(text) != d.namespace {
		if why := badNamespace(text); why != "" {
			return "", nil, protocolError("namespace %s", why)
		}
		d.namespace = string(text)
	}
	return d.namespace, rest, nil
}

// cutID reads an id, if there is one.
func cutID(b []byte) (id uint64, ok bool, rest []byte, err error) {
	if len(b) == 0 || b[0] < '0' || b[0] > '9' {
		return 0, false, b, nil
	}
	id, size := digits(b)
	if size == 0 || id > MaxID {
		return 0, false, nil, protocolError("id is out of range or malformed")
	}
	return id, true, b[size:], nil
}

// digits reads a decimal number without superfluous zeros, of at most 16
// digits, and returns how many bytes it has; 0 where there is none such.
func digits(b []byte) (value uint64, size int) {
	for size < len(b) && b[size] >= '0' && b[size] <= '9' {
		if size == 16 {
			return 0, 0
		}
		value = value*10 + uint64(b[size]-'0')
		size++
	}
	if size > 1 && b[0] == '0' {
		return 0, 0
	}
	return value, size
}

// cutName reads the event's name off the array of a checked event: the raw
// first element, and the index after it.
func cutName(array []byte) (name json.RawMessage, end int, err error) {
	i := space(array, 1)
	if i < len(array) {
		switch c := array[i]; {
		case c == '"':
			if end = jsonscan.Skip(array, i); end > 0 {
				return array[i:end], end, nil
			}
		case c == '-' || c >= '0' && c <= '9':
			end = jsonscan.Skip(array, i)
			if integer(array[i:end]) {
				return array[i:end], end, nil
			}
		}
	}
	return nil, 0, protocolError("event name is missing, or no string or integer")
}

// integer reports whether number is an integer as JavaScript writes it,
// within ±(2^53−1).
func integer(number []byte) bool {
	signed := bytes.TrimPrefix(number, []byte{'-'})
	value, size := digits(signed)
	return size > 0 && size == len(signed) && value <= MaxID && (value > 0 || len(signed) == len(number))
}

// space returns the index of the first byte from i that is no white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

func protocolError(format string, args ...any) error {
	return holdfast.Errorf(holdfast.ProtocolError, format, args...)
}

func tooLarge(limit int) error {
	return holdfast.Errorf(holdfast.MessageTooLarge, "packet is larger than %d bytes", limit)
}
