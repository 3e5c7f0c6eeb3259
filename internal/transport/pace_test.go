package transport

import (
	"testing"
	"time"
)

// pacer serves one connection after the other, by a clock of its own.
type pacer struct {
	pace
	now time.Time
}

func (p *pacer) serve(took time.Duration) {
	p.begin(p.now)
	p.now = p.now.Add(took)
	p.served()
	p.look(p.now)
}

// skipped serves until the loop may do the work itself again.
func (p *pacer) skipped(each time.Duration) (n int) {
	for ; !p.allows(); n++ {
		p.serve(each)
	}
	return n
}

// Where what is served takes long, the loop leaves it to others, for twice as long
// each time up to a bound, and for half as long after a trial that went well.
func TestLoopPace(t *testing.T) {
	var p pacer
	for range 10 * trialServed {
		p.serve(trialTime / trialServed / 2)
		if !p.allows() {
			t.Fatal("what is quick is left to others")
		}
	}
	want := trialServed
	for range 13 {
		p.serve(trialTime)
		if n := p.skipped(0); n != want {
			t.Errorf("%d were left to others, want %d", n, want)
		}
		want = min(2*want, mostLeft)
	}
	for range 3 * trialServed { // three trials that go well
		p.serve(0)
	}
	for range trialServed - 1 { // as much as is too much, but together
		p.serve(trialTime / (trialServed - 1))
	}
	p.serve(trialTime)
	if n := p.skipped(0); n != mostLeft/4 {
		t.Errorf("after three good trials %d were left to others, want %d", n, mostLeft/4)
	}
	p.serve(trialTime)
	if n := p.skipped(mostRest / 4); n != 5 {
		t.Errorf("%d were left to others in %v", n, mostRest)
	}
}

// The clock is looked at now and then.
func TestLoopPaceLooks(t *testing.T) {
	var p pace
	looks := 0
	for range 10 * lookServed {
		if p.served() {
			looks++
			p.look(time.Time{})
		}
	}
	if looks != 10 {
		t.Errorf("%d looks, want 10", looks)
	}
}
