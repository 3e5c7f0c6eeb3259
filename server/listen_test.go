package server_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// knownCookies knows the cookie "good" to be Alice's.
func knownCookies(t testing.TB) auth.Authenticator {
	verifier, err := auth.NewJWT(auth.JWTConfig{Secret: secret, DefaultRooms: everyRoom(t)})
	if err != nil {
		t.Fatal(err)
	}
	return auth.Func(func(ctx context.Context, c auth.Credential) (*holdfast.Identity, error) {
		cookie, err := (&http.Request{Header: c.Header}).Cookie("session")
		if token, _ := c.BearerToken(); token != "" || err != nil {
			return verifier.Authenticate(ctx, c)
		}
		switch cookie.Value {
		case "good":
			return &holdfast.Identity{User: "alice", Expires: time.Now().Add(time.Hour), Permissions: holdfast.Permissions{Rooms: *everyRoom(t)}}, nil
		case "dead":
			return nil, holdfast.SessionRevoked.New()
		}
		return nil, holdfast.Unauthenticated.New()
	})
}

// get makes a request and returns its status, headers, and the beginning of
// the body, which may never end.
func (w *world) get(path string, header ...string) (int, http.Header, string) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://holdfast.test"+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := w.client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body := make([]byte, 4096)
	n, err := resp.Body.Read(body)
	if err != nil && err != io.EOF {
		w.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(body[:n])
}

// What lets a request listen, and what does not, is the same for streams and
// polls.
func TestListenAdmission(t *testing.T) {
	many := strings.Builder{}
	for i := range 129 {
		fmt.Fprintf(&many, "&room=r%d", i)
	}
	bearer := func(t *testing.T, ttl time.Duration, more ...string) []string {
		return []string{"Authorization", "Bearer " + token(t, "alice", ttl, more...)}
	}
	good := func(t *testing.T) []string { return bearer(t, time.Hour) }
	cookie := func(value string, more ...string) func(*testing.T) []string {
		return func(*testing.T) []string { return append([]string{"Cookie", "session=" + value}, more...) }
	}
	cases := []struct {
		name   string
		cfg    server.Config
		query  string // {token} stands for a good one; room=r where it is empty
		header func(t *testing.T) []string
		status int
		code   holdfast.Code
	}{
		{name: "bearer", header: good, status: 200},
		{name: "nothing", status: 401, code: holdfast.Unauthenticated},
		{name: "expired", header: func(t *testing.T) []string { return bearer(t, -time.Hour) }, status: 401, code: holdfast.TokenExpired},
		{name: "garbage", header: func(*testing.T) []string { return []string{"Authorization", "Bearer abc"} }, status: 401, code: holdfast.Unauthenticated},
		{name: "cookie", header: cookie("good"), status: 200},
		{name: "dead session", header: cookie("dead"), status: 401, code: holdfast.SessionRevoked},
		{name: "unknown cookie", header: cookie("x"), status: 401, code: holdfast.Unauthenticated},
		{name: "query token where it is off", query: "?room=r&token={token}", status: 401, code: holdfast.Unauthenticated},
		{name: "query token", cfg: server.Config{AllowQueryToken: true}, query: "?room=r&token={token}", status: 200},
		{name: "a bad query token", cfg: server.Config{AllowQueryToken: true}, query: "?room=r&token=abc", status: 401, code: holdfast.Unauthenticated},
		{name: "the cookie comes before the query", cfg: server.Config{AllowQueryToken: true}, query: "?room=r&token={token}", header: cookie("x"), status: 401, code: holdfast.Unauthenticated},
		{name: "a bad header is not replaced", cfg: server.Config{AllowQueryToken: true}, query: "?room=r&token={token}",
			header: func(*testing.T) []string { return []string{"Authorization", "Bearer abc"} }, status: 401, code: holdfast.Unauthenticated},

		{name: "cookie, same origin", header: cookie("good", "Origin", "http://holdfast.test"), status: 200},
		{name: "cookie, another origin", header: cookie("good", "Origin", "http://evil.test"), status: 403, code: holdfast.OriginNotAllowed},
		{name: "cookie, origin null", header: cookie("good", "Origin", "null"), status: 403, code: holdfast.OriginNotAllowed},
		{name: "cookie, cross-site without an origin", header: cookie("good", "Sec-Fetch-Site", "cross-site"), status: 403, code: holdfast.OriginNotAllowed},
		{name: "cookie, allowed origin", cfg: server.Config{AllowedOrigins: []string{"http://app.test"}}, header: cookie("good", "Origin", "http://app.test"), status: 200},
		{name: "cookies are off for any origin", cfg: server.Config{AllowedOrigins: []string{"*"}}, header: cookie("good", "Origin", "http://evil.test"), status: 401, code: holdfast.Unauthenticated},

		{name: "no room", query: "?rooms=r", header: good, status: 400, code: holdfast.InvalidArgument},
		{name: "an empty room", query: "?room=", header: good, status: 400, code: holdfast.InvalidArgument},
		{name: "a pattern", query: "?room=r&room=a*", header: good, status: 400, code: holdfast.InvalidArgument},
		{name: "too many rooms", query: "?" + many.String()[1:], header: good, status: 400, code: holdfast.InvalidArgument},
		{name: "too many for this server", cfg: server.Config{RoomsPerConnection: 2}, query: "?room=a&room=b&room=c", header: good, status: 400, code: holdfast.InvalidArgument},
		{name: "the same room often", cfg: server.Config{RoomsPerConnection: 2}, query: "?room=a&room=b&room=a&room=a", header: good, status: 200},
		{name: "as many rooms as can be", query: "?" + strings.TrimSuffix(many.String()[1:], "&room=r128"), header: good, status: 200},
		{name: "a room without the right", query: "?room=mine&room=secret", header: func(t *testing.T) []string {
			return bearer(t, time.Hour, `{"permissions":{"rooms":["mine"]}}`)
		}, status: 403, code: holdfast.Forbidden},
		{name: "a room to publish in alone", query: "?room=mine", header: func(t *testing.T) []string {
			return bearer(t, time.Hour, `{"permissions":{"rooms":{"mine":["publish"]}}}`)
		}, status: 403, code: holdfast.Forbidden},
		{name: "too fast", cfg: server.Config{AdmissionRate: 0.0001}, header: good, status: 429, code: holdfast.RateLimited},
	}
	for _, tc := range cases {
		for _, path := range []string{"/events", "/poll"} {
			t.Run(tc.name+path, func(t *testing.T) {
				in(t, func(t *testing.T) {
					cfg := tc.cfg
					cfg.Authenticator = knownCookies(t)
					w := newWorld(t, cfg)
					query := strings.ReplaceAll(tc.query, "{token}", token(t, "alice", time.Hour))
					if query == "" {
						query = "?room=r"
					}
					var header []string
					if tc.header != nil {
						header = tc.header(t)
					}
					if cfg.AdmissionRate != 0 {
						w.get(path + query) // which uses up what there is
					}
					status, h, body := w.get(path+query, header...)
					if status != tc.status || codeIn(body) != tc.code {
						t.Errorf("%d %s, want %d %s", status, body, tc.status, tc.code)
					}
					if status != 200 && (h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store") {
						t.Errorf("%v", h)
					}
					if status == 429 && h.Get("Retry-After") == "" || status == 401 && h.Get("WWW-Authenticate") == "" {
						t.Errorf("%v", h)
					}
				})
			})
		}
	}
}

func TestListenCORS(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{AllowedOrigins: []string{"http://app.test"}})
		for path, header := range map[string]string{"/events": "last-event-id", "/poll": "if-none-match", "/api/rooms/r/history": "authorization"} {
			_, h, _ := w.get(path+"?room=r", "Authorization", "Bearer "+token(t, "alice", time.Hour), "Origin", "http://app.test")
			if h.Get("Access-Control-Allow-Origin") != "http://app.test" || h.Get("Access-Control-Allow-Credentials") != "true" {
				t.Errorf("%s: %v", path, h)
			}
			for origin, want := range map[string]string{"http://app.test": "http://app.test", "http://evil.test": ""} {
				status, h, _ := w.request("OPTIONS", path, "", "Origin", origin, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
				if status >= 300 || h.Get("Access-Control-Allow-Origin") != want {
					t.Errorf("preflight of %s from %s: %d %v", path, origin, status, h)
				}
			}
			if _, h, _ := w.request("OPTIONS", path, "", "Origin", "http://app.test", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", header); h.Get("Access-Control-Allow-Headers") == "" {
				t.Errorf("%s does not allow %s", path, header)
			}
			if status, h, _ := w.request("POST", path, "", "Authorization", "Bearer x"); status != 405 || h.Get("Allow") != "GET" {
				t.Errorf("POST %s: %d %v", path, status, h)
			}
		}
	})
}

// Streams count among a user's connections, polls that wait beside them.
func TestListenLimits(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{ConnectionsPerUser: 2})
		w.listen("alice", "?room=r")
		w.connect("alice")
		if _, err := w.tryListen(w.client(), "?room=r", "Authorization", "Bearer "+token(t, "alice", time.Hour)); err == nil || !strings.HasPrefix(err.Error(), "503 Service Unavailable 5 ") || !strings.Contains(err.Error(), "CONNECTION_LIMIT") {
			t.Errorf("a third connection: %v", err)
		}
		w.listen("bob", "?room=r")
		cursor := w.poll("alice", "?room=r").Cursor
		waiting := make(chan polled, 2)
		for range 2 {
			go func() { waiting <- w.poll("alice", "?room=r&since="+cursor) }()
		}
		time.Sleep(time.Second)
		if p := w.poll("alice", "?room=r&since="+cursor); p.status != 503 || codeIn(p.body) != holdfast.ConnectionLimit || p.header.Get("Retry-After") != "5" {
			t.Errorf("a third poll: %d %s", p.status, p.body)
		}
		if p := w.poll("alice", "?room=r&wait=0&since="+cursor); p.status != 200 {
			t.Errorf("one that does not wait: %d %s", p.status, p.body)
		}
		for range 2 {
			<-waiting
		}
		if p := w.poll("alice", "?room=r&wait=1&since="+cursor); p.status != 200 {
			t.Errorf("after the others: %d %s", p.status, p.body)
		}
	})
}

// A peer that goes while its poll waits, or its stream is being opened, leaves
// nothing behind.
func TestListenGone(t *testing.T) {
	in(t, func(t *testing.T) {
		hold := make(chan struct{})
		w := newWorld(t, server.Config{ConnectionsPerUser: 1})
		cursor := w.poll("alice", "?room=r").Cursor
		for range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			req, err := http.NewRequestWithContext(ctx, "GET", "http://holdfast.test/poll?room=r&since="+url.QueryEscape(cursor), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token(t, "alice", time.Hour))
			if resp, err := w.client().Do(req); err == nil {
				t.Errorf("%v", resp.Status)
			}
			cancel()
			synctest.Wait()
		}
		w.srv.OnConnect(func(context.Context, *server.Conn) error { <-hold; return nil })
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://holdfast.test/events?room=r", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token(t, "alice", time.Hour))
		if resp, err := w.client().Do(req); err == nil {
			t.Errorf("%v", resp.Status)
		}
		close(hold)
		time.Sleep(time.Second)
		if n := w.srv.Connections(); n != 0 {
			t.Errorf("%d connections", n)
		}
		w.listen("alice", "?room=r")
	})
}

func TestListenPanickingAuthenticator(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{Authenticator: auth.Func(func(_ context.Context, c auth.Credential) (*holdfast.Identity, error) {
			return &holdfast.Identity{User: string(c.Payload[100:])}, nil
		})})
		if status, _, body := w.get("/events?room=r"); status != 500 || codeIn(body) != holdfast.Internal {
			t.Errorf("%d %s", status, body)
		}
		if n := w.srv.Connections(); n != 0 {
			t.Errorf("%d connections", n)
		}
	})
}
