package standalone

import (
	"context"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/pgtest"
	"github.com/holdfast-dev/holdfast/server"
)

// A repeat on another node of the same database gets the first answer, and has
// no effect.
func TestEventIDsOnTwoNodes(t *testing.T) {
	postgres, err := pgtest.Start(pgtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := postgres.Stop(); err != nil {
			t.Error(err)
		}
	})
	cfg := accounts(t)
	if cfg.Identity.Database, err = postgres.Create(); err != nil {
		t.Fatal(err)
	}
	if cfg.Authenticator, err = auth.NewJWT(auth.JWTConfig{Secret: []byte(crashSecret), DefaultRooms: everyRoom()}); err != nil {
		t.Fatal(err)
	}
	var effects atomic.Int64
	k := &killing{t: t}
	events := []*emitted{{id: "1", event: "append"}, {id: "2", event: "publish"}, {id: "3", event: "append"}}
	for range 2 {
		own := *cfg.Identity
		node := cfg
		node.Identity = &own
		s := start(t, node)
		server.Handle(s, "append", func(context.Context, *server.Conn, any) (int64, error) { return effects.Add(1), nil })
		web := httptest.NewServer(s)
		t.Cleanup(web.Close)
		// Both ways at once: within a node one waits for the other.
		var clients sync.WaitGroup
		for range 2 {
			clients.Go(func() {
				if err := k.client(strings.TrimPrefix(web.URL, "http://"), slices.Clone(events), func() {}); err != nil {
					t.Error(err)
				}
			})
		}
		clients.Wait()
	}
	if effects.Load() != 2 || k.acks != 12 {
		t.Errorf("%d effects, %d acks", effects.Load(), k.acks)
	}
}
