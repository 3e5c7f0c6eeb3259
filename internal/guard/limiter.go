package guard

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-dev/holdfast"
)

// defaultMaxKeys is how many keys a Limiter or Delays remembers.
const defaultMaxKeys = 10_000

// LimiterConfig says how much each key may do. Rate and Burst must be set.
type LimiterConfig struct {
	// Rate is how many events a second a key may have in the long run.
	Rate rate.Limit
	// Burst is how many it may have at once; 0 is taken as 1.
	Burst int
	// MaxKeys is how many keys are remembered; default 10,000. Over it the
	// one that was quiet for the longest time is forgotten, and starts anew.
	MaxKeys int
	// Spread tells those of a key that are refused to come back one after the
	// other, at four fifths of Rate, and not all of them when the next event is
	// allowed: a crowd of which each honours RetryAfter is then let in by the
	// second or third try. RetryAfter is MaxSpread at most.
	Spread bool
}

// MaxSpread bounds RetryAfter where a Limiter spreads. Clients that do not honour
// it, and so are told again and again, can make it that long for others.
const MaxSpread = 30 * time.Second

// pace is how many of Rate are told to come back: some slack is for new ones,
// and because nobody comes back at the very moment.
const pace = 0.8

// Limiter gives each key a token bucket. It is safe for concurrent use.
type Limiter[K comparable] struct {
	limit  rate.Limit
	burst  int
	spread bool

	mu      sync.Mutex // guards buckets and each of them
	buckets *recent[K, *bucket]
}

// bucket is what is kept of a key.
type bucket struct {
	*rate.Limiter
	next time.Time // when the last one that was refused is to come back
}

// NewLimiter makes a Limiter.
func NewLimiter[K comparable](cfg LimiterConfig) *Limiter[K] {
	if cfg.MaxKeys <= 0 {
		cfg.MaxKeys = defaultMaxKeys
	}
	return &Limiter[K]{limit: cfg.Rate, burst: max(cfg.Burst, 1), spread: cfg.Spread, buckets: newRecent[K, *bucket](cfg.MaxKeys)}
}

// Allow counts one event of key. It returns a RATE_LIMITED error, with
// RetryAfter, if the key has had too many; then the event is not counted.
func (l *Limiter[K]) Allow(key K) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := *l.buckets.get(key, func() *bucket { return &bucket{Limiter: rate.NewLimiter(l.limit, l.burst)} })
	if b.AllowN(now, 1) {
		return nil
	}
	err := holdfast.RateLimited.New()
	if missing := 1 - b.TokensAt(now); l.limit > 0 {
		err.RetryAfter = time.Duration(missing / float64(l.limit) * float64(time.Second))
	}
	if l.spread && l.limit > 0 {
		first, last := now.Add(err.RetryAfter), now.Add(MaxSpread)
		if b.next = b.next.Add(time.Duration(float64(time.Second) / (pace * float64(l.limit)))); b.next.Before(first) {
			b.next = first
		} else if b.next.After(last) {
			b.next = last
		}
		err.RetryAfter = b.next.Sub(now)
	}
	err.RetryAfter = max(err.RetryAfter, time.Millisecond)
	return err
}

// Len returns how many keys are remembered.
func (l *Limiter[K]) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buckets.len()
}
