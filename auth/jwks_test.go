package auth

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// issuer is the other end of a JWKS URL.
type issuer struct {
	mu      sync.Mutex
	keys    []string // JWKs
	body    string   // instead of the keys
	status  int      // 0: 200
	down    bool
	hang    chan struct{} // answers wait for it to be closed; nil: they don't
	fetches int
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.fetches++
	hang := i.hang
	i.mu.Unlock()
	if hang != nil {
		select {
		case <-hang:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.down {
		return nil, errors.New("connection refused")
	}
	body := i.body
	if body == "" {
		body = `{"keys":[` + strings.Join(i.keys, ",") + `]}`
	}
	status := i.status
	if status == 0 {
		status = http.StatusOK
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (i *issuer) set(change func(*issuer)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change(i)
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetches
}

// verifier makes the JWT that has its keys from i alone, unless cfg has more.
func (i *issuer) verifier(t testing.TB, cfg JWTConfig) *JWT {
	cfg.JWKSURL = "https://issuer.example/jwks?key=canary"
	cfg.HTTPClient = &http.Client{Transport: i}
	return newJWT(t, cfg)
}

func newEC(id string) SigningKey {
	return SigningKey{ID: id, Private: must(ecdsa.GenerateKey(ec256().Curve, rand.Reader))}
}

func publicJWK(t testing.TB, key SigningKey, members map[string]any) string {
	if members == nil {
		members = map[string]any{"alg": "ES256", "use": "sig"}
	}
	if key.ID != "" {
		members["kid"] = key.ID
	}
	return jwk(t, key.Private.Public(), members)
}

func TestJWKS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newEC("a"), newEC("b")
		idp := &issuer{keys: []string{publicJWK(t, a, nil), publicJWK(t, b, nil)}}
		j := idp.verifier(t, JWTConfig{})
		for range 50 {
			for _, key := range []SigningKey{a, b} {
				if id, err := verify(j, mint(t, key, Claims{})); err != nil || id.User != "u1" {
					t.Fatalf("%+v, %v", id, err)
				}
			}
		}
		if n := idp.count(); n != 1 {
			t.Errorf("%d fetches for 100 tokens", n)
		}
		if err := j.Ready(); err != nil {
			t.Error(err)
		}
		// A known kid with a bad signature is no reason to fetch.
		forged := newEC("a")
		token := mint(t, forged, Claims{})
		id, err := verify(j, token)
		wantRefused(t, id, err, holdfast.Unauthenticated, token)
		if n := idp.count(); n != 1 {
			t.Errorf("%d fetches after a forged token", n)
		}
	})
}

func TestJWKSRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newEC("a"), newEC("b")
		idp := &issuer{keys: []string{publicJWK(t, a, nil)}}
		j := idp.verifier(t, JWTConfig{})
		old := mint(t, a, Claims{})
		if _, err := verify(j, old); err != nil {
			t.Fatal(err)
		}
		idp.set(func(i *issuer) { i.keys = []string{publicJWK(t, b, nil)} })
		if _, err := verify(j, mint(t, b, Claims{})); err != nil {
			t.Errorf("the new key: %v", err)
		}
		id, err := verify(j, old)
		wantRefused(t, id, err, holdfast.Unauthenticated, old)
		if n := idp.count(); n != 2 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestJWKSUnknownKidIsThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idp := &issuer{keys: []string{publicJWK(t, newEC("a"), nil)}}
		j := idp.verifier(t, JWTConfig{})
		synctest.Wait()
		stranger := newEC("stranger")
		for want := 2; want < 6; want++ {
			for range 100 {
				token := mint(t, stranger, Claims{})
				id, err := verify(j, token)
				wantRefused(t, id, err, holdfast.Unauthenticated, token)
			}
			if n := idp.count(); n != want {
				t.Errorf("%d fetches, want %d", n, want)
			}
			<-time.After(refetchInterval)
		}
	})
}

// However many ask at once, one fetch answers them all.
func TestJWKSSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newEC("b")
		idp := &issuer{keys: []string{publicJWK(t, newEC("a"), nil)}}
		j := idp.verifier(t, JWTConfig{})
		synctest.Wait()
		hang := make(chan struct{})
		idp.set(func(i *issuer) { i.keys, i.hang = append(i.keys, publicJWK(t, b, nil)), hang })
		token := mint(t, b, Claims{})
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				if _, err := verify(j, token); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(hang)
		wait.Wait()
		if n := idp.count(); n != 2 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestJWKSDownAtStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newEC("a")
		idp := &issuer{keys: []string{publicJWK(t, a, nil)}, down: true}
		j := idp.verifier(t, JWTConfig{})
		synctest.Wait()
		for _, token := range []string{mint(t, a, Claims{}), mint(t, newEC(""), Claims{})} {
			id, err := verify(j, token)
			wantRefused(t, id, err, holdfast.Internal, token)
			if e := holdfast.AsError(err); e.RetryAfter <= 0 || e.Code.Info().Action != holdfast.ActionWait {
				t.Errorf("not to be tried again: %+v", e)
			}
		}
		if err := j.Ready(); !errors.Is(err, holdfast.Internal) {
			t.Errorf("Ready: %v", err)
		}
		// What could not be good with any key is refused as ever.
		for _, token := range []string{"x", mint(t, SigningKey{Secret: testSecret}, Claims{})} {
			id, err := verify(j, token)
			wantRefused(t, id, err, holdfast.Unauthenticated, token)
		}
		// It is tried again without anybody asking.
		idp.set(func(i *issuer) { i.down = false })
		<-time.After(2 * firstRetry)
		if err := j.Ready(); err != nil {
			t.Errorf("Ready: %v", err)
		}
		if _, err := verify(j, mint(t, a, Claims{})); err != nil {
			t.Errorf("once it is back: %v", err)
		}
	})
}

func TestJWKSRetriesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idp := &issuer{down: true}
		idp.verifier(t, JWTConfig{})
		<-time.After(time.Hour)
		if n := idp.count(); n < 50 || n > 90 { // a minute apart, ±20 %
			t.Errorf("%d fetches in an hour", n)
		}
	})
}

func TestJWKSDownLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		a, b := newEC("a"), newEC("b")
		idp := &issuer{keys: []string{publicJWK(t, a, nil)}}
		j := idp.verifier(t, JWTConfig{RefreshInterval: time.Minute, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		synctest.Wait()
		for _, broken := range []func(*issuer){
			func(i *issuer) { i.down = true },
			func(i *issuer) { i.down, i.status = false, http.StatusInternalServerError },
			func(i *issuer) { i.status = http.StatusNoContent },
			func(i *issuer) { i.status, i.body = 0, "<html>" },
			func(i *issuer) { i.body = "{}" },
			func(i *issuer) { i.body = `{"keys":null}` },
			func(i *issuer) { i.body = `{"keys":{}}` },
			func(i *issuer) { i.body = `{"keys":[],"keys":[]}` },
			func(i *issuer) { i.body = `{"keys":[]} trailing` },
			func(i *issuer) { i.body = `{"keys":[` + strings.Repeat("{},", 256) + `{}]}` },
			func(i *issuer) { i.body = `{"keys":[],"x":"` + strings.Repeat("x", maxJWKS) + `"}` },
			func(i *issuer) { i.body = strings.Repeat("[", 100000) },
			func(i *issuer) { i.body, i.hang = "", make(chan struct{}) },
		} {
			idp.set(broken)
			<-time.After(5 * time.Minute)
			if _, err := verify(j, mint(t, a, Claims{})); err != nil {
				t.Errorf("the last known key: %v", err)
			}
			// Whether this one is good can't be known.
			token := mint(t, b, Claims{})
			id, err := verify(j, token)
			wantRefused(t, id, err, holdfast.Internal, token)
		}
		idp.set(func(i *issuer) { i.hang, i.keys = nil, append(i.keys, publicJWK(t, b, nil)) })
		<-time.After(5 * time.Minute)
		for _, key := range []SigningKey{a, b} {
			if _, err := verify(j, mint(t, key, Claims{})); err != nil {
				t.Errorf("once it is back: %v", err)
			}
		}
		if !strings.Contains(logged.String(), "connection refused") || strings.Contains(logged.String(), "canary") {
			t.Errorf("logged: %s", logged.String())
		}
	})
}

func TestJWKSRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := newEC("a"), newEC("b")
		idp := &issuer{keys: []string{publicJWK(t, a, nil), publicJWK(t, b, nil)}}
		j := idp.verifier(t, JWTConfig{})
		synctest.Wait()
		idp.set(func(i *issuer) { i.keys = i.keys[1:] })
		<-time.After(15*time.Minute - time.Second)
		token := mint(t, a, Claims{})
		if _, err := verify(j, token); err != nil {
			t.Errorf("before the refresh: %v", err)
		}
		<-time.After(2 * time.Second)
		id, err := verify(j, token)
		wantRefused(t, id, err, holdfast.Unauthenticated, token)
		if _, err := verify(j, mint(t, b, Claims{})); err != nil {
			t.Errorf("the key that stayed: %v", err)
		}
		// A set that has become empty is one, too.
		idp.set(func(i *issuer) { i.keys = nil })
		<-time.After(16 * time.Minute)
		token = mint(t, b, Claims{})
		id, err = verify(j, token)
		wantRefused(t, id, err, holdfast.Unauthenticated, token)
	})
}

// Nobody waits longer than he wants to, and Close for nobody.
func TestJWKSHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newEC("a")
		idp := &issuer{keys: []string{publicJWK(t, a, nil)}, hang: make(chan struct{})}
		j := idp.verifier(t, JWTConfig{})
		token := mint(t, a, Claims{})

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		id, err := j.Verify(ctx, token)
		wantRefused(t, id, err, holdfast.Internal, token)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("after %v: %v", time.Since(start), holdfast.AsError(err).Err)
		}

		id, err = j.Verify(t.Context(), token)
		wantRefused(t, id, err, holdfast.Internal, token)
		if waited := time.Since(start); waited > 2*fetchTimeout {
			t.Errorf("a fetch took %v", waited)
		}

		done := make(chan struct{})
		go func() {
			defer close(done)
			id, err := j.Verify(t.Context(), token)
			wantRefused(t, id, err, holdfast.Internal, token)
		}()
		synctest.Wait()
		if err := j.Close(); err != nil {
			t.Error(err)
		}
		<-done
		id, err = j.Verify(t.Context(), token)
		wantRefused(t, id, err, holdfast.Internal, token)
	})
}

func TestJWKSKeysThatAreNotUsed(t *testing.T) {
	oct := SigningKey{ID: "oct", Secret: testSecret}
	rsaSign := func(id string, alg Algorithm) SigningKey {
		return SigningKey{ID: id, Algorithm: alg, Private: rsaKey()}
	}
	ec := func(id string) SigningKey { return SigningKey{ID: id, Private: ec256()} }
	for _, test := range []struct {
		name string
		jwk  string
		key  SigningKey
		used bool
	}{
		{"EC", jwk(t, ec256().Public(), map[string]any{"kid": "k"}), ec("k"), true},
		{"EC for signatures", jwk(t, ec256().Public(), map[string]any{"kid": "k", "use": "sig", "key_ops": []string{"verify"}}), ec("k"), true},
		{"without kid", jwk(t, ec256().Public(), nil), ec("any"), true},
		{"token without kid", jwk(t, ec256().Public(), map[string]any{"kid": "k"}), ec(""), true},
		{"certificate members", jwk(t, ec256().Public(), map[string]any{"kid": "k", "x5c": []string{"MIIB"}, "x5t": "x", "x5u": "https://evil.example"}), ec("k"), true},
		{"Ed25519", jwk(t, edKey().Public(), map[string]any{"kid": "k", "alg": "EdDSA"}), SigningKey{ID: "k", Private: edKey()}, true},
		{"Ed25519 by its newer name", jwk(t, edKey().Public(), map[string]any{"kid": "k", "alg": "Ed25519"}), SigningKey{ID: "k", Private: edKey()}, true},
		{"RSA is RS256", jwk(t, rsaKey().Public(), map[string]any{"kid": "k"}), rsaSign("k", RS256), true},
		{"RSA for PS256", jwk(t, rsaKey().Public(), map[string]any{"kid": "k", "alg": "PS256"}), rsaSign("k", PS256), true},

		{"oct", `{"kty":"oct","kid":"oct","k":"` + b64(string(testSecret)) + `"}`, oct, false},
		{"oct for HS256", `{"kty":"oct","kid":"oct","alg":"HS256","use":"sig","k":"` + b64(string(testSecret)) + `"}`, oct, false},
		{"EC for encryption", jwk(t, ec256().Public(), map[string]any{"kid": "k", "use": "enc"}), ec("k"), false},
		{"EC for signing", jwk(t, ec256().Public(), map[string]any{"kid": "k", "key_ops": []string{"sign"}}), ec("k"), false},
		{"EC for key agreement", jwk(t, ec256().Public(), map[string]any{"kid": "k", "alg": "ECDH-ES"}), ec("k"), false},
		{"EC for another curve's algorithm", jwk(t, ec256().Public(), map[string]any{"kid": "k", "alg": "ES384"}), ec("k"), false},
		{"EC for HS256", jwk(t, ec256().Public(), map[string]any{"kid": "k", "alg": "HS256"}), ec("k"), false},
		{"EC for none", jwk(t, ec256().Public(), map[string]any{"kid": "k", "alg": "none"}), ec("k"), false},
		{"private EC", jwk(t, ec256().Public(), map[string]any{"kid": "k", "d": "AAAA"}), ec("k"), false},
		{"EC off its curve", strings.Replace(jwk(t, ec256().Public(), map[string]any{"kid": "k"}), `"y":"`, `"y":"AA`, 1), ec("k"), false},
		{"kid twice", strings.Replace(jwk(t, ec256().Public(), nil), "{", `{"kid":"a","kid":"k",`, 1), ec("k"), false},
		{"kid of another", jwk(t, ec256().Public(), map[string]any{"kid": "other"}), ec("k"), false},
		{"RSA for PS256, token RS256", jwk(t, rsaKey().Public(), map[string]any{"kid": "k", "alg": "PS256"}), rsaSign("k", RS256), false},
		{"RSA is not PS256", jwk(t, rsaKey().Public(), map[string]any{"kid": "k"}), rsaSign("k", PS256), false},
		{"RSA for encryption", jwk(t, rsaKey().Public(), map[string]any{"kid": "k", "alg": "RSA-OAEP"}), rsaSign("k", RS256), false},
		{"empty", `{}`, ec("k"), false},
		{"a string", `"k"`, ec("k"), false},
		{"null", `null`, ec("k"), false},
		{"X25519", `{"kty":"OKP","crv":"X25519","kid":"k","x":"` + b64(strings.Repeat("x", 32)) + `"}`, SigningKey{ID: "k", Private: edKey()}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				other := newEC("other")
				idp := &issuer{keys: []string{test.jwk, publicJWK(t, other, nil)}}
				j := idp.verifier(t, JWTConfig{})
				token := mint(t, test.key, Claims{})
				id, err := verify(j, token)
				if test.used {
					if err != nil {
						t.Error(err)
					}
				} else {
					wantRefused(t, id, err, holdfast.Unauthenticated, token)
				}
				if test.key.ID != "any" {
					if _, err := verify(j, mint(t, other, Claims{})); err != nil {
						t.Errorf("it spoils the key beside it: %v", err)
					}
				}
			})
		})
	}

	t.Run("weak RSA", func(t *testing.T) {
		if _, err := ParseJWK([]byte(jwk(t, rsaWeak().Public(), nil))); err == nil {
			t.Error("taken")
		}
	})
}

func TestJWKSWithAlgorithms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rsaPublic := jwk(t, rsaKey().Public(), map[string]any{"kid": "r"})
		ecPublic := jwk(t, ec256().Public(), map[string]any{"kid": "e"})
		idp := &issuer{keys: []string{rsaPublic, ecPublic}}
		j := idp.verifier(t, JWTConfig{Secret: testSecret, Algorithms: []Algorithm{PS256, PS512, HS256}})
		for alg, want := range map[Algorithm]bool{PS256: true, PS512: true, RS256: false, PS384: false} {
			token := mint(t, SigningKey{ID: "r", Algorithm: alg, Private: rsaKey()}, Claims{})
			id, err := verify(j, token)
			if want && err != nil {
				t.Errorf("%s: %v", alg, err)
			}
			if !want {
				wantRefused(t, id, err, holdfast.Unauthenticated, token)
			}
		}
		token := mint(t, SigningKey{ID: "e", Private: ec256()}, Claims{})
		id, err := verify(j, token)
		wantRefused(t, id, err, holdfast.Unauthenticated, token)
		if _, err := verify(j, mint(t, SigningKey{Secret: testSecret}, Claims{})); err != nil {
			t.Errorf("the secret beside the URL: %v", err)
		}
		if n := idp.count(); n != 1 {
			t.Errorf("%d fetches: an algorithm that is not allowed is no reason", n)
		}
	})
}

// A token without a kid is not tried with any number of keys.
func TestJWKSTriesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		idp := &issuer{}
		for range maxTries {
			idp.keys = append(idp.keys, publicJWK(t, newEC(rand.Text()), nil))
		}
		last := newEC("last")
		idp.keys = append(idp.keys, publicJWK(t, last, nil))
		j := idp.verifier(t, JWTConfig{})
		if _, err := verify(j, mint(t, last, Claims{})); err != nil {
			t.Errorf("with its kid: %v", err)
		}
		last.ID = ""
		token := mint(t, last, Claims{})
		id, err := verify(j, token)
		wantRefused(t, id, err, holdfast.Unauthenticated, token)
	})
}

// The client that is used where none is configured, over real connections.
func TestJWKSOwnClient(t *testing.T) {
	a := newEC("a")
	mux := http.NewServeMux()
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"keys":[`+publicJWK(t, a, nil)+`]}`)
	})
	mux.HandleFunc("/moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/jwks", http.StatusFound) })
	srv := httptest.NewServer(mux)
	defer srv.Close()
	for _, path := range []string{"/jwks", "/moved"} {
		j := newJWT(t, JWTConfig{JWKSURL: srv.URL + path})
		if _, err := verify(j, mint(t, a, Claims{})); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}

	redirect := newHTTPClient().CheckRedirect
	from := func(u string) []*http.Request { return []*http.Request{{URL: must(url.Parse(u))}} }
	for _, test := range []struct {
		from, to string
		ok       bool
	}{
		{"https://a.example", "https://b.example", true},
		{"https://a.example", "http://a.example", false},
		{"http://a.example", "https://a.example", true},
		{"https://a.example", "file:///etc/passwd", false},
	} {
		if err := redirect(from(test.to)[0], from(test.from)); (err == nil) != test.ok {
			t.Errorf("%s to %s: %v", test.from, test.to, err)
		}
	}
	if redirect(from("https://a.example")[0], slices.Repeat(from("https://a.example"), 5)) == nil {
		t.Error("redirects without end")
	}
}
