package auth_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// Cookie sessions of Better Auth, exchanged for short-lived tokens.
func ExampleNewBetterAuth() {
	betterAuth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"user":{"id":"u1","name":"Ada","email":"ada@example.org"},"session":{"id":"s1","userId":"u1","createdAt":%q,"expiresAt":%q}}`,
			time.Now().Format(time.RFC3339), time.Now().Add(time.Hour).Format(time.RFC3339))
	}))
	defer betterAuth.Close()

	rooms := holdfast.MustRoomList("todos")
	sessions, err := auth.NewBetterAuth(auth.BetterAuthConfig{URL: betterAuth.URL, DefaultRooms: &rooms})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer sessions.Close()

	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		fmt.Println(err)
		return
	}
	key := auth.SigningKey{ID: "1", Private: private}
	exchange, err := auth.NewExchange(auth.ExchangeConfig{Session: sessions, Key: key})
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := exchange.Token(context.Background(), auth.Credential{
		Header: http.Header{"Cookie": {"better-auth.session_token=…"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	// A server takes the tokens, and sessions where there is no token.
	public, err := key.Public()
	if err != nil {
		fmt.Println(err)
		return
	}
	tokens, err := auth.NewJWT(auth.JWTConfig{Keys: []auth.Key{public}, DefaultRooms: &rooms})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tokens.Close()
	either := auth.BearerOrCookie{Bearer: tokens, Cookie: sessions}
	id, err := either.Authenticate(context.Background(), auth.Credential{Token: answer.AccessToken})
	fmt.Println(id.User, id.Session, id.Permissions.Room("todos"), err)
	// Output: u1 s1 join,publish,presence <nil>
}

// Opaque tokens, which the service that made them is asked about.
func ExampleNewIntrospection() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"active":%t,"sub":"u1"}`, r.FormValue("token") == "good")
	}))
	defer service.Close()

	rooms := holdfast.MustRoomList("lobby")
	tokens, err := auth.NewIntrospection(auth.IntrospectionConfig{
		URL: service.URL, ClientID: "realtime", ClientSecret: auth.Secret("…"), DefaultRooms: &rooms,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer tokens.Close()
	for _, token := range []string{"good", "revoked"} {
		id, err := tokens.Authenticate(context.Background(), auth.Credential{Token: token})
		fmt.Println(id.AsUser().ID, err)
	}
	// Output:
	// u1 <nil>
	//  Unauthorized: invalid token (UNAUTHENTICATED)
}
