package auth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// A secret is as long as its hash: openssl rand -base64 32 makes one.
const secret = "n0t-a-secret-but-long-enough-for-HS256"

func ExampleNewJWT() {
	rooms := holdfast.MustRoomList("lobby") // for tokens that don't say
	verifier, err := auth.NewJWT(auth.JWTConfig{
		Secret:       auth.Secret(secret),
		Issuer:       "https://accounts.example.org",
		DefaultRooms: &rooms,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer verifier.Close()

	token, err := auth.Mint(auth.SigningKey{Secret: auth.Secret(secret)}, auth.Claims{
		User:   "ada",
		Roles:  []string{"author"},
		Issuer: "https://accounts.example.org",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	id, err := verifier.Authenticate(context.Background(), auth.Credential{
		Header: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(id.User, id.Roles, id.Permissions.Room("lobby"))

	_, err = verifier.Verify(context.Background(), token+"x")
	fmt.Println(err)
	// Output:
	// ada [author] join,publish,presence
	// Unauthorized: invalid token (UNAUTHENTICATED)
}

// Public keys that somebody else's sign-in service publishes. While they
// can't be fetched at all, tokens are refused in a way that clients try again.
func ExampleNewJWT_jwks() {
	verifier, err := auth.NewJWT(auth.JWTConfig{
		JWKSURL:  "https://accounts.example.org/.well-known/jwks.json",
		Audience: []string{"holdfast"},
	})
	fmt.Println(verifier == nil)
	message, _, _ := strings.Cut(err.Error(), ":")
	fmt.Println(message, "needs DefaultRooms:", strings.Contains(err.Error(), "DefaultRooms"))
	// Output:
	// true
	// auth needs DefaultRooms: true
}

// An application that knows its users by itself.
func ExampleFunc() {
	tickets := map[string]string{"t-123": "ada"}
	authenticator := auth.Func(func(_ context.Context, c auth.Credential) (*holdfast.Identity, error) {
		var payload struct{ Ticket string }
		if err := json.Unmarshal(c.Payload, &payload); err != nil {
			return nil, holdfast.Unauthenticated.New()
		}
		user, ok := tickets[payload.Ticket]
		if !ok {
			return nil, holdfast.Errorf(holdfast.Unauthenticated, "Unauthorized: unknown ticket")
		}
		return &holdfast.Identity{
			User:        user,
			Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("user-" + user + "-*")},
		}, nil
	})
	id, err := authenticator.Authenticate(context.Background(), auth.Credential{Payload: json.RawMessage(`{"ticket":"t-123"}`)})
	fmt.Println(id.User, err)
	_, err = authenticator.Authenticate(context.Background(), auth.Credential{Payload: json.RawMessage(`{"ticket":"t-9"}`)})
	fmt.Println(err)
	// Output:
	// ada <nil>
	// Unauthorized: unknown ticket (UNAUTHENTICATED)
}

func ExampleNewAPIKey() {
	key, record := auth.NewAPIKey(auth.ScopePublish, holdfast.MustRoomList("board-*"))
	// The key goes to the backend, and its record into a file or a database.
	stored, err := json.Marshal(record)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(key), strings.Contains(string(stored), key))

	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Keys: []auth.APIKey{record}})
	if err != nil {
		fmt.Println(err)
		return
	}
	who, err := keys.Verify(context.Background(), key)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(who.AllowRoom(auth.ScopePublish, "board-7"))
	fmt.Println(errors.Is(who.Allow(auth.ScopeClose), holdfast.Forbidden))
	// Output:
	// 73 false
	// <nil>
	// true
}

func ExampleSecret() {
	s := auth.Secret("correct horse battery staple")
	fmt.Printf("%v %q %x\n", s, s, s)
	fmt.Println(len(s))
	// Output:
	// [redacted] [redacted] [redacted]
	// 28
}
