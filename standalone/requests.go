package standalone

import (
	"context"
	"sync"
)

// requests counts the calls that are being answered, so that the database is
// closed behind the last one. The zero value takes calls.
type requests struct {
	mu      sync.Mutex // guards what follows
	running int
	idle    chan struct{} // made by stop; closed when nothing runs
}

// begin reports whether a call may go on, which then has to call end.
func (r *requests) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.idle != nil {
		return false
	}
	r.running++
	return true
}

func (r *requests) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running--; r.running == 0 && r.idle != nil {
		close(r.idle)
	}
}

// stop lets no more calls begin. Repeating it changes nothing.
func (r *requests) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.idle != nil {
		return
	}
	r.idle = make(chan struct{})
	if r.running == 0 {
		close(r.idle)
	}
}

// wait waits, after stop, until nothing runs or ctx ends.
func (r *requests) wait(ctx context.Context) error {
	r.mu.Lock()
	idle := r.idle
	r.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
