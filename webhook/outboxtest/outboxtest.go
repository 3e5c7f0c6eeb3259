// Package outboxtest is what every webhook.Outbox must pass.
package outboxtest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/webhook"
)

// Config says what is tested.
type Config struct {
	// Open makes an empty outbox, which lasts until the test ends.
	Open func(t *testing.T) webhook.Outbox
	// Wait lets time pass: time.Sleep in a bubble of testing/synctest, which
	// the caller has to make.
	Wait func(time.Duration)
}

// Run runs the suite.
func Run(t *testing.T, cfg Config) {
	t.Helper()
	s := &suite{t: t, cfg: cfg, Outbox: cfg.Open(t)}
	s.order()
	s.lease()
	s.outcomes()
	s.lateOutcomes()
	s.together()
}

// suite uses an outbox, with targets that are new in each part.
type suite struct {
	t   *testing.T
	cfg Config
	webhook.Outbox
	seq int64
}

func (s *suite) add(target string, count int) (ids []string) {
	s.t.Helper()
	entries := make([]webhook.Entry, count)
	for i := range entries {
		s.seq++
		entries[i] = webhook.Entry{
			ID: fmt.Sprintf("msg_%s_%d", target, s.seq), Target: target, Type: webhook.TypePublished, Key: "room a",
			Body: fmt.Appendf(nil, `{"n":%d}`, s.seq), Time: time.UnixMilli(time.Now().UnixMilli()), Seq: s.seq,
		}
		ids = append(ids, entries[i].ID)
	}
	if err := s.Add(s.t.Context(), entries); err != nil {
		s.t.Fatalf("%s: Add: %v", target, err)
	}
	return ids
}

func (s *suite) claim(target string, limit int, lease time.Duration) ([]webhook.Entry, time.Time) {
	s.t.Helper()
	entries, next, err := s.Claim(s.t.Context(), target, limit, lease)
	if err != nil {
		s.t.Fatalf("%s: Claim: %v", target, err)
	}
	return entries, next
}

func (s *suite) settle(outcomes ...webhook.Outcome) {
	s.t.Helper()
	if err := s.Settle(s.t.Context(), outcomes); err != nil {
		s.t.Fatalf("Settle: %v", err)
	}
}

func ids(entries []webhook.Entry) (list []string) {
	for _, e := range entries {
		list = append(list, e.ID)
	}
	return list
}

// want checks which entries a claim gives.
func (s *suite) want(what, target string, want ...string) []webhook.Entry {
	s.t.Helper()
	entries, _ := s.claim(target, 1000, time.Minute)
	if got := ids(entries); !slices.Equal(got, want) {
		s.t.Errorf("%s: claimed %q, want %q", what, got, want)
	}
	return entries
}

func (s *suite) order() {
	first := s.add("order", 3)
	second := s.add("order", 200)
	s.add("another", 1)
	entries, _ := s.claim("order", 2, time.Minute)
	if got := ids(entries); !slices.Equal(got, first[:2]) {
		s.t.Errorf("order: %q, want %q", got, first[:2])
	}
	if e := entries[0]; string(e.Body) != `{"n":1}` || e.Target != "order" || e.Type != webhook.TypePublished || e.Key != "room a" ||
		e.Seq != 1 || e.Attempts != 0 || e.Time.UnixMilli() != time.Now().UnixMilli() {
		s.t.Errorf("order: not what was added: %+v", e)
	}
	s.want("order, the rest", "order", append(first[2:], second...)...)
	if entries, next := s.claim("nobody", 10, time.Minute); len(entries) > 0 || !next.IsZero() {
		s.t.Errorf("nobody's: %d entries, next %v", len(entries), next)
	}
}

func (s *suite) lease() {
	added := s.add("lease", 1)
	began := time.Now()
	s.want("lease", "lease", added...)
	s.want("lease, claimed already", "lease")
	if _, next := s.claim("lease", 10, time.Minute); next.Sub(began).Abs() > time.Minute+time.Millisecond {
		s.t.Errorf("lease: next in %v, want a minute", next.Sub(began))
	}
	s.cfg.Wait(time.Minute + time.Millisecond)
	if e := s.want("lease, over", "lease", added...); len(e) == 1 && e[0].Attempts != 0 {
		s.t.Errorf("lease, over: %d attempts", e[0].Attempts)
	}
}

func (s *suite) outcomes() {
	added := s.add("outcomes", 4)
	s.want("outcomes", "outcomes", added...)
	soon := time.Now().Add(10 * time.Second)
	s.settle(
		webhook.Outcome{ID: added[0], Done: true},
		webhook.Outcome{ID: added[1], Failed: true, Next: soon, Reason: "answered 500"},
		webhook.Outcome{ID: added[2], Next: time.Now()},
		webhook.Outcome{ID: added[3], Failed: true, Dead: true, Reason: "answered 410"},
	)
	if e := s.want("outcomes, put back", "outcomes", added[2]); len(e) == 1 && e[0].Attempts != 0 {
		s.t.Errorf("put back: %d attempts", e[0].Attempts)
	}
	if _, next := s.claim("outcomes", 1, time.Minute); next.UnixMilli() != soon.UnixMilli() {
		s.t.Errorf("outcomes: next %v, want %v", next, soon)
	}
	s.cfg.Wait(10*time.Second + time.Millisecond)
	if e := s.want("outcomes, failed", "outcomes", added[1]); len(e) == 1 && e[0].Attempts != 1 {
		s.t.Errorf("failed: %d attempts, want 1", e[0].Attempts)
	}
	s.cfg.Wait(time.Hour)
	s.want("outcomes, later", "outcomes", added[1], added[2])
}

// lateOutcomes: who was too slow changes nothing, but has delivered if it did.
func (s *suite) lateOutcomes() {
	added := s.add("late", 2)
	s.want("late", "late", added...)
	s.cfg.Wait(time.Minute + time.Millisecond)
	s.want("late, again", "late", added...)
	s.settle(webhook.Outcome{ID: added[0], Failed: true, Next: time.Now()}, webhook.Outcome{ID: added[1], Failed: true, Next: time.Now()})
	s.settle(webhook.Outcome{ID: added[0], Failed: true, Next: time.Now().Add(time.Hour)}, webhook.Outcome{ID: added[1], Done: true})
	if e := s.want("late, then", "late", added[0]); len(e) == 1 && e[0].Attempts != 1 {
		s.t.Errorf("late: %d attempts, want 1", e[0].Attempts)
	}
	s.settle(webhook.Outcome{ID: "msg_unknown", Done: true}, webhook.Outcome{ID: "msg_unknown", Failed: true, Next: time.Now()})
}

// together: several claim at once, and nobody gets what another has.
func (s *suite) together() {
	added := s.add("together", 300)
	var all sync.WaitGroup
	var mu sync.Mutex // guards got
	var got []string
	for range 6 {
		all.Go(func() {
			for empty := 0; empty < 2; {
				entries, _, err := s.Claim(s.t.Context(), "together", 7, time.Hour)
				if err != nil {
					s.t.Errorf("together: %v", err)
					return
				}
				if len(entries) == 0 {
					empty++
				}
				mu.Lock()
				got = append(got, ids(entries)...)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(got)
	slices.Sort(added)
	if !slices.Equal(got, added) {
		s.t.Errorf("together: %d claimed, want each of %d once", len(got), len(added))
	}
}
