package load

import (
	"os"
	"time"
)

// recorder measures: latencies, rates, and what the processes use.
type recorder struct {
	e         *engine
	serverPID int // 0 for none

	// All of the measured time, and the present interval.
	total, interval, acks, admissions histogram
	wire                              histogram // of paced deliveries, from when they were sent
	count                             uint64    // units in the measured time, those of this interval too
	atTick                            uint64    // count when the interval began

	measuring   bool
	from, until int64 // of the measured time
	began       time.Time
	first, last marks
	points      []Point

	phaseName string
	phaseFrom int64
	phaseTime time.Duration
	done      float64 // of the phase, where that is not a matter of time

	every      int64 // length of an interval
	next       int64 // its end
	tickedAt   int64
	atTickUsed marks
	rssPeak    int64

	longest     int64 // turn of the engine's loop in the measured time
	leastUnread int64 // of connections that have ended
}

// marks are what the processes had used at some moment.
type marks struct{ server, generator usage }

func newRecorder(e *engine) *recorder {
	r := &recorder{e: e, total: newHistogram(), interval: newHistogram(), acks: newHistogram(), admissions: newHistogram(), wire: newHistogram()}
	r.every = int64(min(5*time.Second, max(100*time.Millisecond, e.cfg.Duration/100)))
	r.next = r.every
	return r
}

// phase begins a part of the run. length is 0 if it is not known.
func (r *recorder) phase(name string, length time.Duration) {
	r.e.clock()
	r.phaseName, r.phaseFrom, r.phaseTime, r.done = name, r.e.now, length, 0
}

// unit records one delivery or round trip.
func (r *recorder) unit(ns int64) {
	if r.measuring {
		r.interval.record(ns)
		r.count++
	}
}

// fromWire records how long a delivery took since the message was sent.
func (r *recorder) fromWire(ns int64) {
	if r.measuring {
		r.wire.record(ns)
	}
}

// turned records how long the engine has worked without a look at what has come.
func (r *recorder) turned(ns int64) {
	if r.measuring {
		r.longest = max(r.longest, ns)
	}
}

// unread records what waited for the engine on a connection that has ended.
func (r *recorder) unread(bytes int64) {
	if r.e.ended == 0 || bytes < r.leastUnread {
		r.leastUnread = bytes
	}
}

// unfinished records n deliveries that have not come after so long, and are no
// units.
func (r *recorder) unfinished(ns, n int64) {
	if r.measuring && n > 0 {
		r.interval.records(ns, n)
	}
}

// acked records the ack of a publish.
func (r *recorder) acked(ns int64) {
	if r.measuring {
		r.acks.record(ns)
	}
}

// admitted records an admission.
func (r *recorder) admitted(ns int64) {
	r.admissions.record(ns)
	if r.e.cfg.Scenario == Connect {
		r.unit(ns)
	}
}

// use reads what the processes have used.
func (r *recorder) use() (m marks) {
	m.generator, _ = proc.usage(os.Getpid()) // of this process it can be read
	if r.serverPID > 0 {
		m.server, _ = proc.usage(r.serverPID) // one that has ended makes no progress
	}
	r.rssPeak = max(r.rssPeak, m.server.rss)
	return m
}

// start begins the measured time.
func (r *recorder) start() {
	r.e.clock()
	r.interval.h.Reset()
	r.acks.h.Reset()
	r.measuring, r.from, r.began = true, r.e.now, time.Now()
	r.first = r.use()
	r.atTickUsed, r.tickedAt, r.atTick = r.first, r.e.now, 0
	r.next = r.e.now + r.every
}

// finish ends it.
func (r *recorder) finish() {
	if !r.measuring {
		return
	}
	r.e.clock()
	if r.e.now-r.tickedAt > r.every/10 {
		r.point()
	} else {
		_ = r.total.h.Merge(r.interval.h)
	}
	r.measuring, r.until, r.last = false, r.e.now, r.use()
}

// tick ends an interval whose time is over, and tells about it.
func (r *recorder) tick() {
	now := r.e.now
	if now < r.next {
		return
	}
	r.next = now + r.every
	var p Point
	if r.measuring {
		p = r.point()
	}
	if r.e.cfg.Progress == nil {
		return
	}
	progress := Progress{Phase: r.phaseName, Done: r.done, Open: r.e.open, Point: p, Faults: r.e.faults.Total(), Overdue: r.e.overdue}
	if r.phaseTime > 0 {
		gone := time.Duration(now - r.phaseFrom)
		progress.Done, progress.Left = float64(gone)/float64(r.phaseTime), max(0, r.phaseTime-gone)
	}
	r.e.cfg.Progress(progress)
}

// point ends an interval of the timeline.
func (r *recorder) point() Point {
	now, used := r.e.now, r.use()
	span := time.Duration(now - r.tickedAt)
	busy := func(from, to usage) float64 { return float64(to.cpu()-from.cpu()) / float64(span) }
	sum := r.interval.summary()
	p := Point{
		At: time.Duration(now - r.from), Span: span, Count: r.count - r.atTick,
		P50: sum.P50, P99: sum.P99, Max: sum.Max,
		ServerCPU: busy(r.atTickUsed.server, used.server), ServerRSS: used.server.rss,
		GeneratorCPU: busy(r.atTickUsed.generator, used.generator),
	}
	_ = r.total.h.Merge(r.interval.h) // both have the same bounds
	r.interval.h.Reset()
	r.points = append(thin(r.points), p)
	r.tickedAt, r.atTick, r.atTickUsed = now, r.count, used
	return p
}
