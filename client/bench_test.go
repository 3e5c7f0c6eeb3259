//go:build linux

package client

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/holdfast-dev/holdfast/tokens"
)

// fleetSize is how many connections a benchmark has.
const fleetSize = 1000

// cpuTime is what this process has used, user and system.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// fleets are the ways to have many clients.
var fleets = []struct {
	name   string
	launch func(f *fleet, n int)
}{
	{"one manager", func(f *fleet, n int) {
		m := f.manager()
		f.launch(n, "room", func() tokens.Source { return m })
	}},
	{"a manager each", func(f *fleet, n int) {
		f.launch(n, "room", func() tokens.Source { return f.manager() })
	}},
	{"fixed token", func(f *fleet, n int) {
		f.launch(n, "room", func() tokens.Source { return tokens.Static(f.token.Access) })
	}},
	{"bare gobwas", launchBare},
}

// BenchmarkIdle weighs clients that are connected, in a room, and have nothing
// to do but answer pings: bytes of the heap and of stacks, and goroutines, each
// by connection.
func BenchmarkIdle(b *testing.B) {
	for _, kind := range fleets {
		b.Run(kind.name, func(b *testing.B) {
			f := newFleet(b, time.Second)
			f.launch(1, "elsewhere", func() tokens.Source { return tokens.Static(f.token.Access) }) // what is made once
			for b.Loop() {
				before := weigh()
				kind.launch(f, fleetSize)
				f.publish(1, "room", fleetSize)
				<-time.After(5 * time.Second) // until what was needed for that is given back
				after := weigh()
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/fleetSize, "heap-B/conn")
				b.ReportMetric(float64(after.StackInuse-before.StackInuse)/fleetSize, "stack-B/conn")
				b.ReportMetric(float64(after.goroutines-before.goroutines)/fleetSize, "goroutines/conn")
				b.StopTimer()
				f.land()
				b.StartTimer()
			}
		})
	}
}

// weight is what this process holds.
type weight struct {
	runtime.MemStats
	goroutines int
}

func weigh() (w weight) {
	runtime.GC() // which frees what pools hold
	runtime.GC()
	runtime.ReadMemStats(&w.MemStats)
	w.goroutines = runtime.NumGoroutine()
	return w
}

// BenchmarkEvents is an event of a room on its way to a typed handler, one of
// many connections each time: CPU of this process, user and system, the
// server's not. One by one each connection has read the last event before the
// next is published; in bursts 16 come at once.
func BenchmarkEvents(b *testing.B) {
	for _, kind := range fleets {
		for _, burst := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, burst), func(b *testing.B) {
				f := newFleet(b, 25*time.Second)
				defer f.land()
				kind.launch(f, fleetSize)
				f.publish(16, "room", 16*fleetSize)
				b.ReportAllocs()
				b.ResetTimer()
				start := cpuTime(b)
				events := 0
				for events < b.N {
					f.publish(burst, "room", burst*fleetSize)
					events += burst * fleetSize
				}
				used := cpuTime(b) - start
				b.StopTimer()
				b.ReportMetric(float64(used.Nanoseconds())/1000/float64(events), "cpu-µs/event")
				b.ReportMetric(float64(events)/float64(b.N), "events/op") // by which the allocations are to be divided
			})
		}
	}
}

// launchBare adds connections without a client: what a WebSocket library alone
// takes to hear the same events, undecoded.
func launchBare(f *fleet, n int) {
	ctx, cancel := context.WithCancel(context.Background())
	joined := make(chan error, n)
	for range n {
		go func() {
			conn, br, _, err := ws.Dial(ctx, "ws"+f.url[len("http"):]+"/socket.io/?EIO=4&transport=websocket")
			if err != nil {
				joined <- err
				return
			}
			context.AfterFunc(ctx, func() { conn.Close() })
			if br != nil {
				ws.PutReader(br) // the handshake, which says nothing new
			}
			joined <- f.bare(conn)
		}()
	}
	for range n {
		if err := <-joined; err != nil {
			f.tb.Fatal(err)
		}
	}
	f.tb.Cleanup(cancel)
}

// bare enters the room and goes on counting its events.
func (f *fleet) bare(conn net.Conn) error {
	for _, text := range []string{`40{"token":"` + f.token.Access + `"}`, `420["room:join",{"room":"room"}]`} {
		if err := wsutil.WriteClientText(conn, []byte(text)); err != nil {
			return err
		}
	}
	for {
		text, err := wsutil.ReadServerText(conn)
		if err != nil {
			return err
		}
		if bytes.HasPrefix(text, []byte("430")) {
			break
		}
	}
	go func() {
		for {
			text, err := wsutil.ReadServerText(conn)
			switch {
			case err != nil:
				return
			case string(text) == "2":
				_ = wsutil.WriteClientText(conn, []byte("3"))
			case bytes.HasPrefix(text, []byte(`42["moved"`)):
				f.count()
			}
		}
	}()
	return nil
}
