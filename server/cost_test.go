package server_test

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast/server"
)

// An idle connection costs one goroutine of the server, besides the few that
// wait to do the work of all. The client of this test costs some of its own,
// which a second measurement without the server's part would show, so they are
// counted by the stack they wait in.
func TestIdleConnectionsCostOneGoroutine(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{ConnectionsPerUser: -1, AdmissionRate: -1})
		const n = 200
		var peers []*peer
		for range n {
			p := w.connect("alice")
			p.send(`421["room:join",{"room":"r"}]`)
			p.want("431[")
			peers = append(peers, p)
		}
		synctest.Wait()
		<-time.After(time.Second)
		synctest.Wait()
		if got := serverGoroutines(); got > n+5+2*runtime.GOMAXPROCS(0) {
			t.Errorf("%d connections cost %d goroutines", n, got)
		}
		runtime.KeepAlive(peers)
	})
}

// serverGoroutines counts the goroutines that run code of this module's
// server side.
func serverGoroutines() int {
	records := make([]runtime.StackRecord, 100_000)
	n, ok := runtime.GoroutineProfile(records)
	if !ok {
		return -1
	}
	count := 0
	for _, r := range records[:n] {
		frames := runtime.CallersFrames(r.Stack())
		for {
			f, more := frames.Next()
			if ownCode(f.Function) {
				count++
				break
			}
			if !more {
				break
			}
		}
	}
	return count
}

func ownCode(function string) bool {
	for _, p := range []string{"holdfast/server.", "holdfast/hub.", "holdfast/internal/transport."} {
		const module = "github.com/holdfast-dev/"
		if len(function) > len(module)+len(p) && function[:len(module)+len(p)] == module+p {
			return true
		}
	}
	return false
}
