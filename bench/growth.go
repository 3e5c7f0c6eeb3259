package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/load"
)

// step is one size of what grows.
type step struct {
	what     string // that grows
	at       int
	scenario load.Scenario
	flags    []string
}

// key names the step in the table of runs.
func (s step) key() string { return fmt.Sprintf("%s %d", s.what, s.at) }

// kinds are what grows, in words.
func kinds() []struct{ name, how string } {
	return []struct{ name, how string }{
		{"connections", "connect, 4,000 a second, which is below the limit of all addresses: µs an admission, KB a connection"},
		{"echoing connections", "echo, 200 in flight: µs a round trip"},
		{"rooms", "rooms of one member, 64 in flight: µs a delivery, of which each is a publish and its ack as well"},
		{"members", "fan-out, one room, 128 B, 16 in flight: µs a delivery"},
		{"bytes", "fan-out, one room of 100, 4 in flight: µs a delivery"},
	}
}

// growthSteps are all steps. Quick ones have the same kinds and are small.
func growthSteps(quick bool) (list []step) {
	add := func(what string, scenario load.Scenario, sizes []int, flag string, flags ...string) {
		for _, n := range sizes {
			own := append([]string{flag, strconv.Itoa(n)}, flags...)
			list = append(list, step{what, n, scenario, own})
		}
	}
	if quick {
		brief := []string{"--warm-up", "100ms", "--duration", "300ms"}
		add("connections", load.Connect, []int{20, 50}, "--connections", "--rate", "4000", "--settle", "100ms")
		add("echoing connections", load.Echo, []int{20, 50}, "--connections", append(brief, "--window", "20")...)
		add("rooms", load.Rooms, []int{1, 20}, "--rooms", append(brief, "--members", "1")...)
		add("members", load.Fanout, []int{10, 20}, "--members", brief...)
		add("bytes", load.Fanout, []int{64, 65_536}, "--size", append(brief, "--members", "5", "--window", "4")...)
		return list
	}
	brief := []string{"--warm-up", "1s", "--duration", "6s"} // of a busy server that is good to 0.2 %
	add("connections", load.Connect, []int{1000, 5000, 10_000, 15_000}, "--connections", "--rate", "4000")
	add("echoing connections", load.Echo, []int{1000, 5000, 10_000, 15_000}, "--connections", append(brief, "--window", "200")...)
	add("rooms", load.Rooms, []int{1, 100, 10_000}, "--rooms", append(brief, "--members", "1")...)
	add("members", load.Fanout, []int{10, 1000, 10_000}, "--members", brief...)
	add("bytes", load.Fanout, []int{64, 1024, 65_536}, "--size", append(brief, "--members", "100", "--window", "4")...)
	return list
}

// growth measures our server alone at every step.
func (s *sitting) growth(ctx context.Context) error {
	s.began = time.Now().UTC()
	for round := range s.options.rounds {
		for _, step := range growthSteps(s.options.quick) {
			if err := s.one(ctx, trial{peer: peers()[0], scenario: step.scenario, key: step.key(), round: round + 1, flags: step.flags}); err != nil {
				return err
			}
		}
	}
	s.ended = time.Now().UTC()
	return nil
}

// growthSection is the text of the section about growth.
func (s *sitting) growthSection() string {
	var b strings.Builder
	s.writeHead(&b, growthTitle)
	fmt.Fprintf(&b, "\nHoldfast %s, alone.\n", s.stage.built[ours])
	for _, kind := range kinds() {
		fmt.Fprintf(&b, "\n### By %s\n\n%s.\n\n", kind.name, strings.ToUpper(kind.how[:1])+kind.how[1:])
		fmt.Fprintf(&b, "| %s | µs a unit | beside the first | p50 | p99 | KB a connection, idle |\n|---|---|---|---|---|---|\n", kind.name)
		var first float64
		for _, step := range growthSteps(s.options.quick) {
			if step.what != kind.name {
				continue
			}
			cost, ok := s.median(ours, step.key(), (*measured).perUnit)
			if first == 0 {
				first = cost
			}
			ratio := "–"
			if ok && first > 0 {
				ratio = digits(cost/first) + " ×"
			}
			fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s |\n", step.at, number(cost, ok), ratio,
				s.latency(step.key(), func(l load.Latency) time.Duration { return l.P50 }),
				s.latency(step.key(), func(l load.Latency) time.Duration { return l.P99 }),
				number(s.median(ours, step.key(), (*measured).idle)))
		}
	}
	s.writeRuns(&b)
	return b.String()
}

// latency is the median of one of our server's latencies.
func (s *sitting) latency(key string, which func(load.Latency) time.Duration) string {
	v, ok := s.median(ours, key, func(m *measured) (float64, bool) {
		if m.result == nil {
			return 0, false
		}
		return float64(which(m.result.Latency)), true
	})
	if !ok {
		return "–"
	}
	return millis(v)
}
