package server

import (
	"net/netip"
	"sync"
)

// counter counts by network, up to a limit; its memory is bounded by what it
// counts. A negative limit is none.
type counter struct {
	limit int

	mu     sync.Mutex // guards counts
	counts map[netip.Prefix]int
}

func (c *counter) acquire(key netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limit >= 0 && c.counts[key] >= c.limit {
		return false
	}
	if c.counts == nil {
		c.counts = make(map[netip.Prefix]int)
	}
	c.counts[key]++
	return true
}

func (c *counter) release(key netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.counts[key]--; c.counts[key] <= 0 {
		delete(c.counts, key)
	}
}
