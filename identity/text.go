package identity

import (
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/holdfast-dev/holdfast"
)

const (
	maxEmail = 254 // RFC 5321 §4.5.3.1.3, without the angle brackets
	maxName  = 200
)

// NormalizeEmail returns the form in which an e-mail address is stored and
// compared: without space around it, in Unicode's form NFC, in lower case. The
// local part is lowered too: mail servers that tell A@x from a@x apart are not
// met with any more, people who write it both ways are. The error is
// INVALID_ARGUMENT.
func NormalizeEmail(email string) (string, error) {
	if len(email) > 2*maxEmail || !utf8.ValidString(email) {
		return "", errEmail()
	}
	email = strings.ToLower(norm.NFC.String(strings.TrimSpace(email)))
	local, domain, ok := strings.Cut(email, "@")
	if !ok || len(email) > maxEmail || len(local) > 64 || strings.ContainsFunc(email, notInEmail) ||
		strings.HasPrefix(domain, ".") || strings.HasSuffix(domain, ".") || strings.Contains(domain, "..") {
		return "", errEmail()
	}
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Address != email || parsed.Name != "" {
		return "", errEmail()
	}
	return email, nil
}

// notInEmail finds what could make an address look like another, or like more
// than one, besides what the parser refuses.
func notInEmail(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || strings.ContainsRune(`"(),:;<>[\]`, r)
}

func errEmail() error {
	return holdfast.Errorf(holdfast.InvalidArgument, "This is not an e-mail address")
}

// storable reports whether an id from outside can be looked for at all:
// PostgreSQL takes no other text. No id of ours is anything else.
func storable(id string) bool {
	return len(id) <= 256 && utf8.ValidString(id) && strings.IndexByte(id, 0) < 0
}

// cleanText makes text from outside fit to be stored and shown: valid UTF-8
// without control characters, of at most max bytes.
func cleanText(text string, max int) string {
	if len(text) > 4*max {
		text = text[:4*max]
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return -1
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	for len(text) > max {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text
}
