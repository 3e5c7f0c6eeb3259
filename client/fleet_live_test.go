package client

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/tokens"
)

// fleetTries is how many attempts of a client may fail when its server is there
// again after a restart. How many fail before depends on how long that takes.
const fleetTries = 3

// TestFleet has many clients in one process (500; HOLDFAST_FLEET says how many,
// the drill takes 5,000), half of which share a Manager while the others have
// one each: all join a room, hear each event once and in order, come back after
// a restart of their server with what they missed, and leave no goroutine behind,
// which TestMain looks for.
func TestFleet(t *testing.T) {
	n := 500
	if text := os.Getenv("HOLDFAST_FLEET"); text != "" {
		if _, err := fmt.Sscan(text, &n); err != nil {
			t.Fatal(err)
		}
	}
	f := newFleet(t, 25*time.Second)
	defer f.land()
	shared := f.manager()
	f.launch(n/2, "room", func() tokens.Source { return shared })
	f.launch(n-n/2, "room", func() tokens.Source { return f.manager() })
	f.publish(3, "room", 3*n)

	changes := f.watch()
	f.do("restart")
	early := make([]int, n)
	for i, ch := range changes {
		early[i] = len(ch)
	}
	f.publish(2, "room", 2*n)
	failures, most := 0, 0
	for i, ch := range changes {
		all, late := f.back(ch, early[i])
		if late > fleetTries {
			t.Errorf("%d attempts of client %d failed after the restart", late, i)
		}
		failures, most = failures+all, max(most, all)
	}
	t.Logf("%d clients came back after %d failed attempts, %d of one at most", n, failures, most)
	f.publish(3, "room", 3*n)
	if got := f.got.Load(); got != int64(8*n) {
		t.Errorf("%d events came to %d clients, not 8 each", got, n)
	}
}

// A connection that is idle has one goroutine, whatever its Source: no writer,
// none for handlers, none for its Manager or to hear of its events.
func TestFleetIdle(t *testing.T) {
	const n = 50
	f := newFleet(t, time.Second)
	defer f.land()
	shared := f.manager()
	before := runtime.NumGoroutine()
	f.launch(n, "room", func() tokens.Source { return shared })
	f.launch(n, "room", func() tokens.Source { return f.manager() })
	f.publish(1, "room", 2*n)
	// After two pings, but for what the next one keeps busy.
	f.settle(func() bool { return runtime.NumGoroutine()-before <= 2*n+5 })
	if got := runtime.NumGoroutine() - before; got > 2*n+5 {
		t.Errorf("%d goroutines for %d idle connections", got, 2*n)
	}
}

// watch subscribes to the state of all clients, which are connected.
func (f *fleet) watch() (changes []<-chan Change) {
	for _, c := range f.clients {
		ch, _ := c.Socket().Changes(64) // until it is closed
		if first := <-ch; first.State != Connected {
			f.tb.Fatalf("%+v", first)
		}
		changes = append(changes, ch)
	}
	return changes
}

// back waits until a client that is cut off is connected again, and returns how
// many of its attempts failed, and how many of them after as many changes as came
// early.
func (f *fleet) back(ch <-chan Change, early int) (failures, late int) {
	f.tb.Helper()
	timeout := time.NewTimer(f.patience())
	defer timeout.Stop()
	for cut := false; ; early-- {
		select {
		case c := <-ch:
			switch {
			case c.State == Connected && cut:
				return failures, late
			case c.State == Disconnected && cut && early <= 0:
				failures, late = failures+1, late+1
			case c.State == Disconnected && cut:
				failures++
			}
			cut = cut || c.State == Disconnected
		case <-timeout.C:
			f.tb.Fatalf("a client did not come back\n%s", f.report("room"))
		}
	}
}

// settle waits until something is so.
func (f *fleet) settle(so func() bool) {
	timeout := time.NewTimer(f.patience() / 4)
	defer timeout.Stop()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for !so() {
		select {
		case <-look.C:
		case <-timeout.C:
			return
		}
	}
}
