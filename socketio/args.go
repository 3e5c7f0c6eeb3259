package socketio

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// Args are the arguments of an event or an ack. Where there are attachments,
// a value shows each as {"_placeholder":true,"num":N}; where there are none,
// such an object is data like any other.
//
// Args that came from a packet alias it.
type Args struct {
	Values      []json.RawMessage
	Attachments [][]byte
}

// Event returns an event's name and arguments. The packet is taken to be
// checked, as a Decoder does; it is a ProtocolError if it is no event.
func (p Packet) Event() (name string, args Args, err error) {
	raw, args, err := p.event()
	return string(raw), args, err
}

// Event is the packet's Event. Where it has the name of the event before, that
// costs no allocation.
func (d *Decoder) Event(p Packet) (name string, args Args, err error) {
	raw, args, err := p.event()
	if err != nil {
		return "", args, err
	}
	switch {
	case string(raw) == d.event:
	case len(raw) > holdfast.MaxEventName: // nobody handles it, and it would be held as long as the connection lasts
		return string(raw), args, nil
	default:
		d.event = string(raw)
	}
	return d.event, args, nil
}

func (p Packet) event() (name []byte, args Args, err error) {
	if p.Type != Event && p.Type != BinaryEvent || len(p.Data) == 0 || p.Data[0] != '[' {
		return nil, Args{}, protocolError("not an event")
	}
	raw, end, err := cutName(p.Data)
	if err != nil {
		return nil, Args{}, err
	}
	if raw[0] == '"' {
		raw = jsonscan.Unquote(raw)
	}
	values, err := jsonscan.SplitFrom(p.Data, end)
	if err != nil {
		return nil, Args{}, protocolError("payload: %s", holdfast.AsError(err).Message)
	}
	return raw, Args{Values: values, Attachments: p.Attachments}, nil
}

// AckArgs returns an ack's arguments, under the same terms as Event.
func (p Packet) AckArgs() (Args, error) {
	if p.Type != Ack && p.Type != BinaryAck {
		return Args{}, protocolError("not an ack")
	}
	values, err := jsonscan.Split(p.Data)
	if err != nil {
		return Args{}, protocolError("payload: %s", holdfast.AsError(err).Message)
	}
	return Args{Values: values, Attachments: p.Attachments}, nil
}

// Len returns how many arguments there are.
func (a Args) Len() int { return len(a.Values) }

// value returns argument i, null where there is none.
func (a Args) value(i int) json.RawMessage {
	if i < 0 || i >= len(a.Values) || len(a.Values[i]) == 0 {
		return json.RawMessage("null")
	}
	return a.Values[i]
}

// Bytes returns argument i if it is one binary attachment, which it aliases.
func (a Args) Bytes(i int) ([]byte, bool) {
	if len(a.Attachments) == 0 {
		return nil, false
	}
	value := a.value(i)
	if value[0] != '{' {
		return nil, false
	}
	var one [1]placeholder
	w := walker{data: value, found: one[:0], most: 1}
	if err := w.walk(); err != nil || len(w.found) == 0 {
		return nil, false
	}
	p := w.found[0]
	if p.num >= len(a.Attachments) || p.start != 0 || p.end != len(value) {
		return nil, false
	}
	return a.Attachments[p.num], true
}

// Decode puts argument i into v, a pointer, as json.Unmarshal does; a missing
// argument is null. A binary part goes into a Binary, or into a []byte, and
// is copied; where v has neither (an interface, say) it shows as
// {"$base64":"…"}. Errors have the code InvalidArgument; only a v that is no
// pointer is Internal.
func (a Args) Decode(i int, v any) error {
	value := a.value(i)
	if len(a.Attachments) > 0 {
		switch v := v.(type) {
		case *Binary:
			if b, ok := a.Bytes(i); ok {
				*v = append(Binary{}, b...)
				return nil
			}
		case *[]byte:
			if b, ok := a.Bytes(i); ok {
				*v = append([]byte{}, b...)
				return nil
			}
		}
		var err error
		if value, err = a.expand(value, reflect.TypeOf(v)); err != nil {
			return argumentError(i, err)
		}
	}
	if raw, ok := v.(*json.RawMessage); ok && raw != nil && alone(value) {
		*raw = append((*raw)[:0], value...) // as its UnmarshalJSON does
		return nil
	}
	if err := json.Unmarshal(value, v); err != nil {
		return argumentError(i, err)
	}
	return nil
}

// alone reports whether data is one JSON value without white space around it,
// so that encoding/json would take just that. False says nothing.
func alone(data []byte) bool {
	return data[0] > ' ' && data[len(data)-1] > ' ' && jsonscan.Check(data, jsonscan.Limits{Depth: MaxDepth}) == nil
}

// argumentError says what is wrong with an argument in the peer's terms, not
// in Go's.
func argumentError(i int, err error) error {
	if _, ok := errors.AsType[*json.InvalidUnmarshalError](err); ok {
		return &holdfast.Error{Code: holdfast.Internal, Message: "an argument can't be decoded", Err: err}
	}
	message := fmt.Sprintf("argument %d is not valid", i+1)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		message = fmt.Sprintf("argument %d can't be a JSON %s", i+1, wrong.Value)
		if wrong.Field != "" {
			message = fmt.Sprintf("argument %d: %q can't be a JSON %s", i+1, wrong.Field, wrong.Value)
		}
	} else if own, ok := errors.AsType[*holdfast.Error](err); ok {
		message = fmt.Sprintf("argument %d: %s", i+1, own.Message)
	}
	return &holdfast.Error{Code: holdfast.InvalidArgument, Message: message, Err: err}
}

// expand returns value with its placeholders replaced by what they stand for,
// in the form that a value of type t wants; t may be nil.
func (a Args) expand(value json.RawMessage, t reflect.Type) (json.RawMessage, error) {
	w := walker{data: value, most: len(a.Attachments), paths: t != nil}
	if err := w.walk(); err != nil || len(w.found) == 0 {
		return value, err
	}
	size := len(value)
	for _, p := range w.found {
		if p.num >= len(a.Attachments) {
			return nil, protocolError("placeholder of an attachment that is not there")
		}
		size += base64Size(len(a.Attachments[p.num])) - (p.end - p.start)
	}
	out := make([]byte, 0, size)
	done := 0 // value up to here is in out
	for _, p := range w.found {
		b := a.Attachments[p.num]
		out = append(out, value[done:p.start]...)
		if t != nil && wantsString(t, p.path) {
			out = append(out, '"')
			out = base64.StdEncoding.AppendEncode(out, b)
			out = append(out, '"')
		} else {
			out = appendBase64(out, b)
		}
		done = p.end
	}
	return append(out, value[done:]...), nil
}

// Portable returns the same arguments without attachments, for transports
// that carry JSON alone: binary parts show as {"$base64":"…"}. Without
// attachments it returns a itself.
func (a Args) Portable() (Args, error) {
	if len(a.Attachments) == 0 {
		return a, nil
	}
	values := make([]json.RawMessage, len(a.Values))
	for i := range a.Values {
		var err error
		if values[i], err = a.expand(a.value(i), nil); err != nil {
			return Args{}, err
		}
	}
	return Args{Values: values}, nil
}

// AppendArray appends the arguments to dst as a JSON array: the Data of an
// ack.
func (a Args) AppendArray(dst []byte) []byte {
	dst = slices.Grow(dst, a.size()+2)
	dst = append(dst, '[')
	for i := range a.Values {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, a.value(i)...)
	}
	return append(dst, ']')
}

// AppendEvent appends the JSON array of the event's name and the arguments to
// dst: the Data of an event.
func (a Args) AppendEvent(dst []byte, name string) []byte {
	dst = slices.Grow(dst, a.size()+len(name)+4)
	dst = append(dst, '[')
	dst = jsonscan.AppendString(dst, name)
	for i := range a.Values {
		dst = append(dst, ',')
		dst = append(dst, a.value(i)...)
	}
	return append(dst, ']')
}

// size is about how many bytes the values take in an array.
func (a Args) size() int {
	n := 0
	for i := range a.Values {
		n += len(a.Values[i]) + 1
	}
	return n
}
