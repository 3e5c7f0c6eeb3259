package holdfast

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Error is a refusal. Its Code and Message are shown to the peer; Err never
// leaves the process. Two Errors are the same to errors.Is when their codes
// are; errors.Is(err, holdfast.Forbidden) works as well.
type Error struct {
	// Code says what kind of refusal it is.
	Code Code
	// Message is one sentence for people. It must not hold secrets.
	Message string
	// RetryAfter, where positive, says how long to wait before trying again.
	// It is sent in whole seconds, rounded up.
	RetryAfter time.Duration
	// Details is optional JSON for the application's own errors.
	Details json.RawMessage
	// Err is the cause, for logs and errors.Is on this side.
	Err error
}

// Errorf makes an Error; the format is as fmt.Errorf's, %w included. The
// whole text becomes the Message, which is shown to the peer: a cause that
// may hold secrets goes into the field Err instead.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	e := &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
	if _, ok := err.(interface{ Unwrap() []error }); ok { // more than one %w
		e.Err = err
	}
	return e
}

// Error returns the message and the code.
func (e *Error) Error() string {
	if e == nil {
		return "<nil>"
	}
	if e.Message == "" {
		return string(e.Code)
	}
	return e.Message + " (" + string(e.Code) + ")"
}

// PublicMessage is the sentence to show to the peer: the Message, or the
// code's standard sentence where there is none, and always for INTERNAL,
// whose Message may tell about the inside.
func (e *Error) PublicMessage() string {
	if e == nil {
		return Internal.sentence()
	}
	if e.Message == "" || e.Code == Internal || !e.Code.Known() {
		return e.Code.sentence()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// Is reports whether target is a Code, or an *Error, with e's code.
func (e *Error) Is(target error) bool {
	if e == nil {
		return false
	}
	switch t := target.(type) {
	case Code:
		return t == e.Code
	case *Error:
		return t != nil && t.Code == e.Code
	}
	return false
}

// RetryAfterSeconds returns RetryAfter in whole seconds, rounded up; 0 for none.
func (e *Error) RetryAfterSeconds() int64 {
	if e == nil || e.RetryAfter <= 0 {
		return 0
	}
	seconds := int64(e.RetryAfter / time.Second)
	if e.RetryAfter%time.Second > 0 {
		seconds++
	}
	return seconds
}

// AsError makes any error fit to be shown to a peer. An *Error in the chain is
// returned as it is, a bare Code is given a message, a context's end becomes
// Internal with a retryable message, and everything else becomes Internal
// with err as its hidden cause. AsError(nil) is nil, and so is that of a nil
// *Error; an error that wraps a nil *Error is an error.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok {
		return e
	}
	if e, ok := errors.AsType[*Error](err); ok && e != nil {
		return e
	}
	if c, ok := errors.AsType[Code](err); ok {
		return &Error{Code: c, Message: c.sentence(), Err: err}
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return &Error{Code: Internal, Message: "The server did not finish in time", Err: err}
	}
	return &Error{Code: Internal, Message: Internal.sentence(), Err: err}
}

// CodeOf returns the code that a peer would see for err: "" for nil.
func CodeOf(err error) Code {
	if e := AsError(err); e != nil {
		return e.Code
	}
	return ""
}

// sentence is the text for people where nobody wrote a better one.
func (c Code) sentence() string {
	switch c {
	case Unauthenticated:
		return "Unauthorized"
	case TokenExpired:
		return "Unauthorized: token expired"
	case PermissionVersionStale:
		return "Unauthorized: permissions changed, refresh the token"
	case SessionRevoked:
		return "Unauthorized: session revoked"
	case InvalidCredentials:
		return "Wrong e-mail address or password"
	case RefreshReused:
		return "Unauthorized: refresh token was already used"
	case CSRFMismatch:
		return "CSRF token missing or wrong"
	case OriginNotAllowed:
		return "This origin is not allowed"
	case Forbidden:
		return "Not allowed"
	case NotFound:
		return "Not found"
	case Conflict:
		return "Conflicts with the present state"
	case InvalidArgument:
		return "Invalid request"
	case RateLimited:
		return "Too many requests"
	case MessageTooLarge:
		return "The message is too large"
	case ProtocolError:
		return "The message breaks the protocol"
	case SlowConsumer:
		return "The connection reads too slowly"
	case ConnectionLimit:
		return "Too many connections"
	case GoingAway:
		return "The server is going away"
	}
	return "Internal error"
}

// New returns an Error of code c with its standard message.
func (c Code) New() *Error { return &Error{Code: c, Message: c.sentence()} }
