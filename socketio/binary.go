package socketio

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// Binary is bytes inside a payload. NewArgs makes an attachment of it, at any
// depth, and Args.Decode fills it from one. In plain JSON it is
// {"$base64":"…"}, padded standard base64, and null when nil.
type Binary []byte

// The JSON form of Binary, before and after the base64.
const (
	base64Open  = `{"$base64":"`
	base64Close = `"}`
)

// MarshalJSON returns b in its JSON form.
func (b Binary) MarshalJSON() ([]byte, error) {
	if b == nil {
		return []byte("null"), nil
	}
	return appendBase64(make([]byte, 0, base64Size(len(b))), b), nil
}

// UnmarshalJSON takes b's JSON form, or null.
func (b *Binary) UnmarshalJSON(data []byte) error {
	if string(bytes.TrimSpace(data)) == "null" {
		*b = nil
		return nil
	}
	text, ok := cutBase64(data)
	if !ok {
		return holdfast.Errorf(holdfast.InvalidArgument, `bytes must be {"$base64":"…"}`)
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	if err != nil {
		return holdfast.Errorf(holdfast.InvalidArgument, "bytes are not base64: %w", err)
	}
	*b = out[:n:n]
	return nil
}

func appendBase64(dst, b []byte) []byte {
	dst = append(dst, base64Open...)
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, base64Close...)
}

// base64Size is how many bytes the JSON form of n bytes has.
func base64Size(n int) int {
	return len(base64Open) + base64.StdEncoding.EncodedLen(n) + len(base64Close)
}

// cutBase64 returns the base64 of the JSON form of Binary.
func cutBase64(data []byte) ([]byte, bool) {
	i := space(data, 0)
	if i >= len(data) || data[i] != '{' {
		return nil, false
	}
	key, i, ok := cutString(data, space(data, i+1))
	if !ok || string(key) != "$base64" {
		return nil, false
	}
	if i = space(data, i); i >= len(data) || data[i] != ':' {
		return nil, false
	}
	text, i, ok := cutString(data, space(data, i+1))
	if !ok {
		return nil, false
	}
	if i = space(data, i); i >= len(data) || data[i] != '}' || space(data, i+1) != len(data) {
		return nil, false
	}
	return text, true
}

// cutString returns the text of the string at data[i], and the index after it.
func cutString(data []byte, i int) ([]byte, int, bool) {
	if i >= len(data) || data[i] != '"' {
		return nil, 0, false
	}
	end := jsonscan.Skip(data, i)
	if end < 0 {
		return nil, 0, false
	}
	return jsonscan.Unquote(data[i:end]), end, true
}

var (
	_ json.Marshaler   = Binary(nil)
	_ json.Unmarshaler = (*Binary)(nil)
)
