package client

import (
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/refusal"
)

// Events that a Holdfast server sends of its own. They come to handlers as
// any other event does:
//
//	client.On(sock, client.EventExpiring, func(ctx context.Context, e client.Expiring) { … })
//
// The socket itself does what they ask for.
const (
	// EventSession, with a Session, comes after each connection.
	EventSession = "auth:session"
	// EventExpiring, with an Expiring, asks for a newer token. The socket takes
	// one from its Source and presents it on the same connection.
	EventExpiring = "auth:expiring"
	// EventClosing, with a Closing, says why the server is about to close the
	// connection.
	EventClosing = "auth:closing"
)

// Session is who the server takes this connection for.
type Session struct {
	// User is who is signed in.
	User holdfast.User `json:"user"`
	// Connection is the public id of the connection.
	Connection string `json:"connection"`
	// ExpiresAt is when the credential ends, in ms of Unix time by the server's
	// clock; ExpiresIn is the same in seconds from the sending. 0: never.
	ExpiresAt int64 `json:"expiresAt"`
	ExpiresIn int64 `json:"expiresIn"`
	// Features says what the server can do: "refresh", "id", "since".
	Features []string `json:"features"`
}

// Has reports whether the server has a feature.
func (s Session) Has(feature string) bool { return slices.Contains(s.Features, feature) }

// Expiring announces the end of the credential.
type Expiring struct {
	// ExpiresAt and ExpiresIn are as in Session.
	ExpiresAt int64 `json:"expiresAt"`
	ExpiresIn int64 `json:"expiresIn"`
	// Reason says whether it is the token's time or the user's permissions.
	Reason string `json:"reason"`
}

// Closing is the server's reason for closing a connection.
type Closing struct {
	Code    holdfast.Code `json:"code"`
	Message string        `json:"message"`
	// RetryAfter is in seconds; 0 for none.
	RetryAfter float64 `json:"retryAfter"`
}

func (c Closing) err() *holdfast.Error {
	return &holdfast.Error{Code: c.Code, Message: c.Message, RetryAfter: refusal.Seconds(c.RetryAfter)}
}

// Session returns what the server said about the present connection. ok is
// false where there is no connection, and with a server that sends no
// auth:session: a plain Socket.IO server, or a Holdfast server that admits
// this connection anonymously. It follows a connection by a moment: a handler
// of EventSession is called when it is there, and so it is once the server has
// answered anything.
func (s *Socket) Session() (session Session, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil || s.conn.session == nil {
		return Session{}, false
	}
	return *s.conn.session, true
}

// ExpiryTime returns ExpiresAt as a time, zero for never.
func (s Session) ExpiryTime() time.Time {
	if s.ExpiresAt <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(s.ExpiresAt)
}
