package client

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/holdfasttest"
)

// fleetLines bounds how many clients a report is about, one a line.
const fleetLines = 20

// pilot is what a client of a fleet has been through.
type pilot struct {
	client *Client

	mu    sync.Mutex // guards what follows
	last  uint64     // offset of the last event that was handled
	got   int        // events
	notes []string   // what the room's handlers were told beside events
}

// begin says from where on the room is heard.
func (p *pilot) begin(at holdfast.Position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = at.Offset
}

// heard notes an event and returns the offset that it must have.
func (p *pilot) heard() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got++
	p.last++
	return p.last
}

func (p *pilot) left(_ context.Context, err error) { p.note("left: %v", err) }

func (p *pilot) reset(_ context.Context, r Reset) { p.note("reset to %v", r.Position) }

func (p *pilot) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// at returns up to where the client has heard the room.
func (p *pilot) at() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// fleetView is what the server knows of a room and of its connections.
type fleetView struct {
	Connections int               // admitted or not
	Position    holdfast.Position // of the last event
	Members     map[string]bool   // by the ids of admitted connections: whether it is in the room
	Ends        map[string]int    // of connections, by why they ended
}

// ends counts why a server's connections ended, as its log tells it. A fleet's
// clients have no log: of most of them nobody wants to read.
type ends struct {
	addresses *regexp.Regexp // which differ in the errors of connections that end alike

	mu sync.Mutex
	by map[string]int // guarded by mu
}

func newEnds() *ends {
	return &ends{addresses: regexp.MustCompile(`[0-9.]+:[0-9]+`), by: make(map[string]int)}
}

// Enabled implements slog.Handler.
func (e *ends) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (e *ends) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "connection ended" && r.Level < slog.LevelWarn {
		return nil
	}
	why := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			why += ": " + e.addresses.ReplaceAllString(a.Value.String(), "…")
		}
		return true
	})
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.by[why] > 0 || len(e.by) < fleetLines {
		e.by[why]++
	}
	return nil
}

// WithAttrs implements slog.Handler.
func (e *ends) WithAttrs([]slog.Attr) slog.Handler { return e }

// WithGroup implements slog.Handler.
func (e *ends) WithGroup(string) slog.Handler { return e }

// viewFleet is the server's view of a room, as JSON. last is where the last event
// of it is.
func viewFleet(s *holdfasttest.Server, e *ends, room string, last holdfast.Position) (string, error) {
	v := fleetView{Connections: s.Server().Connections(), Position: last, Members: make(map[string]bool)}
	e.mu.Lock()
	v.Ends = maps.Clone(e.by)
	e.mu.Unlock()
	for c := range s.Server().Conns() {
		v.Members[c.ID()] = slices.Contains(c.Rooms(), room)
	}
	text, err := json.Marshal(v)
	return string(text), err
}

// report says what is known about the clients that have not heard all of a room,
// from both ends.
func (f *fleet) report(room string) string {
	var view fleetView
	if err := json.Unmarshal([]byte(f.do("view %s", room)), &view); err != nil {
		return err.Error()
	}
	in := 0
	for _, is := range view.Members {
		if is {
			in++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the server: %d connections, %d admitted, %d of them in the room; its last event is at %v\n",
		view.Connections, len(view.Members), in, view.Position)
	for _, why := range slices.Sorted(maps.Keys(view.Ends)) {
		fmt.Fprintf(&b, "%d times: %s\n", view.Ends[why], why)
	}
	behind := slices.DeleteFunc(slices.Clone(f.pilots), func(p *pilot) bool { return p.at() == view.Position.Offset })
	fmt.Fprintf(&b, "%d of %d clients have not heard all of it\n", len(behind), len(f.pilots))
	for i, p := range behind[:min(len(behind), fleetLines)] {
		fmt.Fprintf(&b, "%d: %s\n", i, p.report(room, view))
	}
	return b.String()
}

// report is the part of one client.
func (p *pilot) report(room string, view fleetView) string {
	p.mu.Lock()
	got, last, notes := p.got, p.last, slices.Clone(p.notes)
	p.mu.Unlock()
	s := p.client.Socket()
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d events, at %d", got, last)
	if len(notes) > 0 {
		fmt.Fprintf(&b, ", was told %q", notes)
	}
	fmt.Fprintf(&b, "; %v, final %v, attempt %d, because of %v", s.last.State, s.last.Final, s.last.Attempt, s.last.Err)
	s.inbox.mu.Lock()
	fmt.Fprintf(&b, "; %d wait for handlers, busy %v", len(s.inbox.items)-s.inbox.head, s.inbox.busy)
	s.inbox.mu.Unlock()
	if r := s.rooms[room]; r != nil {
		fmt.Fprintf(&b, "; the room is at %v, member %v, asked %v, %d refusals", r.position, r.member, r.asked, r.tries)
	} else {
		b.WriteString("; it has no such room")
	}
	if s.conn != nil {
		s.conn.report(&b, view)
	}
	return b.String()
}

// report is the part of a client's connection. The socket's mu is held.
func (c *conn) report(b *strings.Builder, view fleetView) {
	c.mu.Lock()
	acks := slices.Sorted(maps.Keys(c.acks))
	c.mu.Unlock()
	c.out.mu.Lock()
	waits, writing := len(c.out.items), c.out.writing
	c.out.mu.Unlock()
	fmt.Fprintf(b, "; %d joins to be tried again, waits for the acks %v, %d packets to be written, writing %v", len(c.retries), acks, waits, writing)
	if c.session == nil {
		b.WriteString(", no session")
		return
	}
	in, admitted := view.Members[c.session.Connection]
	fmt.Fprintf(b, "; to the server it is %s: admitted %v, in the room %v", c.session.Connection, admitted, in)
}
