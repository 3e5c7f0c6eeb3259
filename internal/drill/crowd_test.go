package drill

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/internal/memnet"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/tokens"
)

// brief is a server that is killed and started again, on a network in memory.
type brief struct {
	t *testing.T

	mu       sync.Mutex // guards what follows
	listener *memnet.Listener
	conns    []net.Conn
	stop     func()
}

// start serves, admitting so many new connections a second.
func (b *brief) start(rate float64) {
	srv, err := server.New(server.Config{
		Authenticator: authenticator(b.t), Logger: slog.New(slog.DiscardHandler),
		UnauthenticatedPerAddress: -1, AdmissionRate: -1, TotalAdmissionRate: rate,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	l, h, served := memnet.Listen(), &http.Server{Handler: srv}, make(chan struct{})
	go func() {
		defer close(served)
		_ = h.Serve(l)
	}()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listener = l
	b.stop = func() {
		b.mu.Lock()
		b.listener = nil
		for _, conn := range b.conns { // as if it were killed: nobody is told
			conn.Close()
		}
		b.conns = nil
		b.mu.Unlock()
		_ = h.Close()
		<-served
		if err := srv.Shutdown(context.Background()); err != nil {
			b.t.Error(err)
		}
	}
}

// dial connects to the server that is there.
func (b *brief) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.listener == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: fmt.Errorf("nobody listens")}
	}
	conn, err := b.listener.Dial(ctx)
	if err == nil {
		b.conns = append(b.conns, conn)
	}
	return conn, err
}

// TestCrowdComesBack kills a server under 400 clients, and starts one again that
// admits 40 new connections a second: all are back, by three tries each since
// it listens, and in not much more time than that takes.
func TestCrowdComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, rate = 400, 40
		b := &brief{t: t}
		b.start(-1)
		transport := &http.Transport{DialContext: b.dial, DisableKeepAlives: true}
		var mu sync.Mutex // guards what follows
		listens := false
		tries, back := make([]int, clients), make([]bool, clients)
		var watching, all sync.WaitGroup
		all.Add(clients)
		var crowd []*client.Client
		for i := range clients {
			c, err := client.New(client.Config{
				BaseURL: "http://holdfast.test", Source: tokens.Static(token(t, fmt.Sprint("user-", i))), HTTPClient: &http.Client{Transport: transport},
				Socket: client.SocketConfig{Transports: []string{client.WebSocket}}, Logger: slog.New(slog.DiscardHandler),
			})
			if err != nil {
				t.Fatal(err)
			}
			crowd = append(crowd, c)
			if err := c.Socket().Connect(t.Context()); err != nil {
				t.Fatal(err)
			}
			changes, _ := c.Socket().Changes(16) // closed with the socket
			watching.Go(func() {
				for change := range changes {
					mu.Lock()
					switch {
					case !listens || back[i]:
					case change.State == client.Connecting:
						tries[i]++
					case change.State == client.Connected:
						back[i] = true
						all.Done()
					}
					mu.Unlock()
				}
			})
		}
		b.stop()
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		mu.Lock()
		listens = true
		mu.Unlock()
		began := time.Now()
		b.start(rate)
		all.Wait()
		took := time.Since(began)
		mu.Lock()
		counts := make(map[int]int)
		for _, n := range tries {
			counts[n]++
		}
		mu.Unlock()
		t.Logf("after %v, tries %v", took, counts)
		for n, c := range counts {
			if n > 3 {
				t.Errorf("%d clients needed %d tries", c, n)
			}
		}
		if most := 3 * clients / rate * time.Second / 2; took > most || counts[1] == clients {
			t.Errorf("all were back after %v, want %v at most; %d were never refused", took, most, counts[1])
		}
		for _, c := range crowd {
			_ = c.Close()
		}
		watching.Wait()
		b.stop()
	})
}
