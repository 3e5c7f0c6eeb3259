package drill

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/checker"
	"github.com/holdfast-dev/holdfast/internal/sse"
)

// cursorMember is a member whose place in its rooms is a cursor that it can't
// read: docs/protocol.md §6.
type cursorMember struct {
	line  *line
	token string
	rec   *checker.Member
	// once listens until the connection ends.
	once func(ctx context.Context, m *cursorMember) error

	mu     sync.Mutex // guards what follows
	cursor string
	on     bool // all rooms have begun
	pos    map[string]holdfast.Position
}

// object is an event of either form.
type object struct {
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
	payload
}

func (m *cursorMember) live(rng *rand.Rand, stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	var cuts sync.WaitGroup
	cuts.Go(func() {
		for {
			pause(rng, 500*time.Millisecond)
			select {
			case <-stop:
				cancel()
				return
			default:
				m.line.cut()
			}
		}
	})
	m.settle(ctx)
	cuts.Wait()
}

func (m *cursorMember) settle(ctx context.Context) {
	for ctx.Err() == nil {
		if err := m.once(ctx, m); err != nil {
			select { // the node is down, or goes
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	}
}

// begin notes that a stream has begun, and end that it is over.
func (m *cursorMember) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, room := range rooms() {
		m.rec.Resumed(room)
	}
	m.on = true
}

func (m *cursorMember) end(why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, room := range rooms() {
		m.rec.Cut(room, why)
	}
	m.on = false
}

// event notes an event; with a cursor, that goes on with it.
func (m *cursorMember) event(o object, cursor string) error {
	var value string
	if err := json.Unmarshal(o.Data, &value); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rec.Event(o.Room, o.at(), value)
	m.pos[o.Room], m.cursor = o.at(), cursor
	return nil
}

func (m *cursorMember) reset(room, cursor string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rec.Reset(room, "")
	delete(m.pos, room)
	m.cursor = cursor
}

func (m *cursorMember) at(room string) holdfast.Position {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.on {
		return holdfast.Position{}
	}
	return m.pos[room]
}

func (m *cursorMember) upto(room string, pos holdfast.Position) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rec.Upto(room, pos)
}

// get asks for /events or /poll with the member's rooms and cursor.
func (m *cursorMember) get(ctx context.Context, path string, query url.Values, header http.Header) (*http.Response, error) {
	query["room"] = rooms()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://drill.test"+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = header
	req.Header.Set("Authorization", "Bearer "+m.token)
	resp, err := m.line.http().Do(req)
	if err == nil && resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		err = fmt.Errorf("%s", resp.Status)
	}
	return resp, err
}

func (m *cursorMember) last() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursor
}

func newStreamMember(l *line, token string, rec *checker.Member) *cursorMember {
	return &cursorMember{line: l, token: token, rec: rec, pos: make(map[string]holdfast.Position), once: listen}
}

// listen reads one event stream.
func listen(ctx context.Context, m *cursorMember) error {
	header := http.Header{}
	if last := m.last(); last != "" {
		header.Set("Last-Event-ID", last)
	}
	resp, err := m.get(ctx, "/events", url.Values{}, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	defer m.end("the stream is over")
	in := sse.NewReader(resp.Body)
	for {
		ev, err := in.Next()
		if err != nil {
			return err
		}
		var o object
		if err := json.Unmarshal([]byte(ev.Data), &o); err != nil {
			return err
		}
		switch {
		case ev.Name == "connected":
			m.begin()
		case ev.Name == "reset":
			m.reset(o.Room, ev.ID)
		case o.Type == "event":
			if err := m.event(o, ev.ID); err != nil {
				return err
			}
		}
	}
}

func newPollMember(l *line, token string, rec *checker.Member) *cursorMember {
	m := &cursorMember{line: l, token: token, rec: rec, pos: make(map[string]holdfast.Position)}
	begun := false
	m.once = func(ctx context.Context, m *cursorMember) error {
		query := url.Values{"wait": {"1"}}
		if last := m.last(); last != "" {
			query.Set("since", last)
		}
		resp, err := m.get(ctx, "/poll", query, http.Header{})
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var answer struct {
			Events []object `json:"events"`
			Cursor string   `json:"cursor"`
			Reset  []string `json:"reset"`
		}
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
			return err
		}
		for _, room := range slices.Compact(answer.Reset) {
			m.reset(room, answer.Cursor)
		}
		for _, o := range answer.Events {
			if err := m.event(o, answer.Cursor); err != nil {
				return err
			}
		}
		m.mu.Lock()
		m.cursor = answer.Cursor
		m.mu.Unlock()
		if !begun {
			begun = true
			m.begin()
		}
		return nil
	}
	return m
}
