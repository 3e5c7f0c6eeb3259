package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/tokens"
)

type Todo struct {
	ID    int    `json:"id"`
	Title string `json:"title"`
}

func ExampleGet() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer my-token" {
			http.Error(w, `{"error":"Unauthorized","code":"UNAUTHENTICATED"}`, http.StatusUnauthorized)
			return
		}
		json.NewEncoder(w).Encode([]Todo{{1, "write an example"}})
	}))
	defer server.Close()

	c, err := client.New(client.Config{BaseURL: server.URL, Source: tokens.Static("my-token")})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	todos, err := client.Get[[]Todo](context.Background(), c, "/api/todos")
	fmt.Println(todos, err)

	_, err = client.Get[[]Todo](context.Background(), c, "/api/todos", client.NoToken())
	fmt.Println(errors.Is(err, holdfast.Unauthenticated))
	// Output:
	// [{1 write an example}] <nil>
	// true
}

func ExampleSocket() {
	c, err := client.New(client.Config{BaseURL: "http://127.0.0.1:8080", Source: tokens.Static("my-token")})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	sock := c.Socket()

	// Handlers stay over reconnects; register them first.
	client.On(sock, "todo:created", func(ctx context.Context, t Todo) {
		fmt.Println("new:", t.Title)
	})

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := sock.Connect(ctx); err != nil {
		log.Fatal(err) // the server refused for good, or ctx ended
	}
	created, err := client.EmitAck[Todo](ctx, sock, "todo:create", Todo{Title: "call Ann"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(created.ID)
}

func ExampleSocket_Join() {
	var sock *client.Socket // connected
	var last *holdfast.Position

	room, err := sock.Join(context.Background(), "board-7", client.JoinOptions{
		Since: last, // nil: from now on
		OnEvent: func(ctx context.Context, ev *holdfast.Event) {
			fmt.Println(ev.Name, string(ev.Data), ev.Position)
		},
		OnReset: func(ctx context.Context, r client.Reset) {
			fmt.Println("events were missed: load the board anew")
		},
	})
	if errors.Is(err, holdfast.Forbidden) {
		fmt.Println("not for you")
		return
	}
	defer room.Leave()

	client.OnEvent(room, "card:moved", func(ctx context.Context, ev client.Event[Todo]) {
		fmt.Println(ev.From, "moved", ev.Data.Title)
	})
}

func ExampleSocket_Publish() {
	var sock *client.Socket // connected

	position, err := sock.Publish(context.Background(), "board-7", "card:moved", Todo{ID: 3, Title: "call Ann"}, "01J9ZK3VJ4")
	if e, ok := errors.AsType[*holdfast.Error](err); ok {
		fmt.Println(e.Code, e.Message, e.RetryAfter)
		return
	}
	fmt.Println(position.Offset)
}

func ExampleSocket_Changes() {
	var sock *client.Socket

	changes, stop := sock.Changes(8)
	defer stop()
	for change := range changes {
		switch change.State {
		case client.Connected:
			fmt.Println("online")
		case client.Disconnected:
			fmt.Println("offline:", change.Err, "again in", change.RetryIn, "final:", change.Final)
		}
	}
}

func ExampleHandle() {
	var sock *client.Socket

	// Answers what a server asks with socket.emitWithAck("confirm", todo).
	client.Handle(sock, "confirm", func(ctx context.Context, t Todo) (bool, error) {
		if t.ID == 0 {
			return false, holdfast.Errorf(holdfast.InvalidArgument, "id is missing")
		}
		return true, nil
	})
}
