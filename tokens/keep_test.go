package tokens

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

var errFull = errors.New("no space left on device")

// A manager that begins finishes the refresh of one that is gone, and no other.
func TestL16BegunByAnother(t *testing.T) {
	s, other := Session{Access: "a", Refresh: "r"}, Session{Access: "b", Refresh: "r"}
	for name, test := range map[string]struct {
		note string
		want int
	}{
		"of this session": {fingerprint(&s), 1},
		"of another":      {fingerprint(&other), 0},
		"none":            {"", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			store, i := NewMemory(), &issuer{lifetime: -1}
			keep(t, store, &s)
			_ = store.SetNote(t.Context(), noteRefresh, test.note)
			manager(t, Config{Store: store, Refresh: i.refresh, NoSync: true})
			synctest.Wait()
			if i.count() != test.want {
				t.Errorf("%s: %d refreshes", name, i.count())
			}
		})
	}
}

// A refresh is noted before it is asked for, so that another can finish it;
// where there is no session yet, there is nothing to finish.
func TestL16TheNote(t *testing.T) {
	for _, s := range []Session{{}, {Access: "a", Refresh: "r"}} {
		synctest.Test(t, func(t *testing.T) {
			store := NewMemory()
			asked := 0
			m := manager(t, Config{Store: store, Ambient: true, Refresh: func(_ context.Context, old Session) (Session, error) {
				asked++
				want := ""
				if s.Access != "" {
					want = fingerprint(&old)
				}
				if note, _ := store.Note(t.Context(), noteRefresh); note != want {
					t.Errorf("%v: the note is %q, want %q", old, note, want)
				}
				return Session{Access: "b"}, nil
			}})
			if s.Access != "" {
				_ = m.SetTokens(t.Context(), s)
			}
			if err := m.Refresh(t.Context()); err != nil || asked != 1 {
				t.Error(err, asked)
			}
		})
	}
}

// A note that can't be written is told of, and changes nothing.
func TestL15ANoteThatIsNotWritten(t *testing.T) {
	store := newHooked()
	bubble(t, Config{Store: store}, &issuer{}, func(t *testing.T, m *Manager, e *events) {
		store.set("note", func() error { return errFull })
		if err := m.Refresh(t.Context()); err != nil || access(t, m) != "a2" {
			t.Error(err)
		}
		e.expect(t, "error refresh")
		if err := m.Clear(t.Context()); !errors.Is(err, errFull) || m.SignedIn() {
			t.Error(err)
		}
		e.expect(t, "error refresh sign-out error")
	})
}

// A write that takes its time to fail is tried again all the same.
func TestL15AWriteThatFailsLate(t *testing.T) {
	store := newHooked()
	synctest.Test(t, func(t *testing.T) {
		m := manager(t, Config{Store: store, NoSync: true})
		store.set("swap", func() error { time.Sleep(time.Second); return errFull })
		if err := m.SetTokens(t.Context(), Session{Access: "a"}); !errors.Is(err, errFull) {
			t.Error(err)
		}
		store.set("swap", nil)
		time.Sleep(storeRetry)
		synctest.Wait()
		if kept, _ := store.Load(t.Context()); kept == nil {
			t.Error("nothing is kept")
		}
	})
}

// A sign-in replaces what is kept, whatever that is; only what was no session
// is told of.
func TestASignInReplaces(t *testing.T) {
	bob := Session{Access: "b", User: holdfast.User{ID: "bob"}}
	for name, test := range map[string]struct {
		swap func(store *hooked) error // once
		want string
	}{
		"no session":   {func(*hooked) error { return &CorruptError{Err: errors.New("garbage")} }, "sign-in error"},
		"another's":    {func(h *hooked) error { return h.replace(&bob) }, "sign-in"},
		"what is left": {func(*hooked) error { return nil }, "sign-in"},
	} {
		store := newHooked()
		bubble(t, Config{Store: store, NoSync: true}, &issuer{}, func(t *testing.T, m *Manager, e *events) {
			store.once("swap", func() error { return test.swap(store) })
			if err := m.SetTokens(t.Context(), Session{Access: "c"}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if kept, _ := store.Memory.Load(t.Context()); kept == nil || kept.Access != "c" {
				t.Errorf("%s: %v is kept", name, kept)
			}
			e.expect(t, test.want)
		})
	}
}

// The server has ended a session, and somebody signs in elsewhere while that is
// written.
func TestTheEndMeetsASignIn(t *testing.T) {
	bob := Session{Access: "b", User: holdfast.User{ID: "bob"}}
	for name, test := range map[string]struct {
		next *Session
		want string
	}{
		"somebody": {&bob, "sign-out sign-in(remote)"},
		"nobody":   {nil, "sign-out"},
	} {
		store := newHooked()
		bubble(t, Config{Store: store, NoSync: true}, &issuer{}, func(t *testing.T, m *Manager, e *events) {
			store.once("swap", func() error { return store.replace(test.next) })
			token, _ := m.Token(t.Context())
			_, _ = m.Refused(t.Context(), token, holdfast.SessionRevoked.New())
			e.expect(t, test.want)
			if m.SignedIn() != (test.next != nil) {
				t.Errorf("%s: signed in %v", name, m.SignedIn())
			}
			if kept, _ := store.Memory.Load(t.Context()); !same(kept, test.next) {
				t.Errorf("%s: %v is kept", name, kept)
			}
		})
	}
}
