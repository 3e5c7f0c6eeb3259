package brokertest

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/checker"
)

// gale is a storm on the fake clock, over two nodes of a Remote that keeps
// little, with faults as its seed has them.
func gale(t *testing.T, seed uint64, change func(*storm, *Plan, *hub.MemoryConfig)) *checker.Report {
	rng := rand.New(rand.NewPCG(seed, 2))
	keep := hub.MemoryConfig{Events: 5 + rng.IntN(50)}
	plan := Plan{
		Seed: seed, Delay: time.Duration(rng.IntN(50)) * time.Millisecond, Fail: rng.Float64() * 0.1,
		Drop: rng.Float64() * 0.2, Again: rng.Float64() * 0.3, Late: rng.Float64() * 0.3, Unknown: 0.1, Stretch: 1 + 6*(seed%2),
	}
	s := &storm{seed: seed, members: 3, publishers: 2, events: 60, buffer: 3 + rng.IntN(20), step: 10 * time.Millisecond}
	if change != nil {
		change(s, &plan, &keep)
	}
	r := NewRemote(keep)
	s.trouble = []func(){r.Restart, r.Wipe}
	for i := range uint64(2) {
		plan.Seed = 2*seed + i
		f := Faulty(r.Client(), plan)
		s.nodes = append(s.nodes, f)
		s.trouble = append(s.trouble, f.Cut, f.Restore)
	}
	if s.calm {
		s.trouble = nil
	}
	report := s.run(t)
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	return report
}

// TestStorm: whatever the broker does, no member misses anything without
// being told.
func TestStorm(t *testing.T) {
	seeds := uint64(150)
	if testing.Short() {
		seeds = 20
	}
	var sum checker.Report
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			report := gale(t, seed, nil)
			if err := report.Err(); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			sum.Acked += report.Acked
			sum.Unknown += report.Unknown
			sum.Epochs += report.Epochs
			sum.Received += report.Received
			sum.Recovered += report.Recovered
			sum.Lost += report.Lost
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d runs: %d publishes acknowledged, %d unknown; %d epochs; %d events received; %d joins recovered, %d not",
		seeds, sum.Acked, sum.Unknown, sum.Epochs, sum.Received, sum.Recovered, sum.Lost)
	if sum.Unknown == 0 || sum.Recovered == 0 || sum.Lost == 0 || sum.Epochs < int(3*seeds) || sum.Received < 50*int(seeds) {
		t.Error("too tame")
	}
}
