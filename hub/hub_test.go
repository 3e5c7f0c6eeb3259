package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestOpenLimits(t *testing.T) {
	h := newHub(t, Config{ConnectionsPerUser: 2})
	cfg := func(id, conn, u string) SessionConfig {
		return SessionConfig{ID: id, Connection: conn, Identity: &holdfast.Identity{User: u}, Sink: &recorder{}, Encoder: lineEncoder{}}
	}
	a := openAs(t, h, cfg("s1", "c1", "ann"))
	a2 := openAs(t, h, cfg("s2", "c1", "ann")) // the same connection
	openAs(t, h, cfg("s3", "c2", "ann"))
	_, err := h.Open(cfg("s4", "c3", "ann"))
	wantCode(t, err, holdfast.ConnectionLimit)
	_, err = h.Open(cfg("s4", "c1", "bob"))
	wantCode(t, err, holdfast.Conflict)
	openAs(t, h, cfg("s4", "", "bob"))
	for i := range 5 {
		openAs(t, h, cfg(fmt.Sprint("anon", i), "", ""))
	}
	_, err = h.Open(SessionConfig{ID: "x"})
	wantCode(t, err, holdfast.Internal)

	a.Close()
	_, err = h.Open(cfg("s5", "c4", "ann"))
	wantCode(t, err, holdfast.ConnectionLimit) // a2 holds the connection
	a2.Close()
	a2.Close()
	openAs(t, h, cfg("s5", "c4", "ann"))
	if a.ID() != "s1" || a.Identity().User != "ann" {
		t.Error(a.ID(), a.Identity())
	}
}

func TestRoomsPerConnection(t *testing.T) {
	h := newHub(t, Config{RoomsPerConnection: 3})
	one := openAs(t, h, SessionConfig{ID: "1", Connection: "c", Identity: user("u", "**"), Sink: &recorder{}, Encoder: lineEncoder{}})
	two := openAs(t, h, SessionConfig{ID: "2", Connection: "c", Identity: user("u", "**"), Sink: &recorder{}, Encoder: lineEncoder{}})
	join(t, one, "a", nil)
	join(t, one, "b", nil)
	join(t, two, "a", nil)
	_, err := two.Join(t.Context(), "b", JoinOptions{}, nil)
	wantCode(t, err, holdfast.Conflict)
	join(t, two, "a", nil) // again: takes no place
	one.Leave("b")
	one.Leave("b")
	join(t, two, "b", nil)
	one.Close()
	join(t, two, "c", nil)
	rooms := two.Rooms()
	slices.Sort(rooms)
	if !slices.Equal(rooms, []string{"a", "b", "c"}) {
		t.Error(rooms)
	}
}

// TestJoinRefused: a refusal leaves nothing behind.
func TestJoinRefused(t *testing.T) {
	broken := errors.New("broken")
	h := newHub(t, Config{Broker: refusingBroker{broken}})
	s := openAs(t, h, SessionConfig{ID: "s", Identity: user("u", "ok-*", "!ok-not"), Sink: &recorder{}, Encoder: lineEncoder{}})
	for _, c := range []struct {
		room string
		code holdfast.Code
	}{
		{"", holdfast.InvalidArgument},
		{"*", holdfast.InvalidArgument},
		{"ok-not", holdfast.Forbidden},
		{"other", holdfast.Forbidden},
		{"ok-1", holdfast.Internal},
	} {
		_, err := s.Join(t.Context(), c.room, JoinOptions{}, func(Joined) { t.Error("ready") })
		wantCode(t, err, c.code)
	}
	if _, err := s.Join(t.Context(), "ok-1", JoinOptions{}, nil); !errors.Is(err, broken) {
		t.Error(err)
	}
	if len(s.Rooms()) > 0 || len(h.rooms) > 0 || s.conn.rooms != 0 || len(s.members) > 0 {
		t.Error("a refused join left something behind")
	}
	anonymous := openAs(t, h, SessionConfig{ID: "a", Sink: &recorder{}, Encoder: lineEncoder{}})
	_, err := anonymous.Join(t.Context(), "ok-1", JoinOptions{}, nil)
	wantCode(t, err, holdfast.Forbidden)
}

// refusingBroker can't subscribe.
type refusingBroker struct{ err error }

func (b refusingBroker) Publish(context.Context, *holdfast.Event) (holdfast.Position, error) {
	return holdfast.Position{}, b.err
}

func (b refusingBroker) Subscribe(context.Context, string, Receiver) (holdfast.Position, error) {
	return holdfast.Position{}, b.err
}
func (b refusingBroker) Unsubscribe(context.Context, string) error { return b.err }
func (b refusingBroker) History(context.Context, string, *holdfast.Position, int) (History, error) {
	return History{}, b.err
}

func TestJoinSince(t *testing.T) {
	h := newHub(t, Config{Broker: newMemory(t, MemoryConfig{Events: 3})})
	at := publish(t, h, "r", "1", "2", "3", "4", "5")
	epoch := at[0].Epoch
	for _, c := range []struct {
		name  string
		since *holdfast.Position
		want  []string
	}{
		{"none", nil, []string{"ready r 5"}},
		{"recovered", &at[2], []string{"r E 4 4", "r E 5 5", "ready r 5 recovered=true"}},
		{"all that is kept", &at[1], []string{"r E 3 3", "r E 4 4", "r E 5 5", "ready r 5 recovered=true"}},
		{"up to date", &at[4], []string{"ready r 5 recovered=true"}},
		{"too old", &at[0], []string{"ready r 5 recovered=false"}},
		{"from the start", &holdfast.Position{Epoch: epoch}, []string{"ready r 5 recovered=false"}},
		{"future", &holdfast.Position{Epoch: epoch, Offset: 6}, []string{"ready r 5 recovered=false"}},
		{"far future", &holdfast.Position{Epoch: epoch, Offset: 1<<64 - 1}, []string{"ready r 5 recovered=false"}},
		{"another epoch", &holdfast.Position{Epoch: "e", Offset: 5}, []string{"ready r 5 recovered=false"}},
		{"no epoch", &holdfast.Position{}, []string{"ready r 5 recovered=false"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sink := &recorder{}
			s := open(t, h, c.name, sink)
			j := join(t, s, "r", c.since)
			if j.Position != at[4] || j.Already || j.Room != "r" {
				t.Errorf("%+v", j)
			}
			again := join(t, s, "r", &at[2])
			if !again.Already || again.Recovered != nil || again.Position != at[4] {
				t.Errorf("again: %+v", again)
			}
			want := append(slices.Clone(c.want), "ready r 5 already")
			for i := range want {
				want[i] = strings.Replace(want[i], "r E ", "r "+epoch+" ", 1)
			}
			if got := sink.all(); !slices.Equal(got, want) {
				t.Errorf("got %q\nwant %q", got, want)
			}
		})
	}
}

func TestLive(t *testing.T) {
	h := newHub(t, Config{})
	sinks := []*recorder{{}, {}, {}}
	var sessions []*Session
	for i, sink := range sinks {
		sessions = append(sessions, openAs(t, h, SessionConfig{
			ID: fmt.Sprint(i), Identity: user("u", "**"), Sink: sink, Encoder: lineEncoder{tag: fmt.Sprint(i % 2)},
		}))
	}
	publish(t, h, "r", "0")
	for _, s := range sessions {
		join(t, s, "r", nil)
	}
	join(t, sessions[2], "other", nil)
	publish(t, h, "r", "1")
	sessions[0].Leave("r")
	publish(t, h, "r", "2")
	publish(t, h, "other", "x")
	sessions[1].Close()
	publish(t, h, "r", "3")
	for i, want := range []string{"1", "1 2", "1 2 3"} {
		if got := strings.Join(sinks[i].data("r"), " "); got != want {
			t.Errorf("session %d got %q, want %q", i, got, want)
		}
	}
	if got := sinks[2].data("other"); !slices.Equal(got, []string{"x"}) {
		t.Error(got)
	}
	_, err := sessions[1].Join(t.Context(), "r", JoinOptions{}, nil)
	wantCode(t, err, holdfast.GoingAway)
}

// TestEncodeOnce: one encoding for all equal encoders, and none for nobody.
func TestEncodeOnce(t *testing.T) {
	h := newHub(t, Config{})
	var calls [2]int
	encoders := []Encoder{&countingEncoder{n: &calls[0]}, &countingEncoder{n: &calls[1]}}
	var sessions []*Session
	for i := range 10 {
		s := openAs(t, h, SessionConfig{ID: fmt.Sprint(i), Identity: user("", "**"), Sink: &recorder{}, Encoder: encoders[i%2]})
		join(t, s, "r", nil)
		sessions = append(sessions, s)
	}
	publish(t, h, "r", "1")
	if calls != [2]int{1, 1} {
		t.Error(calls)
	}
	for i, s := range sessions {
		if i%2 == 0 {
			s.Leave("r")
		}
	}
	publish(t, h, "r", "2")
	if calls != [2]int{1, 2} {
		t.Error(calls)
	}
}

type countingEncoder struct{ n *int }

func (e *countingEncoder) Encode(*holdfast.Event) *Frame {
	*e.n++
	return &Frame{Text: []byte("x")}
}

func TestSetIdentity(t *testing.T) {
	h := newHub(t, Config{})
	type loss struct {
		room string
		code holdfast.Code
	}
	var lost []loss
	sink := &recorder{}
	var s *Session
	s = openAs(t, h, SessionConfig{
		ID: "s", Identity: user("u", "a", "b", "c"), Sink: sink, Encoder: lineEncoder{},
		Left: func(room string, err *holdfast.Error) {
			lost = append(lost, loss{room, err.Code})
			s.Leave(room) // callbacks may call back
			_ = s.Rooms()
		},
	})
	for _, room := range []string{"a", "b", "c"} {
		join(t, s, room, nil)
	}
	next := user("u", "b", "d")
	s.SetIdentity(next)
	slices.SortFunc(lost, func(x, y loss) int { return strings.Compare(x.room, y.room) })
	if !slices.Equal(lost, []loss{{"a", holdfast.Forbidden}, {"c", holdfast.Forbidden}}) {
		t.Error(lost)
	}
	if s.Identity() != next || !slices.Equal(s.Rooms(), []string{"b"}) {
		t.Error(s.Rooms())
	}
	for _, room := range []string{"a", "b", "c"} {
		publish(t, h, room, "x")
	}
	join(t, s, "d", nil)
	_, err := s.Join(t.Context(), "a", JoinOptions{}, nil)
	wantCode(t, err, holdfast.Forbidden)
	if got := fmt.Sprint(sink.data("a"), sink.data("b"), sink.data("c")); got != "[] [x] []" {
		t.Error(got)
	}
	s.SetIdentity(nil)
	if len(s.Rooms()) > 0 || s.Identity() == nil {
		t.Error("an anonymous session has rooms")
	}
}

func TestPublishChecks(t *testing.T) {
	h := newHub(t, Config{MaxData: 10})
	s := openAs(t, h, SessionConfig{ID: "s", Sink: &recorder{}, Encoder: lineEncoder{}, Identity: &holdfast.Identity{
		User:        "ann",
		Permissions: holdfast.Permissions{Rooms: must(holdfast.RoomMap(map[string][]string{"read": {"join"}, "*": {"join", "publish"}}))},
	}})
	for _, c := range []struct {
		name string
		ev   holdfast.Event
		code holdfast.Code
	}{
		{"good", holdfast.Event{Room: "r", Name: "e", Data: []byte(`1`)}, ""},
		{"no data", holdfast.Event{Room: "r", Name: "e"}, ""},
		{"at the limit", holdfast.Event{Room: "r", Name: "e", Data: []byte(`12345`), Attachments: [][]byte{make([]byte, 5)}}, ""},
		{"over it", holdfast.Event{Room: "r", Name: "e", Data: []byte(`12345`), Attachments: [][]byte{make([]byte, 6)}}, holdfast.MessageTooLarge},
		{"bad room", holdfast.Event{Room: " r", Name: "e"}, holdfast.InvalidArgument},
		{"bad name", holdfast.Event{Room: "r", Name: ""}, holdfast.InvalidArgument},
		{"reserved name", holdfast.Event{Room: "r", Name: "auth:session"}, holdfast.InvalidArgument},
		{"bad id", holdfast.Event{Room: "r", Name: "e", ID: "\x00"}, holdfast.InvalidArgument},
		{"no right", holdfast.Event{Room: "read", Name: "e"}, holdfast.Forbidden},
	} {
		_, err := s.Publish(t.Context(), &c.ev)
		if got := holdfast.CodeOf(err); got != c.code {
			t.Errorf("%s, by a session: %v", c.name, err)
		}
		_, err = h.Publish(t.Context(), &c.ev)
		if got := holdfast.CodeOf(err); got != c.code && c.code != holdfast.Forbidden {
			t.Errorf("%s, by the hub: %v", c.name, err)
		}
	}
	_, err := h.History(t.Context(), "", nil, 0)
	wantCode(t, err, holdfast.InvalidArgument)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestPublishFrom: nobody publishes as another, and ids are each publisher's own.
func TestPublishFrom(t *testing.T) {
	h := newHub(t, Config{})
	s := open(t, h, "ann", &recorder{})
	ev := &holdfast.Event{Room: "r", Name: "e", From: "bob", ID: "1"}
	first, err := s.Publish(t.Context(), ev)
	if err != nil || ev.From != "bob" {
		t.Fatal(err, ev.From)
	}
	again, _ := s.Publish(t.Context(), ev)
	backend, _ := h.Publish(t.Context(), &holdfast.Event{Room: "r", Name: "e", ID: "1"})
	if again != first || backend.Offset != first.Offset+1 {
		t.Error(first, again, backend)
	}
	events, err := h.History(t.Context(), "r", nil, 0)
	if err != nil || events.Events[0].From != "ann" || events.Events[1].From != "" {
		t.Errorf("%+v, %v", events, err)
	}
}

// TestRoomsAreFreed: in the hub at once, in the memory broker with the history;
// a position from before is then never mistaken for one of the new room.
func TestRoomsAreFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{})
		defer h.Close()
		sink := &recorder{}
		s := open(t, h, "u", sink)
		defer s.Close()
		join(t, s, "r", nil)
		at := publish(t, h, "r", "1", "2")
		s.Leave("r")
		if len(h.rooms) != 0 {
			t.Error("the hub keeps a room that nobody is in")
		}
		if j := join(t, s, "r", &at[0]); !*j.Recovered || j.Position != at[1] {
			t.Errorf("history was lost with the last member: %+v", j)
		}
		s.Leave("r")
		<-time.After(time.Hour)
		publish(t, h, "r", "3", "4", "5")
		for _, since := range []holdfast.Position{at[0], at[1], {Epoch: at[0].Epoch, Offset: 3}} {
			j := join(t, s, "r", &since)
			if *j.Recovered || j.Position.Epoch == at[0].Epoch || j.Position.Offset != 3 {
				t.Errorf("since %v: %+v", since, j)
			}
			s.Leave("r")
		}
	})
}

func TestSlowConsumerDelaysNobody(t *testing.T) {
	h := newHub(t, Config{})
	slow, fast := &boundedSink{}, &recorder{}
	slow.queue.Limit = 500
	closing := make(chan struct{})
	s := open(t, h, "slow", slow)
	slow.closed = func() { close(closing) }
	join(t, s, "r", nil)
	join(t, open(t, h, "fast", fast), "r", nil)
	var want []string
	for i := range 100 {
		publish(t, h, "r", fmt.Sprint(i))
		want = append(want, fmt.Sprint(i))
	}
	if got := fast.data("r"); !slices.Equal(got, want) {
		t.Errorf("the fast one got %d events", len(got))
	}
	<-closing
	s.Close()
	if n := slow.queue.Bytes(); n > 500 {
		t.Errorf("%d bytes wait for the slow one", n)
	}
}

// boundedSink is a Queue that nobody reads.
type boundedSink struct {
	queue  Queue
	once   sync.Once
	closed func()
}

func (s *boundedSink) Send(f *Frame) bool {
	_, ok := s.queue.Push(f)
	if !ok {
		s.once.Do(s.closed)
	}
	return ok
}

func TestHubClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{})
		s := open(t, h, "u", &recorder{})
		join(t, s, "r", nil)
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := s.Join(t.Context(), "r", JoinOptions{}, nil)
		wantCode(t, err, holdfast.GoingAway)
		_, err = h.Open(SessionConfig{ID: "x", Sink: &recorder{}, Encoder: lineEncoder{}})
		wantCode(t, err, holdfast.GoingAway)
		_, err = h.Publish(t.Context(), event("r", "1"))
		wantCode(t, err, holdfast.GoingAway)
		_, err = h.History(t.Context(), "r", nil, 0)
		wantCode(t, err, holdfast.GoingAway)
		_, err = s.Publish(t.Context(), event("r", "1"))
		wantCode(t, err, holdfast.GoingAway)
		s.Leave("r")
		s.Close()
		_ = h.Close()
	})
}

// TestFanOutAllocates nothing a delivery, and nothing an event either.
func TestFanOutAllocates(t *testing.T) {
	h := newHub(t, Config{})
	fill(t, h, 1, 1000, func() Sink { return new(queueSink) }, &fixedEncoder{&Frame{Text: []byte("x")}})
	r := h.rooms["room-0"]
	ev := &holdfast.Event{Room: "room-0", Name: "e", Position: r.pos}
	if n := testing.AllocsPerRun(100, func() {
		ev.Position.Offset++
		r.Deliver(ev, ev.Position.Offset-1)
	}); n != 0 {
		t.Errorf("%v allocations to send an event to 1,000 members", n)
	}
	if r.pos.Offset < 100 {
		t.Errorf("delivered up to %d", r.pos.Offset)
	}
}
