// Package refusal reads what a server says when it refuses a request.
package refusal

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// MaxBody bounds what is read of an error answer, in bytes.
const MaxBody = 64 << 10

// maxRetryAfter bounds how long a server can send the client away.
const maxRetryAfter = time.Hour

// Refusal is what an answer says.
type Refusal struct {
	// Err has the code that the answer names, or else that of its status.
	Err *holdfast.Error
	// Named reports that the answer itself named a code of the table.
	Named bool
	// RequestID is the server's name for the request; "" for none.
	RequestID string
}

// Read makes a Refusal of an answer's status, header and body: the body of
// docs/protocol.md §2, or whatever a proxy or another server says.
func Read(status int, header http.Header, body []byte) Refusal {
	r := Refusal{Err: &holdfast.Error{Code: codeOfStatus(status)}}
	var b struct {
		Error      json.RawMessage `json:"error"`
		Message    json.RawMessage `json:"message"`
		Code       json.RawMessage `json:"code"`
		RequestID  string          `json:"requestId"`
		RetryAfter float64         `json:"retryAfter"`
		Details    json.RawMessage `json:"details"`
	}
	// A wrong type in one field leaves the others read: other servers have
	// numeric codes.
	_ = json.Unmarshal(body, &b)
	if c := holdfast.Code(Text(b.Code)); c.Known() {
		r.Err.Code, r.Named = c, true
	}
	r.Err.Message = Text(b.Error)
	if r.Err.Message == "" {
		r.Err.Message = Text(b.Message)
	}
	if r.Err.Message == "" {
		r.Err.Message = http.StatusText(status)
	}
	r.Err.Details = b.Details
	r.Err.RetryAfter = Seconds(b.RetryAfter)
	if r.Err.RetryAfter == 0 {
		r.Err.RetryAfter = RetryAfter(header.Get("Retry-After"))
	}
	if r.RequestID = b.RequestID; r.RequestID == "" {
		r.RequestID = header.Get("X-Request-Id")
	}
	return r
}

// Text returns a JSON string's value, "" for anything else.
func Text(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s)
	return s
}

// codeOfStatus is the code for an answer that names none.
func codeOfStatus(status int) holdfast.Code {
	switch status {
	case http.StatusUnauthorized:
		return holdfast.Unauthenticated
	case http.StatusForbidden:
		return holdfast.Forbidden
	case http.StatusNotFound, http.StatusGone:
		return holdfast.NotFound
	case http.StatusConflict:
		return holdfast.Conflict
	case http.StatusRequestEntityTooLarge:
		return holdfast.MessageTooLarge
	case http.StatusTooManyRequests:
		return holdfast.RateLimited
	case http.StatusServiceUnavailable:
		return holdfast.GoingAway
	case http.StatusRequestTimeout, http.StatusTooEarly:
		return holdfast.Internal // worth another try
	}
	if status >= 500 || status < 400 {
		return holdfast.Internal
	}
	return holdfast.InvalidArgument
}

// Seconds makes a duration of a number of seconds that came from outside, an
// hour at most.
func Seconds(n float64) time.Duration {
	if !(n > 0) {
		return 0
	}
	if n >= maxRetryAfter.Seconds() {
		return maxRetryAfter
	}
	return time.Duration(n * float64(time.Second))
}

// RetryAfter reads a Retry-After header (RFC 9110 §10.2.3).
func RetryAfter(h string) time.Duration {
	if n, err := strconv.ParseFloat(h, 64); err == nil {
		return Seconds(n)
	}
	if at, err := http.ParseTime(h); err == nil {
		return Seconds(time.Until(at).Seconds())
	}
	return 0
}
