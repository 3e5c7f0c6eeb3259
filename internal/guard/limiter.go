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
}

// Limiter gives each key a token bucket. It is safe for concurrent use.
type Limiter[K comparable] struct {
	limit rate.Limit
	burst int

	mu      sync.Mutex // guards buckets and each of them
	buckets *recent[K, *rate.Limiter]
}

// NewLimiter makes a Limiter.
func NewLimiter[K comparable](cfg LimiterConfig) *Limiter[K] {
	if cfg.MaxKeys <= 0 {
		cfg.MaxKeys = defaultMaxKeys
	}
	return &Limiter[K]{limit: cfg.Rate, burst: max(cfg.Burst, 1), buckets: newRecent[K, *rate.Limiter](cfg.MaxKeys)}
}

// Allow counts one event of key. It returns a RATE_LIMITED error, with
// RetryAfter, if the key has had too many; then the event is not counted.
func (l *Limiter[K]) Allow(key K) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	bucket := *l.buckets.get(key, func() *rate.Limiter { return rate.NewLimiter(l.limit, l.burst) })
	if bucket.AllowN(now, 1) {
		return nil
	}
	err := holdfast.RateLimited.New()
	if missing := 1 - bucket.TokensAt(now); l.limit > 0 {
		err.RetryAfter = time.Duration(missing / float64(l.limit) * float64(time.Second))
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
