package identity

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/auth"
)

// watchOverlap is how far back the database is looked at again and again: it
// covers transactions that take long to commit, and the difference between the
// clocks of nodes.
const watchOverlap = time.Minute

// announcements remembers what was told already, for a little longer than it
// can be found again. It is safe for concurrent use.
type announcements struct {
	mu   sync.Mutex // guards seen
	seen map[announcement]time.Time
}

// announcement is a revocation or a bump.
type announcement struct {
	user, session, token string
	before, version      int64
}

func revocationKey(r auth.Revocation) announcement {
	return announcement{user: r.User, session: r.Session, token: r.TokenID, before: millis(r.Before)}
}

func bumpKey(b auth.Bump) announcement { return announcement{user: b.User, version: b.Version} }

// known notes something, and reports whether it was known before.
func (a *announcements) known(k announcement, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ok := a.seen[k]
	if a.seen == nil {
		a.seen = make(map[announcement]time.Time)
	}
	a.seen[k] = now
	return ok
}

// forget drops what can't be found again.
func (a *announcements) forget(before time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, at := range a.seen {
		if at.Before(before) {
			delete(a.seen, k)
		}
	}
}

// known notes what was told. Where nobody watches, nothing is told twice.
func (p *Provider) known(k announcement) bool {
	return p.cfg.WatchInterval > 0 && p.announce.known(k, time.Now())
}

// announceRevocation tells of a revocation, unless it was told already.
func (p *Provider) announceRevocation(r auth.Revocation) {
	if !p.known(revocationKey(r)) && p.cfg.OnRevoke != nil {
		p.cfg.OnRevoke(r)
	}
}

func (p *Provider) announceBump(b auth.Bump) {
	if !p.known(bumpKey(b)) && p.cfg.OnBump != nil {
		p.cfg.OnBump(b)
	}
}

// watch tells of what other processes on the same database have revoked and
// bumped, until ctx ends.
func (p *Provider) watch(ctx context.Context) {
	tick := time.NewTicker(p.cfg.WatchInterval)
	defer tick.Stop()
	since := time.Now()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		err := p.look(ctx, since.Add(-watchOverlap))
		if err == nil {
			since = now
			p.announce.forget(now.Add(-2*watchOverlap - p.cfg.WatchInterval))
		}
		if err != nil && !failing && ctx.Err() == nil {
			p.log.ErrorContext(ctx, "revocations by other processes can't be read", "error", err)
		}
		failing = err != nil
	}
}

// look tells of what was saved since then.
func (p *Provider) look(ctx context.Context, since time.Time) error {
	revocations, err := all(ctx, p.db.read, scanRevocation, `SELECT `+revocationColumns+` FROM revocations WHERE saved >= $1`, millis(since))
	if err != nil {
		return err
	}
	bumps, err := p.Bumps(ctx, since)
	if err != nil {
		return err
	}
	for _, r := range revocations {
		p.announceRevocation(r)
	}
	for _, b := range bumps {
		p.announceBump(b)
	}
	return nil
}
