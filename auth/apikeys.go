package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Scope is something that an API key may be used for. Scopes add up as bits.
type Scope uint8

// The scopes of API keys.
const (
	ScopePublish Scope = 1 << iota // publish events to rooms
	ScopeRead                      // read history and presence of rooms
	ScopeClose                     // close connections and revoke
	ScopeBump                      // raise permission versions
	// AllScopes is every scope there is.
	AllScopes = ScopePublish | ScopeRead | ScopeClose | ScopeBump
)

// ParseScopes adds up the scopes of those names: "publish", "read", "close",
// "bump".
func ParseScopes(names ...string) (Scope, error) {
	var scopes Scope
	for _, name := range names {
		switch name {
		case "publish":
			scopes |= ScopePublish
		case "read":
			scopes |= ScopeRead
		case "close":
			scopes |= ScopeClose
		case "bump":
			scopes |= ScopeBump
		default:
			return 0, fmt.Errorf("auth: unknown scope %.40q: it is publish, read, close or bump", name)
		}
	}
	return scopes, nil
}

// Has reports whether s includes all of want.
func (s Scope) Has(want Scope) bool { return s&want == want }

// String returns the names of the scopes in s, joined by commas.
func (s Scope) String() string {
	var names []string
	for i, name := range []string{"publish", "read", "close", "bump"} {
		if s.Has(1 << i) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// KeyHash is the SHA-256 of an API key's secret. It is all that needs to be
// kept of a key: its secret has 256 random bits, so that no slow hash is
// needed. As text it is 64 hexadecimal digits.
type KeyHash [sha256.Size]byte

// MarshalText returns the hexadecimal digits.
func (h KeyHash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads hexadecimal digits.
func (h *KeyHash) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(h) || len(text)%2 != 0 {
		return errors.New("auth: the hash of an API key has 64 hexadecimal digits")
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// APIKey is what is known about a backend's key; the key itself is not.
type APIKey struct {
	// ID is the public part of the key. "static" for a configured one.
	ID string `json:"id"`
	// Hash is that of the key's secret.
	Hash KeyHash `json:"hash"`
	// Scopes are what it may be used for.
	Scopes Scope `json:"scopes"`
	// Rooms are those that it may publish to (verb publish) and read (verb
	// join). The zero value is none.
	Rooms holdfast.RoomPermissions `json:"rooms"`
	// Expires is when it ends; zero for never.
	Expires time.Time `json:"expires,omitzero"`
}

// Allow returns a FORBIDDEN error unless the key has the scope.
func (k *APIKey) Allow(scope Scope) error {
	if k == nil || !k.Scopes.Has(scope) {
		return holdfast.Errorf(holdfast.Forbidden, "The API key lacks the scope %s", scope)
	}
	return nil
}

// AllowRoom returns a FORBIDDEN error unless the key has the scope, which is
// ScopePublish or ScopeRead, and may do so in room.
func (k *APIKey) AllowRoom(scope Scope, room string) error {
	if err := k.Allow(scope); err != nil {
		return err
	}
	verb := holdfast.VerbJoin
	if scope == ScopePublish {
		verb = holdfast.VerbPublish
	}
	if !k.Rooms.Verbs(room).Has(verb) {
		return holdfast.Errorf(holdfast.Forbidden, "The API key does not include this room")
	}
	return nil
}

const (
	apiKeyPrefix  = "hfk_"
	apiKeyIDBytes = 10 // 16 characters
	maxAPIKey     = 512
)

// keyText is base32 in lower case: no character that a shell, a URL or the
// key's own underscores could mistake.
func keyText(random []byte) string {
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(random))
}

// NewAPIKey makes a key: hfk_<id>_<secret>, which is to be shown once and not
// kept, and its record.
func NewAPIKey(scopes Scope, rooms holdfast.RoomPermissions) (string, APIKey) {
	random := make([]byte, apiKeyIDBytes+sha256.Size)
	_, _ = rand.Read(random) // never fails
	id, secret := keyText(random[:apiKeyIDBytes]), keyText(random[apiKeyIDBytes:])
	return apiKeyPrefix + id + "_" + secret,
		APIKey{ID: id, Hash: sha256.Sum256([]byte(secret)), Scopes: scopes, Rooms: rooms}
}

// IsAPIKey reports whether a bearer token has the form of a made API key. A
// configured static key may have any form.
func IsAPIKey(token string) bool { return strings.HasPrefix(token, apiKeyPrefix) }

// APIKeysConfig says which API keys are good. The zero value: none.
type APIKeysConfig struct {
	// Keys are the records of made keys. Their ids must differ.
	Keys []APIKey
	// Static is one key in plain text, from a flag or the environment; empty
	// for none. It has every scope and every room.
	Static Secret
	// Lookup finds the record of a key that is not among Keys; nil: there are
	// no others. It returns nil and no error for an unknown id. An error
	// counts as INTERNAL.
	Lookup func(ctx context.Context, id string) (*APIKey, error)
}

// APIKeys verifies API keys. It is safe for concurrent use.
type APIKeys struct {
	// Static after construction.
	keys   map[string]APIKey
	static *APIKey
	lookup func(ctx context.Context, id string) (*APIKey, error)
}

// NewAPIKeys returns an error if a record has no id or no hash, or an id is
// there twice.
func NewAPIKeys(cfg APIKeysConfig) (*APIKeys, error) {
	k := &APIKeys{keys: make(map[string]APIKey, len(cfg.Keys)), lookup: cfg.Lookup}
	for _, key := range cfg.Keys {
		if key.ID == "" || strings.Contains(key.ID, "_") || key.Hash == (KeyHash{}) {
			return nil, fmt.Errorf("auth: API key %.40q needs an id without '_', and a hash", key.ID)
		}
		if _, ok := k.keys[key.ID]; ok {
			return nil, fmt.Errorf("auth: API key %.40q is there twice", key.ID)
		}
		k.keys[key.ID] = key
	}
	if len(cfg.Static) > 0 {
		if len(cfg.Static) > maxAPIKey {
			return nil, fmt.Errorf("auth: an API key is longer than %d bytes", maxAPIKey)
		}
		k.static = &APIKey{
			ID:     "static",
			Hash:   sha256.Sum256(cfg.Static),
			Scopes: AllScopes,
			Rooms:  holdfast.MustRoomList("**"),
		}
	}
	return k, nil
}

// IDs returns the ids of the configured keys, sorted.
func (k *APIKeys) IDs() []string { return slices.Sorted(maps.Keys(k.keys)) }

// Verify returns the record of the key, which the caller must not change. The
// error is UNAUTHENTICATED if the key is unknown, wrong or expired, and
// INTERNAL if it could not be looked up. Secrets are compared as hashes in
// constant time.
func (k *APIKeys) Verify(ctx context.Context, key string) (*APIKey, error) {
	if key == "" || len(key) > maxAPIKey {
		return nil, errAPIKey()
	}
	if k.static != nil {
		hash := sha256.Sum256([]byte(key))
		if subtle.ConstantTimeCompare(hash[:], k.static.Hash[:]) == 1 {
			return k.static, nil
		}
	}
	rest, ok := strings.CutPrefix(key, apiKeyPrefix)
	if !ok {
		return nil, errAPIKey()
	}
	id, secret, ok := strings.Cut(rest, "_")
	if !ok || id == "" || secret == "" {
		return nil, errAPIKey()
	}
	var record *APIKey
	if known, ok := k.keys[id]; ok {
		record = &known
	} else if k.lookup != nil {
		var err error
		if record, err = k.lookup(ctx, id); err != nil {
			return nil, &holdfast.Error{Code: holdfast.Internal, Message: "The API key could not be looked up", Err: err}
		}
	}
	// An unknown id costs the same comparison as a wrong secret.
	var want KeyHash
	if record != nil {
		want = record.Hash
	}
	hash := sha256.Sum256([]byte(secret))
	if subtle.ConstantTimeCompare(hash[:], want[:]) != 1 || record == nil || record.Hash == (KeyHash{}) {
		return nil, errAPIKey()
	}
	if !record.Expires.IsZero() && !time.Now().Before(record.Expires) {
		return nil, refuse("API key expired", nil)
	}
	return record, nil
}

func errAPIKey() *holdfast.Error { return refuse("invalid API key", nil) }
