package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// everywhere admits a user who may be in every room.
var everywhere = auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
	return &holdfast.Identity{User: "alice", Expires: time.Now().Add(time.Hour),
		Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("**")}}, nil
})

// games stands for what the program knows of its own.
type games struct{}

func (games) Seat(_ context.Context, room, user string) (int, error) {
	if room == "game-7" && user == "alice" {
		return 3, nil
	}
	return 0, fmt.Errorf("no seat for %s", user)
}

func (games) Left(ctx context.Context, room, user string) { log.Printf("%s left %s", user, room) }

type move struct{ From, To string }

// OnJoin decides what permissions can't know, and what others see of who joins.
func ExampleServer_OnJoin() {
	srv, err := server.New(server.Config{Authenticator: everywhere})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown(context.Background())
	var games games

	srv.OnJoin(func(ctx context.Context, j *server.Join) error {
		if !strings.HasPrefix(j.Room, "game-") {
			return nil
		}
		seat, err := games.Seat(ctx, j.Room, j.Identity.User)
		if err != nil {
			return holdfast.Errorf(holdfast.Conflict, "There is no seat left")
		}
		j.Presence, err = json.Marshal(map[string]int{"seat": seat})
		return err
	})
	srv.OnLeave(func(ctx context.Context, l server.Leave) {
		games.Left(ctx, l.Room, l.Conn.Identity().User)
	})
}

// OnPublish refuses, or changes, what clients and backends publish.
func ExampleServer_OnPublish() {
	srv, err := server.New(server.Config{Authenticator: everywhere})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown(context.Background())

	srv.OnPublish(func(ctx context.Context, p *server.Publish) error {
		if bytes.Contains(p.Event.Data, []byte("darn")) {
			return holdfast.Errorf(holdfast.InvalidArgument, "Mind your language")
		}
		p.Event.Data = bytes.ReplaceAll(p.Event.Data, []byte(":)"), []byte("🙂"))
		return nil
	})

	for _, body := range []string{`{"event":"say","data":"darn"}`, `{"event":"say","data":"hello :)"}`} {
		r := httptest.NewRequest("POST", "/api/rooms/lobby/events", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Request-Id", "1")
		w := httptest.NewRecorder()
		srv.ServeHTTP(w, r)
		fmt.Println(w.Code)
	}
	for ev, err := range srv.Room("lobby").History(context.Background(), server.HistoryOptions{}) {
		fmt.Println(ev.From, ev.Name, string(ev.Data), err)
	}
	// Output:
	// 400
	// 200
	// alice say "hello 🙂" <nil>
}

// Observe is for what has to hear of everything.
func ExampleServer_Observe() {
	srv, err := server.New(server.Config{Authenticator: everywhere})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown(context.Background())
	srv.Observe(server.Observer{
		Published: func(_ context.Context, p server.Publish) {
			fmt.Println(p.Event.Room, p.Event.Position.Offset, p.Event.Name)
		},
	})
	if _, err := srv.Publish(context.Background(), "news", "headline", "Nothing was lost"); err != nil {
		fmt.Println(err)
	}
	// Output: news 1 headline
}

// A handler tells the others in a room, and not the one who asked.
func ExampleConn_To() {
	srv, err := server.New(server.Config{Authenticator: everywhere})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown(context.Background())

	server.Handle(srv, "move", func(ctx context.Context, c *server.Conn, in move) (holdfast.Position, error) {
		return c.To("game-7").Publish(ctx, "moved", in) // to all others, from c's user
	})
	server.Handle(srv, "resign", func(ctx context.Context, c *server.Conn, _ struct{}) (holdfast.Position, error) {
		return srv.To("game-7").Except(c).Publish(ctx, "resigned", c.Identity().AsUser())
	})
	http.Handle("POST /games/{game}/end", srv.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for c := range srv.Room("game-" + r.PathValue("game")).Conns() {
			c.Remove("game-"+r.PathValue("game"), holdfast.Errorf(holdfast.NotFound, "The game is over"))
		}
	})))
}

// A room's history, and who is in it.
func ExampleRoom() {
	srv, err := server.New(server.Config{Authenticator: everywhere})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Shutdown(context.Background())
	ctx := context.Background()
	room := srv.Room("todos")
	first, err := room.Publish(ctx, "todo:created", Todo{ID: 1, Title: "write"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for id := 2; id < 4; id++ {
		if _, err := room.Publish(ctx, "todo:created", Todo{ID: id, Title: "test"}); err != nil {
			fmt.Println(err)
			return
		}
	}

	for ev, err := range room.History(ctx, server.HistoryOptions{Since: &first}) {
		if err != nil {
			fmt.Println(err) // NOT_FOUND: not kept any more; begin again without Since
			return
		}
		fmt.Println(ev.Position.Offset, ev.Name, string(ev.Data))
	}
	members, err := room.Members(ctx)
	fmt.Println(len(members), err)
	// Output:
	// 2 todo:created {"id":2,"title":"test"}
	// 3 todo:created {"id":3,"title":"test"}
	// 0 <nil>
}
