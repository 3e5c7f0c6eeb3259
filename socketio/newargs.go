package socketio

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// NewArgs makes arguments of Go values, by the rules of encoding/json but for
// HTML, which is not escaped. A value that is a []byte or Binary becomes an
// attachment, and so does a Binary inside a value (a []byte inside becomes
// base64 text, as encoding/json has it). A json.RawMessage is taken as it is,
// after it was checked. nil values, slices too, are null.
//
// Arguments that no peer would take are refused as InvalidArgument: nested
// deeper than 31, more than 16 attachments, values that can't be JSON, or an
// object that would be mistaken for one of the attachments' placeholders. The
// attachments and raw values are not copied.
func NewArgs(values ...any) (Args, error) {
	b := builder{args: Args{Values: make([]json.RawMessage, len(values))}}
	for i, v := range values {
		raw, err := b.value(v)
		if err == nil {
			// The array of arguments is one level.
			err = jsonscan.Check(raw, jsonscan.Limits{Depth: MaxDepth - 1})
		}
		if err != nil {
			return Args{}, newArgsError(i, err)
		}
		b.args.Values[i] = raw
	}
	if n := len(b.args.Attachments); n > 0 {
		if n > MaxAttachments {
			return Args{}, holdfast.Errorf(holdfast.InvalidArgument, "more than %d binary parts", MaxAttachments)
		}
		used := newUses(n)
		for i, raw := range b.args.Values {
			if err := used.count(raw); err != nil {
				return Args{}, newArgsError(i, err)
			}
		}
	}
	return b.args, nil
}

func newArgsError(i int, err error) error {
	message := "can't be JSON"
	if own, ok := errors.AsType[*holdfast.Error](err); ok {
		message = own.Message
	}
	return &holdfast.Error{Code: holdfast.InvalidArgument, Message: "argument " + strconv.Itoa(i+1) + ": " + message, Err: err}
}

// builder makes Args.
type builder struct {
	args Args
	text *text // nil until a value has to be marshalled
}

// text holds the JSON of all values that were marshalled. The values are
// slices of its buffer, and stay good when that grows, which copies.
type text struct {
	buffer  bytes.Buffer
	encoder *json.Encoder
}

func (b *builder) marshal(v any) (json.RawMessage, error) {
	if b.text == nil {
		b.text = new(text)
		b.text.encoder = json.NewEncoder(&b.text.buffer)
		b.text.encoder.SetEscapeHTML(false)
	}
	start := b.text.buffer.Len()
	if err := b.text.encoder.Encode(v); err != nil {
		return nil, err
	}
	end := b.text.buffer.Len() - 1 // without the line break
	return b.text.buffer.Bytes()[start:end:end], nil
}

func (b *builder) value(v any) (json.RawMessage, error) {
	switch v := v.(type) {
	case nil:
		return json.RawMessage("null"), nil
	case json.RawMessage:
		if v == nil {
			return json.RawMessage("null"), nil
		}
		return v, nil
	case []byte:
		return b.attach(nil, v, v == nil), nil
	case Binary:
		return b.attach(nil, v, v == nil), nil
	}
	raw, err := b.marshal(v)
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(raw, []byte(base64Open)) {
		return raw, nil
	}
	return b.extract(raw, collectBinary(v)), nil
}

// attach appends the placeholder of a new attachment to dst.
func (b *builder) attach(dst, data []byte, null bool) []byte {
	if null {
		return append(dst, "null"...)
	}
	dst = append(dst, `{"_placeholder":true,"num":`...)
	dst = strconv.AppendInt(dst, int64(len(b.args.Attachments)), 10)
	b.args.Attachments = append(b.args.Attachments, data)
	return append(dst, '}')
}

// extract makes attachments of the objects in raw which stand for one of the
// given Binary values. (Others that look like it are the application's own.)
func (b *builder) extract(raw json.RawMessage, binaries []Binary) json.RawMessage {
	if len(binaries) == 0 {
		return raw
	}
	var (
		out  []byte
		done int
	)
	for i := 0; i < len(raw); {
		switch {
		case raw[i] == '"':
			i = jsonscan.Skip(raw, i)
		case raw[i] == '{' && bytes.HasPrefix(raw[i:], []byte(base64Open)):
			end := jsonscan.Skip(raw, i)
			if k := findBinary(binaries, raw[i:end]); k >= 0 {
				out = append(out, raw[done:i]...)
				out = b.attach(out, binaries[k], false)
				binaries[k] = nil // each stands for one
				done = end
				i = end
			} else {
				i++
			}
		default:
			i++
		}
	}
	if done == 0 {
		return raw
	}
	return append(out, raw[done:]...)
}

// findBinary returns which of binaries the JSON object stands for, or -1.
func findBinary(binaries []Binary, object []byte) int {
	text, ok := cutBase64(object)
	if !ok {
		return -1
	}
	size := len(text) / 4 * 3
	for k, b := range binaries {
		if b == nil || len(b) > size || len(b) < size-2 {
			continue
		}
		if base64.StdEncoding.EncodeToString(b) == string(text) {
			return k
		}
	}
	return -1
}
