package client

import (
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/internal/refusal"
)

// Errors of this package. Refusals by the server are *holdfast.Error, inside
// an *Error where they came by HTTP.
var (
	// ErrNotConnected: there is no connection now. Nothing was sent.
	ErrNotConnected = errors.New("client: not connected")
	// ErrConnectionLost: the connection ended before the server answered. It
	// may have acted or not.
	ErrConnectionLost = errors.New("client: connection lost before the answer")
	// ErrSignedOut: the Source was signed out, here or elsewhere. The socket
	// stops; Connect starts it again. Where another user has signed in instead,
	// it does not stop: it reconnects as that one, and the rooms are left.
	ErrSignedOut = errors.New("client: signed out")
	// ErrQueueFull: the event does not fit into SocketConfig.Queue and was not
	// kept.
	ErrQueueFull = fmt.Errorf("client: %w", queue.ErrFull)
	// ErrElsewhere: another socket or process that shares the queue sent the
	// event and got the ack.
	ErrElsewhere = errors.New("client: sent and acknowledged by somebody else who shares the queue")
	// ErrNoUser: the event can't be queued, since it is not known whose it is:
	// the Source doesn't tell, its token says nothing, and there was no
	// connection yet.
	ErrNoUser = errors.New("client: not queued: who is signed in is not known before the first connection")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("client: closed")
	// ErrDisconnected: the server disconnected this socket for good (packet
	// 41). As with the official clients, the socket stops.
	ErrDisconnected = errors.New("client: disconnected by the server")
	// ErrPingTimeout: nothing was heard from the server for too long.
	ErrPingTimeout = errors.New("client: ping timeout")
	// ErrLeft: the room was left while the join was under way.
	ErrLeft = errors.New("client: room was left")
	// ErrNotRetried: the call met a 401 or CSRF_MISMATCH and the token was
	// renewed, but the body can't be read a second time. Call again with a new
	// one.
	ErrNotRetried = errors.New("client: not retried with the renewed token: the request's body can't be sent again")
)

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
		e.Body, _ = io.ReadAll(io.LimitReader(resp.Body, refusal.MaxBody))
	}
	r := refusal.Read(resp.StatusCode, resp.Header, e.Body)
	e.Err, e.RequestID = r.Err, r.RequestID
	return e
}
