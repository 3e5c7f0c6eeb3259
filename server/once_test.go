package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
)

// eventStore is a server.EventStore in memory.
type eventStore struct {
	mu            sync.Mutex // guards what follows
	rows          map[[2]string]storedEvent
	loads, saves  int
	noLoad, noSav error
	saving        chan struct{} // a save waits for it; nil: it does not
}

type storedEvent struct {
	name string
	ack  []byte
	at   time.Time
}

func (s *eventStore) LoadEvent(_ context.Context, scope, id string) (string, []byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loads++
	row, ok := s.rows[[2]string{scope, id}]
	if ok && time.Since(row.at) >= 24*time.Hour {
		ok = false
	}
	return row.name, row.ack, ok, s.noLoad
}

func (s *eventStore) SaveEvent(ctx context.Context, scope, id, name string, ack []byte, at time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	saving := s.saving
	s.mu.Unlock()
	if saving != nil {
		select {
		case <-saving:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saves++
	if s.noSav != nil {
		return s.noSav
	}
	if s.rows == nil {
		s.rows = make(map[[2]string]storedEvent)
	}
	s.rows[[2]string{scope, id}] = storedEvent{name, ack, at}
	return nil
}

func (s *eventStore) counts() (loads, saves int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loads, s.saves
}

// counting registers handlers that count their effects.
func counting(w *world) *atomic.Int64 {
	var n atomic.Int64
	type count struct {
		N  int64  `json:"n"`
		ID string `json:"id"`
	}
	for _, ns := range []server.Registrar{w.srv, w.srv.Of("/other")} {
		server.Handle(ns, "count", func(ctx context.Context, _ *server.Conn, in struct{ Fail holdfast.Code }) (count, error) {
			c := count{n.Add(1), server.EventID(ctx)}
			if in.Fail != "" {
				return c, holdfast.Errorf(in.Fail, "no. %d", c.N)
			}
			return c, nil
		})
	}
	server.HandleRaw(w.srv, "raw", func(ctx context.Context, _ *server.Conn, args socketio.Args) (socketio.Args, error) {
		return socketio.NewArgs(n.Add(1), server.EventID(ctx), len(args.Values), []byte{7})
	})
	server.HandleRaw(w.srv, "long", func(context.Context, *server.Conn, socketio.Args) (socketio.Args, error) {
		n.Add(1)
		return socketio.NewArgs(strings.Repeat("x", 20_000))
	})
	server.Handle(w.srv, "panics", func(context.Context, *server.Conn, any) (int, error) {
		n.Add(1)
		panic("handler")
	})
	return &n
}

const hf = `,{"$hf":{"id":"i1"}}`

// Each event is sent twice, on connections of the same user one after the
// other, with memory alone, with a store, and with another server on the same
// store in between.
func TestEventID(t *testing.T) {
	cases := []struct {
		name, event string
		want        string // of the first answer, a prefix after the ack's id
		effects     int64
	}{
		{"typed", `["count",{}` + hf + `]`, `[{"ok":true,"data":{"n":1,"id":"i1"}}]`, 1},
		{"no payload", `["count"` + hf + `]`, `[{"ok":true,"data":{"n":1,"id":"i1"}}]`, 1},
		{"no id", `["count",{}]`, `[{"ok":true,"data":{"n":1,"id":""}}]`, 2},
		{"$hf not last", `["count",{}` + hf + `,null]`, `[{"ok":true,"data":{"n":1,"id":""}}]`, 2},
		{"raw and binary", `["raw",1,2` + hf + `]`, `[1,"i1",2,{"_placeholder":true,"num":0}]`, 1},
		{"long", `["long"` + hf + `]`, `["xxx`, 1},
		{"final: FORBIDDEN", `["count",{"fail":"FORBIDDEN"}` + hf + `]`, `[{"ok":false,"error":{"message":"no. 1","code":"FORBIDDEN"`, 1},
		{"final: NOT_FOUND", `["count",{"fail":"NOT_FOUND"}` + hf + `]`, `[{"ok":false,"error":{"message":"no. 1","code":"NOT_FOUND"`, 1},
		{"final: CONFLICT", `["count",{"fail":"CONFLICT"}` + hf + `]`, `[{"ok":false,"error":{"message":"no. 1","code":"CONFLICT"`, 1},
		{"final: INVALID_ARGUMENT", `["count",{"fail":"INVALID_ARGUMENT"}` + hf + `]`, `[{"ok":false,"error":{"message":"no. 1","code":"INVALID_ARGUMENT"`, 1},
		{"not final: RATE_LIMITED", `["count",{"fail":"RATE_LIMITED"}` + hf + `]`, `[{"ok":false,"error":{"message":"no. 1","code":"RATE_LIMITED"`, 2},
		{"not final: GOING_AWAY", `["count",{"fail":"GOING_AWAY"}` + hf + `]`, `[{"ok":false,"error":{"message":"no. 1","code":"GOING_AWAY"`, 2},
		{"not final: TOKEN_EXPIRED", `["count",{"fail":"TOKEN_EXPIRED"}` + hf + `]`, `[{"ok":false,"error":{"message":"no. 1","code":"TOKEN_EXPIRED"`, 2},
		{"not final: INTERNAL", `["count",{"fail":"INTERNAL"}` + hf + `]`, `[{"ok":false,"error":{"message":"Internal error","code":"INTERNAL"`, 2},
		{"panic", `["panics",null` + hf + `]`, `[{"ok":false,"error":{"message":"Internal error","code":"INTERNAL"`, 2},
		{"no handler", `["nobody",null` + hf + `]`, `[{"ok":false,"error":{"message":"there is no handler for this event","code":"NOT_FOUND"`, 0},
		{"wrong $hf", `["count",{},{"$hf":{"id":7}}]`, `[{"ok":false,"error":{"message":"a last argument with the key \"$hf\" must be exactly`, 0},
		{"wrong $hf of our own event", `["room:join",{"room":"r"},{"$hf":1}]`, `[{"ok":false,"error":{"message":"a last argument with the key \"$hf\" must be exactly`, 0},
	}
	for _, tc := range cases {
		for _, kind := range []string{"memory", "store", "restart"} {
			t.Run(tc.name+"/"+kind, func(t *testing.T) {
				in(t, func(t *testing.T) {
					var cfg server.Config
					if kind != "memory" {
						cfg.Events = &eventStore{}
					}
					w := newWorld(t, cfg)
					n := counting(w)
					send := func(w *world, ack string) string {
						p := w.connect("alice")
						p.send("42" + ack + tc.event)
						answer := p.recv()
						if strings.HasPrefix(answer, "46") {
							answer += p.recv()
						}
						p.quiet() // the connection stays
						p.conn.CloseNow()
						return strings.Replace(answer, "-"+ack+"[", "-N[", 1)
					}
					answer := send(w, "5")
					first := strings.Replace(strings.TrimPrefix(answer, "43"), "461-N", "5", 1)
					if !strings.HasPrefix(first, "5"+tc.want) {
						t.Fatalf("got %.200s", first)
					}
					again := w
					if kind == "restart" {
						again = newWorld(t, cfg)
						before := n.Load()
						n = counting(again)
						n.Store(before)
					}
					repeat := send(again, "5")
					switch {
					case tc.name == "long":
						if want := `435[{"ok":false,"error":{"message":"This event was handled before, and its answer was too large to be kept","code":"CONFLICT","details":{"handled":true}}}]`; repeat != want {
							t.Errorf("the repeat got %.200s", repeat)
						}
					case tc.effects == 1 && repeat != answer:
						t.Errorf("the repeat got %.200s, want %.200s", repeat, answer)
					}
					if got := n.Load(); got != tc.effects {
						t.Errorf("%d effects, want %d", got, tc.effects)
					}
				})
			})
		}
	}
}

// An id is one user's, and of one event.
func TestEventIDScope(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{Events: &eventStore{}})
		n := counting(w)
		alice := w.connect("alice")
		alice.send(`421["count",{}` + hf + `]`)
		alice.want(`431[{"ok":true,"data":{"n":1,"id":"i1"}}]`)
		conflict := `[{"ok":false,"error":{"message":"This id was used for another event","code":"CONFLICT"}}]`
		alice.send(`422["raw"` + hf + `]`)
		alice.want(`432` + conflict)
		alice.send(`40/other,{"token":"` + token(t, "alice", time.Hour) + `"}`)
		alice.want(`40/other,{`)
		alice.want(`42/other,["auth:session"`)
		alice.send(`42/other,3["count",{}` + hf + `]`)
		alice.want(`43/other,3` + conflict)
		alice.send(`42/other,4["count",{},{"$hf":{"id":"i2"}}]`)
		alice.want(`43/other,4[{"ok":true,"data":{"n":2,"id":"i2"}}]`)
		bob := w.connect("bob")
		bob.send(`421["count",{}` + hf + `]`)
		bob.want(`431[{"ok":true,"data":{"n":3,"id":"i1"}}]`)
		// Publishing has ids of its own.
		alice.send(`425["room:publish",{"room":"r","event":"e","id":"i1"}]`)
		alice.want(`435[{"ok":true,"data":{"epoch":`)
		// The plain WebSocket is the same user's.
		p := w.plainUser("alice")
		p.send(`{"type":"event","event":"count","id":"i1","ref":1}`)
		p.want(`{"type":"ok","ref":1,"data":{"n":1,"id":"i1"}}`)
		p.send(`{"type":"event","event":"raw","id":"i1","ref":2}`)
		p.want(`{"type":"error","ref":2,"error":"This id was used for another event","code":"CONFLICT"`)
		p.send(`{"type":"event","event":"raw","id":"i3","ref":3}`, `{"type":"event","event":"raw","id":"i3","ref":4}`)
		p.want(`{"type":"ok","ref":3,"data":[4,"i3",0,{"$base64":"Bw=="}]}`)
		p.want(`{"type":"ok","ref":4,"data":[4,"i3",0,{"$base64":"Bw=="}]}`)
		p.send(`{"type":"event","event":"count","id":"` + strings.Repeat("i", 129) + `","ref":5}`)
		p.want(`{"type":"error","ref":5,"error":"id is longer than 128 bytes","code":"INVALID_ARGUMENT"`)
		p.send(`{"type":"event","event":"count","data":{},"ref":6}`)
		p.want(`{"type":"ok","ref":6,"data":{"n":5,"id":""}}`)
		alice.send(`426["raw",{"$hf":{"id":"i3"}}]`) // and the other way round, as binary
		alice.want(`461-6[4,"i3",0,{"_placeholder":true,"num":0}]`)
		alice.want("binary:\x07")
		if n.Load() != 5 {
			t.Errorf("%d effects", n.Load())
		}
	})
}

// Somebody without a name has ids for as long as the connection lasts.
func TestEventIDAnonymous(t *testing.T) {
	in(t, func(t *testing.T) {
		store := &eventStore{}
		w := newWorld(t, server.Config{Events: store, Authenticator: auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
			return &holdfast.Identity{Permissions: holdfast.Permissions{Rooms: *everyRoom(t)}}, nil
		})})
		n := counting(w)
		for want := int64(1); want <= 2; want++ {
			p := w.dial()
			p.send(`40`)
			p.want(`40{`)
			for ack := range 2 {
				p.send(fmt.Sprintf(`42%d["count",{}`+hf+`]`, ack))
				p.want(fmt.Sprintf(`43%d[{"ok":true,"data":{"n":%d,"id":"i1"}}]`, ack, want))
			}
			p.send(`423["room:publish",{"room":"r","event":"e","id":"i1"}]`)
			p.want(`433[{"ok":true`)
			p.conn.CloseNow()
		}
		if loads, saves := store.counts(); loads+saves > 0 || n.Load() != 2 {
			t.Errorf("%d loads, %d saves, %d effects", loads, saves, n.Load())
		}
	})
}

// A hundred repeats at once, from several connections, wait for the first and
// get its answer, which is not sent before it is saved.
func TestEventIDAtOnce(t *testing.T) {
	in(t, func(t *testing.T) {
		store := &eventStore{saving: make(chan struct{})}
		w := newWorld(t, server.Config{Events: store, ConnectionsPerUser: -1})
		n := counting(w)
		const repeats = 100
		peers := make([]*peer, repeats)
		for i := range peers {
			peers[i] = w.connect("alice")
		}
		for i, p := range peers {
			p.send(fmt.Sprintf(`42%d["count",{}`+hf+`]`, i))
		}
		synctest.Wait()
		if loads, _ := store.counts(); loads != 1 || n.Load() != 1 {
			t.Errorf("%d loads, %d effects before the save", loads, n.Load())
		}
		close(store.saving)
		for i, p := range peers {
			p.want(fmt.Sprintf(`43%d[{"ok":true,"data":{"n":1,"id":"i1"}}]`, i))
		}
		if loads, saves := store.counts(); loads != 1 || saves != 1 || n.Load() != 1 {
			t.Errorf("%d loads, %d saves, %d effects", loads, saves, n.Load())
		}
	})
}

// A repeat waits while the first is handled, though the first's connection is
// gone; an event of another name does not wait. It waits no longer than its own
// connection lasts.
func TestEventIDReconnect(t *testing.T) {
	in(t, func(t *testing.T) {
		store := &eventStore{}
		w := newWorld(t, server.Config{Events: store})
		counting(w)
		release := make(chan struct{})
		var effects atomic.Int64
		server.Handle(w.srv, "slow", func(context.Context, *server.Conn, any) (int64, error) {
			n := effects.Add(1)
			<-release // a handler that does not look at its context
			return n, nil
		})
		first := w.connect("alice")
		first.send(`421["slow",null` + hf + `]`)
		synctest.Wait()
		first.conn.CloseNow()
		second, third := w.connect("alice"), w.connect("alice")
		second.send(`421["slow",null` + hf + `]`)
		third.send(`421["count",{}` + hf + `]`)
		third.want(`431[{"ok":false,"error":{"message":"This id was used for another event"`)
		third.send(`422["slow",null` + hf + `]`)
		synctest.Wait()
		third.conn.CloseNow()
		<-time.After(10 * time.Second)            // the third's wait ends 5 s after its connection
		if got := w.srv.Connections(); got != 2 { // the first's handler still runs
			t.Errorf("%d connections", got)
		}
		close(release)
		second.want(`431[{"ok":true,"data":1}]`)
		if _, saves := store.counts(); effects.Load() != 1 || saves != 1 {
			t.Errorf("%d effects, %d saves", effects.Load(), saves)
		}
	})
}

// Repeats that waited for what failed are told so, and none of them is stuck.
func TestEventIDFailsForAll(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		release := make(chan struct{})
		var effects atomic.Int64
		server.Handle(w.srv, "slow", func(context.Context, *server.Conn, any) (int64, error) {
			n := effects.Add(1)
			<-release
			if n == 1 {
				panic("handler")
			}
			return n, nil
		})
		first, second := w.connect("alice"), w.connect("alice")
		for _, p := range []*peer{first, second} {
			p.send(`421["slow",null` + hf + `]`)
		}
		synctest.Wait()
		close(release)
		for _, p := range []*peer{first, second} {
			p.want(`431[{"ok":false,"error":{"message":"Internal error","code":"INTERNAL"}}]`)
		}
		second.send(`422["slow",null` + hf + `]`)
		second.want(`432[{"ok":true,"data":2}]`)
	})
}

// Ids end after a day, with a store and without; an event without an ack has
// one effect as well.
func TestEventIDExpires(t *testing.T) {
	for _, store := range []server.EventStore{nil, &eventStore{}} {
		in(t, func(t *testing.T) {
			w := newWorld(t, server.Config{Events: store})
			n := counting(w)
			p := w.connect("alice")
			p.send(`42["count",{}`+hf+`]`, `42["count",{}`+hf+`]`)
			p.quiet()
			p.conn.CloseNow()
			<-time.After(24*time.Hour - time.Minute)
			p = w.connect("alice")
			p.send(`421["count",{}` + hf + `]`)
			p.want(`431[{"ok":true,"data":{"n":1,`)
			p.conn.CloseNow()
			<-time.After(time.Minute)
			p = w.connect("alice")
			p.send(`422["count",{}` + hf + `]`)
			p.want(`432[{"ok":true,"data":{"n":2,`)
			if n.Load() != 2 {
				t.Errorf("%d effects", n.Load())
			}
		})
	}
}

// A store that can't be read lets nothing through; one that can't be written
// leaves memory.
func TestEventStoreFails(t *testing.T) {
	in(t, func(t *testing.T) {
		store := &eventStore{noLoad: errors.New("the password is hunter2")}
		w := newWorld(t, server.Config{Events: store})
		n := counting(w)
		p := w.connect("alice")
		p.send(`421["count",{}` + hf + `]`)
		if got := p.want(`431[{"ok":false,`); !strings.Contains(got, `"code":"INTERNAL"`) || strings.Contains(got, "hunter2") || n.Load() > 0 {
			t.Errorf("%s, %d effects", got, n.Load())
		}
		p.send(`422["room:publish",{"room":"r","event":"e","id":"i1"}]`)
		p.want(`432[{"ok":false,"error":{"message":"Internal error","code":"INTERNAL"`)
		store.mu.Lock()
		store.noLoad, store.noSav = nil, errors.New("disk full")
		store.mu.Unlock()
		for range 2 {
			p.send(`421["count",{}` + hf + `]`)
			p.want(`431[{"ok":true,"data":{"n":1,"id":"i1"}}]`)
		}
		// One that hangs holds up one ack, for ten seconds.
		store.mu.Lock()
		store.saving = make(chan struct{})
		store.mu.Unlock()
		begin := time.Now()
		p.send(`423["count",{},{"$hf":{"id":"i2"}}]`)
		p.want(`433[{"ok":true,"data":{"n":2,"id":"i2"}}]`)
		if d := time.Since(begin); d < 9*time.Second || d > 11*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

// A publish that waits for the store does not hold up what the client sends
// besides.
func TestPublishWaits(t *testing.T) {
	in(t, func(t *testing.T) {
		store := &eventStore{saving: make(chan struct{})}
		w := newWorld(t, server.Config{Events: store})
		conns := make(chan *server.Conn, 1)
		w.srv.OnConnect(func(_ context.Context, c *server.Conn) error { conns <- c; return nil })
		p := w.connect("alice")
		p.send(`421["room:publish",{"room":"r","event":"e","id":"i1"}]`)
		synctest.Wait()
		answer := make(chan int, 1)
		go func() {
			n, err := server.Ask[int](t.Context(), <-conns, "ask")
			if err != nil {
				t.Error(err)
			}
			answer <- n
		}()
		p.want(`420["ask"]`)
		p.send(`430[7]`)
		select {
		case n := <-answer:
			if n != 7 {
				t.Errorf("answered %d", n)
			}
		case <-time.After(time.Second):
			t.Error("held up")
		}
		close(store.saving)
		p.want(`431[{"ok":true`)
	})
}

// The ids of publishes are each publisher's and each room's, over a restart.
func TestPublishIDs(t *testing.T) {
	in(t, func(t *testing.T) {
		keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Static: auth.Secret(staticKey)})
		if err != nil {
			t.Fatal(err)
		}
		cfg := server.Config{Events: &eventStore{}, APIKeys: keys}
		type publish struct {
			who, room string
			do        func(w *world) holdfast.Position
		}
		overHTTP := func(room, credential string) func(w *world) holdfast.Position {
			return func(w *world) (pos holdfast.Position) {
				status, _, body := w.request("POST", roomPath(room), `{"event":"e","data":1,"id":"i1"}`, "Authorization", "Bearer "+credential)
				if err := json.Unmarshal([]byte(body), &pos); status != 200 || err != nil {
					t.Errorf("%d %s", status, body)
				}
				return pos
			}
		}
		over := func(connect func(w *world) *peer, message string) func(w *world) holdfast.Position {
			return func(w *world) holdfast.Position {
				p := connect(w)
				p.send(message)
				answer := p.recv()
				p.conn.CloseNow()
				var ack struct{ Data holdfast.Position }
				if err := json.Unmarshal([]byte(strings.TrimSuffix(strings.TrimPrefix(answer, "431["), "]")), &ack); err != nil {
					t.Errorf("%s: %v", answer, err)
				}
				return ack.Data
			}
		}
		socket := func(sub string) func(*world) *peer { return func(w *world) *peer { return w.connect(sub) } }
		plain := func(sub string) func(*world) *peer { return func(w *world) *peer { return w.plainUser(sub) } }
		application := func(ev holdfast.Event) func(w *world) holdfast.Position {
			return func(w *world) holdfast.Position {
				pos, err := w.srv.PublishEvent(t.Context(), ev)
				if err != nil {
					t.Error(err)
				}
				return pos
			}
		}
		publishes := []publish{
			{"alice", "a", over(socket("alice"), `421["room:publish",{"room":"a","event":"e","id":"i1"}]`)},
			{"alice", "a", over(socket("alice"), `421["room:publish",{"room":"a","event":"e"}`+hf+`]`)},
			{"alice", "a", over(plain("alice"), `{"type":"publish","room":"a","event":"e","id":"i1","ref":1}`)},
			{"alice", "a", overHTTP("a", token(t, "alice", time.Hour))},
			{"alice", "a", application(holdfast.Event{Room: "a", Name: "e", ID: "i1", From: "alice"})},
			{"alice", "b", overHTTP("b", token(t, "alice", time.Hour))},
			{"bob", "a", overHTTP("a", token(t, "bob", time.Hour))},
			{"", "a", overHTTP("a", staticKey)},
			{"", "a", application(holdfast.Event{Room: "a", Name: "e", ID: "i1"})},
			{"", "b", overHTTP("b", staticKey)},
		}
		positions := make(map[[2]string]holdfast.Position)
		seen := make(map[holdfast.Position]string)
		for range 3 { // each time another server, whose broker knows nothing
			w := newWorld(t, cfg)
			for i, p := range publishes {
				pos := p.do(w)
				first, ok := positions[[2]string{p.who, p.room}]
				if !ok {
					if other := seen[pos]; other != "" {
						t.Errorf("publish %d by %q in %s got the position of %s", i, p.who, p.room, other)
					}
					positions[[2]string{p.who, p.room}] = pos
					seen[pos] = p.who + " in " + p.room
				} else if pos != first {
					t.Errorf("publish %d by %q in %s: %v, at first %v", i, p.who, p.room, pos, first)
				}
			}
		}
		if len(seen) != 5 {
			t.Errorf("%d positions", len(seen))
		}
		// What is wrong is refused as without a store, and is not remembered.
		w := newWorld(t, cfg)
		for _, body := range []string{`{"event":"connect","id":"i2"}`, `{"event":"e","id":"` + strings.Repeat("i", 129) + `"}`, `{"event":"","id":"i2"}`} {
			if status, _, answer := w.request("POST", roomPath("a"), body, "Authorization", "Bearer "+staticKey); status != 400 {
				t.Errorf("%d %s", status, answer)
			}
		}
		if status, _, answer := w.request("POST", roomPath("a"), `{"event":"e","id":"i2"}`, "Authorization", "Bearer "+staticKey); status != 200 {
			t.Errorf("%d %s", status, answer)
		}
		// Who lost the right is refused, whatever there was before.
		none := token(t, "alice", time.Hour, `{"permissions":{"rooms":[]}}`)
		if status, _, answer := w.request("POST", roomPath("a"), `{"event":"e","id":"i1"}`, "Authorization", "Bearer "+none); status != 403 {
			t.Errorf("%d %s", status, answer)
		}
	})
}
