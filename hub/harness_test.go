package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lineEncoder encodes an event as "room epoch offset data". Encoders of one tag
// are equal.
type lineEncoder struct{ tag string }

func (e lineEncoder) Encode(ev *holdfast.Event) *Frame {
	return &Frame{Text: fmt.Appendf(nil, "%s %s %d %s", ev.Room, ev.Position.Epoch, ev.Position.Offset, ev.Data)}
}

// got is an event as a test's sink saw it.
type got struct {
	room string
	pos  holdfast.Position
	data string
}

func parseLine(line string) got {
	f := strings.SplitN(line, " ", 4)
	offset, err := strconv.ParseUint(f[2], 10, 64)
	if err != nil {
		panic(err)
	}
	return got{room: f[0], pos: holdfast.Position{Epoch: f[1], Offset: offset}, data: f[3]}
}

// recorder is a Sink that keeps what it is sent, with marks in between.
type recorder struct {
	mu     sync.Mutex
	lines  []string
	closed bool
	onSend func(line string)
}

func (r *recorder) Send(f *Frame) bool {
	if r.onSend != nil {
		r.onSend(string(f.Text))
	}
	return r.put(string(f.Text))
}

func (r *recorder) put(line string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.lines = append(r.lines, line)
	return true
}

// all returns the lines so far.
func (r *recorder) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.lines...)
}

// data returns the data of all events in room so far.
func (r *recorder) data(room string) (data []string) {
	for _, line := range r.all() {
		if strings.HasPrefix(line, room+" ") {
			data = append(data, parseLine(line).data)
		}
	}
	return data
}

// user makes an identity that may do everything in the rooms that match.
func user(id string, rooms ...string) *holdfast.Identity {
	return &holdfast.Identity{User: id, Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList(rooms...)}}
}

// open opens a session of a user who may do everything, closed with the test.
func open(t testing.TB, h *Hub, id string, sink Sink) *Session {
	t.Helper()
	return openAs(t, h, SessionConfig{ID: id, Identity: user(id, "**"), Sink: sink, Encoder: lineEncoder{}})
}

func openAs(t testing.TB, h *Hub, cfg SessionConfig) *Session {
	t.Helper()
	s, err := h.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// newHub makes a hub that is closed with the test.
func newHub(t testing.TB, cfg Config) *Hub {
	t.Helper()
	h := New(cfg)
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func newMemory(t testing.TB, cfg MemoryConfig) *Memory {
	t.Helper()
	m := NewMemory(cfg)
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func event(room, data string) *holdfast.Event {
	return &holdfast.Event{Room: room, Name: "e", Data: json.RawMessage(data)}
}

type publisher interface {
	Publish(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error)
}

// publish publishes each data to room and returns the positions.
func publish(t testing.TB, p publisher, room string, data ...string) (at []holdfast.Position) {
	t.Helper()
	for _, d := range data {
		pos, err := p.Publish(t.Context(), event(room, d))
		if err != nil {
			t.Fatal(err)
		}
		at = append(at, pos)
	}
	return at
}

// join joins, marks the recorder when ready is called, and returns the result.
func join(t testing.TB, s *Session, room string, since *holdfast.Position) Joined {
	t.Helper()
	j, err := s.Join(t.Context(), room, JoinOptions{Since: since}, marker(s))
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// marker returns a ready that writes a line, if the session has a recorder.
func marker(s *Session) func(Joined) {
	return func(j Joined) {
		if r, ok := s.sink.(*recorder); ok {
			mark := fmt.Sprintf("ready %s %d", j.Room, j.Position.Offset)
			if j.Recovered != nil {
				mark += fmt.Sprintf(" recovered=%v", *j.Recovered)
			}
			if j.Already {
				mark += " already"
			}
			r.put(mark)
		}
	}
}

func wantCode(t testing.TB, err error, code holdfast.Code) {
	t.Helper()
	if got := holdfast.CodeOf(err); err == nil || got != code {
		t.Fatalf("error %v: code %q, want %q", err, got, code)
	}
}
