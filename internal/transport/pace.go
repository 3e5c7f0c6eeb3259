package transport

import "time"

const (
	// trialServed and trialTime: a loop that serves so many connections in less
	// than that time may do their work itself.
	trialServed = 64
	trialTime   = 16 * time.Millisecond
	// lookServed is how many connections are served between two looks at the clock.
	lookServed = 8
	// mostLeft is how many connections at most are served before it is tried again,
	// and mostRest for how long.
	mostLeft = 1024 * trialServed
	mostRest = 2 * time.Second
)

// pace decides whether a loop lets handlers run in it. To hand work over wakes a
// goroutine, which costs as much as many a handler. But where handlers wait for
// something, say 2 ms for a database, a loop could do 500 a second. So it
// looks at the time that it takes, and leaves the work to others for a while where
// that is long, for twice as long each time, and half as long after a trial that
// went well. A machine that is busy with something else fails a trial now and then,
// which costs little; handlers that wait fail most of them.
type pace struct {
	since time.Time     // of the last look, or since there was something to serve
	n     int           // served since then
	count int           // served in this trial
	spent time.Duration // and how long that took
	left  int           // are to be served before the next trial; 0: one is under way
	last  int           // what left began with
	until time.Time     // when it is tried again at the latest
}

// allows reports whether the work of the connection that is served next may be
// done by the loop.
func (p *pace) allows() bool { return p.left == 0 }

// begin says that there is something to serve.
func (p *pace) begin(now time.Time) { p.since = now }

// served counts a connection, and reports whether it is time to look.
func (p *pace) served() (due bool) {
	p.n++
	return p.n >= lookServed
}

// look takes in what was served since begin, or the last look.
func (p *pace) look(now time.Time) {
	n, took := p.n, now.Sub(p.since)
	p.n, p.since = 0, now
	if p.left > 0 {
		if p.left = max(p.left-n, 0); now.After(p.until) {
			p.left = 0
		}
		return
	}
	p.count += n
	p.spent += took
	switch {
	case p.spent >= trialTime:
		p.last = min(max(2*p.last, trialServed), mostLeft)
		p.left, p.until = p.last, now.Add(mostRest)
	case p.count >= trialServed:
		p.last /= 2
	default:
		return
	}
	p.count, p.spent = 0, 0
}
