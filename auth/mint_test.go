package auth

import (
	"crypto"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
)

func TestMint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rooms := holdfast.MustRoomList("a*")
		for _, test := range []struct {
			name         string
			key          SigningKey
			claims       Claims
			header, body string
		}{
			{"defaults", SigningKey{Secret: testSecret}, Claims{User: "u1", TokenID: "t"},
				`{"alg":"HS256","typ":"at+jwt"}`,
				`{"sub":"u1","exp":946685700,"iat":946684800,"jti":"t"}`},
			{"everything", SigningKey{ID: "k", Algorithm: HS512, Secret: testSecret},
				Claims{
					User: "u1", Name: "Ada", Email: "a@b", Roles: []string{"r"}, Session: "s", TokenID: "t", Issuer: "i", Audience: []string{"a"},
					IssuedAt: time.Unix(100, 5), NotBefore: time.Unix(200, 0), Expires: time.Unix(300, 0), PermissionVersion: new(int64),
					Permissions: &ClaimedPermissions{Rooms: &rooms, Actions: []string{"x.y"}},
					Extra:       map[string]json.RawMessage{"z": []byte(`[1]`), "b": []byte(`{"c":null}`)},
				},
				`{"alg":"HS512","kid":"k","typ":"at+jwt"}`,
				`{"iss":"i","sub":"u1","aud":["a"],"exp":300,"nbf":200,"iat":100,"jti":"t","sid":"s","pv":0,"name":"Ada","email":"a@b","roles":["r"],` +
					`"permissions":{"rooms":["a*"],"actions":["x.y"]},"b":{"c":null},"z":[1]}`},
			{"no rooms", SigningKey{Secret: testSecret}, Claims{User: "u1", TokenID: "t", Permissions: &ClaimedPermissions{Rooms: new(holdfast.RoomPermissions)}},
				`{"alg":"HS256","typ":"at+jwt"}`,
				`{"sub":"u1","exp":946685700,"iat":946684800,"jti":"t","permissions":{"rooms":[]}}`},
			{"rooms left out", SigningKey{Secret: testSecret}, Claims{User: "u1", TokenID: "t", Permissions: &ClaimedPermissions{}},
				`{"alg":"HS256","typ":"at+jwt"}`,
				`{"sub":"u1","exp":946685700,"iat":946684800,"jti":"t","permissions":{}}`},
			{"RSA", SigningKey{Private: rsaKey()}, Claims{User: "u1", TokenID: "t"},
				`{"alg":"RS256","typ":"at+jwt"}`, `{"sub":"u1","exp":946685700,"iat":946684800,"jti":"t"}`},
			{"P-521", SigningKey{Private: ec521()}, Claims{User: "u1", TokenID: "t"},
				`{"alg":"ES512","typ":"at+jwt"}`, `{"sub":"u1","exp":946685700,"iat":946684800,"jti":"t"}`},
		} {
			token, err := Mint(test.key, test.claims)
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
				continue
			}
			header, claims, err := Inspect(token)
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			if diff := cmp.Diff([]string{test.header, test.body}, []string{string(header), string(claims)}); diff != "" {
				t.Errorf("%s: %s", test.name, diff)
			}
		}
	})
	a, b := mint(t, SigningKey{Secret: testSecret}, Claims{}), mint(t, SigningKey{Secret: testSecret}, Claims{})
	if a == b {
		t.Error("two tokens have the same jti")
	}
}

// strangeSigner is a key of a kind that nobody knows.
type strangeSigner struct{ crypto.Signer }

func TestMintRefuses(t *testing.T) {
	good := SigningKey{Secret: testSecret}
	for name, test := range map[string]struct {
		key    SigningKey
		claims Claims
	}{
		"no key":             {SigningKey{}, Claims{User: "u"}},
		"two keys":           {SigningKey{Secret: testSecret, Private: ec256()}, Claims{User: "u"}},
		"no user":            {good, Claims{}},
		"short secret":       {SigningKey{Secret: testSecret[:31]}, Claims{User: "u"}},
		"short for HS512":    {SigningKey{Secret: testSecret[:63], Algorithm: HS512}, Claims{User: "u"}},
		"none":               {SigningKey{Secret: testSecret, Algorithm: "none"}, Claims{User: "u"}},
		"RS256 by a secret":  {SigningKey{Secret: testSecret, Algorithm: RS256}, Claims{User: "u"}},
		"HS256 by a key":     {SigningKey{Private: ec256(), Algorithm: HS256}, Claims{User: "u"}},
		"weak RSA":           {SigningKey{Private: rsaWeak()}, Claims{User: "u"}},
		"strange key":        {SigningKey{Private: strangeSigner{ec256()}}, Claims{User: "u"}},
		"extra sub":          {good, Claims{User: "u", Extra: map[string]json.RawMessage{"sub": []byte(`"x"`)}}},
		"extra Exp":          {good, Claims{User: "u", Extra: map[string]json.RawMessage{"Exp": []byte(`1`)}}},
		"extra that is none": {good, Claims{User: "u", Extra: map[string]json.RawMessage{"x": []byte(`{canary`)}}},
		"empty extra":        {good, Claims{User: "u", Extra: map[string]json.RawMessage{"x": nil}}},
	} {
		token, err := Mint(test.key, test.claims)
		if err == nil || token != "" || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %q, %v", name, token, err)
		}
	}
	if _, err := good.Public(); err == nil {
		t.Error("a secret has a public key")
	}
	if _, err := (SigningKey{Private: rsaWeak()}).Public(); err == nil {
		t.Error("a weak key has a public key")
	}
}

func TestInspect(t *testing.T) {
	// It proves nothing, and does not need to: bad signatures are shown, too.
	for _, token := range []string{b64(`{"alg":"none"}`) + "." + b64(`{"sub":"u1"}`) + ".AA", b64(`{}`) + "." + b64(`[]`) + ".AA"} {
		if _, _, err := Inspect(token); err != nil {
			t.Errorf("%s: %v", token, err)
		}
	}
	for _, token := range []string{"", "a.b", "a.b.c", b64(`{`) + "." + b64(`{}`) + ".AA", b64(`{}`) + "." + b64("canary") + ".AA", strings.Repeat("a", MaxToken+1)} {
		header, claims, err := Inspect(token)
		if err == nil || header != nil || claims != nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %s, %s, %v", token, header, claims, err)
		}
	}
}
