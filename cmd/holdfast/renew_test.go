package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

// refresher is a server whose refresh tokens are good once.
type refresher struct {
	*httptest.Server
	refreshes atomic.Int64
	refuse    atomic.Value // a holdfast.Code; "" for none
}

func newRefresher(t *testing.T) *refresher {
	r := &refresher{}
	r.refuse.Store(holdfast.Code(""))
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if code := r.refuse.Load().(holdfast.Code); code != "" {
			w.WriteHeader(code.Info().HTTP)
			fmt.Fprintf(w, `{"error":"no","code":%q,"requestId":"x"}`, string(code))
			return
		}
		var in struct{ RefreshToken string }
		n := r.refreshes.Add(1)
		if json.NewDecoder(req.Body).Decode(&in) != nil || req.URL.Path != "/api/auth/refresh" || in.RefreshToken != fmt.Sprintf("r%d", n-1) {
			w.WriteHeader(http.StatusUnauthorized)
			io.WriteString(w, `{"error":"used","code":"REFRESH_REUSED","requestId":"x"}`)
			return
		}
		fmt.Fprintf(w, `{"accessToken":"a%d","refreshToken":"r%d","sessionId":"s","expiresAt":%d}`, n, n, time.Now().Add(time.Hour).UnixMilli())
	}))
	t.Cleanup(r.Close)
	return r
}

// source makes a saved session whose token has expired, and its source.
func (r *refresher) source(t *testing.T) (sessionStore, func() *savedSource) {
	store := sessionStore{filepath.Join(t.TempDir(), "sessions")}
	if err := store.save(&savedSession{URL: r.URL, AccessToken: "a0", RefreshToken: "r0"}); err != nil {
		t.Fatal(err)
	}
	e := &environment{ctx: t.Context(), stderr: io.Discard, getenv: func(string) string { return "" }}
	return store, func() *savedSource {
		return &savedSource{e: e, store: store, server: r.URL, flags: &connectFlags{Timeout: 10 * time.Second}}
	}
}

// Many programs find that the token has expired: one of them refreshes.
func TestRenewOnce(t *testing.T) {
	r := newRefresher(t)
	_, source := r.source(t)
	var wg sync.WaitGroup
	for i := range 16 {
		s := source()
		wg.Go(func() {
			token, err := s.Token(t.Context())
			if i%2 == 1 {
				token, err = s.Refused(t.Context(), tokens.Token{Access: "a0"}, holdfast.TokenExpired.New())
			}
			if err != nil || token.Access != "a1" {
				t.Errorf("%q, %v", token.Access, err)
			}
		})
	}
	wg.Wait()
	if n := r.refreshes.Load(); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	// A token that looks good and was refused is renewed all the same.
	token, err := source().Refused(t.Context(), tokens.Token{Access: "a1"}, holdfast.PermissionVersionStale.New())
	if err != nil || token.Access != "a2" || token.Expires.Before(time.Now()) {
		t.Errorf("%q until %v, %v", token.Access, token.Expires, err)
	}
}

func TestRenewEnds(t *testing.T) {
	r := newRefresher(t)
	store, source := r.source(t)
	there := func() bool {
		saved, err := store.load(r.URL)
		if err != nil {
			t.Fatal(err)
		}
		return saved != nil
	}
	// A fault of the server's is no end.
	r.refuse.Store(holdfast.RateLimited)
	if _, err := source().Token(t.Context()); exitCode(err) != exitUnreachable || !there() {
		t.Errorf("%v; still there: %t", err, there())
	}
	// Nor is that another session, of the same server, has ended.
	if _, err := source().Refused(t.Context(), tokens.Token{Access: "older"}, holdfast.SessionRevoked.New()); !errors.Is(err, holdfast.SessionRevoked) || !there() {
		t.Errorf("%v; still there: %t", err, there())
	}
	r.refuse.Store(holdfast.RefreshReused)
	if _, err := source().Token(t.Context()); !errors.Is(err, holdfast.RefreshReused) || there() {
		t.Errorf("%v; still there: %t", err, there())
	}
	if _, err := source().Token(t.Context()); !errors.Is(err, holdfast.Unauthenticated) {
		t.Error(err)
	}
	_, source = r.source(t)
	_, err := source().Refused(t.Context(), tokens.Token{Access: "a0"}, holdfast.SessionRevoked.New())
	if refused, ok := errors.AsType[*tokens.RefusedError](err); !ok || !errors.Is(refused, holdfast.SessionRevoked) {
		t.Error(err)
	}
	if strings.Contains(fmt.Sprint(err), "a0") {
		t.Error("the error shows the token")
	}
}

func TestLock(t *testing.T) {
	store := sessionStore{t.TempDir()}
	unlock, err := store.lock(t.Context(), "http://a.example")
	if err != nil {
		t.Fatal(err)
	}
	other, err := store.lock(t.Context(), "http://b.example")
	if err != nil {
		t.Fatal(err)
	}
	other()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := store.lock(ctx, "http://a.example"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	unlock()
	if unlock, err = store.lock(ctx, "http://a.example"); err != nil {
		t.Fatal(err)
	}
	unlock()
}

func TestSessionStore(t *testing.T) {
	store := sessionStore{filepath.Join(t.TempDir(), "sessions")}
	if saved, err := store.only(); saved != nil || err != nil {
		t.Errorf("%v, %v", saved, err)
	}
	for _, server := range []string{"http://a.example", "http://b.example"} {
		if err := store.save(&savedSession{URL: server, RefreshToken: "r"}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.only(); exitCode(err) != exitUsage {
		t.Errorf("with two sessions: %v", err)
	}
	if err := store.remove("http://a.example"); err != nil {
		t.Error(err)
	}
	if err := store.remove("http://a.example"); err != nil {
		t.Errorf("the second time: %v", err)
	}
	if saved, err := store.only(); err != nil || saved.URL != "http://b.example" {
		t.Errorf("%v, %v", saved, err)
	}
	entries, err := os.ReadDir(store.dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	path := store.path("http://b.example")
	if err := os.Rename(path, store.path("http://c.example")); err != nil {
		t.Fatal(err)
	}
	if _, err := store.load("http://c.example"); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.load("http://b.example"); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Error(err)
	}
}

func TestServerURL(t *testing.T) {
	for address, want := range map[string]string{
		"http://127.0.0.1:8080":       "http://127.0.0.1:8080",
		"http://127.0.0.1:8080/":      "http://127.0.0.1:8080",
		"HTTPS://RT.Example.com:443/": "https://rt.example.com",
		"http://rt.example.com:443":   "http://rt.example.com:443",
		"https://example.com/rt/":     "https://example.com/rt",
		"http://[::1]:80":             "http://[::1]",
		"rt.example.com":              "",
		"ftp://rt.example.com":        "",
		"https://ann:x@example.com":   "",
		"https://example.com?x":       "",
		"https://example.com#x":       "",
		"https://":                    "",
	} {
		got, err := serverURL(address)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", address, got, err, want)
		}
	}
}
