package server_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/memnet"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
)

// What an application does with a connection, it can do with a stream.
func TestStreamAndTheApplication(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		conns := make(chan *server.Conn, 4)
		w.srv.OnConnect(func(ctx context.Context, c *server.Conn) error {
			if c.Identity().User == "mallory" {
				return holdfast.Forbidden.New()
			}
			conns <- c
			_, err := c.Join(ctx, "everybody")
			return err
		})
		if _, err := w.tryListen(w.client(), "?room=r", "Authorization", "Bearer "+token(t, "mallory", time.Hour)); err == nil || !strings.HasPrefix(err.Error(), "403") || codeIn(err.Error()) != holdfast.Forbidden {
			t.Errorf("%v", err)
		}
		s := w.listen("alice", "?room=r")
		c := <-conns
		if c.Transport() != "sse" || c.Namespace() != "/" || c.Payload() != nil || c.Header().Get("Authorization") == "" {
			t.Errorf("%s %s %s", c.Transport(), c.Namespace(), c.Payload())
		}
		synctest.Wait()
		if got := c.Rooms(); len(got) != 2 {
			t.Errorf("rooms %v", got)
		}
		w.publish("r", "first", nil)
		id := s.want("first", "").ID

		// What is not of the request's rooms leaves the cursor as it is.
		if err := c.Emit("hello", map[string]int{"n": 1}, "two"); err != nil {
			t.Fatal(err)
		}
		if ev := s.want("hello", ""); ev.Data != `{"type":"event","event":"hello","data":[{"n":1},"two"]}` || ev.ID != id {
			t.Errorf("%+v", ev)
		}
		if err := c.Emit("connected", socketio.Binary("x")); err != nil {
			t.Fatal(err)
		}
		if ev := s.want("message", ""); ev.Data != `{"type":"event","event":"connected","data":{"$base64":"eA=="}}` {
			t.Errorf("%+v", ev)
		}
		if _, err := c.EmitAck(t.Context(), "ask"); holdfast.CodeOf(err) != holdfast.InvalidArgument {
			t.Errorf("EmitAck: %v", err)
		}
		w.publish("everybody", "all", nil)
		if ev := s.want("all", `{"type":"event","room":"everybody"`); ev.ID != id {
			t.Errorf("%+v", ev)
		}
		c.Leave("r")
		w.publish("r", "unheard", nil)
		c.Close(holdfast.Forbidden.New())
		if got := s.wantEnd(); !slices.Equal(got, []string{`auth_closing {"type":"auth_closing","code":"FORBIDDEN","message":"Not allowed"}`}) {
			t.Errorf("%q", got)
		}
		if err := c.Emit("late"); holdfast.CodeOf(err) != holdfast.NotFound {
			t.Errorf("Emit: %v", err)
		}
		// And without a word.
		s = w.listen("alice", "?room=r")
		(<-conns).Close(nil)
		if got := s.wantEnd(); len(got) != 0 {
			t.Errorf("%q", got)
		}
	})
}

// An application that joins a room for everybody does so without since: a
// stream that asked for more is told what it may have missed.
func TestStreamRoomOfTheApplication(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.srv.OnConnect(func(ctx context.Context, c *server.Conn) error {
			_, err := c.Join(ctx, "r")
			return err
		})
		s := w.listen("alice", "?room=r")
		w.publish("r", "one", nil)
		id := s.want("one", "").ID
		s.close()
		s = w.listen("alice", "?room=r", "Last-Event-ID", id) // nothing was missed
		w.publish("r", "two", nil)
		s.want("two", "")
		s = w.listen("alice", "?room=r", "Last-Event-ID", id)
		s.resets(1)
		w.publish("r", "three", nil)
		s.want("three", "")
	})
}

// One room is the same room over all transports.
func TestOneRoom(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		members := make(map[string]member)
		for name, join := range transports() {
			members[name] = mustJoin(t, w, join, token(t, name, time.Hour, `{"permissions":{"rooms":{"r":["join"]}}}`), "r") // without presence: only what is published
		}
		publisher := w.plainUser("carol")
		for i := range 20 {
			data, _ := json.Marshal(strings.Repeat("line\n", i))
			publisher.send(`{"type":"publish","room":"r","event":"e","data":` + string(data) + `}`)
		}
		for name, m := range members {
			for i := range 20 {
				want, _ := json.Marshal(strings.Repeat("line\n", i))
				if got := heard(m); got.text != "e" || got.detail != string(want) {
					t.Errorf("%s: %+v, want %s", name, got, want)
				}
			}
		}
		// Data with line ends of its own, and binary, over the transports of text.
		publisher.send("{\"type\":\"publish\",\"room\":\"r\",\"event\":\"lines\",\"data\":{\"a\":\r\n1,\r\"b\":\n2}}")
		for name, m := range members {
			var data map[string]int
			if got := heard(m); json.Unmarshal([]byte(got.detail), &data) != nil || data["a"] != 1 || data["b"] != 2 {
				t.Errorf("%s: %+v", name, got)
			}
		}
		if _, err := w.srv.PublishEvent(t.Context(), holdfast.Event{Room: "r", Name: "bin", Data: json.RawMessage(`{"_placeholder":true,"num":0}`), Attachments: [][]byte{[]byte("x")}}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"ws", "sse", "poll"} {
			expect(t, members[name], happening{"event", "bin", `{"$base64":"eA=="}`})
		}
	})
}

// A reader who does not keep up loses the stream, and nobody waits for him.
func TestStreamSlowReader(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{QueueBytes: 200_000})
		var slow *server.Conn
		w.srv.OnConnect(func(_ context.Context, c *server.Conn) error { slow = c; return nil })
		s := w.listen("alice", "?room=r")
		synctest.Wait()
		start := time.Now()
		for range 20 {
			w.publish("r", "x", strings.Repeat("a", 50_000))
		}
		synctest.Wait()
		if n := w.srv.Connections(); n != 0 || slow.Context().Err() == nil || time.Since(start) != 0 {
			t.Errorf("the connection is still there after %v", time.Since(start))
		}
		id := s.in.LastID()
		for {
			ev, err := s.in.Next()
			if err != nil {
				break
			}
			id = ev.ID
		}
		// With what it has, it comes back and loses nothing.
		again := w.listen("alice", "?room=r", "Last-Event-ID", id)
		for p := again.want("x", ""); ; p = again.want("x", "") {
			if strings.HasSuffix(p.Data, `"offset":20}`) {
				break
			}
		}
	})
}

// second serves the same server once more, by other protocols, with timeouts
// that are too short for what is held. It returns a client.
func (w *world) second(protocols *http.Protocols) *http.Client {
	network := memnet.Listen()
	second := &http.Server{Handler: w.srv, Protocols: protocols, ReadTimeout: 3 * time.Second, WriteTimeout: 3 * time.Second}
	done := make(chan error, 1)
	go func() { done <- second.Serve(network) }()
	client := &http.Client{Transport: &http.Transport{DialContext: network.DialContext, Protocols: protocols}}
	w.t.Cleanup(func() {
		client.CloseIdleConnections()
		second.Close()
		<-done
	})
	return client
}

// A poll is held longer than a server's timeouts for requests.
func TestPollOutlivesTimeouts(t *testing.T) {
	for _, set := range []func(*http.Protocols, bool){(*http.Protocols).SetHTTP1, (*http.Protocols).SetUnencryptedHTTP2} {
		in(t, func(t *testing.T) {
			w := newWorld(t, server.Config{})
			var protocols http.Protocols
			set(&protocols, true)
			client := w.second(&protocols)
			cursor := w.poll("alice", "?room=r").Cursor
			for range 3 {
				req, err := http.NewRequest("GET", "http://holdfast.test/poll?room=r&since="+cursor, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+token(t, "alice", time.Hour))
				start := time.Now()
				resp, err := client.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || time.Since(start) != 25*time.Second {
					t.Errorf("%s: %d %s after %v (%v)", resp.Proto, resp.StatusCode, body, time.Since(start), err)
				}
			}
		})
	}
}

// HTTP/2 has many streams on one connection; each ends by itself.
func TestStreamHTTP2(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		var protocols http.Protocols
		protocols.SetUnencryptedHTTP2(true)
		client := w.second(&protocols)
		bearer := func(user string, ttl time.Duration) []string {
			return []string{"Authorization", "Bearer " + token(t, user, ttl)}
		}
		var streams []*stream
		for _, room := range []string{"a", "b"} {
			s, err := w.tryListen(client, "?room="+room, bearer("alice", time.Hour)...)
			if err != nil {
				t.Fatal(err)
			}
			s.want("connected", "")
			streams = append(streams, s)
		}
		short, err := w.tryListen(client, "?room=a", bearer("bob", 20*time.Second)...)
		if err != nil {
			t.Fatal(err)
		}
		short.want("connected", "")
		w.publish("a", "one", nil)
		streams[0].want("one", "")
		short.want("one", "")
		expectEnd(t, streamAfterWarning(t, short), holdfast.TokenExpired)
		time.Sleep(5 * time.Minute) // longer than any write may take
		w.publish("b", "two", strings.Repeat("b", 60_000))
		streams[1].want("two", "")
		streams[0].close()
		synctest.Wait()
		if n := w.srv.Connections(); n != 1 {
			t.Errorf("%d connections", n)
		}
		if _, err := w.tryListen(client, "?room=a"); err == nil || !strings.HasPrefix(err.Error(), "401") {
			t.Errorf("%v", err)
		}
		if streams[1].in.Comments() == 0 {
			t.Error("no keep-alive")
		}
	})
}

func streamAfterWarning(t *testing.T, s *stream) member {
	t.Helper()
	m := streamMember{s}
	expect(t, m, happening{"expiring", "expiry", "4"})
	return m
}

// An idle stream costs one goroutine of ours, which is the request's own.
func TestIdleStreamsCostOneGoroutine(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{ConnectionsPerUser: -1})
		const n = 100
		for range n {
			w.listen("alice", "?room=r")
		}
		time.Sleep(20 * time.Second) // past the first keep-alive
		synctest.Wait()
		if got := serverGoroutines(); got < n || got > n+5+2*runtime.GOMAXPROCS(0) {
			t.Errorf("%d streams cost %d goroutines", n, got)
		}
	})
}
