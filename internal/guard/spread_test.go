package guard_test

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/guard"
)

// visit is when a client comes, and how often it was refused.
type visit struct {
	at      time.Time
	refused int
}

// TestSpread has 10,000 clients come within a second to where 500 a second are
// let in, and honour RetryAfter as Holdfast's do: whole seconds, and a random
// time more, which doubles. Nobody needs more than three tries, and the time is
// not wasted.
func TestSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const clients, limit = 10_000, 500
		l := guard.NewLimiter[string](guard.LimiterConfig{Rate: limit, Burst: 2 * limit, Spread: true})
		random := rand.New(rand.NewPCG(1, 2))
		began := time.Now()
		var due []visit
		for range clients {
			due = append(due, visit{at: began.Add(time.Duration(random.Float64() * float64(time.Second)))})
		}
		tries := make(map[int]int)
		for len(due) > 0 {
			slices.SortFunc(due, func(a, b visit) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
			now := due
			due = nil
			for i, v := range now {
				if len(due) > 0 && v.at.Sub(now[0].at) > time.Second { // some may come before
					due = append(due, now[i:]...)
					break
				}
				time.Sleep(time.Until(v.at))
				err := l.Allow("all")
				if err == nil {
					tries[v.refused+1]++
					continue
				}
				v.refused++
				jitter := time.Duration(random.Float64() * float64(time.Second<<(v.refused-1)))
				v.at = time.Now().Add(time.Duration(holdfast.AsError(err).RetryAfterSeconds())*time.Second + jitter)
				due = append(due, v)
			}
		}
		took := time.Since(began)
		for n := range tries {
			if n > 3 {
				t.Errorf("%d needed %d tries: %v", tries[n], n, tries)
			}
		}
		if least := time.Duration((clients/limit - 2) * float64(time.Second)); took > 3*least/2 {
			t.Errorf("it took %v, and could take %v", took, least)
		}
	})
}

// TestSpreadIsBounded has somebody come again and again: RetryAfter grows to its
// bound, and is small again when that time is over.
func TestSpreadIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := guard.NewLimiter[string](guard.LimiterConfig{Rate: 10, Burst: 1, Spread: true})
		if err := l.Allow("a"); err != nil {
			t.Fatal(err)
		}
		after := func() time.Duration { return holdfast.AsError(l.Allow("a")).RetryAfter }
		if first, second := after(), after(); first != 100*time.Millisecond || second != 225*time.Millisecond {
			t.Errorf("after %v and %v", first, second)
		}
		for range 1000 {
			if d := after(); d > guard.MaxSpread {
				t.Fatalf("after %v", d)
			}
		}
		if d := after(); d != guard.MaxSpread {
			t.Errorf("after %v, want %v", d, guard.MaxSpread)
		}
		time.Sleep(guard.MaxSpread + time.Second)
		if err := l.Allow("a"); err != nil {
			t.Error(err)
		}
		if d := after(); d != 100*time.Millisecond {
			t.Errorf("after %v", d)
		}
	})
}
