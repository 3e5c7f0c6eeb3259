package identity_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/identity"
)

// A user signs in, refreshes, and is signed out when his token turns up twice.
func Example() {
	dir, err := os.MkdirTemp("", "holdfast")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx := context.Background()
	p, err := identity.Open(ctx, identity.Config{
		Dir:          dir,
		RefreshGrace: -1, // a lost reply is not forgiven: only so that this is quick
		OnRevoke:     func(r auth.Revocation) { fmt.Println("closing the sockets of a session:", string(r.Code)) },
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = p.Close() }()

	rooms := holdfast.MustRoomList("board-*")
	_, err = p.CreateUser(ctx, identity.NewUser{
		Email: "ann@example.com", Password: "correct horse battery", Name: "Ann",
		Grants: identity.Grants{Rooms: &rooms, Actions: []string{"todo.*"}},
	})
	if err != nil {
		log.Fatal(err)
	}

	login, err := p.SignIn(ctx, identity.SignInRequest{Email: "ann@example.com", Password: "correct horse battery"}, identity.Client{})
	if err != nil {
		log.Fatal(err)
	}
	who, err := p.Authenticate(ctx, auth.Credential{Token: login.AccessToken})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(who.Name, who.Permissions.Rooms, who.Can("todo.write"))

	next, err := p.Refresh(ctx, login.RefreshToken, identity.Client{})
	if err != nil {
		log.Fatal(err)
	}
	_, err = p.Refresh(ctx, login.RefreshToken, identity.Client{}) // it was used: stolen, perhaps
	fmt.Println(string(holdfast.CodeOf(err)))
	_, err = p.Refresh(ctx, next.RefreshToken, identity.Client{})
	fmt.Println(errors.Is(err, holdfast.RefreshReused))
	// Output:
	// Ann ["board-*"] true
	// closing the sockets of a session: SESSION_REVOKED
	// REFRESH_REUSED
	// true
}
