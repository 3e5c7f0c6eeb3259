package httpjson_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
)

const canary = "canary-5f1c"

// answer writes err in answer to r and returns the answer and its body.
func answer(t *testing.T, r *http.Request, err error) (*http.Response, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	httpjson.WriteError(w, r, err)
	resp := w.Result()
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("body %q: %v", w.Body, err)
	}
	if got, want := resp.Header.Get("Content-Length"), fmt.Sprint(w.Body.Len()); got != want {
		t.Errorf("Content-Length is %s, want %s", got, want)
	}
	if strings.Contains(w.Body.String(), canary) {
		t.Errorf("the body tells the cause: %s", w.Body)
	}
	return resp, body
}

func TestWriteErrorForEachCode(t *testing.T) {
	for _, info := range holdfast.Codes() {
		t.Run(string(info.Code), func(t *testing.T) {
			r := httptest.NewRequest("POST", "/", nil)
			r.Header.Set("X-Request-Id", "req-1")
			resp, body := answer(t, r, &holdfast.Error{Code: info.Code, Message: "A sentence", Err: errors.New(canary)})
			status := info.HTTP
			if status == 0 {
				status = 503
			}
			if resp.StatusCode != status {
				t.Errorf("status %d, want %d", resp.StatusCode, status)
			}
			want := map[string]any{"error": "A sentence", "code": string(info.Code), "requestId": "req-1"}
			if info.Code == holdfast.Internal {
				want["error"] = "Internal error"
			}
			retry := ""
			switch info.Code {
			case holdfast.RateLimited, holdfast.ConnectionLimit, holdfast.GoingAway:
				retry, want["retryAfter"] = "1", 1.0
			}
			if diff := cmp.Diff(want, body); diff != "" {
				t.Error(diff)
			}
			for name, want := range map[string]string{
				"Content-Type":           "application/json",
				"X-Content-Type-Options": "nosniff",
				"Cache-Control":          "no-store",
				"X-Request-Id":           "req-1",
				"Retry-After":            retry,
			} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if got := resp.Header.Get("WWW-Authenticate"); (got != "") != (status == 401) {
				t.Errorf("WWW-Authenticate is %q", got)
			}
		})
	}
}

func TestWriteErrorBodies(t *testing.T) {
	var null *holdfast.Error
	for _, test := range []struct {
		name   string
		err    error
		status int
		want   map[string]any
	}{
		{"nil", nil, 500, map[string]any{"error": "Internal error", "code": "INTERNAL"}},
		{"nil *Error", null, 500, map[string]any{"error": "Internal error", "code": "INTERNAL"}},
		{"foreign", errors.New(canary), 500, map[string]any{"error": "Internal error", "code": "INTERNAL"}},
		{"bare code", holdfast.Forbidden, 403, map[string]any{"error": "Not allowed", "code": "FORBIDDEN"}},
		{"wrapped", fmt.Errorf(canary+": %w", holdfast.NotFound.New()), 404, map[string]any{"error": "Not found", "code": "NOT_FOUND"}},
		{"no message", &holdfast.Error{Code: holdfast.Conflict}, 409, map[string]any{"error": "Conflicts with the present state", "code": "CONFLICT"}},
		{"internal with message", holdfast.Errorf(holdfast.Internal, "db %s", canary), 500, map[string]any{"error": "Internal error", "code": "INTERNAL"}},
		{"internal with details", &holdfast.Error{Code: holdfast.Internal, Details: json.RawMessage(`"` + canary + `"`)}, 500,
			map[string]any{"error": "Internal error", "code": "INTERNAL"}},
		{"unknown code", &holdfast.Error{Code: "NEWER", Message: canary}, 500, map[string]any{"error": "Internal error", "code": "INTERNAL"}},
		{"details", &holdfast.Error{Code: holdfast.InvalidArgument, Message: "No", Details: json.RawMessage(`{"field":"title"}`)}, 400,
			map[string]any{"error": "No", "code": "INVALID_ARGUMENT", "details": map[string]any{"field": "title"}}},
		{"bad details", &holdfast.Error{Code: holdfast.InvalidArgument, Message: "No", Details: json.RawMessage(`{"field`)}, 400,
			map[string]any{"error": "No", "code": "INVALID_ARGUMENT"}},
		{"retry after is rounded up", &holdfast.Error{Code: holdfast.RateLimited, Message: "Slow down", RetryAfter: 1200 * time.Millisecond}, 429,
			map[string]any{"error": "Slow down", "code": "RATE_LIMITED", "retryAfter": 2.0}},
		{"retry after of another code", &holdfast.Error{Code: holdfast.Internal, RetryAfter: time.Minute}, 500,
			map[string]any{"error": "Internal error", "code": "INTERNAL", "retryAfter": 60.0}},
		{"quotes", holdfast.Errorf(holdfast.NotFound, `no "x" </script>`), 404,
			map[string]any{"error": `no "x" </script>`, "code": "NOT_FOUND"}},
		{"not UTF-8", holdfast.Errorf(holdfast.NotFound, "no \xff"), 404,
			map[string]any{"error": "no \ufffd", "code": "NOT_FOUND"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp, body := answer(t, httptest.NewRequest("GET", "/", nil), test.err)
			if id, _ := body["requestId"].(string); id == "" || id != resp.Header.Get("X-Request-Id") {
				t.Errorf("requestId is %q, the header %q", id, resp.Header.Get("X-Request-Id"))
			}
			delete(body, "requestId")
			if diff := cmp.Diff(test.want, body); diff != "" {
				t.Error(diff)
			}
			if resp.StatusCode != test.status {
				t.Errorf("status %d, want %d", resp.StatusCode, test.status)
			}
			if retry, ok := test.want["retryAfter"]; ok && resp.Header.Get("Retry-After") != fmt.Sprint(retry) {
				t.Errorf("Retry-After is %q", resp.Header.Get("Retry-After"))
			}
		})
	}
}

func TestWriteErrorChallenge(t *testing.T) {
	const plain, invalid = "Bearer", `Bearer error="invalid_token"`
	for _, test := range []struct {
		name string
		code holdfast.Code
		set  func(r *http.Request)
		want string
	}{
		{"nothing sent", holdfast.Unauthenticated, func(*http.Request) {}, plain},
		{"other cookie", holdfast.Unauthenticated, func(r *http.Request) { r.Header.Set("Cookie", "theme=dark; csrf-token=x") }, plain},
		{"empty query token", holdfast.Unauthenticated, func(r *http.Request) { r.URL.RawQuery = "token=" }, plain},
		{"other query", holdfast.Unauthenticated, func(r *http.Request) { r.URL.RawQuery = "mytoken=x" }, plain},
		{"header", holdfast.Unauthenticated, func(r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, invalid},
		{"session cookie", holdfast.Unauthenticated, func(r *http.Request) { r.Header.Set("Cookie", "a=b; session=x") }, invalid},
		{"host session cookie", holdfast.Unauthenticated, func(r *http.Request) { r.Header.Set("Cookie", "__Host-session=x") }, invalid},
		{"query token", holdfast.Unauthenticated, func(r *http.Request) { r.URL.RawQuery = "room=a&token=x" }, invalid},
		{"expired", holdfast.TokenExpired, func(*http.Request) {}, invalid},
		{"revoked", holdfast.SessionRevoked, func(*http.Request) {}, invalid},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		test.set(r)
		resp, _ := answer(t, r, test.code.New())
		if got := resp.Header.Get("WWW-Authenticate"); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

func TestWriteErrorTakesBackTheAnswer(t *testing.T) {
	w := httptest.NewRecorder()
	for _, name := range []string{"Content-Encoding", "Content-Range", "Etag", "Last-Modified", "Expires"} {
		w.Header().Set(name, "x")
	}
	w.Header().Set("Content-Type", "text/html")
	w.Header().Set("Content-Length", "1000000")
	w.Header().Set("Cache-Control", "public, max-age=600")
	w.Header().Set("Vary", "Origin")
	httpjson.WriteError(w, nil, holdfast.NotFound.New())
	if diff := cmp.Diff([]string{"Cache-Control", "Content-Length", "Content-Type", "Vary", "X-Content-Type-Options", "X-Request-Id"},
		headerNames(w.Header())); diff != "" {
		t.Error(diff)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Error("an error may be cached")
	}
}

func TestWrite(t *testing.T) {
	w := httptest.NewRecorder()
	if err := httpjson.Write(w, http.StatusCreated, map[string]int{"n": 1}); err != nil {
		t.Fatal(err)
	}
	if w.Code != 201 || w.Body.String() != "{\"n\":1}\n" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}

	w = httptest.NewRecorder()
	if err := httpjson.Write(w, http.StatusOK, func() {}); err == nil {
		t.Error("a function is JSON")
	}
	if w.Code != 500 || !strings.Contains(w.Body.String(), `"code":"INTERNAL"`) {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestRequestID(t *testing.T) {
	random := regexp.MustCompile(`^[A-Z2-7]{26}$`)
	for _, test := range []struct{ header, want string }{
		{"abc-123_X.9", "abc-123_X.9"},
		{strings.Repeat("a", 128), strings.Repeat("a", 128)},
		{strings.Repeat("a", 129), ""},
		{"", ""},
		{"a b", ""},
		{"a\nb", ""},
		{"a\r\nSet-Cookie: x", ""},
		{`a"b`, ""},
		{"<script>", ""},
		{"é", ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["X-Request-Id"] = []string{test.header}
		got := httpjson.RequestID(r)
		if test.want == "" && !random.MatchString(got) || test.want != "" && got != test.want {
			t.Errorf("%q gives %q", test.header, got)
		}
		fixed := httpjson.WithRequestID(r)
		if a, b := httpjson.RequestID(fixed), httpjson.RequestID(httpjson.WithRequestID(fixed)); a != b {
			t.Errorf("%q: %q, then %q", test.header, a, b)
		}
	}
	if got := httpjson.RequestID(nil); !random.MatchString(got) {
		t.Errorf("of no request: %q", got)
	}
	if first := httpjson.RequestID(nil); first == httpjson.RequestID(nil) {
		t.Error("two requests have the same id")
	}
}

func headerNames(h http.Header) []string {
	var names []string
	for _, name := range []string{
		"Cache-Control", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Etag", "Expires",
		"Last-Modified", "Retry-After", "Vary", "Www-Authenticate", "X-Content-Type-Options", "X-Request-Id",
	} {
		if _, ok := h[name]; ok {
			names = append(names, name)
		}
	}
	return names
}

func ExampleWriteError() {
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/api/rooms/a/history", nil)
	r.Header.Set("X-Request-Id", "req-1")
	httpjson.WriteError(w, r, &holdfast.Error{Code: holdfast.RateLimited, Message: "Too many requests", RetryAfter: 2 * time.Second})
	fmt.Println(w.Code, w.Header().Get("Retry-After"))
	fmt.Print(w.Body)
	// Output:
	// 429 2
	// {"error":"Too many requests","code":"RATE_LIMITED","requestId":"req-1","retryAfter":2}
}
