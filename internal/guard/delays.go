package guard

import (
	"sync"
	"time"
)

// DelaysConfig says how repeated failures of one key are slowed down. The
// zero value works.
type DelaysConfig struct {
	// First is the delay of the second failure; the first has none. Each one
	// after it has twice the delay of the one before. Default 250 ms.
	First time.Duration
	// Max bounds the delay; default 10 s.
	Max time.Duration
	// Forget is after how long without a failure a key starts anew; default
	// one minute.
	Forget time.Duration
	// MaxKeys is how many keys are remembered; default 10,000. Over it the
	// one whose last failure is the longest ago is forgotten.
	MaxKeys int
}

// Delays counts the failures of each key. It is safe for concurrent use.
type Delays[K comparable] struct {
	cfg DelaysConfig

	mu       sync.Mutex // guards failures
	failures *recent[K, failure]
}

type failure struct {
	delay time.Duration // that of the last failure
	at    time.Time
}

// NewDelays makes a Delays.
func NewDelays[K comparable](cfg DelaysConfig) *Delays[K] {
	if cfg.First <= 0 {
		cfg.First = 250 * time.Millisecond
	}
	if cfg.Max <= 0 {
		cfg.Max = 10 * time.Second
	}
	if cfg.Forget <= 0 {
		cfg.Forget = time.Minute
	}
	if cfg.MaxKeys <= 0 {
		cfg.MaxKeys = defaultMaxKeys
	}
	return &Delays[K]{cfg: cfg, failures: newRecent[K, failure](cfg.MaxKeys)}
}

// Fail counts a failure of key and returns how long to wait before telling
// the peer of it.
func (d *Delays[K]) Fail(key K) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	f := d.failures.get(key, func() failure { return failure{} })
	switch {
	case f.at.IsZero() || now.Sub(f.at) >= d.cfg.Forget:
		f.delay = 0
	case f.delay == 0:
		f.delay = min(d.cfg.First, d.cfg.Max)
	default:
		f.delay = min(2*f.delay, d.cfg.Max)
	}
	f.at = now
	return f.delay
}

// Succeed forgets the failures of key.
func (d *Delays[K]) Succeed(key K) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures.drop(key)
}

// Len returns how many keys are remembered.
func (d *Delays[K]) Len() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failures.len()
}
