package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/holdfast-dev/holdfast"
)

// The policy of passwords, after NIST SP 800-63B: long enough, and no rules
// about what must be in them.
const (
	// MinPassword is the shortest password, in characters.
	MinPassword = 8
	// MaxPassword is the longest password, in bytes.
	MaxPassword = 256
)

const (
	saltBytes = 16
	hashBytes = 32
	// hashQueue is how many wait for their turn, for each one that has it.
	hashQueue = 64
)

// normalizePassword makes the same password of what different keyboards send
// for it (NIST SP 800-63B §3.1.1.2).
func normalizePassword(password string) string { return norm.NFKC.String(password) }

// checkPassword refuses a new password that the policy does not allow.
func (p *Provider) checkPassword(ctx context.Context, email, password string) error {
	switch {
	case len(password) > MaxPassword:
		return holdfast.Errorf(holdfast.InvalidArgument, "The password is longer than %d bytes", MaxPassword)
	case !utf8.ValidString(password):
		return holdfast.Errorf(holdfast.InvalidArgument, "The password is not UTF-8")
	case utf8.RuneCountInString(normalizePassword(password)) < MinPassword:
		return holdfast.Errorf(holdfast.InvalidArgument, "The password is shorter than %d characters", MinPassword)
	case strings.EqualFold(password, email):
		return holdfast.Errorf(holdfast.InvalidArgument, "The password is the e-mail address")
	}
	if p.cfg.CheckPassword == nil {
		return nil
	}
	if err := p.cfg.CheckPassword(ctx, password); err != nil {
		if ctx.Err() != nil {
			return err
		}
		return &holdfast.Error{Code: holdfast.InvalidArgument, Message: err.Error(), Err: err}
	}
	return nil
}

// hasher works out argon2id, a bounded number of times at once: each one takes
// its memory. It is safe for concurrent use.
type hasher struct {
	// Static after construction.
	params Argon2
	dummy  string        // a hash that no password has
	slots  chan struct{} // one for each hash being worked out

	waiting atomic.Int64
}

func newHasher(params Argon2) *hasher {
	h := &hasher{params: params, slots: make(chan struct{}, params.Parallel)}
	random := make([]byte, saltBytes+hashBytes)
	_, _ = rand.Read(random) // never fails
	h.dummy = formatHash(params, random[:saltBytes], random[saltBytes:])
	return h
}

// hash returns the password's hash in PHC form.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltBytes)
	_, _ = rand.Read(salt) // never fails
	key, err := h.derive(ctx, password, salt, h.params, hashBytes)
	if err != nil {
		return "", err
	}
	return formatHash(h.params, salt, key), nil
}

// verify reports whether the password has this hash, and whether it should be
// hashed anew because the parameters have changed. For a hash of "" it takes
// as long as for another, and is wrong.
func (h *hasher) verify(ctx context.Context, hash, password string) (ok, stale bool, err error) {
	if hash == "" {
		hash = h.dummy
	}
	params, salt, want, err := parseHash(hash)
	if err != nil {
		return false, false, err
	}
	if len(password) > MaxPassword || !utf8.ValidString(password) {
		password = "" // as long as any other wrong one; no password is empty
	}
	key, err := h.derive(ctx, password, salt, params, uint32(len(want)))
	if err != nil {
		return false, false, err
	}
	params.Parallel = h.params.Parallel
	return subtle.ConstantTimeCompare(key, want) == 1 && password != "", params != h.params, nil
}

// derive waits for its turn. argon2 itself can't be interrupted.
func (h *hasher) derive(ctx context.Context, password string, salt []byte, params Argon2, size uint32) ([]byte, error) {
	if h.waiting.Add(1) > int64((1+hashQueue)*cap(h.slots)) {
		h.waiting.Add(-1)
		return nil, &holdfast.Error{Code: holdfast.RateLimited, Message: "Too many sign-ins at once", RetryAfter: 2 * time.Second}
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, fmt.Errorf("identity: %w", ctx.Err())
	}
	defer func() { <-h.slots }()
	return argon2.IDKey([]byte(normalizePassword(password)), salt, params.Time, params.Memory, params.Threads, size), nil
}

func formatHash(p Argon2, salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.Memory, p.Time, p.Threads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

func parseHash(text string) (p Argon2, salt, key []byte, err error) {
	bad := errors.New("identity: a stored password hash is malformed")
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return p, nil, nil, bad
	}
	if n, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.Memory, &p.Time, &p.Threads); n != 3 || err != nil {
		return p, nil, nil, bad
	}
	if p.Memory == 0 || p.Memory > 4<<20 || p.Time == 0 || p.Time > 1000 || p.Threads == 0 {
		return p, nil, nil, bad
	}
	salt, err = base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil || len(salt) < 8 || len(salt) > 64 {
		return p, nil, nil, bad
	}
	key, err = base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(key) < 16 || len(key) > 64 {
		return p, nil, nil, bad
	}
	return p, salt, key, nil
}
