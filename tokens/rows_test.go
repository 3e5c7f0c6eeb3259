package tokens

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// answers is an http.RoundTripper that asks nobody.
type answers func(*http.Request) (int, string)

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	status, body := a(req)
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

// endpoint makes an Endpoint that is answered by a function.
func endpoint(t *testing.T, cfg EndpointConfig, answer answers) *Endpoint {
	t.Helper()
	if cfg.URL == "" {
		cfg.URL = "https://rt.example.com/api/auth/refresh"
	}
	cfg.HTTPClient = &http.Client{Transport: answer}
	e, err := NewEndpoint(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// What an endpoint answers settles whether the session is over.
func TestL04AnswersOfAnEndpoint(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		body   string
		final  bool
	}{
		"400":                 {400, "", true},
		"400, OAuth":          {400, `{"error":"invalid_grant"}`, true},
		"401":                 {401, "<html>", true},
		"401, unknown code":   {401, `{"code":"NEW"}`, true},
		"reused":              {401, `{"code":"REFRESH_REUSED"}`, true},
		"revoked":             {401, `{"code":"SESSION_REVOKED"}`, true},
		"forbidden":           {403, `{"code":"FORBIDDEN"}`, true},
		"403 of a proxy":      {403, "<html>go away</html>", false},
		"404":                 {404, "", false},
		"a redirect":          {302, "", false},
		"429":                 {429, "", false},
		"503":                 {503, "", false},
		"503, going away":     {503, `{"code":"GOING_AWAY"}`, false},
		"401, try again":      {401, `{"code":"RATE_LIMITED"}`, false},
		"200 with a page":     {200, "<html>", false},
		"200 without a token": {200, "{}", false},
	} {
		t.Run(name, func(t *testing.T) {
			e := endpoint(t, EndpointConfig{}, func(*http.Request) (int, string) { return test.status, test.body })
			var told atomic.Int32
			bubble(t, Config{Refresh: e.Refresh, OnUnauthorized: func(error) { told.Add(1) }}, &issuer{}, func(t *testing.T, m *Manager, events *events) {
				err := m.Refresh(t.Context())
				if err == nil || Final(err) != test.final || m.SignedIn() == test.final {
					t.Errorf("%v; signed in %v", err, m.SignedIn())
				}
				want := "error"
				if test.final {
					want = "refresh-failed sign-out"
				}
				events.expect(t, want)
				if n := told.Load(); n != 1 && test.final || n != 0 && !test.final {
					t.Errorf("told %d times", n)
				}
			})
		})
	}
}

// Each form of a source, until its token expires and is refused.
func TestL12Sources(t *testing.T) {
	n := 0
	next := func() string { n++; return "token" + string(rune('0'+n)) }
	ambient := func(refresh RefreshFunc) func(t *testing.T) Source {
		return func(t *testing.T) Source {
			m, err := NewManager(Config{Refresh: refresh, Ambient: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = m.Close() })
			return m
		}
	}
	type key struct{}
	for name, test := range map[string]struct {
		source func(t *testing.T) Source
		fixed  bool
	}{
		"fixed":    {func(*testing.T) Source { return Static("token1") }, true},
		"function": {func(*testing.T) Source { return Text(func() (string, error) { return next(), nil }) }, false},
		"function with context": {func(*testing.T) Source {
			return Func(func(ctx context.Context) (Token, error) {
				if ctx.Value(key{}) == nil {
					return Token{}, errors.New("another context")
				}
				return New(next()), nil
			})
		}, false},
		"endpoint, POST": {func(t *testing.T) Source {
			return ambient(endpoint(t, EndpointConfig{}, func(req *http.Request) (int, string) {
				return 200, `{"accessToken":"` + next() + `","expiresIn":900}`
			}).Refresh)(t)
		}, false},
		"endpoint, GET, another shape": {func(t *testing.T) Source {
			return ambient(endpoint(t, EndpointConfig{
				Method: http.MethodGet, URL: "https://rt.example.com/token",
				Parse: func(_ *http.Response, body []byte) (Session, error) { return Session{Access: string(body)}, nil },
			}, func(req *http.Request) (int, string) {
				if req.Method != http.MethodGet || req.Body != nil {
					t.Error(req.Method)
				}
				return 200, next()
			}).Refresh)(t)
		}, false},
		"refresh function": {ambient(func(context.Context, Session) (Session, error) {
			return Session{Access: next(), Lifetime: time.Hour}, nil
		}), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n = 0
				ctx := context.WithValue(t.Context(), key{}, 1)
				src := test.source(t)
				token, err := src.Token(ctx)
				if err != nil || token.Access != "token1" {
					t.Fatal(token.Access, err)
				}
				token, err = Renew(ctx, src, token, holdfast.TokenExpired.New())
				if !test.fixed {
					if err != nil || token.Access != "token2" {
						t.Error(token.Access, err)
					}
					return
				}
				if _, ok := errors.AsType[*RefusedError](err); !ok || !Final(err) || !strings.Contains(err.Error(), "no other") {
					t.Error(err)
				}
			})
		})
	}
}

// A store that can't be written to, and can later.
func TestL15AStoreThatIsFull(t *testing.T) {
	full := errors.New("no space left on device")
	i := &issuer{}
	store := newHooked()
	bubble(t, Config{Store: store}, i, func(t *testing.T, m *Manager, e *events) {
		store.set("swap", func() error { return full })
		if err := m.Refresh(t.Context()); err != nil || access(t, m) != "a2" {
			t.Error(err)
		}
		e.expect(t, "error refresh")
		store.set("lock", func() error { return full })
		if err := m.Refresh(t.Context()); err != nil || access(t, m) != "a3" {
			t.Error(err)
		}
		if kept, _ := store.Memory.Load(t.Context()); kept.Access != "a1" {
			t.Error(kept.Access)
		}
		store.set("swap", nil)
		time.Sleep(storeRetry)
		synctest.Wait()
		if kept, _ := store.Memory.Load(t.Context()); kept.Access != "a3" {
			t.Errorf("%v is kept though the store works again", kept.Access)
		}
		// A sign-out that was not written is written later as well.
		store.set("swap", func() error { return full })
		if err := m.Clear(t.Context()); !errors.Is(err, full) || m.SignedIn() {
			t.Error(err)
		}
		store.set("swap", nil)
		time.Sleep(storeRetry)
		synctest.Wait()
		if kept, _ := store.Memory.Load(t.Context()); kept != nil {
			t.Error("the session is kept after the sign-out")
		}
	})
}

// The last chance to write is at the end.
func TestL15WrittenAtTheEnd(t *testing.T) {
	store := newHooked()
	synctest.Test(t, func(t *testing.T) {
		m := manager(t, Config{Store: store})
		store.set("swap", func() error { return errors.New("full") })
		_ = m.SetTokens(t.Context(), Session{Access: "a"})
		store.set("swap", nil)
		_ = m.Close()
		if kept, _ := store.Memory.Load(t.Context()); kept == nil {
			t.Error("nothing is kept")
		}
	})
}

// A process that was to renew a session is gone: another does, at once.
func TestL16FinishedByAnother(t *testing.T) {
	i := &issuer{}
	store := newHooked()
	bubble(t, Config{Store: store, NoSync: true}, i, func(t *testing.T, m *Manager, _ *events) {
		other := manager(t, Config{Store: store.Memory, Refresh: i.refresh})
		unlock, err := store.Lock(t.Context()) // as the process that is killed
		if err != nil {
			t.Fatal(err)
		}
		s, _ := m.Session()
		if err := store.SetNote(t.Context(), noteRefresh, fingerprint(&s)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if i.count() != 0 {
			t.Error("the other did not wait")
		}
		unlock()
		synctest.Wait()
		if i.count() != 1 || access(t, other) != "a2" {
			t.Errorf("%d refreshes", i.count())
		}
		time.Sleep(10 * time.Minute)
		if i.count() != 1 {
			t.Errorf("%d refreshes in the end", i.count())
		}
	})
}

// The answer is lost: the server may have used up the refresh token, so that
// the next try is soon, not when the token ends.
func TestL16ALostAnswer(t *testing.T) {
	for _, noSync := range []bool{false, true} {
		i := &issuer{fail: func(call int) error {
			if call == 1 {
				return errors.New("connection reset by peer")
			}
			return nil
		}}
		bubble(t, Config{NoSync: noSync}, i, func(t *testing.T, m *Manager, _ *events) {
			if err := m.Refresh(t.Context()); err == nil || Final(err) {
				t.Error(err)
			}
			time.Sleep(2 * time.Second)
			if i.count() != 2 {
				t.Errorf("%d refreshes", i.count())
			}
		})
	}
}

// The store does not have this session, since it could not be written; a
// sign-out elsewhere is meant for it all the same.
func TestL18SignOutOfAnEmptyStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHooked()
		m := manager(t, Config{Store: store})
		other := manager(t, Config{Store: store.Memory})
		store.set("swap", func() error { return errors.New("read-only") })
		if err := m.SetTokens(t.Context(), Session{Access: "a"}); err == nil {
			t.Fatal("written")
		}
		e := follow(m)
		synctest.Wait()
		if !m.SignedIn() || other.SignedIn() {
			t.Fatal("memory does not go on")
		}
		if err := other.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		e.expect(t, "sign-out(remote)")
		if err := m.SetTokens(t.Context(), Session{Access: "b"}); err == nil {
			t.Fatal("written")
		}
		synctest.Wait()
		if err := m.Clear(t.Context()); err == nil {
			t.Fatal("written")
		}
		if err := m.SetTokens(t.Context(), Session{Access: "c"}); err == nil {
			t.Fatal("written")
		}
		synctest.Wait()
		if access(t, m) != "c" {
			t.Error("signed out by a sign-out of its own")
		}
	})
}

// Requests through a Transport are activity.
func TestL19RequestsAreActivity(t *testing.T) {
	bubble(t, Config{IdleTimeout: 10 * time.Minute}, &issuer{lifetime: -1}, func(t *testing.T, m *Manager, e *events) {
		tr := &Transport{Source: m, Base: answers(func(*http.Request) (int, string) { return 200, "" })}
		for range 10 {
			time.Sleep(9 * time.Minute)
			resp, err := tr.RoundTrip(httptest.NewRequest("GET", "https://a.example.com/", nil))
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
		}
		e.expect(t, "")
		time.Sleep(10 * time.Minute)
		e.expect(t, "inactivity-timeout")
	})
}

// Many managers of many users in one process have nothing in common, and the
// package has nothing that they could have.
func TestL22NothingIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		for user := range 20 {
			wg.Go(func() {
				i := &issuer{lifetime: time.Minute}
				id := holdfast.User{ID: string(rune('A' + user))}
				m := manager(t, Config{Refresh: i.refresh})
				s := i.session()
				s.User = id
				if err := m.SetTokens(t.Context(), s); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Duration(user) * time.Minute)
				if m.User().ID != id.ID && user == 0 || user > 0 && i.count() < user || i.count() > user*2 {
					t.Errorf("%v: %v, %d refreshes", id, m.User(), i.count())
				}
			})
		}
		wg.Wait()
	})
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.VAR || strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, spec := range gen.Specs {
				for _, id := range spec.(*ast.ValueSpec).Names {
					if id.Name != "_" && !strings.HasPrefix(strings.ToLower(id.Name), "err") {
						t.Errorf("%s: the package has a variable %s", name, id.Name)
					}
				}
			}
		}
	}
}
