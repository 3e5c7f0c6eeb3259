package holdfasttest_test

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/holdfasttest"
	"github.com/holdfast-dev/holdfast/tokens"
)

// In a test, New(t, …) takes the place of NewServer and Close.
func Example() {
	srv, err := holdfasttest.NewServer(holdfasttest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.Handle("GET /api/todos", srv.Require(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `["write a test"]`)
	})))

	// The application under test: it signs in once and stays so.
	ctx := context.Background()
	e := srv.Endpoint()
	m, err := tokens.NewManager(tokens.Config{Refresh: e.Refresh, SignOut: e.SignOut})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	_ = m.SetTokens(ctx, srv.SignIn("ann"))
	c, err := client.New(client.Config{BaseURL: srv.URL, HTTPClient: srv.Client(), Source: m})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()

	// What goes wrong: the token has expired, and the answer of the refresh is
	// lost on its way.
	srv.Expire()
	srv.DropReplies(holdfasttest.Refresh, 1)
	_, err = client.Get[[]string](ctx, c, "/api/todos")
	fmt.Println("first try fails:", err != nil, "- still signed in:", m.SignedIn())

	_ = m.Refresh(ctx) // a second later it would have done so itself
	todos, err := client.Get[[]string](ctx, c, "/api/todos")
	fmt.Println(todos, err, "after", srv.Refreshes(), "refreshes")
	// Output:
	// first try fails: true - still signed in: true
	// [write a test] <nil> after 2 refreshes
}

// A server that is busy, once.
func ExampleServer_Fail() {
	srv, err := holdfasttest.NewServer(holdfasttest.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.Handle("GET /api/todos", http.NotFoundHandler())
	srv.Fail("/api/todos", holdfasttest.Failure{Code: holdfast.RateLimited, RetryAfter: time.Second, Times: 1})

	c, err := client.New(client.Config{BaseURL: srv.URL, HTTPClient: srv.Client()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	for range 2 {
		_, err = client.Get[[]string](context.Background(), c, "/api/todos")
		fmt.Println(holdfast.CodeOf(err))
	}
	for _, request := range srv.Log() {
		fmt.Println(request.Method, request.Path)
	}
	// Output:
	// holdfast: RATE_LIMITED
	// holdfast: NOT_FOUND
	// GET /api/todos
	// GET /api/todos
}
