package client

import (
	"context"
	"net/http"
	"slices"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
)

// Interceptor looks at everything that a Client sends and receives, and may
// change it. Parts that are nil do nothing. They are called by several
// goroutines at once.
type Interceptor struct {
	// Request is called once for each HTTP call, and for each stream and poll of
	// Listen, before the token, a CSRF header and cookies are added. It may
	// change the header and the URL. An error ends the call, or Listen.
	Request func(req *http.Request) error
	// Response is called with the answer of each of them, after the retries. It
	// may change the header and replace the body; that of a stream it should
	// not read. An error ends the call, or Listen.
	Response func(resp *http.Response) error
	// Emit is called for each event of the application before it is queued or
	// sent. An error is what the emit returns.
	Emit func(ctx context.Context, m *Message) error
	// Event is called for each event of the server before its handlers, on
	// their goroutine, and for each that Listen hears. An error keeps it from
	// them; it is logged.
	Event func(ctx context.Context, m *Message) error
}

// Message is an event on its way.
type Message struct {
	// Namespace is the socket's; empty for what Listen hears.
	Namespace string
	// Event is the event's name.
	Event string
	// Args are the arguments. An event of a room has its data first, and then
	// what docs/protocol.md §4 calls meta. Replace them; don't change them in
	// place.
	Args socketio.Args
}

// asked takes a request through the interceptors.
func (c *Client) asked(req *http.Request) error {
	for _, i := range c.cfg.Interceptors {
		if i.Request == nil {
			continue
		}
		if err := i.Request(req); err != nil {
			closeBody(req)
			return err
		}
	}
	return nil
}

// answered takes an answer through the interceptors, the last one first.
func (c *Client) answered(resp *http.Response) error {
	for n := len(c.cfg.Interceptors) - 1; n >= 0; n-- {
		if i := c.cfg.Interceptors[n]; i.Response != nil {
			if err := i.Response(resp); err != nil {
				_ = resp.Body.Close()
				return err
			}
		}
	}
	return nil
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

// hear takes an event of Listen through the interceptors, the last one first.
// It is false if one keeps it back.
func (c *Client) hear(ctx context.Context, ev *holdfast.Event) (pass bool) {
	list := c.cfg.Interceptors
	if !slices.ContainsFunc(list, func(i Interceptor) bool { return i.Event != nil }) {
		return true
	}
	offset := ev.Position.Offset
	args, err := socketio.NewArgs(ev.Data, meta{Room: ev.Room, Epoch: ev.Position.Epoch, Offset: &offset, ID: ev.ID, From: ev.From})
	m := Message{Event: ev.Name, Args: args}
	for n := len(list) - 1; n >= 0 && err == nil; n-- {
		if list[n].Event != nil {
			err = list[n].Event(ctx, &m)
		}
	}
	if err == nil {
		args, err = m.Args.Portable()
	}
	if err != nil {
		c.log.Warn("event was kept back", "event", ev.Name, "room", ev.Room, "err", err)
		return false
	}
	ev.Name, ev.Data = m.Event, nil
	if args.Len() > 0 {
		ev.Data = args.Values[0]
	}
	return true
}
