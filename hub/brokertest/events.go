package brokertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// testEvent: all of an event arrives, live and in history, and the caller's is
// his own.
func testEvent(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	r := &receiver{}
	subscribe(t, b, "r", r)
	defer unsubscribe(t, b, "r")
	sent := &holdfast.Event{
		Room: "r", Name: "läuft", Data: json.RawMessage(`{"a":[1,{"_placeholder":true,"num":0}]}`), Attachments: [][]byte{{0, 255, 10}, {}},
		ID: "id-1", From: "ann", Scope: "scope-1", Except: "connection-1",
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
		if ev.Room != "r" || ev.Name != "läuft" || ev.ID != "id-1" || ev.From != "ann" || ev.Scope != "scope-1" || ev.Except != "connection-1" || ev.Position != pos ||
			string(ev.Data) != `{"a":[1,{"_placeholder":true,"num":0}]}` ||
			len(ev.Attachments) != 2 || string(ev.Attachments[0]) != "\x00\xff\n" || len(ev.Attachments[1]) != 0 {
			t.Errorf("%s: %+v", where, ev)
		}
		if ev.Time.Before(before) || ev.Time.After(time.Now().Add(time.Minute)) {
			t.Errorf("%s: time %v", where, ev.Time)
		}
	}
	if err := pos.Check(); err != nil || pos.Offset == 0 {
		t.Errorf("position %v: %v", pos, err)
	}
	null := publish(t, b, &holdfast.Event{Room: "r", Name: "e"})
	if live, _ = r.await(t, null); len(live[1].Data) > 0 && string(live[1].Data) != "null" {
		t.Errorf("no data became %s", live[1].Data)
	}
}

// testBig: events of the largest size that a hub lets through.
func testBig(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	room := strings.Repeat("é", holdfast.MaxRoomName/2)
	r := &receiver{}
	subscribe(t, b, room, r)
	defer unsubscribe(t, b, room)
	all := make([]byte, 4<<10)
	for i := range all {
		all[i] = byte(i)
	}
	text := &holdfast.Event{
		Room: room, Name: strings.Repeat("n", holdfast.MaxEventName), Data: json.RawMessage(`"` + strings.Repeat("x", 64<<10-2) + `"`),
		ID: strings.Repeat("i", holdfast.MaxEventID), From: strings.Repeat("f", 200),
	}
	parts := &holdfast.Event{Room: room, Name: "e", Attachments: slices.Repeat([][]byte{all}, 16)}
	for _, sent := range []*holdfast.Event{text, parts} {
		pos := publish(t, b, sent)
		live, _ := r.await(t, pos)
		kept := history(t, b, room, nil, 1).Events
		for where, got := range map[string]*holdfast.Event{"live": live[len(live)-1], "kept": kept[0]} {
			if !bytes.Equal(got.Data, sent.Data) || got.Name != sent.Name || got.ID != sent.ID || got.From != sent.From || got.Position != pos ||
				!slices.EqualFunc(got.Attachments, sent.Attachments, bytes.Equal) {
				t.Errorf("%s: an event of %d bytes came with %d", where, sent.Size(), got.Size())
			}
		}
	}
}

// testNames: rooms with odd names are rooms of their own.
func testNames(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	names := []string{
		"a", "A", "a.b", "a.", ".a", "...", ">", "a.>", "a b", "{a}", "{a}b", "a:b", "a/b", "a/../b", `a\b`, "a%2Eb", "a%", "$SYS.a", "_INBOX.a",
		"ä", "a\u0308", "房间", "🚪", "_", "-", "0", "null", `"a"`, "'a'", "a;b", "a?b#c", "a=b&c", "YQ", "YQ==",
		strings.Repeat("x", holdfast.MaxRoomName), strings.Repeat("x", holdfast.MaxRoomName-1), strings.Repeat("é", holdfast.MaxRoomName/2),
	}
	receivers := make([]*receiver, len(names))
	last := make([]holdfast.Position, len(names))
	for i, name := range names {
		if err := holdfast.CheckRoom(name); err != nil {
			t.Fatal(err)
		}
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

// testManyRooms: many rooms at once, used and left.
func testManyRooms(t *testing.T, cfg Config) {
	const rooms, workers, each = 400, 8, 3
	b := cfg.New(t, Bounds{})
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < rooms; i += workers {
				room := fmt.Sprint("room-", i)
				r := &receiver{}
				if _, err := b.Subscribe(t.Context(), room, r); err != nil {
					t.Error(err)
					return
				}
				var last holdfast.Position
				for n := range each {
					pos, err := b.Publish(t.Context(), event(room, fmt.Sprint(i*each+n)))
					if err != nil {
						t.Error(err)
						return
					}
					last = pos
				}
				r.until(t, "the last event of "+room, func() bool {
					n := len(r.events)
					return n > 0 && r.events[n-1].Position == last
				})
				unsubscribe(t, b, room)
			}
		})
	}
	wg.Wait()
	for i := range rooms {
		h := history(t, b, fmt.Sprint("room-", i), nil, 0)
		if want := fmt.Sprintf("%d %d %d", i*each, i*each+1, i*each+2); dataOf(h.Events) != want {
			t.Errorf("room-%d has %q, want %q", i, dataOf(h.Events), want)
		}
	}
}

// withID publishes an event with an id, and returns its position.
func withID(t *testing.T, b hub.Broker, room, from, id string) holdfast.Position {
	t.Helper()
	return publish(t, b, &holdfast.Event{Room: room, Name: "e", From: from, ID: id})
}

// testIDs: an id is of its publisher and room, and however the three are put
// together, they don't run into each other.
func testIDs(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{})
	cases := []struct{ room, from, id string }{
		{"r", "u", "1"}, {"r", "v", "1"}, {"r", "", "1"}, {"r", "u", "2"}, {"s", "u", "1"},
		{"r", "a b", "c"}, {"r", "a", "b c"}, {"r", "a:b", "c"}, {"r", "a", "b:c"}, {"r:a", "b", "c"},
		{"r", "a.b", "c"}, {"r", "a", "b.c"}, {"r", "a/", "c"}, {"r", "a", "/c"}, {"r", "", "ac"}, {"r", "ac", "a"},
		{"r", "ü", "🎈"}, {"r", "u", "1 "}, {"r", "U", "1"},
	}
	// A scope is no user, and no part of one.
	scopes := []struct{ from, scope string }{{"", "u"}, {"", "v"}, {"", "u 1"}, {"u", "u"}, {"u", "v"}, {"", "a.b"}, {"a", "b"}, {"a.", "b"}}
	first := make([]holdfast.Position, len(cases))
	count := make(map[string]int)
	for i, c := range cases {
		first[i] = withID(t, b, c.room, c.from, c.id)
		count[c.room]++
	}
	for i, c := range cases {
		if got := withID(t, b, c.room, c.from, c.id); got != first[i] {
			t.Errorf("%+v: a repeat got %v, the first %v", c, got, first[i])
		}
	}
	scoped := make([]holdfast.Position, 2*len(scopes))
	for i := range scoped {
		c := scopes[i%len(scopes)]
		scoped[i] = publish(t, b, &holdfast.Event{Room: "r", Name: "e", From: c.from, Scope: c.scope, ID: "1"})
		if again := i - len(scopes); again >= 0 && scoped[i] != scoped[again] {
			t.Errorf("%+v: a repeat got %v, the first %v", c, scoped[i], scoped[again])
		}
	}
	count["r"] += len(scopes)
	for range 2 { // no id: never a repeat
		withID(t, b, "r", "u", "")
		count["r"]++
	}
	for room, n := range count {
		if got := len(history(t, b, room, nil, 0).Events); got != n {
			t.Errorf("%d events in %q, want %d", got, room, n)
		}
	}
}

// testIDsAtOnce: repeats that meet.
func testIDsAtOnce(t *testing.T, cfg Config) {
	const ids, repeats = 30, 6
	b := cfg.New(t, Bounds{})
	brokers := nodes(t, cfg, b)
	var wg sync.WaitGroup
	var offsets [repeats][ids]uint64
	for n := range repeats {
		wg.Go(func() {
			for i := range ids {
				pos, err := brokers[n%len(brokers)].Publish(t.Context(), &holdfast.Event{Room: "r", Name: "e", From: "u", ID: fmt.Sprint(i), Data: json.RawMessage(fmt.Sprint(i))})
				if err != nil {
					t.Error(err)
					return
				}
				offsets[n][i] = pos.Offset
			}
		})
	}
	wg.Wait()
	for n := range repeats {
		if offsets[n] != offsets[0] {
			t.Errorf("the same ids got offsets %v and %v", offsets[0], offsets[n])
		}
	}
	if n := len(history(t, b, "r", nil, 0).Events); n != ids {
		t.Errorf("%d events, want %d", n, ids)
	}
}

// testIDsBeyondHistory: an id is remembered when its event is kept no more.
func testIDsBeyondHistory(t *testing.T, cfg Config) {
	b := cfg.New(t, Bounds{Events: 3})
	first := withID(t, b, "r", "u", "1")
	for i := range 50 {
		withID(t, b, "r", "u", fmt.Sprint("other ", i))
	}
	if again := withID(t, b, "r", "u", "1"); again != first {
		t.Errorf("a repeat got %v, the first %v", again, first)
	}
}

// nodes returns the brokers that can be had on the same rooms.
func nodes(t *testing.T, cfg Config, first hub.Broker) []hub.Broker {
	if cfg.Second == nil {
		return []hub.Broker{first}
	}
	return []hub.Broker{first, cfg.Second(t, first)}
}
