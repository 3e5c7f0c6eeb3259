package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/tokens"
)

func ExampleCSRF() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/auth/csrf" {
			json.NewEncoder(w).Encode(map[string]string{"csrfToken": "abc"})
			return
		}
		fmt.Println(r.Method, r.Header.Get("X-CSRF-Token"))
	}))
	defer server.Close()

	jar, err := cookiejar.New(nil)
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.New(client.Config{
		BaseURL:    server.URL,
		HTTPClient: &http.Client{Jar: jar}, // the session is a cookie
		CSRF:       &client.CSRF{Path: "/api/auth/csrf"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := client.Post[struct{}](context.Background(), c, "/api/todos", Todo{Title: "call Ann"}); err != nil {
		log.Fatal(err)
	}
	// Output: POST abc
}

func ExampleInterceptor() {
	c, err := client.New(client.Config{
		BaseURL: "https://rt.example.com",
		Interceptors: []client.Interceptor{{
			Request: func(req *http.Request) error {
				req.Header.Set("X-Trace", "7")
				return nil
			},
			Event: func(ctx context.Context, m *client.Message) error {
				log.Print("got ", m.Event)
				return nil
			},
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
}

// What is emitted while there is no connection is kept on the disk.
func ExampleSocketConfig_queue() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	q, err := queue.Open(filepath.Join(dir, "queue"), queue.Limits{Items: 2})
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close()

	c, err := client.New(client.Config{
		BaseURL: "http://127.0.0.1:8080",
		Socket:  client.SocketConfig{Queue: q},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	sock := c.Socket()
	sock.OnDead(func(ctx context.Context, d queue.Dead) {
		log.Printf("%s is refused for good: %s", d.Item.Event, d.Message)
	})

	ctx := context.Background()
	for range 3 {
		err = sock.Emit(ctx, "todo:create", Todo{Title: "call Ann"})
		fmt.Println(err, errors.Is(err, client.ErrQueueFull))
	}
	err = sock.Emit(client.Volatile(ctx), "pointer", 1, 2) // worth nothing later
	fmt.Println(err)
	fmt.Println(len(q.Items()), "wait")
	// Output:
	// <nil> false
	// <nil> false
	// client: queue: full true
	// client: not connected
	// 2 wait
}

func ExampleRoom_OnPresence() {
	var sock *client.Socket // connected

	ctx := context.Background()
	users := map[string]client.Present{}
	room, err := sock.Join(ctx, "board-7", client.JoinOptions{
		Presence: map[string]string{"color": "teal"}, // what others see of this user
		OnPresence: func(ctx context.Context, e client.PresenceEvent) {
			switch e.Kind {
			case client.PresenceSync:
				clear(users)
				for _, u := range e.Users {
					users[u.ID] = u
				}
			case client.PresenceLeave:
				delete(users, e.User.ID)
			default:
				users[e.User.ID] = e.User
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	room.OnTyping(func(ctx context.Context, t client.Typing) { fmt.Println(t.User.Name, "types:", t.Active) })
	_ = room.Typing(ctx) // at each key
}

func ExampleOnSignal() {
	var room *client.Room // joined

	type point struct{ X, Y int }
	client.OnSignal(room, "pointer", func(ctx context.Context, s client.Signal[point]) {
		fmt.Println(s.From, "points at", s.Data)
	})
	err := room.Signal(context.Background(), "pointer", point{3, 4}, "")
	if errors.Is(err, holdfast.RateLimited) {
		return // the next one will do
	}
}

func ExampleClient_Listen() {
	c, err := client.New(client.Config{BaseURL: "https://rt.example.com", Source: tokens.Static("my-token")})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	cursor := "" // from the last time
	err = c.Listen(ctx, []string{"board-7", "board-8"}, client.ListenOptions{
		Since:    cursor,
		OnEvent:  func(ctx context.Context, ev *holdfast.Event) { fmt.Println(ev.Room, ev.Name, string(ev.Data)) },
		OnCursor: func(ctx context.Context, c string) { cursor = c },
	})
	fmt.Println(err)
}

func ExampleSocket_SetAuth() {
	var sock *client.Socket

	// A server that admits by an API key of the application.
	sock.SetAuth(func(ctx context.Context, t tokens.Token) (any, error) {
		return map[string]string{"apiKey": "k-2"}, nil
	})
}
