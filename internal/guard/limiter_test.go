package guard_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/time/rate"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/guard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := guard.NewLimiter[string](guard.LimiterConfig{Rate: 2, Burst: 3})
		allowed := func(key string) int {
			n := 0
			for l.Allow(key) == nil {
				n++
			}
			return n
		}
		if n := allowed("a"); n != 3 {
			t.Errorf("%d at once, want the burst of 3", n)
		}
		if n := allowed("b"); n != 3 {
			t.Errorf("another key had %d", n)
		}
		err := l.Allow("a")
		e := holdfast.AsError(err)
		if !errors.Is(err, holdfast.RateLimited) || e.RetryAfter != 500*time.Millisecond || e.RetryAfterSeconds() != 1 {
			t.Fatalf("%v, retry after %v", err, e.RetryAfter)
		}
		<-time.After(e.RetryAfter)
		if n := allowed("a"); n != 1 {
			t.Errorf("after RetryAfter %d, want 1: what was refused was counted", n)
		}
		<-time.After(time.Hour)
		if n := allowed("a"); n != 3 {
			t.Errorf("after an hour %d, want 3", n)
		}
	})
}

func TestLimiterOfNothing(t *testing.T) {
	l := guard.NewLimiter[string](guard.LimiterConfig{})
	if err := l.Allow("a"); err != nil {
		t.Errorf("the first: %v", err)
	}
	if err := l.Allow("a"); !errors.Is(err, holdfast.RateLimited) || holdfast.AsError(err).RetryAfter <= 0 {
		t.Errorf("the second: %v", err)
	}
	everything := guard.NewLimiter[string](guard.LimiterConfig{Rate: rate.Inf})
	for range 100 {
		if err := everything.Allow("a"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLimiterIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := guard.NewLimiter[int](guard.LimiterConfig{Rate: 0.001, Burst: 1, MaxKeys: 3})
		for i := range 1000 {
			if err := l.Allow(i); err != nil {
				t.Fatalf("new key %d: %v", i, err)
			}
			if l.Len() > 3 {
				t.Fatalf("%d keys after %d", l.Len(), i)
			}
		}
		// 997, 998 and 999 are left. Looking at one makes it the newest.
		if l.Allow(997) == nil {
			t.Error("997 was forgotten")
		}
		if l.Allow(1000) != nil {
			t.Error("1000 is not new")
		}
		if l.Allow(997) == nil || l.Allow(999) == nil {
			t.Error("a newer key was forgotten, or 997 although it was looked at")
		}
		if l.Allow(998) != nil {
			t.Error("998, the oldest, was kept")
		}
	})
}

// One subscriber has a whole /64 of IPv6, and shares one bucket over it.
func TestLimiterByNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := guard.NewLimiter[netip.Prefix](guard.LimiterConfig{Rate: 1, Burst: 10})
		allowed := 0
		for i := range 100 {
			addr := netip.MustParseAddr(fmt.Sprintf("2001:db8:0:1::%x", i))
			if l.Allow(guard.Network(addr)) == nil {
				allowed++
			}
		}
		if allowed != 10 || l.Len() != 1 {
			t.Errorf("%d allowed, %d keys", allowed, l.Len())
		}
		if l.Allow(guard.Network(netip.MustParseAddr("2001:db8:0:2::1"))) != nil {
			t.Error("the neighbour is refused")
		}
	})
}

func TestDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := guard.NewDelays[string](guard.DelaysConfig{})
		want := []time.Duration{0, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
			4 * time.Second, 8 * time.Second, 10 * time.Second, 10 * time.Second}
		for i, want := range want {
			if got := d.Fail("a"); got != want {
				t.Errorf("failure %d: %v, want %v", i+1, got, want)
			}
		}
		if got := d.Fail("b"); got != 0 {
			t.Errorf("another key: %v", got)
		}

		<-time.After(time.Minute - 1)
		if got := d.Fail("a"); got != 10*time.Second {
			t.Errorf("within a minute: %v", got)
		}
		<-time.After(time.Minute)
		if got := d.Fail("a"); got != 0 {
			t.Errorf("after a minute: %v", got)
		}

		d.Fail("a")
		d.Succeed("a")
		d.Succeed("never seen")
		if got := d.Fail("a"); got != 0 {
			t.Errorf("after a success: %v", got)
		}
	})
}

func TestDelaysConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := guard.NewDelays[string](guard.DelaysConfig{First: 3 * time.Second, Max: 2 * time.Second, Forget: 5 * time.Second})
		if a, b, c := d.Fail("a"), d.Fail("a"), d.Fail("a"); a != 0 || b != 2*time.Second || c != 2*time.Second {
			t.Errorf("%v, %v, %v", a, b, c)
		}
		<-time.After(5 * time.Second)
		if got := d.Fail("a"); got != 0 {
			t.Errorf("after Forget: %v", got)
		}
	})
}

func TestDelaysAreBounded(t *testing.T) {
	d := guard.NewDelays[int](guard.DelaysConfig{MaxKeys: 2})
	for i := range 1000 {
		d.Fail(i)
		if d.Len() > 2 {
			t.Fatalf("%d keys", d.Len())
		}
	}
	if d.Fail(999) == 0 || d.Fail(998) == 0 {
		t.Error("a new key was forgotten")
	}
	if d.Fail(997) != 0 {
		t.Error("an old key was kept")
	}
}

func TestLimitsAreConcurrent(t *testing.T) {
	l := guard.NewLimiter[int](guard.LimiterConfig{Rate: 1e-9, Burst: 100, MaxKeys: 10})
	d := guard.NewDelays[int](guard.DelaysConfig{MaxKeys: 10})
	var wait sync.WaitGroup
	var mu sync.Mutex
	allowed := 0
	for range 8 {
		wait.Go(func() {
			for i := range 100 {
				if l.Allow(0) == nil {
					mu.Lock()
					allowed++
					mu.Unlock()
				}
				d.Fail(i)
				d.Succeed(i)
			}
		})
	}
	wait.Wait()
	if allowed != 100 {
		t.Errorf("%d allowed, want 100", allowed)
	}
}

func BenchmarkLimiter(b *testing.B) {
	l := guard.NewLimiter[netip.Prefix](guard.LimiterConfig{Rate: rate.Inf, Burst: 1})
	keys := make([]netip.Prefix, 20_000) // half of them are always forgotten
	for i := range keys {
		keys[i] = guard.Network(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := l.Allow(keys[i%len(keys)]); err != nil {
			b.Fatal(err)
		}
	}
}
