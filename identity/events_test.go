package identity

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// wantEvent checks what is kept of an event; name "" for nothing.
func wantEvent(t *testing.T, p *Provider, scope, id, name, ack string) {
	t.Helper()
	gotName, gotAck, found, err := p.LoadEvent(t.Context(), scope, id)
	if err != nil || found != (name != "") || gotName != name || string(gotAck) != ack {
		t.Errorf("%q %q: %q, %q, %t, %v; want %q, %q", scope, id, gotName, gotAck, found, err, name, ack)
	}
}

func TestEvents(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		wantEvent(t, h.Provider, "uann", "1", "", "")
		noError(t, h.SaveEvent(ctx, "uann", "1", "/ todo", []byte("ack"), time.Now()))
		noError(t, h.SaveEvent(ctx, "uann", "1", "/ other", []byte("later"), time.Now())) // another node's
		noError(t, h.SaveEvent(ctx, "uann", "2", "/ todo", nil, time.Now()))
		odd := "p\xff\x00" + strings.Repeat("u", 256)
		noError(t, h.SaveEvent(ctx, odd, "room\x00\xfe", "room:publish", []byte{0, 255}, time.Now()))
		for _, p := range []*Provider{h.Provider, h.another(nil)} {
			wantEvent(t, p, "uann", "1", "/ todo", "ack")
			wantEvent(t, p, "uann", "2", "/ todo", "")
			wantEvent(t, p, "uann", "3", "", "")
			wantEvent(t, p, "pann", "1", "", "")
			wantEvent(t, p, "uAnn", "1", "", "")
			wantEvent(t, p, odd, "room\x00\xfe", "room:publish", "\x00\xff")
		}
		for _, name := range []string{"a\x00b", "\xff", strings.Repeat("n", 257)} {
			wantCode(t, "a bad name", h.SaveEvent(ctx, "uann", "4", name, nil, time.Now()), holdfast.InvalidArgument)
		}
		// They end after a day, whether or not they were cleaned up, and are
		// saved anew.
		after(24*time.Hour - time.Millisecond)
		wantEvent(t, h.Provider, "uann", "1", "/ todo", "ack")
		after(time.Millisecond)
		wantEvent(t, h.Provider, "uann", "1", "", "")
		noError(t, h.SaveEvent(ctx, "uann", "1", "/ other", []byte("new"), time.Now()))
		wantEvent(t, h.Provider, "uann", "1", "/ other", "new")
		noError(t, h.cleanOnce(ctx))
		wantEvent(t, h.Provider, "uann", "1", "/ other", "new")
		if n := h.count(t, "events"); n != 1 {
			t.Errorf("%d rows are left", n)
		}
	})
}

// What comes while something is saved shares transactions.
func TestEventsTogether(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		s := &h.events
		s.mu.Lock()
		s.busy = true // as if something were being saved
		s.mu.Unlock()
		var wg sync.WaitGroup
		save := func(id, ack string) {
			wg.Go(func() {
				if err := h.SaveEvent(t.Context(), "s", id, "n", []byte(ack), time.Now()); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		const n = 2*eventsBatch + 30
		for i := range n {
			save(fmt.Sprint(i), fmt.Sprint(i))
		}
		save(fmt.Sprint(n-1), "again") // PostgreSQL can't have it twice in a statement
		s.mu.Lock()
		var sizes []int
		for _, b := range s.queue {
			sizes = append(sizes, len(b.rows))
		}
		s.mu.Unlock()
		if want := []int{eventsBatch, eventsBatch, 30, 1}; !slices.Equal(sizes, want) {
			t.Errorf("batches of %v, want %v", sizes, want)
		}
		h.done.Go(h.saveEvents)
		wg.Wait()
		if got := h.count(t, "events"); got != n {
			t.Errorf("%d rows", got)
		}
		for i := range n {
			wantEvent(t, h.Provider, "s", fmt.Sprint(i), "n", fmt.Sprint(i))
		}
	})
}

// Of each scope the newest stay, by and by.
func TestEventsTrim(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		const extra = 300
		bytesOf := func(text string) string { return "CAST(" + text + " AS BLOB)" }
		if h.db.postgres {
			bytesOf = func(text string) string { return "CAST(" + text + " AS BYTEA)" }
		}
		_, err := execute(ctx, h.db.write, `INSERT INTO events (scope, id, name, ack, saved)
			WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < `+strconv.Itoa(eventsPerScope+extra)+`)
			SELECT `+bytesOf("'uann'")+`, `+bytesOf("CAST(i AS TEXT)")+`, 'n', `+bytesOf("''")+`, i FROM n`)
		noError(t, err)
		noError(t, insertEvents(ctx, h.db.write, []eventRow{{[]byte("ubob"), []byte("1"), "n", []byte{}, 0}}))
		noError(t, trimEvents(ctx, h.db.write, []byte("uann"), eventsPerScope+extra, eventsBytes))
		if n := h.count(t, "events"); n != eventsPerScope+extra+1 {
			t.Fatalf("%d rows after a trim of nothing", n)
		}
		var rows []eventRow // which are there already
		for i := range eventsBatch {
			rows = append(rows, eventRow{[]byte("uann"), fmt.Append(nil, i), "n", []byte{}, int64(i)})
		}
		for tries := 0; h.count(t, "events") > eventsPerScope+1; tries++ {
			if tries > 500 {
				t.Fatal("never trimmed")
			}
			noError(t, h.writeEvents(rows))
		}
		var oldest int64
		_, err = one(h.db.read.QueryRowContext(ctx, `SELECT MIN(saved) FROM events WHERE name = 'n' AND saved > 0`), &oldest)
		if err != nil || oldest != extra {
			t.Errorf("the oldest is %d, %v", oldest, err)
		}
		if n := h.count(t, "events"); n != eventsPerScope+1 {
			t.Errorf("%d rows", n)
		}
		// Answers are bounded by their bytes, too: here 4, 3, 2, 1 from the newest on.
		for i := range 4 {
			noError(t, h.SaveEvent(ctx, "ucat", fmt.Sprint(i), "n", make([]byte, i+1), time.UnixMilli(timeNow().UnixMilli()+int64(i))))
		}
		for _, c := range []struct{ size, left int }{{10, 4}, {9, 3}, {8, 2}, {7, 2}, {6, 1}, {4, 1}, {3, 0}} {
			noError(t, trimEvents(ctx, h.db.write, []byte("ucat"), 10, c.size))
			if n := h.count(t, "events WHERE name = 'n' AND saved > 1000000"); n != c.left {
				t.Errorf("%d rows of %d bytes, want %d", n, c.size, c.left)
			}
		}
	})
}

// Whatever goes wrong while an event is saved, no success is reported of what
// is not there, and it can be saved again.
func TestEventsFaults(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			saved := 0
			eachFault(t, kind, func(t *testing.T, h *harness, f *faults, kind faultKind, step int) bool {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				saved++
				id := fmt.Sprint(saved)
				f.arm(kind, step, cancel)
				err := h.SaveEvent(ctx, "s", id, "n", []byte("ack"), time.Now())
				synctest.Wait() // one whose caller gave up may still be under way
				hit, committed := f.disarm()
				_, ack, found, lerr := h.LoadEvent(t.Context(), "s", id)
				noError(t, lerr)
				if found != committed || err == nil && !found || found && !bytes.Equal(ack, []byte("ack")) {
					t.Errorf("fault %d at step %d: %v, found %t, committed %t", kind, step, err, found, committed)
				}
				noError(t, h.SaveEvent(t.Context(), "s", id, "n", []byte("ack"), time.Now()))
				wantEvent(t, h.Provider, "s", id, "n", "ack")
				return hit
			})
		})
	}
}

func TestEventsAfterClose(t *testing.T) {
	p, err := Open(t.Context(), Config{Dir: t.TempDir(), Argon2: Argon2{Memory: 64, Time: 1}})
	noError(t, err)
	noError(t, p.Close())
	wantCode(t, "after Close", p.SaveEvent(t.Context(), "s", "1", "n", nil, time.Now()), holdfast.GoingAway)
}
