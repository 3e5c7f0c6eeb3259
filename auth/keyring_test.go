package auth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testSecret is as long as HS512 needs.
var testSecret = Secret(strings.Repeat("canary-secret-", 5))

// Keys are slow to make, and made once.
var (
	rsaKey  = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsaWeak = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 1024)) })
	ec256   = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	ec384   = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)) })
	ec521   = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)) })
	ec224   = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)) })
	edKey   = sync.OnceValue(func() ed25519.PrivateKey {
		_, private, err := ed25519.GenerateKey(rand.Reader)
		return must(private, err)
	})
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// signingKeys has a key for each algorithm, named by it.
func signingKeys() map[Algorithm]SigningKey {
	keys := make(map[Algorithm]SigningKey)
	for _, a := range []Algorithm{HS256, HS384, HS512} {
		keys[a] = SigningKey{Algorithm: a, Secret: testSecret}
	}
	for _, a := range []Algorithm{RS256, RS384, RS512, PS256, PS384, PS512} {
		keys[a] = SigningKey{Algorithm: a, Private: rsaKey()}
	}
	keys[ES256] = SigningKey{Algorithm: ES256, Private: ec256()}
	keys[ES384] = SigningKey{Algorithm: ES384, Private: ec384()}
	keys[ES512] = SigningKey{Algorithm: ES512, Private: ec521()}
	keys[EdDSA] = SigningKey{Algorithm: EdDSA, Private: edKey()}
	return keys
}

func everyRoom() *holdfast.RoomPermissions {
	rooms := holdfast.MustRoomList("**")
	return &rooms
}

// newJWT fills in DefaultRooms and closes at the end of the test.
func newJWT(t testing.TB, cfg JWTConfig) *JWT {
	t.Helper()
	if cfg.DefaultRooms == nil {
		cfg.DefaultRooms = everyRoom()
	}
	j, err := NewJWT(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

func mint(t testing.TB, key SigningKey, c Claims) string {
	t.Helper()
	if c.User == "" {
		c.User = "u1"
	}
	token, err := Mint(key, c)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// forge signs any header and claims.
func forge(t testing.TB, key SigningKey, alg Algorithm, header, claims string) string {
	t.Helper()
	token, err := sign(key, alg, []byte(header), []byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// goodClaims are claims that are taken, with more members put at their end.
func goodClaims(more ...string) string {
	return fmt.Sprintf(`{"sub":"u1","exp":%d%s}`, time.Now().Add(time.Hour).Unix(), strings.Join(append([]string{""}, more...), ","))
}

const hsHeader = `{"alg":"HS256","typ":"at+jwt"}`

func b64(data string) string { return base64.RawURLEncoding.EncodeToString([]byte(data)) }

func verify(j *JWT, token string) (*holdfast.Identity, error) {
	return j.Verify(context.Background(), token)
}

// wantRefused checks a refusal of code: what it says, and what it must not.
func wantRefused(t testing.TB, id *holdfast.Identity, err error, code holdfast.Code, token string) {
	t.Helper()
	if id != nil || err == nil {
		t.Errorf("let in: %+v", id)
		return
	}
	e := holdfast.AsError(err)
	if e.Code != code {
		t.Errorf("code %s, want %s: %v (%v)", e.Code, code, err, e.Err)
	}
	if code != holdfast.Internal && !strings.Contains(e.Message, "Unauthorized") {
		t.Errorf("%q lacks Unauthorized", e.Message)
	}
	if code == holdfast.Internal {
		lower := strings.ToLower(e.Message)
		for _, word := range []string{"unauthorized", "jwt", "token"} {
			if strings.Contains(lower, word) {
				t.Errorf("%q contains %q, on which clients refresh", e.Message, word)
			}
		}
	}
	shown := fmt.Sprintf("%v %+v %#v %v", e.Message, err, err, e.Err)
	if strings.Contains(shown, "canary") {
		t.Errorf("a secret is shown: %s", shown)
	}
	for part := range strings.SplitSeq(token, ".") {
		if len(part) > 8 && strings.Contains(shown, part) {
			t.Errorf("the token is shown: %s", shown)
		}
	}
}

func publicPEM(t testing.TB, public any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func privatePEM(t testing.TB, private any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// jwk writes a public key as a JWK, with other members.
func jwk(t testing.TB, public any, members map[string]any) string {
	t.Helper()
	m := make(map[string]any)
	number := func(n *big.Int, size int) string {
		return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, size)))
	}
	switch k := public.(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", number(k.N, k.Size()), number(big.NewInt(int64(k.E)), 3)
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		half := len(point) / 2
		m["kty"], m["crv"] = "EC", k.Params().Name
		m["x"] = base64.RawURLEncoding.EncodeToString(point[1 : 1+half])
		m["y"] = base64.RawURLEncoding.EncodeToString(point[1+half:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", base64.RawURLEncoding.EncodeToString(k)
	default:
		t.Fatalf("jwk of %T", public)
	}
	for name, value := range members {
		m[name] = value
	}
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(m); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out.String())
}
