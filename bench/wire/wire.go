// Package wire is as much of Engine.IO and Socket.IO as the servers need that
// "holdfast bench" loads for comparison. It knows the exact texts which that
// program sends, and looks for them: JSON is not parsed and nothing is checked,
// so that what such a server costs is the transport alone.
package wire

import "bytes"

// Open is the handshake of Engine.IO. These servers send no heartbeats.
const Open = `0{"sid":"bench","upgrades":[],"pingInterval":600000,"pingTimeout":600000,"maxPayload":2000000}`

// Connected is the answer to the packet that asks for the namespace.
const Connected = `40{"sid":"bench"}`

// OK is what a join and a publish are acknowledged with.
const OK = `{"ok":true}`

// Kind is what a message asks for.
type Kind int

// The kinds. Other is whatever needs no answer.
const (
	Other Kind = iota
	Connect
	Join
	Publish
	Echo
)

// Request is one message of a client. Its fields lie within the message.
type Request struct {
	Kind Kind
	// ID is that of the ack, in decimal.
	ID []byte
	// Room is the name that a Join or a Publish is about.
	Room []byte
	// Event is the published event's name with its quotes.
	Event []byte
	// Data is the JSON that is published or echoed.
	Data []byte
}

// Parse reads one message of Engine.IO.
func Parse(text []byte) (r Request) {
	if bytes.HasPrefix(text, []byte("40")) {
		return Request{Kind: Connect}
	}
	rest, event := bytes.CutPrefix(text, []byte("42"))
	at := bytes.IndexByte(rest, '[')
	if !event || at < 0 || rest[len(rest)-1] != ']' {
		return Request{}
	}
	r.ID, rest = rest[:at], rest[at+1:len(rest)-1]
	if data, ok := bytes.CutPrefix(rest, []byte(`"echo",`)); ok {
		r.Kind, r.Data = Echo, data
		return r
	}
	if room, ok := bytes.CutPrefix(rest, []byte(`"room:join",{"room":"`)); ok {
		r.Room, _, ok = bytes.Cut(room, []byte(`"`))
		return r.when(ok, Join)
	}
	rest, ok := bytes.CutPrefix(rest, []byte(`"room:publish",{"room":"`))
	if !ok {
		return Request{}
	}
	if r.Room, rest, ok = bytes.Cut(rest, []byte(`","event":`)); !ok {
		return Request{}
	}
	if r.Event, rest, ok = bytes.Cut(rest, []byte(`,"data":`)); !ok {
		return Request{}
	}
	r.Data, ok = bytes.CutSuffix(rest, []byte(`}`))
	return r.when(ok, Publish)
}

// when is a request of this kind, if its text was whole.
func (r Request) when(ok bool, kind Kind) Request {
	if !ok {
		return Request{}
	}
	r.Kind = kind
	return r
}

// AppendEvent appends the message that members of a room get.
func AppendEvent(dst []byte, r Request) []byte {
	dst = append(append(append(dst, "42["...), r.Event...), ',')
	return append(append(dst, r.Data...), ']')
}

// AppendAck appends the message that answers a request.
func AppendAck(dst []byte, r Request, data []byte) []byte {
	dst = append(append(append(dst, "43"...), r.ID...), '[')
	return append(append(dst, data...), ']')
}
