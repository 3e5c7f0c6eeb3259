package holdfast_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/holdfast-dev/holdfast"
)

func Example_refusals() {
	err := error(holdfast.Errorf(holdfast.Forbidden, "you may not join %s", "board-7"))

	if errors.Is(err, holdfast.Forbidden) {
		info := holdfast.CodeOf(err).Info()
		fmt.Println(err)
		fmt.Println(info.HTTP, info.Close, info.Action)
	}
	// Output:
	// you may not join board-7 (FORBIDDEN)
	// 403 4003 stop
}

func ExampleAsError() {
	// What is not a refusal already is shown as an internal error, and its
	// cause is kept for the log.
	e := holdfast.AsError(errors.New("dial db.internal: connection refused"))
	fmt.Println(string(e.Code), "-", e.Message)
	fmt.Println("log:", e.Err)
	// Output:
	// INTERNAL - Internal error
	// log: dial db.internal: connection refused
}

func ExampleRoomPermissions() {
	var rooms holdfast.RoomPermissions
	err := json.Unmarshal([]byte(`{
		"document-*":   ["join"],
		"document-7":   ["join", "publish", "presence"],
		"!document-13": []
	}`), &rooms)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, room := range []string{"document-1", "document-7", "document-13", "board-1"} {
		fmt.Printf("%s: %q\n", room, rooms.Verbs(room))
	}
	// Output:
	// document-1: "join"
	// document-7: "join,publish,presence"
	// document-13: ""
	// board-1: ""
}

func ExampleRoomList() {
	rooms, err := holdfast.RoomList("org-1:**", "!org-1:secret-*")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(rooms.Verbs("org-1:team:board").Has(holdfast.VerbPublish))
	fmt.Println(rooms.Verbs("org-1:secret-board").Has(holdfast.VerbJoin))
	// Output:
	// true
	// false
}

func ExamplePermissions_Can() {
	p := holdfast.Permissions{Actions: []string{"todo.*.read", "admin.*"}}
	fmt.Println(p.Can("todo.7.read"), p.Can("todo.7.write"), p.Can("admin.users.delete"), p.Can("admin"))
	// Output: true false true false
}

func ExampleIdentityFrom() {
	handle := func(ctx context.Context) {
		id, ok := holdfast.IdentityFrom(ctx)
		if !ok {
			fmt.Println("nobody")
			return
		}
		fmt.Println(id.User, id.HasRole("admin"), id.Can("todo.write"))
	}
	handle(context.Background())
	handle(holdfast.WithIdentity(context.Background(), &holdfast.Identity{
		User:        "u1",
		Roles:       []string{"admin"},
		Permissions: holdfast.Permissions{Actions: []string{"todo.write"}},
	}))
	// Output:
	// nobody
	// u1 true true
}

func ExampleCheckRoom() {
	fmt.Println(holdfast.CheckRoom("org-1:board-7"))
	fmt.Println(holdfast.CheckRoom("all-*"))
	// Output:
	// <nil>
	// room name can't contain '*' (INVALID_ARGUMENT)
}
