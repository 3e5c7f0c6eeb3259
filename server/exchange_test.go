package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// sessions are kept elsewhere; "down" stands for their keeper being away.
var sessions = auth.Func(func(_ context.Context, c auth.Credential) (*holdfast.Identity, error) {
	cookie, err := (&http.Request{Header: c.Header}).Cookie("sid")
	switch {
	case err != nil:
		return nil, holdfast.Unauthenticated.New()
	case cookie.Value == "down":
		return nil, &holdfast.Error{Code: holdfast.GoingAway, Message: "the sessions can't be asked", RetryAfter: time.Second}
	case cookie.Value != "good":
		return nil, holdfast.Unauthenticated.New()
	}
	now := time.Now()
	return &holdfast.Identity{User: "alice", Session: "s1", IssuedAt: now.Add(-time.Hour), PermissionsAsOf: now, Expires: now.Add(time.Hour)}, nil
})

func TestExchange(t *testing.T) {
	in(t, func(t *testing.T) {
		exchange, err := auth.NewExchange(auth.ExchangeConfig{Session: sessions, Key: auth.SigningKey{Secret: secret}})
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, server.Config{Exchange: exchange})
		const path = "/api/realtime/token"
		status, header, body := w.request("POST", path, "", "Cookie", "sid=good", "Origin", "http://holdfast.test")
		var token struct {
			AccessToken          string
			ExpiresIn, ExpiresAt int64
		}
		if err := json.Unmarshal([]byte(body), &token); err != nil || status != 200 || token.ExpiresIn <= 0 || header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %s %v", status, body, header)
		}
		w.dial().connect(token.AccessToken)
		for _, tc := range []struct {
			name, method string
			header       []string
			status       int
		}{
			{"no session", "POST", nil, 401},
			{"a dead session", "POST", []string{"Cookie", "sid=x"}, 401},
			{"a token is no session", "POST", []string{"Authorization", "Bearer " + token.AccessToken}, 401},
			{"the keeper is away", "POST", []string{"Cookie", "sid=down"}, 503},
			{"another origin", "POST", []string{"Cookie", "sid=good", "Origin", "http://evil.test"}, 403},
			{"GET", "GET", []string{"Cookie", "sid=good"}, 405},
		} {
			if status, _, body := w.request(tc.method, path, "", tc.header...); status != tc.status {
				t.Errorf("%s: %d %s", tc.name, status, body)
			}
		}
		// A bump makes tokens stale, and not the session that new ones come from.
		if _, err := w.srv.BumpPermissions(t.Context(), "alice"); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second)
		if status, _, body := w.request("POST", path, "", "Cookie", "sid=good"); status != 200 {
			t.Errorf("after a bump: %d %s", status, body)
		}
		if err := w.srv.Revoke(t.Context(), auth.Revocation{Session: "s1"}); err != nil {
			t.Fatal(err)
		}
		if status, _, body := w.request("POST", path, "", "Cookie", "sid=good"); status != 401 {
			t.Errorf("after a revocation: %d %s", status, body)
		}
	})
}
