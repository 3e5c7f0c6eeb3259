package server

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
)

// Registrar is where handlers are registered: a Server, which stands for its
// namespace "/", or a Namespace.
type Registrar interface{ namespace() *Namespace }

// Namespace is a Socket.IO namespace: its own handlers on the same
// connections. Rooms are the server's, not the namespace's.
type Namespace struct {
	name string

	mu        sync.RWMutex // guards what follows
	handlers  map[string]handler
	onConnect []func(context.Context, *Conn) error

	onDisconnect []func(context.Context, *Conn, error) // guarded by mu too
}

// handler answers one event. A nil result with a nil error is an ack without
// arguments.
type handler struct {
	call func(context.Context, *Conn, socketio.Args) (socketio.Args, error)
	// raw answers what it returns; else the answer is wrapped in {ok,data}.
	raw bool
}

func (n *Namespace) namespace() *Namespace { return n }

// Name returns the namespace's name, which begins with a slash.
func (n *Namespace) Name() string { return n.name }

// OnConnect adds a function that is called for each connection that has
// proved who it is, before the client is told that it is connected. An error
// refuses the connection with the error's code. What fn emits and joins takes
// effect once the client is connected. Functions are called in the order in
// which they were added.
func (n *Namespace) OnConnect(fn func(ctx context.Context, c *Conn) error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.onConnect = append(n.onConnect, fn)
}

func (n *Namespace) connectHooks() []func(context.Context, *Conn) error {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.onConnect
}

func (n *Namespace) handler(event string) (handler, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	h, ok := n.handlers[event]
	return h, ok
}

// register panics on a name that clients can't send or that Holdfast answers
// itself: that is a mistake in the program.
func (n *Namespace) register(event string, h handler) {
	if err := holdfast.CheckPublish(event); err != nil {
		panic("server: Handle: " + err.Error())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.handlers == nil {
		n.handlers = make(map[string]handler)
	}
	n.handlers[event] = h
}

// Handle answers the event that clients emit under this name. The first
// argument of the event is decoded into In as encoding/json does (a missing
// one as null); further arguments are ignored. What fn returns is the ack, if
// the client asked for one:
//
//	{"ok":true,"data":<Out>}
//	{"ok":false,"error":{"message","code","details"?,"retryAfter"?}}
//
// Return a *holdfast.Error to choose the code and the message that the client
// sees; any other error is INTERNAL, logged, and hidden from the client. ctx
// carries the identity (holdfast.IdentityFrom) and ends when the connection
// is gone. A field of type socketio.Binary holds binary data, both ways.
//
// A second registration of a name replaces the first. Handle panics on a
// reserved name. It may be called at any time.
func Handle[In, Out any](r Registrar, event string, fn func(ctx context.Context, c *Conn, in In) (Out, error)) {
	r.namespace().register(event, handler{call: func(ctx context.Context, c *Conn, args socketio.Args) (socketio.Args, error) {
		var in In
		if err := args.Decode(0, &in); err != nil {
			return socketio.Args{}, invalidPayload(event, err)
		}
		out, err := fn(ctx, c, in)
		if err != nil {
			return socketio.Args{}, err
		}
		return socketio.NewArgs(out)
	}})
}

// HandleRaw answers an event with any arguments, binary ones too, and
// acknowledges with exactly the arguments that fn returns. An error is
// acknowledged as Handle does it. args is fn's own; its bytes must not be
// changed.
func HandleRaw(r Registrar, event string, fn func(ctx context.Context, c *Conn, args socketio.Args) (socketio.Args, error)) {
	r.namespace().register(event, handler{call: fn, raw: true})
}

// invalidPayload keeps encoding/json's explanation, which names fields and
// types and never values of strings.
func invalidPayload(event string, err error) error {
	return holdfast.Errorf(holdfast.InvalidArgument, "%s: the payload does not fit: %w", event, err)
}

// serve calls h and turns a panic into an error: one bad event must not take
// the other connections down.
func (s *Server) serve(ctx context.Context, c *Conn, event string, h handler, args socketio.Args) (out socketio.Args, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("handler panicked", "event", event, "connection", c.link.id, "panic", panicText(v), "stack", string(debug.Stack()))
			err = holdfast.Internal.New()
		}
	}()
	return h.call(ctx, c, args)
}

// panicText tells what kind of panic it was. The text of a runtime error is
// safe; any other value may quote a payload or a credential, so only its type
// is told, and the stack tells where it came from.
func panicText(v any) string {
	if err, ok := v.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", v)
}

// ackError is the error of a negative ack.
type ackError struct {
	Message    string          `json:"message"`
	Code       holdfast.Code   `json:"code"`
	RetryAfter int64           `json:"retryAfter,omitempty"`
	Details    json.RawMessage `json:"details,omitempty"`
}

// refusal is the argument of a negative ack.
func refusal(err error) json.RawMessage {
	e := holdfast.AsError(err)
	body := struct {
		OK    bool     `json:"ok"`
		Error ackError `json:"error"`
	}{Error: ackError{Message: e.PublicMessage(), Code: e.Code, RetryAfter: e.RetryAfterSeconds(), Details: e.Details}}
	data, merr := json.Marshal(body)
	if merr != nil { // only Details, which the application wrote, can be at fault
		body.Error.Details = nil
		data, _ = json.Marshal(body)
	}
	return data
}
