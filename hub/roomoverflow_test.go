package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestRoomOverflowKey(t *testing.T) {
	long := strings.Repeat("x", 5000)
	event := func(name, data string) *holdfast.Event {
		return &holdfast.Event{Room: "r", Name: name, Data: json.RawMessage(data)}
	}
	for _, c := range []struct {
		name  string
		field string
		a, b  *holdfast.Event
		same  bool
	}{
		{"no field", "", event("move", `{"id":1}`), event("move", `{"id":2}`), true},
		{"other name", "", event("move", `1`), event("size", `1`), false},
		{"same number", "id", event("move", `{"id":1,"x":1}`), event("move", `{"x":2,"id":1}`), true},
		{"other number", "id", event("move", `{"id":1}`), event("move", `{"id":12}`), false},
		{"negative", "id", event("move", `{"id":-1}`), event("move", `{"id":1}`), false},
		{"string and number", "id", event("move", `{"id":1}`), event("move", `{"id":"1"}`), false},
		{"other string", "id", event("move", `{"id":"a"}`), event("move", `{"id":"b"}`), false},
		{"long", "id", event("move", `{"id":"`+long+`"}`), event("move", `{"id":"`+long+`"}`), true},
		{"other long", "id", event("move", `{"id":"`+long+`a"}`), event("move", `{"id":"`+long+`b"}`), false},
		{"nested", "id", event("move", `{"a":{"id":1}}`), event("move", `{"a":{"id":2}}`), true},
		{"neither string nor number", "id", event("move", `{"id":[1]}`), event("move", `{"id":true}`), true},
		{"no object", "id", event("move", `[1]`), event("move", ``), true},
		{"name and value run together", "id", event("move1", `{}`), event("move", `{"id":1}`), false},
	} {
		o := &RoomOverflow{Overflow: OverflowLatest, Key: c.field}
		a, b := o.key(c.a), o.key(c.b)
		if (a == b) != c.same {
			t.Errorf("%s: %q and %q", c.name, a, b)
		}
		if len(a) > 200 {
			t.Errorf("%s: a key of %d bytes", c.name, len(a))
		}
	}
}

// slowSink is a connection that reads when it is told to.
type slowSink struct{ queue Queue }

func (s *slowSink) Send(f *Frame) bool { _, ok := s.queue.Push(f); return ok }

// lines pops what is queued and returns "room data" of each.
func (s *slowSink) lines() (lines []string) {
	for _, f := range s.queue.Pop(nil, 0, 0) {
		g := parseLine(string(f.Text))
		lines = append(lines, g.room+" "+g.data)
	}
	return lines
}

// policies are those of the tests: by the room's first letter.
func policies(room string) RoomOverflow {
	switch room[0] {
	case 'd':
		return RoomOverflow{Overflow: OverflowDropOldest}
	case 'l':
		return RoomOverflow{Overflow: OverflowLatest, Key: "id"}
	}
	return RoomOverflow{}
}

// A slow member of a room that drops misses events there and nowhere else, and
// what it gets is in order.
func TestRoomOverflow(t *testing.T) {
	var called atomic.Int32
	h := newHub(t, Config{Overflow: func(room string) RoomOverflow { called.Add(1); return policies(room) }})
	var drops Drops
	slow := &slowSink{queue: Queue{Limit: 40 * 80, Drops: &drops}}
	s := open(t, h, "u", slow)
	for _, room := range []string{"close", "drop", "latest"} {
		if _, err := s.Join(t.Context(), room, JoinOptions{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	fast := new(recorder)
	join(t, open(t, h, "v", fast), "latest", nil)

	publish(t, h, "close", `"first"`)
	for i := range 100 {
		publish(t, h, "latest", fmt.Sprintf(`{"id":%d,"n":%d}`, i%3, i))
		publish(t, h, "drop", fmt.Sprint(i))
	}
	publish(t, h, "close", `"last"`)

	got := slow.lines()
	if len(got) < 10 || got[0] != `close "first"` || got[len(got)-1] != `close "last"` {
		t.Fatalf("got %q", got)
	}
	var latest, dropped []string
	for _, line := range got {
		room, data, _ := strings.Cut(line, " ")
		switch room {
		case "latest":
			latest = append(latest, data)
		case "drop":
			dropped = append(dropped, data)
		}
	}
	if want := []string{`{"id":1,"n":97}`, `{"id":2,"n":98}`, `{"id":0,"n":99}`}; !slices.Equal(latest, want) {
		t.Errorf("latest %q, want %q", latest, want)
	}
	for i, data := range slices.Backward(dropped) {
		if want := fmt.Sprint(100 - len(dropped) + i); data != want {
			t.Fatalf("drop-oldest %q", dropped)
		}
	}
	if got := drops.DropOldest.Load(); got != uint64(100-len(dropped)) {
		t.Errorf("%d of drop-oldest dropped, %d are here", got, len(dropped))
	}
	if got := drops.Latest.Load(); got != 97 {
		t.Errorf("%d of latest dropped, want 97", got)
	}
	if n := len(fast.data("latest")); n != 100 {
		t.Errorf("a fast member of the room has %d events", n)
	}
	if called.Load() != 3 {
		t.Errorf("asked %d times for the policy of 3 rooms", called.Load())
	}
}

// Two namespaces of one connection in one room have their own frames, and so
// have two rooms.
func TestRoomOverflowKeyOfGroups(t *testing.T) {
	h := newHub(t, Config{Overflow: policies})
	slow := new(slowSink)
	for i, tag := range []string{"a", "b"} {
		s, err := h.Open(SessionConfig{ID: fmt.Sprint(i), Connection: "c", Identity: user("u", "**"), Sink: slow, Encoder: lineEncoder{tag}})
		if err != nil {
			t.Fatal(err)
		}
		join(t, s, "latest-1", nil)
		join(t, s, "latest-2", nil)
	}
	for i := range 5 {
		publish(t, h, "latest-1", fmt.Sprint(i))
		publish(t, h, "latest-2", fmt.Sprint(i))
	}
	want := []string{"latest-1 4", "latest-1 4", "latest-2 4", "latest-2 4"} // each of two
	if got := slow.lines(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A replay is not dropped, whatever the room's policy: it has the whole history.
func TestRoomOverflowReplay(t *testing.T) {
	h := newHub(t, Config{Overflow: policies})
	slow := new(slowSink)
	s := open(t, h, "u", slow)
	j := join(t, s, "latest", nil)
	s.Leave("latest")
	for i := range 20 {
		publish(t, h, "latest", fmt.Sprint(i))
	}
	if _, err := s.Join(t.Context(), "latest", JoinOptions{Since: &j.Position}, nil); err != nil {
		t.Fatal(err)
	}
	if got := slow.lines(); len(got) != 20 {
		t.Errorf("a replay of %d events, want 20", len(got))
	}
}

// An encoder's frame may be shared: the hub does not write to it.
func TestRoomOverflowLeavesFrames(t *testing.T) {
	h := newHub(t, Config{Overflow: policies})
	frame := &Frame{Text: []byte("x")}
	slow := new(slowSink)
	s, err := h.Open(SessionConfig{ID: "s", Identity: user("u", "**"), Sink: slow, Encoder: &fixedEncoder{frame}})
	if err != nil {
		t.Fatal(err)
	}
	join(t, s, "latest", nil)
	publish(t, h, "latest", "1")
	got := slow.queue.Pop(nil, 0, 0)
	if len(got) != 1 || got[0].Overflow != OverflowLatest || got[0].Key == "" {
		t.Errorf("got %+v", got)
	}
	if frame.Overflow != OverflowClose || frame.Key != "" {
		t.Errorf("the encoder's frame is now %+v", frame)
	}
}

func TestStats(t *testing.T) {
	var fanOuts atomic.Int32
	h := newHub(t, Config{FannedOut: func(took time.Duration) {
		if took < 0 {
			t.Errorf("a fan-out took %v", took)
		}
		fanOuts.Add(1)
	}})
	if got := h.Stats(); got != (Stats{}) {
		t.Errorf("at first: %+v", got)
	}
	a, b := open(t, h, "a", new(recorder)), open(t, h, "b", new(recorder))
	join(t, a, "1", nil)
	join(t, b, "1", nil)
	join(t, b, "2", nil)
	publish(t, h, "1", "x", "y")
	publish(t, h, "2", "x")
	publish(t, h, "nobody", "x")
	if _, err := h.Publish(context.Background(), &holdfast.Event{Room: "1", Name: "auth:x"}); err == nil {
		t.Error("published a reserved name")
	}
	if got, want := h.Stats(), (Stats{Rooms: 2, Memberships: 3, Published: 4, Deliveries: 5}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if fanOuts.Load() != 3 {
		t.Errorf("%d fan-outs, want 3", fanOuts.Load())
	}
	b.Leave("1")
	a.Close()
	if got := h.Stats(); got.Rooms != 1 || got.Memberships != 1 {
		t.Errorf("after they left: %+v", got)
	}
}
