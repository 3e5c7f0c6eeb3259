package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/load"
)

// overloadSizes are the numbers of the run.
type overloadSizes struct {
	members    int
	look       time.Duration // at what can be delivered
	duration   time.Duration // of each phase
	memory     string        // GOMEMLIMIT of the server
	patience   time.Duration // with a message, in the generator
	window     int           // messages in flight of those who wait for acks
	calm, over float64       // offered, as parts of what can be delivered
}

func sizesOfOverload(quick bool) overloadSizes {
	o := overloadSizes{members: 1000, look: 5 * time.Second, duration: time.Minute, memory: "256MiB", patience: 10 * time.Second, window: 1024, calm: 1.0 / 3, over: 3}
	if quick {
		o.members, o.look, o.duration = 20, 300*time.Millisecond, time.Second
	}
	return o
}

// phase is one of those that are set beside each other.
type phase struct {
	title   string
	offered float64 // messages a second
	window  int     // messages in flight; 0: any number
	may     func(*load.Result) uint64
	run     *measured

	health, ready, admission probe
}

// What is asked during a phase, and how often.
const (
	askHealth     = 100 * time.Millisecond
	askAdmittance = 20 * time.Millisecond
)

// overload finds out how many messages a second our server can deliver to one
// room, offers a third of that, and then three times as many: once by publishers
// who wait for their acks and once by those who don't. Meanwhile it asks for
// /healthz and /readyz, ten times a second each, and connects, fifty times.
func (s *sitting) overload(ctx context.Context) (string, error) {
	size := sizesOfOverload(s.options.quick)
	s.began = time.Now().UTC()
	own, members := peers()[0], fmt.Sprint(size.members)
	err := s.one(ctx, trial{peer: own, scenario: load.Fanout, key: "capacity", round: 1, flags: []string{"--members", members, "--window", fmt.Sprint(size.window / 4), "--duration", size.look.String()}})
	if err != nil {
		return "", err
	}
	look := s.runs[len(s.runs)-1]
	if look.failure != "" {
		return "", errors.New("what can be delivered is not known: " + look.failure)
	}
	capacity := look.result.Rate / float64(size.members)
	tokens, err := s.probeTokens()
	if err != nil {
		return "", err
	}
	phases := []*phase{
		{title: "without overload", offered: capacity * size.calm},
		{title: "overload, by who waits for acks", offered: capacity * size.over, window: size.window, may: refusals},
		{title: "overload, by who does not", offered: capacity * size.over, may: slowness},
	}
	for _, p := range phases {
		t := trial{
			peer: own, scenario: load.Paced, key: p.title, round: 1, may: p.may, env: []string{"GOMEMLIMIT=" + size.memory},
			flags: []string{"--members", members, "--rate", fmt.Sprintf("%.0f", max(1, p.offered)), "--duration", size.duration.String(),
				"--timeout", size.patience.String(), "--window", fmt.Sprint(p.window)},
			during: func(ctx context.Context, url string) { p.watch(ctx, url, tokens) },
		}
		if err := s.one(ctx, t); err != nil {
			return "", err
		}
		p.run = s.runs[len(s.runs)-1]
	}
	s.ended = time.Now().UTC()
	return s.overloadSection(capacity, size, phases), nil
}

// probeUsers is how many users connect, so that none has too many connections.
const probeUsers = 100

func (s *sitting) probeTokens() (list []string, err error) {
	for i := range probeUsers {
		token, err := s.stage.token(fmt.Sprintf("bench-probe-%d", i))
		if err != nil {
			return nil, err
		}
		list = append(list, token)
	}
	return list, nil
}

// refusals returns the faults that are left when publishes that were refused by
// RATE_LIMITED, and can be tried again, are none.
func refusals(r *load.Result) uint64 {
	return r.Faults.Total() - min(r.Faults.Refused, r.Codes[string(holdfast.RateLimited)])
}

// slowness is refusals without members who were closed for being slow, where
// they were: the generator's one thread writes to all of them what it should
// read, and may not get to the end of what has come.
func slowness(r *load.Result) uint64 {
	if r.LeastUnread < muchUnread {
		return refusals(r)
	}
	return refusals(r) - min(r.Faults.Disconnected, r.Codes[string(holdfast.SlowConsumer)])
}

// muchUnread is what must have waited for the generator on each connection that
// ended: more than it reads at once.
const muchUnread = 128 << 10

// watch asks until ctx ends.
func (p *phase) watch(ctx context.Context, url string, tokens []string) {
	p.health = probe{ask: askPath(url, "/healthz"), every: askHealth}
	p.ready = probe{ask: askPath(url, "/readyz"), every: askHealth}
	p.admission = probe{ask: askAdmission(url, tokens...), every: askAdmittance}
	var all sync.WaitGroup
	for _, one := range []*probe{&p.health, &p.ready, &p.admission} {
		all.Go(func() { one.run(ctx) })
	}
	all.Wait()
}

// overloadSection is the text of the section.
func (s *sitting) overloadSection(capacity float64, size overloadSizes, phases []*phase) string {
	var b strings.Builder
	s.writeHead(&b, overloadTitle)
	fmt.Fprintf(&b, "\nHoldfast %s, alone, with GOMEMLIMIT=%s. One room of %d, 128 B: with %d in flight it delivered %.0f messages a second to each, which counts as what can be delivered. ",
		s.stage.built[ours], size.memory, size.members, size.window/4, capacity)
	fmt.Fprintf(&b, "Publishers, who are members, then offer a third of that, and three times as many, by the clock: **who waits for acks** has %d messages in flight at most, all of them together; **who does not** has as many as can be told apart, 65,535. "+
		"What is not sent for that reason is late, and \"from when it was due\" has that in it. Meanwhile somebody asks for /healthz and /readyz and connects with a token, with connections of their own. [Operations](../docs/operations.md#overload) says what the server does.\n\n", size.window)
	b.WriteString("| |")
	for _, p := range phases {
		fmt.Fprintf(&b, " %s |", p.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(phases)) + "\n")
	for _, row := range overloadRows(size) {
		fmt.Fprintf(&b, "| %s |", row.what)
		for _, p := range phases {
			text := "not measured"
			if p.run.result != nil {
				text = row.cell(p, p.run.result)
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		b.WriteString("\n")
	}
	s.writeRuns(&b)
	return b.String()
}

// overloadRow is a line of the table.
type overloadRow struct {
	what string
	cell func(*phase, *load.Result) string
}

func overloadRows(size overloadSizes) []overloadRow {
	of := func(f func(*load.Result) string) func(*phase, *load.Result) string {
		return func(_ *phase, r *load.Result) string { return f(r) }
	}
	server := func(f func(*load.Use) string) func(*phase, *load.Result) string {
		return of(func(r *load.Result) string {
			if r.Server == nil {
				return "–"
			}
			return f(r.Server)
		})
	}
	return []overloadRow{
		{"measured for", of(func(r *load.Result) string { return fmt.Sprintf("%.1f s", r.Seconds) })},
		{"offered, messages a second", func(p *phase, _ *load.Result) string { return fmt.Sprintf("%.0f", p.offered) }},
		{"delivered, messages a second to each", of(func(r *load.Result) string { return fmt.Sprintf("%.0f", r.Rate/float64(size.members)) })},
		{"delivered, from when it was due: p50, p99, max", of(func(r *load.Result) string { return three(&r.Latency) })},
		{"delivered, from when it was sent: p50, p99, max", of(func(r *load.Result) string { return three(r.Sent) })},
		{"publish to ack: p50, p99, max", of(func(r *load.Result) string { return three(r.Acks) })},
		{"publishes refused, connections ended: codes", of(func(r *load.Result) string { return cmp.Or(r.ByCode(), "none") })},
		{"generator: longest time without a look at what has come; unread on each connection that ended, at least", of(func(r *load.Result) string {
			if r.LeastUnread == 0 {
				return millis(float64(r.LongestTurn)) + "; –"
			}
			return fmt.Sprintf("%s; %.1f MiB", millis(float64(r.LongestTurn)), float64(r.LeastUnread)/(1<<20))
		})},
		{"lost, twice, out of order, of another room", of(func(r *load.Result) string {
			f := r.Faults
			if f.Lost+f.Duplicated+f.Reordered+f.Foreign+f.Damaged == 0 {
				return fmt.Sprintf("none of %d checked", r.Checked)
			}
			return f.String()
		})},
		{"server's memory (RSS): at most, of GOMEMLIMIT=" + size.memory, server(func(u *load.Use) string { return fmt.Sprintf("%.0f MiB", float64(u.Peak)/(1<<20)) })},
		{"server: processors, µs a delivery", server(func(u *load.Use) string { return digits(u.Cores) + ", " + digits(u.PerUnit) })},
		{"admissions", func(p *phase, _ *load.Result) string { return p.admission.String() }},
		{"/healthz, 200", func(p *phase, _ *load.Result) string { return p.health.String() }},
		{"/readyz, 200", func(p *phase, _ *load.Result) string { return p.ready.String() }},
	}
}

// three are the figures of a latency in a cell.
func three(l *load.Latency) string {
	if l == nil {
		return "–"
	}
	return millis(float64(l.P50)) + ", " + millis(float64(l.P99)) + ", " + millis(float64(l.Max))
}
