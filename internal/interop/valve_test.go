package interop

import (
	"io"
	"net"
	"sync"
	"testing"
)

// valve stands between a client and a server, and cuts them off from each
// other.
type valve struct {
	target   string
	listener net.Listener
	wait     sync.WaitGroup

	mu       sync.Mutex // guards what follows
	shut     bool
	conns    map[net.Conn]struct{}
	accepted int // since the last cut
}

// newValve returns an open valve in front of the server at an address.
func newValve(t *testing.T, target string) *valve {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &valve{target: target, listener: listener, conns: make(map[net.Conn]struct{})}
	v.wait.Go(v.serve)
	t.Cleanup(func() {
		listener.Close()
		v.cut()
		v.wait.Wait()
	})
	return v
}

func (v *valve) address() string { return v.listener.Addr().String() }

func (v *valve) serve() {
	for {
		conn, err := v.listener.Accept()
		if err != nil {
			return
		}
		v.wait.Go(func() { v.join(conn) })
	}
}

// join carries bytes both ways until either side ends, or cut does.
func (v *valve) join(near net.Conn) {
	defer near.Close()
	if !v.enter(near) {
		return
	}
	defer v.leave(near)
	far, err := net.Dial("tcp", v.target)
	if err != nil {
		return
	}
	defer far.Close()
	v.wait.Go(func() {
		defer near.Close()
		defer far.Close()
		_, _ = io.Copy(far, near) // its errors are those of a cut
	})
	_, _ = io.Copy(near, far)
}

func (v *valve) enter(conn net.Conn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.shut {
		return false
	}
	v.conns[conn] = struct{}{}
	v.accepted++
	return true
}

func (v *valve) leave(conn net.Conn) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.conns, conn)
}

// cut ends every connection and lets nobody through any more. When it returns,
// nothing comes out of the valve.
func (v *valve) cut() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut, v.accepted = true, 0
	for conn := range v.conns {
		conn.Close()
	}
}

// mend lets clients through again.
func (v *valve) mend() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = false
}

// used is how many connections came since the last cut.
func (v *valve) used() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.accepted
}
