package soak

import (
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// proxy stands between the clients and the server, at an address that stays
// while servers come and go, and breaks connections.
type proxy struct {
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex // guards what follows
	target string     // "": there is no server
	links  map[*link]struct{}
	closed bool
}

// link is one connection through the proxy.
type link struct {
	client, server *net.TCPConn
	// fuse is how many bytes still pass before the link breaks, in the middle of
	// whatever they are of; negative for no end.
	fuse atomic.Int64
}

func newProxy(t *testing.T) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, links: make(map[*link]struct{})}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) url() string { return "http://" + p.listener.Addr().String() }

// lead sends new connections to another server.
func (p *proxy) lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

func (p *proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		p.wg.Go(func() { p.join(conn.(*net.TCPConn), target) })
	}
}

// join carries a connection to the server and back until it ends.
func (p *proxy) join(client *net.TCPConn, target string) {
	server, err := net.Dial("tcp", target)
	if err != nil {
		reset(client)
		return
	}
	l := &link{client: client, server: server.(*net.TCPConn)}
	l.fuse.Store(-1)
	p.mu.Lock()
	if p.closed || p.target != target {
		p.mu.Unlock()
		l.cut()
		return
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()
	var wg sync.WaitGroup
	wg.Go(func() { l.carry(l.server, l.client) })
	wg.Go(func() { l.carry(l.client, l.server) })
	wg.Wait()
	_ = client.Close()
	_ = server.Close()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// carry copies one direction.
func (l *link) carry(to, from *net.TCPConn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		burnt := false
		if left := l.fuse.Load(); left >= 0 {
			n, burnt = min(n, int(left)), int64(n) >= left
			l.fuse.Add(-int64(n))
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		switch {
		case burnt:
			l.cut()
			return
		case err != nil:
			_ = to.CloseWrite() // the other direction may have something to say
			return
		}
	}
}

// cut breaks a link without a goodbye: what is on its way is lost.
func (l *link) cut() {
	reset(l.client)
	reset(l.server)
}

func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// cut breaks each link with the given chance: half of them at once, half after
// some more bytes; without rng, all at once. It returns how many.
func (p *proxy) cut(rng *rand.Rand, chance float64) (cut int) {
	p.mu.Lock()
	var now []*link
	for l := range p.links {
		switch {
		case rng == nil:
			now = append(now, l)
		case rng.Float64() >= chance:
			continue
		case rng.IntN(2) == 0:
			now = append(now, l)
		default:
			l.fuse.Store(rng.Int64N(400))
		}
		cut++
	}
	p.mu.Unlock()
	for _, l := range now {
		l.cut()
	}
	return cut
}

func (p *proxy) close() {
	_ = p.listener.Close()
	p.mu.Lock()
	p.closed = true
	for l := range p.links {
		l.cut()
	}
	p.mu.Unlock()
	p.wg.Wait()
}
