package tokens

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
)

var annSession = Session{
	Access: "access", Refresh: "refresh", User: holdfast.User{ID: "ann", Name: "Ann", Roles: []string{"editor"}}, SessionID: "s1",
	Lifetime: 15 * time.Minute, Expires: time.UnixMilli(1767226500123), Received: time.UnixMilli(1767225600456),
}

func newFile(t *testing.T) *File {
	t.Helper()
	f, err := NewFile(filepath.Join(t.TempDir(), "holdfast", "session.json"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// keep puts a session where nothing is.
func keep(t *testing.T, f Store, s *Session) {
	t.Helper()
	if now, err := f.Swap(t.Context(), nil, s); err != nil || !same(now, s) {
		t.Fatal(now, err)
	}
}

func manager(t *testing.T, cfg Config) *Manager {
	t.Helper()
	cfg.Logger = slog.New(slog.DiscardHandler)
	m, err := NewManager(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// next returns the next event, which there must be.
func next(t *testing.T, events <-chan Event) Event {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case e := <-events:
		return e
	case <-late.C:
		t.Fatal("nothing happened")
		return Event{}
	}
}

func TestFile(t *testing.T) {
	f := newFile(t)
	ctx := t.Context()
	if s, err := f.Load(ctx); s != nil || err != nil {
		t.Fatal(s, err)
	}
	keep(t, f, &annSession)
	got, err := f.Load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(annSession, *got); diff != "" {
		t.Error(diff)
	}
	for path, want := range map[string]fs.FileMode{f.Path(): 0o600, filepath.Dir(f.Path()): 0o700 | fs.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
	bob := Session{Access: "b"}
	if now, err := f.Swap(ctx, nil, &bob); err != nil || now.Access != "access" {
		t.Errorf("swapped over another: %v %v", now, err)
	}
	if now, err := f.Swap(ctx, &bob, nil); err != nil || now.Access != "access" {
		t.Errorf("removed another: %v %v", now, err)
	}
	if now, err := f.Swap(ctx, &annSession, &bob); err != nil || now.Access != "b" {
		t.Error(now, err)
	}
	if now, err := f.Swap(ctx, &bob, nil); err != nil || now != nil {
		t.Error(now, err)
	}
	if now, err := f.Swap(ctx, nil, nil); err != nil || now != nil {
		t.Error(now, err)
	}
	for _, bad := range []func() error{
		func() error { _, err := NewFile(""); return err },
		func() error { _, err := (&File{path: t.TempDir()}).Load(ctx); return err },
	} {
		if bad() == nil {
			t.Error("no error")
		}
	}
}

// Others may have read it: the tokens in it are not used, and are replaced.
func TestFileThatOthersRead(t *testing.T) {
	f := newFile(t)
	keep(t, f, &annSession)
	if err := os.Chmod(f.Path(), 0o644); err != nil {
		t.Fatal(err)
	}
	m := manager(t, Config{Store: f, NoSync: true})
	events, _ := m.Events(9)
	if e := next(t, events); e.Kind != Failed || !strings.Contains(e.Err.Error(), "chmod 600") || m.SignedIn() {
		t.Errorf("%v %v", e.Err, m.User())
	}
	if _, err := os.Stat(f.Path()); err != nil {
		t.Error(err)
	}
	if err := m.SetTokens(t.Context(), Session{Access: "b"}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Error(err)
	}
	if token, err := m.Token(t.Context()); err != nil || token.Access != "b" {
		t.Error(token, err)
	}
}

// damage is what a file may hold that is no session.
func damage() map[string][]byte {
	whole := EncodeSession(&annSession)
	bad := map[string][]byte{
		"a newer version": bytes.Replace(whole, []byte(`"version":1`), []byte(`"version":2`), 1),
		"no version":      []byte(`{"access":"a"}`),
		"garbage":         []byte("\x00\xff{{{garbage"),
		"null":            []byte("null"),
		"another type":    []byte(`[{"version":1}]`),
		"two of them":     append(bytes.Clone(whole), whole...),
		"too large":       bytes.Repeat([]byte(" "), maxFile+10),
		"no token":        []byte(`{"version":1,"refresh":"r"}`),
	}
	for n := range len(whole) - 1 { // the last byte is the end of the line
		bad[fmt.Sprintf("%d bytes of it", n)] = whole[:n]
	}
	return bad
}

func TestL14WhatIsNoSession(t *testing.T) {
	for name, data := range damage() {
		f := newFile(t)
		keep(t, f, &annSession)
		if err := os.WriteFile(f.Path(), data, 0o600); err != nil {
			t.Fatal(err)
		}
		m := manager(t, Config{Store: f, NoSync: true})
		events, _ := m.Events(9)
		e := next(t, events)
		bad, ok := errors.AsType[*CorruptError](e.Err)
		if e.Kind != Failed || !ok || m.SignedIn() {
			t.Fatalf("%s: %v %v, signed in %v", name, e.Kind, e.Err, m.SignedIn())
		}
		if aside, err := os.ReadFile(bad.Path); err != nil || !bytes.Equal(aside, data) {
			t.Errorf("%s: kept aside: %.40q %v", name, aside, err)
		}
		if strings.Contains(e.Err.Error(), "refresh") || strings.Contains(e.Err.Error(), "garbage") {
			t.Errorf("%s: %v", name, e.Err)
		}
		if err := m.SetTokens(t.Context(), annSession); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if s, err := f.Load(t.Context()); err != nil || s == nil || s.Access != "access" {
			t.Errorf("%s: after a sign-in: %v %v", name, s, err)
		}
		_ = m.Close()
	}
}

// A file of exactly the bound is read, and none of a byte more.
func TestFileLargest(t *testing.T) {
	whole := EncodeSession(&annSession)
	for more, ok := range map[int]bool{0: true, 1: false} {
		f := newFile(t)
		keep(t, f, &annSession)
		data := append(bytes.Clone(whole), bytes.Repeat([]byte(" "), maxFile-len(whole)+more)...)
		if err := os.WriteFile(f.Path(), data, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := f.Load(t.Context()); (err == nil) != ok || ok && !same(s, &annSession) {
			t.Errorf("%d over: %v %v", more, s, err)
		}
	}
}

// What is written is what is read, and times that make no sense are none.
func TestEncodeSession(t *testing.T) {
	came := time.UnixMilli(1767225600456)
	for name, want := range map[string]Session{
		"all":     annSession,
		"a token": {Access: "a", Received: came},
		"for the longest time": {
			Access: "a", Lifetime: maxLifetime, Expires: time.Unix(maxExpiry, 0), Received: came,
		},
	} {
		got, err := DecodeSession(EncodeSession(&want))
		if err != nil {
			t.Fatal(name, err)
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	for _, text := range []string{`"lifetimeMs":-1,"expiresAt":-1`, fmt.Sprintf(`"lifetimeMs":%d,"expiresAt":%d`, maxLifetime.Milliseconds()+1, maxExpiry*1000+1)} {
		s, err := DecodeSession([]byte(`{"version":1,"access":"a",` + text + `}`))
		if err != nil || s.Lifetime != 0 || !s.Expires.IsZero() {
			t.Errorf("%s: %v, until %v; %v", text, s.Lifetime, s.Expires, err)
		}
	}
}

// The file is damaged under a manager that runs.
func TestL14DamagedUnderway(t *testing.T) {
	f := newFile(t)
	keep(t, f, &annSession)
	m := manager(t, Config{Store: f})
	events, _ := m.Events(99)
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(bad, f.Path()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []EventKind{Failed, SignOut} {
		if e := next(t, events); e.Kind != want {
			t.Errorf("%v %v, want %v", e.Kind, e.Err, want)
		}
	}
}

// A write meets what is no session before anybody has read it.
func TestSwapPutsAside(t *testing.T) {
	for name, data := range map[string][]byte{"garbage": []byte("garbage"), "too large": bytes.Repeat([]byte("x"), maxFile+1)} {
		f := newFile(t)
		keep(t, f, &annSession)
		if err := os.WriteFile(f.Path(), data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := f.Swap(t.Context(), nil, &annSession)
		bad, ok := errors.AsType[*CorruptError](err)
		if !ok {
			t.Fatalf("%s: %v", name, err)
		}
		if aside, err := os.ReadFile(bad.Path); err != nil || !bytes.Equal(aside, data) {
			t.Errorf("%s: %v", name, err)
		}
		keep(t, f, &annSession)
	}
}

func TestFewFilesAside(t *testing.T) {
	f := newFile(t)
	for range 9 {
		keep(t, f, &annSession)
		if err := os.WriteFile(f.Path(), []byte("garbage"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(t.Context()); !isCorrupt(err) {
			t.Fatal(err)
		}
	}
	if aside, _ := filepath.Glob(f.Path() + ".bad-*"); len(aside) != maxAside {
		t.Errorf("%q", aside)
	}
}

// A process was killed while it wrote.
func TestHalfASessionIsLeft(t *testing.T) {
	f := newFile(t)
	keep(t, f, &annSession)
	if err := os.WriteFile(f.Path()+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if now, err := f.Swap(t.Context(), &annSession, &Session{Access: "b"}); err != nil || now.Access != "b" {
		t.Error(now, err)
	}
	if _, err := os.Stat(f.Path() + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// Where no folder can be, nothing can be kept: memory goes on.
func TestL15NoPlaceForAFile(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	places := []string{filepath.Join(blocked, "session.json")}
	if runtime.GOOS == "linux" {
		places = append(places, "/proc/self/holdfast/session.json") // where nobody may make a file, root neither
	}
	for _, place := range places {
		f, err := NewFile(place)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		m := manager(t, Config{Store: f, Refresh: func(context.Context, Session) (Session, error) {
			n++
			return Session{Access: "b"}, nil
		}})
		events, _ := m.Events(99)
		if err := m.SetTokens(t.Context(), Session{Access: "a", Refresh: "r"}); err == nil {
			t.Error("no error")
		}
		told := false
		for e := range events {
			if told = told || e.Kind == Failed; e.Kind == SignIn {
				break
			}
		}
		if err := m.Refresh(t.Context()); err != nil || n != 1 {
			t.Error(err, n)
		}
		if token, err := m.Token(t.Context()); err != nil || token.Access != "b" {
			t.Error(token, err)
		}
		for !told {
			told = next(t, events).Kind == Failed
		}
		if err := m.Clear(t.Context()); err == nil || m.SignedIn() {
			t.Error(err)
		}
	}
}

// What another process does to the file is known as soon as the system tells.
func TestL18OthersChanges(t *testing.T) {
	f := newFile(t)
	m := manager(t, Config{Store: f})
	other := manager(t, Config{Store: &File{path: f.path}, Refresh: func(_ context.Context, old Session) (Session, error) {
		return Session{Access: old.Access + "+"}, nil
	}})
	events, _ := m.Events(99)
	expect := func(kind EventKind, access string, do func() error) {
		t.Helper()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		for {
			e := next(t, events)
			if e.Kind == kind && e.Remote && e.Session.Access == access {
				break
			}
			t.Errorf("%v (remote: %v) of %q %v", e.Kind, e.Remote, e.Session.Access, e.Err)
		}
	}
	expect(SignIn, "a", func() error {
		return other.SetTokens(t.Context(), Session{Access: "a", Refresh: "r", User: holdfast.User{ID: "ann"}})
	})
	expect(Refreshed, "a+", func() error { return other.Refresh(t.Context()) })
	expect(SignIn, "b", func() error {
		return other.SetTokens(t.Context(), Session{Access: "b", User: holdfast.User{ID: "bob"}})
	})
	expect(SignOut, "b", func() error { return other.Clear(t.Context()) })
	// The folder is lost, and made again.
	expect(SignIn, "c", func() error {
		return other.SetTokens(t.Context(), Session{Access: "c", User: holdfast.User{ID: "cid"}})
	})
	expect(SignOut, "c", func() error { return os.RemoveAll(filepath.Dir(f.path)) })
	for range 2 { // the other sees it too, whenever that is
		if err := other.SetTokens(t.Context(), Session{Access: "d", User: holdfast.User{ID: "dan"}}); err != nil {
			t.Fatal(err)
		}
	}
	for e := next(t, events); e.Session.Access != "d"; e = next(t, events) {
	}
}

// Where the system gives no notices.
func TestL18WithoutNotices(t *testing.T) {
	if watchPoll > time.Second {
		t.Errorf("the file is looked at each %v", watchPoll)
	}
	synctest.Test(t, func(t *testing.T) {
		f := newFile(t)
		keep(t, f, &annSession)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var changes atomic.Int32
		go f.poll(ctx, func() { changes.Add(1) })
		for _, c := range []struct {
			do   func() error
			want int32
		}{
			{func() error { return nil }, 1}, // at first
			{func() error { _, err := f.Swap(ctx, &annSession, nil); return err }, 2},
			{func() error { return f.SetNote(ctx, noteActive, "1") }, 3},
			{func() error { return f.SetNote(ctx, noteActive, "12") }, 4},
			{func() error { return nil }, 4},
		} {
			synctest.Wait()
			if err := c.do(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * watchPoll)
			synctest.Wait()
			if n := changes.Load(); n != c.want {
				t.Fatalf("%d changes seen, of %d", n, c.want)
			}
		}
		cancel()
		synctest.Wait()
		if _, err := f.Swap(t.Context(), nil, &annSession); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * watchPoll)
		synctest.Wait()
		if changes.Load() != 4 {
			t.Error("a change is told of after the end")
		}
	})
}

// The session and its notes are what others are told of, and nothing beside them.
func TestL18WhatConcerns(t *testing.T) {
	f := newFile(t)
	for suffix, want := range map[string]bool{
		"": true, ".active": true, ".signed-out": true, ".refreshing": true,
		".lock": false, ".swap": false, ".new": false, ".bad-1": false, "active": false, ".activex": false,
	} {
		if got := f.concerns(f.path + suffix); got != want {
			t.Errorf("%q: %v", suffix, got)
		}
	}
	if f.concerns(filepath.Join(filepath.Dir(f.path), "other")) {
		t.Error("another file concerns it")
	}
}

// The folder is removed, and another takes its place: that is no fault.
func TestL18AnotherFolder(t *testing.T) {
	f := newFile(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes, end := make(chan struct{}, 99), make(chan error, 1)
	go func() { end <- f.Watch(ctx, func() { changes <- struct{}{} }) }()
	seen := func(what string) {
		t.Helper()
		select {
		case <-changes:
		case err := <-end:
			t.Fatalf("%s: it has ended: %v", what, err)
		case <-time.After(patience):
			t.Fatalf("%s was not seen", what)
		}
	}
	seen("the beginning")
	if err := os.Remove(filepath.Dir(f.path)); err != nil {
		t.Fatal(err)
	}
	seen("another folder")
	keep(t, f, &annSession)
	seen("a session in it")
	cancel()
	if err := <-end; err != nil {
		t.Error(err)
	}
}

func TestFileNotes(t *testing.T) {
	f := newFile(t)
	for name, text := range map[string]string{"active": "123", "signed-out": ""} {
		if got, err := f.Note(t.Context(), name); got != "" || err != nil {
			t.Error(got, err)
		}
		if err := f.SetNote(t.Context(), name, text); err != nil {
			t.Error(err)
		}
		if got, err := f.Note(t.Context(), name); got != text || err != nil {
			t.Error(got, err)
		}
	}
	if err := os.WriteFile(f.path+".active", bytes.Repeat([]byte("x"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := f.Note(t.Context(), "active"); len(got) != maxNote || err != nil {
		t.Error(len(got), err)
	}
}

// A lock that somebody holds is waited for, as long as the caller likes.
func TestFileLock(t *testing.T) {
	f := newFile(t)
	unlock, err := f.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*lockRetry)
	defer cancel()
	if _, err := (&File{path: f.path}).Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if now, err := f.Swap(t.Context(), nil, &annSession); err != nil || now == nil {
		t.Errorf("a refresh under way is no hindrance: %v", err)
	}
	unlock()
	if unlock, err := f.Lock(t.Context()); err != nil {
		t.Error(err)
	} else {
		unlock()
	}
}

func FuzzDecode(f *testing.F) {
	for _, data := range damage() {
		if len(data) < 1000 {
			f.Add(data)
		}
	}
	f.Add(EncodeSession(&annSession))
	f.Add([]byte(`{"version":1,"access":"a","lifetimeMs":9e18,"expiresAt":-1,"receivedAt":9223372036854775807}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeSession(data)
		if err != nil {
			if s != nil {
				t.Error("a session and an error")
			}
			return
		}
		if s.Access == "" || s.Lifetime < 0 || s.Lifetime > maxLifetime {
			t.Errorf("%#v", s)
		}
		again, err := DecodeSession(EncodeSession(s))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Error(diff)
		}
	})
}
