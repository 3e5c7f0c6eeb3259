package server_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/server"
)

// A user can't have the application asked about more polls at once than may
// wait, and it is not asked for ever.
func TestPollsThatAreAsked(t *testing.T) {
	in(t, func(t *testing.T) {
		w := newWorld(t, server.Config{ConnectionsPerUser: 2})
		var asked atomic.Int32
		w.srv.OnJoin(func(ctx context.Context, j *server.Join) error {
			asked.Add(1)
			<-ctx.Done()
			return ctx.Err()
		})
		query := "/poll?room=a&room=b&wait=0"
		bearer := "Bearer " + token(t, "alice", time.Hour)
		done := make(chan int, 2)
		for range 2 {
			go func() {
				status, _, _ := w.get(query, "Authorization", bearer)
				done <- status
			}()
		}
		synctest.Wait()
		if status, _, body := w.get(query, "Authorization", bearer); status != 503 || codeIn(body) != holdfast.ConnectionLimit {
			t.Errorf("a third call: %d %s", status, body)
		}
		start := time.Now()
		for range 2 {
			if status := <-done; status != 500 {
				t.Errorf("status %d", status)
			}
		}
		if took := time.Since(start); took > 10*time.Second || asked.Load() != 2 {
			t.Errorf("asked %d times, for %v", asked.Load(), took)
		}
	})
}
