package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // for the algorithms' hashes
	_ "crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// Algorithm is a signature algorithm of RFC 7518 §3 or RFC 8037.
type Algorithm string

// The algorithms. "none" is not one of them.
const (
	HS256 Algorithm = "HS256"
	HS384 Algorithm = "HS384"
	HS512 Algorithm = "HS512"
	RS256 Algorithm = "RS256"
	RS384 Algorithm = "RS384"
	RS512 Algorithm = "RS512"
	PS256 Algorithm = "PS256"
	PS384 Algorithm = "PS384"
	PS512 Algorithm = "PS512"
	ES256 Algorithm = "ES256"
	ES384 Algorithm = "ES384"
	ES512 Algorithm = "ES512"
	EdDSA Algorithm = "EdDSA"
)

// minRSABits is the smallest RSA key that is taken (RFC 7518 §3.3).
const minRSABits = 2048

// family is the kind of key that an algorithm needs.
type family uint8

const (
	unknownFamily family = iota
	hmacFamily
	rsaFamily
	ecFamily
	edFamily
)

func (a Algorithm) family() family {
	switch a {
	case HS256, HS384, HS512:
		return hmacFamily
	case RS256, RS384, RS512, PS256, PS384, PS512:
		return rsaFamily
	case ES256, ES384, ES512:
		return ecFamily
	case EdDSA:
		return edFamily
	}
	return unknownFamily
}

// method returns the implementation; nil for an unknown algorithm.
func (a Algorithm) method() jwt.SigningMethod {
	switch a {
	case HS256:
		return jwt.SigningMethodHS256
	case HS384:
		return jwt.SigningMethodHS384
	case HS512:
		return jwt.SigningMethodHS512
	case RS256:
		return jwt.SigningMethodRS256
	case RS384:
		return jwt.SigningMethodRS384
	case RS512:
		return jwt.SigningMethodRS512
	case PS256:
		return jwt.SigningMethodPS256
	case PS384:
		return jwt.SigningMethodPS384
	case PS512:
		return jwt.SigningMethodPS512
	case ES256:
		return jwt.SigningMethodES256
	case ES384:
		return jwt.SigningMethodES384
	case ES512:
		return jwt.SigningMethodES512
	case EdDSA:
		return jwt.SigningMethodEdDSA
	}
	return nil
}

// minSecret is the shortest HMAC key of an algorithm in bytes: as long as its
// hash (RFC 7518 §3.2).
func (a Algorithm) minSecret() int {
	switch a {
	case HS384:
		return 48
	case HS512:
		return 64
	}
	return 32
}

// curve is the only curve that an ES algorithm goes with (RFC 7518 §3.4).
func (a Algorithm) curve() elliptic.Curve {
	switch a {
	case ES256:
		return elliptic.P256()
	case ES384:
		return elliptic.P384()
	case ES512:
		return elliptic.P521()
	}
	return nil
}

// Key is a public key that tokens are verified by, bound to its algorithms.
// ParsePEM and ParseJWK make one; a Key made by hand is checked by NewJWT.
type Key struct {
	// ID is matched with the token's kid. A key without an ID is tried for
	// every token.
	ID string
	// Algorithms are those that it is good for. None: those that the kind of
	// key goes with, which is one, except that RSA then means RS256 alone.
	Algorithms []Algorithm
	// Public is an *rsa.PublicKey of at least 2048 bits, an *ecdsa.PublicKey
	// on P-256, P-384 or P-521, or an ed25519.PublicKey.
	Public crypto.PublicKey
}

// check returns the key with its algorithms filled in.
func (k Key) check() (Key, error) {
	fits, err := keyAlgorithms(k.Public)
	if err != nil {
		return Key{}, err
	}
	if len(k.Algorithms) == 0 {
		k.Algorithms = fits[:1]
	}
	for _, a := range k.Algorithms {
		if !slices.Contains(fits, a) {
			return Key{}, fmt.Errorf("auth: key %.40q can't be used with algorithm %.20q", k.ID, string(a))
		}
	}
	return k, nil
}

// keyAlgorithms returns what a public key can be used with, the default first.
func keyAlgorithms(public crypto.PublicKey) ([]Algorithm, error) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		if key.N == nil || key.N.BitLen() < minRSABits {
			return nil, fmt.Errorf("auth: an RSA key has fewer than %d bits", minRSABits)
		}
		if key.E < 3 || key.E%2 == 0 {
			return nil, errors.New("auth: an RSA key has a bad exponent")
		}
		return []Algorithm{RS256, RS384, RS512, PS256, PS384, PS512}, nil
	case *ecdsa.PublicKey:
		for _, a := range []Algorithm{ES256, ES384, ES512} {
			if key.Curve == a.curve() {
				if _, err := key.ECDH(); err != nil {
					return nil, fmt.Errorf("auth: an EC key is not on its curve: %w", err)
				}
				return []Algorithm{a}, nil
			}
		}
		return nil, errors.New("auth: an EC key is on an unsupported curve: use P-256, P-384 or P-521")
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return nil, errors.New("auth: an Ed25519 key has the wrong size")
		}
		return []Algorithm{EdDSA}, nil
	}
	return nil, fmt.Errorf("auth: unsupported kind of public key: %T", public)
}

// ParsePEM reads one public key: a block PUBLIC KEY, RSA PUBLIC KEY or
// CERTIFICATE (only its key is looked at). A private key is refused, since it
// has no business where tokens are verified. algorithms bind it; see Key.
func ParsePEM(data []byte, id string, algorithms ...Algorithm) (Key, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return Key{}, errors.New("auth: no PEM block found")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return Key{}, errors.New("auth: more than one PEM block found")
	}
	var public crypto.PublicKey
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		public, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		public, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var cert *x509.Certificate
		if cert, err = x509.ParseCertificate(block.Bytes); err == nil {
			public = cert.PublicKey
		}
	default:
		return Key{}, fmt.Errorf("auth: PEM block %.40q is not a public key", block.Type)
	}
	if err != nil {
		return Key{}, fmt.Errorf("auth: malformed public key: %w", err)
	}
	return Key{ID: id, Algorithms: slices.Clone(algorithms), Public: public}.check()
}

// ParseJWK reads one public key as a JSON Web Key (RFC 7517): kty RSA, EC or
// OKP with Ed25519, whose use, key_ops and alg, where given, are for
// signatures. Its kid becomes the ID. Symmetric and private keys are refused.
// algorithms bind it where the key itself names none.
func ParseJWK(data []byte, algorithms ...Algorithm) (Key, error) {
	if err := jsonscan.Check(data, jsonscan.Limits{UniqueKeys: true}); err != nil {
		return Key{}, fmt.Errorf("auth: malformed JWK: %w", err)
	}
	var m jwkset.JWKMarshal
	if err := json.Unmarshal(data, &m); err != nil {
		return Key{}, errors.New("auth: malformed JWK") // the cause could quote a private key
	}
	switch {
	case m.KTY != jwkset.KtyRSA && m.KTY != jwkset.KtyEC && m.KTY != jwkset.KtyOKP:
		return Key{}, fmt.Errorf("auth: a JWK of kty %.20q is not a public key for signatures", string(m.KTY))
	case m.K != "" || m.D != "" || m.P != "" || m.Q != "" || m.DP != "" || m.DQ != "" || m.QI != "" || len(m.OTH) > 0:
		return Key{}, errors.New("auth: a JWK holds a private key")
	case m.USE != "" && m.USE != jwkset.UseSig:
		return Key{}, fmt.Errorf("auth: a JWK is for use %.20q, not for signatures", string(m.USE))
	case len(m.KEYOPS) > 0 && !slices.Contains(m.KEYOPS, jwkset.KeyOpsVerify):
		return Key{}, errors.New("auth: a JWK is not for verifying (key_ops)")
	case len(m.KID) > maxKeyID:
		return Key{}, fmt.Errorf("auth: a JWK's kid is longer than %d bytes", maxKeyID)
	}
	if m.ALG != "" {
		// RFC 9864 names what RFC 8037 calls EdDSA by its curve as well.
		if m.ALG == "Ed25519" {
			m.ALG = jwkset.AlgEdDSA
		}
		algorithms = []Algorithm{Algorithm(m.ALG)}
	}
	// The certificate members say nothing about the key that it doesn't.
	m.X5U, m.X5C, m.X5T, m.X5TS256 = "", nil, "", ""
	key, err := jwkset.NewJWKFromMarshal(m, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return Key{}, fmt.Errorf("auth: malformed JWK: %w", err)
	}
	return Key{ID: m.KID, Algorithms: slices.Clone(algorithms), Public: key.Key()}.check()
}
