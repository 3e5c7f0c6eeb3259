package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"

	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// maxHeaders bounds the members of a token's header.
const maxHeaders = 32

// parsedToken is a token taken apart; nothing in it is verified.
type parsedToken struct {
	algorithm Algorithm
	keyID     string
	header    []byte // JSON
	claims    []byte // JSON, not checked before the signature is
	signed    string // what the signature is over
	signature []byte
}

// parseToken takes a token in compact serialization apart (RFC 7515 §7.1). It
// is strict: three parts in canonical base64url, none empty.
func parseToken(token string) (*parsedToken, error) {
	t, err := splitToken(token)
	if err != nil {
		return nil, refuse("invalid token", err)
	}
	if err := t.readHeader(); err != nil {
		return nil, refuse("invalid token", err)
	}
	return t, nil
}

func splitToken(token string) (*parsedToken, error) {
	if len(token) > MaxToken {
		return nil, errors.New("auth: the token is too long")
	}
	// Checked here because the decoder skips line ends.
	for i := range len(token) {
		switch c := token[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return nil, errors.New("auth: the token is not base64url")
		}
	}
	header, rest, ok := strings.Cut(token, ".")
	claims, signature, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.Contains(signature, ".") {
		return nil, errors.New("auth: the token does not have three parts")
	}
	t := &parsedToken{signed: token[:len(header)+1+len(claims)]}
	for _, part := range []struct {
		text string
		to   *[]byte
	}{{header, &t.header}, {claims, &t.claims}, {signature, &t.signature}} {
		if part.text == "" {
			return nil, errors.New("auth: a part of the token is empty")
		}
		var err error
		if *part.to, err = base64.RawURLEncoding.Strict().DecodeString(part.text); err != nil {
			return nil, errors.New("auth: the token is not base64url")
		}
	}
	return t, nil
}

// readHeader reads the members that matter: alg and kid, typ, and those that
// forbid to go on. jku, jwk, x5u and x5c are never looked at: who makes the
// token does not choose the key.
func (t *parsedToken) readHeader() error {
	if err := jsonscan.Check(t.header, jsonscan.Limits{Depth: 4, UniqueKeys: true}); err != nil {
		return err
	}
	if t.header[0] != '{' {
		return errors.New("auth: the header is not an object")
	}
	count := 0
	for key, value := range members(t.header) {
		if count++; count > maxHeaders {
			return errors.New("auth: the header has too many members")
		}
		switch key {
		case "alg":
			var alg string
			if !readString(value, &alg) || Algorithm(alg).family() == unknownFamily {
				return errors.New("auth: unknown algorithm")
			}
			t.algorithm = Algorithm(alg)
		case "kid":
			if !readString(value, &t.keyID) || len(t.keyID) > maxKeyID {
				return errors.New("auth: bad kid")
			}
		case "typ":
			var typ string
			if string(value) != "null" && !readString(value, &typ) || !accessType(typ) {
				return errors.New("auth: the token is not an access token (typ)")
			}
		case "crit", "b64":
			// No extension is known here (RFC 7515 §4.1.11), least of all
			// unencoded or detached payloads (RFC 7797).
			return errors.New("auth: unknown critical header")
		}
	}
	if t.algorithm == "" {
		return errors.New("auth: the header has no alg")
	}
	return nil
}

// accessType reports whether typ is one of an access token, or says nothing.
// A token made for something else, such as a logout token, is not taken for
// one (RFC 8725 §3.11).
func accessType(typ string) bool {
	typ = strings.ToLower(typ)
	switch strings.TrimPrefix(typ, "application/") {
	case "", "jwt", "at+jwt":
		return true
	}
	return false
}

// verifiedBy tries those of keys that have t's algorithm, and its kid or none;
// without a kid in the token, all that have its algorithm. named reports
// whether one of them has t's kid.
func (t *parsedToken) verifiedBy(keys []verifier) (named, ok bool) {
	tries := 0
	for i := range keys {
		k := &keys[i]
		if !k.has(t.algorithm) || k.id != "" && t.keyID != "" && k.id != t.keyID {
			continue
		}
		named = named || k.id != "" && k.id == t.keyID
		if tries++; tries > maxTries {
			return named, false
		}
		if t.algorithm.method().Verify(t.signed, t.signature, k.key) == nil {
			return named, true
		}
	}
	return named, false
}

func (v *verifier) has(a Algorithm) bool {
	for _, own := range v.algorithms {
		if own == a {
			return true
		}
	}
	return false
}

// Inspect takes a token apart without verifying it, for people to look at:
// its header and claims as JSON. It proves nothing.
func Inspect(token string) (header, claims json.RawMessage, err error) {
	t, err := splitToken(token)
	if err != nil {
		return nil, nil, err
	}
	for _, part := range [][]byte{t.header, t.claims} {
		if err := jsonscan.Check(part, jsonscan.Limits{}); err != nil {
			return nil, nil, errors.New("auth: the token does not hold JSON")
		}
	}
	return t.header, t.claims, nil
}
