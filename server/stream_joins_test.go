package server_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/holdfast-dev/holdfast"
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

// A stream that the application joins to one of its rooms hears first that it
// missed something, and then what is new: a client that is cut off between the
// two would never know.
func TestStreamRoomOfTheApplicationResetsFirst(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		s := w.listen("alice", "?room=other&room=r")
		w.publish("r", "one", nil)
		id := s.want("one", "").ID
		s.close()
		synctest.Wait()
		w.publish("r", "missed", nil)
		w.srv.OnConnect(func(ctx context.Context, c *server.Conn) error {
			if _, err := c.Join(ctx, "r"); err != nil {
				return err
			}
			_, err := w.srv.Publish(ctx, "r", "new", nil)
			return err
		})
		s = w.listen("alice", "?room=other&room=r", "Last-Event-ID", id)
		s.want("reset", `{"type":"reset","room":"r"`)
		id = s.want("new", "").ID
		w.publish("other", "live", nil)
		s.want("live", "")
		// Nothing was missed: what came before the join is not said again.
		s = w.listen("alice", "?room=r")
		s.want("new", "")
		s = w.listen("alice", "?room=r", "Last-Event-ID", id)
		s.want("reset", `{"type":"reset","room":"r"`) // the one before this
		s.want("new", "")
	})
}

// The program takes a stream out of a room for good, whatever the reason.
func TestStreamRemoved(t *testing.T) {
	for _, reason := range []error{nil, holdfast.Conflict, holdfast.RateLimited, errors.New("hunter2")} {
		in(t, func(t *testing.T) {
			w := newWorld(t, server.Config{})
			conns := make(chan *server.Conn, 1)
			w.srv.OnConnect(func(_ context.Context, c *server.Conn) error { conns <- c; return nil })
			left := make(chan *holdfast.Error, 1)
			w.srv.OnLeave(func(_ context.Context, l server.Leave) { left <- l.Err })
			s := w.listen("alice", "?room=r")
			synctest.Wait()
			c := <-conns
			c.Remove("r", reason)
			code := cmp.Or(holdfast.CodeOf(reason), holdfast.Forbidden)
			s.want("message", `{"type":"room_left","room":"r","code":"`+string(code)+`"`)
			if rooms := c.Rooms(); len(rooms) > 0 {
				t.Errorf("%v: in %v", reason, rooms)
			}
			if err := <-left; err.Code != code || reason != nil && !errors.Is(err, reason) {
				t.Errorf("%v: told %v", reason, err)
			}
		})
	}
}
