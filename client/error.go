package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Errors of this package. Refusals by the server are *holdfast.Error, inside
// an *Error where they came by HTTP.
var (
	// ErrNotConnected: there is no connection now. Nothing was sent.
	ErrNotConnected = errors.New("client: not connected")
	// ErrConnectionLost: the connection ended before the server answered. It
	// may have acted or not.
	ErrConnectionLost = errors.New("client: connection lost before the answer")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("client: closed")
	// ErrDisconnected: the server disconnected this socket for good (packet
	// 41). As with the official clients, the socket stops.
	ErrDisconnected = errors.New("client: disconnected by the server")
	// ErrPingTimeout: nothing was heard from the server for too long.
	ErrPingTimeout = errors.New("client: ping timeout")
	// ErrLeft: the room was left while the join was under way.
	ErrLeft = errors.New("client: room was left")
	// ErrNotRetried: the call met a 401, its token was refreshed, but the body
	// can't be read a second time. Call again with a new one.
	ErrNotRetried = errors.New("client: not retried with the refreshed token: the request's body can't be sent again")
)

// maxErrorBody is how much of an error answer is read, in bytes.
const maxErrorBody = 64 << 10

// Error is an answer with a status of 300 or more. errors.Is finds its code,
// errors.As its *holdfast.Error:
//
//	if errors.Is(err, holdfast.NotFound) { … }
type Error struct {
	// Method and URL are the request's; the URL is without query and user.
	Method, URL string
	// Status is the HTTP status.
	Status int
	// RequestID is the server's name of the request, from the body or the
	// header X-Request-Id; "" where it gave none.
	RequestID string
	// Header is the answer's.
	Header http.Header
	// Body is the answer's, at most 64 KiB of it.
	Body []byte
	// Err has the code, the message and how long to wait (from the body, or
	// the Retry-After header). Where the server gave no code of Holdfast's, the
	// code follows from the status. Never nil.
	Err *holdfast.Error

	notRetried bool
}

// Error names the call, the status and the server's message.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s %s: %d: %v", e.Method, e.URL, e.Status, e.Err)
	if e.RequestID != "" {
		s += " [request " + e.RequestID + "]"
	}
	if e.notRetried {
		s += "; " + ErrNotRetried.Error()
	}
	return s
}

// Unwrap returns Err, and ErrNotRetried where that is so.
func (e *Error) Unwrap() []error {
	if e.notRetried {
		return []error{e.Err, ErrNotRetried}
	}
	return []error{e.Err}
}

// newError reads an error answer. It does not close the body.
func newError(resp *http.Response) *Error {
	e := &Error{Status: resp.StatusCode, Header: resp.Header}
	if req := resp.Request; req != nil {
		u := *req.URL
		u.User, u.RawQuery, u.Fragment = nil, "", ""
		e.Method, e.URL = req.Method, u.String()
	}
	if resp.Body != nil {
		e.Body, _ = io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	}
	e.Err, e.RequestID = refusal(resp.StatusCode, resp.Header, e.Body)
	return e
}

// refusal makes an error of an answer's status, header and body: the body of
// docs/protocol.md §2, or whatever a proxy or another server says.
func refusal(status int, header http.Header, body []byte) (err *holdfast.Error, requestID string) {
	err = &holdfast.Error{Code: codeOfStatus(status)}
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
	if c := holdfast.Code(text(b.Code)); c.Known() {
		err.Code = c
	}
	err.Message = text(b.Error)
	if err.Message == "" {
		err.Message = text(b.Message)
	}
	if err.Message == "" {
		err.Message = http.StatusText(status)
	}
	err.Details = b.Details
	err.RetryAfter = seconds(b.RetryAfter)
	if err.RetryAfter == 0 {
		err.RetryAfter = retryAfter(header.Get("Retry-After"))
	}
	requestID = b.RequestID
	if requestID == "" {
		requestID = header.Get("X-Request-Id")
	}
	return err, requestID
}

// text returns a JSON string's value, "" for anything else.
func text(raw json.RawMessage) string {
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

// maxRetryAfter bounds how long a server can send the client away.
const maxRetryAfter = time.Hour

// seconds makes a duration of a number of seconds that came from outside.
func seconds(n float64) time.Duration {
	if !(n > 0) {
		return 0
	}
	if n >= maxRetryAfter.Seconds() {
		return maxRetryAfter
	}
	return time.Duration(n * float64(time.Second))
}

// retryAfter reads a Retry-After header (RFC 9110 §10.2.3).
func retryAfter(h string) time.Duration {
	if n, err := strconv.ParseFloat(h, 64); err == nil {
		return seconds(n)
	}
	if at, err := http.ParseTime(h); err == nil {
		return seconds(time.Until(at).Seconds())
	}
	return 0
}
