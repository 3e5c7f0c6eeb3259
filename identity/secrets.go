package identity

import (
	"fmt"
	"log/slog"
)

// What carries secrets shows none when it is printed or logged by mistake.

// String leaves the secrets out.
func (l Login) String() string {
	return fmt.Sprintf("login(user %s, session %s)", l.User.ID, l.Session.ID)
}

// GoString is String, for %#v.
func (l Login) GoString() string { return l.String() }

// LogValue is String, for slog.
func (l Login) LogValue() slog.Value { return slog.StringValue(l.String()) }

// String leaves the password out.
func (r SignInRequest) String() string { return fmt.Sprintf("sign-in(%s)", r.Email) }

// GoString is String, for %#v.
func (r SignInRequest) GoString() string { return r.String() }

// LogValue is String, for slog.
func (r SignInRequest) LogValue() slog.Value { return slog.StringValue(r.String()) }

// String leaves the password and the invitation out.
func (u NewUser) String() string { return fmt.Sprintf("new user(%s)", u.Email) }

// GoString is String, for %#v.
func (u NewUser) GoString() string { return u.String() }

// LogValue is String, for slog.
func (u NewUser) LogValue() slog.Value { return slog.StringValue(u.String()) }

// String leaves the secret out.
func (s TOTPSetup) String() string { return "second factor" }

// GoString is String, for %#v.
func (s TOTPSetup) GoString() string { return s.String() }

// LogValue is String, for slog.
func (s TOTPSetup) LogValue() slog.Value { return slog.StringValue(s.String()) }

// String leaves the code out.
func (m Mail) String() string { return fmt.Sprintf("mail(%s to %s)", m.Kind, m.To) }

// GoString is String, for %#v.
func (m Mail) GoString() string { return m.String() }

// LogValue is String, for slog.
func (m Mail) LogValue() slog.Value { return slog.StringValue(m.String()) }
