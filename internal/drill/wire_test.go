package drill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
)

// message is what a server says, whatever the protocol.
type message struct {
	kind      string // "event", "ok", "error", "left", or "" for anything else
	ref       int
	room      string
	at        holdfast.Position
	value     string
	recovered *bool
	code      holdfast.Code
}

// wire is one connection of a client that speaks a protocol by hand. Its
// methods are for one reader and one writer.
type wire interface {
	// ask sends a request, whose answer carries ref.
	ask(ctx context.Context, ref int, what string, fields map[string]any) error
	// next returns what the server says.
	next(ctx context.Context) (message, error)
	close()
}

// payload are the fields of events and answers, in either protocol.
type payload struct {
	Room      string        `json:"room"`
	Epoch     string        `json:"epoch"`
	Offset    uint64        `json:"offset"`
	Recovered *bool         `json:"recovered"`
	Code      holdfast.Code `json:"code"`
}

func (p payload) at() holdfast.Position { return holdfast.Position{Epoch: p.Epoch, Offset: p.Offset} }

// dialWS opens a WebSocket of the cluster.
func dialWS(ctx context.Context, l *line, path, token string) (*websocket.Conn, error) {
	o := &websocket.DialOptions{HTTPClient: l.http()}
	if token != "" {
		o.HTTPHeader = http.Header{"Authorization": {"Bearer " + token}}
	}
	conn, _, err := websocket.Dial(ctx, "ws://drill.test"+path, o)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(4 << 20)
	return conn, nil
}

// plainWire speaks docs/protocol.md §5.
type plainWire struct{ conn *websocket.Conn }

func dialPlain(ctx context.Context, l *line, token string) (wire, error) {
	conn, err := dialWS(ctx, l, "/ws", token)
	if err != nil {
		return nil, err
	}
	w := plainWire{conn}
	_, data, err := conn.Read(ctx)
	if err == nil && !strings.HasPrefix(string(data), `{"type":"authenticated"`) {
		err = fmt.Errorf("not admitted: %s", data)
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w plainWire) close() { _ = w.conn.CloseNow() }

func (w plainWire) ask(ctx context.Context, ref int, what string, fields map[string]any) error {
	fields["type"], fields["ref"] = what, ref
	text, _ := json.Marshal(fields)
	return w.conn.Write(ctx, websocket.MessageText, text)
}

func (w plainWire) next(ctx context.Context) (message, error) {
	_, text, err := w.conn.Read(ctx)
	if err != nil {
		return message{}, err
	}
	var in struct {
		Type string          `json:"type"`
		Ref  int             `json:"ref"`
		Data json.RawMessage `json:"data"`
		payload
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return message{}, fmt.Errorf("%s: %w", text, err)
	}
	m := message{ref: in.Ref, room: in.Room, code: in.Code}
	switch in.Type {
	case "event":
		m.kind, m.at = "event", in.at()
		err = json.Unmarshal(in.Data, &m.value)
	case "ok":
		var answer payload
		m.kind = "ok"
		if len(in.Data) > 0 {
			err = json.Unmarshal(in.Data, &answer)
		}
		m.at, m.recovered = answer.at(), answer.Recovered
	case "error":
		m.kind = "error"
	case "room_left":
		m.kind = "left"
	}
	return m, err
}

// sioWire speaks docs/protocol.md §4 over WebSocket.
type sioWire struct{ conn *websocket.Conn }

func dialSocketIO(ctx context.Context, l *line, token string) (wire, error) {
	conn, err := dialWS(ctx, l, "/socket.io/?EIO=4&transport=websocket", "")
	if err != nil {
		return nil, err
	}
	w := sioWire{conn}
	if err := w.admit(ctx, token); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w sioWire) admit(ctx context.Context, token string) error {
	if err := w.conn.Write(ctx, websocket.MessageText, []byte(`40{"token":"`+token+`"}`)); err != nil {
		return err
	}
	for _, want := range []string{"0{", "40{", `42["auth:session"`} {
		_, data, err := w.conn.Read(ctx)
		if err == nil && !strings.HasPrefix(string(data), want) {
			err = fmt.Errorf("not admitted: %s", data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (w sioWire) close() { _ = w.conn.CloseNow() }

func (w sioWire) ask(ctx context.Context, ref int, what string, fields map[string]any) error {
	args, _ := json.Marshal([]any{"room:" + what, fields})
	return w.conn.Write(ctx, websocket.MessageText, fmt.Appendf(nil, "42%d%s", ref, args))
}

func (w sioWire) next(ctx context.Context) (message, error) {
	_, data, err := w.conn.Read(ctx)
	if err != nil {
		return message{}, err
	}
	text := string(data)
	switch {
	case text == "2": // a heartbeat
		return message{}, w.conn.Write(ctx, websocket.MessageText, []byte("3"))
	case strings.HasPrefix(text, "43"):
		return sioAck(text[2:])
	case strings.HasPrefix(text, "42["):
		return sioEvent(text[2:])
	case text == "1" || strings.HasPrefix(text, "41"):
		return message{}, errors.New("the server says goodbye")
	}
	return message{}, fmt.Errorf("an unknown packet: %s", text)
}

func sioAck(text string) (message, error) {
	ref, rest := 0, strings.IndexByte(text, '[')
	if _, err := fmt.Sscanf(text[:max(rest, 0)], "%d", &ref); err != nil {
		return message{}, fmt.Errorf("%s: %w", text, err)
	}
	var args []struct {
		OK    bool
		Data  payload
		Error struct{ Code holdfast.Code }
	}
	if err := json.Unmarshal([]byte(text[rest:]), &args); err != nil || len(args) != 1 {
		return message{}, fmt.Errorf("%s: %w", text, err)
	}
	a := args[0]
	m := message{kind: "error", ref: ref, code: a.Error.Code}
	if a.OK {
		m.kind, m.at, m.recovered = "ok", a.Data.at(), a.Data.Recovered
	}
	return m, nil
}

func sioEvent(text string) (message, error) {
	var args []json.RawMessage
	if err := json.Unmarshal([]byte(text), &args); err != nil {
		return message{}, err
	}
	var name string
	var p payload
	if err := json.Unmarshal(args[0], &name); err != nil {
		return message{}, err
	}
	switch name {
	case eventName:
		m := message{kind: "event"}
		if len(args) != 3 {
			return m, fmt.Errorf("an event without meta: %s", text)
		}
		err := errors.Join(json.Unmarshal(args[1], &m.value), json.Unmarshal(args[2], &p))
		m.room, m.at = p.Room, p.at()
		return m, err
	case "room:left":
		err := json.Unmarshal(args[1], &p)
		return message{kind: "left", room: p.Room, code: p.Code}, err
	}
	return message{}, nil
}
