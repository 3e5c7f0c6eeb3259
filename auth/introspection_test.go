package auth

import (
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

func introspectionTest(t *testing.T, s *service, change func(*IntrospectionConfig)) *Introspection {
	t.Helper()
	cfg := IntrospectionConfig{
		URL: "https://id.example/introspect", ClientID: "rt:1", ClientSecret: Secret("canary secret%"),
		DefaultRooms: everyRoom(), HTTPClient: &http.Client{Transport: s},
	}
	if change != nil {
		change(&cfg)
	}
	i, err := NewIntrospection(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return i
}

// 946684800 is the first second of the year 2000, when a bubble begins.
const activeAnswer = `{"active":true,"sub":"u1","username":"ada","name":"Ada","scope":"a b","client_id":"app","token_type":"Bearer",` +
	`"iss":"https://id.example","aud":["rt"],"iat":946684700,"exp":946688400,"jti":"t1","sid":"s1","permissions":{"rooms":["lobby"],"actions":["todo.write"]}}`

func TestIntrospection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{answer: says(200, activeAnswer)}
		i := introspectionTest(t, s, func(cfg *IntrospectionConfig) { cfg.Issuer, cfg.Audience = "https://id.example", []string{"rt"} })
		for range 3 { // one question for all of them
			id, err := i.Authenticate(t.Context(), Credential{Token: "canary+token/=="})
			if err != nil {
				t.Fatal(err)
			}
			want := &holdfast.Identity{
				User: "u1", Name: "Ada", Session: "s1", TokenID: "t1", Issuer: "https://id.example",
				IssuedAt: time.Unix(946684700, 0), Expires: time.Unix(946688400, 0),
				Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("lobby"), Actions: []string{"todo.write"}},
			}
			if diff := cmp.Diff(want, id); diff != "" {
				t.Fatal(diff)
			}
		}
		if s.count() != 1 {
			t.Errorf("%d questions", s.count())
		}
		r, body := s.last()
		user, pass, _ := r.BasicAuth()
		if r.Method != "POST" || r.URL.String() != "https://id.example/introspect" || user != "rt%3A1" || pass != "canary+secret%25" {
			t.Error(r.Method, r.URL, user, pass)
		}
		if body != "token=canary%2Btoken%2F%3D%3D&token_type_hint=access_token" {
			t.Error(body)
		}
		if shown := fmt.Sprintf("%v %+v %#v", i, i, i); strings.Contains(shown, "canary") {
			t.Errorf("printed as %s", shown)
		}
		for range 2 { // another token is another question
			if _, err := i.Authenticate(t.Context(), Credential{Token: "b"}); err != nil {
				t.Fatal(err)
			}
		}
		if s.count() != 2 {
			t.Errorf("%d questions", s.count())
		}

		// Revoked there, it is good here no longer than the cache is.
		s.answer = says(200, `{"active":false}`)
		time.Sleep(DefaultIntrospectionCache - time.Second)
		if _, err := i.Authenticate(t.Context(), Credential{Token: "b"}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		for range 2 {
			_, err := i.Authenticate(t.Context(), Credential{Token: "b"})
			wantCode(t, err, holdfast.Unauthenticated)
		}
		if s.count() != 3 {
			t.Errorf("%d questions", s.count())
		}
	})
}

func TestIntrospectionAnswers(t *testing.T) {
	change := func(old, new string) func(*http.Request) (*http.Response, error) {
		return says(200, strings.Replace(activeAnswer, old, new, 1))
	}
	const unavailable = holdfast.GoingAway
	for name, test := range map[string]struct {
		answer  func(*http.Request) (*http.Response, error)
		want    holdfast.Code
		expires time.Duration // from now, where it is taken
	}{
		"plain":           {says(200, activeAnswer), "", time.Hour},
		"least":           {says(200, `{"active":true,"sub":"u1","iss":"https://id.example"}`), "", DefaultTokenLifetime},
		"for a month":     {change("946688400", "949363200"), "", DefaultMaxLifetime},
		"bearer in lower": {change(`"Bearer"`, `"bearer"`), "", time.Hour},

		"inactive":        {says(200, `{"active":false}`), holdfast.Unauthenticated, 0},
		"inactive, with":  {change(`true`, `false`), holdfast.Unauthenticated, 0},
		"expired":         {change("946688400", "946684700"), holdfast.TokenExpired, 0},
		"not yet":         {change(`"iat"`, `"nbf":946684900,"iat"`), holdfast.Unauthenticated, 0},
		"another issuer":  {change(`"https://id.example"`, `"https://other.example"`), holdfast.Unauthenticated, 0},
		"no user":         {change(`"sub"`, `"subject"`), holdfast.Unauthenticated, 0},
		"null user":       {change(`"u1"`, `null`), holdfast.Unauthenticated, 0},
		"odd expiry":      {change("946688400", `"946688400"`), holdfast.Unauthenticated, 0},
		"odd permissions": {change(`["lobby"]`, `7`), holdfast.Unauthenticated, 0},
		"refresh token":   {change(`"Bearer"`, `"refresh_token"`), holdfast.Unauthenticated, 0},
		"bound token":     {change(`"Bearer"`, `"DPoP"`), holdfast.Unauthenticated, 0},

		"not told":         {says(200, `{"sub":"u1"}`), unavailable, 0},
		"told oddly":       {change("true", `"true"`), unavailable, 0},
		"null":             {says(200, `null`), unavailable, 0},
		"told twice":       {change("true", `false,"active":true`), unavailable, 0},
		"told in two ways": {change("true", `false,"Active":true`), unavailable, 0},
		"a page":           {says(200, `<html>`), unavailable, 0},
		"our secret":       {says(401, `{"error":"invalid_client"}`), unavailable, 0},
		"rate limited":     {says(429, ``), unavailable, 0},
		"error":            {says(503, ``), unavailable, 0},
		"down":             {fails, unavailable, 0},
		"timeout":          {hangs, unavailable, 0},
		"elsewhere":        {redirect("https://other.example/"), unavailable, 0},
		"large":            {says(200, `{"active":true,"x":"`+strings.Repeat("x", maxUpstreamBody)+`"}`), unavailable, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &service{answer: test.answer}
				i := introspectionTest(t, s, func(cfg *IntrospectionConfig) { cfg.Issuer = "https://id.example" })
				now := time.Now()
				id, err := i.Authenticate(t.Context(), Credential{Token: "canary"})
				if holdfast.CodeOf(err) != test.want {
					t.Fatalf("%v, want %q", err, test.want)
				}
				if err == nil && !id.Expires.Equal(now.Add(test.expires)) {
					t.Errorf("expires at %v", id.Expires)
				}
				if err != nil && strings.Contains(fmt.Sprint(err, errors.Unwrap(err)), "canary") {
					t.Errorf("the token shows: %v", err)
				}
				if test.want != unavailable {
					return
				}
				wantUnavailable(t, err)
				asked := s.count()
				s.answer = says(200, activeAnswer) // a fault is not kept
				if _, err := i.Authenticate(t.Context(), Credential{Token: "canary"}); err != nil || s.count() != asked+1 {
					t.Errorf("afterwards: %v, %d questions", err, s.count()-asked)
				}
			})
		})
	}
}

func TestIntrospectionAsksNothing(t *testing.T) {
	s := &service{answer: says(200, activeAnswer)}
	i := introspectionTest(t, s, nil)
	for name, c := range map[string]Credential{
		"nothing":   {},
		"cookie":    cookie(betterAuthCookie),
		"too large": {Token: strings.Repeat("x", MaxToken+1)},
		"malformed": {Header: http.Header{"Authorization": {"Bearer a b"}}},
	} {
		if _, err := i.Authenticate(t.Context(), c); holdfast.CodeOf(err) != holdfast.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s.count() != 0 {
		t.Errorf("%d questions", s.count())
	}
}

// A flood of bad tokens is bounded, and drives out no good one. A token that
// is about to expire is not kept beyond that.
func TestIntrospectionCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{answer: says(200, activeAnswer)}
		i := introspectionTest(t, s, nil)
		i.good.limit, i.bad.limit = 10, 10
		if _, err := i.Authenticate(t.Context(), Credential{Token: "good"}); err != nil {
			t.Fatal(err)
		}
		s.answer = says(200, `{"active":false}`)
		for n := range 100 {
			_, err := i.Authenticate(t.Context(), Credential{Token: fmt.Sprint("bad", n)})
			wantCode(t, err, holdfast.Unauthenticated)
		}
		if len(i.bad.answers) != 10 || len(i.good.answers) != 1 {
			t.Errorf("%d bad ones, %d good ones", len(i.bad.answers), len(i.good.answers))
		}
		asked := s.count()
		if _, err := i.Authenticate(t.Context(), Credential{Token: "good"}); err != nil || s.count() != asked {
			t.Errorf("%v, %d questions", err, s.count()-asked)
		}

		s.answer = says(200, strings.Replace(activeAnswer, "946688400", "946684803", 1))
		if _, err := i.Authenticate(t.Context(), Credential{Token: "short"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		asked = s.count()
		s.answer = says(200, `{"active":false}`)
		_, err := i.Authenticate(t.Context(), Credential{Token: "short"})
		wantCode(t, err, holdfast.Unauthenticated)
		if s.count() != asked+1 {
			t.Error("an expired token was kept")
		}

		uncached := introspectionTest(t, s, func(cfg *IntrospectionConfig) { cfg.CacheFor = -1 })
		asked = s.count()
		for range 3 {
			_, err := uncached.Authenticate(t.Context(), Credential{Token: "x"})
			wantCode(t, err, holdfast.Unauthenticated)
		}
		if s.count() != asked+3 {
			t.Errorf("%d questions without a cache", s.count()-asked)
		}
	})
}

func TestNewIntrospectionRefuses(t *testing.T) {
	good := IntrospectionConfig{URL: "https://id.example/introspect", ClientID: "rt", DefaultRooms: everyRoom()}
	for name, change := range map[string]func(*IntrospectionConfig){
		"no URL":      func(c *IntrospectionConfig) { c.URL = "" },
		"no client":   func(c *IntrospectionConfig) { c.ClientID = "" },
		"no rooms":    func(c *IntrospectionConfig) { c.DefaultRooms = nil },
		"negative":    func(c *IntrospectionConfig) { c.MaxLifetime = -1 },
		"long cache":  func(c *IntrospectionConfig) { c.CacheFor = time.Hour },
		"odd claim":   func(c *IntrospectionConfig) { c.UserClaim = "exp" },
		"with a user": func(c *IntrospectionConfig) { c.URL = "https://a:b@id.example/" },
	} {
		cfg := good
		change(&cfg)
		if _, err := NewIntrospection(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
