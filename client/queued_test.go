package client

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/tokens"
)

// faulty is a queue that fails, or waits, where its test says so.
type faulty struct {
	*queue.Memory
	mu     sync.Mutex
	next   func(n int) error // of the n-th call, from 1
	remove func(n int) error
	nexts  int
	takes  int
}

func (q *faulty) Next(ctx context.Context, lane queue.Lane) (queue.Item, error) {
	if err := q.called(&q.nexts, q.next); err != nil {
		return queue.Item{}, err
	}
	return q.Memory.Next(ctx, lane)
}

func (q *faulty) Remove(ctx context.Context, id string, cause *holdfast.Error) (bool, error) {
	if err := q.called(&q.takes, q.remove); err != nil {
		return false, err
	}
	return q.Memory.Remove(ctx, id, cause)
}

func (q *faulty) called(count *int, fn func(int) error) error {
	q.mu.Lock()
	*count++
	n := *count
	q.mu.Unlock()
	if fn == nil {
		return nil
	}
	return fn(n)
}

func (q *faulty) read() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.nexts
}

// withFaulty runs a test with a socket on a faulty queue.
func withFaulty(t *testing.T, q *faulty, log io.Writer, test func(t *testing.T, f *fake, k *taker, s *Socket)) {
	t.Helper()
	k := &taker{}
	bubble(t, k.script, func(t *testing.T, f *fake) {
		q.Memory = queue.NewMemory(queue.Limits{})
		s := f.client(Config{Source: tokens.Static(jwtOfAnn), Socket: SocketConfig{Queue: q}, Logger: slog.New(slog.NewTextHandler(log, nil))}).Socket()
		defer s.Close()
		test(t, f, k, s)
	})
}

// A queue that fails in passing is asked again, later and later; one that is
// closed is not.
func TestQueueFails(t *testing.T) {
	for name, test := range map[string]struct {
		fails func(n int) error
		sent  int
		least int // readings in an hour
		most  int
	}{
		"once": {func(n int) error {
			if n == 1 {
				return io.ErrUnexpectedEOF
			}
			return nil
		}, 1, 3, 3},
		"for ever": {func(int) error { return io.ErrUnexpectedEOF }, 0, 150, 400},
		"closed":   {func(int) error { return queue.ErrClosed }, 0, 1, 1},
	} {
		q := &faulty{next: test.fails}
		withFaulty(t, q, io.Discard, func(t *testing.T, f *fake, k *taker, s *Socket) {
			mustEmit(t, s, "a", 1)
			mustConnect(t, s)
			time.Sleep(time.Hour)
			if n := q.read(); k.count() != test.sent || n < test.least || n > test.most || f.connections() != 1 {
				t.Errorf("%s: sent %d, read %d times", name, k.count(), n)
			}
		})
	}
}

// An event that is being withdrawn while the queue is sent is passed over, and
// nothing waits for that.
func TestWithdrawnWhileSending(t *testing.T) {
	var log bytes.Buffer
	q := &faulty{}
	withFaulty(t, q, &log, func(t *testing.T, f *fake, k *taker, s *Socket) {
		hold := make(chan struct{})
		q.remove = func(n int) error {
			if n == 1 {
				<-hold // the caller's own removing is slow
			}
			return nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		failed := make(chan error, 1)
		go func() {
			_, err := EmitAck[any](ctx, s, "withdrawn", nil)
			failed <- err
		}()
		time.Sleep(2 * time.Second)
		mustEmit(t, s, "next", 1)
		mustConnect(t, s)
		synctest.Wait()
		if k.got.String() != "[next 1]" || log.Len() > 0 {
			t.Errorf("sent %v; log: %s", &k.got, &log)
		}
		close(hold)
		if err := <-failed; !errors.Is(err, context.DeadlineExceeded) || events(q.Memory) != "" {
			t.Errorf("%v, left %s", err, events(q.Memory))
		}
	})
}

// What somebody else did with an event is told to who waits for its ack.
func TestTakenElsewhere(t *testing.T) {
	for name, test := range map[string]struct {
		take func(ctx context.Context, q *queue.Memory, id string) error
		want error
	}{
		"acknowledged": {func(ctx context.Context, q *queue.Memory, id string) error {
			_, err := q.Remove(ctx, id, nil)
			return err
		}, ErrElsewhere},
		"refused": {func(ctx context.Context, q *queue.Memory, id string) error {
			_, err := q.Remove(ctx, id, holdfast.Errorf(holdfast.Conflict, "Taken"))
			return err
		}, holdfast.Conflict},
		"dropped": {func(ctx context.Context, q *queue.Memory, id string) error {
			return q.Add(ctx, queue.Item{ID: queue.NewID(), Event: "new", Args: []byte("[]")})
		}, queue.ErrDropped},
	} {
		bubble(t, (&taker{}).script, func(t *testing.T, f *fake) {
			q := queue.NewMemory(queue.Limits{Items: 1, DropOldest: true})
			s := f.client(Config{Source: tokens.Static(jwtOfAnn), Socket: SocketConfig{Queue: q}}).Socket()
			failed := make(chan error, 1)
			go func() {
				_, err := EmitAck[any](patient(t), s, "a", nil)
				failed <- err
			}()
			synctest.Wait()
			if err := test.take(t.Context(), q, q.Items()[0].ID); err != nil {
				t.Fatal(err)
			}
			if err := <-failed; !errors.Is(err, test.want) || test.want == holdfast.Conflict && !strings.Contains(err.Error(), "Taken") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// A token that is refused again and again is renewed a few times.
func TestQueueRenewals(t *testing.T) {
	k := &taker{answer: func(n int, p *peer, name string) string {
		if name == "a" {
			return refuse(holdfast.TokenExpired)
		}
		return "ok"
	}}
	offline(t, k, Config{Source: &source{}, Socket: SocketConfig{QueueTries: 8}}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
		mustConnect(t, s)
		time.Sleep(2 * time.Second)
		mustEmit(t, s, "a", 1)
		time.Sleep(time.Hour)
		var sent, renewed int
		for _, got := range k.got.all() {
			if strings.HasPrefix(got, "a ") {
				sent++
			} else {
				renewed++
			}
		}
		if sent != 8 || renewed != maxRenewals || len(q.Dead()) != 1 || q.Dead()[0].Code != holdfast.TokenExpired {
			t.Errorf("%v, dead %+v", &k.got, q.Dead())
		}
	})
}
