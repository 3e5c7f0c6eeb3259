package transport

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/memnet"
)

// A client may send its first messages right behind the bytes of the upgrade
// request. They are then in the HTTP server's buffer, or arrive while the
// session is being set up, and none may be lost.
func TestMessagesBehindUpgradeRequest(t *testing.T) {
	rounds := 2 * 5 * 701 // each size with each cut, twice
	if testing.Short() {
		rounds = 500
	}
	run := func(t *testing.T, n network, rounds int) {
		rg := newRig(t, n, EngineConfig{}, echoing, func(s *session) { s.got = nil })
		workers := 4
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := w; i < rounds; i += workers {
					first, second := fmt.Sprintf("4first-%d", i), strings.Repeat("4second", i%701)
					early := cat(frame(fText, first), frame(fBinary, second))
					cut := len(early) * (i % 5) / 4 // from all of it behind the request to none
					c, resp := rg.rawWebSocket(websocketQuery, early[:cut])
					if resp.StatusCode != 101 {
						t.Errorf("round %d: %s", i, resp.Status)
						return
					}
					c.write(early[cut:])
					if open := c.next(); !strings.HasPrefix(open, "text 0{") {
						t.Errorf("round %d: got %q first", i, open)
						return
					}
					if got := c.next(); got != "text "+first {
						t.Errorf("round %d: got %q", i, got)
						return
					}
					if got := c.next(); got != fmt.Sprintf("binary %x", second) {
						t.Errorf("round %d: second message is wrong: %.100q", i, got)
						return
					}
					c.conn.Close()
					<-rg.sessions
				}
			})
		}
		wg.Wait()
	}
	t.Run("memnet", func(t *testing.T) { // without a bubble: here real threads are to meet
		l := memnet.Listen()
		run(t, network{listener: l, dial: l.Dial}, rounds)
	})
	t.Run("tcp", func(t *testing.T) { run(t, tcpNetwork(t), rounds/10) })
	t.Run("front", func(t *testing.T) {
		n := tcpNetwork(t)
		n.fronted = true
		run(t, n, rounds/10)
	})
}

// An idle connection costs one goroutine at the most, and none where loops wait
// for it.
func TestGoroutinesOfIdleConnections(t *testing.T) {
	const connections = 1000
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{}, echoing)
		before := runtime.NumGoroutine()
		idleConnections(t, rg, connections)
		most := 10 + len(rg.engine.loops)
		if n.fake || !hasPoller {
			most += connections
		}
		got := settle(func() int { return runtime.NumGoroutine() - before }, most)
		if got > most {
			t.Errorf("%d goroutines for %d connections", got, connections)
		}
	})
}

// idleConnections opens connections that each have exchanged a message.
func idleConnections(t testing.TB, rg *rig, n int) []net.Conn {
	var conns []net.Conn
	for range n {
		c := rg.webSocket(websocketQuery)
		c.next()
		c.text("4hello")
		c.want("text 4hello")
		<-rg.sessions
		c.in = nil
		conns = append(conns, c.conn)
	}
	return conns
}

// settle waits until a figure is at most limit, for a while: goroutines end
// without an event.
func settle(figure func() int, limit int) int {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	until(func() bool { return figure() <= limit || ctx.Err() != nil })
	return figure()
}

// Behind a front a session has the TCP connection itself, also one whose request
// was too long for it: that is what it can wait and write on at least cost.
func TestBareConnections(t *testing.T) {
	n := tcpNetwork(t)
	n.fronted = true
	rg := newRig(t, n, EngineConfig{}, echoing)
	for _, query := range []string{websocketQuery, websocketQuery + "&more=" + strings.Repeat("a", 8<<10)} {
		c := rg.webSocket(query)
		c.next()
		c.text("4hello")
		c.want("text 4hello")
		s := <-rg.sessions
		s.conn.mu.Lock()
		conn := s.conn.ws.conn
		s.conn.mu.Unlock()
		if _, ok := conn.(*net.TCPConn); !ok {
			t.Errorf("with %d bytes in the query: %T", len(query), conn)
		}
		c.conn.Close()
	}
}
