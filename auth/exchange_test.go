package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
)

func TestExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		version := int64(3)
		session := &holdfast.Identity{
			User: "u1", Name: "Ada", Email: "ada@example.org", Roles: []string{"author"}, Session: "s1",
			IssuedAt: time.Now().Add(-time.Hour), Expires: time.Now().Add(time.Hour), PermissionVersion: &version,
			Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("board-*", "!board-7"), Actions: []string{"todo.write"}},
		}
		var asked Credential
		prove := Func(func(_ context.Context, c Credential) (*holdfast.Identity, error) {
			asked = c
			return session, nil
		})
		key := SigningKey{ID: "k1", Private: edKey()}
		e, err := NewExchange(ExchangeConfig{Session: prove, Key: key, Issuer: "https://rt.example", Audience: []string{"rt"}})
		if err != nil {
			t.Fatal(err)
		}
		public := must(key.Public())
		none := holdfast.MustRoomList()
		j := newJWT(t, JWTConfig{Keys: []Key{public}, Issuer: "https://rt.example", Audience: []string{"rt"}, DefaultRooms: &none})

		// The old token that comes along does not count.
		c := cookie(betterAuthCookie)
		c.Method, c.TLS = "POST", true
		c.Token, c.Payload = "old", json.RawMessage(`{"token":"old"}`)
		c.Header.Set("Authorization", "Bearer old")
		time.Sleep(300 * time.Millisecond)
		got, err := e.Token(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if token, err := asked.BearerToken(); token != "" || err != nil || asked.Header.Get("Cookie") != betterAuthCookie || asked.RemoteAddr != c.RemoteAddr || asked.Method != "" || !asked.TLS {
			t.Errorf("the session was asked for %q, %v", token, asked.Header)
		}
		if c.Header.Get("Authorization") == "" {
			t.Error("the caller's header was changed")
		}
		expires := time.Date(2000, 1, 1, 0, 15, 0, 0, time.UTC)
		if got.ExpiresIn != 899 || got.ExpiresAt != expires.UnixMilli() {
			t.Errorf("expires in %d at %d", got.ExpiresIn, got.ExpiresAt)
		}
		id, err := j.Verify(t.Context(), got.AccessToken)
		if err != nil {
			t.Fatal(err)
		}
		want := *session
		want.TokenID, want.Issuer = id.TokenID, "https://rt.example"
		want.IssuedAt, want.Expires = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Local(), expires.Local()
		if diff := cmp.Diff(&want, id, cmp.Comparer(time.Time.Equal)); diff != "" || id.TokenID == "" {
			t.Error(diff)
		}
		text, err := json.Marshal(got)
		if err != nil || !strings.HasPrefix(string(text), `{"accessToken":"ey`) || !strings.HasSuffix(string(text), `","expiresIn":899,"expiresAt":946685700000}`) {
			t.Errorf("%s, %v", text, err)
		}
		if shown := fmt.Sprintf("%v %+v %#v %v %+v", got, got, got, e, e); strings.Contains(shown, "ey") || strings.Contains(shown, "k1") {
			t.Errorf("printed as %s", shown)
		}

		// No longer than the session.
		session.Expires = time.Now().Add(90 * time.Second)
		if got, err = e.Token(t.Context(), c); err != nil || got.ExpiresIn < 89 || got.ExpiresIn > 90 || got.ExpiresAt > session.Expires.UnixMilli() {
			t.Errorf("%d, %v", got.ExpiresIn, err)
		}
		session.Expires = time.Now().Add(500 * time.Millisecond)
		_, err = e.Token(t.Context(), c)
		wantCode(t, err, holdfast.Unauthenticated)

		// For ever, as far as the session goes.
		session.Expires = time.Time{}
		if got, err = e.Token(t.Context(), c); err != nil || got.ExpiresIn < 898 {
			t.Errorf("%d, %v", got.ExpiresIn, err)
		}

		// Too much for a token.
		for i := range 200 {
			session.Roles = append(session.Roles, fmt.Sprintf("%040d", i))
		}
		_, err = e.Token(t.Context(), c)
		wantCode(t, err, holdfast.Internal)
	})
}

func TestExchangeRefuses(t *testing.T) {
	unavailable := &holdfast.Error{Code: holdfast.GoingAway, RetryAfter: time.Second}
	for name, test := range map[string]struct {
		id   *holdfast.Identity
		err  error
		want holdfast.Code
	}{
		"nobody":      {nil, nil, holdfast.Unauthenticated},
		"anonymous":   {&holdfast.Identity{}, nil, holdfast.Unauthenticated},
		"no session":  {nil, holdfast.Unauthenticated.New(), holdfast.Unauthenticated},
		"unavailable": {nil, unavailable, holdfast.GoingAway},
		"fault":       {nil, errors.New("x"), holdfast.Internal},
	} {
		e, err := NewExchange(ExchangeConfig{
			Session: Func(func(context.Context, Credential) (*holdfast.Identity, error) { return test.id, test.err }),
			Key:     SigningKey{Secret: testSecret},
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Token(t.Context(), Credential{Header: http.Header{}})
		if got != (AccessToken{}) || holdfast.CodeOf(err) != test.want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	ok := Func(func(context.Context, Credential) (*holdfast.Identity, error) { return nil, nil })
	for name, cfg := range map[string]ExchangeConfig{
		"no session": {Key: SigningKey{Secret: testSecret}},
		"no key":     {Session: ok},
		"weak key":   {Session: ok, Key: SigningKey{Secret: Secret("short")}},
		"negative":   {Session: ok, Key: SigningKey{Secret: testSecret}, Lifetime: -1},
		"too long":   {Session: ok, Key: SigningKey{Secret: testSecret}, Lifetime: 25 * time.Hour},
	} {
		if _, err := NewExchange(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
