package tokens

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestL19Inactivity(t *testing.T) {
	store := NewMemory()
	bubble(t, Config{Store: store, IdleTimeout: 10 * time.Minute}, &issuer{lifetime: -1}, func(t *testing.T, m *Manager, e *events) {
		other, err := NewManager(Config{Store: store, IdleTimeout: 10 * time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		time.Sleep(9 * time.Minute)
		m.Touch()
		time.Sleep(9 * time.Minute)
		e.expect(t, "")
		other.Touch()
		time.Sleep(9 * time.Minute)
		e.expect(t, "")
		time.Sleep(2 * time.Minute)
		e.expect(t, "inactivity-timeout")
		time.Sleep(time.Hour)
		e.expect(t, "inactivity-timeout")
		if !m.SignedIn() {
			t.Error("the application decides")
		}
		m.Touch()
		time.Sleep(11 * time.Minute)
		e.expect(t, "inactivity-timeout inactivity-timeout")
	})
}

func TestL20StalePermissions(t *testing.T) {
	i := &issuer{}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, e *events) {
		token, _ := m.Token(t.Context())
		if next, err := m.Refused(t.Context(), token, holdfast.PermissionVersionStale.New()); err != nil || next.Access != "a2" {
			t.Error(next, err)
		}
		e.expect(t, "refresh")
	})
}

func TestL21TheServerDoesNotHear(t *testing.T) {
	down := errors.New("down")
	bubble(t, Config{SignOut: func(context.Context, Session) error { return down }}, &issuer{}, func(t *testing.T, m *Manager, e *events) {
		if err := m.Clear(t.Context()); !errors.Is(err, down) {
			t.Error(err)
		}
		e.expect(t, "sign-out error")
		if m.SignedIn() {
			t.Error("signed in")
		}
	})
}

func TestL35ACallerLeaves(t *testing.T) {
	i := &issuer{slow: 10 * time.Second}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, _ *events) {
		token, _ := m.Token(t.Context())
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if _, err := m.Refused(ctx, token, holdfast.TokenExpired.New()); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if next, err := m.Refused(t.Context(), token, holdfast.TokenExpired.New()); err != nil || next.Access != "a2" || i.count() != 1 {
			t.Error(next, err, i.count())
		}
	})
}

// Two managers on one store are as two processes.
func TestL17L18SharedStore(t *testing.T) {
	i := &issuer{slow: time.Second}
	store := NewMemory()
	bubble(t, Config{Store: store}, i, func(t *testing.T, m *Manager, e *events) {
		other, err := NewManager(Config{Store: store, Refresh: i.refresh})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		heard := follow(other)
		if other.User().ID != "ann" {
			t.Fatal("the other did not find the session")
		}
		time.Sleep(15 * time.Minute) // both are due at the same time
		if i.count() != 1 || access(t, m) != "a2" || access(t, other) != "a2" {
			t.Errorf("%d refreshes", i.count())
		}
		got := e.String() + "|" + heard.String()
		if got != "refresh|refresh(remote)" && got != "refresh(remote)|refresh" {
			t.Error(got)
		}
		_ = other.Clear(t.Context())
		synctest.Wait()
		if m.SignedIn() {
			t.Error("a sign-out did not spread")
		}
		if err := m.SetTokens(t.Context(), Session{Access: "bob", User: holdfast.User{ID: "bob"}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if other.User().ID != "bob" {
			t.Error("a sign-in did not spread")
		}
		if got := heard.String(); !strings.HasSuffix(got, "sign-out sign-in(remote)") {
			t.Error(got)
		}
	})
}

// lateStore takes its time before it watches.
type lateStore struct{ *Memory }

func (l lateStore) Watch(ctx context.Context, changed func()) error {
	time.Sleep(time.Second)
	return l.Memory.Watch(ctx, changed)
}

// staleStore hands out what it held a second ago.
type staleStore struct {
	*Memory
	slow atomic.Bool
}

func (s *staleStore) Load(ctx context.Context) (*Session, error) {
	kept, err := s.Memory.Load(ctx)
	if s.slow.Swap(false) {
		time.Sleep(time.Second)
	}
	return kept, err
}

// What was read before a sign-in, or a refresh, undoes nothing.
func TestL18AReadThatIsLate(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, m *Manager) error{
		"sign-in": func(t *testing.T, m *Manager) error {
			return m.SetTokens(t.Context(), Session{Access: "bob", User: holdfast.User{ID: "bob"}})
		},
		"refresh": func(t *testing.T, m *Manager) error { return m.Refresh(t.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			store := &staleStore{Memory: NewMemory()}
			bubble(t, Config{Store: store}, &issuer{}, func(t *testing.T, m *Manager, e *events) {
				old, _ := store.Memory.Load(t.Context())
				other := Session{Access: "x", Refresh: "x", User: holdfast.User{ID: "eve"}}
				if _, err := store.Swap(t.Context(), old, &other); err != nil {
					t.Fatal(err)
				}
				synctest.Wait() // eve was taken over
				store.slow.Store(true)
				go m.adopt() // reads eve, and is slow about it
				synctest.Wait()
				if err := change(t, m); err != nil {
					t.Fatal(err)
				}
				want, _ := m.Session()
				time.Sleep(2 * time.Second)
				if got, _ := m.Session(); got.Access != want.Access {
					t.Errorf("%v became %v: %v", want, got, e)
				}
			})
		})
	}
}

func TestL18BeforeTheWatchStands(t *testing.T) {
	store := NewMemory()
	bubble(t, Config{Store: store}, &issuer{}, func(t *testing.T, m *Manager, _ *events) {
		other, err := NewManager(Config{Store: lateStore{store}})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		if err := m.SetTokens(t.Context(), Session{Access: "bob", User: holdfast.User{ID: "bob"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if other.User().ID != "bob" {
			t.Error("what happened before the watch stood was missed")
		}
	})
}
