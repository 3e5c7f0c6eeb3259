package holdfasttest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/holdfasttest"
	"github.com/holdfast-dev/holdfast/server"
)

// wireStep is a step of testdata/wire: see its README.
type wireStep struct {
	SignIn, As        string
	Call, Token       string
	Body, Answer      json.RawMessage
	Status            int
	Open, Connect     string
	On                string
	Say, Bytes        string
	Hear, HearBytes   string
	Closed            websocket.StatusCode
	Reason            string
	Server            string
	Code              holdfast.Code
	User, Room, Event string
	Data              json.RawMessage
}

// The real server and the one of @holdfast/client/testing answer alike.
func TestConversations(t *testing.T) {
	data, err := os.ReadFile("../testdata/wire/conversations.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Name          string
		PresenceLimit int
		Steps         []wireStep
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	for _, conversation := range all {
		t.Run(conversation.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWire(t, conversation.PresenceLimit)
				for i, step := range conversation.Steps {
					if err := w.step(step); err != nil {
						t.Fatalf("step %d (%+v): %v", i+1, step, err)
					}
				}
			})
		})
	}
}

// wire is where a conversation is held.
type wire struct {
	t       *testing.T
	srv     *holdfasttest.Server
	sockets map[string]*websocket.Conn
	vars    map[string]any
}

func newWire(t *testing.T, presenceLimit int) *wire {
	var mu sync.Mutex // guards added
	added := 0
	w := &wire{t: t, sockets: make(map[string]*websocket.Conn), vars: make(map[string]any)}
	w.srv = holdfasttest.New(t, holdfasttest.Config{
		Server: server.Config{PresenceLimit: presenceLimit},
		Claims: func(string) auth.Claims {
			rooms := holdfast.MustRoomList("**", "!secret-**")
			return auth.Claims{Permissions: &auth.ClaimedPermissions{Rooms: &rooms}}
		},
		Setup: func(srv *server.Server) {
			server.Handle(srv, "add", func(context.Context, *server.Conn, json.RawMessage) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				added++
				return added, nil
			})
			server.Handle(srv, "echo", func(_ context.Context, _ *server.Conn, v json.RawMessage) (json.RawMessage, error) { return v, nil })
			server.Handle(srv, "refuse", func(_ context.Context, _ *server.Conn, code holdfast.Code) (int, error) { return 0, code.New() })
		},
	})
	w.srv.Handle("GET /app/me", w.srv.Require(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		id, _ := holdfast.IdentityFrom(r.Context())
		_ = json.NewEncoder(rw).Encode(id.User) // a client that is gone needs no answer
	})))
	t.Cleanup(func() {
		for _, c := range w.sockets {
			_ = c.CloseNow() // or it has gone already
		}
	})
	return w
}

func (w *wire) step(s wireStep) error {
	switch {
	case s.SignIn != "":
		w.vars[s.As] = w.srv.SignIn(s.SignIn).Access
		return nil
	case s.Call != "":
		return w.call(s)
	case s.Open != "":
		return w.open(s.Open)
	case s.Connect != "":
		if err := w.open(s.Connect); err != nil {
			return err
		}
		return errors.Join(w.say(s.Connect, `40{"token":"`+s.Token+`"}`), w.hear(s.Connect, `40{"sid":"@*"}`), w.hear(s.Connect, `42["auth:session","@*"]`))
	case s.Say != "":
		return w.say(s.On, s.Say)
	case s.Bytes != "":
		data, err := base64.StdEncoding.DecodeString(s.Bytes)
		return errors.Join(err, w.sockets[s.On].Write(w.t.Context(), websocket.MessageBinary, data))
	case s.Hear != "":
		return w.hear(s.On, s.Hear)
	case s.HearBytes != "":
		_, data, err := w.next(s.On)
		if got := base64.StdEncoding.EncodeToString(data); err == nil && got != s.HearBytes {
			return errors.New("heard " + got)
		}
		return err
	case s.Closed != 0:
		return w.closed(s)
	}
	return w.server(s)
}

func (w *wire) server(s wireStep) error {
	switch s.Server {
	case "expire":
		w.srv.Expire()
	case "refuse":
		w.srv.Refuse(s.Code, 1)
	case "bump":
		return w.srv.Bump(s.User)
	case "end":
		w.srv.End(s.Code)
	case "publish":
		_, err := w.srv.Server().PublishEvent(w.t.Context(), holdfast.Event{Room: s.Room, Name: s.Event, Data: s.Data})
		return err
	default:
		return errors.New("no such step")
	}
	return nil
}

// fill puts variables in their places; the longest names first.
func (w *wire) fill(text string) string {
	names := slices.SortedFunc(maps.Keys(w.vars), func(a, b string) int { return len(b) - len(a) })
	for _, name := range names {
		if v, ok := w.vars[name].(string); ok {
			text = strings.ReplaceAll(text, "@"+name, v)
		}
	}
	return text
}

func (w *wire) call(s wireStep) error {
	method, path, _ := strings.Cut(s.Call, " ")
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.srv.URL+w.fill(path), strings.NewReader(w.fill(string(s.Body))))
	if err != nil {
		return err
	}
	if s.Body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if s.Token != "" {
		r.Header.Set("Authorization", "Bearer "+w.fill(s.Token))
	}
	resp, err := w.srv.Client().Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != s.Status {
		return errors.New("answered " + resp.Status + ": " + string(body))
	}
	return w.match(string(s.Answer), string(body))
}

func (w *wire) open(name string) error {
	url := strings.Replace(w.srv.URL, "http", "ws", 1) + "/socket.io/?EIO=4&transport=websocket"
	c, _, err := websocket.Dial(w.t.Context(), url, &websocket.DialOptions{HTTPClient: w.srv.Client()})
	if err != nil {
		return err
	}
	w.sockets[name] = c
	return w.hear(name, `0{"sid":"@*","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)
}

func (w *wire) say(on, text string) error {
	return w.sockets[on].Write(w.t.Context(), websocket.MessageText, []byte(w.fill(text)))
}

// next returns the next frame but for heartbeats.
func (w *wire) next(on string) (websocket.MessageType, []byte, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 8*time.Second)
	defer cancel()
	for {
		kind, data, err := w.sockets[on].Read(ctx)
		if err != nil || string(data) != "2" {
			return kind, data, err
		}
		if err := w.say(on, "3"); err != nil {
			return kind, nil, err
		}
	}
}

func (w *wire) hear(on, want string) error {
	kind, data, err := w.next(on)
	if err != nil {
		return err
	}
	if kind != websocket.MessageText {
		return errors.New("heard bytes")
	}
	return w.match(want, string(data))
}

func (w *wire) closed(s wireStep) error {
	for {
		_, _, err := w.next(s.On)
		closed, ok := errors.AsType[websocket.CloseError](err)
		switch {
		case err == nil:
		case !ok:
			return err
		case closed.Code != s.Closed || closed.Reason != s.Reason:
			return closed
		default:
			return nil
		}
	}
}

// match compares a text with what it has to be: the same up to the JSON, and
// that the same but for variables.
func (w *wire) match(want, got string) error {
	fault := errors.New("got " + got + ", want " + want)
	i, j := strings.IndexAny(want, `{["`), strings.IndexAny(got, `{["`)
	if i < 0 || j < 0 || want[:i] != got[:j] {
		return fault
	}
	var a, b any
	if json.Unmarshal([]byte(want[i:]), &a) != nil || json.Unmarshal([]byte(got[j:]), &b) != nil || !w.same(a, b) {
		return fault
	}
	return nil
}

func (w *wire) same(want, got any) bool {
	switch v := want.(type) {
	case string:
		name, isVar := strings.CutPrefix(v, "@")
		if !isVar {
			return want == got
		}
		if _, bound := w.vars[name]; !bound && name != "*" {
			w.vars[name] = got
		}
		return name == "*" || w.vars[name] == got
	case []any:
		list, ok := got.([]any)
		return ok && slices.EqualFunc(v, list, w.same)
	case map[string]any:
		object, ok := got.(map[string]any)
		return ok && maps.EqualFunc(v, object, w.same)
	}
	return want == got
}
