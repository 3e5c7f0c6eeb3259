package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/server"
)

func TestRoomPolicies(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy server.RoomPolicy
		want   string // of the error; "" for none
	}{
		{"close", server.RoomPolicy{Rooms: "a-*"}, ""},
		{"drop-oldest", server.RoomPolicy{Rooms: "**", Overflow: hub.OverflowDropOldest}, ""},
		{"latest", server.RoomPolicy{Rooms: "a", Overflow: hub.OverflowLatest, Key: "id"}, ""},
		{"no pattern", server.RoomPolicy{Overflow: hub.OverflowLatest}, "a room pattern is empty"},
		{"denial", server.RoomPolicy{Rooms: "!a"}, "excludes rooms"},
		{"key without latest", server.RoomPolicy{Rooms: "a", Overflow: hub.OverflowDropOldest, Key: "id"}, "only latest uses"},
		{"unknown", server.RoomPolicy{Rooms: "a", Overflow: 7}, "no policy 7"},
	} {
		srv, err := server.New(server.Config{Authenticator: anyone, RoomPolicies: []server.RoomPolicy{c.policy}})
		switch {
		case err == nil:
			if srv.Shutdown(t.Context()); c.want != "" {
				t.Errorf("%s: no error, want %q", c.name, c.want)
			}
		case c.want == "" || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "Config.RoomPolicies") || holdfast.CodeOf(err) != holdfast.InvalidArgument:
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := server.New(server.Config{Authenticator: anyone, RoomPolicies: make([]server.RoomPolicy, 257)}); err == nil {
		t.Error("took 257 policies")
	}
}

// policyTests are policies of rooms whose first word says which it is.
var policyTests = []server.RoomPolicy{
	{Rooms: "latest-*", Overflow: hub.OverflowLatest, Key: "id"},
	{Rooms: "drop-*", Overflow: hub.OverflowDropOldest},
	{Rooms: "drop-not", Overflow: hub.OverflowLatest}, // the first that matches counts
}

// listenTCP serves w on a TCP port as well, and returns how to get there.
func (w *world) listenTCP() network {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	httpServer := &http.Server{Handler: w.srv}
	done := make(chan struct{})
	go func() { defer close(done); httpServer.Serve(narrowListener{listener}) }()
	w.t.Cleanup(func() { httpServer.Close(); <-done })
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", listener.Addr().String())
	}
}

// narrowListener has the system hold little of what is sent, so that a peer who
// does not read is felt soon.
type narrowListener struct{ net.Listener }

func (l narrowListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		err = conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	}
	return conn, err
}

// dialBy opens a WebSocket at path over a network.
func (w *world) dialBy(over network, path string) *peer {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	w.t.Cleanup(cancel)
	client := &http.Client{Transport: &http.Transport{DialContext: over, DisableKeepAlives: true}}
	header := http.Header{"Authorization": {"Bearer " + token(w.t, "alice", time.Hour)}}
	conn, _, err := websocket.Dial(ctx, "ws://holdfast.test"+path, &websocket.DialOptions{HTTPClient: client, HTTPHeader: header})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.CloseNow() })
	return &peer{t: w.t, conn: conn, ctx: ctx}
}

// roomEvent is an event as the plain WebSocket has it.
type roomEvent struct {
	Type, Room string
	Offset     uint64
	Data       struct{ ID, N int }
}

// network is how to get to a server.
type network func(ctx context.Context, network, addr string) (net.Conn, error)

// slowMember is a member of rooms that reads when next is called, and stays says
// that it was not cut off.
type slowMember struct {
	next  func() string
	stays func(rooms ...string)
}

// slowMembers are the ways of joining with a queue of the server's that a slow
// reader fills, and with events in the form of docs/protocol.md §5.
func slowMembers() map[string]func(w *world, over network, rooms ...string) slowMember {
	return map[string]func(w *world, over network, rooms ...string) slowMember{"ws": slowPlain, "sse": slowStream}
}

func slowPlain(w *world, over network, rooms ...string) slowMember {
	p := w.dialBy(over, "/ws")
	p.want(`{"type":"authenticated"`)
	for _, room := range rooms {
		p.send(`{"type":"join","ref":1,"room":"` + room + `"}`)
		p.want(`{"type":"ok","ref":1`)
	}
	return slowMember{p.recv, func(...string) {
		p.send(`{"type":"ping","ref":2}`)
		p.want(`{"type":"pong"`)
	}}
}

// slowStream resumes at the end with its last cursor: what it missed by a
// room's policy does not come again.
func slowStream(w *world, over network, rooms ...string) slowMember {
	open := func(header ...string) *stream {
		client := &http.Client{Transport: &http.Transport{DialContext: over, DisableKeepAlives: true}}
		s, err := w.tryListen(client, roomsQuery(rooms), append(header, "Authorization", "Bearer "+token(w.t, "alice", time.Hour))...)
		if err != nil {
			w.t.Fatal(err)
		}
		s.want("connected", `{"type":"connected"`)
		return s
	}
	s, cursor := open(), ""
	for _, room := range rooms { // it joins behind its first event; a replay would be whole
		for in := 0; in == 0; <-time.After(time.Millisecond) {
			for range w.srv.Room(room).Conns() {
				in++
			}
		}
	}
	next := func() string {
		ev, err := s.in.Next()
		if err != nil {
			w.t.Fatal(err)
		}
		cursor = ev.ID
		return ev.Data
	}
	return slowMember{next, func(rooms ...string) {
		for _, room := range rooms {
			w.publish(room, "more", nil)
			if text := next(); !strings.Contains(text, `"event":"more"`) {
				w.t.Errorf("got %.200s", text)
			}
		}
		s.close()
		at := w.publish(rooms[0], "last", nil)
		open("Last-Event-ID", cursor).want("last", eventJSON(rooms[0], "last", "null", at))
	}}
}

// A member who reads slowly misses events of a room by its policy, in order and
// with the newest to the end; the counters tell how many. Its other rooms lose
// nothing, and it stays.
func TestSlowMemberByPolicy(t *testing.T) {
	for name, join := range slowMembers() {
		t.Run(name, func(t *testing.T) { testSlowMember(t, join) })
	}
}

func testSlowMember(t *testing.T, join func(w *world, over network, rooms ...string) slowMember) {
	for _, overTCP := range []bool{false, true} {
		for _, c := range []struct{ room, policy string }{{"latest-1", "latest"}, {"drop-not", "drop-oldest"}} {
			t.Run(fmt.Sprintf("%s/tcp=%v", c.policy, overTCP), func(t *testing.T) {
				registry := prometheus.NewRegistry()
				w := newWorld(t, server.Config{RoomPolicies: policyTests, Metrics: registry, QueueBytes: 100_000})
				over := network(w.net.DialContext)
				if overTCP {
					over = w.listenTCP()
				}
				m := join(w, over, c.room, "chat")
				publish := func(room string, id, n int) {
					data := map[string]any{"id": id, "n": n, "pad": strings.Repeat("x", 1000)}
					if _, err := w.srv.Publish(t.Context(), room, "move", data); err != nil {
						t.Fatal(err)
					}
				}
				dropped := func() int { return int(scrape(t, registry)[`holdfast_frames_dropped_total{policy="`+c.policy+`"}`]) }
				published := 0
				waiting := func() float64 { return scrape(t, registry)["holdfast_queue_bytes"] }
				for ; dropped() < 200 || waiting() == 0; published += 50 { // nobody reads
					if published > 100_000 {
						t.Fatalf("%d are dropped, %v bytes wait", dropped(), waiting())
					}
					publish("chat", 0, published)
					for i := range 50 {
						publish(c.room, (published+i)%10, published+i)
					}
				}
				if got := waiting(); got > 100_000 {
					t.Errorf("%v bytes are queued", got)
				}
				publish("chat", 0, -1)

				got, chats, last := 0, 0, map[string]uint64{}
				newest := map[int]int{}
				for {
					var ev roomEvent
					if err := json.Unmarshal([]byte(m.next()), &ev); err != nil || ev.Type != "event" {
						t.Fatalf("%+v, %v", ev, err)
					}
					if ev.Offset <= last[ev.Room] {
						t.Fatalf("%s: offset %d after %d", ev.Room, ev.Offset, last[ev.Room])
					}
					last[ev.Room] = ev.Offset
					if ev.Room == "chat" {
						chats++
						if ev.Data.N < 0 {
							break
						}
						continue
					}
					got++
					newest[ev.Data.ID] = ev.Data.N
				}
				if got+dropped() != published {
					t.Errorf("%d came and %d were dropped, of %d", got, dropped(), published)
				}
				if want := published/50 + 1; chats != want {
					t.Errorf("%d events of the other room, want %d", chats, want)
				}
				for id := range 10 {
					if want := published - 10 + id; newest[id] != want {
						t.Errorf("the newest of %d is %d, want %d", id, newest[id], want)
					}
				}
				m.stays(c.room, "chat")
			})
		}
	}
}

// A member who reads slowly is closed where no policy says otherwise, which is
// counted.
func TestSlowMemberIsClosed(t *testing.T) {
	for _, overTCP := range []bool{false, true} {
		t.Run(fmt.Sprintf("tcp=%v", overTCP), func(t *testing.T) {
			registry := prometheus.NewRegistry()
			w := newWorld(t, server.Config{RoomPolicies: policyTests, Metrics: registry, QueueBytes: 100_000})
			over := network(w.net.DialContext)
			if overTCP {
				over = w.listenTCP()
			}
			p := w.dialBy(over, "/ws")
			p.want(`{"type":"authenticated"`)
			p.send(`{"type":"join","ref":1,"room":"latest"}`) // which is not latest-*
			p.want(`{"type":"ok","ref":1`)
			const closed = `holdfast_connections_closed_total{code="SLOW_CONSUMER"}`
			if _, ok := scrape(t, registry)[closed]; !ok {
				t.Error("the counter is not there before the first")
			}
			for i := 0; scrape(t, registry)[closed] == 0; i++ {
				if i > 10_000 {
					t.Fatal("nobody is closed")
				}
				if _, err := w.srv.Publish(t.Context(), "latest", "move", strings.Repeat("x", 10_000)); err != nil {
					t.Fatal(err)
				}
			}
			for err := error(nil); err == nil; {
				_, _, err = p.conn.Read(p.ctx)
				if closed := new(websocket.CloseError); err != nil && (!errors.As(err, closed) || closed.Code != 4009) {
					t.Errorf("ended with %v", err)
				}
			}
			if got := scrape(t, registry); got[`holdfast_frames_dropped_total{policy="latest"}`] != 0 {
				t.Error("events were dropped")
			}
		})
	}
}

// What is sent before the client is connected is kept by the same policies.
func TestSlowMemberBeforeConnect(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{RoomPolicies: policyTests, QueueBytes: 10_000})
		w.srv.OnConnect(func(ctx context.Context, c *server.Conn) error {
			if _, err := c.Join(ctx, "latest-1"); err != nil {
				return err
			}
			for i := range 200 {
				data := map[string]any{"id": i % 2, "n": i, "pad": strings.Repeat("x", 1000)}
				if _, err := w.srv.Publish(ctx, "latest-1", "move", data); err != nil {
					return err
				}
			}
			return nil
		})
		p := w.dial()
		p.send(`40{"token":"` + token(t, "alice", time.Hour) + `"}`)
		p.want(`40{"sid":"`)
		p.want(`42["auth:session"`)
		p.want(`42["move",{"id":0,"n":198,`)
		p.want(`42["move",{"id":1,"n":199,`)
		p.quiet()
	})
}

// A session that is polled seldom misses events by the room's policy as well,
// and stays.
func TestSlowPollerByPolicy(t *testing.T) {
	in(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		w := newWorld(t, server.Config{RoomPolicies: policyTests, Metrics: registry, QueueBytes: 10_000})
		const path = "/socket.io/?EIO=4&transport=polling"
		_, _, hello := w.request("GET", path, "")
		var handshake struct{ SID string }
		if err := json.Unmarshal([]byte(strings.TrimPrefix(hello, "0")), &handshake); err != nil {
			t.Fatal(err)
		}
		session := path + "&sid=" + handshake.SID
		post := func(packet string) {
			t.Helper()
			if status, _, body := w.request("POST", session, packet, "Content-Type", "text/plain"); status != 200 {
				t.Fatalf("%d %s", status, body)
			}
		}
		poll := func() string {
			t.Helper()
			status, _, body := w.request("GET", session, "")
			if status != 200 {
				t.Fatalf("%d %s", status, body)
			}
			return body
		}
		post(`40{"token":"` + token(t, "alice", time.Hour) + `"}`)
		for got := ""; !strings.Contains(got, "auth:session"); {
			got += poll()
		}
		post(`421["room:join",{"room":"drop-1"}]` + "\x1e" + `422["room:join",{"room":"chat"}]`)
		for got := ""; strings.Count(got, `{"ok":true`) < 2; {
			got += poll()
		}
		for i := range 100 {
			if _, err := w.srv.Publish(t.Context(), "drop-1", "move", map[string]any{"n": i, "pad": strings.Repeat("x", 1000)}); err != nil {
				t.Fatal(err)
			}
			if i == 50 {
				if _, err := w.srv.Publish(t.Context(), "chat", "said", "hello"); err != nil {
					t.Fatal(err)
				}
			}
		}
		got := poll()
		n := strings.Count(got, `"move"`)
		if n < 2 || n > 10 || !strings.Contains(got, `{"n":99,`) || strings.Contains(got, `{"n":1,`) {
			t.Errorf("%d events: %.300s", n, got)
		}
		if !strings.Contains(got, `["said","hello"`) {
			t.Error("an event of the other room is missing")
		}
		wantSeries(t, registry, map[string]float64{
			`holdfast_frames_dropped_total{policy="drop-oldest"}`: float64(100 - n),
			`holdfast_connections{transport="polling"}`:           1,
		})
	})
}
