package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
)

// anyone admits everybody under the name that is in the auth payload. A real
// program verifies something: auth.NewJWT does.
var anyone = auth.Func(func(_ context.Context, c auth.Credential) (*holdfast.Identity, error) {
	return &holdfast.Identity{User: "alice", Expires: time.Now().Add(time.Hour)}, nil
})

type NewTodo struct {
	Title string `json:"title"`
}

type Todo struct {
	ID    int    `json:"id"`
	Title string `json:"title"`
}

// A typed handler answers what clients emit, and tells a room about it.
func ExampleHandle() {
	srv, err := server.New(server.Config{Authenticator: anyone})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown(context.Background())

	server.Handle(srv, "todo:create", func(ctx context.Context, c *server.Conn, in NewTodo) (Todo, error) {
		if in.Title == "" {
			return Todo{}, holdfast.Errorf(holdfast.InvalidArgument, "a todo needs a title")
		}
		todo := Todo{ID: 1, Title: in.Title}
		_, err := srv.Publish(ctx, "todos", "todo:created", todo)
		return todo, err
	})

	mux := http.NewServeMux()
	mux.Handle("/", srv) // /socket.io/, /api, /healthz, /readyz
	mux.Handle("GET /me", srv.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := holdfast.IdentityFrom(r.Context())
		json.NewEncoder(w).Encode(id.AsUser())
	})))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/me", nil))
	fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	// Output: 200 {"id":"alice"}
}

// A route of one's own refuses as the server's do, so that clients know what to do.
func ExampleWriteError() {
	lights := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		server.WriteError(w, r, &holdfast.Error{Code: holdfast.RateLimited, Message: "The lights were switched a moment ago", RetryAfter: 5 * time.Second})
	})

	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/lights", nil)
	r.Header.Set("X-Request-Id", "r1")
	lights.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Retry-After"), strings.TrimSpace(w.Body.String()))
	// Output: 429 5 {"error":"The lights were switched a moment ago","code":"RATE_LIMITED","requestId":"r1","retryAfter":5}
}

// orders stands for a table of the application's own database, in which user
// and event id are a unique key.
type orders struct {
	mu   sync.Mutex
	rows map[[2]string]Receipt
}

type Order struct {
	Item string `json:"item"`
}

type Receipt struct {
	Number int `json:"number"`
}

// place inserts an order, or returns what was inserted for the same event: in
// SQL, INSERT … ON CONFLICT (user_id, event_id) DO NOTHING, and a SELECT where
// nothing was inserted.
func (o *orders) place(user, event string, _ Order) Receipt {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := [2]string{user, event}
	receipt, ok := o.rows[key]
	if !ok || event == "" {
		receipt = Receipt{Number: len(o.rows) + 1}
		o.rows[key] = receipt
	}
	return receipt
}

// An event that the client sends again, since it got no ack, has one effect:
// Holdfast answers it with the first ack. Where even a process that is killed
// between effect and ack must not have it twice, the handler settles the id in
// the transaction of its effect.
func ExampleEventID() {
	srv, err := server.New(server.Config{Authenticator: anyone})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown(context.Background())
	table := &orders{rows: make(map[[2]string]Receipt)}
	server.Handle(srv, "order:place", func(ctx context.Context, c *server.Conn, in Order) (Receipt, error) {
		return table.place(c.Identity().User, server.EventID(ctx), in), nil
	})

	// Another process, which died before it could answer, had placed it.
	first := table.place("alice", "01KDVXZ8Q4M7W9T3B5N6C2R1SA", Order{Item: "tea"})
	again := table.place("alice", "01KDVXZ8Q4M7W9T3B5N6C2R1SA", Order{Item: "tea"})
	fmt.Println(first == again, len(table.rows))
	// Output: true 1
}

// A raw handler takes and answers any arguments, binary ones too.
func ExampleHandleRaw() {
	srv, err := server.New(server.Config{Authenticator: anyone})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown(context.Background())
	server.HandleRaw(srv, "thumbnail", func(ctx context.Context, c *server.Conn, args socketio.Args) (socketio.Args, error) {
		image, ok := args.Bytes(0)
		if !ok {
			return socketio.Args{}, holdfast.Errorf(holdfast.InvalidArgument, "thumbnail needs an image")
		}
		return socketio.NewArgs(image[:min(len(image), 16)], len(image))
	})
}

// OnConnect looks at each connection before its client is connected.
func ExampleNamespace_OnConnect() {
	srv, err := server.New(server.Config{Authenticator: anyone})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown(context.Background())
	srv.Of("/admin").OnConnect(func(ctx context.Context, c *server.Conn) error {
		if !c.Identity().HasRole("admin") {
			return holdfast.Forbidden.New()
		}
		_, err := c.Join(ctx, "audit")
		return err
	})
}

// A backend publishes to a room with no connection at all.
func ExampleServer_Publish() {
	srv, err := server.New(server.Config{Authenticator: anyone})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown(context.Background())
	position, err := srv.Publish(context.Background(), "todos", "todo:created", Todo{ID: 1, Title: "write"})
	fmt.Println(position.Offset, err)
	// Output: 1 <nil>
}

// EngineIO is for a protocol of one's own on Engine.IO connections.
func ExampleEngineIO() {
	handler, err := server.EngineIO(server.EngineIOConfig{
		OnOpen: func(c *server.EngineIOConn) (server.EngineIOReceiver, error) { return echo{c}, nil },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer handler.Shutdown(context.Background())
	http.Handle("/engine.io/", handler)
}

type echo struct{ conn *server.EngineIOConn }

func (e echo) Message(data []byte, binary bool) {
	if binary {
		e.conn.SendBinary(append([]byte(nil), data...))
		return
	}
	e.conn.SendText(data)
}

func (e echo) Closed(error) {}

// Metrics go to a registry of the program's, which is served where only
// operators can read it: never beside the server's own routes.
func ExampleConfig_metrics() {
	registry := prometheus.NewRegistry()
	srv, err := server.New(server.Config{
		Authenticator: anyone,
		Metrics:       registry,
		// Whoever is slow to read cursors misses some, and stays.
		RoomPolicies: []server.RoomPolicy{{Rooms: "cursor-*", Overflow: hub.OverflowLatest, Key: "id"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown(context.Background())

	admin := http.NewServeMux() // for a listener on 127.0.0.1
	admin.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	w := httptest.NewRecorder()
	admin.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if strings.HasPrefix(line, "holdfast_frames_dropped_total") {
			fmt.Print(line)
		}
	}
	// Output:
	// holdfast_frames_dropped_total{policy="drop-oldest"} 0
	// holdfast_frames_dropped_total{policy="latest"} 0
}
