package server

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
)

// deaf is a sink that nobody listens to.
type deaf struct{}

func (deaf) Send(*hub.Frame) bool { return true }

// Of a refresh and a reload at the same time the later one wins in every
// namespace, and not another one in each.
func TestRefreshAndReloadAtOnce(t *testing.T) {
	a := auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
		return &holdfast.Identity{User: "a", Name: "refreshed", Expires: time.Now().Add(time.Hour)}, nil
	})
	s, err := New(Config{Authenticator: a, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(t.Context())
	l := &link{srv: s, proto: socketIO{}, eio: &overheard{}}
	defer l.cancel()
	l.identity = &holdfast.Identity{User: "a"}
	for i := range 20 {
		c := &Conn{link: l, ns: &Namespace{name: fmt.Sprint("/", i)}}
		c.ctx, c.tie = l.tie()
		c.session, err = s.hub.Open(hub.SessionConfig{ID: c.ns.name, Identity: l.identity, Sink: deaf{}, Encoder: roomEncoder{}})
		if err != nil {
			t.Fatal(err)
		}
		s.lines.add()
		defer c.leave(nil)
		c.setIdentity(l.identity)
		c.open.Store(true)
		l.conns = append(l.conns, c)
	}
	for round := range 2000 {
		old := l.identity
		var both sync.WaitGroup
		both.Go(func() { l.outdate(old, &holdfast.Identity{User: "a", Name: "reloaded"}) })
		both.Go(func() { l.adopt(&holdfast.Identity{User: "a", Name: "refreshed", Expires: time.Now().Add(time.Hour)}) })
		both.Wait()
		for _, c := range l.conns {
			if c.Identity() != l.identity || c.session.Identity() != l.identity {
				t.Fatalf("round %d: %s has %q, the connection %q", round, c.ns.name, c.Identity().Name, l.identity.Name)
			}
		}
	}
	l.mu.Lock()
	l.life.stop()
	l.mu.Unlock()
}
