package drill

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/hub/brokertest"
	"github.com/holdfast-dev/holdfast/server"
)

const secret = "0123456789abcdef0123456789abcdef"

// token lets sub into every room for an hour.
func token(t testing.TB, sub string) string {
	t.Helper()
	signed, err := auth.Mint(auth.SigningKey{Secret: []byte(secret)}, auth.Claims{User: sub, IssuedAt: time.Now(), Expires: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// authenticator knows tokens of token.
func authenticator(t testing.TB) auth.Authenticator {
	t.Helper()
	rooms := holdfast.MustRoomList("**")
	a, err := auth.NewJWT(auth.JWTConfig{Secret: []byte(secret), DefaultRooms: &rooms})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// cluster is two servers on one broker. Servers are started again, history is
// lost, brokers are cut off and deliver badly.
type cluster struct {
	t      *testing.T
	remote *brokertest.Remote
	nodes  []*node
}

// node is one server, and the one that comes after it.
type node struct {
	broker *brokertest.FaultyBroker

	mu   sync.Mutex // guards what follows
	srv  *server.Server
	http *http.Server
	addr string
	done chan struct{} // closed when http serves no more
}

func newCluster(t *testing.T, seed uint64) *cluster {
	c := &cluster{t: t, remote: brokertest.NewRemote(hub.MemoryConfig{Events: 400})}
	for i := range uint64(2) {
		n := &node{broker: brokertest.Faulty(c.remote.Client(), brokertest.Plan{
			Seed: seed + i, Delay: 2 * time.Millisecond, Fail: 0.01, Drop: 0.02, Again: 0.05, Late: 0.05, Unknown: 0.02, Stretch: 3,
		})}
		c.nodes = append(c.nodes, n)
		n.start(t)
	}
	t.Cleanup(func() {
		for _, n := range c.nodes {
			n.stop(t)
			n.broker.Wait()
		}
		if err := c.remote.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (n *node) start(t *testing.T) {
	t.Helper()
	srv, err := server.New(server.Config{
		Authenticator: authenticator(t), Broker: n.broker, Logger: slog.New(slog.DiscardHandler),
		ConnectionsPerUser: -1, UnauthenticatedPerAddress: -1, AdmissionRate: -1, TotalAdmissionRate: -1, MessageRate: -1,
	})
	if err != nil {
		t.Error(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Error(err)
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	done := make(chan struct{})
	n.srv, n.http, n.addr, n.done = srv, &http.Server{Handler: srv}, l.Addr().String(), done
	go func(h *http.Server) {
		defer close(done)
		_ = h.Serve(l)
	}(n.http)
}

// stop ends the server as an operator does.
func (n *node) stop(t *testing.T) {
	n.mu.Lock()
	srv, h, done := n.srv, n.http, n.done
	n.addr = ""
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := srv.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	_ = h.Close()
	<-done
}

// where returns the address of the server; "" while there is none.
func (n *node) where() (string, *server.Server) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.addr, n.srv
}

// line is one client's way to the cluster: each connection goes to any of the
// nodes, and all of them can be cut at once.
type line struct {
	cluster *cluster

	mu    sync.Mutex // guards what follows
	rng   *rand.Rand
	conns map[net.Conn]struct{}
}

// lineConn takes itself off its line.
type lineConn struct {
	net.Conn
	l *line
}

// Close implements net.Conn.
func (c lineConn) Close() error {
	c.l.mu.Lock()
	delete(c.l.conns, c.Conn)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

func (c *cluster) line(rng *rand.Rand) *line {
	return &line{cluster: c, rng: rng, conns: make(map[net.Conn]struct{})}
}

func (l *line) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	l.mu.Lock()
	n := l.cluster.nodes[l.rng.IntN(len(l.cluster.nodes))]
	l.mu.Unlock()
	addr, _ := n.where()
	if addr == "" {
		return nil, errors.New("the node is down")
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[conn] = struct{}{}
	return lineConn{conn, l}, nil
}

// cut breaks all connections, without a goodbye.
func (l *line) cut() {
	l.mu.Lock()
	conns := slices.Collect(maps.Keys(l.conns))
	clear(l.conns)
	l.mu.Unlock()
	for _, c := range conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset: what is on its way is lost
		}
		_ = c.Close()
	}
}

func (l *line) http() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: l.dial, DisableKeepAlives: true}}
}

// tally counts trouble by its name.
type tally struct {
	mu   sync.Mutex // guards made
	made map[string]int
}

func (t *tally) add(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.made[name]++
}

func (t *tally) of(name string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.made[name]
}

// disturb makes trouble every now and then, until stop, and counts it in made.
func (c *cluster) disturb(rng *rand.Rand, stop <-chan struct{}, made *tally) {
	troubles := []struct {
		name string
		make func(n *node)
	}{
		{"server restarts", func(n *node) { n.stop(c.t); n.start(c.t) }},
		{"broker wipes", func(*node) { c.remote.Wipe() }},
		{"server restarts", func(n *node) { n.stop(c.t); n.start(c.t) }},
		{"broker restarts", func(*node) { c.remote.Restart() }},
		{"broker cuts", func(n *node) {
			n.broker.Cut()
			pause(rng, 200*time.Millisecond)
			n.broker.Restore()
		}},
	}
	for count := 0; ; count++ {
		pause(rng, 600*time.Millisecond)
		select {
		case <-stop:
			return
		default:
		}
		n := c.nodes[rng.IntN(len(c.nodes))]
		i := rng.IntN(len(troubles))
		if count < 2 {
			i = count // the two that weigh most, in a run of seconds too
		}
		troubles[i].make(n)
		made.add(troubles[i].name)
	}
}

// pause waits for up to d.
func pause(rng *rand.Rand, d time.Duration) { <-time.After(time.Duration(rng.Int64N(int64(d)))) }
