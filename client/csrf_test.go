package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

// csrfServer knows its users by a cookie.
type csrfServer struct {
	mu      sync.Mutex
	token   string
	fetched int
	log     []string
	give    func(w http.ResponseWriter, token string) // how GET /csrf gives it
	brings  bool                                      // a refusal brings the token in its header
}

func (s *csrfServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.URL.Path == "/csrf" {
		s.fetched++
		http.SetCookie(w, &http.Cookie{Name: "csrf-id", Value: fmt.Sprint("id", s.fetched), Path: "/"})
		s.give(w, s.token)
		return
	}
	body, _ := io.ReadAll(r.Body)
	id, _ := r.Cookie("csrf-id")
	sent := r.Header.Get("X-CSRF-Token")
	s.log = append(s.log, fmt.Sprintf("%s %s %s %s", r.Method, sent, id, body))
	if r.Method != "GET" && sent != s.token {
		if s.brings {
			w.Header().Set("X-CSRF-Token", s.token)
		}
		w.WriteHeader(403)
		io.WriteString(w, `{"error":"No.","code":"CSRF_MISMATCH"}`)
		return
	}
	io.WriteString(w, `1`)
}

func byHeader(w http.ResponseWriter, token string) {
	w.Header().Set("X-CSRF-Token", token)
	byBody(w, "body-"+token)
}

func byBody(w http.ResponseWriter, token string) {
	http.SetCookie(w, &http.Cookie{Name: "csrf-token", Value: "cookie-" + token, Path: "/"})
	fmt.Fprintf(w, `{"csrfToken":%q}`, token)
}

func byCookie(w http.ResponseWriter, token string) {
	http.SetCookie(w, &http.Cookie{Name: "csrf-token", Value: token, Path: "/"})
	io.WriteString(w, "<html>")
}

func csrfClient(t *testing.T, s *csrfServer, test func(t *testing.T, c *Client)) {
	jar, _ := cookiejar.New(nil)
	api(t, Config{CSRF: &CSRF{Path: "/csrf"}, HTTPClient: &http.Client{Jar: jar}}, s.ServeHTTP, test)
}

// L34: by header, by body, by cookie, in that order.
func TestL34CSRF(t *testing.T) {
	for name, give := range map[string]func(http.ResponseWriter, string){"header": byHeader, "body": byBody, "cookie": byCookie} {
		t.Run(name, func(t *testing.T) {
			s := &csrfServer{token: "abc", give: give}
			csrfClient(t, s, func(t *testing.T, c *Client) {
				ctx := t.Context()
				if _, err := Get[int](ctx, c, "/x"); err != nil || s.fetched != 0 {
					t.Error(err, s.fetched)
				}
				var wg sync.WaitGroup
				for range 20 { // one fetch serves them all
					wg.Go(func() {
						if _, err := Post[int](ctx, c, "/x", nil); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				if _, err := Delete[int](ctx, c, "/x"); err != nil || s.fetched != 1 || !strings.HasPrefix(s.log[21], "DELETE abc csrf-id=id1") {
					t.Error(err, s.fetched, s.log)
				}
				// Others have their own protection, and other origins none of ours.
				for _, call := range []func() error{
					func() error { _, err := Post[int](ctx, c, "/x", nil, Header("Authorization", "Basic x")); return err },
					func() error { _, err := Post[int](ctx, c, "http://other.test/x", nil); return err },
				} {
					if err := call(); !errors.Is(err, holdfast.CSRFMismatch) {
						t.Error(err)
					}
				}
			})
		})
	}
	for name, give := range map[string]func(http.ResponseWriter, string){
		"nothing": func(w http.ResponseWriter, _ string) { io.WriteString(w, "{}") },
		"refused": func(w http.ResponseWriter, _ string) { w.WriteHeader(500) },
		"a choice": func(w http.ResponseWriter, token string) {
			w.Header().Set("X-CSRF-Token", token)
			w.WriteHeader(http.StatusMultipleChoices)
		},
	} {
		csrfClient(t, &csrfServer{token: "abc", give: give}, func(t *testing.T, c *Client) {
			if _, err := Post[int](t.Context(), c, "/x", nil); err == nil || !strings.Contains(err.Error(), "CSRF token") {
				t.Error(name, err)
			}
		})
	}
}

// L33: one new token, one retry, with the body whole and the new cookies.
func TestL33CSRFMismatch(t *testing.T) {
	for _, brings := range []bool{false, true} {
		s := &csrfServer{token: "one", give: byHeader, brings: brings}
		csrfClient(t, s, func(t *testing.T, c *Client) {
			ctx := t.Context()
			if _, err := Post[int](ctx, c, "/x", "a"); err != nil {
				t.Fatal(err)
			}
			s.token = "two"
			if _, err := Post[int](ctx, c, "/x", "b"); err != nil {
				t.Error(err)
			}
			want := []string{`POST one csrf-id=id1 "a"`, `POST one csrf-id=id1 "b"`, `POST two csrf-id=id2 "b"`}
			if brings { // then nothing has to be fetched
				want[2] = `POST two csrf-id=id1 "b"`
			}
			if !slices.Equal(s.log, want) {
				t.Errorf("%q", s.log)
			}
			s.token, s.log = "three", nil
			once := io.MultiReader(strings.NewReader("c"))
			if _, err := Post[int](ctx, c, "/x", once); !errors.Is(err, holdfast.CSRFMismatch) || !errors.Is(err, ErrNotRetried) {
				t.Error(err)
			}
			if _, err := Post[int](ctx, c, "/x", "d"); err != nil || len(s.log) != 2 {
				t.Error(err, s.log)
			}
		})
	}
	// A server that never has enough is asked twice, not for ever.
	n := 0
	api(t, Config{CSRF: &CSRF{Path: "/csrf"}}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/csrf" {
			byHeader(w, "x")
			return
		}
		n++
		w.WriteHeader(403)
		io.WriteString(w, `{"error":"No.","code":"CSRF_MISMATCH"}`)
	}, func(t *testing.T, c *Client) {
		if _, err := Post[int](t.Context(), c, "/x", nil); !errors.Is(err, holdfast.CSRFMismatch) || n != 2 {
			t.Error(err, n)
		}
	})
	// Nor is a token sent where the call has another credential.
	api(t, Config{Source: tokens.Static("abc"), CSRF: &CSRF{Path: "/csrf"}}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/csrf" || r.Header.Get("X-CSRF-Token") != "" {
			t.Error(r.URL, r.Header)
		}
	}, func(t *testing.T, c *Client) {
		if _, err := Post[struct{}](t.Context(), c, "/x", nil); err != nil {
			t.Error(err)
		}
	})
	// It does not leave the origin with a redirect.
	api(t, Config{CSRF: &CSRF{Path: "/csrf", Header: "X-Xsrf"}}, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/csrf":
			w.Header().Set("X-Xsrf", "secret")
		case r.Host == "api.test":
			http.Redirect(w, r, "http://evil.test/", http.StatusTemporaryRedirect)
		case r.Header.Get("X-Xsrf") != "":
			t.Error("leaked")
		}
	}, func(t *testing.T, c *Client) {
		if _, err := Post[struct{}](t.Context(), c, "/x", "body"); err != nil {
			t.Error(err)
		}
	})
}

// Where no other token can be had, the refusal is the answer, and the log says
// why.
func TestCSRFNotRenewed(t *testing.T) {
	for _, fails := range []bool{false, true} {
		var log bytes.Buffer
		s := &csrfServer{token: "one", give: byHeader}
		jar, _ := cookiejar.New(nil)
		cfg := Config{CSRF: &CSRF{Path: "/csrf"}, HTTPClient: &http.Client{Jar: jar}, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		api(t, cfg, s.ServeHTTP, func(t *testing.T, c *Client) {
			if _, err := Post[int](t.Context(), c, "/x", "a"); err != nil {
				t.Fatal(err)
			}
			s.token = "two"
			if fails {
				s.give = func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusBadGateway) }
			}
			_, err := Post[int](t.Context(), c, "/x", "b")
			if errors.Is(err, holdfast.CSRFMismatch) != fails || err != nil != fails || strings.Contains(log.String(), "no new CSRF token") != fails {
				t.Errorf("%v, log: %s", err, &log)
			}
		})
	}
}

// A token that only the jar has, from an earlier answer.
func TestCSRFFromJar(t *testing.T) {
	for name, test := range map[string]struct{ cookie, value, want string }{
		"there":   {"csrf-token", "kept", "<nil> kept"},
		"empty":   {"csrf-token", "", "brought none"},
		"another": {"session", "kept", "brought none"},
	} {
		jar, _ := cookiejar.New(nil)
		jar.SetCookies(&url.URL{Scheme: "http", Host: "api.test", Path: "/"}, []*http.Cookie{{Name: test.cookie, Value: test.value, Path: "/"}})
		sent := ""
		api(t, Config{CSRF: &CSRF{Path: "/csrf"}, HTTPClient: &http.Client{Jar: jar}}, func(w http.ResponseWriter, r *http.Request) {
			sent = r.Header.Get("X-CSRF-Token")
		}, func(t *testing.T, c *Client) {
			_, err := Post[struct{}](t.Context(), c, "/x", nil)
			if got := fmt.Sprint(err, " ", sent); !strings.Contains(got, test.want) {
				t.Errorf("%s: %s", name, got)
			}
		})
	}
	// Without a jar there is none.
	api(t, Config{CSRF: &CSRF{Path: "/csrf"}}, func(w http.ResponseWriter, r *http.Request) {}, func(t *testing.T, c *Client) {
		if _, err := Post[struct{}](t.Context(), c, "/x", nil); err == nil || !strings.Contains(err.Error(), "brought none") {
			t.Error(err)
		}
	})
}

// 503 with Retry-After.
func TestUnavailable(t *testing.T) {
	for name, test := range map[string]struct {
		method string
		body   any
		header string
		fails  int
		calls  int
		status int
		wait   time.Duration
	}{
		"get":        {"GET", nil, "2", 2, 3, 200, 4 * time.Second},
		"put":        {"PUT", "x", "2", 1, 2, 200, 2 * time.Second},
		"delete":     {"DELETE", nil, "1", 3, 4, 200, 3 * time.Second},
		"for ever":   {"GET", nil, "1", 100, 4, 503, 3 * time.Second},
		"post":       {"POST", "x", "1", 1, 1, 503, 0},
		"no header":  {"GET", nil, "", 1, 1, 503, 0},
		"too long":   {"GET", nil, "60", 1, 1, 503, 0}, // Timeout is 30 s
		"other body": {"PUT", io.MultiReader(strings.NewReader("x")), "1", 1, 1, 503, 0},
	} {
		calls := 0
		api(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
			calls++
			body, _ := io.ReadAll(r.Body)
			if test.body == "x" && string(body) != `"x"` {
				t.Errorf("%s: body %q", name, body)
			}
			if calls <= test.fails {
				if test.header != "" {
					w.Header().Set("Retry-After", test.header)
				}
				w.WriteHeader(503)
			}
		}, func(t *testing.T, c *Client) {
			start := time.Now()
			_, err := do[struct{}](t.Context(), c, test.method, "/x", test.body, nil)
			status := 200
			if e, ok := errors.AsType[*Error](err); ok {
				status = e.Status
			}
			if took := time.Since(start); status != test.status || calls != test.calls || took < test.wait || took > test.wait+15*time.Second {
				t.Errorf("%s: %v, %d calls in %v", name, err, calls, took)
			}
		})
	}
}

// A caller's own request with an empty body is made again, and one whose body
// can't be sent again does not wait.
func TestUnavailableBodies(t *testing.T) {
	for name, test := range map[string]struct {
		body  io.ReadCloser
		calls int
		waits bool
	}{
		"none":  {nil, 2, true},
		"empty": {http.NoBody, 2, true},
		"once":  {io.NopCloser(strings.NewReader("x")), 1, false},
	} {
		calls := 0
		api(t, Config{}, func(w http.ResponseWriter, r *http.Request) {
			if calls++; calls == 1 {
				w.Header().Set("Retry-After", "5")
				w.WriteHeader(503)
			}
		}, func(t *testing.T, c *Client) {
			u, _ := c.URL("/x")
			start := time.Now()
			resp, err := c.Do((&http.Request{Method: "PUT", URL: u, Header: http.Header{}, Body: test.body}).WithContext(t.Context()))
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if calls != test.calls || (time.Since(start) > 0) != test.waits {
				t.Errorf("%s: %d calls in %v", name, calls, time.Since(start))
			}
		})
	}
}

func TestInterceptors(t *testing.T) {
	var log list[string]
	say := func(who string) Interceptor {
		return Interceptor{
			Request: func(r *http.Request) error {
				log.add(who + " > " + r.URL.Path)
				r.Header.Add("X-Who", who)
				if r.URL.Path == "/no" {
					return errors.New("not there")
				}
				return nil
			},
			Response: func(r *http.Response) error {
				log.add(fmt.Sprint(who, " < ", r.StatusCode))
				if r.StatusCode == 418 {
					return errors.New("no tea")
				}
				return nil
			},
		}
	}
	api(t, Config{Interceptors: []Interceptor{say("a"), {}, say("b")}}, func(w http.ResponseWriter, r *http.Request) {
		log.add(fmt.Sprint(r.Header["X-Who"]))
		if r.URL.Path == "/tea" {
			w.WriteHeader(418)
		}
	}, func(t *testing.T, c *Client) {
		for path, want := range map[string]string{"/x": "<nil>", "/no": "not there", "/tea": "no tea"} {
			if _, err := Get[struct{}](t.Context(), c, path); fmt.Sprint(err) != want {
				t.Error(path, err)
			}
		}
		u, _ := url.Parse("http://api.test/y")
		log.items = nil
		resp, err := c.Do(&http.Request{Method: "GET", URL: u, Header: http.Header{}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if log.String() != "[a > /y b > /y [a b] b < 200 a < 200]" {
			t.Error(&log)
		}
	})
}
