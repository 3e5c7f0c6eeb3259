package transport

import (
	"context"
	"log/slog"
	"sync"

	"github.com/holdfast-dev/holdfast"
)

// drained is what can be drained: a *Conn or a *Stream.
type drained interface {
	Close(err *holdfast.Error) // after what is queued
	cut()                      // at once
}

// drainAll closes all with GOING_AWAY, and waits until running is done, or until
// ctx ends: then it cuts what is still open and returns ctx's error. New ones
// are refused already.
func drainAll[D drained](ctx context.Context, all func() []D, running *sync.WaitGroup) error {
	for _, d := range all() {
		d.Close(holdfast.GoingAway.New())
	}
	done := make(chan struct{})
	go func() { // ends with the last of them, at the latest after the cut
		running.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, d := range all() {
		d.cut()
	}
	return ctx.Err()
}

// logRefusal notes why a request came to nothing; what is what it would have
// opened.
func logRefusal(log *slog.Logger, what string, err error) {
	if e := holdfast.AsError(err); e.Code == holdfast.Internal {
		log.Error(what+" not opened", "error", err)
	} else {
		log.Debug("request refused", "code", string(e.Code), "reason", e.Message)
	}
}
