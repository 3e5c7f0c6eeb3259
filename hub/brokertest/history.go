package brokertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

func testHistory(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{Events: 10})
	var at []holdfast.Position
	for i := range 5 {
		at = append(at, publish(t, b, event("r", fmt.Sprint(i+1))))
		publish(t, b, event("other", "0"))
	}
	last := at[4]
	for _, c := range []struct {
		name      string
		since     *holdfast.Position
		limit     int
		want      string
		recovered bool
	}{
		{"all", nil, 0, "1 2 3 4 5", true},
		{"newest", nil, 2, "4 5", true},
		{"more than there are", nil, 9, "1 2 3 4 5", true},
		{"since", &at[1], 0, "3 4 5", true},
		{"since, limited", &at[1], 2, "3 4", true},
		{"up to date", &last, 0, "", true},
		{"up to date, limited", &last, 1, "", true},
		{"future", &holdfast.Position{Epoch: last.Epoch, Offset: last.Offset + 1000}, 0, "", false},
		{"far future", &holdfast.Position{Epoch: last.Epoch, Offset: holdfast.MaxOffset}, 0, "", false},
		{"other epoch", &holdfast.Position{Epoch: "other", Offset: last.Offset}, 0, "", false},
		{"another epoch's beginning", &holdfast.Position{Epoch: "other"}, 1, "", false},
	} {
		h := history(t, b, "r", c.since, c.limit)
		if dataOf(h.Events) != c.want || h.Recovered != c.recovered {
			t.Errorf("%s: %q, recovered %v", c.name, dataOf(h.Events), h.Recovered)
		}
		if h.Position.Epoch != last.Epoch || h.Position.Offset < last.Offset {
			t.Errorf("%s: at %v, the last event at %v", c.name, h.Position, last)
		}
	}
}

// testPages: read page by page, history is the same.
func testPages(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	start := history(t, b, "r", nil, 0).Position
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprint(i))
		publish(t, b, event("r", want[i]))
	}
	for _, limit := range []int{1, 7, 100, 101} {
		var got []string
		since := start
		for page := 0; page <= len(want); page++ {
			h := history(t, b, "r", &since, limit)
			if !h.Recovered || len(h.Events) > limit {
				t.Fatalf("limit %d: %d events, recovered %v", limit, len(h.Events), h.Recovered)
			}
			if len(h.Events) == 0 {
				break
			}
			got = append(got, strings.Fields(dataOf(h.Events))...)
			since = h.Events[len(h.Events)-1].Position
		}
		if !slices.Equal(got, want) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
}

// checkSince: what is kept no more is never passed over in silence. at are the
// positions of all events there were, after the one before them.
func checkSince(t *testing.T, b hub.Broker, room string, at []holdfast.Position) {
	t.Helper()
	for i, pos := range at {
		h := history(t, b, room, &pos, 0)
		missed := len(at) - 1 - i
		switch {
		case h.Recovered && len(h.Events) != missed:
			t.Errorf("%d events missed: recovered with %d", missed, len(h.Events))
		case !h.Recovered && (missed == 0 || len(h.Events) > 0):
			t.Errorf("%d events missed: not recovered, with %d", missed, len(h.Events))
		}
		for j, ev := range h.Events {
			if ev.Position != at[i+1+j] {
				t.Errorf("since %v, event %d is at %v, want %v", pos, j, ev.Position, at[i+1+j])
				break
			}
		}
	}
}

// fill publishes n events to a new room and returns their positions, after the
// one before them.
func fill(t *testing.T, b hub.Broker, room string, n int, data string) []holdfast.Position {
	t.Helper()
	at := []holdfast.Position{history(t, b, room, nil, 0).Position}
	for range n {
		at = append(at, publish(t, b, event(room, data)))
	}
	return at
}

func testCount(t *testing.T, cfg Config) {
	const keep, few, many = 5, 20, 2000
	b := cfg.New(t, Bounds{Events: keep})
	at := fill(t, b, "r", few, "1")
	checkSince(t, b, "r", at)
	for missed := range keep {
		if h := history(t, b, "r", &at[few-missed], 0); !h.Recovered {
			t.Errorf("%d events of %d that are to be kept can't be had", missed, keep)
		}
	}
	fill(t, b, "s", many, "1")
	if n := len(history(t, b, "s", nil, 0).Events); n >= many || n < keep {
		t.Errorf("%d events of %d are kept, with a bound of %d", n, many, keep)
	}
}

func testBytes(t *testing.T, cfg Config) {
	const bound, size, n = 64 << 10, 8 << 10, 64
	b := cfg.New(t, Bounds{Bytes: bound})
	at := fill(t, b, "r", n, `"`+strings.Repeat("x", size-2)+`"`)
	checkSince(t, b, "r", at)
	kept := 0
	for _, ev := range history(t, b, "r", nil, 0).Events {
		kept += ev.Size()
	}
	if kept > 2*bound || kept < bound/2 {
		t.Errorf("%d bytes are kept, with a bound of %d", kept, bound)
	}
}

func testAge(t *testing.T, cfg Config) {
	const age = 500 * time.Millisecond
	b := cfg.New(t, Bounds{Age: age})
	r := &receiver{}
	at := fill(t, b, "r", 3, "1")
	subscribe(t, b, "r", r) // so that the room is in use
	defer unsubscribe(t, b, "r")
	late := time.After(patience)
	for len(history(t, b, "r", nil, 0).Events) > 0 {
		select {
		case <-late:
			t.Fatalf("events are kept for more than %v, with a bound of %v", patience, age)
		case <-time.After(age / 10):
		}
	}
	checkSince(t, b, "r", at)
	last := publish(t, b, event("r", "2"))
	h := history(t, b, "r", &at[3], 0)
	if h.Recovered && dataOf(h.Events) != "2" || h.Position != last {
		t.Errorf("since the last event that was kept: %+v", h)
	}
	if h := history(t, b, "r", &at[2], 0); h.Recovered {
		t.Error("an event that is gone was passed over")
	}
	_, prevs := r.await(t, last)
	if prev := prevs[len(prevs)-1]; prev != at[3].Offset && prev != hub.UnknownOffset {
		t.Errorf("the event follows %d, not %d", prev, at[3].Offset)
	}
}

func testUnused(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{Events: 10})
	h := history(t, b, "r", nil, 0)
	if len(h.Events) > 0 || h.Position.Check() != nil || !h.Recovered {
		t.Errorf("%+v", h)
	}
	publish(t, b, event("r", "1"))
	if after := history(t, b, "r", &h.Position, 0); !after.Recovered || dataOf(after.Events) != "1" {
		t.Errorf("since the position of the unused room: %+v", after)
	}
}
