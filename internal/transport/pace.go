package transport

import "time"

const (
	// trialServed and trialTime: a loop that serves so many connections in less
	// than that time may do their work itself.
	trialServed = 64
	trialTime   = 16 * time.Millisecond
	// mostLeft is how many connections at most are served before it is tried again.
	mostLeft = 64 * trialServed
)

// pace decides whether a loop lets handlers run in it. To hand work over wakes a
// goroutine, which costs as much as many a handler. But where handlers wait for
// something, say 2 ms for a database, a loop could do 500 a second. So it
// looks at the time that it takes, and leaves the work to others for a while where
// that is long, for longer each time.
type pace struct {
	count int           // served in this trial
	spent time.Duration // and how long that took
	left  int           // are to be served before the next trial
	last  int           // what left began with; 0 since a trial went well
}

// allows reports whether the work of the connection that is served next may be
// done by the loop.
func (p *pace) allows() bool { return p.left == 0 }

// served takes in how long it took to serve so many.
func (p *pace) served(n int, took time.Duration) {
	if p.left > 0 {
		p.left = max(p.left-n, 0)
		return
	}
	p.count += n
	p.spent += took
	switch {
	case p.spent >= trialTime:
		p.last = min(max(2*p.last, trialServed), mostLeft)
		p.left = p.last
	case p.count >= trialServed:
		p.last = 0
	default:
		return
	}
	p.count, p.spent = 0, 0
}
