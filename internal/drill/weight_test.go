package drill

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/internal/memnet"
	"github.com/holdfast-dev/holdfast/server"
)

// TestWeight weighs a whole server with many connections over /ws, in one room
// and each in a room of its own: the server's memory, the buffers of the network
// in memory, and the little that a client keeps here. It grows with their
// number. HOLDFAST_WEIGHT says how many there are (2,000; the drill takes
// 10,000).
func TestWeight(t *testing.T) {
	const few = 100 // with which all is made that is made once
	// A few connections weigh what happens to run beside them, too, the more
	// so with the race detector: that they do not grow out of line is asked of
	// the many.
	most, growth := 2000, 1.6
	if n := os.Getenv("HOLDFAST_WEIGHT"); n != "" {
		if _, err := fmt.Sscan(n, &most); err != nil {
			t.Fatal(err)
		}
		growth = 1.15
	}
	sizes := []int{few, most / 4, most / 2, most}
	for _, c := range []struct {
		name  string
		room  func(i int) string
		bound float64 // bytes a connection; 10,700 were measured on 64 bits, 14,900 with the race detector
	}{
		{"in one room", func(int) string { return "room" }, 18_000},
		{"each in a room of its own", func(i int) string { return fmt.Sprint("room-", i) }, 18_000},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv, err := server.New(server.Config{
				Authenticator: authenticator(t), Logger: slog.New(slog.DiscardHandler), PingInterval: time.Hour,
				ConnectionsPerUser: -1, UnauthenticatedPerAddress: -1, AdmissionRate: -1, TotalAdmissionRate: -1,
			})
			if err != nil {
				t.Fatal(err)
			}
			l := memnet.Listen()
			h := &http.Server{Handler: srv}
			served := make(chan struct{})
			go func() {
				defer close(served)
				_ = h.Serve(l)
			}()
			tok := token(t, "ann")
			var conns []net.Conn
			grow := func(n int) int64 {
				for len(conns) < n {
					conns = append(conns, joined(t, l, tok, c.room(len(conns))))
				}
				return inUse()
			}
			first, all := grow(few), int64(0)
			var each []float64
			for _, n := range sizes[1:] {
				all = grow(n)
				each = append(each, float64(all-first)/float64(n-few))
			}
			t.Logf("%.0f, %.0f and %.0f bytes a connection, for %v; %d MiB in all", each[0], each[1], each[2], sizes[1:], all>>20)
			for i, b := range each {
				if b > c.bound || i > 0 && b > growth*each[i-1] {
					t.Errorf("%.0f bytes a connection for %d: at most %.0f, and what it was for fewer", b, sizes[i+1], c.bound)
				}
			}
			if n := srv.Connections(); n != len(conns) {
				t.Errorf("%d connections of %d", n, len(conns))
			}
			for _, conn := range conns {
				conn.Close()
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := srv.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			h.Close()
			<-served
		})
	}
}

// joined opens a connection by hand, so that the client's part is small, and
// joins a room.
func joined(t *testing.T, l *memnet.Listener, token, room string) net.Conn {
	t.Helper()
	conn, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	say := func(text []byte, answer string) {
		if _, err := conn.Write(text); err != nil {
			t.Fatal(err)
		}
		var seen []byte
		for buf := make([]byte, 1024); !bytes.Contains(seen, []byte(answer)); {
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%v after %q", err, seen)
			}
			seen = append(seen, buf[:n]...)
		}
	}
	say(fmt.Appendf(nil, "GET /ws HTTP/1.1\r\nHost: drill.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nAuthorization: Bearer %s\r\n\r\n", token), `"authenticated"`)
	text := fmt.Sprintf(`{"type":"join","room":%q,"ref":1}`, room)
	say(append([]byte{0x81, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...), `"ok"`) // masked with zeros
	return conn
}

// inUse returns the bytes of live objects and of stacks.
func inUse() int64 {
	runtime.GC()
	runtime.GC() // what the first one finalised
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
