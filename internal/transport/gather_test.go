package transport

import (
	"testing"
	"time"
)

// A shard holds its turns only where joined writes are usual, and never for
// long.
func TestGather(t *testing.T) {
	type turn struct {
		writes, frames int
		took           time.Duration
	}
	repeat := func(n int, one turn) (all []turn) {
		for range n {
			all = append(all, one)
		}
		return all
	}
	const ms = time.Millisecond
	single, joined := turn{500, 500, 2 * ms}, turn{500, 8000, 3 * ms}
	for _, tt := range []struct {
		name     string
		turns    []turn
		due      int
		min, max time.Duration
	}{
		{"nothing is known", nil, 1000, 0, 0},
		{"one frame a write", repeat(100, single), 1000, 0, 0},
		{"many frames a write", repeat(20, joined), 1000, 3 * ms / 4, 3 * ms / 2},
		{"every other turn is joined", func() (all []turn) {
			for range 20 {
				all = append(all, single, joined)
			}
			return all
		}(), 1000, ms / 2, 3 * ms / 2},
		{"turns are long", repeat(20, turn{5000, 80000, 40 * ms}), 1000, gatherMost, gatherMost},
		{"few are due", repeat(20, joined), gatherFrom - 1, 0, 0},
		{"small turns don't count", repeat(100, turn{gatherFrom - 1, 1000, ms}), 1000, 0, 0},
		{"a burst is over", append(repeat(20, joined), repeat(12, single)...), 1000, 0, 0},
		{"turns without time, as on a fake clock", repeat(20, turn{500, 8000, 0}), 1000, 0, 0},
	} {
		var g gather
		for _, one := range tt.turns {
			g.turned(one.writes, one.frames, one.took)
		}
		if hold := g.hold(tt.due); hold < tt.min || hold > tt.max {
			t.Errorf("%s: held for %v, want %v to %v", tt.name, hold, tt.min, tt.max)
		}
	}
}
