package interop

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

// lossy is an http.RoundTripper that loses answers on their way.
type lossy struct {
	base  http.RoundTripper
	lose  atomic.Int32 // so many to come
	calls atomic.Int32
}

func (l *lossy) RoundTrip(req *http.Request) (*http.Response, error) {
	l.calls.Add(1)
	resp, err := l.base.RoundTrip(req)
	if err == nil && l.lose.Add(-1) >= 0 {
		_ = resp.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return resp, err
}

// manager makes a Manager of a session in a file that a real server renews.
func (w *whole) manager(path string, net http.RoundTripper) *tokens.Manager {
	w.t.Helper()
	store, err := tokens.NewFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := tokens.NewEndpoint(tokens.EndpointConfig{
		URL: w.url + "/api/auth/refresh", SignOutURL: w.url + "/api/auth/sign-out", HTTPClient: &http.Client{Transport: net},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	m, err := tokens.NewManager(tokens.Config{Store: store, Refresh: e.Refresh, SignOut: e.SignOut, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = m.Close() })
	return m
}

// The whole life of a session with a server that rotates refresh tokens and
// knows when one is used twice.
func TestTokensWithAServer(t *testing.T) {
	w := newWhole(t, nil)
	path := filepath.Join(t.TempDir(), "app", "session.json")
	net := &lossy{base: http.DefaultTransport}
	m, other := w.manager(path, net), w.manager(path, net)
	ann := w.signUp("ann@example.com")
	ctx := t.Context()
	if err := m.SetTokens(ctx, tokens.Session{Access: ann.AccessToken, Refresh: ann.RefreshToken, User: ann.User, SessionID: ann.SessionID}); err != nil {
		t.Fatal(err)
	}
	me := func(m *tokens.Manager) int {
		t.Helper()
		c := http.Client{Transport: &tokens.Transport{Source: m, Origins: []string{w.url}}}
		resp, err := c.Get(w.url + "/api/auth/session")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	if status := me(m); status != http.StatusOK {
		t.Fatalf("status %d", status)
	}

	// L16: the server has rotated, and nobody has heard of it.
	net.lose.Store(1)
	if err := m.Refresh(ctx); err == nil || tokens.Final(err) {
		t.Fatal(err)
	}
	if err := m.Refresh(ctx); err != nil {
		t.Fatalf("after a lost answer: %v", err)
	}

	// L17: both are told that the token is refused.
	token, err := m.Token(ctx)
	if err != nil {
		t.Fatal(err)
	}
	calls := net.calls.Load()
	var wg sync.WaitGroup
	for _, each := range []*tokens.Manager{m, other} {
		wg.Go(func() {
			if next, err := each.Refused(ctx, token, holdfast.TokenExpired.New()); err != nil || next.Access == token.Access {
				t.Error(next, err)
			}
		})
	}
	wg.Wait()
	if n := net.calls.Load() - calls; n != 1 {
		t.Errorf("%d refreshes", n)
	}
	if me(m) != http.StatusOK || me(other) != http.StatusOK {
		t.Error("not signed in")
	}

	// L04, L18: the server ends the session; who asks learns of it, and the other.
	events, stop := other.Events(99)
	defer stop()
	s, _ := m.Session()
	if status, body, _ := w.call("POST", "/api/auth/sign-out", "", "Authorization", "Bearer "+s.Access); status/100 != 2 {
		t.Fatalf("%d %s", status, body)
	}
	if err := m.Refresh(ctx); !tokens.Final(err) || m.SignedIn() {
		t.Errorf("%v, signed in %v", err, m.SignedIn())
	}
	late, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for other.SignedIn() {
		select {
		case <-events:
		case <-late.Done():
			t.Fatal("the other is signed in for ever")
		}
	}
	if _, err := other.Token(ctx); !errors.Is(err, tokens.ErrNone) {
		t.Error(err)
	}
}
