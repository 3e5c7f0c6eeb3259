package auth

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holdfast-dev/holdfast"
)

func TestEachAlgorithm(t *testing.T) {
	for alg, key := range signingKeys() {
		t.Run(string(alg), func(t *testing.T) {
			cfg := JWTConfig{Algorithms: []Algorithm{alg}}
			if key.Private == nil {
				cfg.Secret = key.Secret
			} else {
				public, err := key.Public()
				if err != nil {
					t.Fatal(err)
				}
				cfg.Keys = []Key{public}
			}
			j := newJWT(t, cfg)
			token := mint(t, key, Claims{})
			id, err := verify(j, token)
			if err != nil || id.User != "u1" {
				t.Fatalf("%+v, %v", id, err)
			}
			// No other algorithm is taken, whether it has a key here or not.
			for other, otherKey := range signingKeys() {
				if other == alg {
					continue
				}
				token := mint(t, otherKey, Claims{})
				id, err := verify(j, token)
				wantRefused(t, id, err, holdfast.Unauthenticated, token)
			}
		})
	}
}

// The signatures of RFC 7515 A.1 and A.3 and of RFC 8037 A.4.
func TestSignaturesOfTheStandards(t *testing.T) {
	const claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	secret, err := strictDecode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	if err != nil {
		t.Fatal(err)
	}
	ec, err := ParseJWK([]byte(`{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`))
	if err != nil {
		t.Fatal(err)
	}
	ed, err := ParseJWK([]byte(`{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
	if err != nil {
		t.Fatal(err)
	}
	j := newJWT(t, JWTConfig{Secret: secret, Keys: []Key{ec, ed}})
	for _, token := range []string{
		"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + claims + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
		"eyJhbGciOiJFUzI1NiJ9." + claims + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
		"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
	} {
		parsed, err := parseToken(token)
		if err != nil {
			t.Error(err)
			continue
		}
		if err := j.verifySignature(context.Background(), parsed); err != nil {
			t.Errorf("%s: %v", parsed.header, err)
		}
		// They have no user, and the last one has no claims at all.
		id, err := verify(j, token)
		wantRefused(t, id, err, holdfast.Unauthenticated, token)
	}
}

func strictDecode(text string) (Secret, error) {
	t, err := splitToken("e30." + text + ".e30")
	if err != nil {
		return nil, err
	}
	return t.claims, nil
}

func TestIdentityOfToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJWT(t, JWTConfig{Secret: testSecret, Issuer: "https://issuer.example", Audience: []string{"other", "holdfast"}})
		rooms := holdfast.MustRoomList("board-*", "!board-7")
		version := int64(3)
		now := time.Now()
		token := mint(t, SigningKey{Secret: testSecret}, Claims{
			User: "u1", Name: "Ada", Email: "ada@example.org", Roles: []string{"admin", "author"},
			Session: "s1", TokenID: "t1", Issuer: "https://issuer.example", Audience: []string{"holdfast", "x"},
			NotBefore: now, Expires: now.Add(time.Hour), PermissionVersion: &version,
			Permissions: &ClaimedPermissions{Rooms: &rooms, Actions: []string{"todo.*"}},
		})
		got, err := verify(j, token)
		if err != nil {
			t.Fatal(err)
		}
		want := &holdfast.Identity{
			User: "u1", Name: "Ada", Email: "ada@example.org", Roles: []string{"admin", "author"},
			Session: "s1", TokenID: "t1", Issuer: "https://issuer.example", PermissionVersion: &version,
			IssuedAt: now, Expires: now.Add(time.Hour),
			Permissions: holdfast.Permissions{Rooms: rooms, Actions: []string{"todo.*"}},
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateApproxTime(0)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestClaims(t *testing.T) {
	none := holdfast.RoomPermissions{}
	open := newJWT(t, JWTConfig{Secret: testSecret})
	key := SigningKey{Secret: testSecret}
	for _, test := range []struct {
		name, more string
		want       holdfast.Identity // User, Expires and default rooms are filled in
		rooms      *holdfast.RoomPermissions
	}{
		{name: "nothing more"},
		{name: "unknown claims", more: `"https://x.example/y":{"sub":"other","sub":"twice"},"Rooms":1`},
		{name: "nulls", more: `"iat":null,"nbf":null,"iss":null,"aud":null,"jti":null,"sid":null,"pv":null,"name":null,"email":null,"roles":null`},
		{name: "fractions", more: `"iat":946684800.5,"nbf":9.466848e8`, want: holdfast.Identity{IssuedAt: time.Unix(946684800, 5e8)}},
		{name: "one role", more: `"roles":"admin"`, want: holdfast.Identity{Roles: []string{"admin"}}},
		{name: "no roles", more: `"roles":[]`, want: holdfast.Identity{Roles: []string{}}},
		{name: "unusual roles", more: `"roles":{"realm":["admin"]},"name":7,"email":["a"]`},
		{name: "mixed roles", more: `"roles":["admin",7]`},
		{name: "escapes", more: `"name":"\u00c4da \ud83d\ude00","sid":"a\/b"`, want: holdfast.Identity{Name: "Äda 😀", Session: "a/b"}},
		{name: "empty permissions", more: `"permissions":{}`},
		{name: "unknown permissions", more: `"permissions":{"other":[1]}`},
		{name: "null permissions", more: `"permissions":null`, rooms: &none},
		{name: "no rooms", more: `"permissions":{"rooms":[]}`, rooms: &none},
		{name: "null rooms", more: `"permissions":{"rooms":null,"actions":null}`, rooms: &none},
		{name: "actions alone", more: `"permissions":{"actions":["a.b"]}`,
			want: holdfast.Identity{Permissions: holdfast.Permissions{Actions: []string{"a.b"}}}},
		{name: "negative version", more: `"pv":-1`, want: holdfast.Identity{PermissionVersion: new(int64(-1))}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				more := []string{}
				if test.more != "" {
					more = append(more, test.more)
				}
				got, err := verify(open, forge(t, key, HS256, hsHeader, goodClaims(more...)))
				if err != nil {
					t.Fatalf("%v (%v)", err, holdfast.AsError(err).Err)
				}
				want := test.want
				want.User, want.Expires, want.Permissions.Rooms = "u1", time.Now().Add(time.Hour), *everyRoom()
				if test.rooms != nil {
					want.Permissions.Rooms = *test.rooms
				}
				if diff := cmp.Diff(&want, got, cmpopts.EquateApproxTime(0)); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
	// Both forms of rooms.
	id, err := verify(open, forge(t, key, HS256, hsHeader, goodClaims(`"permissions":{"rooms":{"Doc":["join"],"doc":["publish"]}}`)))
	if err != nil || id.Permissions.Room("Doc") != holdfast.VerbJoin || id.Permissions.Room("doc") != holdfast.VerbPublish {
		t.Errorf("map form: %+v, %v", id, err)
	}
}

func TestUserClaim(t *testing.T) {
	key := SigningKey{Secret: testSecret}
	j := newJWT(t, JWTConfig{Secret: testSecret, UserClaim: "user_id"})
	for claims, want := range map[string]string{
		`"user_id":"u7"`:                "u7",
		`"user_id":42`:                  "42",
		`"user_id":"u7","sub":"other"`:  "u7",
		`"sub":"other"`:                 "",
		`"user_id":null`:                "",
		`"user_id":""`:                  "",
		`"user_id":4.5`:                 "",
		`"user_id":true`:                "",
		`"user_id":["u7"]`:              "",
		`"user_id":"u7","User_ID":"u8"`: "",
		`"User_Id":"u7"`:                "",
		`"user_id":"u\u0000"`:           "",
		`"user_id":"u\u0085"`:           "",
		`"user_id":"` + strings.Repeat("u", 257) + `"`: "",
		`"user_id":"` + strings.Repeat("u", 256) + `"`: strings.Repeat("u", 256),
	} {
		token := forge(t, key, HS256, hsHeader, strings.Replace(goodClaims(claims), `"sub":"u1",`, "", 1))
		id, err := verify(j, token)
		if want == "" {
			wantRefused(t, id, err, holdfast.Unauthenticated, token)
		} else if err != nil || id.User != want {
			t.Errorf("%s: %+v, %v", claims, id, err)
		}
	}
	email := newJWT(t, JWTConfig{Secret: testSecret, UserClaim: "email"})
	if id, err := verify(email, mint(t, key, Claims{Email: "a@example.org"})); err != nil || id.User != "a@example.org" || id.Email != id.User {
		t.Errorf("email: %+v, %v", id, err)
	}
}

func TestIssuerAndAudience(t *testing.T) {
	key := SigningKey{Secret: testSecret}
	j := newJWT(t, JWTConfig{Secret: testSecret, Issuer: "https://i.example", Audience: []string{"a", "b"}})
	for _, test := range []struct {
		more string
		ok   bool
	}{
		{`"iss":"https://i.example","aud":"a"`, true},
		{`"iss":"https://i.example","aud":["x","b"]`, true},
		{`"iss":"https://i.example"`, false},
		{`"aud":"a"`, false},
		{`"iss":"https://i.example/","aud":"a"`, false},
		{`"iss":"HTTPS://i.example","aud":"a"`, false},
		{`"iss":["https://i.example"],"aud":"a"`, false},
		{`"iss":"https://i.example","aud":[]`, false},
		{`"iss":"https://i.example","aud":"A"`, false},
		{`"iss":"https://i.example","aud":"a b"`, false},
		{`"iss":"https://i.example","aud":["x"]`, false},
		{`"iss":"https://i.example","aud":["a",7]`, false},
		{`"iss":"https://i.example","aud":{"a":1}`, false},
		{`"iss":"https://i.example","aud":null`, false},
		{`"iss":null,"aud":"a"`, false},
	} {
		token := forge(t, key, HS256, hsHeader, goodClaims(test.more))
		id, err := verify(j, token)
		if test.ok {
			if err != nil || id.Issuer != "https://i.example" {
				t.Errorf("%s: %+v, %v", test.more, id, err)
			}
		} else {
			wantRefused(t, id, err, holdfast.Unauthenticated, token)
		}
	}
	// A token that was never good here has not expired.
	token := mint(t, key, Claims{Issuer: "other", IssuedAt: time.Now().Add(-2 * time.Hour), Expires: time.Now().Add(-time.Hour)})
	id, err := verify(j, token)
	wantRefused(t, id, err, holdfast.Unauthenticated, token)
}

func TestTimes(t *testing.T) {
	key := SigningKey{Secret: testSecret}
	const ms = time.Millisecond
	for _, test := range []struct {
		name                 string
		cfg                  JWTConfig
		iat, nbf, exp, after time.Duration // from now; nbf 0: none
		want                 holdfast.Code
	}{
		{"fresh", JWTConfig{}, 0, 0, time.Hour, 0, ""},
		{"at its end", JWTConfig{}, 0, 0, time.Hour, time.Hour, ""},
		{"in the leeway", JWTConfig{}, 0, 0, time.Hour, time.Hour + 5*time.Second - ms, ""},
		{"after the leeway", JWTConfig{}, 0, 0, time.Hour, time.Hour + 5*time.Second, holdfast.TokenExpired},
		{"long after", JWTConfig{}, 0, 0, time.Hour, 100 * time.Hour, holdfast.TokenExpired},
		{"no leeway", JWTConfig{Leeway: -1}, 0, 0, time.Hour, time.Hour, holdfast.TokenExpired},
		{"no leeway, before", JWTConfig{Leeway: -1}, 0, 0, time.Hour, time.Hour - ms, ""},
		{"long leeway", JWTConfig{Leeway: time.Minute}, 0, 0, time.Hour, time.Hour + time.Minute - ms, ""},

		{"not yet, in the leeway", JWTConfig{}, 0, 5 * time.Second, time.Hour, 0, ""},
		{"not yet", JWTConfig{}, 0, 6 * time.Second, time.Hour, 0, holdfast.Unauthenticated},
		{"not yet, then", JWTConfig{}, 0, 6 * time.Second, time.Hour, time.Second, ""},
		{"from the future, in the leeway", JWTConfig{}, 5 * time.Second, 0, time.Hour, 0, ""},
		{"from the future", JWTConfig{}, 6 * time.Second, 0, time.Hour, 0, holdfast.Unauthenticated},

		{"a day", JWTConfig{}, 0, 0, 24 * time.Hour, 0, ""},
		{"more than a day", JWTConfig{}, 0, 0, 24*time.Hour + 6*time.Second, 0, holdfast.Unauthenticated},
		// It would outlive a revocation from when it was still too far ahead.
		{"more than a day, later", JWTConfig{}, 0, 0, 48 * time.Hour, 30 * time.Hour, holdfast.Unauthenticated},
		{"own bound", JWTConfig{MaxLifetime: time.Hour}, 0, 0, time.Hour + 6*time.Second, 0, holdfast.Unauthenticated},
		{"own longer bound", JWTConfig{MaxLifetime: 100 * time.Hour}, 0, 0, 100 * time.Hour, 0, ""},
		{"made long ago", JWTConfig{}, -23 * time.Hour, 0, time.Hour, 0, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.cfg.Secret = testSecret
				j := newJWT(t, test.cfg)
				now := time.Now()
				c := Claims{IssuedAt: now.Add(test.iat), Expires: now.Add(test.exp)}
				if test.nbf != 0 {
					c.NotBefore = now.Add(test.nbf)
				}
				token := mint(t, key, c)
				<-time.After(test.after)
				id, err := verify(j, token)
				if test.want == "" {
					if err != nil || !id.Expires.Equal(c.Expires) {
						t.Errorf("%+v, %v", id, err)
					}
					return
				}
				wantRefused(t, id, err, test.want, token)
				if test.want == holdfast.TokenExpired && holdfast.AsError(err).Message != "Unauthorized: token expired" {
					t.Errorf("it says %q", holdfast.AsError(err).Message)
				}
			})
		})
	}
}

func TestNewJWTRefuses(t *testing.T) {
	rsaPublic := Key{Public: &rsaKey().PublicKey}
	for _, test := range []struct {
		name string
		cfg  JWTConfig
		want string // in the error
	}{
		{"nothing", JWTConfig{DefaultRooms: everyRoom()}, "HOLDFAST_JWT_SECRET"},
		{"no default rooms, secret", JWTConfig{Secret: testSecret}, "HOLDFAST_DEFAULT_ROOMS"},
		{"no default rooms, keys", JWTConfig{Keys: []Key{rsaPublic}}, "--default-rooms"},
		{"no default rooms, URL", JWTConfig{JWKSURL: "https://i.example/jwks"}, "--default-rooms"},
		{"short secret", JWTConfig{Secret: testSecret[:31], DefaultRooms: everyRoom()}, "at least 32 bytes"},
		{"secret too short for HS384", JWTConfig{Secret: testSecret[:47], Algorithms: []Algorithm{HS384}, DefaultRooms: everyRoom()}, "at least 48 bytes"},
		{"secret too short for HS512", JWTConfig{Secret: testSecret[:63], Algorithms: []Algorithm{HS256, HS512}, DefaultRooms: everyRoom()}, "at least 64 bytes"},
		{"public key as secret", JWTConfig{Secret: publicPEM(t, ec256().Public()), DefaultRooms: everyRoom()}, "PEM"},
		{"none", JWTConfig{Secret: testSecret, Algorithms: []Algorithm{"none"}, DefaultRooms: everyRoom()}, "unknown algorithm"},
		{"empty algorithm", JWTConfig{Secret: testSecret, Algorithms: []Algorithm{""}, DefaultRooms: everyRoom()}, "unknown algorithm"},
		{"HS without secret", JWTConfig{Keys: []Key{rsaPublic}, Algorithms: []Algorithm{HS256}, DefaultRooms: everyRoom()}, "needs a secret"},
		{"HS with a URL alone", JWTConfig{JWKSURL: "https://i.example", Algorithms: []Algorithm{HS256}, DefaultRooms: everyRoom()}, "needs a secret"},
		{"algorithm without key", JWTConfig{Secret: testSecret, Algorithms: []Algorithm{HS256, ES256}, DefaultRooms: everyRoom()}, "has no key"},
		{"weak RSA", JWTConfig{Keys: []Key{{Public: &rsaWeak().PublicKey}}, DefaultRooms: everyRoom()}, "2048"},
		{"P-224", JWTConfig{Keys: []Key{{Public: ec224().Public()}}, DefaultRooms: everyRoom()}, "curve"},
		{"HS on a public key", JWTConfig{Keys: []Key{{Public: rsaPublic.Public, Algorithms: []Algorithm{HS256}}}, DefaultRooms: everyRoom()}, "can't be used"},
		{"ES384 on P-256", JWTConfig{Keys: []Key{{Public: ec256().Public(), Algorithms: []Algorithm{ES384}}}, DefaultRooms: everyRoom()}, "can't be used"},
		{"private key", JWTConfig{Keys: []Key{{Public: rsaKey()}}, DefaultRooms: everyRoom()}, "unsupported"},
		{"bytes as key", JWTConfig{Keys: []Key{{Public: []byte("canary")}}, DefaultRooms: everyRoom()}, "unsupported"},
		{"no key in Key", JWTConfig{Keys: []Key{{}}, DefaultRooms: everyRoom()}, "unsupported"},
		{"URL of another scheme", JWTConfig{JWKSURL: "file:///etc/passwd", DefaultRooms: everyRoom()}, "https"},
		{"relative URL", JWTConfig{JWKSURL: "/jwks", DefaultRooms: everyRoom()}, "https"},
		{"bad URL", JWTConfig{JWKSURL: "https://canary:%zz@", DefaultRooms: everyRoom()}, "https"},
		{"user claim", JWTConfig{Secret: testSecret, UserClaim: "exp", DefaultRooms: everyRoom()}, "user claim"},
		{"negative lifetime", JWTConfig{Secret: testSecret, MaxLifetime: -1, DefaultRooms: everyRoom()}, "MaxLifetime"},
	} {
		t.Run(test.name, func(t *testing.T) {
			j, err := NewJWT(test.cfg)
			if err == nil {
				_ = j.Close()
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("the error is %q, want it to say %q", err, test.want)
			}
		})
	}
}

func TestCloseTwice(t *testing.T) {
	j := newJWT(t, JWTConfig{Secret: testSecret})
	if err := j.Close(); err != nil {
		t.Error(err)
	}
	if _, err := verify(j, mint(t, SigningKey{Secret: testSecret}, Claims{})); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if err := j.Ready(); err != nil {
		t.Error(err)
	}
}
