package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/memnet"
	"github.com/holdfast-dev/holdfast/tokens"
)

// api runs a test with a client of handler, on the fake clock. The host name
// tells the origin: everything goes to the one handler.
func api(t *testing.T, cfg Config, handler http.HandlerFunc, test func(t *testing.T, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := memnet.Listen()
		srv := &http.Server{Handler: handler}
		go srv.Serve(l)
		transport := &http.Transport{DialContext: l.DialContext}
		if cfg.BaseURL == "" {
			cfg.BaseURL = "http://api.test"
		}
		if cfg.HTTPClient == nil {
			cfg.HTTPClient = &http.Client{}
		}
		cfg.HTTPClient.Transport = transport
		c, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		test(t, c)
		c.Close()
		transport.CloseIdleConnections()
		srv.Close()
	})
}

func TestNewErrors(t *testing.T) {
	for _, cfg := range []Config{
		{}, {BaseURL: "example.com"}, {BaseURL: "ftp://example.com"}, {BaseURL: "http://"}, {BaseURL: "http://a b"}, {BaseURL: "http://user:pass@a"},
		{BaseURL: "http://a", TrustedOrigins: []string{"b"}},
		{BaseURL: "http://a", TrustedOrigins: []string{"http://b/path"}},
		{BaseURL: "http://a", TrustedOrigins: []string{"http://b c"}},
		{BaseURL: "http://a", CSRF: &CSRF{Header: "X-Token"}}, // which would be none at all
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// L31
func TestL31URL(t *testing.T) {
	for _, test := range []struct{ base, path, want string }{
		{"http://a/api/v1/", "/todos", "http://a/api/v1/todos"},
		{"http://a/api/v1", "todos", "http://a/api/v1/todos"},
		{"http://a", "/todos/", "http://a/todos/"},
		{"http://a/", "", "http://a/"},
		{"http://a/v1", "", "http://a/v1"},
		{"http://a/v1", "?x=1", "http://a/v1?x=1"},
		{"http://a", "/todos?done=1&x=%2F#frag", "http://a/todos?done=1&x=%2F"},
		{"http://a/v1", "//evil.test/x", "http://a/v1/evil.test/x"},
		{"http://a/v1", "/rooms/a%2Fb", "http://a/v1/rooms/a%2Fb"},
		{"http://a/v1", "http://b/x?y", "http://b/x?y"},
		{"http://a/v1", "/x?u=http://b/", "http://a/v1/x?u=http://b/"},
		{"http://a:80/v1", "https://b/x", "https://b/x"},
	} {
		c, err := New(Config{BaseURL: test.base})
		if err != nil {
			t.Fatal(err)
		}
		u, err := c.URL(test.path)
		if err != nil || u.String() != test.want {
			t.Errorf("%s + %s = %v, %v; want %s", test.base, test.path, u, err, test.want)
		}
		// It is as good as a parsed one, for http.Request and for a jar.
		if parsed, err := url.Parse(test.want); err != nil || u.Path != parsed.Path {
			t.Errorf("%s + %s has the path %q, want %q", test.base, test.path, u.Path, parsed.Path)
		}
	}
	c, _ := New(Config{BaseURL: "http://a"})
	for _, bad := range []string{"/%zz", "http://a b"} {
		if _, err := Get[int](t.Context(), c, bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

type todo struct {
	ID    int    `json:"id,omitempty"`
	Title string `json:"title"`
}

func TestCalls(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, `{"title":%q}`, fmt.Sprintf("%s %s %s|%s|%s|%s", r.Method, r.URL, r.Header.Get("Authorization"), r.Header.Get("Content-Type"), r.Header.Get("X-A"), body))
	}
	api(t, Config{Source: tokens.Static("abc"), Header: http.Header{"X-A": {"1"}}}, echo, func(t *testing.T, c *Client) {
		ctx := t.Context()
		get := func(v todo, err error) string { return fmt.Sprint(v.Title, err) }
		for _, test := range []struct{ got, want string }{
			{get(Get[todo](ctx, c, "/a?x=1", Query(url.Values{"y": {"2", "3"}}))), "GET /a?x=1&y=2&y=3 Bearer abc||1|<nil>"},
			{get(Get[todo](ctx, c, "/a?y=1&x=%2F")), "GET /a?y=1&x=%2F Bearer abc||1|<nil>"}, // as it was written
			{get(Post[todo](ctx, c, "/a", todo{Title: "t"})), `POST /a Bearer abc|application/json|1|{"title":"t"}<nil>`},
			{get(Post[todo](ctx, c, "/a", nil)), `POST /a Bearer abc||1|<nil>`},
			{get(Put[todo](ctx, c, "/a", []byte("raw"), Header("Content-Type", "text/plain"))), `PUT /a Bearer abc|text/plain|1|raw<nil>`},
			{get(Patch[todo](ctx, c, "/a", strings.NewReader("raw"))), `PATCH /a Bearer abc|application/octet-stream|1|raw<nil>`},
			{get(Delete[todo](ctx, c, "/a", NoToken(), Header("X-A", "2"))), `DELETE /a ||2|<nil>`},
			{get(Get[todo](ctx, c, "/a", Header("Authorization", "Basic x"))), `GET /a Basic x||1|<nil>`},
		} {
			if test.got != test.want {
				t.Errorf("got  %s\nwant %s", test.got, test.want)
			}
		}
		if b, err := Get[[]byte](ctx, c, "/b"); string(b) != `{"title":"GET /b Bearer abc||1|"}` || err != nil {
			t.Errorf("%s, %v", b, err)
		}
		if _, err := Get[struct{}](ctx, c, "/b"); err != nil {
			t.Error(err)
		}
		if _, err := Get[int](ctx, c, "/b"); err == nil || !strings.Contains(err.Error(), "text/plain") {
			t.Error(err)
		}
		if _, err := Post[int](ctx, c, "/b", func() {}); err == nil {
			t.Error("a function was sent")
		}
	})
}

func TestAnswerBounds(t *testing.T) {
	api(t, Config{MaxResponse: 100, Timeout: 5 * time.Second}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/empty":
			w.WriteHeader(http.StatusNoContent)
		case "/slow":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case "/exact":
			fmt.Fprintf(w, `%q`, strings.Repeat("x", 98))
		default:
			fmt.Fprintf(w, `%q`, strings.Repeat("x", 99))
		}
	}, func(t *testing.T, c *Client) {
		if v, err := Get[todo](t.Context(), c, "/empty"); v != (todo{}) || err != nil {
			t.Error(v, err)
		}
		if _, err := Get[string](t.Context(), c, "/exact"); err != nil {
			t.Error(err)
		}
		if _, err := Get[string](t.Context(), c, "/over"); !errors.Is(err, holdfast.MessageTooLarge) {
			t.Error(err)
		}
		start := time.Now()
		if _, err := Get[string](t.Context(), c, "/slow?secret=x"); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "secret") {
			t.Error(err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

// From 300 on an answer is an error.
func TestStatuses(t *testing.T) {
	for status, good := range map[int]bool{200: true, 299: true, 300: false, 304: false, 404: false} {
		api(t, Config{}, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }, func(t *testing.T, c *Client) {
			_, err := Get[struct{}](t.Context(), c, "/x")
			if e, ok := errors.AsType[*Error](err); (err == nil) != good || ok && e.Status != status {
				t.Errorf("%d: %v", status, err)
			}
		})
	}
}

// L36
func TestL36Errors(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		header http.Header
		body   string
		want   holdfast.Error
		id     string
	}{
		"holdfast":   {409, nil, `{"error":"Taken.","code":"CONFLICT","requestId":"r1","details":{"a":1}}`, holdfast.Error{Code: holdfast.Conflict, Message: "Taken.", Details: []byte(`{"a":1}`)}, "r1"},
		"retry":      {429, nil, `{"error":"Slow.","code":"RATE_LIMITED","retryAfter":7}`, holdfast.Error{Code: holdfast.RateLimited, Message: "Slow.", RetryAfter: 7 * time.Second}, ""},
		"header":     {503, http.Header{"Retry-After": {"8"}, "X-Request-Id": {"r2"}}, `<html>`, holdfast.Error{Code: holdfast.GoingAway, Message: "Service Unavailable", RetryAfter: 8 * time.Second}, "r2"},
		"date":       {503, http.Header{"Retry-After": {"Sat, 01 Jan 2000 00:00:09 GMT"}}, ``, holdfast.Error{Code: holdfast.GoingAway, Message: "Service Unavailable", RetryAfter: 9 * time.Second}, ""},
		"past":       {503, http.Header{"Retry-After": {"Sat, 01 Jan 1999 00:00:09 GMT"}}, ``, holdfast.Error{Code: holdfast.GoingAway, Message: "Service Unavailable"}, ""},
		"long":       {503, http.Header{"Retry-After": {"1e300"}}, ``, holdfast.Error{Code: holdfast.GoingAway, Message: "Service Unavailable", RetryAfter: time.Hour}, ""},
		"other code": {400, nil, `{"code":17,"message":"Bad thing"}`, holdfast.Error{Code: holdfast.InvalidArgument, Message: "Bad thing"}, ""},
		"unknown":    {403, nil, `{"code":"E_NO","error":{"x":1}}`, holdfast.Error{Code: holdfast.Forbidden, Message: "Forbidden"}, ""},
		"401":        {401, nil, ``, holdfast.Error{Code: holdfast.Unauthenticated, Message: "Unauthorized"}, ""},
		"404":        {404, nil, ``, holdfast.Error{Code: holdfast.NotFound, Message: "Not Found"}, ""},
		"408":        {408, nil, ``, holdfast.Error{Code: holdfast.Internal, Message: "Request Timeout"}, ""},
		"413":        {413, nil, ``, holdfast.Error{Code: holdfast.MessageTooLarge, Message: "Request Entity Too Large"}, ""},
		"418":        {418, nil, ``, holdfast.Error{Code: holdfast.InvalidArgument, Message: "I'm a teapot"}, ""},
		"500":        {500, nil, ``, holdfast.Error{Code: holdfast.Internal, Message: "Internal Server Error"}, ""},
		"304":        {304, nil, ``, holdfast.Error{Code: holdfast.Internal, Message: "Not Modified"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			api(t, Config{Retries: -1}, func(w http.ResponseWriter, r *http.Request) {
				for k, v := range test.header {
					w.Header()[k] = v
				}
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			}, func(t *testing.T, c *Client) {
				_, err := Get[int](t.Context(), c, "/x?secret=1")
				e, ok := errors.AsType[*Error](err)
				if !ok {
					t.Fatal(err)
				}
				if e.Status != test.status || e.RequestID != test.id || e.Method != "GET" || e.URL != "http://api.test/x" || test.status != 304 && string(e.Body) != test.body {
					t.Errorf("%+v", e)
				}
				h := e.Err
				if h.Code != test.want.Code || h.Message != test.want.Message || h.RetryAfter != test.want.RetryAfter || string(h.Details) != string(test.want.Details) {
					t.Errorf("%+v, want %+v", h, test.want)
				}
				if !errors.Is(err, test.want.Code) || holdfast.AsError(err) != h || errors.Is(err, ErrNotRetried) {
					t.Error("errors.Is and As don't find it")
				}
				if text := err.Error(); strings.Contains(text, "secret") || !strings.Contains(text, h.Message) || !strings.Contains(text, test.id) {
					t.Error(text)
				}
			})
		})
	}
}

// L01 to L03 and L32, as far as a request goes.
func TestL32Unauthorized(t *testing.T) {
	type seen struct{ token, body string }
	var calls list[seen]
	serve := func(good string) http.HandlerFunc {
		calls = list[seen]{}
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
			calls.add(seen{token, string(body)})
			if token != good {
				w.WriteHeader(401)
				io.WriteString(w, `{"error":"Unauthorized: token expired","code":"TOKEN_EXPIRED"}`)
				return
			}
			io.WriteString(w, `"done"`)
		}
	}
	t.Run("retried", func(t *testing.T) {
		src := &source{}
		api(t, Config{Source: src}, serve("t1"), func(t *testing.T, c *Client) {
			v, err := Post[string](t.Context(), c, "/x", todo{Title: "a"})
			if v != "done" || err != nil || fmt.Sprint(calls.all()) != `[{t0 {"title":"a"}} {t1 {"title":"a"}}]` {
				t.Error(v, err, &calls)
			}
			if fmt.Sprint(src.refusals()) != fmt.Sprint([]holdfast.Code{holdfast.TokenExpired}) {
				t.Error(src.refusals())
			}
		})
	})
	t.Run("once", func(t *testing.T) {
		api(t, Config{Source: &source{}}, serve("never"), func(t *testing.T, c *Client) {
			_, err := Get[string](t.Context(), c, "/x")
			if !errors.Is(err, holdfast.TokenExpired) || len(calls.all()) != 2 {
				t.Error(err, &calls)
			}
		})
	})
	t.Run("no refresher", func(t *testing.T) {
		n := 0
		src := tokens.Func(func(context.Context) (tokens.Token, error) { n++; return tokens.New(fmt.Sprint("f", n)), nil })
		api(t, Config{Source: src}, serve("f2"), func(t *testing.T, c *Client) {
			if v, err := Get[string](t.Context(), c, "/x"); v != "done" || err != nil {
				t.Error(v, err)
			}
		})
		api(t, Config{Source: tokens.Static("fixed")}, serve("f2"), func(t *testing.T, c *Client) {
			if _, err := Get[string](t.Context(), c, "/x"); !errors.Is(err, holdfast.TokenExpired) || len(calls.all()) != 1 {
				t.Error(err, &calls)
			}
			if e, ok := errors.AsType[*Error](func() error { _, err := Get[string](t.Context(), c, "/x"); return err }()); !ok || len(e.Body) == 0 {
				t.Error("the body of the refusal was lost")
			}
		})
	})
	t.Run("one-shot body", func(t *testing.T) {
		src := &source{}
		api(t, Config{Source: src}, serve("t1"), func(t *testing.T, c *Client) {
			_, err := Post[string](t.Context(), c, "/x", io.MultiReader(strings.NewReader("once")))
			if !errors.Is(err, ErrNotRetried) || !errors.Is(err, holdfast.TokenExpired) || !strings.Contains(err.Error(), "can't be sent again") {
				t.Error(err)
			}
			// The token was refreshed all the same.
			if v, err := Post[string](t.Context(), c, "/x", bytes.NewBufferString("twice")); v != "done" || err != nil {
				t.Error(v, err)
			}
		})
	})
	t.Run("refresh fails in passing", func(t *testing.T) {
		api(t, Config{Source: &source{fail: []error{io.ErrUnexpectedEOF}}}, serve("t1"), func(t *testing.T, c *Client) {
			_, err := Get[string](t.Context(), c, "/x")
			if !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, holdfast.TokenExpired) {
				t.Error(err)
			}
			if v, err := Get[string](t.Context(), c, "/x"); v != "done" || err != nil {
				t.Error(v, err)
			}
		})
	})
	t.Run("refresh fails for good", func(t *testing.T) {
		api(t, Config{Source: &source{fail: []error{holdfast.SessionRevoked.New()}}}, serve("t1"), func(t *testing.T, c *Client) {
			if _, err := Get[string](t.Context(), c, "/x"); !errors.Is(err, holdfast.TokenExpired) || len(calls.all()) != 1 {
				t.Error(err, &calls)
			}
		})
	})
	t.Run("no token", func(t *testing.T) {
		api(t, Config{Source: tokens.Static("")}, serve("t1"), func(t *testing.T, c *Client) {
			if _, err := Post[string](t.Context(), c, "/x", strings.NewReader("x")); !errors.Is(err, tokens.ErrNone) || len(calls.all()) != 0 {
				t.Error(err, &calls)
			}
		})
	})
	t.Run("Do", func(t *testing.T) {
		api(t, Config{Source: &source{}}, serve("t1"), func(t *testing.T, c *Client) {
			u, _ := c.URL("/x")
			req, _ := http.NewRequestWithContext(t.Context(), "PUT", u.String(), strings.NewReader("b"))
			resp, err := c.Do(req)
			if err != nil || resp.StatusCode != 200 {
				t.Fatal(resp, err)
			}
			resp.Body.Close()
			if req.Header.Get("Authorization") != "" {
				t.Error("the caller's request was changed")
			}
		})
	})
}

// L30
func TestL30Fence(t *testing.T) {
	var calls list[string]
	serve := func(w http.ResponseWriter, r *http.Request) {
		calls.add(fmt.Sprint(r.Host, r.URL.Path, " ", r.Header.Get("Authorization"), r.Header.Get("Cookie"), r.Header.Get("X-Csrf-Token"), r.Header.Get("X-Own")))
		http.SetCookie(w, &http.Cookie{Name: "c", Value: "1", Path: "/"})
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
			return
		}
		io.WriteString(w, "1")
	}
	const own = " Bearer abcc=1csrfown"
	for _, test := range []struct{ path, want string }{
		{"/a", "[api.test/a" + own + "]"},
		{"http://api.test/a", "[api.test/a" + own + "]"},
		{"http://API.test:80/a", "[API.test:80/a" + own + "]"},
		{"http://files.test/a", "[files.test/a" + own + "]"},
		{"http://other.test/a", "[other.test/a csrf]"}, // the caller's own header
		{"http://api.test:81/a", "[api.test:81/a csrf]"},
		{"http://x.api.test/a", "[x.api.test/a csrf]"},
		{"/a?to=/b", "[api.test/a" + own + " api.test/b" + own + "]"},
		{"/a?to=http://other.test/b", "[api.test/a" + own + " other.test/b ]"},
		{"/a?to=http://api.test:81/b", "[api.test/a" + own + " api.test:81/b ]"},
		{"/a?to=http://x.api.test/b", "[api.test/a" + own + " x.api.test/b ]"},
		{"/a?to=http://files.test/b", "[api.test/a" + own + " files.test/b" + own + "]"},
	} {
		t.Run(test.path, func(t *testing.T) {
			jar, _ := cookiejar.New(nil)
			for _, host := range []string{"api.test", "files.test", "other.test", "x.api.test"} {
				jar.SetCookies(&url.URL{Scheme: "http", Host: host, Path: "/"}, []*http.Cookie{{Name: "c", Value: "1", Path: "/"}})
			}
			cfg := Config{Source: tokens.Static("abc"), TrustedOrigins: []string{"http://files.test/"}, HTTPClient: &http.Client{Jar: jar}, Header: http.Header{"X-Own": {"own"}}}
			calls = list[string]{}
			api(t, cfg, serve, func(t *testing.T, c *Client) {
				_, err := Post[int](t.Context(), c, test.path, strings.NewReader("x"), Header("X-CSRF-Token", "csrf"))
				if err != nil || calls.String() != test.want {
					t.Errorf("%v\n got %v\nwant %v", err, &calls, test.want)
				}
			})
		})
	}
}

// L30: the handshake doesn't follow to another origin, where CONNECT would
// carry the token.
func TestL30HandshakeRedirect(t *testing.T) {
	api(t, Config{Source: tokens.Static("abc"), Socket: SocketConfig{MaxAttempts: 1}}, func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "evil.test" {
			t.Error("the handshake went elsewhere")
		}
		http.Redirect(w, r, "http://evil.test/socket.io/", http.StatusTemporaryRedirect)
	}, func(t *testing.T, c *Client) {
		if err := c.Socket().Connect(patient(t)); err == nil || !strings.Contains(err.Error(), "307") {
			t.Error(err)
		}
	})
}

func TestOwnTransport(t *testing.T) {
	c, err := New(Config{BaseURL: "https://example.com/v1?x#y", Socket: SocketConfig{Path: "rt", Query: url.Values{"v": {"2"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if c.own == nil || c.http.Transport.(*transport).base != http.RoundTripper(c.own) {
		t.Error("no transport of its own")
	}
	if u := c.Socket().address(WebSocket, nil).String(); u != "https://example.com/rt?EIO=4&transport=websocket&v=2" {
		t.Error(u)
	}
	c.Close()
}
