package webhook

import (
	"context"
	"sync/atomic"
	"time"
)

// Bounds of writing to the outbox.
const (
	addTimeout = 5 * time.Second // how long a caller waits
	addBatch   = 256             // entries that are written together
	addTries   = 3
	addPause   = 200 * time.Millisecond // doubled after the second
)

// add is what a caller wants to have in the outbox. done has room for one.
type add struct {
	entries []Entry
	done    chan error
}

// sequence counts up: with the clock, so that what one process adds comes after
// what it added before it was started again.
type sequence struct{ last atomic.Int64 }

func (s *sequence) next() int64 {
	for {
		last := s.last.Load()
		next := max(last+1, time.Now().UnixMicro())
		if s.last.CompareAndSwap(last, next) {
			return next
		}
	}
}

// add has the writer store entries, and waits until it has. The number of
// callers bounds what waits.
func (d *Dispatcher) add(ctx context.Context, entries []Entry) error {
	d.mu.Lock()
	if d.stopped {
		d.mu.Unlock()
		return errStopped
	}
	d.running.Add(1)
	d.mu.Unlock()
	defer d.running.Done()
	// An event that has happened is told of even if who did it is gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), addTimeout)
	defer cancel()
	a := add{entries: entries, done: make(chan error, 1)}
	select {
	case d.adds <- a:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-a.done:
		return err
	case <-ctx.Done():
		return ctx.Err() // it may be stored all the same
	}
}

// write stores what callers want to have stored, as much as there is at once,
// until Shutdown closes adds.
func (d *Dispatcher) write() {
	defer close(d.written)
	for first := range d.adds {
		batch := []add{first}
		entries := first.entries
	gather:
		for len(entries) < addBatch {
			select {
			case a, ok := <-d.adds:
				if !ok {
					break gather
				}
				batch = append(batch, a)
				entries = append(entries[:len(entries):len(entries)], a.entries...)
			default:
				break gather
			}
		}
		err := d.store(entries)
		for _, a := range batch {
			a.done <- err
		}
		if err == nil {
			d.wake(entries)
		}
	}
}

// store adds to the outbox, and tries again where that may help.
func (d *Dispatcher) store(entries []Entry) (err error) {
	for i := range entries {
		entries[i].Seq = d.seq.next()
	}
	ctx, cancel := context.WithTimeout(d.ctx, addTimeout)
	defer cancel()
	for try := 1; ; try++ {
		if err = d.cfg.Outbox.Add(ctx, entries); err == nil || IsFull(err) || try == addTries {
			return err
		}
		select {
		case <-time.After(addPause << (try - 1)):
		case <-ctx.Done():
			return err
		}
	}
}

// wake has the couriers look for what was added.
func (d *Dispatcher) wake(entries []Entry) {
	for _, c := range d.couriers {
		for i := range entries {
			if entries[i].Target == c.target.Name {
				c.nudge()
				break
			}
		}
	}
}
