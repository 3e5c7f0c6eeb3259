package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
)

func newBare(t testing.TB) *Server {
	t.Helper()
	nobody := auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
		return nil, holdfast.Unauthenticated.New()
	})
	s, err := New(Config{Authenticator: nobody, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	return s
}

func TestPresenceChanged(t *testing.T) {
	for _, tc := range []struct {
		name, sent, made string // "-": nil
		want             string
		code             holdfast.Code
	}{
		{"nothing", "-", "-", "-", ""},
		{"kept", `{"a":1}`, `{"a":1}`, `{"a":1}`, ""},
		{"given", "-", `{"seat":3}`, `{"seat":3}`, ""},
		{"replaced", `{"a":1}`, `[]`, `[]`, ""},
		{"taken away", `{"a":1}`, "-", "-", ""},
		{"as large as may be", "-", `"` + strings.Repeat("x", 4094) + `"`, `"` + strings.Repeat("x", 4094) + `"`, ""},
		{"too large", "-", `"` + strings.Repeat("x", 4095) + `"`, "", holdfast.Internal},
		{"no JSON", "-", `{`, "", holdfast.Internal},
		{"empty", `{}`, ``, "", holdfast.Internal},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newBare(t)
			raw := func(text string) json.RawMessage {
				if text == "-" {
					return nil
				}
				return json.RawMessage(text)
			}
			first := true
			s.OnJoin(func(_ context.Context, j *Join) error {
				j.Presence, j.Room, j.Conn = raw(tc.made), "elsewhere", new(Conn)
				return nil
			})
			s.OnJoin(func(_ context.Context, j *Join) error {
				if first = false; string(j.Presence) != string(raw(tc.want)) || j.Room != "r" || j.Conn != nil {
					t.Errorf("the second function got %+v", j)
				}
				return nil
			})
			j := Join{Room: "r", Presence: raw(tc.sent)}
			err := s.askJoin(t.Context(), s.hooks.load(), &j)
			if holdfast.CodeOf(err) != tc.code || first != (err != nil) {
				t.Fatalf("error %v, want %q", err, tc.code)
			}
			if err == nil && (string(j.Presence) != string(raw(tc.want)) || (j.Presence == nil) != (raw(tc.want) == nil) || j.Room != "r") {
				t.Errorf("got %+v", j)
			}
		})
	}
}

// What a function made of an event is checked again, and the publisher is not
// blamed for it.
func TestPublishChecked(t *testing.T) {
	one := [][]byte{{1}}
	for _, tc := range []struct {
		name string
		sent holdfast.Event
		make func(e *holdfast.Event)
		code holdfast.Code
	}{
		{"nothing", holdfast.Event{Name: "e"}, func(*holdfast.Event) {}, ""},
		{"data gone", holdfast.Event{Name: "e", Data: []byte("1")}, func(e *holdfast.Event) { e.Data = nil }, ""},
		{"binary gone", holdfast.Event{Name: "e", Data: []byte(`{"_placeholder":true,"num":0}`), Attachments: one}, func(e *holdfast.Event) { e.Data, e.Attachments = []byte("1"), nil }, ""},
		{"binary kept", holdfast.Event{Name: "e", Data: []byte(`{"_placeholder":true,"num":0}`), Attachments: one}, func(*holdfast.Event) {}, ""},
		{"reserved name", holdfast.Event{Name: "e"}, func(e *holdfast.Event) { e.Name = "auth:closing" }, holdfast.Internal},
		{"no name", holdfast.Event{Name: "e"}, func(e *holdfast.Event) { e.Name = "" }, holdfast.Internal},
		{"no JSON", holdfast.Event{Name: "e"}, func(e *holdfast.Event) { e.Data = []byte("{") }, holdfast.Internal},
		{"too large", holdfast.Event{Name: "e"}, func(e *holdfast.Event) { e.Data = []byte(`"` + strings.Repeat("x", 64<<10) + `"`) }, holdfast.Internal},
		{"binary that is in no data", holdfast.Event{Name: "e"}, func(e *holdfast.Event) { e.Attachments = one }, holdfast.Internal},
		{"bad from the start", holdfast.Event{Name: "auth:closing"}, nil, holdfast.InvalidArgument},
		{"too large from the start", holdfast.Event{Name: "e", Data: []byte(`"` + strings.Repeat("x", 64<<10) + `"`)}, nil, holdfast.MessageTooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newBare(t)
			published := 0
			s.OnPublish(func(_ context.Context, p *Publish) error {
				if tc.make == nil {
					t.Error("it was asked about")
					return nil
				}
				tc.make(p.Event)
				return nil
			})
			s.Observe(Observer{Published: func(context.Context, Publish) { published++ }})
			tc.sent.Room = "r"
			_, err := s.publish(t.Context(), publication{event: tc.sent})
			if holdfast.CodeOf(err) != tc.code || (published == 1) != (err == nil) {
				t.Errorf("error %v, want %q; published %d times", err, tc.code, published)
			}
		})
	}
}

// Who reads over HTTP is asked about as well, with no connection.
func TestMayJoinAsks(t *testing.T) {
	s := newBare(t)
	id := &holdfast.Identity{User: "u", Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("r", "s")}}
	if err := s.mayJoin(t.Context(), &Join{Identity: id, Room: "r"}); err != nil {
		t.Fatal(err)
	}
	s.OnJoin(func(_ context.Context, j *Join) error {
		if j.Conn != nil || j.Identity != id {
			t.Errorf("asked about %+v", j)
		}
		if j.Room == "s" {
			return holdfast.Conflict
		}
		return nil
	})
	for room, code := range map[string]holdfast.Code{"r": "", "s": holdfast.Conflict, "t": holdfast.Forbidden, "*": holdfast.InvalidArgument} {
		if err := s.mayJoin(t.Context(), &Join{Identity: id, Room: room}); holdfast.CodeOf(err) != code {
			t.Errorf("%s: %v, want %q", room, err, code)
		}
	}
}

// deafEncoder encodes nothing, so that only the way there is measured.
type deafEncoder struct{}

func (deafEncoder) Encode(*holdfast.Event) *hub.Frame { return nil }

// Where nobody is to be asked or told, that costs nothing.
func TestNoHooksNoCost(t *testing.T) {
	s := newBare(t)
	l := &link{srv: s}
	defer l.cancel()
	c := &Conn{link: l, ns: s.Namespace}
	c.ctx, c.tie = l.tie()
	id := &holdfast.Identity{User: "u", Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("**")}}
	open := func(id string, identity *holdfast.Identity, ended func(string, *holdfast.Error)) *hub.Session {
		session, err := s.hub.Open(hub.SessionConfig{ID: id, Identity: identity, Sink: deaf{}, Encoder: deafEncoder{}, Ended: ended})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(session.Close)
		return session
	}
	open("other", id, nil).Join(t.Context(), "r", hub.JoinOptions{}, nil) // the room stays open
	s.lines.add()
	c.setIdentity(id)
	c.session = open("c", id, c.ended)
	defer c.leave(nil)

	plain := open("plain", id, nil)
	want := testing.AllocsPerRun(200, func() { plain.Join(t.Context(), "r", hub.JoinOptions{}, nil); plain.Leave("r") })
	if got := testing.AllocsPerRun(200, func() { c.join(t.Context(), "r", hub.JoinOptions{}, nil); c.Leave("r") }); got > want {
		t.Errorf("a join and a leave take %v allocations, %v of them the hub's", got, want)
	}
	ev := holdfast.Event{Room: "r", Name: "e", From: "u"}
	want = testing.AllocsPerRun(200, func() { own := ev; plain.Publish(t.Context(), &own) })
	if got := testing.AllocsPerRun(200, func() { s.publish(t.Context(), publication{event: ev, conn: c, identity: id}) }); got > want+1 {
		t.Errorf("publishing takes %v allocations, %v of them the hub's", got, want)
	}
}
