package transport

import "time"

const (
	// gatherFrom is how many connections must be due for a shard to hold its
	// turn: below that there is little to save.
	gatherFrom = 64
	// gatherMost bounds how long a turn is held. Under it the runtime's timers
	// are no better than a millisecond.
	gatherMost = 2 * time.Millisecond
	// gatherMemory is how many turns back an average looks, about.
	gatherMemory = 4
)

// gather decides how long a shard holds a turn, so that more may join it. A
// write costs about the same for one frame as for sixteen; and a burst of
// events that finds the shard idle would otherwise have its first event
// written to everybody alone, while the others are still being queued.
//
// It is held only where several frames a write were usual lately, thus where
// events follow each other faster than they can be written one by one: what
// waits for its turn anyway then waits up to half a turn more, and is done
// sooner, for the turns are fewer. Where one frame a write is usual, nothing
// is ever held.
type gather struct {
	joins float64       // frames a write, lately
	span  time.Duration // how long a turn took, lately
}

// hold returns for how long a turn is held for which so many connections are due.
func (g *gather) hold(due int) time.Duration {
	if due < gatherFrom || g.joins < 2 {
		return 0
	}
	return min(g.span/2, gatherMost)
}

// turned takes in what a turn has done.
func (g *gather) turned(writes, frames int, took time.Duration) {
	if writes < gatherFrom {
		return
	}
	g.joins += (float64(frames)/float64(writes) - g.joins) / gatherMemory
	g.span += (took - g.span) / gatherMemory
}
