package auth

import (
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func BenchmarkVerify(b *testing.B) {
	rooms := holdfast.MustRoomList("board-*", "document-*", "!document-7")
	claims := Claims{
		User: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Name: "Ada Lovelace", Email: "ada@example.org", Roles: []string{"admin"}, Session: "s1",
		Expires: time.Now().Add(time.Hour), Permissions: &ClaimedPermissions{Rooms: &rooms, Actions: []string{"todo.*"}},
	}
	for _, alg := range []Algorithm{HS256, ES256, EdDSA, RS256} {
		b.Run(string(alg), func(b *testing.B) {
			key := signingKeys()[alg]
			cfg := JWTConfig{Secret: key.Secret}
			if key.Private != nil {
				public, err := key.Public()
				if err != nil {
					b.Fatal(err)
				}
				cfg.Keys = []Key{public}
			}
			j := newJWT(b, cfg)
			token := mint(b, key, claims)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verify(j, token); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// What a forged token costs.
func BenchmarkRefuse(b *testing.B) {
	j := newJWT(b, JWTConfig{Secret: testSecret})
	token := mint(b, SigningKey{Secret: testSecret}, Claims{})
	for name, bad := range map[string]string{
		"forged":  changed(token, len(token)-5),
		"garbage": token[:len(token)/2] + "!" + token[len(token)/2:],
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := verify(j, bad); err == nil {
					b.Fatal("let in")
				}
			}
		})
	}
}

func BenchmarkMint(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Mint(SigningKey{Secret: testSecret}, Claims{User: "u1"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerifyAPIKey(b *testing.B) {
	key, record := NewAPIKey(AllScopes, holdfast.MustRoomList("**"))
	keys := newAPIKeys(b, APIKeysConfig{Keys: []APIKey{record}})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := keys.Verify(b.Context(), key); err != nil {
			b.Fatal(err)
		}
	}
}
