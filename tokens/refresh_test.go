package tokens

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// A token is used up to its end, and not at it.
func TestTheEndOfAToken(t *testing.T) {
	i := &issuer{lifetime: time.Hour, fail: func(int) error { return errors.New("down") }}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, _ *events) {
		time.Sleep(time.Hour - 1)
		if access(t, m) != "a1" {
			t.Error("not used to its end")
		}
		time.Sleep(time.Nanosecond)
		if token, err := m.Token(t.Context()); err == nil {
			t.Errorf("%v is used at its end", token)
		}
	})
}

// Who asks when the pause after a refresh is over gets the next token.
func TestL08AfterThePause(t *testing.T) {
	i := &issuer{lifetime: time.Millisecond}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, _ *events) {
		if err := m.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		i.mu.Lock()
		i.slow = 10 * time.Millisecond
		i.mu.Unlock()
		time.Sleep(minRefreshPause - 1)
		if got := access(t, m); got != "a2" {
			t.Errorf("%s in the pause", got)
		}
		time.Sleep(time.Nanosecond)
		if got := access(t, m); got != "a3" {
			t.Errorf("%s after the pause", got)
		}
	})
}

// The bound on refreshes for refused tokens moves on with time.
func TestL11TheWindow(t *testing.T) {
	bubble(t, Config{}, &issuer{}, func(t *testing.T, m *Manager, _ *events) {
		refused := func() error {
			token, err := m.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = m.Refused(t.Context(), token, holdfast.Unauthenticated.New())
			return err
		}
		for range refusedLimit {
			if err := refused(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(refusedWindow - 1)
		if err := refused(); !Final(err) {
			t.Errorf("within the window: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if err := refused(); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}

// Tokens of a few seconds are refused, or about to end, many times in a
// minute: each has been good for a while, so that none of this is counted.
func TestL11ShortLives(t *testing.T) {
	bubble(t, Config{}, &issuer{lifetime: 5 * time.Second}, func(t *testing.T, m *Manager, _ *events) {
		for range 10 * refusedLimit {
			token, err := m.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Second) // when a server warns of the end
			next, err := m.Refused(t.Context(), token, holdfast.TokenExpired.New())
			if err != nil || next.Access == token.Access {
				t.Fatalf("%v, %v", next, err)
			}
		}
	})
}

// What a renewed token does not say about its user is as before, if it is the
// same one.
func TestL07TheUserIsKept(t *testing.T) {
	for access, want := range map[string]string{
		"opaque":                              "ann Ann editor",
		jwt(`{}`):                             "ann Ann editor",
		jwt(`{"sub":"ann"}`):                  "ann Ann editor",
		jwt(`{"sub":"ann","roles":["x"]}`):    "ann Ann x",
		jwt(`{"sub":"ann","roles":[]}`):       "ann Ann ",
		jwt(`{"sub":"bob"}`):                  "bob  ",
		jwt(`{"sub":"bob","roles":["boss"]}`): "bob  boss",
	} {
		refresh := func(context.Context, Session) (Session, error) { return Session{Access: access}, nil }
		bubble(t, Config{Refresh: refresh}, &issuer{}, func(t *testing.T, m *Manager, _ *events) {
			_ = m.SetTokens(t.Context(), Session{Access: "a", User: holdfast.User{ID: "ann", Name: "Ann", Roles: []string{"editor"}}})
			if err := m.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			if u := m.User(); strings.Join([]string{u.ID, u.Name, strings.Join(u.Roles, " ")}, " ") != want {
				t.Errorf("%s: %+v, want %s", access, u, want)
			}
		})
	}
}

// A session is got by what is around it, while somebody says that nobody is to
// be signed in: its answer comes too late, whatever else was done meanwhile.
func TestL05SignOutOfNobody(t *testing.T) {
	for _, do := range []string{"out", "in out", "in out out out"} {
		i := &issuer{slow: time.Second, lifetime: time.Hour}
		synctest.Test(t, func(t *testing.T) {
			m := manager(t, Config{Ambient: true, Refresh: i.refresh, SignOut: i.signOut})
			go m.Token(t.Context())
			synctest.Wait()
			for _, what := range strings.Fields(do) {
				change := m.Clear
				if what == "in" {
					change = func(ctx context.Context) error { return m.SetTokens(ctx, Session{Access: "b"}) }
				}
				if err := change(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if m.SignedIn() || !slices.Contains(i.ended, "a1") {
				t.Errorf("%s: signed in %v, taken back %q", do, m.SignedIn(), i.ended)
			}
		})
	}
}

// A program begins with a session that is not new, and somebody sets the clock
// back: it is renewed in its time all the same.
func TestL10TheClockIsSetBack(t *testing.T) {
	for _, back := range []time.Duration{0, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var off atomic.Int64
			i, store := &issuer{}, NewMemory()
			keep(t, store, &Session{Access: "a", Refresh: "r", Lifetime: 15 * time.Minute, Received: time.Now().Add(-10 * time.Minute)})
			m, err := newManager(Config{Store: store, Refresh: i.refresh}, func() time.Time { return time.Now().Round(0).Add(-time.Duration(off.Load())) })
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			off.Store(int64(back))
			time.Sleep(5*time.Minute - DefaultBuffer - 1)
			synctest.Wait()
			if i.count() != 0 {
				t.Errorf("%v back: renewed too early", back)
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if i.count() != 1 {
				t.Errorf("%v back: %d refreshes", back, i.count())
			}
		})
	}
}
