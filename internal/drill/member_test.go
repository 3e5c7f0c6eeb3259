package drill

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/checker"
)

// member is somebody who hears rooms, over one of the transports.
type member interface {
	// live joins, leaves, is cut off and comes back, until stop.
	live(rng *rand.Rand, stop <-chan struct{})
	// settle stays in all rooms until the context ends.
	settle(ctx context.Context)
	// at returns what the member has of a room.
	at(room string) holdfast.Position
	// upto says that the member must have everything up to pos.
	upto(room string, pos holdfast.Position)
}

// dialer opens a wire.
type dialer func(ctx context.Context, l *line, token string) (wire, error)

// wireMember is a member who speaks a protocol by hand. It keeps its position in
// each room, and joins with it.
type wireMember struct {
	line  *line
	dial  dialer
	token string
	rec   *checker.Member

	mu    sync.Mutex // guards what follows
	wire  wire       // nil: no connection
	ref   int
	rooms map[string]*place
	moved chan struct{} // closed when something changed; made by who waits
	gone  sync.WaitGroup
}

// place is where a member stands in a room.
type place struct {
	in    bool
	asked string // "join" or "leave" that is not answered yet
	ref   int
	since bool // of the join that is asked for
	pos   *holdfast.Position
}

func newWireMember(l *line, dial dialer, token string, rec *checker.Member) *wireMember {
	m := &wireMember{line: l, dial: dial, token: token, rec: rec, rooms: make(map[string]*place)}
	for _, room := range rooms() {
		m.rooms[room] = &place{}
	}
	return m
}

func (m *wireMember) live(rng *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		pause(rng, 100*time.Millisecond)
		room := rooms()[rng.IntN(len(rooms()))]
		m.mu.Lock()
		in, up := m.rooms[room].in, m.wire != nil
		m.mu.Unlock()
		switch n := rng.IntN(10); {
		case !up:
			m.connect()
		case n == 0:
			m.line.cut()
		case !in:
			m.request(room, "join", rng.IntN(5) > 0)
		case n < 3:
			m.request(room, "leave", false)
		}
	}
}

func (m *wireMember) settle(ctx context.Context) {
	for ctx.Err() == nil {
		m.mu.Lock()
		up := m.wire != nil
		m.mu.Unlock()
		if !up {
			m.connect()
		}
		for _, room := range rooms() {
			m.mu.Lock()
			in := m.rooms[room].in
			m.mu.Unlock()
			if !in {
				m.request(room, "join", true)
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	m.line.cut()
	m.gone.Wait()
}

func (m *wireMember) connect() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w, err := m.dial(ctx, m.line, m.token)
	if err != nil {
		return // the node is down, or goes
	}
	m.mu.Lock()
	m.wire = w
	m.mu.Unlock()
	m.gone.Go(func() { m.read(w) })
}

// request asks to join or leave a room, and waits for the answer.
func (m *wireMember) request(room, what string, resume bool) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m.mu.Lock()
	w, p := m.wire, m.rooms[room]
	if w == nil || p.asked != "" {
		m.mu.Unlock()
		return
	}
	m.ref++
	fields := map[string]any{"room": room}
	p.asked, p.ref, p.since = what, m.ref, false
	if what == "join" {
		if resume && p.pos != nil {
			since := *p.pos
			p.since, fields["since"] = true, since
			m.rec.Asked(room, &since)
		} else {
			m.rec.Asked(room, nil)
		}
	}
	ref := m.ref
	m.mu.Unlock()
	if err := w.ask(ctx, ref, what, fields); err != nil {
		w.close() // the reader notes it
	}
	for {
		m.mu.Lock()
		if p.asked == "" {
			m.mu.Unlock()
			return
		}
		if m.moved == nil {
			m.moved = make(chan struct{})
		}
		moved := m.moved
		m.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			w.close()
			return
		}
	}
}

// read takes what the server says until the connection is over.
func (m *wireMember) read(w wire) {
	defer w.close()
	for {
		msg, err := w.next(context.Background())
		m.mu.Lock()
		if err == nil {
			m.take(msg)
		} else {
			m.wire = nil
			for room, p := range m.rooms {
				m.rec.Cut(room, err.Error())
				p.in, p.asked = false, ""
			}
		}
		if m.moved != nil {
			close(m.moved)
			m.moved = nil
		}
		m.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take is called with mu held.
func (m *wireMember) take(msg message) {
	switch msg.kind {
	case "event":
		m.rec.Event(msg.room, msg.at, msg.value)
		if p := m.rooms[msg.room]; p != nil {
			p.pos = &msg.at
		}
	case "left":
		// Before the answer to a join it is about the time before.
		if p := m.rooms[msg.room]; p != nil && p.in {
			m.rec.Left(msg.room, string(msg.code))
			p.in = false
		}
	case "ok", "error":
		for room, p := range m.rooms {
			if p.asked != "" && p.ref == msg.ref {
				m.answered(room, p, msg)
			}
		}
	}
}

func (m *wireMember) answered(room string, p *place, msg message) {
	what := p.asked
	p.asked = ""
	switch {
	case what == "leave":
		if p.in {
			m.rec.Left(room, "left")
			p.in = false
		}
	case msg.kind == "error":
		m.rec.Left(room, "refused: "+string(msg.code))
	case p.since && msg.recovered == nil: // a repeated join: see docs/protocol.md §4
		m.rec.Already(room)
		p.in = true
	default:
		m.rec.Joined(room, msg.at, msg.recovered)
		p.in, p.pos = true, &msg.at
	}
}

func (m *wireMember) at(room string) (pos holdfast.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p := m.rooms[room]; p.in && p.pos != nil {
		pos = *p.pos
	}
	return pos
}

func (m *wireMember) upto(room string, pos holdfast.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rec.Upto(room, pos)
}
