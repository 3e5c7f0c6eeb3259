package webhook_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast/webhook"
	"github.com/holdfast-dev/holdfast/webhook/outboxtest"
)

func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outboxtest.Run(t, outboxtest.Config{Open: func(*testing.T) webhook.Outbox { return webhook.NewMemory() }, Wait: time.Sleep})
	})
}

func TestMemoryIsBounded(t *testing.T) {
	m := webhook.NewMemory()
	add := func(from, count, size int) error {
		entries := make([]webhook.Entry, count)
		for i := range entries {
			entries[i] = webhook.Entry{ID: fmt.Sprint(from + i), Target: "a", Seq: int64(i), Body: make([]byte, size)}
		}
		return m.Add(t.Context(), entries)
	}
	if err := add(0, 10_000, 1); err != nil {
		t.Fatal(err)
	}
	if err := add(10_000, 1, 1); !webhook.IsFull(err) {
		t.Errorf("one more: %v", err)
	}
	for range 2 { // die, in two portions
		for i := range 5_000 {
			entries, _, err := m.Claim(t.Context(), "a", 1, time.Hour)
			if err != nil || len(entries) != 1 {
				t.Fatal(i, err, len(entries))
			}
			if err := m.Settle(t.Context(), []webhook.Outcome{{ID: entries[0].ID, Failed: true, Dead: true, Reason: "no"}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	dead := m.Dead()
	if len(dead) != 100 || dead[99].ID != "9999" || dead[99].Attempts != 1 || dead[99].Reason != "no" || m.Len() != 0 {
		t.Errorf("%d dead, the last %+v; %d left", len(dead), dead[len(dead)-1], m.Len())
	}
	if err := add(0, 64, 1<<20); err != nil {
		t.Error(err)
	}
	if err := add(64, 1, 1); !webhook.IsFull(err) {
		t.Errorf("a byte more: %v", err)
	}
}
