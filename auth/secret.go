package auth

import (
	"errors"
	"fmt"
	"log/slog"
)

// redacted is all that is ever shown of a Secret.
const redacted = "[redacted]"

// Secret is a key or password. However it is printed, logged with slog or
// encoded as JSON or text, it shows as [redacted]; []byte(s) and string(s)
// are the secret itself.
type Secret []byte

// String returns "[redacted]", or "" if there is no secret.
func (s Secret) String() string {
	if len(s) == 0 {
		return ""
	}
	return redacted
}

// Format prints String whatever the verb is, %x, %d and %#v included.
func (s Secret) Format(f fmt.State, _ rune) { printRedacted(f, s.String()) }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String; it also is what encoding/json uses.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes text as the secret.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = append(Secret(nil), text...)
	return nil
}

// Format prints that there is a credential, and nothing of it.
func (c Credential) Format(f fmt.State, _ rune) { printRedacted(f, "auth.Credential"+redacted) }

// LogValue is the same for slog.
func (c Credential) LogValue() slog.Value { return slog.StringValue("auth.Credential" + redacted) }

// Format prints the key's id and nothing else of it.
func (k SigningKey) Format(f fmt.State, _ rune) {
	printRedacted(f, "auth.SigningKey("+k.ID+")"+redacted)
}

// LogValue is the same for slog.
func (k SigningKey) LogValue() slog.Value {
	return slog.StringValue("auth.SigningKey(" + k.ID + ")" + redacted)
}

// Format prints the type's name: what is inside are keys.
func (j *JWT) Format(f fmt.State, _ rune) { printRedacted(f, "auth.JWT"+redacted) }

func printRedacted(f fmt.State, text string) {
	_, _ = f.Write([]byte(text)) // fmt keeps the error
}

// SecretFromEnv returns the HMAC secret that the environment names:
// HOLDFAST_JWT_SECRET, else JWT_SECRET, else TEST_JWT_SECRET; nil if none is
// set. It is an error if it comes to the latter two and they are both set,
// and differ: it would be luck which tokens are good. getenv is os.Getenv, or
// another source; an empty value counts as unset.
func SecretFromEnv(getenv func(string) string) (Secret, error) {
	if own := getenv("HOLDFAST_JWT_SECRET"); own != "" {
		return Secret(own), nil
	}
	secret, test := getenv("JWT_SECRET"), getenv("TEST_JWT_SECRET")
	switch {
	case secret == "" && test == "":
		return nil, nil
	case secret == "":
		return Secret(test), nil
	case test != "" && test != secret:
		return nil, errors.New("auth: JWT_SECRET and TEST_JWT_SECRET are both set and differ: unset one of them, or set HOLDFAST_JWT_SECRET")
	}
	return Secret(secret), nil
}
