package webhook

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Bounds of questions to one target. A target that doesn't answer costs each
// asker its timeout; after some in a row the others are told at once, and only
// one at a time tries whether it is back.
const (
	gateSlots    = 64
	gateFailures = 5
	gateMinPause = time.Second // doubled with each failure more
	gateMaxPause = 30 * time.Second
)

// gate lets questions through to one target.
type gate struct {
	slots chan struct{}

	mu       sync.Mutex // guards what follows
	failures int        // in a row
	until    time.Time  // closed until then
	probing  bool       // one is trying whether the target is back
}

func newGate() *gate { return &gate{slots: make(chan struct{}, gateSlots)} }

var (
	errClosedGate = errors.New("webhook: the target has failed several times in a row; it is left alone for a while")
	errFullGate   = errors.New("webhook: too many questions are waiting for the target")
)

// enter waits for a turn. Without an error, leave has to follow.
func (g *gate) enter(ctx context.Context) error {
	probe, err := g.knock(time.Now())
	if err != nil {
		return err
	}
	select {
	case g.slots <- struct{}{}:
		err = errFullGate
		if ctx.Err() == nil {
			err = g.still(probe)
		}
		if err == nil {
			return nil
		}
		<-g.slots
	case <-ctx.Done():
		err = errFullGate
	}
	if probe {
		g.mu.Lock()
		g.probing = false
		g.mu.Unlock()
	}
	return err
}

// still reports whether the gate is open after a wait for a turn.
func (g *gate) still(probe bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !probe && g.failures >= gateFailures {
		return errClosedGate
	}
	return nil
}

// knock reports whether the gate is open, and if the caller is to try it.
func (g *gate) knock(now time.Time) (probe bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failures < gateFailures {
		return false, nil
	}
	if g.probing || now.Before(g.until) {
		return false, errClosedGate
	}
	g.probing = true
	return true, nil
}

// leave says how it went; neither is for who gave up before there was an
// answer.
func (g *gate) leave(ok, neither bool) {
	defer func() { <-g.slots }() // who comes next knows how it went
	g.mu.Lock()
	defer g.mu.Unlock()
	g.probing = false
	switch {
	case neither:
	case ok:
		g.failures = 0
	default:
		g.failures++
		if over := g.failures - gateFailures; over >= 0 {
			g.until = time.Now().Add(min(gateMinPause<<min(over, 10), gateMaxPause))
		}
	}
}
