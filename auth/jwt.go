package auth

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Limits and defaults of tokens.
const (
	// MaxToken bounds a token, in bytes.
	MaxToken = 8 << 10
	// DefaultLeeway is the clock skew that is allowed.
	DefaultLeeway = 5 * time.Second
	// DefaultMaxLifetime is how far ahead a token may expire.
	DefaultMaxLifetime = 24 * time.Hour

	maxKeyID = 256 // bytes of a kid
	maxUser  = 256 // bytes of a user id
	// maxTries bounds the keys that a token without a kid is tried with.
	maxTries = 16
)

// JWTConfig says which tokens are good. At least one of Secret, Keys and
// JWKSURL must be set, and DefaultRooms.
type JWTConfig struct {
	// Secret verifies tokens by HMAC: HS256 if it has at least 32 bytes,
	// HS384 from 48, HS512 from 64. A shorter one is an error.
	Secret Secret
	// Keys verify tokens by public key, each with its own algorithms.
	Keys []Key
	// JWKSURL is where public keys are fetched from, over https or http. They
	// are kept, and fetched anew every RefreshInterval, and once a token names
	// a key that is not among them, at most every 10 seconds. While the URL
	// can't be reached the last keys stay good; while there never were any,
	// every token is refused with INTERNAL, and the fetch tried again.
	JWKSURL string
	// Algorithms narrows what Secret, Keys and the keys at JWKSURL are good
	// for; empty: all that they are bound to. A key at JWKSURL that names no
	// algorithm is good for those here that its kind goes with, else for
	// the usual one of its kind (RS256 for RSA).
	Algorithms []Algorithm

	// Issuer is the iss that a token must have; empty: any, or none.
	Issuer string
	// Audience is what a token's aud must include at least one of; empty: any,
	// or none.
	Audience []string
	// UserClaim is the claim that holds the user's id; default "sub". It is
	// required. A claim other than sub may also be a whole number.
	UserClaim string
	// Leeway is the clock skew allowed for exp, nbf and iat; 0:
	// DefaultLeeway, negative: none.
	Leeway time.Duration
	// MaxLifetime is how far ahead a token may expire, and how long after
	// its iat; default DefaultMaxLifetime. It is also how long a revocation
	// has to be remembered.
	MaxLifetime time.Duration
	// DefaultRooms are the rooms of a token that does not have
	// permissions.rooms. It must be set, since whoever issues the tokens may
	// not know of it: nil is an error.
	DefaultRooms *holdfast.RoomPermissions

	// HTTPClient fetches JWKSURL; nil: one of its own, which does not follow
	// redirects from https to http.
	HTTPClient *http.Client
	// RefreshInterval is how often JWKSURL is fetched; default 15 minutes.
	RefreshInterval time.Duration
	// Logger is told about fetches of JWKSURL that fail; nil: nobody is.
	Logger *slog.Logger
}

// JWT is an Authenticator of signed tokens. It is safe for concurrent use.
type JWT struct {
	// Static after construction.
	keys         []verifier
	remote       *jwks       // nil without a JWKSURL
	algorithms   []Algorithm // those allowed; empty: all that the keys are bound to
	issuer       string
	audience     []string
	userClaim    string
	leeway       time.Duration
	maxLifetime  time.Duration
	defaultRooms holdfast.RoomPermissions
}

// verifier is one key in the form that verification takes.
type verifier struct {
	id         string
	algorithms []Algorithm
	key        any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey, as golang-jwt wants it
}

// NewJWT checks the configuration and, where there is a JWKSURL, starts to
// fetch it. It does not wait for the answer. Close ends what it started.
func NewJWT(cfg JWTConfig) (*JWT, error) {
	j := &JWT{
		issuer:      cfg.Issuer,
		algorithms:  slices.Clone(cfg.Algorithms),
		audience:    slices.Clone(cfg.Audience),
		userClaim:   cfg.UserClaim,
		leeway:      cfg.Leeway,
		maxLifetime: cfg.MaxLifetime,
	}
	if len(cfg.Secret) == 0 && len(cfg.Keys) == 0 && cfg.JWKSURL == "" {
		return nil, errors.New("auth: no key to verify tokens by: set a secret (HOLDFAST_JWT_SECRET), public keys, or a JWKS URL")
	}
	if cfg.DefaultRooms == nil {
		return nil, errors.New(`auth: DefaultRooms is not set: say what tokens without permissions.rooms may do (--default-rooms, HOLDFAST_DEFAULT_ROOMS), for example ["**"] for all rooms or [] for none`)
	}
	j.defaultRooms = *cfg.DefaultRooms
	if j.userClaim == "" {
		j.userClaim = "sub"
	}
	if err := checkUserClaim(j.userClaim); err != nil {
		return nil, err
	}
	switch {
	case j.leeway == 0:
		j.leeway = DefaultLeeway
	case j.leeway < 0:
		j.leeway = 0
	}
	switch {
	case j.maxLifetime == 0:
		j.maxLifetime = DefaultMaxLifetime
	case j.maxLifetime < 0:
		return nil, errors.New("auth: MaxLifetime is negative")
	}
	if err := j.addKeys(cfg); err != nil {
		return nil, err
	}
	if cfg.JWKSURL != "" {
		remote, err := newJWKS(cfg)
		if err != nil {
			return nil, err
		}
		j.remote = remote
		remote.start()
	}
	return j, nil
}

func checkUserClaim(name string) error {
	if slices.Contains([]string{"exp", "nbf", "iat", "iss", "aud", "sid", "pv", "roles", "permissions"}, name) {
		return fmt.Errorf("auth: the user claim can't be %q, which means something else", name)
	}
	return nil
}

// addKeys fills j.keys, and sees to it that every algorithm asked for has a key.
func (j *JWT) addKeys(cfg JWTConfig) error {
	var all []verifier
	if len(cfg.Secret) > 0 {
		v, err := secretVerifier(cfg.Secret)
		if err != nil {
			return err
		}
		all = append(all, v)
	}
	for _, k := range cfg.Keys {
		if len(k.Algorithms) == 0 {
			k.Algorithms = fitting(k, cfg.Algorithms)
		}
		k, err := k.check()
		if err != nil {
			return err
		}
		all = append(all, publicVerifier(k))
	}
	for _, a := range cfg.Algorithms {
		switch {
		case a.family() == unknownFamily:
			return fmt.Errorf("auth: unknown algorithm %.20q", string(a))
		case slices.ContainsFunc(all, func(v verifier) bool { return slices.Contains(v.algorithms, a) }):
		case a.family() == hmacFamily && len(cfg.Secret) > 0:
			return errShortSecret(a)
		case a.family() == hmacFamily:
			return fmt.Errorf("auth: algorithm %s needs a secret", a)
		case cfg.JWKSURL == "":
			return fmt.Errorf("auth: algorithm %s has no key", a)
		}
	}
	for _, v := range all {
		if v, ok := v.narrow(cfg.Algorithms); ok {
			j.keys = append(j.keys, v)
		}
	}
	return nil
}

// secretVerifier takes a secret for each algorithm that it is long enough for.
func secretVerifier(secret Secret) (verifier, error) {
	if bytes.Contains(secret, []byte("-----BEGIN ")) {
		// Everybody may know a public key: as a secret it would let
		// everybody make tokens.
		return verifier{}, errors.New("auth: the secret is a PEM block: give it as a key")
	}
	v := verifier{key: []byte(slices.Clone(secret))}
	for _, a := range []Algorithm{HS256, HS384, HS512} {
		if len(secret) >= a.minSecret() {
			v.algorithms = append(v.algorithms, a)
		}
	}
	if len(v.algorithms) == 0 {
		return verifier{}, errShortSecret(HS256)
	}
	return v, nil
}

func publicVerifier(k Key) verifier {
	return verifier{id: k.ID, algorithms: k.Algorithms, key: k.Public}
}

// fitting returns those of algorithms that k's kind of key goes with.
func fitting(k Key, algorithms []Algorithm) []Algorithm {
	fits, err := keyAlgorithms(k.Public)
	if err != nil {
		return nil // check says why
	}
	var both []Algorithm
	for _, a := range algorithms {
		if slices.Contains(fits, a) {
			both = append(both, a)
		}
	}
	return both
}

// narrow leaves v those of its algorithms that are allowed, which are all
// where allowed is empty, and reports whether there are any.
func (v verifier) narrow(allowed []Algorithm) (verifier, bool) {
	if len(allowed) == 0 {
		return v, true
	}
	var left []Algorithm
	for _, a := range v.algorithms {
		if slices.Contains(allowed, a) {
			left = append(left, a)
		}
	}
	v.algorithms = left
	return v, len(left) > 0
}

// Authenticate verifies the credential's bearer token: see
// Credential.BearerToken for which one, and Verify for the errors. No token
// at all is UNAUTHENTICATED.
func (j *JWT) Authenticate(ctx context.Context, c Credential) (*holdfast.Identity, error) {
	token, err := c.BearerToken()
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, refuse("", nil)
	}
	return j.Verify(ctx, token)
}

// Verify returns the identity that token proves. The error is TOKEN_EXPIRED
// for a token that was good once, UNAUTHENTICATED for any other that isn't
// good, and INTERNAL if it can't be told because the keys can't be fetched.
// Its message never holds any of the token, nor says more than "invalid
// token" before the signature was verified.
func (j *JWT) Verify(ctx context.Context, token string) (*holdfast.Identity, error) {
	t, err := parseToken(token)
	if err != nil {
		return nil, err
	}
	if err := j.verifySignature(ctx, t); err != nil {
		return nil, err
	}
	return j.identity(t.claims, time.Now())
}

// verifySignature tries the keys that t could be signed by. Those of JWKSURL
// are fetched anew if none of them has t's kid.
func (j *JWT) verifySignature(ctx context.Context, t *parsedToken) error {
	if len(j.algorithms) > 0 && !slices.Contains(j.algorithms, t.algorithm) {
		return refuse("invalid token", errors.New("auth: the algorithm is not allowed"))
	}
	if _, ok := t.verifiedBy(j.keys); ok {
		return nil
	}
	if j.remote == nil || t.algorithm.family() == hmacFamily {
		return errSignature()
	}
	keys, err := j.remote.get(ctx)
	if err != nil {
		return err
	}
	named, ok := t.verifiedBy(keys)
	if ok {
		return nil
	}
	if named {
		return errSignature()
	}
	if keys, err = j.remote.refetch(ctx); err != nil {
		return err
	}
	if _, ok = t.verifiedBy(keys); ok {
		return nil
	}
	return errSignature()
}

func errSignature() *holdfast.Error {
	return refuse("invalid token", errors.New("auth: wrong signature, or no key for this algorithm and kid"))
}

// Ready returns an error while no token can be verified because the keys at
// JWKSURL have never been fetched.
func (j *JWT) Ready() error {
	if j.remote == nil || len(j.keys) > 0 || j.remote.known() {
		return nil
	}
	return errNoKeys(nil)
}

// Close ends what NewJWT started, and waits for it. Tokens of known keys are
// verified all the same. It may be called more than once.
func (j *JWT) Close() error {
	if j.remote != nil {
		j.remote.stop()
	}
	return nil
}
