package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// FuzzToken gives any text as a token. Nothing may be let in, since the
// fuzzer does not know the secret, and every refusal must be one.
func FuzzToken(f *testing.F) {
	for _, token := range []string{
		"", ".", "..", "e30.e30.e30", hsHeader,
		b64(hsHeader) + "." + b64(`{"sub":"u1","exp":4102444800}`) + ".AAAA",
		b64(`{"alg":"none"}`) + "." + b64(`{"sub":"u1"}`) + ".",
		b64(`{"alg":"ES256","kid":"k","jwk":{"kty":"oct","k":"AA"}}`) + "." + b64(`{}`) + "." + strings.Repeat("A", 86),
		b64(`{"alg":"HS256","crit":["b64"],"b64":false}`) + ".." + strings.Repeat("A", 43),
		"Bearer " + b64(hsHeader), "hfk_a_b",
	} {
		f.Add(token)
	}
	public, err := SigningKey{Private: ec256()}.Public()
	if err != nil {
		f.Fatal(err)
	}
	j := newJWT(f, JWTConfig{Secret: testSecret, Keys: []Key{public}})
	f.Fuzz(func(t *testing.T, token string) {
		id, err := verify(j, token)
		wantRefused(t, id, err, holdfast.Unauthenticated, "")
		if _, _, err := Inspect(token); err == nil {
			// What is taken apart here is a token for others, too.
			if _, _, err := jwt.NewParser().ParseUnverified(token, jwt.MapClaims{}); err != nil && errors.Is(err, jwt.ErrTokenMalformed) &&
				!strings.Contains(err.Error(), "JSON decode") {
				t.Errorf("golang-jwt can't take it apart: %v", err)
			}
		}
	})
}

// FuzzClaims signs any claims. Whatever is let in has what it must have.
func FuzzClaims(f *testing.F) {
	for _, claims := range []string{
		`{}`, `{"sub":"u1","exp":%}`, `{"sub":"u1","exp":%,"permissions":{"rooms":["a*","!ab"],"actions":["x.*"]}}`,
		`{"sub":"u1","exp":%,"permissions":{"rooms":{"a":["join"]}}}`, `{"sub":"u1","exp":%,"sub":"u2"}`, `{"sub":"u1","exp":%,"Sub":"u2"}`,
		`{"sub":"u1","exp":%.5,"iat":null,"nbf":0,"aud":["a"],"iss":"i","roles":["r"],"name":"\ud800","pv":-1,"sid":"s"}`, `{"exp":1e300,"sub":""}`,
	} {
		f.Add(claims)
	}
	j := newJWT(f, JWTConfig{Secret: testSecret})
	f.Fuzz(func(t *testing.T, claims string) {
		now := time.Now()
		claims = strings.ReplaceAll(claims, "%", strconv.FormatInt(now.Add(time.Hour).Unix(), 10))
		token, err := sign(SigningKey{Secret: testSecret}, HS256, []byte(hsHeader), []byte(claims))
		if err != nil {
			t.Fatal(err)
		}
		id, err := verify(j, token)
		if err != nil {
			if code := holdfast.CodeOf(err); id != nil || code != holdfast.Unauthenticated && code != holdfast.TokenExpired {
				t.Fatalf("%q: %+v, %v", claims, id, err)
			}
			return
		}
		var m map[string]any
		if err := json.Unmarshal([]byte(claims), &m); err != nil {
			t.Fatalf("%q is let in, and is not JSON: %v", claims, err)
		}
		if id.User == "" || m["sub"] != id.User {
			t.Fatalf("%q: the user is %q, and to encoding/json %v", claims, id.User, m["sub"])
		}
		if ahead := id.Expires.Sub(now); ahead < -time.Minute || ahead > 25*time.Hour {
			t.Fatalf("%q: it expires %v ahead", claims, ahead)
		}
		permissions, _ := m["permissions"].(map[string]any)
		if rooms, ok := permissions["rooms"]; ok && id.Permissions.Room("zzz") == holdfast.AllVerbs && !strings.Contains(claims, "*") && !strings.Contains(claims, "zzz") && !strings.Contains(claims, `\`) {
			t.Fatalf("%q: the default rooms replace %v", claims, rooms)
		}
	})
}

// FuzzCredential looks for a token in any payload and header.
func FuzzCredential(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"token":"t"}`, ""}, {`{"token":null}`, "Bearer t"}, {`{"token":"a","token":"b"}`, "bearer"}, {`[]`, "Basic x"}, {`{`, "Bearer a b"}, {"", "Bearer a,b"},
	} {
		f.Add([]byte(seed[0]), seed[1])
	}
	f.Fuzz(func(t *testing.T, payload []byte, authorization string) {
		c := Credential{Payload: payload, Header: map[string][]string{"Authorization": {authorization}}}
		token, err := c.BearerToken()
		if err != nil {
			wantRefused(t, nil, err, holdfast.Unauthenticated, "")
			return
		}
		var p struct {
			Token *string `json:"token"`
		}
		if token != "" && !strings.Contains(authorization, token) {
			if err := json.Unmarshal(payload, &p); err != nil || p.Token == nil || *p.Token != token {
				if !strings.Contains(strings.ToLower(string(payload)), `token`) && !strings.Contains(string(payload), `\`) {
					t.Fatalf("%q, %q: token %q", payload, authorization, token)
				}
			}
		}
	})
}

// What is read without reflection is what reflection reads.
func FuzzRooms(f *testing.F) {
	for _, seed := range []string{
		`null`, `[]`, `{}`, `["a","!b-*","**"]`, `{"a":["join"],"b-*":["join","publish","presence"],"!c":[]}`, `["a","a"]`,
		`{"a":["join"],"a":["publish"]}`, `{"a":["join"],"\u0061":["join"]}`, `["\ud800","\u00e9\ud83d\ude00\n"]`, `{"\ud800":["join"],"\ufffd":["join"]}`,
		`[null]`, `["a",1]`, `[["a"]]`, `{"a":null}`, `{"a":[null]}`, `{"a":"join"}`, `{"a":["fly"]}`, `{"a":{}}`, `{"":["join"]}`, `[""]`, `["!"]`,
		`"a"`, `1`, `true`, `[ "a" , "b" ]`, `{ "a" : [ "join" , "join" ] }`, `["` + strings.Repeat("a", 201) + `"]`, `{"a":[["join"]]}`, `nul`,
		"[" + strings.TrimSuffix(strings.Repeat(`"a",`, 257), ",") + "]",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = bytes.TrimSpace(data) // as values of members are
		if jsonscan.Check(data, jsonscan.Limits{}) != nil {
			t.Skip("no JSON")
		}
		var want holdfast.RoomPermissions
		err := json.Unmarshal(data, &want)
		got, ok := readRooms(data)
		if ok != (err == nil) || ok && (!got.Equal(want) || got.String() != want.String()) {
			t.Errorf("read %v, %v; want %v, %v", got, ok, want, err)
		}
	})
}
