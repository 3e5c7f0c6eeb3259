package client

import (
	"context"
	"net/http"

	"github.com/holdfast-dev/holdfast/socketio"
)

// Interceptor looks at everything that a Client sends and receives, and may
// change it. Parts that are nil do nothing. They are called by several
// goroutines at once.
type Interceptor struct {
	// Request is called once for each HTTP call, before the token, a CSRF
	// header and cookies are added. It may change the header and the URL. An
	// error ends the call.
	Request func(req *http.Request) error
	// Response is called with the answer of each call, after the retries. It
	// may change the header and replace the body. An error ends the call.
	Response func(resp *http.Response) error
	// Emit is called for each event of the application before it is queued or
	// sent. An error is what the emit returns.
	Emit func(ctx context.Context, m *Message) error
	// Event is called for each event of the server before its handlers, on
	// their goroutine. An error keeps it from them; it is logged.
	Event func(ctx context.Context, m *Message) error
}

// Message is an event on its way.
type Message struct {
	// Namespace is the socket's.
	Namespace string
	// Event is the event's name.
	Event string
	// Args are the arguments. An event of a room has its data first, and then
	// what docs/protocol.md §4 calls meta. Replace them; don't change them in
	// place.
	Args socketio.Args
}

// outgoing takes an emit through the interceptors.
func (s *Socket) outgoing(ctx context.Context, event string, args socketio.Args) (string, socketio.Args, error) {
	s.client.touch()
	m := Message{Namespace: s.ns, Event: event, Args: args}
	for _, i := range s.client.cfg.Interceptors {
		if i.Emit == nil {
			continue
		}
		if err := i.Emit(ctx, &m); err != nil {
			return "", socketio.Args{}, err
		}
	}
	if m.Event != event {
		if err := checkEvent(m.Event); err != nil {
			return "", socketio.Args{}, err
		}
	}
	return m.Event, m.Args, nil
}

// incoming takes an event through the interceptors, the last one first. It is
// false if one keeps it back.
func (s *Socket) incoming(d *delivery) (pass bool) {
	list := s.client.cfg.Interceptors
	if len(list) == 0 {
		return true
	}
	m := Message{Namespace: s.ns, Event: d.event, Args: d.args}
	pass = true
	for n := len(list) - 1; n >= 0 && pass; n-- {
		if list[n].Event == nil {
			continue
		}
		pass = false
		s.registry.guard(d.event, func() {
			if err := list[n].Event(s.ctx, &m); err != nil {
				s.registry.log.Warn("event was kept back", "event", d.event, "err", err)
				return
			}
			pass = true
		})
	}
	d.event, d.args = m.Event, m.Args
	return pass
}
