package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	keys "github.com/zalando/go-keyring"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

// inside is set where the tests have a message bus and a keyring of their own.
const inside = "HOLDFAST_KEYRING_TEST"

const patience = time.Minute

// TestMain runs the tests in a session with an empty, unlocked keyring, which
// ends with them.
func TestMain(m *testing.M) {
	if os.Getenv(inside) == noBus {
		if err := withoutBus(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv(inside) != "" {
		// The connection to the bus is the library's, for the life of the process.
		goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/godbus/dbus/v5.(*Conn).inWorker"),
			goleak.IgnoreAnyFunction("github.com/godbus/dbus/v5.newConn.func1"), goleak.IgnoreAnyFunction("github.com/godbus/dbus/v5.(*Conn).Auth.func1"))
	}
	os.Exit(session())
}

func session() int {
	home, err := os.MkdirTemp("", "holdfast-keyring-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(home)
	const script = `printf secret | gnome-keyring-daemon --unlock --components=secrets >/dev/null || exit 3; exec "$0" "$@"`
	cmd := exec.Command("dbus-run-session", append([]string{"--", "sh", "-c", script}, os.Args...)...)
	cmd.Env = append(os.Environ(), inside+"=1", "HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_DATA_HOME="+home, "XDG_CACHE_HOME="+home)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "the tests did not pass in a session with gnome-keyring, or could not begin one (make setup installs it): %v\n", err)
		return 1
	}
	return 0
}

func newStore(t *testing.T) *Store {
	t.Helper()
	s, err := New(Config{Service: "holdfast-test", Account: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var ann = tokens.Session{
	Access: "access", Refresh: "refresh", User: holdfast.User{ID: "ann", Roles: []string{"editor"}}, SessionID: "s1",
	Lifetime: 15 * time.Minute, Expires: time.UnixMilli(1767226500123), Received: time.UnixMilli(1767225600456),
}

func TestStore(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	if kept, err := s.Load(ctx); kept != nil || err != nil {
		t.Fatal(kept, err)
	}
	if now, err := s.Swap(ctx, nil, &ann); err != nil || now.Access != "access" {
		t.Fatal(now, err)
	}
	kept, err := newStore(t).Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ann, *kept); diff != "" {
		t.Error(diff)
	}
	if now, err := s.Swap(ctx, nil, &tokens.Session{Access: "b"}); err != nil || now.Access != "access" {
		t.Errorf("swapped over another: %v %v", now, err)
	}
	if other, err := New(Config{Service: "holdfast-test", Account: "other"}); err != nil {
		t.Error(err)
	} else if kept, err := other.Load(ctx); kept != nil || err != nil {
		t.Errorf("another's session: %v %v", kept, err)
	}
	if now, err := s.Swap(ctx, &ann, nil); err != nil || now != nil {
		t.Error(now, err)
	}
	if now, err := s.Swap(ctx, nil, nil); err != nil || now != nil {
		t.Error(now, err)
	}
	if _, err := keys.Get("holdfast-test", t.Name()); !errors.Is(err, keys.ErrNotFound) {
		t.Error(err)
	}
	if _, err := New(Config{}); err == nil {
		t.Error("no service, and no error")
	}
}

// Where the files beside the entry are.
func TestFolders(t *testing.T) {
	given, runtime, cache := t.TempDir(), t.TempDir(), t.TempDir()
	for name, test := range map[string]struct{ dir, runtime, want string }{
		"given":   {given, runtime, given},
		"its own": {"", runtime, filepath.Join(runtime, "holdfast")},
		"neither": {"", "", filepath.Join(cache, "holdfast")},
	} {
		t.Setenv("XDG_RUNTIME_DIR", test.runtime)
		t.Setenv("XDG_CACHE_HOME", cache)
		s, err := New(Config{Service: "holdfast-test", Account: t.Name(), Dir: test.dir})
		if err != nil {
			t.Fatal(err)
		}
		if dir := filepath.Dir(s.beside.Path()); dir != test.want || filepath.Dir(s.swap.Path()) != dir {
			t.Errorf("%s: %s, want %s", name, dir, test.want)
		}
	}
}

func TestL14AnEntryThatIsNoSession(t *testing.T) {
	for name, load := range map[string]func(s *Store) error{
		"load": func(s *Store) error { _, err := s.Load(t.Context()); return err },
		"swap": func(s *Store) error { _, err := s.Swap(t.Context(), nil, &ann); return err },
	} {
		s := newStore(t)
		if err := keys.Set("holdfast-test", t.Name(), `{"version":7,"access":"x"}`); err != nil {
			t.Fatal(err)
		}
		bad, ok := errors.AsType[*tokens.CorruptError](load(s))
		if !ok || !strings.Contains(bad.Path, ".bad") || !strings.Contains(bad.Err.Error(), "version 7") {
			t.Errorf("%s: %v", name, bad)
		}
		if text, err := keys.Get("holdfast-test", t.Name()+".bad"); err != nil || !strings.Contains(text, "7") {
			t.Errorf("%s: kept aside: %q %v", name, text, err)
		}
		if kept, err := s.Load(t.Context()); kept != nil || err != nil {
			t.Error(kept, err)
		}
	}
}

// Managers on one entry are as processes: they refresh once, and know of each
// other's changes within a second.
func TestL17L18SharedEntry(t *testing.T) {
	var refreshes atomic.Int32
	next := func() (*tokens.Manager, <-chan tokens.Event) {
		m, err := tokens.NewManager(tokens.Config{Store: newStore(t), Logger: slog.New(slog.DiscardHandler), Refresh: func(_ context.Context, old tokens.Session) (tokens.Session, error) {
			refreshes.Add(1)
			return tokens.Session{Access: old.Access + "+", Refresh: "r"}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		events, _ := m.Events(99)
		return m, events
	}
	m, _ := next()
	other, events := next()
	expect := func(kind tokens.EventKind, access string) {
		t.Helper()
		select {
		case e := <-events:
			if e.Kind != kind || !e.Remote || e.Session.Access != access {
				t.Errorf("%v, remote %v, %q, %v; want %v of %q", e.Kind, e.Remote, e.Session.Access, e.Err, kind, access)
			}
		case <-time.After(patience):
			t.Fatalf("no %v", kind)
		}
	}
	if err := m.SetTokens(t.Context(), tokens.Session{Access: "a", Refresh: "r", User: holdfast.User{ID: "ann"}}); err != nil {
		t.Fatal(err)
	}
	expect(tokens.SignIn, "a")
	var wg sync.WaitGroup
	for _, each := range []*tokens.Manager{m, other} {
		wg.Go(func() {
			if next, err := each.Refused(t.Context(), tokens.Token{Access: "a"}, holdfast.TokenExpired.New()); err != nil || next.Access != "a+" {
				t.Error(next, err)
			}
		})
	}
	wg.Wait()
	if refreshes.Load() != 1 {
		t.Errorf("%d refreshes", refreshes.Load())
	}
	if err := m.Clear(t.Context()); err != nil {
		t.Error(err)
	}
	for e := range events {
		if e.Kind == tokens.SignOut && e.Remote {
			break
		}
	}
	if other.SignedIn() {
		t.Error("signed in")
	}
}

// Without a bus there is no keyring: told of, and memory goes on. It takes a
// process of its own, for the library keeps its connection.
func TestL15NoKeyring(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), inside+"="+noBus, "DBUS_SESSION_BUS_ADDRESS=unix:path="+t.TempDir()+"/none")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

const noBus = "no bus"

func withoutBus() error {
	store, err := New(Config{Service: "holdfast-test"})
	if err != nil {
		return err
	}
	m, err := tokens.NewManager(tokens.Config{Store: store, Logger: slog.New(slog.DiscardHandler), NoSync: true})
	if err != nil {
		return err
	}
	defer m.Close()
	events, _ := m.Events(9)
	if e := <-events; e.Kind != tokens.Failed {
		return fmt.Errorf("%v %v, want an error", e.Kind, e.Err)
	}
	if err := m.SetTokens(context.Background(), ann); err == nil {
		return errors.New("kept in no keyring")
	}
	if t, err := m.Token(context.Background()); err != nil || t.Access != "access" {
		return fmt.Errorf("memory does not go on: %v, %v", t, err)
	}
	return nil
}

func Example() {
	store, err := New(Config{Service: "example-app", Account: "rt.example.com"})
	if err != nil {
		panic(err)
	}
	m, err := tokens.NewManager(tokens.Config{Store: store})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	fmt.Println(m.SignedIn())
	// Output: false
}
