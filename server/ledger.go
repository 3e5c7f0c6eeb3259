package server

import (
	"container/heap"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// ledger holds what was taken back, for as long as it matters: revocations
// until everything that they refuse has expired, and for each user the last
// change of his permissions as long as a token from before can be valid. It is
// bounded by what was issued, and forgets as it goes.
type ledger struct {
	lifetime time.Duration // of the longest token

	mu          sync.RWMutex // guards what follows
	revocations map[ledgerKey]auth.Revocation
	bumps       map[string]auth.Bump
	due         dueHeap
}

// ledgerKey is what a revocation is about.
type ledgerKey struct{ kind, id string }

// keysOf returns the keys that may hold a revocation of id.
func keysOf(user, session, token string) [3]ledgerKey {
	return [3]ledgerKey{{"user", user}, {"session", session}, {"token", token}}
}

// revoke adds r. Of two about the same, the later counts.
func (g *ledger) revoke(r auth.Revocation) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(time.Now())
	for _, key := range keysOf(r.User, r.Session, r.TokenID) {
		if key.id == "" {
			continue
		}
		if old, ok := g.revocations[key]; ok && old.Before.After(r.Before) {
			continue
		}
		if g.revocations == nil {
			g.revocations = make(map[ledgerKey]auth.Revocation)
		}
		g.revocations[key] = r
		heap.Push(&g.due, dueItem{at: r.Until, key: key})
	}
}

// bump adds b. Of two of a user, the later counts.
func (g *ledger) bump(b auth.Bump) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(time.Now())
	if old, ok := g.bumps[b.User]; ok && (old.At.After(b.At) || old.Version > b.Version) {
		return
	}
	if g.bumps == nil {
		g.bumps = make(map[string]auth.Bump)
	}
	g.bumps[b.User] = b
	heap.Push(&g.due, dueItem{at: b.At.Add(g.lifetime), key: ledgerKey{"bump", b.User}})
}

// check returns why id, which has been verified, does not count any more.
func (g *ledger) check(id *holdfast.Identity) *holdfast.Error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, key := range keysOf(id.User, id.Session, id.TokenID) {
		if key.id == "" {
			continue
		}
		if r, ok := g.revocations[key]; ok && r.Refuses(id) {
			return r.Code.New()
		}
	}
	if b, ok := g.bumps[id.User]; ok && b.Stale(id) {
		return holdfast.PermissionVersionStale.New()
	}
	return nil
}

// forget drops what is over; g.mu is held. An entry that was replaced has a
// later item of its own.
func (g *ledger) forget(now time.Time) {
	for len(g.due) > 0 && !g.due[0].at.After(now) {
		item := heap.Pop(&g.due).(dueItem)
		if item.key.kind == "bump" {
			if b, ok := g.bumps[item.key.id]; ok && !b.At.Add(g.lifetime).After(now) {
				delete(g.bumps, item.key.id)
			}
			continue
		}
		if r, ok := g.revocations[item.key]; ok && !r.Until.After(now) {
			delete(g.revocations, item.key)
		}
	}
}

func (g *ledger) len() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.revocations) + len(g.bumps)
}

// dueItem says when an entry of the ledger may be forgotten.
type dueItem struct {
	at  time.Time
	key ledgerKey
}

// dueHeap is a container/heap, the earliest first.
type dueHeap []dueItem

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(dueItem)) }
func (h *dueHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
