package transport

import (
	"testing"
	"time"
)

// Where what is served takes long, the loop leaves it to others, for twice as long
// each time up to a bound, until a trial goes well.
func TestLoopPace(t *testing.T) {
	var p pace
	skipped := func() (n int) {
		for ; !p.allows(); n++ {
			p.served(1, time.Hour)
		}
		return n
	}
	for range 10 * trialServed {
		p.served(1, trialTime/trialServed/2)
		if !p.allows() {
			t.Fatal("what is quick is left to others")
		}
	}
	want := trialServed
	for range 10 {
		p.served(1, trialTime)
		if n := skipped(); n != want {
			t.Errorf("%d were left to others, want %d", n, want)
		}
		want = min(2*want, mostLeft)
	}
	for p.last != 0 { // a trial that goes well
		p.served(1, 0)
	}
	for range trialServed - 1 { // a little over what is allowed, together
		p.served(1, trialTime/(trialServed-1))
	}
	p.served(1, trialTime)
	if n := skipped(); n != trialServed {
		t.Errorf("after a good trial %d were left to others, want %d", n, trialServed)
	}
}
