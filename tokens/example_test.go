package tokens_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

// A program that stays signed in over restarts, beside others on its machine.
func Example() {
	store, err := tokens.NewFile(filepath.Join(os.TempDir(), "example-app", "session.json"))
	if err != nil {
		panic(err)
	}
	e, err := tokens.NewEndpoint(tokens.EndpointConfig{
		URL: "https://rt.example.com/api/auth/refresh", SignOutURL: "https://rt.example.com/api/auth/sign-out",
	})
	if err != nil {
		panic(err)
	}
	m, err := tokens.NewManager(tokens.Config{Store: store, Refresh: e.Refresh, SignOut: e.SignOut})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	c := &http.Client{Transport: &tokens.Transport{Source: m, Origins: []string{"https://rt.example.com"}}}
	_ = c // its requests have the token, and a fresh one when that is refused
	fmt.Println(m.SignedIn())
	// Output: false
}

func ExampleStatic() {
	src := tokens.Static("eyJhbGciOiJub25lIn0.eyJleHAiOjE3NjcyMjY1MDB9.x")
	t, err := src.Token(context.Background())
	fmt.Println(t, err) // never the secret
	// Output: token until 2026-01-01T00:15:00Z <nil>
}

func ExampleFunc() {
	// A token that another program keeps fresh in a file.
	src := tokens.Func(func(context.Context) (tokens.Token, error) {
		text, err := os.ReadFile("/run/secrets/token")
		return tokens.New(string(text)), err
	})
	_ = src
}

func ExampleText() {
	src := tokens.Text(func() (string, error) { return os.Getenv("EXAMPLE_TOKEN"), nil })
	_, err := src.Token(context.Background())
	fmt.Println(err)
	// Output: tokens: there is no token: holdfast: UNAUTHENTICATED
}

func ExampleNew() {
	fmt.Println(tokens.New("eyJhbGciOiJub25lIn0.eyJleHAiOjE3NjcyMjY1MDB9.x").Expires.UTC())
	// Output: 2026-01-01 00:15:00 +0000 UTC
}

func ExampleRenew() {
	src := tokens.Static("abc")
	t, _ := src.Token(context.Background())
	// The server has refused it, and there is no other.
	_, err := tokens.Renew(context.Background(), src, t, holdfast.TokenExpired.New())
	refused, ok := errors.AsType[*tokens.RefusedError](err)
	fmt.Println(ok, tokens.Final(err), refused.Reason.Code)
	// Output: true true holdfast: TOKEN_EXPIRED
}

func ExampleManager() {
	ctx := context.Background()
	n := 1
	m, err := tokens.NewManager(tokens.Config{
		Refresh: func(_ context.Context, old tokens.Session) (tokens.Session, error) {
			n++ // here the server is asked, with old.Refresh
			return tokens.Session{Access: fmt.Sprint("token ", n), Lifetime: 15 * time.Minute}, nil
		},
	})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	ann := holdfast.User{ID: "ann", Name: "Ann", Roles: []string{"editor"}}
	err = m.SetTokens(ctx, tokens.Session{Access: "token 1", Refresh: "r", User: ann, Lifetime: 15 * time.Minute})
	fmt.Println(m.User().Name, m.HasRole("admin", "editor"), err)

	t, err := m.Refused(ctx, tokens.Token{Access: "token 1"}, holdfast.TokenExpired.New())
	fmt.Println(t.Access, err)

	fmt.Println(m.Clear(ctx), m.SignedIn())
	// Output:
	// Ann true <nil>
	// token 2 <nil>
	// <nil> false
}

func ExampleManager_Events() {
	m, err := tokens.NewManager(tokens.Config{})
	if err != nil {
		panic(err)
	}
	events, stop := m.Events(16)
	defer stop()
	_ = m.SetTokens(context.Background(), tokens.Session{Access: "a", User: holdfast.User{ID: "ann"}})
	_ = m.Clear(context.Background())
	_ = m.Close() // ends the events
	for e := range events {
		fmt.Println(e.Kind, e.Session.User.ID, e.Remote)
	}
	// Output:
	// sign-in ann false
	// sign-out ann false
}

func ExampleMemory() {
	// Two managers of one session, as two processes with one file.
	store := tokens.NewMemory()
	one, _ := tokens.NewManager(tokens.Config{Store: store})
	defer one.Close()
	_ = one.SetTokens(context.Background(), tokens.Session{Access: "a", User: holdfast.User{ID: "ann"}})
	two, _ := tokens.NewManager(tokens.Config{Store: store})
	defer two.Close()
	fmt.Println(two.User().ID)
	// Output: ann
}

func ExampleFile() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	store, err := tokens.NewFile(filepath.Join(dir, "app", "session.json"))
	if err != nil {
		panic(err)
	}
	for _, access := range []string{"a", ""} { // the program runs, and runs again
		m, err := tokens.NewManager(tokens.Config{Store: store})
		if err != nil {
			panic(err)
		}
		if access != "" {
			err = m.SetTokens(context.Background(), tokens.Session{Access: access, User: holdfast.User{ID: "ann"}})
		}
		fmt.Println(m.User().ID, err)
		_ = m.Close()
	}
	info, _ := os.Stat(store.Path())
	fmt.Println(info.Mode())
	// Output:
	// ann <nil>
	// ann <nil>
	// -rw-------
}

func ExampleEndpoint() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"accessToken":"b","refreshToken":"r2","expiresIn":900}`)
	}))
	defer srv.Close()
	e, err := tokens.NewEndpoint(tokens.EndpointConfig{URL: srv.URL})
	if err != nil {
		panic(err)
	}
	s, err := e.Refresh(context.Background(), tokens.Session{Refresh: "r1"})
	fmt.Println(s.Access, s.Refresh, s.Lifetime, err)
	// Output: b r2 15m0s <nil>
}

// The session is a cookie of the HTTP client: the endpoint makes tokens of it.
func ExampleConfig_ambient() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, `{"accessToken":"a","expiresIn":900}`)
	}))
	defer srv.Close()
	e, err := tokens.NewEndpoint(tokens.EndpointConfig{URL: srv.URL + "/api/realtime/token"}) // HTTPClient has the jar
	if err != nil {
		panic(err)
	}
	m, err := tokens.NewManager(tokens.Config{Refresh: e.Refresh, Ambient: true})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	t, err := m.Token(context.Background())
	fmt.Println(t.Access, err)
	// Output: a <nil>
}

func ExampleTransport() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("Authorization"))
	}))
	defer srv.Close()
	c := &http.Client{Transport: &tokens.Transport{Source: tokens.Static("abc"), Origins: []string{srv.URL}}}
	resp, err := c.Get(srv.URL)
	if err != nil {
		panic(err)
	}
	defer resp.Body.Close()
	var scheme, token string
	fmt.Fscan(resp.Body, &scheme, &token)
	fmt.Println(scheme, token)
	// Output: Bearer abc
}

func ExampleEncodeSession() {
	// For a Store of one's own.
	text := tokens.EncodeSession(&tokens.Session{Access: "a", Refresh: "r", User: holdfast.User{ID: "ann"}})
	s, err := tokens.DecodeSession(text)
	fmt.Println(s.User.ID, err)
	// Output: ann <nil>
}
