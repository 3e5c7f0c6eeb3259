package client

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/internal/refusal"
	"github.com/holdfast-dev/holdfast/socketio"
)

// Emit sends an event. Each of args is encoded as encoding/json does; a []byte
// or socketio.Binary goes as binary, a json.RawMessage as it is. Emit returns
// when the event is queued for writing, which may have to wait for room until
// ctx ends; whether it arrives is only known by an ack. Without a connection it
// returns ErrNotConnected and nothing is sent. The error is a *holdfast.Error
// with code InvalidArgument if the name or an argument is wrong, and
// MessageTooLarge if the event is over what the server takes.
//
// With SocketConfig.Queue it returns when the event is kept there, connected or
// not, and all events go through the queue in their order, but for those with a
// Volatile context. The error is then ErrQueueFull if it doesn't fit, or the
// queue's; what the server refuses for good is told to OnDead.
func (s *Socket) Emit(ctx context.Context, event string, args ...any) error {
	a, err := newArgs(event, args)
	if err != nil {
		return err
	}
	return s.EmitArgs(ctx, event, a)
}

// EmitArgs is Emit for arguments as they came, such as those of OnRaw.
func (s *Socket) EmitArgs(ctx context.Context, event string, args socketio.Args) error {
	if err := checkEvent(event); err != nil {
		return err
	}
	event, args, err := s.outgoing(ctx, event, args)
	if err != nil {
		return err
	}
	if q := s.queued(ctx); q != nil {
		return s.enqueue(ctx, q, queue.NewID(), event, args)
	}
	c := s.current()
	if c == nil {
		return ErrNotConnected
	}
	return c.send(ctx, eventPacket(s.ns, event, args))
}

// EmitRaw sends an event and waits for the ack, whose arguments it returns as
// they came, from any Socket.IO server. It ends with ctx, with ErrNotConnected
// if there is no connection, and with ErrConnectionLost if that ends first.
//
// With SocketConfig.Queue it waits over all connections instead. If ctx ends
// before the event was sent, it never is; if later, the queue goes on with it.
// If somebody else who shares the queue got the ack, that is ErrElsewhere.
func (s *Socket) EmitRaw(ctx context.Context, event string, args ...any) (socketio.Args, error) {
	a, err := newArgs(event, args)
	if err != nil {
		return socketio.Args{}, err
	}
	event, a, err = s.outgoing(ctx, event, a)
	if err != nil {
		return socketio.Args{}, err
	}
	if q := s.queued(ctx); q != nil {
		return s.askQueued(ctx, q, event, a)
	}
	return s.askNow(ctx, event, a)
}

// askNow sends an event past the queue and waits for the ack.
func (s *Socket) askNow(ctx context.Context, event string, args socketio.Args) (socketio.Args, error) {
	c := s.current()
	if c == nil {
		return socketio.Args{}, ErrNotConnected
	}
	return c.ask(ctx, eventPacket(s.ns, event, args))
}

// EmitAck emits an event with one argument and decodes the ack's first one
// into a T; with T = struct{} it is dropped. A Holdfast server answers
// {"ok":true,"data":…}, of which T is the data, or {"ok":false,"error":{…}},
// which is returned as a *holdfast.Error. Any other answer, as plain Socket.IO
// servers give, is T itself. (An answer with ok, and data or error, and nothing
// else is taken for Holdfast's: use EmitRaw with a plain server that answers
// just that.) It ends early as EmitRaw does.
func EmitAck[T any](ctx context.Context, s *Socket, event string, payload any) (T, error) {
	var out T
	args, err := s.EmitRaw(ctx, event, payload)
	if err == nil {
		args, err = unwrap(args)
	}
	if err != nil {
		return out, err
	}
	if _, drop := any(out).(struct{}); drop {
		return out, nil
	}
	if err := args.Decode(0, &out); err != nil {
		return out, fmt.Errorf("client: ack of %s: %w", event, err)
	}
	return out, nil
}

// Publish appends an event to a room and returns its position there. It needs
// the right to publish, not membership. A second Publish of the same user to
// the room with the same id, if that isn't "", changes nothing and returns the
// position of the first. Arguments and errors are as with Emit and EmitAck.
func (s *Socket) Publish(ctx context.Context, room, event string, data any, id string) (holdfast.Position, error) {
	if err := holdfast.CheckRoom(room); err != nil {
		return holdfast.Position{}, err
	}
	if err := holdfast.CheckPublish(event); err != nil {
		return holdfast.Position{}, err
	}
	if err := holdfast.CheckEventID(id); err != nil {
		return holdfast.Position{}, err
	}
	if b, ok := data.([]byte); ok {
		data = socketio.Binary(b)
	}
	return EmitAck[holdfast.Position](ctx, s, "room:publish", struct {
		Room  string `json:"room"`
		Event string `json:"event"`
		Data  any    `json:"data"`
		ID    string `json:"id,omitempty"`
	}{room, event, data, id})
}

func newArgs(event string, args []any) (socketio.Args, error) {
	if err := checkEvent(event); err != nil {
		return socketio.Args{}, err
	}
	return socketio.NewArgs(args...)
}

// checkEvent refuses names on which official parsers drop the connection. The
// names of Holdfast itself, such as presence:get, may be emitted.
func checkEvent(name string) error {
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener":
		return holdfast.CheckPublish(name)
	}
	return holdfast.CheckEvent(name)
}

func eventPacket(ns, event string, args socketio.Args) socketio.Packet {
	return socketio.Packet{Type: socketio.Event, Namespace: ns, Data: args.AppendEvent(nil, event), Attachments: args.Attachments}
}

// ackError is the error of a negative ack.
type ackError struct {
	Message    string          `json:"message"`
	Code       holdfast.Code   `json:"code"`
	RetryAfter float64         `json:"retryAfter,omitempty"`
	Details    json.RawMessage `json:"details,omitempty"`
}

// unwrap takes the wrap of docs/protocol.md §4 off an ack, if it has one.
func unwrap(args socketio.Args) (socketio.Args, error) {
	if args.Len() != 1 || len(args.Values[0]) == 0 || args.Values[0][0] != '{' {
		return args, nil
	}
	var wrap map[string]json.RawMessage
	if json.Unmarshal(args.Values[0], &wrap) != nil || len(wrap) != 2 {
		return args, nil
	}
	switch string(wrap["ok"]) {
	case "true":
		if data, ok := wrap["data"]; ok {
			return socketio.Args{Values: []json.RawMessage{data}, Attachments: args.Attachments}, nil
		}
	case "false":
		var e ackError
		if json.Unmarshal(wrap["error"], &e) == nil && e.Code != "" {
			return socketio.Args{}, &holdfast.Error{Code: e.Code, Message: e.Message, RetryAfter: refusal.Seconds(e.RetryAfter), Details: e.Details}
		}
	}
	return args, nil
}

// negative is the ack for an error. What has no code stays here.
func negative(err error) socketio.Args {
	e := holdfast.AsError(err)
	body := struct {
		OK    bool     `json:"ok"`
		Error ackError `json:"error"`
	}{Error: ackError{e.Message, e.Code, float64(e.RetryAfterSeconds()), e.Details}}
	data, merr := json.Marshal(body)
	if merr != nil { // only Details, which the handler wrote, can be at fault
		body.Error.Details = nil
		data, _ = json.Marshal(body)
	}
	return socketio.Args{Values: []json.RawMessage{data}}
}

// panicText tells what kind of panic it was: the text of a runtime error is
// safe to log, any other value may quote a payload, so only its type is told.
func panicText(v any) string {
	if err, ok := v.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", v)
}
