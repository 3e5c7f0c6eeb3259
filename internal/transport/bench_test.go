package transport

import (
	"bytes"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

// BenchmarkEcho is a message and its echo over loopback TCP, the client's work
// included.
func BenchmarkEcho(b *testing.B) {
	for _, size := range []int{128, 10_000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			rg := newRig(b, tcpNetwork(b), EngineConfig{}, echoing, func(s *session) { s.got = nil })
			c, _ := rg.connect()
			message := frame(fText, "4"+strings.Repeat("x", size-1))
			answer := make([]byte, len(NewFrame(make([]byte, size)).Wire))
			b.ReportAllocs()
			for b.Loop() {
				c.write(message)
				for n := 0; n < len(answer); {
					k, err := c.in.Read(answer[n:])
					if err != nil {
						b.Fatal(err)
					}
					n += k
				}
			}
			b.StopTimer()
			c.conn.Close()
		})
	}
}

// BenchmarkJoinedWrites sends shared frames to one connection as fast as its
// peer takes them.
func BenchmarkJoinedWrites(b *testing.B) {
	for _, size := range []int{128, 2000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			rg := newRig(b, tcpNetwork(b), EngineConfig{})
			c, s := rg.connect()
			f := NewFrame([]byte("4" + strings.Repeat("x", size-1)))
			var drained sync.WaitGroup
			drained.Go(func() { drain(c.conn) })
			b.SetBytes(int64(len(f.Wire)))
			b.ReportAllocs()
			for b.Loop() {
				if s.conn.Pace(b.Context()) != nil || !s.conn.Send(f) {
					b.Fatal("not sent")
				}
			}
			b.StopTimer()
			s.conn.Close(nil)
			drained.Wait()
			c.conn.Close()
		})
	}
}

func drain(conn net.Conn) {
	buf := make([]byte, 256<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[max(0, n-4):n], []byte{0x88, 2, 3, 0xe8}) {
			conn.Close()
		}
	}
}

// BenchmarkFanOut sends one frame to 1000 connections in memory, and waits
// until all have written it.
func BenchmarkFanOut(b *testing.B) {
	const connections = 1000
	e := NewEngine(EngineConfig{Open: func(*Conn) (Receiver, error) { return &session{closed: make(chan error, 1)}, nil }})
	var written sync.WaitGroup
	conns := make([]*Conn, connections)
	for i := range conns {
		conns[i] = &Conn{host: e.host, ws: &socket{conn: sinkConn{written: &written}}}
	}
	f := NewFrame([]byte("4" + strings.Repeat("x", 127)))
	b.ReportAllocs()
	for b.Loop() {
		written.Add(connections)
		for _, c := range conns {
			c.Send(f)
		}
		written.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*connections), "ns/delivery")
	e.wg.Wait()
}

// sinkConn takes writes of single frames.
type sinkConn struct {
	net.Conn
	written *sync.WaitGroup
}

func (s sinkConn) Write(p []byte) (int, error) {
	s.written.Done()
	return len(p), nil
}

// BenchmarkIdle reports what an idle connection costs: bytes of heap and
// stacks, the client's ends included, bytes of resident memory, and
// goroutines.
func BenchmarkIdle(b *testing.B) {
	const connections = 2000
	rg := newRig(b, tcpNetwork(b), EngineConfig{}, echoing, func(s *session) { s.got = nil })
	for b.Loop() {
		goroutines := runtime.NumGoroutine()
		bytes, resident := memory(), rss(b)
		conns := idleConnections(b, rg, connections)
		settle(func() int { return runtime.NumGoroutine() - goroutines }, connections+1)
		b.ReportMetric(float64(memory()-bytes)/connections, "B/conn")
		b.ReportMetric(float64(rss(b)-resident)/connections, "RSS-B/conn")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/connections, "goroutines/conn")
		for _, c := range conns {
			c.Close()
		}
		settle(rg.engine.Len, 0)
	}
}

func memory() int64 {
	runtime.GC()
	runtime.GC() // pools are emptied by the second one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// rss returns the resident memory of this process; 0 where it can't be known.
func rss(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

// BenchmarkReader reads messages from a buffer.
func BenchmarkReader(b *testing.B) {
	for _, size := range []int{128, 10_000} {
		b.Run(strconv.Itoa(size), func(b *testing.B) {
			one := frame(fText, strings.Repeat("x", size))
			data := bytes.Repeat(one, 1000)
			src := bytes.NewReader(data)
			rd := &reader{src: chunks{src, upTo(1 << 20)}, in: wsframe.Buffer{Pool: new(wsframe.Buffers)}, limit: 1_000_000}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := rd.next(); err != nil {
					src.Reset(data)
				}
			}
		})
	}
}
