package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
)

func ExampleError() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "r7")
		w.Header().Set("Retry-After", "30")
		http.Error(w, `{"error":"Slowly!","code":"RATE_LIMITED"}`, http.StatusTooManyRequests)
	}))
	defer server.Close()
	c, err := client.New(client.Config{BaseURL: server.URL})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	_, err = client.Get[[]Todo](context.Background(), c, "/api/todos")
	refusal, ok := errors.AsType[*client.Error](err)
	fmt.Println(ok, refusal.Status, refusal.RequestID, refusal.Err.Message, refusal.Err.RetryAfter)
	fmt.Println(errors.Is(err, holdfast.RateLimited))
	// Output:
	// true 429 r7 Slowly! 30s
	// true
}

// Options change one call.
func ExampleOption() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%q", r.URL.RawQuery+" "+r.Header.Get("X-Trace"))
	}))
	defer server.Close()
	c, err := client.New(client.Config{BaseURL: server.URL})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	options := []client.Option{client.Query(map[string][]string{"done": {"0"}}), client.Header("X-Trace", "7"), client.NoToken()}
	fmt.Println(client.Get[string](context.Background(), c, "/api/todos", options...))
	// Output: done=0 7 <nil>
}

// One client has a socket for each namespace, with a connection of its own.
func ExampleClient() {
	c, err := client.New(client.Config{BaseURL: "https://rt.example.com/api/v1"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	todos, err := c.URL("/todos?done=0")
	fmt.Println(todos, err)
	fmt.Println(c.Socket().Namespace(), c.Namespace("admin").Namespace(), c.Socket().State())
	// Output:
	// https://rt.example.com/api/v1/todos?done=0 <nil>
	// / /admin disconnected
}

func ExampleEmitAck() {
	var sock *client.Socket // connected

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // nobody waits for the ack any more
	made, err := client.EmitAck[Todo](ctx, sock, "todo:create", Todo{Title: "call Bob"})
	switch {
	case errors.Is(err, client.ErrConnectionLost):
		fmt.Println("it may have been made or not; with a queue it is sent again, once")
	case err != nil:
		fmt.Println("refused:", err)
	default:
		fmt.Println(made.ID)
	}
}

// Handlers are of a Target: of a socket for all events, of a room for its own.
func ExampleTarget() {
	var sock *client.Socket
	var room *client.Room // joined

	for _, target := range []client.Target{sock, room} {
		off := client.On(target, "todo:created", func(ctx context.Context, t Todo) { fmt.Println(t.Title) })
		defer off()
		client.Once(target, "ready", func(ctx context.Context, _ struct{}) {})
	}
	client.Off(sock, "todo:created") // all of them
}

// What a Holdfast server says about the connection itself.
func ExampleSocket_Session() {
	var sock *client.Socket

	client.On(sock, client.EventSession, func(ctx context.Context, s client.Session) {
		fmt.Println("connected as", s.User.ID, "for", s.ExpiresIn, "s")
	})
	client.On(sock, client.EventExpiring, func(ctx context.Context, e client.Expiring) {
		fmt.Println("a newer token is fetched because of", e.Reason)
	})
	client.On(sock, client.EventClosing, func(ctx context.Context, c client.Closing) {
		fmt.Println("about to close:", c.Code, c.Message)
	})
}

func ExampleRoom_OnTyping() {
	var room *client.Room // joined

	room.OnTyping(func(ctx context.Context, t client.Typing) {
		if t.Active {
			fmt.Println(t.User.Name, "is typing")
		}
	})
	_ = room.Typing(context.Background()) // at each key
}
