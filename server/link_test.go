package server_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/server"
)

// drainAway reads until the connection ends.
func (p *peer) drainAway() {
	go func() {
		for {
			if _, err := p.tryRecv(); err != nil {
				return
			}
		}
	}()
}

// A namespace that is left and connected again with the same token still ends
// with it.
func TestExpiryAfterConnectingAgain(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		tok := token(t, "alice", 20*time.Second)
		p := w.dial()
		p.connect(tok)
		p.send("41")
		time.Sleep(time.Second)
		p.connect(tok)
		p.want(`42["auth:expiring",`)
		p.wantClose(4002, "TOKEN_EXPIRED")
	})
}

// The identity that was verified last is that of the whole connection: its
// rights, its expiry, and what revokes it.
func TestNamespacesShareTheIdentity(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.srv.Of("/b")
		p := w.dial()
		p.connect(mint(t, auth.Claims{User: "alice", Session: "s1", Expires: time.Now().Add(time.Minute)}))
		p.send(`421["room:join",{"room":"secret"}]`)
		p.want(`431[{"ok":true`)
		none := holdfast.MustRoomList()
		p.send(`40/b,{"token":"` + mint(t, auth.Claims{User: "alice", Session: "s2", Expires: time.Now().Add(time.Hour), Permissions: &auth.ClaimedPermissions{Rooms: &none}}) + `"}`)
		p.want(`42["room:left",{"room":"secret","code":"FORBIDDEN",`)
		p.want(`40/b,`)
		p.want(`42/b,["auth:session",`)
		time.Sleep(time.Second)
		if err := w.srv.Revoke(t.Context(), auth.Revocation{Session: "s2"}); err != nil {
			t.Fatal(err)
		}
		p.wantClose(4001, "SESSION_REVOKED")
	})
}

// A namespace connected after a bump takes the old rights from the others.
func TestBumpAndAnotherNamespace(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		w.srv.Of("/b")
		p := w.connect("alice")
		p.send(`421["room:join",{"room":"secret"}]`)
		p.want(`431[{"ok":true`)
		time.Sleep(2 * time.Second)
		if _, err := w.srv.BumpPermissions(t.Context(), "alice"); err != nil {
			t.Fatal(err)
		}
		p.want(`42["auth:expiring"`)
		time.Sleep(2 * time.Second)
		p.send(`40/b,{"token":"` + token(t, "alice", time.Hour, `{"permissions":{"rooms":[]}}`) + `"}`)
		p.want(`42["room:left",{"room":"secret",`)
		p.want(`40/b,`)
	})
}

// Neither leaving what was left before, nor a CONNECT that is refused, buys a
// connection more time.
func TestTimeToConnectCantBeStretched(t *testing.T) {
	for _, message := range []string{"41", "40/nope,"} {
		in(t, func(t *testing.T) {
			w := newWorld(t, server.Config{})
			p := w.connect("alice")
			p.drainAway()
			p.send("41")
			for range 4 {
				time.Sleep(4 * time.Second)
				_ = p.conn.Write(p.ctx, 1, []byte(message)) // at the end it is gone
			}
			if n := w.srv.Connections(); n != 0 {
				t.Errorf("%q every 4 s: %d connections are left after 16 s", message, n)
			}
		})
	}
}

// A connection that has left all its namespaces counts among those of its
// address that are not admitted.
func TestLeavingCountsAsUnadmitted(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{UnauthenticatedPerAddress: 1})
		first, second := w.connect("alice"), (*peer)(nil)
		first.send("41")
		synctest.Wait()
		if _, err := w.tryDial(); err == nil || !strings.Contains(err.Error(), "CONNECTION_LIMIT") {
			t.Errorf("another connection: %v", err)
		}
		first.connect(token(t, "alice", time.Hour))
		second = w.connect("bob")
		first.send("41")
		second.send("41")
		synctest.Wait()
		if n := w.srv.Connections(); n != 1 {
			t.Errorf("%d connections wait for admission", n)
		}
	})
}

// What belongs to a namespace ends when the client leaves it.
func TestConnEndsWithItsNamespace(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{})
		conns := make(chan *server.Conn, 2)
		w.srv.OnConnect(func(_ context.Context, c *server.Conn) error { conns <- c; return nil })
		p := w.connect("alice")
		c := <-conns
		ack := make(chan error, 1)
		go func() { _, err := c.EmitAck(context.Background(), "q"); ack <- err }()
		p.want(`420["q"`)
		p.send("41")
		<-c.Context().Done()
		if err := <-ack; holdfast.CodeOf(err) != holdfast.NotFound {
			t.Errorf("EmitAck: %v", err)
		}
		if err := c.Emit("ghost"); holdfast.CodeOf(err) != holdfast.NotFound {
			t.Errorf("Emit: %v", err)
		}
		p.connect(token(t, "alice", time.Hour)) // and no ghost before it
	})
}

// What does not fit before the client is connected ends the connection, as
// afterwards: nothing is lost in silence.
func TestTooMuchBeforeConnected(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{QueueBytes: 100_000})
		gate := make(chan struct{})
		w.srv.OnConnect(func(ctx context.Context, c *server.Conn) error {
			_, err := c.Join(ctx, "r")
			<-gate
			return err
		})
		p := w.dial()
		p.send(`40{"token":"` + token(t, "alice", time.Hour) + `"}`)
		synctest.Wait()
		for range 3 {
			if _, err := w.srv.Publish(t.Context(), "r", "x", strings.Repeat("a", 50_000)); err != nil {
				t.Fatal(err)
			}
		}
		close(gate)
		p.wantClose(4009, "SLOW_CONSUMER")
	})
}

// hung is a broker that does not answer.
type hung struct {
	hub.Broker
	left chan struct{}
}

func (h hung) History(ctx context.Context, _ string, _ *holdfast.Position, _ int) (hub.History, error) {
	<-ctx.Done()
	close(h.left)
	return hub.History{}, ctx.Err()
}

// A broker that does not answer must not hold a connection that is over.
func TestHungBroker(t *testing.T) {
	for name, end := range map[string]func(*world, *peer){
		"the client goes": func(_ *world, p *peer) { p.conn.CloseNow() },
		"it is revoked": func(w *world, _ *peer) {
			w.srv.Revoked(auth.Revocation{User: "alice", Code: holdfast.SessionRevoked, Before: time.Now()})
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				memory := hub.NewMemory(hub.MemoryConfig{})
				defer memory.Close()
				h := hung{memory, make(chan struct{})}
				w := newWorld(t, server.Config{Broker: h})
				p := w.connect("alice")
				p.send(`421["room:join",{"room":"r","since":{"epoch":"x","offset":1}}]`)
				synctest.Wait()
				start := time.Now()
				end(w, p)
				<-h.left
				if d := time.Since(start); d > 2*time.Minute {
					t.Errorf("held for %v", d)
				}
				p.conn.CloseNow()
			})
		})
	}
}

func TestPanickingAuthenticator(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{Authenticator: auth.Func(func(_ context.Context, c auth.Credential) (*holdfast.Identity, error) {
			return &holdfast.Identity{User: string(c.Payload[100:])}, nil
		})})
		p := w.dial()
		p.send("40{}")
		p.wantClose(1011, "INTERNAL")
	})
}
