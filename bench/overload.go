package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/load"
)

// overloadSizes are the numbers of the run.
type overloadSizes struct {
	members  int
	look     time.Duration // at what can be delivered
	duration time.Duration // of each phase
	memory   string        // GOMEMLIMIT of the server
	// patience is after how long the generator gives a message up and sends
	// another; it is longer than all of a phase, and short is not.
	patience, short time.Duration
	calm, over      float64 // offered, as parts of what can be delivered
}

func sizesOfOverload(quick bool) overloadSizes {
	o := overloadSizes{members: 1000, look: 5 * time.Second, duration: time.Minute, memory: "256MiB", patience: 2 * time.Minute, short: 10 * time.Second, calm: 1.0 / 3, over: 3}
	if quick {
		o.members, o.look, o.duration = 20, 300*time.Millisecond, time.Second
	}
	return o
}

// phase is one of those that are set beside each other.
type phase struct {
	title             string
	offered           float64 // messages a second
	patience          time.Duration
	mayFault          bool
	run               *measured
	health, admission probe
}

// overload finds out how many messages a second our server can deliver to one
// room, offers a third of that, and then three times as many: once with a bound
// on what is in flight and once without. Meanwhile it asks for /healthz and
// connects, ten times a second each.
func (s *sitting) overload(ctx context.Context) (string, error) {
	size := sizesOfOverload(s.options.quick)
	s.began = time.Now().UTC()
	own, members := peers()[0], fmt.Sprint(size.members)
	err := s.one(ctx, trial{peer: own, scenario: load.Fanout, key: "capacity", round: 1, flags: []string{"--members", members, "--duration", size.look.String()}})
	if err != nil {
		return "", err
	}
	look := s.runs[len(s.runs)-1]
	if look.failure != "" {
		return "", errors.New("what can be delivered is not known: " + look.failure)
	}
	capacity := look.result.Rate / float64(size.members)
	token, err := s.stage.token("bench-probe")
	if err != nil {
		return "", err
	}
	phases := []*phase{
		{title: "without overload", offered: capacity * size.calm, patience: size.patience},
		{title: "overload, a bounded backlog", offered: capacity * size.over, patience: size.patience},
		{title: "overload, no bound", offered: capacity * size.over, patience: size.short, mayFault: true},
	}
	for _, p := range phases {
		t := trial{
			peer: own, scenario: load.Paced, key: p.title, round: 1, mayFault: p.mayFault, env: []string{"GOMEMLIMIT=" + size.memory},
			flags:  []string{"--members", members, "--rate", fmt.Sprintf("%.0f", max(1, p.offered)), "--duration", size.duration.String(), "--timeout", p.patience.String()},
			during: func(ctx context.Context, url string) { p.watch(ctx, url, token) },
		}
		if err := s.one(ctx, t); err != nil {
			return "", err
		}
		p.run = s.runs[len(s.runs)-1]
	}
	s.ended = time.Now().UTC()
	return s.overloadSection(capacity, size, phases), nil
}

// watch asks until ctx ends.
func (p *phase) watch(ctx context.Context, url, token string) {
	p.health.ask, p.admission.ask = askHealth(url), askAdmission(url, token)
	var both sync.WaitGroup
	both.Go(func() { p.health.run(ctx) })
	both.Go(func() { p.admission.run(ctx) })
	both.Wait()
}

// overloadSection is the text of the section.
func (s *sitting) overloadSection(capacity float64, size overloadSizes, phases []*phase) string {
	var b strings.Builder
	s.writeHead(&b, overloadTitle)
	fmt.Fprintf(&b, "\nHoldfast %s, alone, with GOMEMLIMIT=%s. One room of %d, 128 B: in a closed loop it delivered %.0f messages a second to each, which counts as what can be delivered. ",
		s.stage.built[ours], size.memory, size.members, capacity)
	fmt.Fprintf(&b, "Publishers then offer a third of that, and three times as many, by the clock. The generator has 4,095 messages in flight at most; what is not sent for that reason is late, and \"from when it was due\" has that in it. "+
		"**With a bounded backlog** it waits for each of them, so that what waits for a member is bounded, and may well stay below the 1 MiB after which the server ends a slow connection: this phase does not show what happens then. "+
		"**Without a bound** it gives up what is %v over its time and sends on, so that the backlog grows: members may be closed (SLOW_CONSUMER), and what was given up and is still on its way at the end counts as lost, though nobody knows that it is. It ends early when no publisher is left, and a message that was given up has the time until then as its latency. "+
		"Meanwhile somebody asks for /healthz and connects with a token, ten times a second each, with connections of their own.\n\n", size.short)
	b.WriteString("| |")
	for _, p := range phases {
		fmt.Fprintf(&b, " %s |", p.title)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(phases)) + "\n")
	row := func(what string, cell func(*phase, *load.Result) string) {
		fmt.Fprintf(&b, "| %s |", what)
		for _, p := range phases {
			text := "not measured"
			if p.run.result != nil {
				text = cell(p, p.run.result)
			}
			fmt.Fprintf(&b, " %s |", text)
		}
		b.WriteString("\n")
	}
	row("measured for", func(_ *phase, r *load.Result) string { return fmt.Sprintf("%.1f s", r.Seconds) })
	row("offered, messages a second", func(p *phase, _ *load.Result) string { return fmt.Sprintf("%.0f", p.offered) })
	row("delivered, messages a second to each", func(_ *phase, r *load.Result) string { return fmt.Sprintf("%.0f", r.Rate/float64(size.members)) })
	row("delivered, from when it was due: p50, p99, max", func(_ *phase, r *load.Result) string { return three(&r.Latency) })
	row("publish to ack: p50, p99, max", func(_ *phase, r *load.Result) string { return three(r.Acks) })
	row("server's memory: at most", func(_ *phase, r *load.Result) string {
		if r.Server == nil {
			return "–"
		}
		return fmt.Sprintf("%.0f MB", float64(r.Server.Peak)/1e6)
	})
	row("server: processors", func(_ *phase, r *load.Result) string {
		if r.Server == nil {
			return "–"
		}
		return digits(r.Server.Cores)
	})
	row("admissions", func(p *phase, _ *load.Result) string { return p.admission.String() })
	row("/healthz", func(p *phase, _ *load.Result) string { return p.health.String() })
	row("lost, out of order, refused, disconnected", func(p *phase, r *load.Result) string {
		if r.Faults.Total() == 0 {
			return fmt.Sprintf("none of %d checked", r.Checked)
		}
		return r.Faults.String()
	})
	s.writeRuns(&b)
	return b.String()
}

// three are the figures of a latency in a cell.
func three(l *load.Latency) string {
	if l == nil {
		return "–"
	}
	return millis(float64(l.P50)) + ", " + millis(float64(l.P99)) + ", " + millis(float64(l.Max))
}
