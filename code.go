package holdfast

import "net/http"

// Code names the reason of a refusal. The same codes are used on every
// transport: in HTTP bodies, in Socket.IO acks and connect errors, and as the
// reason of a WebSocket close. docs/protocol.md §2 has the whole table.
//
// A Code is itself an error, so that callers can write
//
//	if errors.Is(err, holdfast.Forbidden) { … }
type Code string

// The codes. Nothing else is ever sent as a code.
const (
	// Unauthenticated: no credential was given, or it is not valid.
	Unauthenticated Code = "UNAUTHENTICATED"
	// TokenExpired: the credential was valid once.
	TokenExpired Code = "TOKEN_EXPIRED"
	// PermissionVersionStale: the user's permissions changed after the token
	// was made; a refreshed token carries the new ones.
	PermissionVersionStale Code = "PERMISSION_VERSION_STALE"
	// SessionRevoked: the login session was ended.
	SessionRevoked Code = "SESSION_REVOKED"
	// InvalidCredentials: a sign-in form was filled in wrongly.
	InvalidCredentials Code = "INVALID_CREDENTIALS"
	// RefreshReused: a used refresh token was presented again; its family is dead.
	RefreshReused Code = "REFRESH_REUSED"
	// CSRFMismatch: the X-CSRF-Token header is missing or of another session.
	CSRFMismatch Code = "CSRF_MISMATCH"
	// OriginNotAllowed: the page's origin may not talk to this server.
	OriginNotAllowed Code = "ORIGIN_NOT_ALLOWED"
	// Forbidden: known, and not allowed.
	Forbidden Code = "FORBIDDEN"
	// NotFound: there is no such thing, event or method.
	NotFound Code = "NOT_FOUND"
	// Conflict: the request contradicts the present state.
	Conflict Code = "CONFLICT"
	// InvalidArgument: the request itself is wrong and will stay so.
	InvalidArgument Code = "INVALID_ARGUMENT"
	// RateLimited: too much, too fast; see RetryAfter.
	RateLimited Code = "RATE_LIMITED"
	// MessageTooLarge: one message is over its limit.
	MessageTooLarge Code = "MESSAGE_TOO_LARGE"
	// ProtocolError: the peer does not speak the protocol.
	ProtocolError Code = "PROTOCOL_ERROR"
	// SlowConsumer: the peer reads more slowly than it is sent to.
	SlowConsumer Code = "SLOW_CONSUMER"
	// ConnectionLimit: too many connections; see RetryAfter.
	ConnectionLimit Code = "CONNECTION_LIMIT"
	// GoingAway: the server drains before it stops.
	GoingAway Code = "GOING_AWAY"
	// Internal: a fault of the server.
	Internal Code = "INTERNAL"
)

// Action is what a client does after a refusal.
type Action string

// The actions of the table of codes.
const (
	// ActionStop: report the refusal; trying again changes nothing.
	ActionStop Action = "stop"
	// ActionSignedOut: the session is over; sign in again.
	ActionSignedOut Action = "signed-out"
	// ActionRefreshOnce: refresh the token and try once more, then stop.
	ActionRefreshOnce Action = "refresh-once"
	// ActionRefresh: refresh the token and go on. It never means a sign-out.
	ActionRefresh Action = "refresh"
	// ActionNewCSRF: fetch a new CSRF token and try once more.
	ActionNewCSRF Action = "new-csrf"
	// ActionWait: wait RetryAfter, or back off where there is none, and try again.
	ActionWait Action = "wait"
	// ActionReconnect: connect again with jitter, and resume.
	ActionReconnect Action = "reconnect"
)

// CodeInfo is one row of the table of codes.
type CodeInfo struct {
	Code Code
	// HTTP is the response status; 0 where the code never answers a request.
	HTTP int
	// Close is the WebSocket close code; 0 where the connection stays, or
	// where the handshake itself is refused.
	Close int
	// Action is what a client does.
	Action Action
}

var codeTable = [...]CodeInfo{
	{Unauthenticated, http.StatusUnauthorized, 4001, ActionRefreshOnce},
	{TokenExpired, http.StatusUnauthorized, 4002, ActionRefresh},
	{PermissionVersionStale, http.StatusUnauthorized, 4002, ActionRefresh},
	{SessionRevoked, http.StatusUnauthorized, 4001, ActionSignedOut},
	{InvalidCredentials, http.StatusBadRequest, 0, ActionStop},
	{RefreshReused, http.StatusUnauthorized, 0, ActionSignedOut},
	{CSRFMismatch, http.StatusForbidden, 0, ActionNewCSRF},
	{OriginNotAllowed, http.StatusForbidden, 0, ActionStop},
	{Forbidden, http.StatusForbidden, 4003, ActionStop},
	{NotFound, http.StatusNotFound, 0, ActionStop},
	{Conflict, http.StatusConflict, 0, ActionStop},
	{InvalidArgument, http.StatusBadRequest, 0, ActionStop},
	{RateLimited, http.StatusTooManyRequests, 4008, ActionWait},
	{MessageTooLarge, http.StatusRequestEntityTooLarge, 0, ActionStop},
	{ProtocolError, http.StatusBadRequest, 1002, ActionStop},
	{SlowConsumer, 0, 4009, ActionReconnect},
	{ConnectionLimit, http.StatusServiceUnavailable, 4010, ActionWait},
	{GoingAway, http.StatusServiceUnavailable, 1001, ActionReconnect},
	{Internal, http.StatusInternalServerError, 1011, ActionWait},
}

// Codes returns the table of codes, in the order of docs/protocol.md. The
// slice is the caller's own.
func Codes() []CodeInfo { return append([]CodeInfo(nil), codeTable[:]...) }

// Info returns the code's row. An unknown code, which a newer peer may send,
// is treated as Internal.
func (c Code) Info() CodeInfo {
	for _, info := range codeTable {
		if info.Code == c {
			return info
		}
	}
	info := Internal.Info()
	info.Code = c
	return info
}

// Known reports whether c is in the table of codes.
func (c Code) Known() bool {
	for _, info := range codeTable {
		if info.Code == c {
			return true
		}
	}
	return false
}

// Error makes a Code usable with errors.Is.
func (c Code) Error() string { return "holdfast: " + string(c) }
