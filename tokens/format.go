package tokens

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// fileVersion is that of the form in which stores keep a session.
const fileVersion = 1

// kept is a session as it is written.
type kept struct {
	Version    int           `json:"version"`
	Access     string        `json:"access"`
	Refresh    string        `json:"refresh,omitempty"`
	User       holdfast.User `json:"user"`
	SessionID  string        `json:"sessionId,omitempty"`
	LifetimeMS int64         `json:"lifetimeMs,omitempty"`
	ExpiresAt  int64         `json:"expiresAt,omitempty"` // epoch milliseconds, the server's clock
	ReceivedAt int64         `json:"receivedAt"`          // the same, this machine's
}

// EncodeSession makes the text that stores keep of a session: JSON, secrets
// included. It is for those who write a Store of their own.
func EncodeSession(s *Session) []byte {
	k := kept{
		Version: fileVersion, Access: s.Access, Refresh: s.Refresh, User: s.User, SessionID: s.SessionID,
		LifetimeMS: s.Lifetime.Milliseconds(), ReceivedAt: s.Received.UnixMilli(),
	}
	if !s.Expires.IsZero() {
		k.ExpiresAt = s.Expires.UnixMilli()
	}
	data, err := json.Marshal(k)
	if err != nil {
		panic(err) // of strings and numbers alone: can't be
	}
	return append(data, '\n')
}

// DecodeSession reads what EncodeSession has made. Its errors don't quote the
// text; a Store gives them in a *CorruptError.
func DecodeSession(data []byte) (*Session, error) {
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		// The message may quote the text, and the text is a secret.
		return nil, errors.New("it is no JSON")
	}
	switch {
	case k.Version > fileVersion:
		return nil, fmt.Errorf("it is of version %d, and this program reads %d", k.Version, fileVersion)
	case k.Version < 1 || k.Access == "":
		return nil, errors.New("it has no token")
	}
	s := &Session{
		Access: k.Access, Refresh: k.Refresh, User: k.User, SessionID: k.SessionID,
		Received: time.UnixMilli(k.ReceivedAt),
	}
	if k.LifetimeMS > 0 && k.LifetimeMS <= maxLifetime.Milliseconds() {
		s.Lifetime = time.Duration(k.LifetimeMS) * time.Millisecond
	}
	if k.ExpiresAt > 0 && k.ExpiresAt <= maxExpiry*1000 {
		s.Expires = time.UnixMilli(k.ExpiresAt)
	}
	return s, nil
}
