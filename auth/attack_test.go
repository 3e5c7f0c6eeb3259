package auth

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// everything verifies tokens of every kind of key.
func everything(t testing.TB) *JWT {
	cfg := JWTConfig{Secret: testSecret}
	for _, alg := range []Algorithm{RS256, ES256, EdDSA} {
		public, err := signingKeys()[alg].Public()
		if err != nil {
			t.Fatal(err)
		}
		public.ID = string(alg)
		cfg.Keys = append(cfg.Keys, public)
	}
	return newJWT(t, cfg)
}

// The attack in each case is in the signature, or in how it is to be checked.
func TestSignatureAttacks(t *testing.T) {
	j := everything(t)
	keys := signingKeys()
	claims := goodClaims()
	good := forge(t, keys[HS256], HS256, hsHeader, claims)
	if _, err := verify(j, good); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(good, ".")
	unsigned := func(header string) string { return b64(header) + "." + parts[1] + "." }
	withSignature := func(header, signature string) string { return unsigned(header) + signature }

	attacks := map[string]string{
		"none":                       unsigned(`{"alg":"none"}`),
		"none, signed":               withSignature(`{"alg":"none"}`, parts[2]),
		"none, some signature":       withSignature(`{"alg":"none"}`, b64("x")),
		"None":                       withSignature(`{"alg":"None"}`, b64("x")),
		"NONE":                       withSignature(`{"alg":"NONE"}`, b64("x")),
		"nOnE":                       withSignature(`{"alg":"nOnE"}`, b64("x")),
		"none with space":            withSignature(`{"alg":"none "}`, b64("x")),
		"no alg":                     forge(t, keys[HS256], HS256, `{"typ":"JWT"}`, claims),
		"alg null":                   forge(t, keys[HS256], HS256, `{"alg":null}`, claims),
		"alg empty":                  forge(t, keys[HS256], HS256, `{"alg":""}`, claims),
		"alg a number":               forge(t, keys[HS256], HS256, `{"alg":256}`, claims),
		"alg a list":                 forge(t, keys[HS256], HS256, `{"alg":["HS256"]}`, claims),
		"alg in lower case":          forge(t, keys[HS256], HS256, `{"alg":"hs256"}`, claims),
		"alg unknown":                forge(t, keys[HS256], HS256, `{"alg":"HS1"}`, claims),
		"alg with NUL":               forge(t, keys[HS256], HS256, `{"alg":"HS256\u0000"}`, claims),
		"alg twice":                  forge(t, keys[HS256], HS256, `{"alg":"HS256","alg":"HS256"}`, claims),
		"alg twice, second none":     forge(t, keys[HS256], HS256, `{"alg":"HS256","alg":"none"}`, claims),
		"alg in two cases":           forge(t, keys[HS256], HS256, `{"alg":"HS256","ALG":"none"}`, claims),
		"alg in another case":        forge(t, keys[HS256], HS256, `{"Alg":"HS256"}`, claims),
		"alg escaped twice":          forge(t, keys[HS256], HS256, `{"alg":"HS256","\u0061lg":"HS256"}`, claims),
		"other secret":               forge(t, SigningKey{Secret: Secret(strings.Repeat("x", 64))}, HS256, hsHeader, claims),
		"empty secret":               forge(t, SigningKey{}, HS256, hsHeader, claims),
		"alg of another hash":        forge(t, keys[HS256], HS256, `{"alg":"HS512"}`, claims),
		"HS token as RS256":          forge(t, keys[HS256], HS256, `{"alg":"RS256"}`, claims),
		"RS256 as PS256":             forge(t, keys[RS256], RS256, `{"alg":"PS256"}`, claims),
		"PS256 on a key for RS256":   forge(t, keys[PS256], PS256, `{"alg":"PS256"}`, claims),
		"RS512 on a key for RS256":   forge(t, keys[RS512], RS512, `{"alg":"RS512"}`, claims),
		"ES384 on P-256":             withSignature(`{"alg":"ES384"}`, base64.RawURLEncoding.EncodeToString(make([]byte, 96))),
		"another ES256 key":          forge(t, SigningKey{Private: must(ecdsa.GenerateKey(ec256().Curve, rand.Reader))}, ES256, `{"alg":"ES256"}`, claims),
		"ES256 of zeros":             withSignature(`{"alg":"ES256"}`, base64.RawURLEncoding.EncodeToString(make([]byte, 64))),
		"ES256 in DER":               derSigned(t, claims),
		"EdDSA of zeros":             withSignature(`{"alg":"EdDSA"}`, base64.RawURLEncoding.EncodeToString(make([]byte, 64))),
		"kid of another key":         forge(t, keys[ES256], ES256, `{"alg":"ES256","kid":"RS256"}`, claims),
		"kid unknown":                forge(t, keys[ES256], ES256, `{"alg":"ES256","kid":"other"}`, claims),
		"kid a path":                 forge(t, SigningKey{}, HS256, `{"alg":"HS256","kid":"../../dev/null"}`, claims),
		"kid a query":                forge(t, SigningKey{Secret: Secret("key")}, HS256, `{"alg":"HS256","kid":"x' UNION SELECT 'key"}`, claims),
		"kid a number":               forge(t, keys[HS256], HS256, `{"alg":"HS256","kid":1}`, claims),
		"kid null":                   forge(t, keys[HS256], HS256, `{"alg":"HS256","kid":null}`, claims),
		"kid a list":                 forge(t, keys[HS256], HS256, `{"alg":"HS256","kid":["a"]}`, claims),
		"kid too long":               forge(t, keys[HS256], HS256, `{"alg":"HS256","kid":"`+strings.Repeat("k", 257)+`"}`, claims),
		"crit empty":                 forge(t, keys[HS256], HS256, `{"alg":"HS256","crit":[]}`, claims),
		"crit of known":              forge(t, keys[HS256], HS256, `{"alg":"HS256","crit":["exp"],"exp":1}`, claims),
		"crit of unknown":            forge(t, keys[HS256], HS256, `{"alg":"HS256","crit":["x"],"x":1}`, claims),
		"crit null":                  forge(t, keys[HS256], HS256, `{"alg":"HS256","crit":null}`, claims),
		"b64 false":                  forge(t, keys[HS256], HS256, `{"alg":"HS256","b64":false,"crit":["b64"]}`, claims),
		"b64 without crit":           forge(t, keys[HS256], HS256, `{"alg":"HS256","b64":false}`, claims),
		"logout token":               forge(t, keys[HS256], HS256, `{"alg":"HS256","typ":"logout+jwt"}`, claims),
		"refresh token":              forge(t, keys[HS256], HS256, `{"alg":"HS256","typ":"application/refresh+jwt"}`, claims),
		"typ a number":               forge(t, keys[HS256], HS256, `{"alg":"HS256","typ":1}`, claims),
		"typ twice":                  forge(t, keys[HS256], HS256, `{"alg":"HS256","typ":"JWT","typ":"JWT"}`, claims),
		"header a list":              forge(t, keys[HS256], HS256, `["HS256"]`, claims),
		"header a string":            forge(t, keys[HS256], HS256, `"HS256"`, claims),
		"header null":                forge(t, keys[HS256], HS256, `null`, claims),
		"header cut":                 forge(t, keys[HS256], HS256, `{"alg":"HS256"`, claims),
		"header with more behind it": forge(t, keys[HS256], HS256, hsHeader+`{"alg":"none"}`, claims),
		"header not UTF-8":           forge(t, keys[HS256], HS256, "{\"alg\":\"HS256\",\"x\":\"\xff\"}", claims),
		"header too deep":            forge(t, keys[HS256], HS256, `{"alg":"HS256","x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`}`, claims),
		"header too many":            forge(t, keys[HS256], HS256, manyMembers(`"alg":"HS256"`, 40), claims),

		"no signature":            parts[0] + "." + parts[1] + ".",
		"two parts":               parts[0] + "." + parts[1],
		"one part":                parts[0],
		"detached":                parts[0] + ".." + parts[2],
		"no header":               "." + parts[1] + "." + parts[2],
		"four parts":              good + "." + parts[2],
		"five parts":              good + ".x.y",
		"dot behind":              good + ".",
		"dot before":              "." + good,
		"dots":                    "..",
		"space before":            " " + good,
		"space behind":            good + " ",
		"line end behind":         good + "\n",
		"line end inside":         good[:20] + "\r\n" + good[20:],
		"line end in signature":   good[:len(good)-5] + "\n" + good[len(good)-5:],
		"NUL behind":              good + "\x00",
		"padded":                  good + "=",
		"quoted":                  `"` + good + `"`,
		"with its scheme":         "Bearer " + good,
		"two tokens":              good + "," + good,
		"more signature":          good + "AAAA",
		"less signature":          good[:len(good)-4],
		"other bits of last byte": nonCanonical(good),
		"signature changed":       changed(good, len(good)-10),
		"claims changed":          changed(good, len(parts[0])+5),
		"signature of other text": parts[0] + "." + b64(goodClaims(`"x":1`)) + "." + parts[2],
		"standard base64":         strings.NewReplacer("-", "+", "_", "/").Replace(forge(t, keys[HS256], HS256, `{"alg":"HS256","x":"???>>>~~~"}`, claims)) + "+/",
		"not base64":              "!!!." + parts[1] + "." + parts[2],
		"not ASCII":               "é." + parts[1] + "." + parts[2],
		"JSON serialization":      `{"payload":"` + parts[1] + `","signatures":[]}`,
		"too long":                mintOfSize(t, 8<<10+1),
		"far too long":            strings.Repeat("a", 1<<20),
		"a lot of dots":           strings.Repeat(".", 8000),
		"API key":                 "hfk_abcdefghijklmnop_" + strings.Repeat("a", 52),
	}
	// A public key is known to everybody, so as an HMAC key it proves nothing.
	for _, alg := range []Algorithm{RS256, ES256, EdDSA} {
		public, err := keys[alg].Public()
		if err != nil {
			t.Fatal(err)
		}
		text := publicPEM(t, public.Public)
		der, err := x509.MarshalPKIXPublicKey(public.Public)
		if err != nil {
			t.Fatal(err)
		}
		for form, secret := range map[string][]byte{"PEM": text, "PEM without line end": []byte(strings.TrimSpace(string(text))), "DER": der, "JWK": []byte(jwk(t, public.Public, nil))} {
			for _, hs := range []Algorithm{HS256, HS384, HS512} {
				name := fmt.Sprintf("%s by the %s key as %s", hs, alg, form)
				attacks[name] = forge(t, SigningKey{Secret: secret}, hs, `{"alg":"`+string(hs)+`","kid":"`+string(alg)+`"}`, claims)
			}
		}
	}
	for name, token := range attacks {
		t.Run(name, func(t *testing.T) {
			id, err := verify(j, token)
			wantRefused(t, id, err, holdfast.Unauthenticated, token)
			if err != nil && holdfast.AsError(err).Message != "Unauthorized: invalid token" {
				t.Errorf("it tells more before the signature is known to be good: %v", err)
			}
		})
	}
	id, err := verify(j, "")
	wantRefused(t, id, err, holdfast.Unauthenticated, "")
}

func manyMembers(first string, n int) string {
	var b strings.Builder
	b.WriteString("{" + first)
	for i := range n {
		b.WriteString(`,"m` + strconv.Itoa(i) + `":1`)
	}
	return b.String() + "}"
}

// derSigned is a token by a right key, with the signature encoded as
// elsewhere (RFC 7518 §3.4 wants the two numbers side by side).
func derSigned(t testing.TB, claims string) string {
	text := b64(`{"alg":"ES256"}`) + "." + b64(claims)
	hash := sha256.Sum256([]byte(text))
	signature, err := ecdsa.SignASN1(rand.Reader, ec256(), hash[:])
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature)
}

// nonCanonical changes bits of the last character that are no part of the
// data: the same token in another spelling, which a list of revoked tokens by
// text or hash would not know.
func nonCanonical(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last^1])
}

func changed(token string, at int) string {
	c := byte('A')
	if token[at] == c {
		c = 'B'
	}
	return token[:at] + string(c) + token[at+1:]
}

// mintOfSize makes a good token of exactly n bytes.
func mintOfSize(t testing.TB, n int) string {
	for fill := n/4*3 - 300; fill < n; fill++ {
		token := forge(t, SigningKey{Secret: testSecret}, HS256, hsHeader, goodClaims(`"x":"`+strings.Repeat("x", fill)+`"`))
		if len(token) == n {
			return token
		}
	}
	for fill := n/4*3 - 300; fill < n; fill++ { // a size that the claims alone do not reach
		token := forge(t, SigningKey{Secret: testSecret}, HS256, `{"alg":"HS256"}`, goodClaims(`"x":"`+strings.Repeat("x", fill)+`"`))
		if len(token) == n {
			return token
		}
	}
	t.Fatalf("no token of %d bytes", n)
	return ""
}

func TestLongestToken(t *testing.T) {
	if _, err := verify(everything(t), mintOfSize(t, 8<<10)); err != nil {
		t.Errorf("8 KiB: %v", err)
	}
}

// What a token says about where to find its key is not even looked at: it
// neither lets a forged token in, nor spoils a good one, nor makes a request.
func TestKeysFromTokensAreIgnored(t *testing.T) {
	client := &http.Client{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
		t.Errorf("fetched %s", r.URL)
		return nil, http.ErrNotSupported
	})}
	public, err := SigningKey{Private: ec256()}.Public()
	if err != nil {
		t.Fatal(err)
	}
	j := newJWT(t, JWTConfig{Keys: []Key{public}, HTTPClient: client})
	evil := must(ecdsa.GenerateKey(ec256().Curve, rand.Reader))
	for name, member := range map[string]string{
		"jwk": jwk(t, evil.Public(), nil),
		"jku": `"https://evil.example/jwks"`,
		"x5u": `"https://evil.example/cert"`,
		"x5c": `["MIIB"]`,
	} {
		header := `{"alg":"ES256","` + name + `":` + member + `}`
		token := forge(t, SigningKey{Private: evil}, ES256, header, goodClaims())
		id, err := verify(j, token)
		wantRefused(t, id, err, holdfast.Unauthenticated, token)

		if _, err := verify(j, forge(t, SigningKey{Private: ec256()}, ES256, header, goodClaims())); err != nil {
			t.Errorf("%s spoils a good token: %v", name, err)
		}
	}
}

func TestShortSecretForLongHash(t *testing.T) {
	j := newJWT(t, JWTConfig{Secret: testSecret[:32]})
	key := SigningKey{Secret: testSecret[:32]}
	if _, err := verify(j, mint(t, key, Claims{})); err != nil {
		t.Errorf("HS256: %v", err)
	}
	for _, alg := range []Algorithm{HS384, HS512} {
		token := forge(t, key, alg, `{"alg":"`+string(alg)+`"}`, goodClaims())
		id, err := verify(j, token)
		wantRefused(t, id, err, holdfast.Unauthenticated, token)
	}
	longer := newJWT(t, JWTConfig{Secret: testSecret[:48]})
	if _, err := verify(longer, mint(t, SigningKey{Secret: testSecret[:48], Algorithm: HS384}, Claims{})); err != nil {
		t.Errorf("HS384: %v", err)
	}
}

// The signature of each is good: it is the claims that are not.
func TestClaimAttacks(t *testing.T) {
	j := newJWT(t, JWTConfig{Secret: testSecret})
	exp := fmt.Sprintf(`"exp":%d`, time.Now().Add(time.Hour).Unix())
	many := strings.TrimSuffix(strings.Repeat(`"a*",`, 257), ",")
	for name, claims := range map[string]string{
		"list":              `[]`,
		"string":            `"u1"`,
		"null":              `null`,
		"number":            `1`,
		"empty object":      `{}`,
		"cut":               `{"sub":"u1",` + exp,
		"more behind":       `{"sub":"u1",` + exp + `}x`,
		"two objects":       `{"sub":"u1",` + exp + `}{"sub":"u2"}`,
		"NUL behind":        `{"sub":"u1",` + exp + "}\x00",
		"byte order mark":   "\ufeff" + `{"sub":"u1",` + exp + `}`,
		"not UTF-8":         "{\"sub\":\"u\xff\"," + exp + `}`,
		"not UTF-8, unused": "{\"sub\":\"u\",\"x\":\"\xc3\"," + exp + `}`,
		"too deep":          `{"sub":"u1",` + exp + `,"x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`,
		"too many":          manyMembers(`"sub":"u1",`+exp, 300),

		"sub missing":         `{` + exp + `}`,
		"sub null":            `{"sub":null,` + exp + `}`,
		"sub empty":           `{"sub":"",` + exp + `}`,
		"sub a number":        `{"sub":1,` + exp + `}`,
		"sub a list":          `{"sub":["u1"],` + exp + `}`,
		"sub an object":       `{"sub":{"id":"u1"},` + exp + `}`,
		"sub with control":    `{"sub":"u\n1",` + exp + `}`,
		"sub too long":        `{"sub":"` + strings.Repeat("u", 257) + `",` + exp + `}`,
		"sub twice":           `{"sub":"u1","sub":"u2",` + exp + `}`,
		"sub twice, same":     `{"sub":"u1","sub":"u1",` + exp + `}`,
		"sub twice, escaped":  `{"sub":"u1","\u0073ub":"u2",` + exp + `}`,
		"sub in two cases":    `{"sub":"u1","Sub":"u2",` + exp + `}`,
		"sub in another case": `{"SUB":"u1",` + exp + `}`,
		"sub with a long s":   `{"sub":"u1","ſub":"u2",` + exp + `}`,
		"other claim twice":   `{"sub":"u1","x":1,"x":2,` + exp + `}`,

		"exp missing":         `{"sub":"u1"}`,
		"exp null":            `{"sub":"u1","exp":null}`,
		"exp a string":        `{"sub":"u1","exp":"4102444800"}`,
		"exp true":            `{"sub":"u1","exp":true}`,
		"exp a list":          `{"sub":"u1","exp":[4102444800]}`,
		"exp negative":        `{"sub":"u1","exp":-1}`,
		"exp in milliseconds": fmt.Sprintf(`{"sub":"u1","exp":%d}`, time.Now().Add(time.Hour).UnixMilli()),
		"exp huge":            `{"sub":"u1","exp":9223372036854775807}`,
		"exp beyond 64 bits":  `{"sub":"u1","exp":9223372036854775808}`,
		"exp beyond floats":   `{"sub":"u1","exp":1e400}`,
		"exp 1e18":            `{"sub":"u1","exp":1e18}`,
		"exp NaN":             `{"sub":"u1","exp":NaN}`,
		"exp hexadecimal":     `{"sub":"u1","exp":0x7fffffff}`,
		"exp twice":           `{"sub":"u1",` + exp + `,` + exp + `}`,
		"exp in two cases":    `{"sub":"u1",` + exp + `,"Exp":4102444800}`,
		"exp in another case": `{"sub":"u1","EXP":4102444800}`,
		"exp in a year":       fmt.Sprintf(`{"sub":"u1","exp":%d}`, time.Now().AddDate(1, 0, 0).Unix()),

		"iat in the future": `{"sub":"u1",` + exp + fmt.Sprintf(`,"iat":%d}`, time.Now().Add(time.Minute).Unix()),
		"iat a string":      `{"sub":"u1",` + exp + `,"iat":"1"}`,
		"nbf in the future": `{"sub":"u1",` + exp + fmt.Sprintf(`,"nbf":%d}`, time.Now().Add(time.Minute).Unix()),
		"nbf a string":      `{"sub":"u1",` + exp + `,"nbf":"0"}`,
		"nbf false":         `{"sub":"u1",` + exp + `,"nbf":false}`,
		"nbf in other case": `{"sub":"u1",` + exp + `,"NBF":4102444800}`,
		"sid a number":      `{"sub":"u1",` + exp + `,"sid":7}`,
		"jti a list":        `{"sub":"u1",` + exp + `,"jti":["a"]}`,
		"iss a number":      `{"sub":"u1",` + exp + `,"iss":1}`,
		"aud a number":      `{"sub":"u1",` + exp + `,"aud":1}`,
		"pv a string":       `{"sub":"u1",` + exp + `,"pv":"3"}`,
		"pv a fraction":     `{"sub":"u1",` + exp + `,"pv":3.5}`,
		"pv too large":      `{"sub":"u1",` + exp + `,"pv":9223372036854775808}`,
		"PV":                `{"sub":"u1",` + exp + `,"PV":3}`,

		"permissions a list":      `{"sub":"u1",` + exp + `,"permissions":["admin"]}`,
		"permissions a string":    `{"sub":"u1",` + exp + `,"permissions":"admin"}`,
		"permissions true":        `{"sub":"u1",` + exp + `,"permissions":true}`,
		"Permissions":             `{"sub":"u1",` + exp + `,"Permissions":{"rooms":[]}}`,
		"rooms a string":          `{"sub":"u1",` + exp + `,"permissions":{"rooms":"**"}}`,
		"rooms a number":          `{"sub":"u1",` + exp + `,"permissions":{"rooms":1}}`,
		"rooms false":             `{"sub":"u1",` + exp + `,"permissions":{"rooms":false}}`,
		"rooms of numbers":        `{"sub":"u1",` + exp + `,"permissions":{"rooms":[1]}}`,
		"rooms of unknown verbs":  `{"sub":"u1",` + exp + `,"permissions":{"rooms":{"a":["fly"]}}}`,
		"rooms of empty patterns": `{"sub":"u1",` + exp + `,"permissions":{"rooms":[""]}}`,
		"rooms twice":             `{"sub":"u1",` + exp + `,"permissions":{"rooms":[],"rooms":["**"]}}`,
		"rooms in two cases":      `{"sub":"u1",` + exp + `,"permissions":{"rooms":[],"Rooms":["**"]}}`,
		"rooms in another case":   `{"sub":"u1",` + exp + `,"permissions":{"ROOMS":["a"]}}`,
		"a pattern twice":         `{"sub":"u1",` + exp + `,"permissions":{"rooms":{"a":[],"a":["join"]}}}`,
		"too many patterns":       `{"sub":"u1",` + exp + `,"permissions":{"rooms":[` + many + `]}}`,
		"too long a pattern":      `{"sub":"u1",` + exp + `,"permissions":{"rooms":["` + strings.Repeat("a", 201) + `"]}}`,
		"actions an object":       `{"sub":"u1",` + exp + `,"permissions":{"actions":{}}}`,
		"actions a string":        `{"sub":"u1",` + exp + `,"permissions":{"actions":"*"}}`,
		"actions of numbers":      `{"sub":"u1",` + exp + `,"permissions":{"actions":[1]}}`,
		"actions twice":           `{"sub":"u1",` + exp + `,"permissions":{"actions":[],"actions":["*"]}}`,
		"permissions twice":       `{"sub":"u1",` + exp + `,"permissions":{},"permissions":{"rooms":["**"]}}`,
		"other permission twice":  `{"sub":"u1",` + exp + `,"permissions":{"x":1,"x":2}}`,
	} {
		t.Run(name, func(t *testing.T) {
			token := forge(t, SigningKey{Secret: testSecret}, HS256, hsHeader, claims)
			id, err := verify(j, token)
			wantRefused(t, id, err, holdfast.Unauthenticated, token)
		})
	}
	for _, claims := range []string{`{"sub":"u1","exp":0}`, `{"sub":"u1","exp":1.5}`} {
		token := forge(t, SigningKey{Secret: testSecret}, HS256, hsHeader, claims)
		id, err := verify(j, token)
		wantRefused(t, id, err, holdfast.TokenExpired, token)
	}
}

// Which types of token are taken.
func TestTyp(t *testing.T) {
	j := newJWT(t, JWTConfig{Secret: testSecret})
	for _, header := range []string{
		`{"alg":"HS256"}`, `{"alg":"HS256","typ":"JWT"}`, `{"typ":"jwt","alg":"HS256"}`, `{"alg":"HS256","typ":"at+jwt"}`,
		`{"alg":"HS256","typ":"application/at+JWT"}`, `{"alg":"HS256","kid":"any","typ":"JWT","cty":"x","other":{"a":[1]}}`,
	} {
		if _, err := verify(j, forge(t, SigningKey{Secret: testSecret}, HS256, header, goodClaims())); err != nil {
			t.Errorf("%s: %v (%v)", header, err, holdfast.AsError(err).Err)
		}
	}
}
