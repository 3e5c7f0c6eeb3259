package queue

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func put(t *testing.T, q Queue, events ...string) {
	t.Helper()
	for _, e := range events {
		if err := q.Add(t.Context(), item("ann", e)); err != nil {
			t.Fatal(err)
		}
	}
}

// aside returns the one file that was put aside.
func aside(t *testing.T, dir string) string {
	t.Helper()
	bad, _ := filepath.Glob(filepath.Join(dir, "queue.bad-*"))
	if len(bad) != 1 {
		t.Fatal(bad)
	}
	text, err := os.ReadFile(bad[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A file that this package did not write is kept, whole, and a queue is begun.
func TestForeignFile(t *testing.T) {
	for _, text := range []string{"somebody's", "somebody's diary, which is longer than a header"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "queue.log"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		q := open(t, dir, Limits{})
		put(t, q, "a")
		if got := aside(t, dir); got != text || names(q) != "a" {
			t.Errorf("%q, %s", got, names(q))
		}
	}
}

// One whose beginning was cut off holds nothing, and is no reason to keep it.
func TestBeginningCutOff(t *testing.T) {
	for _, text := range []string{"", magic[:4], magic, magic + "half of it"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "queue.log"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		q := open(t, dir, Limits{})
		put(t, q, "a")
		if bad, _ := filepath.Glob(filepath.Join(dir, "queue.bad-*")); len(bad) != 0 || names(q) != "a" {
			t.Errorf("%q: %q, %s", text, bad, names(q))
		}
	}
}

// The damaged file is kept as it was, once, and what follows is behind what was
// still good.
func TestGoesOnAfterDamage(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, Limits{})
	put(t, q, "a", "b")
	q.Close()
	data, _ := os.ReadFile(q.path)
	data[len(data)-20] ^= 1
	if err := os.WriteFile(q.path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	put(t, open(t, dir, Limits{}), "c")
	if got := names(open(t, dir, Limits{})); got != "a c" || aside(t, dir) != string(data) {
		t.Error(got)
	}
}

// What another process cut off, since it found it damaged, is read no more
// here either.
func TestCutOffByOthers(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, Limits{})
	put(t, q, "a")
	info, err := os.Stat(q.path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, q, "b")
	if err := os.Truncate(q.path, info.Size()); err != nil {
		t.Fatal(err)
	}
	put(t, q, "c")
	if here, anew := names(q), names(open(t, dir, Limits{})); here != "a c" || anew != "a c" {
		t.Errorf("%q here, %q anew", here, anew)
	}
}

func TestOpenFails(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "queue.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	if q, err := Open(dir, Limits{}); err == nil {
		q.Close()
		t.Error("a folder is no file")
	}
}

// The caller's time and the queue's end are told apart.
func TestWhyItEnded(t *testing.T) {
	dir := t.TempDir()
	q, leader := open(t, dir, Limits{}), open(t, dir, Limits{})
	release, err := leader.Lead(t.Context(), lane("ann"))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := q.Lead(ctx, lane("ann")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	q.turn <- struct{}{} // somebody writes, for long
	if err := q.Add(ctx, item("ann", "a")); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	waits := make(chan error, 3)
	go func() { _, err := q.Lead(t.Context(), lane("ann")); waits <- err }()
	go func() { waits <- q.Add(t.Context(), item("ann", "a")) }()
	go func() { _, err := q.Next(t.Context(), lane("ann")); waits <- err }()
	q.Close()
	for range 3 {
		if err := <-waits; !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	<-q.turn
}

// The same item is there once, however often it is added.
func TestAddedTwice(t *testing.T) {
	both(t, Limits{}, func(t *testing.T, q inspected) {
		first, second := item("ann", "a"), item("ann", "b")
		for _, i := range []Item{first, second, first, second} {
			if err := q.Add(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
		if names(q) != "a b" {
			t.Error(names(q))
		}
	})
}

// A file is written anew if it is large and most of it is about what is gone,
// and then has the dead ones as well.
func TestWhenCompacted(t *testing.T) {
	for name, test := range map[string]struct {
		size, stay, gone int // bytes of an item, how many stay and go
		anew             bool
	}{
		"small, all gone":     {100, 0, 20, false},
		"large, all there":    {20_000, 30, 0, false},
		"large, half is gone": {20_000, 20, 20, false},
		"large, most is gone": {20_000, 2, 40, true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			q := open(t, dir, Limits{})
			dead := item("ann", "dead")
			if err := q.Add(t.Context(), dead); err != nil {
				t.Fatal(err)
			}
			if _, err := q.Remove(t.Context(), dead.ID, holdfast.Forbidden.New()); err != nil {
				t.Fatal(err)
			}
			before, err := os.Stat(q.path)
			if err != nil {
				t.Fatal(err)
			}
			for n := range test.stay + test.gone {
				i := item("ann", "x")
				i.Attachments = [][]byte{make([]byte, test.size)}
				if err := q.Add(t.Context(), i); err != nil {
					t.Fatal(err)
				}
				if n >= test.stay {
					if _, err := q.Remove(t.Context(), i.ID, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			after, err := os.Stat(q.path)
			if err != nil || os.SameFile(before, after) == test.anew {
				t.Errorf("%d bytes, then %d; %v", before.Size(), after.Size(), err)
			}
			for _, q := range []*File{q, open(t, dir, Limits{})} {
				if len(q.Items()) != test.stay || len(q.Dead()) != 1 || q.Dead()[0].Item.ID != dead.ID {
					t.Errorf("%d items, dead %+v", len(q.Items()), q.Dead())
				}
			}
		})
	}
}

// Who waits for an item to be gone waits, be it the first or the last.
func TestGoneWaits(t *testing.T) {
	both(t, Limits{}, func(t *testing.T, q inspected) {
		put(t, q, "a", "b", "c")
		for _, i := range q.Items() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if _, err := q.Gone(ctx, i.ID); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", i.Event, err)
			}
			cancel()
		}
	})
}
