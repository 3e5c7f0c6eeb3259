package server_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// Whoever has no name can't use up a backend's ids, nor another stranger's: an
// id is his connection's, and over HTTP nobody's. Members are shown it.
func TestPublishIDsAnonymous(t *testing.T) {
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Static: auth.Secret(staticKey)})
	if err != nil {
		t.Fatal(err)
	}
	position := func(t *testing.T, answer string) (pos holdfast.Position) {
		t.Helper()
		_, data, ok := strings.Cut(answer, `{"epoch"`)
		data, _, end := strings.Cut(data, "}")
		if err := json.Unmarshal([]byte(`{"epoch"`+data+"}"), &pos); !ok || !end || err != nil {
			t.Fatalf("no position: %s", answer)
		}
		return pos
	}
	overHTTP := func(w *world, header ...string) holdfast.Position {
		status, _, body := w.request("POST", roomPath("r"), `{"event":"e","data":1,"id":"i1"}`, header...)
		if status != 200 {
			t.Errorf("%d %s", status, body)
		}
		return position(t, body)
	}
	// Each opens a connection of a stranger's, and returns what publishes over it.
	strangers := map[string]func(w *world) func() holdfast.Position{
		"socket.io": func(w *world) func() holdfast.Position {
			p := w.dial()
			p.send("40")
			p.want("40{")
			return func() holdfast.Position {
				p.send(`421["room:publish",{"room":"r","event":"e","data":1,"id":"i1"}]`)
				return position(t, p.want(`431[{"ok":true`))
			}
		},
		"ws": func(w *world) func() holdfast.Position {
			p := w.plain("?token=none")
			p.want(`{"type":"authenticated"`)
			return func() holdfast.Position {
				p.send(`{"type":"publish","room":"r","event":"e","data":1,"id":"i1","ref":1}`)
				return position(t, p.want(`{"type":"ok"`))
			}
		},
	}
	for _, store := range []server.EventStore{nil, &eventStore{}} {
		in(t, func(t *testing.T) {
			w := newWorld(t, server.Config{Events: store, APIKeys: keys, AllowQueryToken: true, Authenticator: auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
				return &holdfast.Identity{Permissions: holdfast.Permissions{Rooms: *everyRoom(t)}}, nil
			})})
			member := w.dial()
			member.send("40")
			member.want("40{")
			member.send(`421["room:join",{"room":"r"}]`)
			member.want("431[")
			by := make(map[holdfast.Position]string)
			first := func(who string, pos holdfast.Position) {
				t.Helper()
				if other := by[pos]; other != "" {
					t.Errorf("%s got the position of %s", who, other)
				}
				by[pos] = who
				ev := member.want(`42["e",1,{"room":"r",`)
				if !strings.HasSuffix(ev, `,"id":"i1"}]`) {
					t.Errorf("%s is shown as %s", who, ev)
				}
			}
			for _, kind := range []string{"socket.io", "ws"} {
				for range 2 {
					publish := strangers[kind](w)
					pos := publish()
					first(kind, pos)
					if again := publish(); again != pos {
						t.Errorf("%s: a repeat got %v, the first %v", kind, again, pos)
					}
				}
			}
			first("http", overHTTP(w))
			first("http", overHTTP(w))
			backend := overHTTP(w, "Authorization", "Bearer "+staticKey)
			first("backend", backend)
			first("socket.io", strangers["socket.io"](w)())
			if again := overHTTP(w, "Authorization", "Bearer "+staticKey); again != backend {
				t.Errorf("the backend's repeat got %v, the first %v", again, backend)
			}
			member.quiet()
		})
	}
}
