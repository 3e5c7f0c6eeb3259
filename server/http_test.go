package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

const staticKey = "backend-key-of-the-tests-0123456789"

func newWorldWithKeys(t *testing.T) *world {
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Static: auth.Secret(staticKey)})
	if err != nil {
		t.Fatal(err)
	}
	return newWorld(t, server.Config{APIKeys: keys})
}

func TestPublishOverHTTP(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorldWithKeys(t)
		p := w.connect("alice")
		p.send(`421["room:join",{"room":"a/b c"}]`)
		p.want("431[")
		status, _, body := w.request("POST", roomPath("a/b c"), `{"event":"news","data":{"n":1},"id":"i1"}`, "Authorization", "Bearer "+staticKey)
		if status != 200 {
			t.Fatalf("%d %s", status, body)
		}
		var pos holdfast.Position
		if err := json.Unmarshal([]byte(body), &pos); err != nil || pos.Offset != 1 || pos.Epoch == "" {
			t.Errorf("answer %s (%v)", body, err)
		}
		p.want(`42["news",{"n":1},{"room":"a/b c","epoch":"` + pos.Epoch + `","offset":1,"id":"i1"}]`)
		if _, _, again := w.request("POST", roomPath("a/b c"), `{"event":"news","data":{"n":1},"id":"i1"}`, "Authorization", "Bearer "+staticKey); again != body {
			t.Errorf("the same id again: %s", again)
		}
		p.quiet()
		// A user's token publishes as the user.
		status, _, body = w.request("POST", roomPath("a/b c"), `{"event":"news"}`, "Authorization", "Bearer "+token(t, "bob", time.Hour))
		if status != 200 {
			t.Errorf("by token: %d %s", status, body)
		}
		if got := p.recv(); !strings.HasSuffix(got, `"from":"bob"}]`) {
			t.Errorf("got %s", got)
		}
	})
}

func TestRefusedPublishOverHTTP(t *testing.T) {
	key := "Bearer " + staticKey
	good := `{"event":"e","data":1}`
	cases := []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code                     string
	}{
		{"no credential", "POST", roomPath("r"), good, nil, 401, "UNAUTHENTICATED"},
		{"wrong key", "POST", roomPath("r"), good, []string{"Authorization", "Bearer hfk_x_y"}, 401, "UNAUTHENTICATED"},
		{"key from a page", "POST", roomPath("r"), good, []string{"Authorization", key, "Origin", "http://holdfast.test"}, 403, "ORIGIN_NOT_ALLOWED"},
		{"another origin", "POST", roomPath("r"), good, []string{"Authorization", key, "Origin", "http://evil.test"}, 403, "ORIGIN_NOT_ALLOWED"},
		{"bad room", "POST", roomPath("r*"), good, []string{"Authorization", key}, 400, "INVALID_ARGUMENT"},
		{"reserved event", "POST", roomPath("r"), `{"event":"auth:closing"}`, []string{"Authorization", key}, 400, "INVALID_ARGUMENT"},
		{"no event", "POST", roomPath("r"), `{}`, []string{"Authorization", key}, 400, "INVALID_ARGUMENT"},
		{"trailing data", "POST", roomPath("r"), good + "{}", []string{"Authorization", key}, 400, "INVALID_ARGUMENT"},
		{"duplicate keys", "POST", roomPath("r"), `{"event":"e","event":"f"}`, []string{"Authorization", key}, 400, "INVALID_ARGUMENT"},
		{"deep", "POST", roomPath("r"), `{"event":"e","data":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, []string{"Authorization", key}, 400, "INVALID_ARGUMENT"},
		{"not JSON", "POST", roomPath("r"), good, []string{"Authorization", key, "Content-Type", "text/plain"}, 400, "INVALID_ARGUMENT"},
		{"too large", "POST", roomPath("r"), `{"event":"e","data":"` + strings.Repeat("x", 70_000) + `"}`, []string{"Authorization", key}, 413, "MESSAGE_TOO_LARGE"},
		{"far too large", "POST", roomPath("r"), `{"event":"e","data":"` + strings.Repeat("x", 420_000) + `"}`, []string{"Authorization", key}, 413, "MESSAGE_TOO_LARGE"},
		{"no such path", "GET", "/api/nothing", "", nil, 404, "NOT_FOUND"},
		{"GET", "GET", roomPath("r"), "", nil, 405, "INVALID_ARGUMENT"},
	}
	in(t, func(t *testing.T) {
		w := newWorldWithKeys(t)
		for _, tc := range cases {
			status, header, body := w.request(tc.method, tc.path, tc.body, tc.header...)
			var got struct {
				Error, RequestID string
				Code             string
			}
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Errorf("%s: body %q: %v", tc.name, body, err)
			}
			if status != tc.status || got.Code != tc.code || got.Error == "" {
				t.Errorf("%s: %d %s, want %d %s", tc.name, status, body, tc.status, tc.code)
			}
			if status == 401 && !strings.HasPrefix(header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s: WWW-Authenticate %q", tc.name, header.Get("WWW-Authenticate"))
			}
			if strings.Contains(body, staticKey) {
				t.Errorf("%s: the key is in the answer", tc.name)
			}
		}
		status, _, body := w.request("POST", roomPath("r"), good, "Authorization", "Bearer "+token(t, "alice", time.Hour, `{"permissions":{"rooms":{"r":["join"]}}}`))
		if status != 403 || !strings.Contains(body, "FORBIDDEN") {
			t.Errorf("token without the right: %d %s", status, body)
		}
	})
}

func TestRequire(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		mux := http.NewServeMux()
		mux.Handle("/", w.srv)
		mux.Handle("/me", w.srv.Require(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			id, _ := holdfast.IdentityFrom(r.Context())
			json.NewEncoder(rw).Encode(id.AsUser())
		})))
		w.http.Handler = mux
		for _, tc := range []struct {
			name, authorization string
			status              int
			want, challenge     string
		}{
			{"good", "Bearer " + token(t, "alice", time.Hour), 200, `{"id":"alice"}`, ""},
			{"none", "", 401, "UNAUTHENTICATED", "Bearer"},
			{"expired", "Bearer " + token(t, "alice", -time.Hour), 401, "TOKEN_EXPIRED", `Bearer error="invalid_token"`},
			{"garbage", "Bearer x", 401, "UNAUTHENTICATED", `Bearer error="invalid_token"`},
		} {
			status, header, body := w.request("GET", "/me", "", "Authorization", tc.authorization)
			if status != tc.status || !strings.Contains(body, tc.want) || header.Get("WWW-Authenticate") != tc.challenge {
				t.Errorf("%s: %d %s %q", tc.name, status, body, header.Get("WWW-Authenticate"))
			}
		}
	})
}

func TestOrigins(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{AllowedOrigins: []string{"https://app.example.com"}})
		for _, tc := range []struct {
			origin string
			ok     bool
		}{
			{"", true}, {"http://holdfast.test", true}, {"https://app.example.com", true},
			{"null", false}, {"https://holdfast.test", false}, {"http://holdfast.test.evil.com", false},
			{"http://evil-holdfast.test", false}, {"http://holdfast.test:81", false}, {"http://app.example.com", false},
			{"https://app.example.com@evil.com", false}, {"https://sub.app.example.com", false},
		} {
			var header []string
			if tc.origin != "" {
				header = []string{"Origin", tc.origin}
			}
			_, err := w.tryDial(header...)
			if (err == nil) != tc.ok {
				t.Errorf("WebSocket from %q: %v", tc.origin, err)
			}
			status, _, body := w.request("GET", "/socket.io/?EIO=4&transport=polling", "", header...)
			if (status == 200) != tc.ok || (!tc.ok && (status != 403 || !strings.Contains(body, "ORIGIN_NOT_ALLOWED"))) {
				t.Errorf("polling from %q: %d %s", tc.origin, status, body)
			}
			if !tc.ok {
				status, _, _ := w.request("POST", "/socket.io/?EIO=4&transport=polling&sid=x", "40", header...)
				if status != 403 {
					t.Errorf("polling POST from %q: %d", tc.origin, status)
				}
			}
		}
		status, header, _ := w.request("OPTIONS", "/socket.io/?EIO=4&transport=polling", "", "Origin", "https://app.example.com",
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
		if status >= 300 || header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || header.Get("Access-Control-Allow-Credentials") != "true" {
			t.Errorf("preflight: %d %v", status, header)
		}
	})
}
