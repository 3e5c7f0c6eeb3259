package brokertest

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/checker"
)

// stormMember behaves as a good client: it keeps its position in each room, and
// joins with it.
type stormMember struct {
	storm *storm
	hub   *hub.Hub
	name  string
	tag   uint64
	rec   *checker.Member

	mu      sync.Mutex // guards what follows
	session *hub.Session
	sink    *stormSink // of the present session; events of others are not for us
	rooms   map[string]*stormRoom
}

// stormRoom is where a member stands in a room. Guarded by its mu.
type stormRoom struct {
	joining, in bool
	pos         *holdfast.Position // of what came last
}

// stormSink is the sink of one session.
type stormSink struct{ m *stormMember }

// stormEncoder writes an event down for a stormSink. Those of one tag share
// frames.
type stormEncoder struct{ tag uint64 }

// stormFrame is what a frame says.
type stormFrame struct {
	Room string
	At   holdfast.Position
	V    string
}

// Encode implements hub.Encoder.
func (stormEncoder) Encode(ev *holdfast.Event) *hub.Frame {
	text, _ := json.Marshal(stormFrame{ev.Room, ev.Position, valueOf(ev)})
	return &hub.Frame{Text: text}
}

func newStormMember(s *storm, h *hub.Hub, name string, tag uint64) *stormMember {
	m := &stormMember{storm: s, hub: h, name: name, tag: tag % 2, rec: s.rec.Member(name), rooms: make(map[string]*stormRoom)}
	for _, room := range stormRooms() {
		m.rooms[room] = &stormRoom{}
	}
	return m
}

// Send implements hub.Sink.
func (s *stormSink) Send(f *hub.Frame) bool {
	m := s.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sink != s {
		return false
	}
	var ev stormFrame
	if err := json.Unmarshal(f.Text, &ev); err != nil {
		panic(err)
	}
	m.rec.Event(ev.Room, ev.At, ev.V)
	m.rooms[ev.Room].pos = &ev.At
	return true
}

// live joins, leaves and begins anew until stop.
func (m *stormMember) live(t *testing.T, stop <-chan struct{}, rng *rand.Rand) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		m.storm.pause(rng, 20)
		room := stormRooms()[rng.IntN(len(stormRooms()))]
		m.mu.Lock()
		in := m.rooms[room].in
		m.mu.Unlock()
		switch n := rng.IntN(8); {
		case !in:
			m.join(t, room, rng.IntN(5) > 0)
		case m.storm.calm:
		case n == 0:
			m.close()
		case n < 4:
			m.leave(room)
		}
	}
}

// open returns the session, made if need be.
func (m *stormMember) open(t *testing.T) *hub.Session {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.session != nil {
		return m.session
	}
	sink := &stormSink{m}
	wrapped := hub.Sink(sink)
	if m.storm.sink != nil {
		wrapped = m.storm.sink(sink)
	}
	session, err := m.hub.Open(hub.SessionConfig{
		ID: m.name, Sink: wrapped, Encoder: stormEncoder{m.tag},
		Identity: &holdfast.Identity{Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("**")}},
		Left:     func(room string, err *holdfast.Error) { m.put(sink, room, string(err.Code)) },
	})
	if err != nil {
		t.Error(err)
		return nil
	}
	m.session, m.sink = session, sink
	return session
}

// put notes that the server has put the member out of a room. While a join is
// under way, it is about the time before.
func (m *stormMember) put(sink *stormSink, room, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.rooms[room]
	if m.sink != sink || r.joining {
		return
	}
	m.rec.Left(room, why)
	r.in = false
}

// join joins, with the member's position or without.
func (m *stormMember) join(t *testing.T, room string, resume bool) {
	session := m.open(t)
	if session == nil {
		return
	}
	m.mu.Lock()
	r := m.rooms[room]
	var o hub.JoinOptions
	if resume && r.pos != nil {
		since := *r.pos
		o.Since = &since
	}
	r.joining = true
	m.rec.Asked(room, o.Since)
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := session.Join(ctx, room, o, func(j hub.Joined) { m.joined(room, j) })
	if err == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r.joining, r.in = false, false
	m.rec.Left(room, err.Error())
}

func (m *stormMember) joined(room string, j hub.Joined) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.rooms[room]
	r.joining, r.in = false, true
	if j.Already {
		m.rec.Already(room)
		return
	}
	m.rec.Joined(room, j.Position, j.Recovered)
	r.pos = &j.Position
}

func (m *stormMember) leave(room string) {
	m.mu.Lock()
	session := m.session
	m.mu.Unlock()
	session.Leave(room)
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.rooms[room]; r.in {
		m.rec.Left(room, "left")
		r.in = false
	}
}

// close ends the session.
func (m *stormMember) close() {
	m.mu.Lock()
	session := m.session
	m.session, m.sink = nil, nil
	for room, r := range m.rooms {
		m.rec.Cut(room, "closed")
		r.in = false
	}
	m.mu.Unlock()
	if session != nil {
		session.Close()
	}
}

// catchUp joins the room if the member is not in it, and waits until it has what
// comes up to final.
func (m *stormMember) catchUp(t *testing.T, room string, final holdfast.Position) {
	late := time.After(patience)
	for {
		m.mu.Lock()
		r := m.rooms[room]
		in, there := r.in, r.pos != nil && r.pos.Epoch == final.Epoch && r.pos.Offset >= final.Offset
		if in && there {
			m.rec.Upto(room, final)
			m.mu.Unlock()
			return
		}
		m.mu.Unlock()
		if !in {
			m.join(t, room, true)
			continue
		}
		select {
		case <-late:
			m.mu.Lock()
			m.rec.Upto(room, final) // the checker says what is missing
			m.mu.Unlock()
			return
		case <-time.After(m.storm.step):
		}
	}
}
