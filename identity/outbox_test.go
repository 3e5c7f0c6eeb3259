package identity

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/webhook"
	"github.com/holdfast-dev/holdfast/webhook/outboxtest"
)

func TestOutbox(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		outboxtest.Run(t, outboxtest.Config{Open: func(*testing.T) webhook.Outbox { return h.Outbox() }, Wait: after})
	})
}

// Two processes on one database never have the same entry at the same time.
func TestOutboxOfTwo(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		both := two{h.Outbox(), h.another(nil).Outbox(), make(chan bool, 1)}
		both.turn <- true
		outboxtest.Run(t, outboxtest.Config{Open: func(*testing.T) webhook.Outbox { return both }, Wait: after})
	})
}

// two claims from one process and from the other in turn.
type two struct {
	webhook.Outbox
	other webhook.Outbox
	turn  chan bool
}

func (o two) Claim(ctx context.Context, target string, limit int, lease time.Duration) ([]webhook.Entry, time.Time, error) {
	mine := <-o.turn
	o.turn <- !mine
	if mine {
		return o.Outbox.Claim(ctx, target, limit, lease)
	}
	return o.other.Claim(ctx, target, limit, lease)
}

func TestOutboxGivenUp(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		for from := range 11 {
			entries := make([]webhook.Entry, 100)
			outcomes := make([]webhook.Outcome, len(entries))
			for i := range entries {
				id := fmt.Sprintf("msg_%02d_%02d", from, i)
				entries[i] = webhook.Entry{ID: id, Target: "a", Type: webhook.TypeLeft, Body: []byte("{}"), Time: time.Now()}
				outcomes[i] = webhook.Outcome{ID: id, Failed: true, Dead: true, Reason: "answered 410"}
			}
			noError(t, h.Outbox().Add(ctx, entries))
			noError(t, h.Outbox().Settle(ctx, outcomes))
			after(time.Second)
		}
		dead, err := h.DeadWebhooks(ctx, 5000)
		noError(t, err)
		if len(dead) != 1000 || dead[0].ID != "msg_10_00" || dead[0].Reason != "answered 410" || dead[0].Attempts != 1 || time.Since(dead[0].At) != time.Second {
			t.Errorf("%d given up, the newest %+v", len(dead), dead[0])
		}
		if entries, next, err := h.Outbox().Claim(ctx, "a", 10, time.Minute); err != nil || len(entries) > 0 || !next.IsZero() {
			t.Errorf("%d given up are due, next %v: %v", len(entries), next, err)
		}
		for target, want := range map[string]int64{"b": 0, "": 1000} {
			if n, err := h.RetryWebhooks(ctx, target); err != nil || n != want {
				t.Errorf("tried again for %q: %d, %v", target, n, err)
			}
		}
		if entries, _, err := h.Outbox().Claim(ctx, "a", 2000, time.Minute); err != nil || len(entries) != 1000 || entries[0].Attempts != 0 {
			t.Errorf("%d are due again, %v", len(entries), err)
		}
		after(7 * 24 * time.Hour)
		noError(t, h.cleanOnce(ctx))
		after(time.Hour)
		if entries, _, err := h.Outbox().Claim(ctx, "a", 2000, time.Minute); err != nil || len(entries) != 0 {
			t.Errorf("after a week %d are there, %v", len(entries), err)
		}
	})
}

func TestOutboxIsBounded(t *testing.T) {
	eachDatabase(t, nil, func(t *testing.T, h *harness) {
		ctx := t.Context()
		h.outbox.most = 100
		entries := make([]webhook.Entry, 70)
		add := func(round int) error {
			for i := range entries {
				entries[i] = webhook.Entry{ID: fmt.Sprintf("%d %d", round, i), Target: "a", Body: []byte("{}"), Time: time.Now()}
			}
			return h.Outbox().Add(ctx, entries)
		}
		for round, full := range []bool{false, false, true, true} {
			if err := add(round); webhook.IsFull(err) != full || !full && err != nil {
				t.Errorf("round %d: %v", round, err)
			}
			after(time.Second)
		}
		outcomes := make([]webhook.Outcome, len(entries))
		for i := range outcomes {
			outcomes[i] = webhook.Outcome{ID: fmt.Sprintf("1 %d", i), Done: true}
		}
		noError(t, h.Outbox().Settle(ctx, outcomes))
		noError(t, add(4))
	})
}
