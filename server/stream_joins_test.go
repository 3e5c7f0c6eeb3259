package server_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/holdfast-dev/holdfast/server"
)

// Observers are told who joined by a stream, and what OnJoin made of his
// presence counts there as it does on the other transports.
func TestStreamJoinIsToldInFull(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		joined := make(chan server.Join, 4)
		w.srv.Observe(server.Observer{Joined: func(_ context.Context, j server.Join) { joined <- j }})
		w.srv.OnJoin(func(_ context.Context, j *server.Join) error {
			j.Presence = json.RawMessage(`{"color":"red"}`)
			return nil
		})
		w.listen("alice", "?room=r")
		j := <-joined
		if j.Identity == nil || j.Identity.User != "alice" || string(j.Presence) != `{"color":"red"}` {
			t.Errorf("told %+v", j)
		}
		members, err := w.srv.Room("r").Members(t.Context())
		if err != nil || len(members) != 1 || string(members[0].Data) != `{"color":"red"}` {
			t.Errorf("members %+v, %v", members, err)
		}
	})
}
