package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
)

const (
	betterAuthCookie = "better-auth.session_token=canary-5f1c"
	betterAuthBody   = `{"session":{"id":"s1","token":"canary-5f1c","userId":"u1","createdAt":"1999-12-31T00:00:00.000Z","updatedAt":"1999-12-31T00:00:00.000Z","expiresAt":"2000-01-08T00:00:00.000Z","ipAddress":"","userAgent":""},` +
		`"user":{"id":"u1","name":"Ada","email":"ada@example.org","emailVerified":false,"image":null,"createdAt":"1999-12-31T00:00:00.000Z","updatedAt":"1999-12-31T00:00:00.000Z","plan":"gold"}}`
)

// The clock of a bubble begins with the year 2000.
func betterAuthTest(t *testing.T, s *service, change func(*BetterAuthConfig)) *BetterAuth {
	t.Helper()
	cfg := BetterAuthConfig{URL: "https://app.example", DefaultRooms: everyRoom(), HTTPClient: &http.Client{Transport: s}}
	if change != nil {
		change(&cfg)
	}
	b, err := NewBetterAuth(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func cookie(text string) Credential {
	return Credential{Header: http.Header{"Cookie": {text}}, RemoteAddr: "192.0.2.7:4711"}
}

func TestBetterAuth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &service{answer: says(200, betterAuthBody)}
		b := betterAuthTest(t, s, func(cfg *BetterAuthConfig) {
			cfg.Extend = func(_ context.Context, id *holdfast.Identity, s BetterAuthSession) error {
				var user struct{ Plan string }
				err := json.Unmarshal(s.User, &user)
				id.Roles = []string{user.Plan}
				return err
			}
		})
		c := cookie("theme=dark; " + betterAuthCookie + "; session=other; __Secure-better-auth.dont_remember=x")
		c.Header.Set("X-Forwarded-For", "198.51.100.1")
		c.Header.Set("X-Other", "stays here")
		id, err := b.Authenticate(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		want := &holdfast.Identity{
			User: "u1", Name: "Ada", Email: "ada@example.org", Roles: []string{"gold"}, Session: "s1",
			IssuedAt: time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), Expires: time.Date(2000, 1, 8, 0, 0, 0, 0, time.UTC),
			Permissions: holdfast.Permissions{Rooms: *everyRoom()}, PermissionsAsOf: time.Now(),
		}
		if diff := cmp.Diff(want, id); diff != "" {
			t.Error(diff)
		}
		r, _ := s.last()
		if r.Method != "GET" || r.URL.String() != "https://app.example/api/auth/get-session?disableCookieCache=true&disableRefresh=true" {
			t.Error(r.Method, r.URL)
		}
		header := http.Header{
			"Accept": {"application/json"}, "X-Forwarded-For": {"192.0.2.7"},
			"Cookie": {betterAuthCookie + "; __Secure-better-auth.dont_remember=x"},
		}
		if diff := cmp.Diff(header, r.Header); diff != "" {
			t.Error(diff)
		}
	})
}

func TestBetterAuthForwardedFor(t *testing.T) {
	for name, test := range map[string]struct{ remote, forwarded, want string }{
		"behind a proxy":    {"10.0.0.1:80", "203.0.113.9, 198.51.100.1", "198.51.100.1"},
		"not of a proxy":    {"192.0.2.7:80", "198.51.100.1", "192.0.2.7"},
		"without address":   {"@", "198.51.100.1", ""},
		"nothing forwarded": {"10.0.0.1:80", "", "10.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{answer: says(200, `null`)}
			b := betterAuthTest(t, s, func(cfg *BetterAuthConfig) { cfg.TrustedProxies = []string{"10.0.0.0/8"} })
			c := cookie(betterAuthCookie)
			c.RemoteAddr = test.remote
			if test.forwarded != "" {
				c.Header.Set("X-Forwarded-For", test.forwarded)
			}
			_, err := b.Authenticate(t.Context(), c)
			wantCode(t, err, holdfast.Unauthenticated)
			if r, _ := s.last(); r.Header.Get("X-Forwarded-For") != test.want {
				t.Errorf("%q, want %q", r.Header.Get("X-Forwarded-For"), test.want)
			}
		})
	}
}

// What needs no question: nobody is asked about it.
func TestBetterAuthAsksNothing(t *testing.T) {
	s := &service{answer: says(200, betterAuthBody)}
	b := betterAuthTest(t, s, nil)
	bearer := cookie(betterAuthCookie)
	bearer.Header.Set("Authorization", "Bearer abc")
	payload := cookie(betterAuthCookie)
	payload.Payload = json.RawMessage(`{"token":"abc"}`)
	for name, c := range map[string]Credential{
		"nothing":          {},
		"other cookies":    cookie("session=a; csrf-token=b; xbetter-auth.session_token=c"),
		"bearer too":       bearer,
		"payload too":      payload,
		"large cookie":     cookie(betterAuthCookie + strings.Repeat("x", maxForwardedCookies)),
		"control in it":    cookie(betterAuthCookie + "\x00"),
		"another's prefix": cookie("__Host-session=a"),
	} {
		id, err := b.Authenticate(t.Context(), c)
		if id != nil || holdfast.CodeOf(err) != holdfast.Unauthenticated {
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
	if s.count() != 0 {
		t.Errorf("%d questions", s.count())
	}
}

// A page of anywhere can make a browser send the cookie.
func TestBetterAuthMethods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := betterAuthTest(t, &service{answer: says(200, betterAuthBody)}, nil)
		for method, want := range map[string]holdfast.Code{
			"": "", "GET": "", "HEAD": "", "OPTIONS": "",
			"POST": holdfast.CSRFMismatch, "PUT": holdfast.CSRFMismatch, "PATCH": holdfast.CSRFMismatch, "DELETE": holdfast.CSRFMismatch, "post": holdfast.CSRFMismatch,
		} {
			c := cookie(betterAuthCookie)
			c.Method = method
			if _, err := b.Authenticate(t.Context(), c); holdfast.CodeOf(err) != want {
				t.Errorf("%q: %v, want %q", method, err, want)
			}
		}
	})
}

func TestBetterAuthAnswers(t *testing.T) {
	change := func(old, new string) string { return strings.Replace(betterAuthBody, old, new, 1) }
	for name, test := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		wait   time.Duration // 0: UNAUTHENTICATED; negative: an identity; else 503
	}{
		"no session":       {says(200, `null`), 0},
		"expired":          {says(200, change("2000-01-08", "1999-12-31")), 0},
		"counted ids":      {says(200, strings.ReplaceAll(change(`"s1"`, `7`), `"u1"`, `42`)), -1},
		"odd name":         {says(200, change(`"Ada"`, `{"first":"Ada"}`)), -1},
		"same origin":      {redirect("https://app.example/moved"), -1},
		"other host":       {redirect("https://other.example/"), time.Second},
		"other port":       {redirect("https://app.example:444/"), time.Second},
		"to http":          {redirect("http://app.example/"), time.Second},
		"in a circle":      {says(302, "", "Location: /"), time.Second},
		"rate limited":     {says(429, `{}`, "X-Retry-After: 7"), 7 * time.Second},
		"limited for long": {says(429, `{}`, "Retry-After: 99999999999"), time.Minute},
		"limited, by date": {says(429, `{}`, "Retry-After: Sat, 01 Jan 2000 00:00:09 GMT"), time.Second},
		"error":            {says(500, `null`), time.Second},
		"bad gateway":      {says(502, `<html>`), time.Second},
		"unauthorized":     {says(401, `{"code":"UNAUTHORIZED"}`), time.Second},
		"forbidden":        {says(403, `null`), time.Second},
		"wrong path":       {says(404, `null`), time.Second},
		"no content":       {says(204, ``), time.Second},
		"refused":          {fails, time.Second},
		"timeout":          {hangs, time.Second},
		"slow body":        {slowBody, time.Second},
		"empty":            {says(200, ``), time.Second},
		"a page":           {says(200, `<!doctype html>`), time.Second},
		"trailing data":    {says(200, betterAuthBody+`{}`), time.Second},
		"key twice":        {says(200, change(`"user":`, `"user":null,"user":`)), time.Second},
		"key in two cases": {says(200, change(`"userId"`, `"userid":"u2","userId"`)), time.Second},
		"list":             {says(200, `[]`), time.Second},
		"text":             {says(200, `"u1"`), time.Second},
		"empty object":     {says(200, `{}`), time.Second},
		"no user":          {says(200, change(`"user":{"id":"u1"`, `"user":null,"x":{"id":"u1"`)), time.Second},
		"no user id":       {says(200, change(`"user":{"id":"u1"`, `"user":{"id":""`)), time.Second},
		"another's":        {says(200, change(`"userId":"u1"`, `"userId":"u2"`)), time.Second},
		"control in id":    {says(200, strings.ReplaceAll(betterAuthBody, `"u1"`, `"u\u0000"`)), time.Second},
		"no session id":    {says(200, change(`"id":"s1",`, ``)), time.Second},
		"no expiry":        {says(200, change(`"expiresAt"`, `"x"`)), time.Second},
		"odd expiry":       {says(200, change(`"2000-01-08T00:00:00.000Z"`, `947289600`)), time.Second},
		"deep":             {says(200, `{"user":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+`}`), time.Second},
		"large":            {says(200, `"`+strings.Repeat("x", maxUpstreamBody)+`"`), time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				b := betterAuthTest(t, &service{answer: test.answer}, func(cfg *BetterAuthConfig) {
					cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
				})
				start := time.Now()
				id, err := b.Authenticate(t.Context(), cookie(betterAuthCookie))
				switch {
				case test.wait < 0:
					if err != nil || id.User == "" || id.Session == "" {
						t.Fatalf("%+v, %v", id, err)
					}
				case test.wait == 0:
					wantCode(t, err, holdfast.Unauthenticated)
				default:
					if e := wantUnavailable(t, err); e.RetryAfter != test.wait {
						t.Errorf("retry after %v, want %v", e.RetryAfter, test.wait)
					}
					if strings.Count(log.String(), "\n") != 1 {
						t.Errorf("logged %q", log.String())
					}
				}
				if took := time.Since(start); took > DefaultUpstreamTimeout {
					t.Errorf("took %v", took)
				}
				if err != nil && strings.Contains(fmt.Sprintf("%v %v %s", err, errors.Unwrap(err), log.String()), "canary") {
					t.Errorf("the cookie shows: %v, %s", err, log.String())
				}
			})
		})
	}
}

// redirect sends whoever asks somewhere else, where there is a session.
func redirect(to string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		if r.URL.String() == to {
			return says(200, betterAuthBody)(r)
		}
		return says(302, "", "Location: "+to)(r)
	}
}

func slowBody(r *http.Request) (*http.Response, error) {
	resp, err := says(200, "")(r)
	resp.Body = hangingBody{r.Context()}
	return resp, err
}

type hangingBody struct{ ctx context.Context }

func (b hangingBody) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func (hangingBody) Close() error { return nil }

// Only so many questions are asked at once, so many wait, and the rest are
// turned away; faults are logged now and then.
func TestBetterAuthParallel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var mu sync.Mutex
		now, most := 0, 0
		s := &service{answer: func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				now--
			}()
			select {
			case <-time.After(time.Second):
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
			return says(200, betterAuthBody)(r)
		}}
		b := betterAuthTest(t, s, func(cfg *BetterAuthConfig) {
			cfg.Parallel, cfg.Timeout = 2, 4500*time.Millisecond
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		const callers = 2 + 2*waitersPerSlot + 8
		errs := make(chan error, callers)
		for range callers {
			go func() {
				_, err := b.Authenticate(t.Context(), cookie(betterAuthCookie))
				errs <- err
			}()
		}
		good, bad := 0, 0
		for range callers {
			if err := <-errs; err != nil {
				wantUnavailable(t, err)
				bad++
			} else {
				good++
			}
		}
		// In that time two are answered at once, four times.
		if most != 2 || good != 8 || bad != callers-8 {
			t.Errorf("%d at once, %d answered, %d turned away", most, good, bad)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 {
			t.Errorf("%d lines in the log", n)
		}
	})
}

// A caller who leaves is no fault of the service.
func TestBetterAuthCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := betterAuthTest(t, &service{answer: hangs}, func(cfg *BetterAuthConfig) {
			cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := b.Authenticate(ctx, cookie(betterAuthCookie))
		wantUnavailable(t, err)
		if log.Len() > 0 {
			t.Errorf("logged %q", log.String())
		}
	})
}

// A jar would give one caller's cookies to the next.
func TestBetterAuthKeepsNoCookies(t *testing.T) {
	var seen []string
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Cookie"))
		http.SetCookie(w, &http.Cookie{Name: "better-auth.session_token", Value: "new"})
		io.WriteString(w, "null")
	}))
	defer upstream.Close()
	client := upstream.Client()
	client.Jar = jar{}
	b, err := NewBetterAuth(BetterAuthConfig{URL: upstream.URL + "/", BasePath: "/auth", DefaultRooms: everyRoom(), HTTPClient: client, CookiePrefixes: []string{"app."}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	for range 2 {
		_, err := b.Authenticate(t.Context(), cookie("app.session_token=a"))
		wantCode(t, err, holdfast.Unauthenticated)
	}
	if diff := cmp.Diff([]string{"app.session_token=a", "app.session_token=a"}, seen); diff != "" {
		t.Error(diff)
	}
}

type jar struct{}

func (jar) SetCookies(*url.URL, []*http.Cookie) {}
func (jar) Cookies(*url.URL) []*http.Cookie {
	return []*http.Cookie{{Name: "app.session_token", Value: "of another"}}
}

func TestBetterAuthExtendRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, want := range []error{holdfast.Forbidden.New(), errors.New("database")} {
			b := betterAuthTest(t, &service{answer: says(200, betterAuthBody)}, func(cfg *BetterAuthConfig) {
				cfg.Extend = func(context.Context, *holdfast.Identity, BetterAuthSession) error { return want }
			})
			if id, err := b.Authenticate(t.Context(), cookie(betterAuthCookie)); id != nil || !errors.Is(err, want) {
				t.Errorf("%v, %v", id, err)
			}
		}
	})
}

func TestNewBetterAuthRefuses(t *testing.T) {
	for name, cfg := range map[string]BetterAuthConfig{
		"nothing":        {},
		"no rooms":       {URL: "https://app.example"},
		"relative":       {URL: "/api/auth", DefaultRooms: everyRoom()},
		"another scheme": {URL: "ftp://app.example", DefaultRooms: everyRoom()},
		"with a user":    {URL: "https://a:b@app.example", DefaultRooms: everyRoom()},
		"with a query":   {URL: "https://app.example?x=y", DefaultRooms: everyRoom()},
		"every cookie":   {URL: "https://app.example", DefaultRooms: everyRoom(), CookiePrefixes: []string{""}},
		"odd proxy":      {URL: "https://app.example", DefaultRooms: everyRoom(), TrustedProxies: []string{"proxy"}},
	} {
		if _, err := NewBetterAuth(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestBearerOrCookie(t *testing.T) {
	as := func(user string) Authenticator {
		return Func(func(_ context.Context, c Credential) (*holdfast.Identity, error) {
			return &holdfast.Identity{User: user}, nil
		})
	}
	both := cookie(betterAuthCookie)
	both.Header.Set("Authorization", "Bearer bad")
	malformed := cookie(betterAuthCookie)
	malformed.Header.Set("Authorization", "Bearer a b")
	for name, test := range map[string]struct {
		a    BearerOrCookie
		c    Credential
		want string
	}{
		"token":             {BearerOrCookie{as("bearer"), as("cookie")}, Credential{Token: "x"}, "bearer"},
		"cookie":            {BearerOrCookie{as("bearer"), as("cookie")}, cookie(betterAuthCookie), "cookie"},
		"both":              {BearerOrCookie{as("bearer"), as("cookie")}, both, "bearer"},
		"malformed and":     {BearerOrCookie{as("bearer"), as("cookie")}, malformed, ""},
		"nobody for tokens": {BearerOrCookie{nil, as("cookie")}, both, ""},
		"nobody for cookie": {BearerOrCookie{as("bearer"), nil}, cookie(betterAuthCookie), ""},
		"a bad token and":   {BearerOrCookie{Func(func(context.Context, Credential) (*holdfast.Identity, error) { return nil, holdfast.TokenExpired.New() }), as("cookie")}, both, ""},
	} {
		id, err := test.a.Authenticate(t.Context(), test.c)
		if (err == nil) != (test.want != "") || err == nil && id.User != test.want {
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
}

func TestBetterAuthHasSession(t *testing.T) {
	rooms := holdfast.MustRoomList("lobby")
	sessions, err := NewBetterAuth(BetterAuthConfig{URL: "http://127.0.0.1:1", DefaultRooms: &rooms})
	if err != nil {
		t.Fatal(err)
	}
	defer sessions.Close()
	for cookie, want := range map[string]bool{
		"": false, "session=x": false, "a=better-auth": false,
		"better-auth.session_token=x": true, "a=1; __Secure-better-auth.session_token=x": true, "better-auth.session_token=\x01": true,
	} {
		h := http.Header{"Cookie": {cookie}}
		if got := (BearerOrCookie{Cookie: sessions}).HasSession(h); got != want {
			t.Errorf("%q: %v, want %v", cookie, got, want)
		}
		if (BearerOrCookie{Bearer: sessions}).HasSession(h) {
			t.Errorf("%q: a session without anybody to look at it", cookie)
		}
	}
}
