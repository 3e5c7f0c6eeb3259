package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// regranting admits like the tests' tokens, and tells rights that change.
type regranting struct {
	verifier auth.Authenticator

	mu    sync.Mutex
	rooms holdfast.RoomPermissions
}

func newRegranting(t testing.TB) *regranting {
	verifier, err := auth.NewJWT(auth.JWTConfig{Secret: secret, DefaultRooms: everyRoom(t)})
	if err != nil {
		t.Fatal(err)
	}
	return &regranting{verifier: verifier, rooms: *everyRoom(t)}
}

func (r *regranting) Authenticate(ctx context.Context, c auth.Credential) (*holdfast.Identity, error) {
	return r.verifier.Authenticate(ctx, c)
}

func (r *regranting) Reload(_ context.Context, id *holdfast.Identity) (*holdfast.Identity, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := *id
	fresh.Permissions.Rooms = r.rooms
	return &fresh, nil
}

// grant sets the rooms of everybody, and reloads alice's.
func (r *regranting) grant(t testing.TB, srv *server.Server, rooms ...string) {
	r.mu.Lock()
	r.rooms = holdfast.MustRoomList(rooms...)
	r.mu.Unlock()
	if _, err := srv.BumpPermissions(context.Background(), "alice"); err != nil {
		t.Error(err)
	}
}

// A join that is stopped while a function is being asked leaves nobody behind.
func TestJoinStoppedWhileAsked(t *testing.T) {
	for _, tc := range []struct {
		name string
		stop func(t *testing.T, w *world, a *regranting, p *peer)
		code string // that the client sees; "": it is gone
	}{
		{"right lost", func(t *testing.T, w *world, a *regranting, p *peer) { a.grant(t, w.srv, "other") }, "FORBIDDEN"},
		{"left by the program", func(_ *testing.T, w *world, _ *regranting, _ *peer) {
			for c := range w.srv.Conns() {
				c.Leave("r")
			}
		}, "CONFLICT"},
		{"removed", func(_ *testing.T, w *world, _ *regranting, _ *peer) {
			for c := range w.srv.Conns() {
				c.Remove("r", holdfast.NotFound)
			}
		}, "NOT_FOUND"},
		{"revoked", func(t *testing.T, w *world, _ *regranting, _ *peer) {
			if err := w.srv.Revoke(t.Context(), auth.Revocation{User: "alice"}); err != nil {
				t.Error(err)
			}
		}, ""},
		{"cut off", func(_ *testing.T, _ *world, _ *regranting, p *peer) { p.conn.CloseNow() }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				a := newRegranting(t)
				w := newWorld(t, server.Config{Authenticator: a})
				j := new(journal)
				j.follow(w.srv)
				w.srv.OnJoin(func(ctx context.Context, in *server.Join) error {
					<-ctx.Done()
					return nil // too late to say yes
				})
				p := w.connect("alice")
				p.send(`421["room:join",{"room":"r"}]`)
				synctest.Wait()
				tc.stop(t, w, a, p)
				if tc.code != "" {
					for m := p.recv(); ; m = p.recv() {
						if strings.HasPrefix(m, "431") {
							if !strings.Contains(m, tc.code) {
								t.Errorf("got %s, want %s", m, tc.code)
							}
							break
						}
					}
				}
				<-time.After(6 * time.Second) // events of a connection that is gone end after 5 s
				synctest.Wait()
				for c := range w.srv.Room("r").Conns() {
					t.Errorf("%s is in the room", c.Identity().User)
				}
				if got := j.take(); strings.Contains(got, "joined") || strings.Contains(got, "leave") || tc.code == "" != strings.Contains(got, "disconnected alice") {
					t.Errorf("told %s", got)
				}
			})
		})
	}
}

// While one connection's join is being asked about, its own messages wait in
// order, and nobody else does.
func TestSlowHooksHoldUpTheirOwn(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.srv.OnJoin(func(ctx context.Context, j *server.Join) error {
			if j.Identity.User == "alice" {
				<-time.After(10 * time.Second)
			}
			return nil
		})
		w.srv.OnPublish(func(context.Context, *server.Publish) error { <-time.After(time.Second); return nil })
		alice, bob := w.connect("alice"), w.connect("bob")
		start := time.Now()
		alice.send(`421["room:join",{"room":"r"}]`, `422["room:publish",{"room":"r","event":"e"}]`, `423["room:leave",{"room":"r"}]`)
		bob.send(`421["room:join",{"room":"r"}]`)
		bob.want(`431[{"ok":true`)
		if took := time.Since(start); took > time.Second {
			t.Errorf("bob waited %v", took)
		}
		alice.want(`431[{"ok":true`)
		if m := alice.recv(); !strings.HasPrefix(m, `42["e"`) && !strings.HasPrefix(m, `432`) {
			t.Errorf("got %s", m)
		}
		alice.recv()
		alice.want(`433[{"ok":true`)
		bob.want(`42["presence:join",`)
		bob.want(`42["e",null,`)
	})
}

// A function may ask the client itself, whose answer comes in meanwhile.
func TestHookAsksTheClient(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		confirm := func(ctx context.Context, c *server.Conn, what string) error {
			ok, err := server.Ask[bool](ctx, c, "confirm", what)
			if err == nil && !ok {
				err = holdfast.Forbidden.New()
			}
			return err
		}
		w.srv.OnJoin(func(ctx context.Context, j *server.Join) error { return confirm(ctx, j.Conn, j.Room) })
		w.srv.OnPublish(func(ctx context.Context, p *server.Publish) error { return confirm(ctx, p.Conn, p.Event.Name) })
		p := w.connect("alice")
		p.send(`421["room:join",{"room":"r"}]`)
		p.want(`420["confirm","r"]`)
		p.send(`430[true]`)
		p.want(`431[{"ok":true`)
		p.send(`422["room:publish",{"room":"r","event":"e"}]`)
		p.want(`421["confirm","e"]`)
		p.send(`431[false]`)
		p.want(`432[{"ok":false,"error":{"message":"`)
	})
}

// A client that joins and leaves faster than the program can be told waits.
func TestLineIsBounded(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{MessageRate: -1})
		var told atomic.Int64
		w.srv.OnLeave(func(ctx context.Context, _ server.Leave) { told.Add(1); <-ctx.Done() })
		p := w.connect("alice")
		const n = 600
		go func() {
			for range n {
				p.send(`42["room:join",{"room":"r"}]`, `42["room:leave",{"room":"r"}]`)
			}
			p.send(`421["room:leave",{"room":"r"}]`)
		}()
		start := time.Now()
		p.want("431[")
		// All but the 256 that may wait, and the one that runs, have been told.
		if waited := time.Since(start); waited < (n-300)*10*time.Second || told.Load() < n-300 {
			t.Errorf("%d were told in %v", told.Load(), waited)
		}
		p.conn.CloseNow()
		synctest.Wait()
		<-time.After(time.Hour)
		if got := told.Load(); got != n {
			t.Errorf("%d were told of %d", got, n)
		}
	})
}

// Joins, leaves, lost rights, removals and disconnects at once: what is told of
// one connection is in order and in pairs.
func TestToldUnderRaces(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			in(t, func(t *testing.T) {
				a := newRegranting(t)
				w := newWorld(t, server.Config{Authenticator: a, ConnectionsPerUser: -1, AdmissionRate: -1, TotalAdmissionRate: -1})
				told := newPairs(w.srv)
				dice := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, n)) }
				hook, hookMu := dice(100), sync.Mutex{}
				w.srv.OnJoin(func(ctx context.Context, _ *server.Join) error {
					hookMu.Lock()
					d, no := time.Duration(hook.IntN(3))*time.Millisecond, hook.IntN(5) == 0
					hookMu.Unlock()
					select {
					case <-time.After(d):
					case <-ctx.Done():
					}
					if no {
						return holdfast.Conflict.New()
					}
					return nil
				})
				var all sync.WaitGroup
				const peers = 6
				for n := range uint64(peers) {
					p := w.connect("alice")
					go func() { // what comes is read, so that the peer is no slow one
						for {
							if _, err := p.tryRecv(); err != nil {
								return
							}
						}
					}()
					all.Go(func() {
						rng := dice(n)
						for range 30 {
							room := [...]string{"a", "b"}[rng.IntN(2)]
							event := [...]string{"room:join", "room:join", "room:leave"}[rng.IntN(3)]
							if p.conn.Write(p.ctx, websocket.MessageText, []byte(`42["`+event+`",{"room":"`+room+`"}]`)) != nil {
								return
							}
							<-time.After(time.Duration(rng.IntN(3)) * time.Millisecond)
						}
						p.conn.CloseNow()
					})
				}
				all.Go(func() {
					rng := dice(200)
					for range 30 {
						for c := range w.srv.Conns() {
							room := [...]string{"a", "b"}[rng.IntN(2)]
							switch rng.IntN(8) {
							case 0:
								c.Leave(room)
							case 1:
								c.Remove(room, nil)
							case 2:
								all.Go(func() { _, _ = c.Join(context.Background(), room) })
							case 3:
								if rng.IntN(10) == 0 {
									c.Close(holdfast.Forbidden)
								}
							}
						}
						switch rng.IntN(4) {
						case 0:
							a.grant(t, w.srv, "a")
						case 1:
							a.grant(t, w.srv, "**")
						}
						<-time.After(time.Duration(rng.IntN(3)) * time.Millisecond)
					}
				})
				all.Wait()
				<-time.After(10 * time.Second)
				synctest.Wait()
				told.check(t, peers)
			})
		})
	}
}

// pairs checks what is told of each connection.
type pairs struct {
	mu     sync.Mutex
	conns  map[*server.Conn]map[string]bool // the rooms that it is in; nil once it is gone
	gone   int
	joined int
	faults []string
}

func newPairs(srv *server.Server) *pairs {
	p := &pairs{conns: make(map[*server.Conn]map[string]bool)}
	srv.Observe(server.Observer{
		Connected: func(_ context.Context, c *server.Conn) {
			p.see(c, func(rooms map[string]bool) bool { p.conns[c] = map[string]bool{}; return rooms == nil })
		},
		Joined: func(_ context.Context, j server.Join) {
			p.see(j.Conn, func(rooms map[string]bool) bool {
				was := rooms[j.Room]
				rooms[j.Room] = true
				p.joined++
				return !was
			})
		},
		Left: func(_ context.Context, l server.Leave) {
			p.see(l.Conn, func(rooms map[string]bool) bool { was := rooms[l.Room]; delete(rooms, l.Room); return was })
		},
		Disconnected: func(_ context.Context, c *server.Conn, _ error) {
			p.see(c, func(rooms map[string]bool) bool {
				p.conns[c] = nil
				p.gone++
				return rooms != nil && len(rooms) == 0
			})
		},
	})
	return p
}

func (p *pairs) see(c *server.Conn, fits func(rooms map[string]bool) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() {
		if v := recover(); v != nil {
			p.faults = append(p.faults, fmt.Sprint(v)) // a room of a connection that is not there
		}
	}()
	if !fits(p.conns[c]) {
		p.faults = append(p.faults, "out of order")
	}
}

func (p *pairs) check(t *testing.T, conns int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.faults) > 0 || p.gone != conns || p.joined == 0 {
		t.Errorf("%d connections ended of %d, %d joins; faults %q", p.gone, conns, p.joined, p.faults)
	}
}

// Shutdown waits for what is told, and no longer than its context.
func TestShutdownAndHooks(t *testing.T) {
	for _, tc := range []struct {
		name string
		hook func(srv *server.Server, block func(context.Context))
	}{
		{"OnLeave", func(srv *server.Server, block func(context.Context)) {
			srv.OnLeave(func(ctx context.Context, _ server.Leave) { block(ctx) })
		}},
		{"OnDisconnect", func(srv *server.Server, block func(context.Context)) {
			srv.OnDisconnect(func(ctx context.Context, _ *server.Conn, _ error) { block(ctx) })
		}},
		{"OnJoin", func(srv *server.Server, block func(context.Context)) {
			srv.OnJoin(func(ctx context.Context, j *server.Join) error {
				if j.Room == "second" {
					block(ctx)
				}
				return nil
			})
		}},
		{"OnPublish", func(srv *server.Server, block func(context.Context)) {
			srv.OnPublish(func(ctx context.Context, _ *server.Publish) error { block(ctx); return nil })
		}},
		{"Published", func(srv *server.Server, block func(context.Context)) {
			srv.Observe(server.Observer{Published: func(ctx context.Context, _ server.Publish) { block(ctx) }})
		}},
	} {
		for _, stuck := range []bool{false, true} {
			t.Run(fmt.Sprint(tc.name, " stuck=", stuck), func(t *testing.T) {
				in(t, func(t *testing.T) {
					w := newWorld(t, server.Config{})
					release := make(chan struct{})
					t.Cleanup(func() { close(release); synctest.Wait() })
					var ended atomic.Int32
					tc.hook(w.srv, func(ctx context.Context) {
						defer ended.Add(1)
						if !stuck {
							<-ctx.Done()
							return
						}
						<-release
					})
					p := w.connect("alice")
					p.send(`421["room:join",{"room":"r"}]`)
					p.want("431[")
					p.send(`42["room:join",{"room":"second"}]`, `42["room:publish",{"room":"r","event":"e"}]`)
					synctest.Wait()
					go func() { // an honest client closes when it is told to
						for {
							if _, err := p.tryRecv(); err != nil {
								return
							}
						}
					}()
					ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
					defer cancel()
					start := time.Now()
					err := w.srv.Shutdown(ctx)
					if took := time.Since(start); err == nil || took < 3*time.Second || took > 5*time.Second {
						t.Errorf("Shutdown returned %v after %v", err, took)
					}
					if stuck == (ended.Load() > 0) {
						t.Errorf("%d calls had ended", ended.Load())
					}
				})
			})
		}
	}
}
