package webhook

import (
	"context"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

const (
	// claimLimit bounds what one courier has claimed and not settled yet.
	claimLimit = 64
	// settleTimeout bounds one use of the outbox.
	settleTimeout = 5 * time.Second
	// troublePause is how long an outbox that fails is left alone.
	troublePause = time.Second
)

// courier delivers one target's messages. One goroutine, run, owns the fields
// below; each attempt has a goroutine of its own, which hands back a report,
// and so has each use of the outbox: attempts go on while it is slow.
type courier struct {
	d      *Dispatcher
	target *target
	lease  time.Duration
	woken  chan struct{} // holds one
	// reports has room for all that run; found and settled for one each.
	reports chan report
	found   chan finding
	settled chan error

	// Owned by run.
	keys      map[string][]claimed // what is claimed; the first of each key runs, or is ready to
	ready     []string             // keys whose first waits for its turn
	claims    int                  // entries in keys
	running   int
	unsettled []Outcome
	settling  []Outcome       // being settled; nil for none
	claiming  bool            // a claim is under way
	next      time.Time       // when there may be something to claim
	hungry    bool            // there was more than there was room for
	draining  bool            // Shutdown has begun
	trouble   map[string]bool // calls of the outbox that failed last
	pause     time.Time       // until when a Settle that failed is not repeated
}

// claimed is an entry that is this courier's for a while.
type claimed struct {
	Entry
	until time.Time
}

// report is what came of an attempt.
type report struct {
	key     string
	outcome Outcome
}

// finding is what a claim has brought.
type finding struct {
	at      time.Time // when it began
	entries []Entry
	next    time.Time
	err     error
}

func newCourier(d *Dispatcher, t *target) *courier {
	return &courier{
		d: d, target: t, woken: make(chan struct{}, 1),
		reports: make(chan report, t.Concurrency), found: make(chan finding, 1), settled: make(chan error, 1),
		// Time for some of one key, one after the other.
		lease: 4*t.Timeout + 2*settleTimeout,
		keys:  make(map[string][]claimed),
		next:  time.Now(), trouble: make(map[string]bool),
	}
}

// nudge has the courier look into the outbox.
func (c *courier) nudge() {
	select {
	case c.woken <- struct{}{}:
	default:
	}
}

// run delivers until Shutdown, and then finishes what runs.
func (c *courier) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	drain := c.d.drain
	for {
		// An outbox that ends with the process is emptied, of what is due.
		if !c.draining || c.d.volatile && c.d.ctx.Err() == nil {
			c.claim()
		} else {
			c.putBack()
			c.next = time.Now().Add(c.d.cfg.Poll)
		}
		c.settle()
		c.start()
		if c.draining && c.running == 0 && c.claims == 0 && !c.claiming && c.settling == nil && (len(c.unsettled) == 0 || c.trouble["settle"]) {
			return
		}
		wait := max(0, time.Until(c.next))
		if c.claiming { // what it brings wakes
			wait = c.d.cfg.Poll
		}
		timer.Reset(wait)
		select {
		case <-c.woken:
			c.next = time.Now()
		case <-timer.C:
		case f := <-c.found:
			c.take(f)
		case err := <-c.settled:
			c.afterSettle(err)
		case r := <-c.reports:
			c.finish(r)
			for more := true; more; { // what else there is, for one Settle
				select {
				case r := <-c.reports:
					c.finish(r)
				default:
					more = false
				}
			}
		case <-drain:
			c.draining, drain = true, nil
			c.next = time.Now()
		}
	}
}

// claim asks for what is due, as much as there is room for; a few at a time
// would cost a call each.
func (c *courier) claim() {
	now := time.Now()
	if c.claiming || c.next.After(now) {
		return
	}
	room := claimLimit - c.claims - len(c.unsettled) - len(c.settling)
	c.next = now.Add(c.d.cfg.Poll)
	if c.hungry = room < claimLimit/4; c.hungry {
		return // a report comes before that
	}
	c.claiming = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
		defer cancel()
		f := finding{at: now}
		f.entries, f.next, f.err = c.d.cfg.Outbox.Claim(ctx, c.target.Name, room, c.lease)
		c.found <- f
	}()
}

// take takes what a claim has brought.
func (c *courier) take(f finding) {
	c.claiming = false
	if c.failed("claim", f.err) {
		c.next = time.Now().Add(troublePause)
		return
	}
	if !f.next.IsZero() && f.next.Before(c.next) {
		c.next = f.next
	}
	for _, e := range f.entries {
		waiting, known := c.keys[e.Key]
		c.keys[e.Key] = append(waiting, claimed{e, f.at.Add(c.lease)})
		c.claims++
		if !known {
			c.ready = append(c.ready, e.Key)
		}
	}
}

// start runs attempts, as many as the target may have. What was claimed too
// long ago for one is left to whoever claims it next.
func (c *courier) start() {
	for len(c.ready) > 0 && c.running < c.target.Concurrency {
		key := c.ready[0]
		c.ready = c.ready[1:]
		first := c.keys[key][0]
		if time.Until(first.until) < c.target.Timeout+settleTimeout {
			c.forget(key)
			continue
		}
		c.running++
		go func() { c.reports <- report{key, c.attempt(first.Entry)} }()
	}
}

// forget drops the first entry of a key, and has the next take its turn.
func (c *courier) forget(key string) {
	c.claims--
	if rest := c.keys[key][1:]; len(rest) > 0 {
		c.keys[key] = rest
		c.ready = append(c.ready, key)
		return
	}
	delete(c.keys, key)
}

// finish notes what came of an attempt.
func (c *courier) finish(r report) {
	c.running--
	c.unsettled = append(c.unsettled, r.outcome)
	c.forget(r.key)
	if next := r.outcome.Next; !next.IsZero() && next.Before(c.next) {
		c.next = next
	}
	if c.hungry {
		c.next = time.Now()
	}
}

// putBack gives back what has not begun.
func (c *courier) putBack() {
	now := time.Now()
	for _, key := range c.ready {
		for _, e := range c.keys[key] {
			c.unsettled = append(c.unsettled, Outcome{ID: e.ID, Attempts: e.Attempts, Next: now})
			c.claims--
		}
		delete(c.keys, key)
	}
	c.ready = nil
	for key, list := range c.keys { // the first of each runs
		for _, e := range list[1:] {
			c.unsettled = append(c.unsettled, Outcome{ID: e.ID, Attempts: e.Attempts, Next: now})
			c.claims--
		}
		c.keys[key] = list[:1]
	}
}

// settle stores what came of attempts, of all that there are together.
func (c *courier) settle() {
	now := time.Now()
	if c.settling != nil || len(c.unsettled) == 0 {
		return
	}
	if c.pause.After(now) {
		if c.pause.Before(c.next) {
			c.next = c.pause
		}
		return
	}
	c.settling, c.unsettled = c.unsettled, nil
	outcomes := c.settling
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
		defer cancel()
		c.settled <- c.d.cfg.Outbox.Settle(ctx, outcomes)
	}()
}

// afterSettle goes on. What could not be stored waits; if it takes longer than
// the lease, it is delivered again.
func (c *courier) afterSettle(err error) {
	if c.failed("settle", err) {
		c.unsettled = append(c.settling, c.unsettled...)
		c.pause = time.Now().Add(troublePause)
	}
	c.settling = nil
	if c.hungry {
		c.next = time.Now()
	}
}

// failed reports whether the outbox has failed, and logs the first of a row.
func (c *courier) failed(what string, err error) bool {
	if err != nil && !c.trouble[what] {
		c.d.log.Error("the outbox of webhooks fails", "call", what, "target", c.target.Name, "err", err)
	}
	c.trouble[what] = err != nil
	return err != nil
}

// attempt posts a message, and says what is to become of it.
func (c *courier) attempt(e Entry) Outcome {
	ctx, cancel := context.WithTimeout(c.d.ctx, c.target.Timeout)
	defer cancel()
	ctx, span := c.d.tracer.Start(ctx, "holdfast.webhook", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("holdfast.webhook.target", c.target.label), attribute.String("holdfast.webhook.type", string(e.Type)),
		attribute.String("holdfast.webhook.id", e.ID), attribute.Int("holdfast.webhook.attempt", e.Attempts+1)))
	defer span.End()
	began := time.Now()
	a, err := c.target.caller.post(ctx, e.ID, e.Body, maxAnswer)
	now := time.Now()
	result := Result{Target: c.target.Name, Type: e.Type, Outcome: Delivered, Attempt: e.Attempts + 1, Status: a.status, Duration: now.Sub(began)}
	o := Outcome{ID: e.ID, Attempts: e.Attempts}
	switch {
	case a.ok(): // whatever else it has to say
		span.SetAttributes(attribute.Int("http.response.status_code", a.status))
		o.Done, result.Delay = true, now.Sub(e.Time)
		c.d.cfg.Observe(result)
		return o
	case err != nil && c.d.ctx.Err() != nil: // cut off by Shutdown: no attempt of the target's
		span.SetStatus(codes.Error, "cut off")
		o.Next = now
		return o
	case err != nil:
		o.Reason = err.Error()
	default:
		span.SetAttributes(attribute.Int("http.response.status_code", a.status))
		o.Reason = "answered " + strconv.Itoa(a.status)
	}
	span.SetStatus(codes.Error, o.Reason)
	o.Failed = true
	result.Outcome = Retried
	// 410 says that nobody is there any more, and will not be.
	if result.Attempt >= MaxAttempts || a.status == 410 {
		o.Dead, result.Outcome = true, Died
	} else {
		o.Next = now.Add(backoff(result.Attempt, a.retryAfter))
	}
	c.d.cfg.Observe(result)
	log := c.d.log.Warn
	if o.Dead {
		log = c.d.log.Error
	}
	log("webhook failed", "target", c.target.Name, "type", string(e.Type), "id", e.ID, "attempt", result.Attempt, "given_up", o.Dead, "reason", o.Reason)
	return o
}
