package drill

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/checker"
	"github.com/holdfast-dev/holdfast/tokens"
)

// clientMember is a member by our own client, which comes back by itself.
type clientMember struct {
	line   *line
	rec    *checker.Member
	client *client.Client
	socket *client.Socket

	mu    sync.Mutex // guards what follows
	rooms map[string]*clientRoom
}

// clientRoom is a room that the client is in, or comes into.
type clientRoom struct {
	room  *client.Room // nil while it is being joined
	early []*holdfast.Event
	pos   holdfast.Position
}

func newClientMember(t *testing.T, l *line, token string, rec *checker.Member) *clientMember {
	t.Helper()
	c, err := client.New(client.Config{
		BaseURL: "http://drill.test", Source: tokens.Static(token), HTTPClient: l.http(), Logger: slog.New(slog.DiscardHandler),
		Socket: client.SocketConfig{MinBackoff: 5 * time.Millisecond, MaxBackoff: 100 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	return &clientMember{line: l, rec: rec, client: c, socket: c.Socket(), rooms: make(map[string]*clientRoom)}
}

func (m *clientMember) live(rng *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		pause(rng, 150*time.Millisecond)
		room := rooms()[rng.IntN(len(rooms()))]
		m.mu.Lock()
		r := m.rooms[room]
		m.mu.Unlock()
		switch n := rng.IntN(10); {
		case n < 2:
			m.line.cut()
		case r == nil:
			m.join(room)
		case n == 2:
			m.leave(room, r)
		}
	}
}

func (m *clientMember) settle(ctx context.Context) {
	for ctx.Err() == nil {
		for _, room := range rooms() {
			m.mu.Lock()
			r := m.rooms[room]
			m.mu.Unlock()
			if r == nil {
				m.join(room)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	_ = m.client.Close()
}

// join joins from the present on. What comes before Join returns waits.
func (m *clientMember) join(room string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := m.socket.Connect(ctx); err != nil {
		return
	}
	r := &clientRoom{}
	m.mu.Lock()
	m.rooms[room] = r
	m.mu.Unlock()
	holder, err := m.socket.Join(ctx, room, client.JoinOptions{
		OnEvent: func(_ context.Context, ev *holdfast.Event) { m.event(room, r, ev) },
		OnReset: func(_ context.Context, reset client.Reset) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.rooms[room] == r {
				m.rec.Reset(room, "")
				r.pos = reset.Position
			}
		},
		OnLeft: func(_ context.Context, err error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.rooms[room] == r {
				m.rec.Left(room, err.Error())
				delete(m.rooms, room)
			}
		},
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if err != nil {
		if m.rooms[room] == r {
			delete(m.rooms, room)
		}
		return
	}
	m.rec.Resumed(room)
	r.room = holder
	if pos := holder.Position(); pos.Offset > r.pos.Offset || r.pos.Epoch == "" {
		r.pos = pos
	}
	for _, ev := range r.early {
		m.note(room, r, ev)
	}
	r.early = nil
}

func (m *clientMember) event(room string, r *clientRoom, ev *holdfast.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.rooms[room] != r:
	case r.room == nil:
		r.early = append(r.early, ev)
	default:
		m.note(room, r, ev)
	}
}

// note is called with mu held.
func (m *clientMember) note(room string, r *clientRoom, ev *holdfast.Event) {
	var value string
	_ = json.Unmarshal(ev.Data, &value)
	m.rec.Event(room, ev.Position, value)
	r.pos = ev.Position
}

func (m *clientMember) leave(room string, r *clientRoom) {
	m.mu.Lock()
	holder := r.room
	if holder == nil || m.rooms[room] != r {
		m.mu.Unlock()
		return
	}
	m.rec.Cut(room, "left") // a handler that is running is not noted any more
	m.rec.Reset(room, "left")
	delete(m.rooms, room)
	m.mu.Unlock()
	_ = holder.Leave()
}

func (m *clientMember) at(room string) (pos holdfast.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if r := m.rooms[room]; r != nil && r.room != nil {
		pos = r.pos
	}
	return pos
}

func (m *clientMember) upto(room string, pos holdfast.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rec.Upto(room, pos)
}
