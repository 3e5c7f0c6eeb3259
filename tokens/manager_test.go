package tokens

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestWhatATokenPermits(t *testing.T) {
	m := manager(t, Config{})
	if m.SignedIn() || m.Can("x") || m.CanJoin("a") || m.HasRole("editor") || m.User().ID != "" || m.SessionID() != "" {
		t.Error("nobody may do something")
	}
	for name, test := range map[string]struct {
		access       string
		can, canJoin string // "project:1" and "other", "todo.create" and "todo.delete"
	}{
		"all it says":   {jwt(`{"sub":"ann","sid":"s1","roles":["editor"],"permissions":{"rooms":{"project:*":["join"]},"actions":["todo.create"]}}`), "true false", "true false"},
		"no rooms":      {jwt(`{"sub":"ann","sid":"s1","roles":["editor"],"permissions":{"actions":["todo.*"]}}`), "true true", "true true"},
		"rooms of none": {jwt(`{"sub":"ann","sid":"s1","roles":["editor"],"permissions":{"rooms":{},"actions":[]}}`), "false false", "false false"},
		"no sense":      {jwt(`{"sub":"ann","sid":"s1","roles":["editor"],"permissions":{"rooms":[7]}}`), "false false", "false false"},
		"nothing":       {jwt(`{"sub":"ann","sid":"s1","roles":["editor"]}`), "false false", "true true"},
	} {
		if err := m.SetTokens(t.Context(), Session{Access: test.access}); err != nil {
			t.Fatal(err)
		}
		if can := fmt.Sprint(m.Can("todo.create"), m.Can("todo.delete")); can != test.can {
			t.Errorf("%s: can %s", name, can)
		}
		if join := fmt.Sprint(m.CanJoin("project:1"), m.CanJoin("other")); join != test.canJoin {
			t.Errorf("%s: can join %s", name, join)
		}
		if m.CanJoin("") || !m.HasRole("x", "editor") || m.HasRole("x") || m.HasRole() || m.SessionID() != "s1" || m.User().ID != "ann" {
			t.Errorf("%s: %v %s", name, m.User(), m.SessionID())
		}
	}
}

func TestEventsOfASlowReader(t *testing.T) {
	m := manager(t, Config{NoSync: true})
	slow, stop := m.Events(2)
	one, _ := m.Events(0)
	for n := range 10 {
		if err := m.SetTokens(t.Context(), Session{Access: fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := <-slow, <-slow; a.Session.Access != "8" || b.Session.Access != "9" || a.Missed+b.Missed != 8 {
		t.Errorf("%s %d, %s %d", a.Session.Access, a.Missed, b.Session.Access, b.Missed)
	}
	if e := <-one; e.Session.Access != "9" || e.Missed != 9 {
		t.Errorf("%s %d", e.Session.Access, e.Missed)
	}
	stop()
	stop()
	if _, ok := <-slow; ok {
		t.Error("not closed by stop")
	}
	_ = m.Close()
	if _, ok := <-one; ok {
		t.Error("not closed by Close")
	}
	if late, stop := m.Events(1); true {
		if _, ok := <-late; ok {
			t.Error("an event after Close")
		}
		stop()
	}
}

func TestEventKinds(t *testing.T) {
	want := "sign-in sign-out refresh refresh-failed inactivity-timeout error EventKind(6)"
	if got := fmt.Sprint(SignIn, " ", SignOut, " ", Refreshed, " ", RefreshFailed, " ", InactivityTimeout, " ", Failed, " ", Failed+1); got != want {
		t.Error(got)
	}
	if text := fmt.Sprintf("%v %#v %+v", Session{}, annSession, &annSession); text != `no session session of "ann", token until 2026-01-01T00:15:00Z session of "ann", token until 2026-01-01T00:15:00Z` {
		t.Error(text)
	}
	cause := errors.New("cause")
	if err := (&CorruptError{Path: "p", Err: cause}); !errors.Is(err, cause) || err.Error() != "tokens: what was kept is no session: cause; it was put aside as p" {
		t.Error(err)
	}
}

func TestClosed(t *testing.T) {
	m := manager(t, Config{})
	_ = m.SetTokens(t.Context(), Session{Access: "a"})
	_ = m.Close()
	_ = m.Close()
	_, err1 := m.Token(t.Context())
	_, err2 := m.Refused(t.Context(), Token{Access: "a"}, holdfast.TokenExpired.New())
	for i, err := range []error{err1, err2, m.Refresh(t.Context()), m.SetTokens(t.Context(), Session{Access: "b"}), m.Clear(t.Context())} {
		if err != ErrClosed {
			t.Errorf("%d: %v", i, err)
		}
	}
	m.Touch()
	for _, cfg := range []Config{{Buffer: -1}, {IdleTimeout: -1}, {RefreshTimeout: -1}} {
		if _, err := NewManager(cfg); err == nil {
			t.Errorf("%+v", cfg)
		}
	}
	open := manager(t, Config{})
	if err := open.SetTokens(t.Context(), Session{}); err == nil {
		t.Error("no token, and no error")
	}
	if err := open.Refresh(t.Context()); err != ErrNone {
		t.Error(err)
	}
	if _, err := open.Refused(t.Context(), Token{Access: "a"}, holdfast.TokenExpired.New()); err != ErrNone {
		t.Error(err)
	}
}

// Close leaves a refresh the time to end, and no more.
func TestCloseDuringARefresh(t *testing.T) {
	for slow, kept := range map[time.Duration]string{time.Second: "a2", time.Minute: "a1"} {
		i, store := &issuer{slow: slow}, NewMemory()
		bubble(t, Config{Store: store, RefreshTimeout: time.Hour}, i, func(t *testing.T, m *Manager, _ *events) {
			var wg sync.WaitGroup
			wg.Go(func() { _ = m.Refresh(t.Context()) })
			synctest.Wait()
			began := time.Now()
			_ = m.Close()
			wg.Wait()
			if took := time.Since(began); took != min(slow, closeTimeout) {
				t.Errorf("Close took %v", took)
			}
			if s, _ := store.Load(t.Context()); s.Access != kept {
				t.Errorf("%v is kept, want %v", s.Access, kept)
			}
		})
	}
}

// A timer that fires while Close waits begins nothing that Close does not wait for.
func TestCloseAtTheTimersTime(t *testing.T) {
	for range 300 {
		bubble(t, Config{}, &issuer{lifetime: -1}, func(_ *testing.T, _ *Manager, _ *events) { time.Sleep(maxTimer) })
	}
}

func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c crew
		var done []string
		begin := func(name string, after func()) bool {
			return c.begin(func() {
				time.Sleep(time.Second)
				done = append(done, name)
				after()
			})
		}
		first := begin("first", func() {
			begin("second", func() { begin("third", func() {}) })
		})
		began := time.Now()
		c.end()
		if took := time.Since(began); !first || took != 3*time.Second || len(done) != 3 {
			t.Errorf("%v are done after %v", done, took)
		}
		if c.begin(func() { t.Error("begun after the end") }) {
			t.Error("said to be begun after the end")
		}
		c.end() // again, and nothing waits
		synctest.Wait()
	})
}

// A refresh function that panics, or gives nothing, is one that has failed.
func TestRefreshFunctionsThatFail(t *testing.T) {
	for name, f := range map[string]RefreshFunc{
		"panics":  func(context.Context, Session) (Session, error) { panic("secret") },
		"nothing": func(context.Context, Session) (Session, error) { return Session{}, nil },
		"late":    func(ctx context.Context, _ Session) (Session, error) { <-ctx.Done(); return Session{}, ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{Refresh: f}, &issuer{}, func(t *testing.T, m *Manager, e *events) {
				began := time.Now()
				if err := m.Refresh(t.Context()); err == nil || Final(err) || !m.SignedIn() {
					t.Error(err)
				}
				if took := time.Since(began); name == "late" && took != DefaultRefreshTimeout || name != "late" && took != 0 {
					t.Errorf("after %v", took)
				}
				e.expect(t, "error")
			})
		})
	}
}

// Another process holds the lock for longer than a refresh may last.
func TestALockThatIsNotGivenBack(t *testing.T) {
	store, i := newHooked(), &issuer{}
	bubble(t, Config{Store: store}, i, func(t *testing.T, m *Manager, e *events) {
		unlock, err := store.Memory.Lock(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Refresh(t.Context()); err == nil || Final(err) || i.count() != 0 {
			t.Errorf("%v, %d refreshes", err, i.count())
		}
		unlock()
		if err := m.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		e.expect(t, "error refresh")
	})
}

// The end of a session can't be written: it is tried again.
func TestAnEndThatCannotBeWritten(t *testing.T) {
	store, i := newHooked(), &issuer{fail: func(int) error { return holdfast.SessionRevoked.New() }}
	bubble(t, Config{Store: store}, i, func(t *testing.T, m *Manager, e *events) {
		store.set("swap", func() error { return io.ErrShortWrite })
		_ = m.Refresh(t.Context())
		e.expect(t, "refresh-failed sign-out error")
		store.set("swap", nil)
		time.Sleep(storeRetry)
		synctest.Wait()
		if kept, _ := store.Load(t.Context()); kept != nil || m.SignedIn() {
			t.Error("kept")
		}
	})
}

// ending is a store whose watch ends at first.
type ending struct {
	*Memory
	n        atomic.Int32
	followed chan struct{} // closed when somebody hears of errors
}

func (e *ending) Watch(ctx context.Context, changed func()) error {
	if e.n.Add(1) == 1 {
		<-e.followed
		return io.ErrUnexpectedEOF
	}
	return e.Memory.Watch(ctx, changed)
}

func TestL18AWatchThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &ending{Memory: NewMemory(), followed: make(chan struct{})}
		m, err := NewManager(Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		e := follow(m)
		close(store.followed)
		synctest.Wait()
		keep(t, store.Memory, &annSession)
		time.Sleep(time.Second)
		synctest.Wait()
		if m.User().ID != "ann" {
			t.Error("not known after a second")
		}
		e.expect(t, "error sign-in(remote)")
	})
}

// A late answer can't be taken back: told of.
func TestL05AnAnswerThatStays(t *testing.T) {
	i := &issuer{slow: time.Second}
	bubble(t, Config{SignOut: func(ctx context.Context, s Session) error {
		if err := ctx.Err(); err != nil {
			t.Errorf("no time for the call: %v", err)
		}
		if s.Access == "a2" {
			return io.ErrUnexpectedEOF
		}
		return nil
	}}, i, func(t *testing.T, m *Manager, e *events) {
		go m.Refresh(t.Context())
		synctest.Wait()
		_ = m.Clear(t.Context())
		time.Sleep(time.Minute)
		e.expect(t, "sign-out error")
	})
}

// What went wrong is in the log that was given.
func TestLogger(t *testing.T) {
	var out bytes.Buffer
	m, err := NewManager(Config{NoSync: true, Logger: slog.New(slog.NewTextHandler(&out, nil)), Refresh: func(context.Context, Session) (Session, error) {
		return Session{}, io.ErrUnexpectedEOF
	}})
	if err != nil {
		t.Fatal(err)
	}
	_ = m.SetTokens(t.Context(), Session{Access: "secret"})
	_ = m.Refresh(t.Context())
	_ = m.Close()
	if text := out.String(); !strings.Contains(text, "unexpected EOF") || strings.Contains(text, "secret") {
		t.Error(text)
	}
}
