package tokens

import (
	"log/slog"
	"time"
)

// Token is an access token as a client holds it. It is a plain value; its
// String hides the secret, so that it can't end up in a log by accident.
type Token struct {
	// Access is the token itself, as it is sent after "Bearer ".
	Access string
	// Expires is when it ends, by the clock of whoever made it; zero where
	// that is not known or never.
	Expires time.Time
}

// New makes a Token of its text. Expires is taken from the exp claim if the
// text is a JWT that has one; nothing is verified, for only the server can.
func New(access string) Token {
	return Token{Access: access, Expires: expiry(access)}
}

// String tells about the token without giving it away.
func (t Token) String() string {
	switch {
	case t.Access == "":
		return "no token"
	case t.Expires.IsZero():
		return "token without known expiry"
	}
	return "token until " + t.Expires.UTC().Format(time.RFC3339)
}

// GoString is String: %#v shows no secret either.
func (t Token) GoString() string { return t.String() }

// LogValue is String: log/slog shows no secret either.
func (t Token) LogValue() slog.Value { return slog.StringValue(t.String()) }

// maxJWT bounds the text that is looked into for an expiry, in bytes. Servers
// take no larger tokens (docs/protocol.md §1).
const maxJWT = 8 << 10

// maxExpiry is the last second that time.Time carries through JSON (year 9999).
const maxExpiry = 253402300799

// expiry reads the exp claim (RFC 7519 §4.1.4) of a compact JWT; zero if
// there is none or it makes no sense.
func expiry(access string) time.Time {
	c, _ := readClaims(access)
	return moment(c.Expires)
}
