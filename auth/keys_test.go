package auth

import (
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"crypto/rand"
)

func TestParsePEM(t *testing.T) {
	certificate := func() []byte {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Unix(1<<32, 0)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, ec256().Public(), ec256())
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for _, test := range []struct {
		name string
		data []byte
		algs []Algorithm // asked for
		want []Algorithm // nil: refused
	}{
		{"RSA", publicPEM(t, rsaKey().Public()), nil, []Algorithm{RS256}},
		{"RSA for two", publicPEM(t, rsaKey().Public()), []Algorithm{PS256, RS512}, []Algorithm{PS256, RS512}},
		{"RSA, PKCS 1", block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)), nil, []Algorithm{RS256}},
		{"P-256", publicPEM(t, ec256().Public()), nil, []Algorithm{ES256}},
		{"P-384", publicPEM(t, ec384().Public()), nil, []Algorithm{ES384}},
		{"P-521", publicPEM(t, ec521().Public()), []Algorithm{ES512}, []Algorithm{ES512}},
		{"Ed25519", publicPEM(t, edKey().Public()), nil, []Algorithm{EdDSA}},
		{"certificate", certificate(), nil, []Algorithm{ES256}},
		{"text around it", append([]byte("# our key\n"), append(publicPEM(t, edKey().Public()), "\n# end\n"...)...), nil, []Algorithm{EdDSA}},

		{"nothing", nil, nil, nil},
		{"no PEM", []byte("-----BEGIN"), nil, nil},
		{"two", slices.Concat(publicPEM(t, ec256().Public()), publicPEM(t, edKey().Public())), nil, nil},
		{"private", privatePEM(t, ec256()), nil, nil},
		{"garbage", block("PUBLIC KEY", []byte("canary")), nil, nil},
		{"garbage certificate", block("CERTIFICATE", []byte("canary")), nil, nil},
		{"weak RSA", publicPEM(t, rsaWeak().Public()), nil, nil},
		{"P-224", publicPEM(t, ec224().Public()), nil, nil},
		{"RSA for ES256", publicPEM(t, rsaKey().Public()), []Algorithm{ES256}, nil},
		{"RSA for HS256", publicPEM(t, rsaKey().Public()), []Algorithm{RS256, HS256}, nil},
		{"P-256 for ES512", publicPEM(t, ec256().Public()), []Algorithm{ES512}, nil},
		{"Ed25519 for none", publicPEM(t, edKey().Public()), []Algorithm{"none"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			key, err := ParsePEM(test.data, "k", test.algs...)
			if test.want == nil {
				if err == nil || strings.Contains(err.Error(), "canary") {
					t.Errorf("%+v, %v", key, err)
				}
				return
			}
			if err != nil || key.ID != "k" || !slices.Equal(key.Algorithms, test.want) {
				t.Errorf("%+v, %v", key, err)
			}
		})
	}
}

func TestParsePrivatePEM(t *testing.T) {
	ecDER, err := x509.MarshalECPrivateKey(ec256())
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	for _, test := range []struct {
		name string
		data []byte
		alg  Algorithm
		ok   bool
	}{
		{"RSA", privatePEM(t, rsaKey()), "", true},
		{"RSA for PS512", privatePEM(t, rsaKey()), PS512, true},
		{"RSA, PKCS 1", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey())), RS384, true},
		{"EC", privatePEM(t, ec384()), "", true},
		{"EC, SEC 1", block("EC PRIVATE KEY", ecDER), ES256, true},
		{"Ed25519", privatePEM(t, edKey()), EdDSA, true},

		{"nothing", nil, "", false},
		{"public", publicPEM(t, ec256().Public()), "", false},
		{"garbage", block("PRIVATE KEY", []byte("canary")), "", false},
		{"weak RSA", privatePEM(t, rsaWeak()), "", false},
		{"EC for another curve's", privatePEM(t, ec256()), ES384, false},
		{"EC for HS256", privatePEM(t, ec256()), HS256, false},
		{"P-224", privatePEM(t, ec224()), "", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			key, err := ParsePrivatePEM(test.data, "k", test.alg)
			if !test.ok {
				if err == nil || strings.Contains(err.Error(), "canary") {
					t.Errorf("%v, %v", key, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			public, err := key.Public()
			if err != nil {
				t.Fatal(err)
			}
			j := newJWT(t, JWTConfig{Keys: []Key{public}})
			if _, err := verify(j, mint(t, key, Claims{})); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestParseJWKRefusesPrivateKeys(t *testing.T) {
	for _, member := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
		text := jwk(t, rsaKey().Public(), map[string]any{member: "canary-AAAA"})
		if _, err := ParseJWK([]byte(text)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", member, err)
		}
	}
	for _, text := range []string{``, `{`, `[]`, `{"kty":7}`, `{"kty":"RSA","d":["canary"]}`, jwk(t, ec256().Public(), map[string]any{"kid": strings.Repeat("k", 257)})} {
		if _, err := ParseJWK([]byte(text)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
