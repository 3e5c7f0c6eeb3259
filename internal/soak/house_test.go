package soak

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/hub/brokertest"
	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/standalone"
)

// lifetime is that of access tokens.
const lifetime = 5 * time.Second

// house is a server with accounts on SQLite, the server that comes after it,
// and what outlives both: the accounts, the broker, and the proxy before them.
type house struct {
	dir    string
	broker *brokertest.Remote
	proxy  *proxy

	// Owned by whoever starts and stops.
	srv  *standalone.Standalone
	http *http.Server
	done chan struct{} // closed when http serves no more
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{
		dir: filepath.Join(t.TempDir(), "data"), proxy: newProxy(t),
		broker: brokertest.NewRemote(hub.MemoryConfig{Age: 2 * patience}),
	}
	if err := h.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.stop(true); err != nil {
			t.Error(err)
		}
		if err := h.broker.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *house) start() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	srv, err := standalone.New(ctx, standalone.Config{
		Config: server.Config{
			Broker: h.broker.Client(), Logger: slog.New(slog.DiscardHandler),
			ConnectionsPerUser: -1, UnauthenticatedPerAddress: -1, AdmissionRate: -1, TotalAdmissionRate: -1,
		},
		Identity: &identity.Config{
			// The grace is for a refresh whose answer was lost, and must be longer
			// than a client may rest before it tries again.
			Dir: h.dir, AccessTokenLifetime: lifetime, RefreshGrace: 2 * patience,
			Argon2: identity.Argon2{Memory: 64, Time: 1},
		},
		AccountHTTP: identity.HTTPConfig{CallRate: -1, AttemptRate: -1}, // all come from one address
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h.srv, h.http, h.done = srv, &http.Server{Handler: srv}, make(chan struct{})
	go func() {
		defer close(h.done)
		_ = h.http.Serve(l)
	}()
	h.proxy.lead(l.Addr().String())
	return nil
}

// stop ends the server as an operator does; or, without grace, so that to
// its clients it is gone from one moment to the next.
func (h *house) stop(grace bool) error {
	h.proxy.lead("")
	if !grace {
		h.proxy.cut(nil, 1)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := h.srv.Shutdown(ctx)
	_ = h.http.Close()
	<-h.done
	return err
}

// troubles is what was done to the clients.
type troubles struct{ cuts, links, drains, crashes int }

// disturb makes trouble every now and then, until stop.
func (h *house) disturb(t *testing.T, rng *rand.Rand, stop <-chan struct{}, made *troubles) {
	for wait(rng, 3*time.Second, stop) {
		n, share := rng.IntN(6), []float64{0.05, 0.2, 1}[rng.IntN(3)]
		switch { // in a short run nothing is left to luck
		case made.links == 0:
			n, share = 0, 1
		case made.drains+made.crashes == 0:
			n = 4 + n%2
		}
		if n < 4 {
			made.cuts++
			made.links += h.proxy.cut(rng, share)
			continue
		}
		grace := n == 4
		if grace {
			made.drains++
		} else {
			made.crashes++
		}
		if err := h.stop(grace); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		wait(rng, 2*time.Second, nil)
		if err := h.start(); err != nil {
			t.Errorf("the server does not start again: %v", err)
			return
		}
	}
}

// wait waits for up to d. It is false if stop came first.
func wait(rng *rand.Rand, d time.Duration, stop <-chan struct{}) bool {
	timer := time.NewTimer(time.Duration(rng.Int64N(int64(d))))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
		return false
	}
}
