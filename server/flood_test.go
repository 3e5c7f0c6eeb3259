package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast/server"
)

// TestFloodOfBadTokens lets strangers with bad tokens storm the server from a
// hundred addresses while good clients connect from others: every good one
// gets in, and every bad one is refused with a code. It prints the good
// clients' times and the memory with and without the flood; HOLDFAST_FLOOD
// sets how many bad ones there are (300; the drill takes 10,000).
func TestFloodOfBadTokens(t *testing.T) {
	bad, good := 300, 100
	if n := os.Getenv("HOLDFAST_FLOOD"); n != "" {
		if _, err := fmt.Sscan(n, &bad); err != nil {
			t.Fatal(err)
		}
	}
	calm := runFlood(t, 0, good)
	storm := runFlood(t, bad, good)
	t.Logf("good clients alone:          p50 %v, p99 %v, heap %d MiB", calm.at(50), calm.at(99), calm.heap>>20)
	t.Logf("with %5d bad ones at once: p50 %v, p99 %v, heap %d MiB (%d refused by 44, %d over HTTP)",
		bad, storm.at(50), storm.at(99), storm.heap>>20, storm.refused.Load(), storm.turned.Load())
	if n := storm.refused.Load() + storm.turned.Load(); n != int64(bad) {
		t.Errorf("%d of %d bad ones were refused", n, bad)
	}
}

type floodResult struct {
	times           []time.Duration // of the good clients, sorted
	heap            uint64
	refused, turned atomic.Int64
}

func (r *floodResult) at(percent int) time.Duration {
	return r.times[min(len(r.times)-1, len(r.times)*percent/100)].Round(10 * time.Microsecond)
}

func runFlood(t *testing.T, bad, good int) *floodResult {
	// So many at once take their time on a busy machine, and that is not theirs.
	w := newWorld(t, server.Config{ConnectionsPerUser: -1, ConnectTimeout: time.Hour, AuthTimeout: time.Hour, PingInterval: time.Hour})
	forged := token(t, "alice", time.Hour) + "x"
	tokens := make([]string, good)
	for i := range tokens {
		tokens[i] = token(t, fmt.Sprint("user", i), time.Hour)
	}
	r := &floodResult{}
	var strangers sync.WaitGroup
	slots := make(chan struct{}, 500) // at once
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range bad {
			slots <- struct{}{}
			strangers.Go(func() {
				defer func() { <-slots }()
				w.stranger(r, fmt.Sprintf("10.0.%d.%d", i/50%2, i%50), forged)
			})
		}
		strangers.Wait()
	}()
	for i, tok := range tokens {
		start := time.Now()
		conn, err := w.dialFrom(fmt.Sprintf("10.1.0.%d", i))
		if err != nil {
			t.Fatalf("good client %d: %v", i, err)
		}
		p := &peer{t: t, conn: conn, ctx: t.Context()}
		p.want("0{")
		p.connect(tok)
		r.times = append(r.times, time.Since(start))
		t.Cleanup(func() { conn.CloseNow() })
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	r.heap = m.HeapAlloc
	<-done
	slices.Sort(r.times)
	return r
}

// stranger connects with a bad token and goes when it was refused.
func (w *world) stranger(r *floodResult, addr, token string) {
	conn, err := w.dialFrom(addr)
	if err != nil {
		if strings.Contains(err.Error(), "429") || strings.Contains(err.Error(), "503") {
			r.turned.Add(1)
		}
		return
	}
	defer conn.CloseNow()
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	if conn.Write(ctx, websocket.MessageText, []byte(`40{"token":"`+token+`"}`)) != nil {
		return
	}
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if strings.HasPrefix(string(data), "44") {
			r.refused.Add(1)
			return
		}
	}
}

func (w *world) dialFrom(addr string) (*websocket.Conn, error) {
	from := &net.TCPAddr{IP: net.ParseIP(addr), Port: 1}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return w.net.DialFrom(ctx, from)
	}}}
	conn, resp, err := websocket.Dial(context.Background(), "ws://holdfast.test/socket.io/?EIO=4&transport=websocket", &websocket.DialOptions{HTTPClient: client})
	if err != nil && resp != nil {
		return nil, fmt.Errorf("%s: %w", resp.Status, err)
	}
	return conn, err
}
