package main

import (
	"context"
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/server"
)

// The permissions of every account's tokens allow all boards' rooms; which of
// them somebody may be in now, the members' table says, here. So a board's
// sharing changes no token, and works at once.

// defaultRooms is what tokens permit.
func defaultRooms() holdfast.RoomPermissions {
	return holdfast.MustRoomList(roomOf("*"), todoRoom("*"))
}

func errRoom() error { return holdfast.Errorf(holdfast.Forbidden, "Not allowed in this room") }

// may refuses what a user is not allowed in a room: to be in it, and to
// publish there where role is Editor.
func (s *store) may(ctx context.Context, user, room string, role Role) error {
	if todoRoom(user) == room && user != "" {
		return nil
	}
	board, ok := strings.CutPrefix(room, roomOf(""))
	if !ok {
		return errRoom()
	}
	has, err := s.role(ctx, board, user)
	if err != nil {
		return err
	}
	if !has.covers(role) {
		return errRoom()
	}
	return nil
}

// serverEvent reports whether clients may not publish an event of this name:
// they would be taken for the board's own.
func serverEvent(name string) bool {
	for _, prefix := range []string{"task_", "list_", "board_", "member_", "user_", "todo:"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// guard has the rooms guarded by the members' table.
func guard(srv *server.Server, s *store) {
	srv.OnJoin(func(ctx context.Context, j *server.Join) error {
		return s.may(ctx, j.Identity.User, j.Room, Viewer)
	})
	srv.OnPublish(func(ctx context.Context, p *server.Publish) error {
		if p.Identity == nil || serverEvent(p.Event.Name) {
			return holdfast.Errorf(holdfast.Forbidden, "This event is the board's own: call the API, which publishes it")
		}
		return s.may(ctx, p.Identity.User, p.Event.Room, Editor)
	})
	// A membership may end after OnJoin has seen it and before the connection
	// is in the room, where putOut would have found it.
	srv.Observe(server.Observer{Joined: func(ctx context.Context, j server.Join) {
		if err := s.may(ctx, j.Identity.User, j.Room, Viewer); err != nil {
			j.Conn.Remove(j.Room, err)
		}
	}})
}

// putOut takes the connections of a user, or of everybody, out of a room. One
// who may be there again meanwhile stays.
func (o *outbox) putOut(ctx context.Context, l letter) error {
	if l.leaver != "" {
		err := o.store.may(ctx, l.leaver, l.room, Viewer)
		if err == nil || holdfast.CodeOf(err) != holdfast.Forbidden {
			return err
		}
	}
	for c := range o.srv.Room(l.room).Conns() {
		if l.leaver == "" || c.Identity().User == l.leaver {
			c.Remove(l.room, holdfast.Code(l.data).New())
		}
	}
	return nil
}
