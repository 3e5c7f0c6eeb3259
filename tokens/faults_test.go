package tokens

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// hooked is a Memory whose calls do something first, which may fail.
type hooked struct {
	*Memory
	mu     sync.Mutex
	before map[string]func() error
	locked atomic.Int32
}

func newHooked() *hooked { return &hooked{Memory: NewMemory(), before: make(map[string]func() error)} }

func (h *hooked) set(op string, f func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.before[op] = f
}

// once sets what is done before the next call alone.
func (h *hooked) once(op string, f func() error) {
	var done atomic.Bool
	h.set(op, func() error {
		if done.Swap(true) {
			return nil
		}
		return f()
	})
}

// replace keeps a session, nil for none, in place of whatever there is.
func (h *hooked) replace(next *Session) error {
	now, err := h.Memory.Load(context.Background())
	if err == nil {
		_, err = h.Memory.Swap(context.Background(), now, next)
	}
	return err
}

func (h *hooked) do(op string) error {
	h.mu.Lock()
	f := h.before[op]
	h.mu.Unlock()
	if f == nil {
		return nil
	}
	return f()
}

func (h *hooked) Load(ctx context.Context) (*Session, error) {
	if err := h.do("load"); err != nil {
		return nil, err
	}
	return h.Memory.Load(ctx)
}

func (h *hooked) Swap(ctx context.Context, old, next *Session) (*Session, error) {
	if err := h.do("swap"); err != nil {
		return nil, err
	}
	return h.Memory.Swap(ctx, old, next)
}

func (h *hooked) SetNote(ctx context.Context, name, text string) error {
	if err := h.do("note"); err != nil {
		return err
	}
	return h.Memory.SetNote(ctx, name, text)
}

func (h *hooked) Lock(ctx context.Context) (func(), error) {
	if err := h.do("lock"); err != nil {
		return nil, err
	}
	unlock, err := h.Memory.Lock(ctx)
	if err != nil {
		return nil, err
	}
	h.locked.Add(1)
	return func() { h.locked.Add(-1); unlock() }, nil
}

// Two sign-ins at once: the store keeps the one that the manager has.
func TestSignInsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHooked()
		first := make(chan struct{})
		var n atomic.Int32
		slow := func() error { // the first write is the slower one
			if n.Add(1) == 1 {
				<-first
			}
			return nil
		}
		store.set("load", nil)
		m, err := NewManager(Config{Store: store, NoSync: true})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		store.set("load", slow)
		store.set("swap", slow)
		go m.SetTokens(t.Context(), Session{Access: "a", User: holdfast.User{ID: "ann"}})
		synctest.Wait()
		go m.SetTokens(t.Context(), Session{Access: "b", User: holdfast.User{ID: "bob"}})
		synctest.Wait()
		close(first)
		synctest.Wait()
		kept, _ := store.Memory.Load(t.Context())
		if m.User().ID != "bob" || kept == nil || kept.Access != "b" {
			t.Errorf("%v has signed in, and %v is kept", m.User(), kept)
		}
	})
}

// A sign-out just before a refresh is written: nothing comes back.
func TestSignOutWhileARefreshIsWritten(t *testing.T) {
	i := &issuer{slow: time.Second}
	store := newHooked()
	bubble(t, Config{Store: store, SignOut: i.signOut}, i, func(t *testing.T, m *Manager, e *events) {
		var once atomic.Bool
		store.set("swap", func() error {
			if once.CompareAndSwap(false, true) { // the refresh's own
				go m.Clear(t.Context())
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		})
		_ = m.Refresh(t.Context())
		time.Sleep(time.Minute)
		if kept, _ := store.Memory.Load(t.Context()); kept != nil || m.SignedIn() {
			t.Errorf("kept %v, signed in %v", kept, m.SignedIn())
		}
		e.expect(t, "sign-out")
	})
}

// Somebody signs in while the end of the session before is written.
func TestSignInWhileTheEndIsWritten(t *testing.T) {
	i := &issuer{}
	store := newHooked()
	bubble(t, Config{Store: store}, i, func(t *testing.T, m *Manager, _ *events) {
		var once atomic.Bool
		store.set("swap", func() error {
			if once.CompareAndSwap(false, true) {
				go m.SetTokens(t.Context(), Session{Access: "b", User: holdfast.User{ID: "bob"}})
				time.Sleep(10 * time.Millisecond)
			}
			return nil
		})
		token, _ := m.Token(t.Context())
		_, _ = m.Refused(t.Context(), token, holdfast.SessionRevoked.New())
		time.Sleep(time.Minute)
		kept, _ := store.Memory.Load(t.Context())
		if m.User().ID != "bob" || kept == nil || kept.Access != "b" {
			t.Errorf("%v is signed in, and %v is kept", m.User(), kept)
		}
	})
}

// A server that is down when a token was refused again and again is no reason
// to give up.
func TestRefusedWhileTheServerIsDown(t *testing.T) {
	i := &issuer{fail: func(int) error { return holdfast.GoingAway.New() }}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, _ *events) {
		token, _ := m.Token(t.Context())
		for range 100 {
			if _, err := m.Refused(t.Context(), token, holdfast.TokenExpired.New()); err == nil || Final(err) {
				t.Fatalf("%v", err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}

// A revoked session is not got again by its cookie.
func TestAmbientRestsAfterTheEnd(t *testing.T) {
	i := &issuer{}
	bubble(t, Config{Ambient: true}, i, func(t *testing.T, m *Manager, _ *events) {
		token, _ := m.Token(t.Context())
		_, _ = m.Refused(t.Context(), token, holdfast.SessionRevoked.New())
		if _, err := m.Token(t.Context()); !errors.Is(err, ErrNone) || i.count() != 0 {
			t.Errorf("%v, after %d refreshes", err, i.count())
		}
		if err := m.Refresh(t.Context()); err != nil || access(t, m) != "a2" {
			t.Errorf("asked for, a session can be got again: %v", err)
		}
	})
}

// What the application does at the end of a session may take its time, and
// holds up nobody else.
func TestOnUnauthorizedWithoutTheLock(t *testing.T) {
	for _, final := range []error{holdfast.SessionRevoked.New()} {
		i := &issuer{fail: func(int) error { return final }}
		store := newHooked()
		var held atomic.Int32
		held.Store(-1)
		bubble(t, Config{Store: store, OnUnauthorized: func(error) { held.Store(store.locked.Load()) }}, i, func(t *testing.T, m *Manager, _ *events) {
			_ = m.Refresh(t.Context())
			synctest.Wait()
			if held.Load() != 0 {
				t.Errorf("the store was locked %d times while the application was told", held.Load())
			}
		})
	}
}

// Another process has refreshed the same login, for all locks: ending the late
// answer at the server would end both.
func TestALateAnswerOfTheSameLoginIsLeft(t *testing.T) {
	for _, noSync := range []bool{false, true} {
		i := &issuer{slow: time.Second}
		store := newHooked()
		bubble(t, Config{Store: store, SignOut: i.signOut, NoSync: noSync}, i, func(t *testing.T, m *Manager, e *events) {
			old, _ := m.Session()
			go m.Refresh(t.Context())
			time.Sleep(500 * time.Millisecond)
			theirs := old
			theirs.Access, theirs.Refresh = "theirs", "theirs"
			if _, err := store.Swap(t.Context(), &old, &theirs); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if access(t, m) != "theirs" || len(i.ended) != 0 {
				t.Errorf("%v, ended %q", access(t, m), i.ended)
			}
			e.expect(t, "refresh(remote)")
		})
	}
}

// The refresh token was used by another process, for all locks: what it got is
// as good.
func TestReusedByAFriend(t *testing.T) {
	i := &issuer{slow: time.Second, fail: func(int) error { return holdfast.RefreshReused.New() }}
	store := newHooked()
	bubble(t, Config{Store: store, NoSync: true, OnUnauthorized: func(err error) { t.Error(err) }}, i, func(t *testing.T, m *Manager, e *events) {
		old, _ := m.Session()
		done := make(chan error)
		go func() { done <- m.Refresh(t.Context()) }()
		time.Sleep(500 * time.Millisecond)
		theirs := old
		theirs.Access, theirs.Refresh = "theirs", "theirs"
		if _, err := store.Swap(t.Context(), &old, &theirs); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil || access(t, m) != "theirs" {
			t.Error(err)
		}
		e.expect(t, "refresh(remote)")
	})
}

// The present token is no use where it has ended as well.
func TestRefusedOldAndEnded(t *testing.T) {
	i := &issuer{fail: func(call int) error {
		if call > 1 && call < 8 {
			return errors.New("down")
		}
		return nil
	}}
	bubble(t, Config{}, i, func(t *testing.T, m *Manager, _ *events) {
		first, _ := m.Token(t.Context())
		_ = m.Refresh(t.Context())
		time.Sleep(15*time.Minute + 10*time.Second)
		next, err := m.Refused(t.Context(), first, holdfast.TokenExpired.New())
		if err == nil && next.Access == "a2" {
			t.Error("a token that has ended is given as the one to use")
		}
	})
}

func TestRolesOfTheToken(t *testing.T) {
	for name, s := range map[string]Session{
		"none":        {Access: jwt(`{"sub":"ann","roles":["editor"]}`)},
		"a user":      {Access: jwt(`{"sub":"ann","roles":["editor"]}`), User: holdfast.User{ID: "ann", Name: "Ann"}},
		"one as text": {Access: jwt(`{"sub":"ann","roles":"editor"}`)},
	} {
		if got := s.complete(time.Now()); got.User.ID != "ann" || strings.Join(got.User.Roles, " ") != "editor" {
			t.Errorf("%s: %+v", name, got.User)
		}
	}
	own := Session{Access: jwt(`{"sub":"ann","roles":["editor"]}`), User: holdfast.User{ID: "ann", Roles: []string{}}}.complete(time.Now())
	other := Session{Access: jwt(`{"sub":"x","roles":["editor"]}`), User: holdfast.User{ID: "ann"}}.complete(time.Now())
	if len(own.User.Roles) != 0 || len(other.User.Roles) != 0 {
		t.Error(own.User, other.User)
	}
}

// A log in JSON writes exported fields where a type doesn't say otherwise.
func TestNoSecretInLogs(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	s := Session{Access: "secret", Refresh: "secret", User: holdfast.User{ID: "ann"}}
	log.Info("x", "token", Token{Access: "secret"}, "session", s, "pointer", &s, "event", Event{Session: s}, "refused", &RefusedError{Token: Token{Access: "secret"}, Reason: holdfast.TokenExpired.New()})
	if strings.Contains(out.String(), "secret") {
		t.Error(out.String())
	}
}

// A field of another type than ours costs that field, not the session: the
// server has rotated the refresh token already.
func TestAnAnswerWithOtherTypes(t *testing.T) {
	s, err := parseSession(&http.Response{}, []byte(`{"user":{"id":7},"sessionId":9,"expires_in":"3600","access_token":"a","refresh_token":"r"}`))
	if err != nil || s.Access != "a" || s.Refresh != "r" {
		t.Error(s, err)
	}
	for _, text := range []string{"", "{", "[]", "null", `"a"`, `{"accessToken":7}`, "<html>"} {
		if s, err := parseSession(&http.Response{}, []byte(text)); err == nil {
			t.Errorf("%s: %#v", text, s)
		}
	}
}

// A change between the first look and the watch is seen.
func TestAChangeBeforeTheWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newHooked()
		var n atomic.Int32
		store.set("load", func() error {
			if n.Add(1) == 1 {
				defer store.Memory.Swap(t.Context(), nil, &Session{Access: "b"})
				return errors.New("can't be read at first")
			}
			return nil
		})
		m, err := NewManager(Config{Store: store, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		synctest.Wait()
		if !m.SignedIn() {
			t.Error("signed out")
		}
	})
}

// Activity late in a tenth of the timeout counts in other processes too.
func TestLateActivityIsShared(t *testing.T) {
	store := NewMemory()
	const idle = 10 * time.Minute
	bubble(t, Config{Store: store, IdleTimeout: idle}, &issuer{lifetime: -1}, func(t *testing.T, m *Manager, _ *events) {
		other, err := NewManager(Config{Store: store, IdleTimeout: idle})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		heard := follow(other)
		time.Sleep(2 * time.Minute)
		m.Touch()
		time.Sleep(50 * time.Second)
		m.Touch()
		time.Sleep(idle - time.Second)
		heard.expect(t, "")
		time.Sleep(2 * time.Second)
		heard.expect(t, "inactivity-timeout")
	})
}

// A refresh function may say it with a bare code, or with an error of this
// package.
func TestL04CodesWithoutAnError(t *testing.T) {
	for _, err := range []error{holdfast.SessionRevoked, ErrNone, &RefusedError{Reason: holdfast.TokenExpired.New()}} {
		bubble(t, Config{Refresh: func(context.Context, Session) (Session, error) { return Session{}, err }}, &issuer{}, func(t *testing.T, m *Manager, e *events) {
			if got := m.Refresh(t.Context()); !errors.Is(got, err) || m.SignedIn() {
				t.Errorf("%v, signed in %v", got, m.SignedIn())
			}
			e.expect(t, "refresh-failed sign-out")
		})
	}
}

// A manager has the interfaces by which its users find out what it can.
func TestInterfaces(t *testing.T) {
	var src Source = manager(t, Config{})
	if _, ok := src.(Activity); !ok {
		t.Error("no Activity")
	}
	if _, ok := src.(Sessions); !ok {
		t.Error("no Sessions")
	}
}

// What could not be written is older than what others have written since.
func TestALateWriteReplacesNothing(t *testing.T) {
	store := newHooked()
	bubble(t, Config{Store: store, NoSync: true}, &issuer{}, func(t *testing.T, m *Manager, e *events) {
		other := manager(t, Config{Store: store.Memory})
		store.set("swap", func() error { return errors.New("full") })
		_ = m.SetTokens(t.Context(), Session{Access: "c", User: holdfast.User{ID: "cid"}})
		if err := other.SetTokens(t.Context(), Session{Access: "b", User: holdfast.User{ID: "bob"}}); err != nil {
			t.Fatal(err)
		}
		store.set("swap", nil)
		time.Sleep(2 * storeRetry)
		synctest.Wait()
		if m.User().ID != "bob" || other.User().ID != "bob" {
			t.Errorf("%v and %v are signed in", m.User(), other.User())
		}
		e.expect(t, "sign-in error sign-in(remote)")
	})
}

// A sign-out that could not be written stands, though another process goes on
// with the same login; and reaches it when it is written.
func TestASignOutThatIsNotWritten(t *testing.T) {
	store, i := newHooked(), &issuer{}
	bubble(t, Config{Store: store}, i, func(t *testing.T, m *Manager, e *events) {
		other := manager(t, Config{Store: store.Memory, Refresh: i.refresh})
		store.set("swap", func() error { return errors.New("full") })
		_ = m.Clear(t.Context())
		if err := other.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if m.SignedIn() {
			t.Error("signed in again by another's refresh")
		}
		store.set("swap", nil)
		time.Sleep(2 * storeRetry)
		synctest.Wait()
		if kept, _ := store.Load(t.Context()); kept != nil || m.SignedIn() || other.SignedIn() {
			t.Errorf("%v is kept; signed in %v, %v", kept, m.SignedIn(), other.SignedIn())
		}
		e.expect(t, "sign-out error")
	})
}
