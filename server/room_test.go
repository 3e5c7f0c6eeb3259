package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/server"
)

func TestRoomHistory(t *testing.T) {
	in(t, func(t *testing.T) {
		broker := hub.NewMemory(hub.MemoryConfig{Events: 400})
		t.Cleanup(func() { broker.Close() })
		w := newWorld(t, server.Config{Broker: broker})
		room := w.srv.Room("r")
		var at []holdfast.Position
		publish := func(n int) {
			t.Helper()
			for range n {
				pos, err := room.Publish(t.Context(), "n", len(at)+1)
				if err != nil {
					t.Fatal(err)
				}
				at = append(at, pos)
			}
		}
		read := func(o server.HistoryOptions, each func(n int)) (seen []string, err error) {
			for ev, e := range room.History(t.Context(), o) {
				if e != nil {
					err = e
					continue
				}
				seen = append(seen, string(ev.Data))
				if each != nil {
					each(len(seen))
				}
			}
			return seen, err
		}
		numbers := func(from, to int) (s []string) {
			for i := from; i <= to; i++ {
				s = append(s, fmt.Sprint(i))
			}
			return s
		}
		if seen, err := read(server.HistoryOptions{}, nil); len(seen) > 0 || err != nil {
			t.Errorf("an unused room has %v, %v", seen, err)
		}
		publish(350)
		since := func(n int) *holdfast.Position { return &at[n-1] }
		for _, tc := range []struct {
			name     string
			o        server.HistoryOptions
			from, to int
			code     holdfast.Code
		}{
			{name: "all", from: 1, to: 350},
			{name: "newest", o: server.HistoryOptions{Limit: 3}, from: 348, to: 350},
			{name: "since", o: server.HistoryOptions{Since: since(40)}, from: 41, to: 350},
			{name: "since, whole pages", o: server.HistoryOptions{Since: since(50)}, from: 51, to: 350},
			{name: "since, limited", o: server.HistoryOptions{Since: since(40), Limit: 150}, from: 41, to: 190},
			{name: "since, limited to a page", o: server.HistoryOptions{Since: since(40), Limit: 100}, from: 41, to: 140},
			{name: "since the newest", o: server.HistoryOptions{Since: since(350)}},
			{name: "another epoch", o: server.HistoryOptions{Since: &holdfast.Position{Epoch: "x", Offset: 1}}, code: holdfast.NotFound},
			{name: "ahead", o: server.HistoryOptions{Since: &holdfast.Position{Epoch: at[0].Epoch, Offset: 1 << 40}}, code: holdfast.NotFound},
			{name: "no position", o: server.HistoryOptions{Since: &holdfast.Position{}}, code: holdfast.InvalidArgument},
		} {
			seen, err := read(tc.o, nil)
			if want := numbers(tc.from, tc.to); tc.to > 0 && !slices.Equal(seen, want) || tc.to == 0 && len(seen) > 0 {
				t.Errorf("%s: %v, want %v", tc.name, seen, want)
			}
			if holdfast.CodeOf(err) != tc.code {
				t.Errorf("%s: %v, want %s", tc.name, err, tc.code)
			}
		}
		// What comes meanwhile is not there, and a break ends it.
		seen, err := read(server.HistoryOptions{Since: since(340)}, func(int) { publish(1) })
		if !slices.Equal(seen, numbers(341, 350)) || err != nil {
			t.Errorf("saw %v, %v", seen, err)
		}
		for range room.History(t.Context(), server.HistoryOptions{Since: since(100)}) {
			break
		}
		for range room.History(t.Context(), server.HistoryOptions{}) {
			break
		}
		// A reader who is overtaken by what is kept hears of it.
		seen, err = read(server.HistoryOptions{Since: since(50)}, func(n int) {
			if n == 100 {
				publish(400)
			}
		})
		if !slices.Equal(seen, numbers(51, 150)) || !errors.Is(err, holdfast.NotFound) {
			t.Errorf("saw %d, %v", len(seen), err)
		}
		for _, err := range w.srv.Room("*").History(t.Context(), server.HistoryOptions{}) {
			if !errors.Is(err, holdfast.InvalidArgument) {
				t.Errorf("a bad name: %v", err)
			}
		}
	})
}

func TestRoomConns(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		j := new(journal)
		j.follow(w.srv)
		alice, bob, carol := w.connect("alice"), w.plainUser("bob"), w.connect("carol")
		alice.send(`421["room:join",{"room":"r"}]`)
		alice.want("431[")
		bob.send(`{"type":"join","room":"r","ref":1}`)
		bob.want(`{"type":"ok"`)
		users := func(conns func(func(*server.Conn) bool)) (names []string) {
			for c := range conns {
				names = append(names, c.Identity().User)
			}
			slices.Sort(names)
			return names
		}
		if got := users(w.srv.Conns()); !slices.Equal(got, []string{"alice", "bob", "carol"}) {
			t.Errorf("Conns: %v", got)
		}
		if got := users(w.srv.Room("r").Conns()); !slices.Equal(got, []string{"alice", "bob"}) {
			t.Errorf("Room.Conns: %v", got)
		}
		for range w.srv.Conns() {
			break
		}
		synctest.Wait()
		j.take()
		for c := range w.srv.Room("r").Conns() {
			switch c.Identity().User {
			case "alice":
				c.Remove("r", holdfast.Errorf(holdfast.Conflict, "The game is over"))
			case "bob":
				c.Remove("r", nil)
			}
			c.Remove("r", nil) // again: nothing
		}
		alice.want(`42["presence:join",`)
		alice.want(`42["room:left",{"room":"r","code":"CONFLICT","message":"The game is over"}]`)
		if m := bob.recv(); !strings.Contains(m, `"type":"room_left","room":"r"`) || !strings.Contains(m, "FORBIDDEN") {
			t.Errorf("bob got %s", m)
		}
		synctest.Wait()
		lines := strings.Split(j.take(), "\n")
		slices.Sort(lines)
		if want := []string{"leave alice r false CONFLICT", "leave bob r false FORBIDDEN"}; !slices.Equal(lines, want) {
			t.Errorf("told %q", lines)
		}
		alice.quiet()
		carol.quiet()
	})
}

// The event that goes out carries what it is not to be sent to.
func TestExcept(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		alice, bob := w.connect("alice"), w.connect("bob")
		for _, p := range []*peer{alice, bob} {
			p.send(`421["room:join",{"room":"r"}]`)
			p.want("431[")
		}
		alice.want(`42["presence:join",`)
		var conn *server.Conn
		for c := range w.srv.Conns() {
			if c.Identity().User == "alice" {
				conn = c
			}
		}
		for _, publish := range []func() (holdfast.Position, error){
			func() (holdfast.Position, error) { return w.srv.To("r").Except(conn).Publish(t.Context(), "a", 1) },
			func() (holdfast.Position, error) { return conn.To("r").Publish(t.Context(), "b", 2) },
		} {
			if _, err := publish(); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := w.srv.To("r").Publish(t.Context(), "c", make(chan int)); !errors.Is(err, holdfast.InvalidArgument) {
			t.Errorf("data that is no JSON: %v", err)
		}
		if m := bob.want(`42["a",1,{"room":"r",`); strings.Contains(m, "from") {
			t.Errorf("got %s", m)
		}
		if m := bob.want(`42["b",2,{"room":"r",`); !strings.HasSuffix(m, `"offset":2,"from":"alice"}]`) {
			t.Errorf("got %s", m)
		}
		var kept []string
		for ev, err := range w.srv.Room("r").History(t.Context(), server.HistoryOptions{}) {
			if err != nil || ev.Except != conn.ID() {
				t.Errorf("%+v %v", ev, err)
			}
			kept = append(kept, ev.Name+ev.From)
		}
		if !slices.Equal(kept, []string{"a", "balice"}) {
			t.Errorf("history has %v", kept)
		}
		alice.quiet()
	})
}

// Members have the presence data that an OnJoin function gave them.
func TestRoomMembers(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.srv.OnJoin(func(_ context.Context, j *server.Join) error {
			j.Presence = json.RawMessage(`{"seat":"` + j.Identity.User + `"}`)
			return nil
		})
		for _, user := range []string{"bob", "alice", "alice"} {
			p := w.connect(user)
			p.send(`421["room:join",{"room":"r"}]`)
			p.want("431[")
		}
		got, err := w.srv.Room("r").Members(t.Context())
		if text := fmt.Sprintf("%s %v", marshal(t, got), err); text != `[{"id":"alice","data":{"seat":"alice"},"connections":2},{"id":"bob","data":{"seat":"bob"},"connections":1}] <nil>` {
			t.Errorf("got %s", text)
		}
		if _, err := w.srv.Room("").Members(t.Context()); !errors.Is(err, holdfast.InvalidArgument) {
			t.Errorf("a bad name: %v", err)
		}
	})
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
