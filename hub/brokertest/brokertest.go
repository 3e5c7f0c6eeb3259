// Package brokertest is the conformance suite of brokers: what hub.Broker
// promises, as tests that any implementation runs.
//
//	func TestBroker(t *testing.T) {
//		brokertest.Run(t, brokertest.Config{Open: func(t *testing.T, events int) hub.Broker {
//			b := mybroker.New(mybroker.Config{Events: events})
//			t.Cleanup(func() { b.Close() })
//			return b
//		}})
//	}
//
// The suite runs on the real clock and waits for events only. It does not test
// ages, nor what happens when a server fails: these are each broker's own.
package brokertest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// patience is how long the suite waits for something that should come.
const patience = 20 * time.Second

// Config says how to make the broker under test.
type Config struct {
	// Open makes a broker without rooms, each of which keeps the last events
	// events (and holds them for the time of the test, whatever their size). It
	// closes it with t.Cleanup.
	Open func(t *testing.T, events int) hub.Broker
	// Another makes a second broker on the same rooms, as another process would
	// have it. nil for a broker that is for one process.
	Another func(t *testing.T, first hub.Broker) hub.Broker
}

// Run runs the suite.
func Run(t *testing.T, cfg Config) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Config)
	}{
		{"Event", testEvent},
		{"IDs", testIDs},
		{"History", testHistory},
		{"HistoryBounds", testBounds},
		{"UnusedRoom", testUnused},
		{"Names", testNames},
		{"Order", testOrder},
		{"Subscribe", testSubscribe},
		{"NotBehind", testNotBehind},
		{"Hub", testHub},
		{"Nodes", testNodes},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, cfg) })
	}
}

func publish(t *testing.T, b hub.Broker, ev *holdfast.Event) holdfast.Position {
	t.Helper()
	pos, err := b.Publish(t.Context(), ev)
	if err != nil {
		t.Fatal(err)
	}
	return pos
}

func event(room, data string) *holdfast.Event {
	return &holdfast.Event{Room: room, Name: "e", Data: json.RawMessage(data)}
}

func history(t *testing.T, b hub.Broker, room string, since *holdfast.Position, limit int) hub.History {
	t.Helper()
	h, err := b.History(t.Context(), room, since, limit)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func dataOf(events []*holdfast.Event) string {
	all := make([]string, len(events))
	for i, ev := range events {
		all[i] = string(ev.Data)
	}
	return strings.Join(all, " ")
}

// receiver collects what is delivered.
type receiver struct {
	mu     sync.Mutex
	events []*holdfast.Event
	prevs  []uint64
	more   chan struct{}
	then   func(*holdfast.Event)
	calls  int // under way
}

func (r *receiver) Deliver(ev *holdfast.Event, prev uint64) {
	r.mu.Lock()
	r.calls++
	if r.calls > 1 {
		ev = &holdfast.Event{Data: json.RawMessage(`"delivered at the same time as another"`)}
	}
	r.events, r.prevs = append(r.events, ev), append(r.prevs, prev)
	if r.more != nil {
		close(r.more)
		r.more = nil
	}
	r.mu.Unlock()
	if r.then != nil {
		r.then(ev)
	}
	r.mu.Lock()
	r.calls--
	r.mu.Unlock()
}

func (r *receiver) Stale() {}

// await returns what was delivered once an event at pos or after it was.
func (r *receiver) await(t *testing.T, pos holdfast.Position) ([]*holdfast.Event, []uint64) {
	t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		if n := len(r.events); n > 0 && r.events[n-1].Position.Offset >= pos.Offset {
			defer r.mu.Unlock()
			return slices.Clone(r.events), slices.Clone(r.prevs)
		}
		if r.more == nil {
			r.more = make(chan struct{})
		}
		more := r.more
		r.mu.Unlock()
		select {
		case <-more:
		case <-late:
			t.Fatalf("nothing came up to %v", pos)
		}
	}
}

func subscribe(t *testing.T, b hub.Broker, room string, r *receiver) holdfast.Position {
	t.Helper()
	pos, err := b.Subscribe(t.Context(), room, r)
	if err != nil {
		t.Fatal(err)
	}
	return pos
}

func unsubscribe(t *testing.T, b hub.Broker, room string) {
	t.Helper()
	if err := b.Unsubscribe(t.Context(), room); err != nil {
		t.Error(err)
	}
}

// testEvent: all of an event arrives, live and in history, and the caller's is
// his own.
func testEvent(t *testing.T, cfg Config) {
	b := cfg.Open(t, 10)
	r := &receiver{}
	subscribe(t, b, "r", r)
	defer unsubscribe(t, b, "r")
	sent := &holdfast.Event{
		Room: "r", Name: "läuft", Data: json.RawMessage(`{"a":[1,{"_placeholder":true,"num":0}]}`), Attachments: [][]byte{{0, 255, 10}, {}},
		ID: "id-1", From: "ann",
	}
	before := time.Now().Add(-time.Minute)
	pos := publish(t, b, sent)
	if sent.Position != (holdfast.Position{}) || !sent.Time.IsZero() {
		t.Error("the caller's event was changed")
	}
	clear(sent.Data)
	clear(sent.Attachments[0])
	live, _ := r.await(t, pos)
	for where, ev := range map[string]*holdfast.Event{"live": live[0], "history": history(t, b, "r", nil, 0).Events[0]} {
		if ev.Room != "r" || ev.Name != "läuft" || ev.ID != "id-1" || ev.From != "ann" || ev.Position != pos ||
			string(ev.Data) != `{"a":[1,{"_placeholder":true,"num":0}]}` ||
			len(ev.Attachments) != 2 || string(ev.Attachments[0]) != "\x00\xff\n" || len(ev.Attachments[1]) != 0 {
			t.Errorf("%s: %+v", where, ev)
		}
		if ev.Time.Before(before) || ev.Time.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s: time %v", where, ev.Time)
		}
	}
	if !regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`).MatchString(pos.Epoch) || pos.Offset == 0 || pos.Offset > holdfast.MaxOffset {
		t.Errorf("position %v", pos)
	}
	null := publish(t, b, &holdfast.Event{Room: "r", Name: "e"})
	if live, _ = r.await(t, null); len(live[1].Data) > 0 && string(live[1].Data) != "null" {
		t.Errorf("no data became %s", live[1].Data)
	}
}

func testIDs(t *testing.T, cfg Config) {
	b := cfg.Open(t, 10)
	at := func(room, from, id string) uint64 {
		return publish(t, b, &holdfast.Event{Room: room, Name: "e", From: from, ID: id}).Offset
	}
	first := at("r", "u", "1")
	for _, c := range []struct{ room, from, id string }{{"r", "v", "1"}, {"r", "", "1"}, {"r", "u", "2"}, {"r", "u", ""}, {"r", "u", ""}} {
		if got := at(c.room, c.from, c.id); got <= first {
			t.Errorf("%+v was taken for a repeat", c)
		}
	}
	at("s", "u", "1")
	if got := at("r", "u", "1"); got != first {
		t.Errorf("a repeat got offset %d, the first %d", got, first)
	}
	if n := len(history(t, b, "r", nil, 0).Events); n != 6 {
		t.Errorf("%d events in r, want 6", n)
	}
	if n := len(history(t, b, "s", nil, 0).Events); n != 1 {
		t.Errorf("%d events in s, want 1", n)
	}
	// At once, too.
	var wg sync.WaitGroup
	offsets := make([]uint64, 8)
	for i := range offsets {
		wg.Go(func() { offsets[i] = at("t", "u", "1") })
	}
	wg.Wait()
	if len(slices.Compact(offsets)) != 1 {
		t.Errorf("eight at once got offsets %v", offsets)
	}
}

func testHistory(t *testing.T, cfg Config) {
	b := cfg.Open(t, 10)
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
		{"since", &at[1], 0, "3 4 5", true},
		{"since, limited", &at[1], 2, "3 4", true},
		{"up to date", &last, 0, "", true},
		{"future", &holdfast.Position{Epoch: last.Epoch, Offset: last.Offset + 1000}, 0, "", false},
		{"other epoch", &holdfast.Position{Epoch: "other", Offset: last.Offset}, 0, "", false},
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

// testBounds: what is kept no more is never passed over in silence.
func testBounds(t *testing.T, cfg Config) {
	const keep, n = 5, 20
	b := cfg.Open(t, keep)
	at := []holdfast.Position{history(t, b, "r", nil, 0).Position}
	for i := range n {
		at = append(at, publish(t, b, event("r", fmt.Sprint(i+1))))
	}
	for i, pos := range at {
		h := history(t, b, "r", &pos, 0)
		missed := n - i
		switch {
		case h.Recovered && len(h.Events) != missed:
			t.Errorf("%d events missed: recovered with %d", missed, len(h.Events))
		case !h.Recovered && (missed < keep || len(h.Events) > 0):
			t.Errorf("%d events missed: not recovered, with %d", missed, len(h.Events))
		}
	}
}

func testUnused(t *testing.T, cfg Config) {
	b := cfg.Open(t, 10)
	h := history(t, b, "r", nil, 0)
	if len(h.Events) > 0 || h.Position.Epoch == "" {
		t.Errorf("%+v", h)
	}
	publish(t, b, event("r", "1"))
	if after := history(t, b, "r", &h.Position, 0); !after.Recovered || dataOf(after.Events) != "1" {
		t.Errorf("since the position of the unused room: %+v", after)
	}
}

// testNames: rooms with odd names are rooms of their own.
func testNames(t *testing.T, cfg Config) {
	b := cfg.Open(t, 10)
	names := []string{
		"a", "A", "a.b", "a.", ".a", ">", "a.>", "a b", "{a}", "{a}b", "a:b", "a/b", `a\b`, "a%2Eb", "ä", "a\u0308", "房间", "🚪", "_", "-",
		strings.Repeat("x", holdfast.MaxRoomName), strings.Repeat("é", holdfast.MaxRoomName/2),
	}
	receivers := make([]*receiver, len(names))
	last := make([]holdfast.Position, len(names))
	for i, name := range names {
		receivers[i] = &receiver{}
		subscribe(t, b, name, receivers[i])
		defer unsubscribe(t, b, name)
	}
	for i, name := range names {
		last[i] = publish(t, b, event(name, fmt.Sprint(i)))
	}
	for i, name := range names {
		live, _ := receivers[i].await(t, last[i])
		kept := history(t, b, name, nil, 0).Events
		for where, events := range map[string][]*holdfast.Event{"live": live, "kept": kept} {
			if dataOf(events) != fmt.Sprint(i) || events[0].Room != name {
				t.Errorf("%q: %s %q", name, where, dataOf(events))
			}
		}
	}
}
