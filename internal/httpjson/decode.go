package httpjson

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// maxDepth is how deep a body may nest (docs/protocol.md §8).
const maxDepth = 32

// Decode reads r's body, at most max bytes, into v. It is strict: the content
// type must be application/json (parameters are allowed) without a content
// encoding, and the body one JSON value in UTF-8 at most 32 levels deep, with
// nothing after it, in which no object has a key twice or in two spellings of
// case. The errors are *holdfast.Error: INVALID_ARGUMENT, or MESSAGE_TOO_LARGE
// over max.
func Decode(w http.ResponseWriter, r *http.Request, max int64, v any) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return holdfast.Errorf(holdfast.InvalidArgument, "Content-Type must be application/json")
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return holdfast.Errorf(holdfast.InvalidArgument, "the body must not have a Content-Encoding")
	}
	if r.ContentLength > max {
		return tooLarge(r.Body, max)
	}
	body := r.Body
	data, err := io.ReadAll(http.MaxBytesReader(w, body, max))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return tooLarge(body, max)
		}
		return &holdfast.Error{Code: holdfast.InvalidArgument, Message: "the body could not be read", Err: err}
	}
	if len(data) == 0 {
		return holdfast.Errorf(holdfast.InvalidArgument, "the body is missing")
	}
	if err := jsonscan.Check(data, jsonscan.Limits{Depth: maxDepth, UniqueKeys: true}); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return decodeError(err)
	}
	return nil
}

// drained bounds what is read of a body that is too large, in bytes.
const drained = 1 << 20

// tooLarge lets the client finish sending, within reason: one that is cut off
// in the middle sees a broken connection and not the answer.
func tooLarge(body io.Reader, max int64) *holdfast.Error {
	_, _ = io.CopyN(io.Discard, body, drained)
	return holdfast.Errorf(holdfast.MessageTooLarge, "the body is larger than %d bytes", max)
}

// decodeError names the field that has the wrong type, and never its value,
// which could be a password.
func decodeError(err error) *holdfast.Error {
	if e, ok := errors.AsType[*holdfast.Error](err); ok {
		return e
	}
	e := holdfast.InvalidArgument.New()
	e.Err = err
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		e.Message = "the body is of the wrong type"
		if t.Field != "" {
			e.Message = "field " + t.Field + " is of the wrong type"
		}
	}
	return e
}
