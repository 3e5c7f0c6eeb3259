package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func item(user, event string) Item {
	return Item{ID: NewID(), User: user, Namespace: "/", Event: event, Args: json.RawMessage(`[1]`), Added: time.Unix(1767226500, 0)}
}

func lane(user string) Lane { return Lane{User: user, Namespace: "/"} }

func open(t *testing.T, dir string, l Limits) *File {
	t.Helper()
	f, err := Open(dir, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

type inspected interface {
	Queue
	Items() []Item
	Dead() []Dead
}

func names(q inspected) string {
	var out []string
	for _, i := range q.Items() {
		out = append(out, i.Event)
	}
	return strings.Join(out, " ")
}

// both runs a test on each kind of queue.
func both(t *testing.T, l Limits, test func(t *testing.T, q inspected)) {
	t.Run("memory", func(t *testing.T) { test(t, NewMemory(l)) })
	t.Run("file", func(t *testing.T) { test(t, open(t, t.TempDir(), l)) })
}

func TestL60InOrder(t *testing.T) {
	both(t, Limits{}, func(t *testing.T, q inspected) {
		ctx := t.Context()
		for _, e := range []string{"a", "b", "c"} {
			if err := q.Add(ctx, item("ann", e)); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Add(ctx, item("bob", "x")); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"a", "b", "c"} {
			next, err := q.Next(ctx, lane("ann"))
			if err != nil || next.Event != want || string(next.Args) != "[1]" {
				t.Fatalf("%+v, %v; want %s", next, err, want)
			}
			if was, err := q.Remove(ctx, next.ID, nil); !was || err != nil {
				t.Fatal(was, err)
			}
			if was, err := q.Remove(ctx, next.ID, nil); was || err != nil {
				t.Fatal("twice", was, err)
			}
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if _, err := q.Next(short, lane("ann")); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if next, err := q.Next(ctx, lane("bob")); err != nil || next.Event != "x" {
			t.Error(next, err)
		}
	})
}

func TestNextWaits(t *testing.T) {
	both(t, Limits{}, func(t *testing.T, q inspected) {
		got := make(chan Item)
		go func() {
			next, _ := q.Next(t.Context(), lane("ann"))
			got <- next
		}()
		if err := q.Add(t.Context(), item("ann", "a")); err != nil {
			t.Fatal(err)
		}
		if next := <-got; next.Event != "a" {
			t.Error(next)
		}
	})
}

func TestL64Full(t *testing.T) {
	both(t, Limits{Items: 3, Bytes: 1000}, func(t *testing.T, q inspected) {
		for range 3 {
			if err := q.Add(t.Context(), item("ann", "a")); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Add(t.Context(), item("ann", "b")); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		first, _ := q.Next(t.Context(), lane("ann"))
		_, _ = q.Remove(t.Context(), first.ID, nil)
		big := item("ann", "big")
		big.Attachments = [][]byte{make([]byte, 900)}
		if err := q.Add(t.Context(), big); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		if got := names(q); got != "a a" {
			t.Error(got)
		}
	})
	var dropped []string
	both(t, Limits{Items: 2, DropOldest: true, Dropped: func(i Item) { dropped = append(dropped, i.Event) }}, func(t *testing.T, q inspected) {
		dropped = nil
		for _, e := range []string{"a", "b", "c", "d"} {
			if err := q.Add(t.Context(), item("ann", e)); err != nil {
				t.Fatal(err)
			}
		}
		if got := names(q); got != "c d" || fmt.Sprint(dropped) != "[a b]" {
			t.Error(got, dropped)
		}
	})
}

func TestL65Dead(t *testing.T) {
	both(t, Limits{Dead: 2}, func(t *testing.T, q inspected) {
		for _, e := range []string{"a", "b", "c"} {
			i := item("ann", e)
			if err := q.Add(t.Context(), i); err != nil {
				t.Fatal(err)
			}
			if was, err := q.Remove(t.Context(), i.ID, holdfast.Errorf(holdfast.Forbidden, "no %s", e)); !was || err != nil {
				t.Fatal(was, err)
			}
		}
		dead := q.Dead()
		if len(dead) != 2 || dead[0].Item.Event != "b" || dead[1].Code != holdfast.Forbidden || dead[1].Message != "no c" || names(q) != "" {
			t.Errorf("%+v", dead)
		}
	})
}

func TestBadItems(t *testing.T) {
	both(t, Limits{}, func(t *testing.T, q inspected) {
		for _, bad := range []Item{{}, {ID: "x", Event: "a", Args: json.RawMessage("[]")}, {ID: NewID(), Event: "a", Args: json.RawMessage("[")}, {ID: NewID(), Args: json.RawMessage("[]")}} {
			if err := q.Add(t.Context(), bad); err == nil {
				t.Errorf("%+v", bad)
			}
		}
	})
}

func TestLead(t *testing.T) {
	dir := t.TempDir()
	m := NewMemory(Limits{})
	for name, pair := range map[string][2]Queue{"memory": {m, m}, "file": {open(t, dir, Limits{}), open(t, dir, Limits{})}} {
		t.Run(name, func(t *testing.T) {
			release, err := pair[0].Lead(t.Context(), lane("ann"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := pair[1].Lead(ctx, lane("ann")); err == nil {
				t.Fatal("two lead")
			}
			release()
			release, err = pair[1].Lead(t.Context(), lane("ann"))
			if err != nil {
				t.Fatal(err)
			}
			release()
		})
	}
}

// Two files on one folder are as two processes: each sees what the other does.
func TestShared(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, Limits{}), open(t, dir, Limits{})
	var wg sync.WaitGroup
	for n, q := range []*File{a, b} {
		wg.Go(func() {
			for i := range 50 {
				if err := q.Add(t.Context(), item("ann", fmt.Sprint(n, "-", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 100 {
		next, err := b.Next(t.Context(), lane("ann"))
		if err != nil {
			t.Fatal(err)
		}
		if was, err := b.Remove(t.Context(), next.ID, nil); !was || err != nil {
			t.Fatal(was, err)
		}
	}
	wg.Wait()
	last := item("ann", "last")
	if err := a.Add(t.Context(), last); err != nil || names(a) != "last" {
		t.Error(err, names(a))
	}
}

// L63: whatever is left of the file, what is read of it is a beginning of what
// was written, and the queue goes on.
func TestL63TruncatedAnywhere(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, Limits{})
	var after []string // what waited, by size of the file
	sizes := []int64{0}
	note := func() {
		info, err := os.Stat(q.path)
		if err != nil {
			t.Fatal(err)
		}
		sizes, after = append(sizes, info.Size()), append(after, names(q))
	}
	note()
	for i := range 6 {
		it := item("ann", fmt.Sprint("e", i))
		it.Attachments = [][]byte{{byte(i)}}
		if err := q.Add(t.Context(), it); err != nil {
			t.Fatal(err)
		}
		note()
		if i%3 == 2 {
			if _, err := q.Remove(t.Context(), it.ID, nil); err != nil {
				t.Fatal(err)
			}
			note()
		}
	}
	q.Close()
	whole, err := os.ReadFile(q.path)
	if err != nil {
		t.Fatal(err)
	}
	step := 13
	if os.Getenv("HOLDFAST_LONG") != "" { // make drill
		step = 1
	}
	for n := 0; n <= len(whole); n += step {
		want := ""
		for i, size := range sizes[1:] {
			if int64(n) >= size {
				want = after[i]
			}
		}
		cut := filepath.Join(dir, fmt.Sprint("cut", n))
		if err := os.MkdirAll(cut, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cut, "queue.log"), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		again, err := Open(cut, Limits{})
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if got := names(again); got != want {
			t.Fatalf("cut at %d: %q, want %q", n, got, want)
		}
		if err := again.Add(t.Context(), item("ann", "new")); err != nil {
			t.Fatal(err)
		}
		again.Close()
		third, err := Open(cut, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if got := names(third); got != strings.TrimSpace(want+" new") {
			t.Fatalf("cut at %d, then: %q", n, got)
		}
		third.Close()
		os.RemoveAll(cut)
	}
}

func TestDamagedIsKeptAside(t *testing.T) {
	dir := t.TempDir()
	q := open(t, dir, Limits{})
	for _, e := range []string{"a", "b", "c"} {
		if err := q.Add(t.Context(), item("ann", e)); err != nil {
			t.Fatal(err)
		}
	}
	q.Close()
	data, _ := os.ReadFile(q.path)
	data[len(data)-20] ^= 1
	if err := os.WriteFile(q.path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	q = open(t, dir, Limits{})
	if got := names(q); got != "a b" {
		t.Error(got)
	}
	if bad, _ := filepath.Glob(filepath.Join(dir, "queue.bad-*")); len(bad) != 1 {
		t.Error(bad)
	}
}

func TestCompaction(t *testing.T) {
	dir := t.TempDir()
	q, other := open(t, dir, Limits{}), open(t, dir, Limits{})
	kept := item("ann", "kept")
	if err := q.Add(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		i := item("ann", "big")
		i.Attachments = [][]byte{make([]byte, 20_000)}
		if err := q.Add(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		if _, err := q.Remove(t.Context(), i.ID, nil); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(q.path)
	if err != nil || info.Size() > 2*compactAt {
		t.Errorf("%d bytes, %v", info.Size(), err)
	}
	if err := other.Add(t.Context(), item("ann", "more")); err != nil || names(other) != "kept more" {
		t.Error(names(other), err)
	}
}

func TestClosed(t *testing.T) {
	q := open(t, t.TempDir(), Limits{})
	q.Close()
	if err := q.Add(t.Context(), item("ann", "a")); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := q.Next(t.Context(), lane("ann")); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := q.Lead(t.Context(), lane("ann")); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// The two kinds of queue do the same, whatever is asked of them, and a file
// that is opened again knows all of it.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{Items: 5, Bytes: 600, Dead: 2, DropOldest: rapid.Bool().Draw(t, "drop")}
		dir, err := os.MkdirTemp("", "queue")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		m := NewMemory(l)
		f, err := Open(dir, l)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { f.Close() }()
		var ids []string
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				i := item(rapid.SampledFrom([]string{"ann", "bob", ""}).Draw(t, "user"), fmt.Sprint("e", len(ids)))
				i.Attachments = [][]byte{make([]byte, rapid.IntRange(0, 300).Draw(t, "size"))}
				e1, e2 := m.Add(t.Context(), i), f.Add(t.Context(), i)
				if !errors.Is(e1, e2) {
					t.Fatal(e1, e2)
				}
				ids = append(ids, i.ID)
			},
			"remove": func(t *rapid.T) {
				if len(ids) == 0 {
					t.Skip()
				}
				id := rapid.SampledFrom(ids).Draw(t, "id")
				w1, _ := m.Remove(t.Context(), id, nil)
				w2, err := f.Remove(t.Context(), id, nil)
				if w1 != w2 || err != nil {
					t.Fatal(w1, w2, err)
				}
			},
			"bury": func(t *rapid.T) {
				if len(ids) == 0 {
					t.Skip()
				}
				id := rapid.SampledFrom(ids).Draw(t, "id")
				w1, _ := m.Remove(t.Context(), id, holdfast.Forbidden.New())
				w2, err := f.Remove(t.Context(), id, holdfast.Forbidden.New())
				if w1 != w2 || err != nil {
					t.Fatal(w1, w2, err)
				}
			},
			"again": func(t *rapid.T) {
				if rapid.IntRange(0, 3).Draw(t, "often") > 0 {
					t.Skip()
				}
				f.Close()
				if f, err = Open(dir, l); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				if names(m) != names(f) || len(m.Dead()) != len(f.Dead()) {
					t.Fatalf("%q and %q, %d and %d dead", names(m), names(f), len(m.Dead()), len(f.Dead()))
				}
			},
		})
	})
}

// One user's items wait for nobody else's, nor for those of another namespace.
func TestLanes(t *testing.T) {
	both(t, Limits{}, func(t *testing.T, q inspected) {
		other := item("ann", "a")
		other.Namespace = "/admin"
		for _, i := range []Item{other, item("bob", "b"), item("ann", "c")} {
			if err := q.Add(t.Context(), i); err != nil {
				t.Fatal(err)
			}
		}
		for lane, want := range map[Lane]string{other.Lane(): "a", lane("bob"): "b", lane("ann"): "c"} {
			release, err := q.Lead(t.Context(), lane)
			if err != nil {
				t.Fatal(err)
			}
			defer release()
			if next, err := q.Next(t.Context(), lane); err != nil || next.Event != want {
				t.Error(lane, next.Event, err)
			}
		}
	})
}

func TestGone(t *testing.T) {
	both(t, Limits{Items: 2, DropOldest: true}, func(t *testing.T, q inspected) {
		ctx := t.Context()
		for name, end := range map[string]struct {
			how  func(id string)
			code holdfast.Code
			err  error
		}{
			"acknowledged": {func(id string) { _, _ = q.Remove(ctx, id, nil) }, "", nil},
			"refused":      {func(id string) { _, _ = q.Remove(ctx, id, holdfast.Forbidden.New()) }, holdfast.Forbidden, nil},
			"dropped": {func(string) {
				_, _ = q.Add(ctx, item("ann", "x")), q.Add(ctx, item("ann", "y"))
			}, "", ErrDropped},
		} {
			i := item("ann", name)
			if err := q.Add(ctx, i); err != nil {
				t.Fatal(err)
			}
			type result struct {
				dead *Dead
				err  error
			}
			gone := make(chan result)
			go func() {
				dead, err := q.Gone(ctx, i.ID)
				gone <- result{dead, err}
			}()
			end.how(i.ID)
			r := <-gone
			if !errors.Is(r.err, end.err) || (r.dead == nil) != (end.code == "") || r.dead != nil && r.dead.Code != end.code {
				t.Errorf("%s: %+v", name, r)
			}
		}
		i := item("ann", "kept")
		if err := q.Add(ctx, i); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if _, err := q.Gone(short, i.ID); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// A write that failed and was taken back may have been read by somebody, who
// must not go on from there.
func TestTakenBack(t *testing.T) {
	dir := t.TempDir()
	q, other := open(t, dir, Limits{}), open(t, dir, Limits{})
	if err := q.Add(t.Context(), item("ann", "a")); err != nil {
		t.Fatal(err)
	}
	err := q.locked(t.Context(), func(file *os.File) error {
		data, err := appendRecord(nil, &record{Add: new(item("ann", "failed"))})
		if err == nil {
			_, err = file.WriteAt(data, q.offset)
		}
		for names(other) != "a failed" {
			other.look()
		}
		return errors.Join(err, q.takeBack(file))
	})
	if err != nil {
		t.Fatal(err)
	}
	long := item("ann", "long")
	long.Attachments = [][]byte{make([]byte, 10_000)}
	if err := q.Add(t.Context(), long); err != nil {
		t.Fatal(err)
	}
	if err := other.Add(t.Context(), item("ann", "last")); err != nil || names(other) != "a long last" {
		t.Error(names(other), err)
	}
	if bad, _ := filepath.Glob(filepath.Join(dir, "queue.bad-*")); bad != nil {
		t.Error(bad)
	}
}
