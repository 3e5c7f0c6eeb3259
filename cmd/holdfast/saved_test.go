package main

import (
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

// saved makes a session that has expired, in a folder of its own, and what
// opens it as another program does.
func (r *refresher) saved(t *testing.T) (sessionStore, func() *signedIn) {
	store := sessionStore{filepath.Join(t.TempDir(), "sessions")}
	flags := &connectFlags{Timeout: 10 * time.Second}
	e := &environment{ctx: t.Context(), stderr: io.Discard, getenv: func(string) string { return "" }}
	file, err := store.file(t.Context(), r.URL)
	if err != nil {
		t.Fatal(err)
	}
	old := &tokens.Session{Access: "a0", Refresh: "r0", SessionID: "s", Received: time.Now().Add(-time.Hour), Lifetime: time.Minute}
	if _, err := file.Swap(t.Context(), nil, old); err != nil {
		t.Fatal(err)
	}
	if err := store.note(r.URL, "ann@example.com"); err != nil {
		t.Fatal(err)
	}
	return store, func() *signedIn {
		s, err := flags.manage(e, store, r.URL)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
}

// Many programs find that the token has expired: one of them refreshes.
func TestRenewOnce(t *testing.T) {
	r := newRefresher(t)
	_, open := r.saved(t)
	var wg sync.WaitGroup
	for i := range 8 {
		s := open()
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
}

func TestRenewEnds(t *testing.T) {
	r := newRefresher(t)
	store, open := r.saved(t)
	// A fault of the server's is no end.
	r.refuse.Store(holdfast.RateLimited)
	s := open()
	if _, err := s.Token(t.Context()); exitCode(s.explain(err)) != exitUnreachable || !store.has(r.URL) {
		t.Errorf("%v; still there: %t", err, store.has(r.URL))
	}
	s.Close() // before it tries again, and is the one to be refused
	r.refuse.Store(holdfast.RefreshReused)
	s = open()
	_, err := s.Token(t.Context())
	s.Close() // it is out of the file by then
	// The Manager refreshes by itself, and may have been told before anybody asked.
	if !errors.Is(err, holdfast.RefreshReused) && !errors.Is(err, tokens.ErrNone) || store.has(r.URL) {
		t.Errorf("%v; still there: %t", err, store.has(r.URL))
	}
	if text := s.explain(err).Error(); exitCode(s.explain(err)) != exitUnauthenticated || !strings.Contains(text, "holdfast login "+r.URL) || strings.Contains(text, "a0") {
		t.Error(text)
	}
	if _, err = open().Token(t.Context()); exitCode(s.explain(err)) != exitUnauthenticated {
		t.Error(err)
	}
}

// TestLogoutElsewhere: a program that waits learns of another one's logout, and
// of a login in its place.
func TestLogoutElsewhere(t *testing.T) {
	r := newRefresher(t)
	store, open := r.saved(t)
	waiting, other := open(), open()
	if _, err := waiting.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	events, stop := waiting.Events(8)
	defer stop()
	if err := other.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	for e := range events {
		if e.Kind == tokens.SignOut {
			if !e.Remote {
				t.Errorf("%v", e)
			}
			break
		}
	}
	if store.has(r.URL) || waiting.renewed(t.Context(), "s") {
		t.Error("there is a session after a logout")
	}
	if err := other.SetTokens(t.Context(), tokens.Session{Access: "b0", Refresh: "q0", SessionID: "s2"}); err != nil {
		t.Fatal(err)
	}
	if !waiting.renewed(t.Context(), "s") || waiting.SessionID() != "s2" {
		t.Errorf("%q", waiting.SessionID())
	}
}

// TestOldSession: what earlier versions kept is taken over, once.
func TestOldSession(t *testing.T) {
	store := sessionStore{filepath.Join(t.TempDir(), "sessions")}
	const server = "http://a.example"
	write := func(text string) string {
		t.Helper()
		if err := os.MkdirAll(store.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := store.folder(server) + ".json"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	old := fmt.Sprintf(`{"url":%q,"email":"ann@example.com","sessionId":"s","accessToken":"a","expiresAt":%d,"refreshToken":"r"}`, server, time.Now().Add(time.Minute).UnixMilli())
	path := write(old)
	if only, err := store.only(); only != server || err != nil || !store.has(server) {
		t.Errorf("%q, %v", only, err)
	}
	file, err := store.file(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := file.Load(t.Context())
	if err != nil || kept.Access != "a" || kept.Refresh != "r" || kept.SessionID != "s" || kept.Lifetime > time.Minute || kept.Lifetime < 30*time.Second {
		t.Errorf("%v, %v", kept, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old file: %v", err)
	}
	if only, err := store.only(); only != server || err != nil {
		t.Errorf("%q, %v", only, err)
	}
	// One that comes later does not replace what there is.
	write(strings.Replace(old, `"a"`, `"older"`, 1))
	if file, err = store.file(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	if kept, err = file.Load(t.Context()); err != nil || kept.Access != "a" {
		t.Errorf("%v, %v", kept, err)
	}
	for _, text := range []string{"{}", "x", strings.Replace(old, server, "http://b.example", 1), strings.Replace(old, `"accessToken":"a",`, "", 1)} {
		write(text)
		if _, err := store.file(t.Context(), server); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}

// TestLoginReplaces: a login replaces what can't be used.
func TestLoginReplaces(t *testing.T) {
	r := newRefresher(t)
	store, _ := r.saved(t)
	path := filepath.Join(store.folder(r.URL), sessionFile)
	e := &environment{ctx: t.Context(), stderr: io.Discard, getenv: func(string) string { return "" }}
	l := &loginCmd{connectFlags: connectFlags{Timeout: 10 * time.Second}}
	for what, spoil := range map[string]func() error{
		"fine":      func() error { return nil },
		"open":      func() error { return os.Chmod(path, 0o644) },
		"damaged":   func() error { return os.WriteFile(path, []byte("{"), 0o600) },
		"none":      func() error { return os.Remove(path) },
		"old, none": func() error { return os.WriteFile(store.folder(r.URL)+".json", []byte("{"), 0o600) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		answer := tokenAnswer{AccessToken: "new " + what, RefreshToken: "r", SessionID: what, ExpiresAt: time.Now().Add(time.Hour).UnixMilli()}
		if err := l.keep(e, store, r.URL, "ann@example.com", answer); err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		file, err := store.file(t.Context(), r.URL)
		if err != nil {
			t.Fatal(err)
		}
		kept, err := file.Load(t.Context())
		if err != nil || kept == nil || kept.Access != "new "+what {
			t.Errorf("%s: %v, %v", what, kept, err)
		}
	}
}

func TestOnlySession(t *testing.T) {
	store := sessionStore{filepath.Join(t.TempDir(), "sessions")}
	if only, err := store.only(); only != "" || err != nil {
		t.Errorf("%q, %v", only, err)
	}
	for _, server := range []string{"http://a.example", "http://b.example"} {
		file, err := store.file(t.Context(), server)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.note(server, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := file.Swap(t.Context(), nil, &tokens.Session{Access: "a"}); err != nil {
			t.Fatal(err)
		}
		if only, err := store.only(); server == "http://a.example" && (only != server || err != nil) {
			t.Errorf("%q, %v", only, err)
		}
	}
	if _, err := store.only(); exitCode(err) != exitUsage {
		t.Errorf("with two sessions: %v", err)
	}
	if err := os.WriteFile(filepath.Join(store.folder("http://a.example"), "server.json"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.only(); err == nil || !strings.Contains(err.Error(), "damaged") {
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
