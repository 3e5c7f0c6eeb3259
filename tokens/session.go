package tokens

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Session is what a sign-in or a refresh gives: tokens, and whose they are. It
// is a plain value; its String hides the secrets.
type Session struct {
	// Access is the access token, as it is sent after "Bearer ".
	Access string
	// Refresh is what gets the next one; empty where there is none. A refresh
	// whose answer has none keeps the one from before.
	Refresh string
	// User is who is signed in, and SessionID the public id of the login
	// session. Where they are empty, the claims of Access are looked into.
	User      holdfast.User
	SessionID string
	// Lifetime is how long Access was good for when it was received. 0: it is
	// taken from the claims (exp − iat), else from Expires and this machine's
	// clock; where neither is known the token is taken to last.
	Lifetime time.Duration
	// Expires is when Access ends, by the clock of whoever made it; zero where
	// that is not known or never.
	Expires time.Time
	// Received is when it came here, by this machine's wall clock. A Manager
	// sets it.
	Received time.Time
}

// String tells about the session without giving it away.
func (s Session) String() string {
	if s.Access == "" {
		return "no session"
	}
	return fmt.Sprintf("session of %q, %v", s.User.ID, s.token())
}

// GoString is String: %#v shows no secret either.
func (s Session) GoString() string { return s.String() }

// LogValue is String: log/slog shows no secret either.
func (s Session) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (s Session) token() Token { return Token{Access: s.Access, Expires: s.Expires} }

// same reports whether two sessions are the same tokens; nil is no session.
func same(a, b *Session) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Access == b.Access && a.Refresh == b.Refresh
}

// sameLogin reports whether two sessions come from one sign-in.
func sameLogin(a, b *Session) bool { return a.User.ID == b.User.ID && a.SessionID == b.SessionID }

// claims are what a client reads in an access token. Nothing is verified: only
// the server can, and it decides whatever is read here.
type claims struct {
	Subject   string       `json:"sub"`
	Name      string       `json:"name"`
	Email     string       `json:"email"`
	Roles     []string     `json:"roles"`
	SessionID string       `json:"sid"`
	Expires   *float64     `json:"exp"`
	Issued    *float64     `json:"iat"`
	Rights    *permissions `json:"permissions"`
}

type permissions struct {
	Rooms   json.RawMessage `json:"rooms"`
	Actions []string        `json:"actions"`
}

// readClaims reads the claims of a compact JWT; ok is false for any other text.
func readClaims(access string) (c claims, ok bool) {
	if len(access) > maxJWT {
		return c, false
	}
	_, rest, ok := strings.Cut(access, ".")
	if !ok {
		return c, false
	}
	body, _, ok := strings.Cut(rest, ".")
	if !ok {
		return c, false
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(body, "="))
	if err != nil {
		return c, false
	}
	// A claim of an unexpected type is left out; the others still count.
	var fields map[string]json.RawMessage
	if json.Unmarshal(text, &fields) != nil || fields == nil {
		return c, false
	}
	for name, into := range map[string]any{
		"sub": &c.Subject, "name": &c.Name, "email": &c.Email, "roles": &c.Roles, "sid": &c.SessionID,
		"exp": &c.Expires, "iat": &c.Issued, "permissions": &c.Rights,
	} {
		if value, there := fields[name]; there {
			_ = json.Unmarshal(value, into)
		}
	}
	var role string
	if c.Roles == nil && json.Unmarshal(fields["roles"], &role) == nil && role != "" {
		c.Roles = []string{role} // one role may be a text
	}
	return c, true
}

// moment makes a time of a NumericDate (RFC 7519 §2); zero if it makes no
// sense.
func moment(seconds *float64) time.Time {
	switch {
	case seconds == nil || *seconds <= 0 || math.IsNaN(*seconds):
		return time.Time{}
	case *seconds >= maxExpiry:
		return time.Unix(maxExpiry, 0)
	}
	whole, fraction := math.Modf(*seconds)
	return time.Unix(int64(whole), int64(fraction*1e9))
}

// complete fills in what the claims tell, and when the session came.
func (s Session) complete(now time.Time) Session {
	s.Received = now
	c, _ := readClaims(s.Access)
	if s.User.ID == "" {
		s.User = holdfast.User{ID: c.Subject, Name: c.Name, Email: c.Email, Roles: c.Roles}
	}
	if s.User.Roles == nil && s.User.ID == c.Subject {
		s.User.Roles = c.Roles // a server's user object need not have them
	}
	if s.SessionID == "" {
		s.SessionID = c.SessionID
	}
	expires, issued := moment(c.Expires), moment(c.Issued)
	if s.Expires.IsZero() {
		s.Expires = expires
	}
	if s.Lifetime <= 0 && !expires.IsZero() && expires.After(issued) && !issued.IsZero() {
		s.Lifetime = expires.Sub(issued)
	}
	if s.Lifetime <= 0 && !s.Expires.IsZero() {
		// The two clocks may differ, so this is the last resort. A token that
		// seems to have ended already is tried: the server knows.
		s.Lifetime = max(s.Expires.Sub(now), 0)
	}
	return s
}

// rights returns what the access token says that its holder may do. known is
// false where it says nothing about rooms.
func (s Session) rights() (p holdfast.Permissions, known bool) {
	c, ok := readClaims(s.Access)
	if !ok || c.Rights == nil {
		return p, false
	}
	p.Actions = c.Rights.Actions
	if len(c.Rights.Rooms) == 0 {
		return p, false
	}
	rooms, err := holdfast.ParseRoomPermissions(c.Rights.Rooms)
	if err != nil {
		return p, true // rooms that make no sense grant nothing
	}
	p.Rooms = rooms
	return p, true
}
