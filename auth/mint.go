package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// DefaultTokenLifetime is how long a minted token lives where Claims don't say.
const DefaultTokenLifetime = 15 * time.Minute

// SigningKey is what tokens are made with: either a Secret or a Private key.
type SigningKey struct {
	// ID becomes the token's kid; empty for none.
	ID string
	// Algorithm; empty: HS256 for a secret, else the one that goes with the
	// kind of key, RS256 for RSA.
	Algorithm Algorithm
	// Secret is an HMAC key, at least as long as the algorithm's hash.
	Secret Secret `json:"-"`
	// Private is an *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey.
	Private crypto.Signer `json:"-"`
}

// ParsePrivatePEM reads one private key: a block PRIVATE KEY, EC PRIVATE KEY
// or RSA PRIVATE KEY, not encrypted.
func ParsePrivatePEM(data []byte, id string, algorithm Algorithm) (SigningKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return SigningKey{}, errors.New("auth: no PEM block found")
	}
	var private any
	var err error
	switch block.Type {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return SigningKey{}, fmt.Errorf("auth: PEM block %.40q is not a private key", block.Type)
	}
	signer, ok := private.(crypto.Signer)
	if err != nil || !ok {
		return SigningKey{}, errors.New("auth: malformed or unsupported private key") // the cause could quote it
	}
	k := SigningKey{ID: id, Algorithm: algorithm, Private: signer}
	_, err = k.check()
	return k, err
}

// Public returns the key that verifies what k signs; an error for a Secret.
func (k SigningKey) Public() (Key, error) {
	if k.Private == nil {
		return Key{}, errors.New("auth: a secret has no public key")
	}
	a, err := k.check()
	if err != nil {
		return Key{}, err
	}
	return Key{ID: k.ID, Algorithms: []Algorithm{a}, Public: k.Private.Public()}, nil
}

// check returns the algorithm to sign with.
func (k SigningKey) check() (Algorithm, error) {
	if (len(k.Secret) > 0) == (k.Private != nil) {
		return "", errors.New("auth: a signing key has either a secret or a private key")
	}
	if len(k.Secret) > 0 {
		a := k.Algorithm
		if a == "" {
			a = HS256
		}
		if a.family() != hmacFamily {
			return "", fmt.Errorf("auth: algorithm %.20q does not go with a secret", string(a))
		}
		if len(k.Secret) < a.minSecret() {
			return "", errShortSecret(a)
		}
		return a, nil
	}
	switch k.Private.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey:
	default:
		return "", fmt.Errorf("auth: unsupported kind of private key: %T", k.Private)
	}
	public := Key{ID: k.ID, Public: k.Private.Public()}
	if k.Algorithm != "" {
		public.Algorithms = []Algorithm{k.Algorithm}
	}
	public, err := public.check()
	if err != nil {
		return "", err
	}
	return public.Algorithms[0], nil
}

func errShortSecret(a Algorithm) error {
	return fmt.Errorf("auth: the secret is too short: %s needs at least %d bytes (try: openssl rand -base64 %d)", a, a.minSecret(), a.minSecret())
}

// ClaimedPermissions is the permissions claim.
type ClaimedPermissions struct {
	// Rooms; nil leaves permissions.rooms out, so that the server's default
	// rooms hold.
	Rooms *holdfast.RoomPermissions `json:"rooms,omitempty"`
	// Actions are permission strings, see holdfast.Permissions.Can.
	Actions []string `json:"actions,omitempty"`
}

// Claims are what Mint puts into a token. Fields of the zero value are left
// out, except where they say otherwise.
type Claims struct {
	User        string // sub; required
	Name, Email string
	Roles       []string
	Session     string // sid
	TokenID     string // jti; empty: random
	Issuer      string
	Audience    []string
	// IssuedAt; zero: now.
	IssuedAt time.Time
	// NotBefore; zero: left out.
	NotBefore time.Time
	// Expires; zero: IssuedAt and DefaultTokenLifetime.
	Expires time.Time
	// PermissionVersion is pv.
	PermissionVersion *int64
	Permissions       *ClaimedPermissions
	// Extra are other claims, as JSON. A name that has its own field here is
	// an error.
	Extra map[string]json.RawMessage
}

type mintHeader struct {
	Alg Algorithm `json:"alg"`
	Kid string    `json:"kid,omitempty"`
	Typ string    `json:"typ"`
}

type mintClaims struct {
	Iss         string              `json:"iss,omitempty"`
	Sub         string              `json:"sub"`
	Aud         []string            `json:"aud,omitempty"`
	Exp         int64               `json:"exp"`
	Nbf         int64               `json:"nbf,omitempty"`
	Iat         int64               `json:"iat"`
	Jti         string              `json:"jti"`
	Sid         string              `json:"sid,omitempty"`
	Pv          *int64              `json:"pv,omitempty"`
	Name        string              `json:"name,omitempty"`
	Email       string              `json:"email,omitempty"`
	Roles       []string            `json:"roles,omitempty"`
	Permissions *ClaimedPermissions `json:"permissions,omitempty"`
}

// Mint makes a token, typ at+jwt, signed by key. Times are cut to whole
// seconds. It does not check that a server would take it, beyond what the key
// itself needs.
func Mint(key SigningKey, c Claims) (string, error) {
	alg, err := key.check()
	if err != nil {
		return "", err
	}
	if c.User == "" {
		return "", errors.New("auth: a token needs a user (sub)")
	}
	if c.IssuedAt.IsZero() {
		c.IssuedAt = time.Now()
	}
	if c.Expires.IsZero() {
		c.Expires = c.IssuedAt.Add(DefaultTokenLifetime)
	}
	if c.TokenID == "" {
		c.TokenID = rand.Text()
	}
	m := mintClaims{
		Iss: c.Issuer, Sub: c.User, Aud: c.Audience, Exp: c.Expires.Unix(), Iat: c.IssuedAt.Unix(), Jti: c.TokenID,
		Sid: c.Session, Pv: c.PermissionVersion, Name: c.Name, Email: c.Email, Roles: c.Roles, Permissions: c.Permissions,
	}
	if !c.NotBefore.IsZero() {
		m.Nbf = c.NotBefore.Unix()
	}
	claims, err := json.Marshal(m)
	if err != nil {
		return "", fmt.Errorf("auth: claims: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Extra)) {
		if slices.ContainsFunc(ownClaims(), func(own string) bool { return strings.EqualFold(own, name) }) {
			return "", fmt.Errorf("auth: claim %q has its own field", name)
		}
		quoted, err := json.Marshal(name)
		if err != nil || !json.Valid(c.Extra[name]) {
			return "", fmt.Errorf("auth: claim %.40q is not JSON", name)
		}
		claims = append(claims[:len(claims)-1], ',')
		claims = append(append(append(claims, quoted...), ':'), c.Extra[name]...)
		claims = append(claims, '}')
	}
	header, err := json.Marshal(mintHeader{Alg: alg, Kid: key.ID, Typ: "at+jwt"})
	if err != nil {
		return "", fmt.Errorf("auth: header: %w", err)
	}
	return sign(key, alg, header, claims)
}

func ownClaims() []string {
	return []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sid", "pv", "name", "email", "roles", "permissions"}
}

// sign makes a token of any header and claims; the tests make bad ones by it.
func sign(key SigningKey, alg Algorithm, header, claims []byte) (string, error) {
	text := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	var signature []byte
	var err error
	if key.Private != nil {
		signature, err = alg.method().Sign(text, key.Private)
	} else {
		signature, err = alg.method().Sign(text, []byte(key.Secret))
	}
	if err != nil {
		return "", fmt.Errorf("auth: sign: %w", err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
