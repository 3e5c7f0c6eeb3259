package tokens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// issuer is a server that renews sessions as a test wants it.
type issuer struct {
	mu       sync.Mutex
	n        int           // tokens made
	calls    int           // refreshes asked for
	lifetime time.Duration // of the tokens
	slow     time.Duration // before an answer
	fail     func(call int) error
	ended    []string // access tokens that were signed out
	log      []time.Time
}

func (i *issuer) session() Session {
	i.n++
	return Session{
		Access: fmt.Sprintf("a%d", i.n), Refresh: fmt.Sprintf("r%d", i.n), User: holdfast.User{ID: "ann"},
		SessionID: "s1", Lifetime: i.lifetime,
	}
}

func (i *issuer) refresh(ctx context.Context, old Session) (Session, error) {
	i.mu.Lock()
	i.calls++
	call := i.calls
	i.log = append(i.log, time.Now())
	slow, fail := i.slow, i.fail
	i.mu.Unlock()
	if slow > 0 {
		select {
		case <-time.After(slow):
		case <-ctx.Done():
			return Session{}, ctx.Err()
		}
	}
	if fail != nil {
		if err := fail(call); err != nil {
			return Session{}, err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.session(), nil
}

func (i *issuer) signOut(_ context.Context, s Session) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ended = append(i.ended, s.Access)
	return nil
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls
}

// events collects what a manager tells, as words.
type events struct {
	mu    sync.Mutex
	words []string
}

func follow(m *Manager) *events {
	e := &events{}
	ch, _ := m.Events(1000)
	go func() {
		for ev := range ch {
			word := ev.Kind.String()
			if ev.Remote {
				word += "(remote)"
			}
			e.mu.Lock()
			e.words = append(e.words, word)
			e.mu.Unlock()
		}
	}()
	return e
}

func (e *events) String() string {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.words, " ")
}

func (e *events) expect(t *testing.T, want string) {
	t.Helper()
	if got := e.String(); got != want {
		t.Errorf("events %q, want %q", got, want)
	}
}

// bubble runs a test on the fake clock, with a manager that is signed in.
func bubble(t *testing.T, cfg Config, i *issuer, test func(t *testing.T, m *Manager, e *events)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if i.lifetime == 0 {
			i.lifetime = 15 * time.Minute
		}
		if cfg.Refresh == nil {
			cfg.Refresh = i.refresh
		}
		cfg.Logger = slog.New(slog.DiscardHandler)
		m, err := NewManager(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		e := follow(m)
		if err := m.SetTokens(t.Context(), i.session()); err != nil {
			t.Fatal(err)
		}
		e.expect(t, "sign-in")
		e.mu.Lock()
		e.words = nil
		e.mu.Unlock()
		test(t, m, e)
	})
}

func access(t *testing.T, m *Manager) string {
	t.Helper()
	token, err := m.Token(t.Context())
	if err != nil {
		t.Error(err)
	}
	return token.Access
}

func TestL01OneRefreshForManyRefusals(t *testing.T) {
	i := &issuer{slow: time.Second}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, e *events) {
		first, _ := m.Token(t.Context())
		var wg sync.WaitGroup
		var bad atomic.Int32
		for range 10_000 {
			wg.Go(func() {
				next, err := m.Refused(t.Context(), first, holdfast.TokenExpired.New())
				if err != nil || next.Access != "a2" {
					bad.Add(1)
				}
			})
		}
		wg.Wait()
		if bad.Load() != 0 || i.count() != 1 {
			t.Errorf("%d callers got another answer; %d refreshes", bad.Load(), i.count())
		}
		e.expect(t, "refresh")
	})
}

func TestL02RefusalOfAnOldToken(t *testing.T) {
	i := &issuer{}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, _ *events) {
		first, _ := m.Token(t.Context())
		if err := m.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		next, err := m.Refused(t.Context(), first, holdfast.TokenExpired.New())
		if err != nil || next.Access != "a2" || i.count() != 1 {
			t.Errorf("%v, %v after %d refreshes", next.Access, err, i.count())
		}
	})
}

func TestL03AFailureThatPasses(t *testing.T) {
	for name, err := range map[string]error{
		"network": errors.New("connection refused"),
		"timeout": context.DeadlineExceeded,
		"429":     &holdfast.Error{Code: holdfast.RateLimited, RetryAfter: 7 * time.Second},
		"503":     holdfast.GoingAway.New(),
		"500":     holdfast.Internal.New(),
		"404":     holdfast.NotFound.New(),
	} {
		t.Run(name, func(t *testing.T) {
			i := &issuer{fail: func(call int) error {
				if call <= 100 {
					return err
				}
				return nil
			}}
			bubble(t, Config{OnUnauthorized: func(error) { t.Error("unauthorized") }}, i, func(t *testing.T, m *Manager, e *events) {
				token, _ := m.Token(t.Context())
				for i.count() < 100 {
					next, got := m.Refused(t.Context(), token, holdfast.TokenExpired.New())
					if got == nil || Final(got) || next.Access != "" || !m.SignedIn() {
						t.Fatalf("%v, %v, signed in %v", next, got, m.SignedIn())
					}
					time.Sleep(30 * time.Second)
				}
				time.Sleep(2 * time.Minute)
				if access(t, m) != "a2" || !m.SignedIn() {
					t.Error("the refresh does not work later")
				}
				if got := e.String(); strings.Contains(got, "sign-out") || strings.Contains(got, "refresh-failed") || !strings.HasSuffix(got, "error refresh") {
					t.Error(got)
				}
				if e, ok := errors.AsType[*holdfast.Error](err); ok && e.RetryAfter > 0 {
					for n := 1; n < 100; n++ {
						if wait := i.log[n].Sub(i.log[n-1]); wait < e.RetryAfter {
							t.Fatalf("asked again after %v", wait)
						}
					}
				}
			})
		})
	}
}

// A token that the server refuses while refreshes fail is no token that it
// refused anew: there is no end to the attempts.
func TestL03RefusedWhileItFails(t *testing.T) {
	i := &issuer{fail: func(call int) error {
		if call <= 10 {
			return errors.New("down")
		}
		return nil
	}}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, _ *events) {
		token, _ := m.Token(t.Context())
		for i.count() < 10 {
			if _, err := m.Refused(t.Context(), token, holdfast.TokenExpired.New()); err == nil || Final(err) {
				t.Fatalf("after %d refreshes: %v", i.count(), err)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(maxBackoff)
		if next, err := m.Refused(t.Context(), token, holdfast.TokenExpired.New()); err != nil || next.Access != "a2" {
			t.Error(next, err)
		}
	})
}

func TestL03Backoff(t *testing.T) {
	i := &issuer{fail: func(int) error { return errors.New("down") }, lifetime: 10 * time.Second}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, _ *events) {
		time.Sleep(time.Hour)
		// Waits of up to 1 s, 2 s … 60 s: 30 s on average in the end.
		if n := i.count(); n < 70 || n > 220 {
			t.Errorf("%d attempts in an hour", n)
		}
		if !m.SignedIn() {
			t.Error("signed out by a server that is down")
		}
		_, err := m.Token(t.Context())
		if err == nil || Final(err) {
			t.Errorf("an expired token that can't be renewed: %v", err)
		}
	})
}

func TestL04FinalRefusals(t *testing.T) {
	for _, code := range []holdfast.Code{holdfast.Unauthenticated, holdfast.SessionRevoked, holdfast.RefreshReused, holdfast.Forbidden} {
		t.Run(string(code), func(t *testing.T) {
			var told atomic.Int32
			i := &issuer{slow: time.Second, fail: func(int) error { return code.New() }}
			store := NewMemory()
			cfg := Config{Store: store, OnUnauthorized: func(err error) {
				told.Add(1)
				if !errors.Is(err, code) {
					t.Error(err)
				}
			}}
			bubble(t, cfg, i, func(t *testing.T, m *Manager, e *events) {
				token, _ := m.Token(t.Context())
				var wg sync.WaitGroup
				for range 100 {
					wg.Go(func() {
						if _, err := m.Refused(t.Context(), token, holdfast.TokenExpired.New()); !errors.Is(err, code) && !errors.Is(err, ErrNone) || !Final(err) {
							t.Errorf("%v", err)
						}
					})
				}
				wg.Wait()
				time.Sleep(time.Hour)
				e.expect(t, "refresh-failed sign-out")
				if kept, _ := store.Load(t.Context()); told.Load() != 1 || i.count() != 1 || m.SignedIn() || kept != nil {
					t.Errorf("told %d times, %d refreshes, signed in %v, kept %v", told.Load(), i.count(), m.SignedIn(), kept)
				}
			})
		})
	}
}

func TestL05SignOutDuringRefresh(t *testing.T) {
	i := &issuer{slow: time.Second}
	bubble(t, Config{SignOut: i.signOut}, i, func(t *testing.T, m *Manager, e *events) {
		go m.Refresh(t.Context())
		time.Sleep(500 * time.Millisecond)
		if err := m.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		e.expect(t, "sign-out")
		if _, err := m.Token(t.Context()); !errors.Is(err, ErrNone) || m.SignedIn() {
			t.Errorf("signed in again: %v", err)
		}
		if fmt.Sprint(i.ended) != "[a1 a2]" {
			t.Errorf("taken back: %v", i.ended)
		}
	})
}

func TestL06AnotherUserDuringRefresh(t *testing.T) {
	i := &issuer{slow: time.Second}
	store := NewMemory()
	bubble(t, Config{Store: store, SignOut: i.signOut}, i, func(t *testing.T, m *Manager, e *events) {
		done := make(chan error)
		go func() { done <- m.Refresh(t.Context()) }()
		time.Sleep(500 * time.Millisecond)
		if err := m.SetTokens(t.Context(), Session{Access: "bob1", User: holdfast.User{ID: "bob"}}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		e.expect(t, "sign-in")
		kept, _ := store.Load(t.Context())
		if access(t, m) != "bob1" || m.User().ID != "bob" || kept.Access != "bob1" || fmt.Sprint(i.ended) != "[a2]" {
			t.Errorf("%v, kept %v, taken back %v", m.User(), kept, i.ended)
		}
	})
}

func TestL07TheRefreshTokenIsKept(t *testing.T) {
	bubble(t, Config{Refresh: func(_ context.Context, old Session) (Session, error) {
		return Session{Access: "b", Lifetime: time.Hour}, nil
	}}, &issuer{}, func(t *testing.T, m *Manager, _ *events) {
		if err := m.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s, _ := m.Session(); s.Refresh != "r1" || s.User.ID != "ann" || s.SessionID != "s1" || s.Access != "b" {
			t.Errorf("%#v %q", s, s.Refresh)
		}
	})
}

func TestL08ShortLifetimes(t *testing.T) {
	for _, test := range []struct{ lifetime, every time.Duration }{
		{5 * time.Millisecond, time.Second}, {500 * time.Millisecond, time.Second}, {5 * time.Second, 4 * time.Second},
		{20 * time.Second, 16 * time.Second}, {time.Minute, 48 * time.Second}, {15 * time.Minute, 14*time.Minute + 30*time.Second},
	} {
		t.Run(test.lifetime.String(), func(t *testing.T) {
			i := &issuer{lifetime: test.lifetime}
			bubble(t, Config{}, i, func(t *testing.T, m *Manager, _ *events) {
				const n = 20
				time.Sleep(n*test.every + test.every/2)
				if got := i.count(); got < n-1 || got > n+1 {
					t.Errorf("%d refreshes in %v, want one in %v", got, n*test.every, test.every)
				}
				access(t, m) // which is no error, however short
			})
		})
	}
}

func TestL09LongLifetimes(t *testing.T) {
	for name, test := range map[string]struct {
		lifetime time.Duration
		want     int
	}{
		"30 days":   {30 * 24 * time.Hour, 13},
		"100 years": {100 * 365 * 24 * time.Hour, 0},
		"for ever":  {-1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			i := &issuer{lifetime: test.lifetime}
			bubble(t, Config{}, i, func(t *testing.T, m *Manager, _ *events) {
				time.Sleep(400 * 24 * time.Hour)
				if i.count() != test.want {
					t.Errorf("%d refreshes in 400 days, want %d", i.count(), test.want)
				}
				token, _ := m.Token(t.Context())
				if next, err := m.Refused(t.Context(), token, holdfast.Unauthenticated.New()); err != nil || next == token {
					t.Error(next, err)
				}
			})
		})
	}
}

func TestL10AWrongClock(t *testing.T) {
	for _, off := range []time.Duration{10 * time.Minute, -10 * time.Minute, 10 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var made atomic.Int32
				next := func() Session {
					n := made.Add(1)
					now := time.Now()
					return Session{Access: jwt(fmt.Sprintf(`{"sub":"ann","iat":%d,"exp":%d,"n":%d}`, now.Unix(), now.Add(15*time.Minute).Unix(), n))}
				}
				m, err := newManager(Config{Refresh: func(context.Context, Session) (Session, error) { return next(), nil }},
					func() time.Time { return time.Now().Round(0).Add(off) })
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				if err := m.SetTokens(t.Context(), next()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(24 * time.Hour)
				if n := made.Load(); n < 98 || n > 101 || !m.SignedIn() {
					t.Errorf("%d tokens in a day, signed in %v", n, m.SignedIn())
				}
			})
		})
	}
}

func TestL11RefusedAgainAndAgain(t *testing.T) {
	i := &issuer{}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, e *events) {
		for range 1000 {
			token, err := m.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := m.Refused(t.Context(), token, holdfast.Unauthenticated.New()); err != nil && !Final(err) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		for n := 3; n < len(i.log); n++ {
			if i.log[n].Sub(i.log[n-3]) < 30*time.Second {
				t.Fatalf("more than 3 refreshes in 30 s: %v", i.log)
			}
		}
		if !m.SignedIn() || strings.Contains(e.String(), "sign-out") {
			t.Error("signed out: the server did not say so")
		}
	})
}

func TestL12AFixedTokenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := NewManager(Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := m.SetTokens(t.Context(), Session{Access: "fixed"}); err != nil {
			t.Fatal(err)
		}
		_, err = m.Refused(t.Context(), Token{Access: "fixed"}, holdfast.TokenExpired.New())
		if _, ok := errors.AsType[*RefusedError](err); !ok || !Final(err) {
			t.Error(err)
		}
		if err := m.Refresh(t.Context()); err == nil {
			t.Error("there is nothing to renew it by")
		}
	})
}

func TestL13Sleep(t *testing.T) {
	i := &issuer{}
	synctest.Test(t, func(t *testing.T) {
		var slept atomic.Int64
		i.lifetime = 15 * time.Minute
		m, err := newManager(Config{Refresh: i.refresh}, func() time.Time { return time.Now().Round(0).Add(time.Duration(slept.Load())) })
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := m.SetTokens(t.Context(), i.session()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		slept.Store(int64(8 * time.Hour)) // timers have seen nothing of it
		if got := access(t, m); got != "a2" || i.count() != 1 {
			t.Errorf("after sleep: %s, %d refreshes", got, i.count())
		}
	})
}
