package identity

import (
	"context"
	"database/sql"
	"net/netip"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Failed sign-ins are counted for each account, in the database, so that they
// count on every node and over a restart: five are free; after the fifth, and
// each one more, the account has to wait, one minute at first and twice as
// long each time up to a quarter of an hour. A quarter of an hour after the
// wait, all is forgotten. While it waits nothing is tried, so that nothing
// makes it longer.
//
// That lets a stranger keep an account waiting. So a client at an address from
// which the user has been signed in lately has a count of its own, which a
// stranger elsewhere can't touch; and passkeys and the reset of a password by
// e-mail, which also clears the count, are not held up by it at all.
const (
	freeFailures = 5
	firstWait    = time.Minute
	longestWait  = 15 * time.Minute
	forgetAfter  = 15 * time.Minute

	freeMails = 3 // to one address; after that one each longestWait
)

// limits are how many tries are free, and the first wait after that.
type limits struct {
	free  int
	first time.Duration
}

// attempt is one try that counts as failed until it is known to be good: so
// that a hundred at once are not a hundred free ones.
type attempt struct {
	p   *Provider
	key []byte
}

// attempt starts a try of what key names, or returns RATE_LIMITED.
func (p *Provider) attempt(ctx context.Context, kind, key string, l limits) (*attempt, error) {
	a := &attempt{p: p, key: p.vault.mac("attempts", kind+"\x00"+key)}
	var wait time.Duration
	err := p.db.tx(ctx, func(tx *sql.Tx) error {
		wait = 0
		// The row has to be there to be locked.
		if _, err := execute(ctx, tx, `INSERT INTO attempts (key, failures, blocked, forget) VALUES ($1, 0, 0, 0) ON CONFLICT DO NOTHING`, a.key); err != nil {
			return err
		}
		var failures int
		var blocked, forget int64
		row := tx.QueryRowContext(ctx, `SELECT failures, blocked, forget FROM attempts WHERE key = $1`+p.db.forUpdate(), a.key)
		if _, err := one(row, &failures, &blocked, &forget); err != nil {
			return err
		}
		now := timeNow()
		if wait = fromMillis(blocked).Sub(now); blocked != 0 && wait > 0 {
			return nil
		}
		wait = 0
		if !now.Before(fromMillis(forget)) {
			failures = 0
		}
		failures++
		until := now
		if failures >= l.free {
			until = now.Add(min(l.first<<min(failures-l.free, 10), longestWait))
		}
		_, err := execute(ctx, tx, `UPDATE attempts SET failures = $1, blocked = $2, forget = $3 WHERE key = $4`,
			failures, millis(until), millis(until.Add(forgetAfter)), a.key)
		return err
	})
	if err != nil {
		return nil, err
	}
	if wait > 0 {
		return nil, &holdfast.Error{Code: holdfast.RateLimited, Message: "Too many failed attempts; try again later", RetryAfter: wait}
	}
	return a, nil
}

// succeeded forgets all failures.
func (a *attempt) succeeded(ctx context.Context) error {
	// Not deleted: another try may be about to lock the row.
	_, err := execute(ctx, a.p.db.write, `UPDATE attempts SET failures = 0, blocked = 0, forget = 0 WHERE key = $1`, a.key)
	return err
}

// undone takes the try back, and no other: it was neither good nor bad.
func (a *attempt) undone(ctx context.Context) error {
	_, err := execute(ctx, a.p.db.write, `UPDATE attempts SET failures = failures - 1, blocked = 0 WHERE key = $1 AND failures > 0`, a.key)
	return err
}

// signInAttempt starts a try to prove to be the owner of an e-mail address; a
// is his account, nil if there is none.
func (p *Provider) signInAttempt(ctx context.Context, email string, a *account, c Client) (*attempt, error) {
	id, network := "", network(c.clean().Addr)
	if a != nil {
		id = a.ID
	}
	addrs, err := all(ctx, p.db.read, scanString, `SELECT DISTINCT addr FROM sessions WHERE user_id = $1`, id)
	if err != nil {
		return nil, err
	}
	known := network != "" && slices.ContainsFunc(addrs, func(addr string) bool { return addr != "" && networkOf(addr) == network })
	if known {
		return p.attempt(ctx, "sign-in from "+network, email, limits{freeFailures, firstWait})
	}
	return p.attempt(ctx, "sign-in", email, limits{freeFailures, firstWait})
}

// forgetFailures clears the count of strangers' attempts.
func (p *Provider) forgetFailures(ctx context.Context, email string) error {
	a := &attempt{p: p, key: p.vault.mac("attempts", "sign-in\x00"+email)}
	return a.succeeded(ctx)
}

func network(addr string) string {
	if addr == "" {
		return ""
	}
	return networkOf(addr)
}

// networkOf is the part of an address that is one customer's: all of an IPv4
// address, the /64 of an IPv6 one.
func networkOf(addr string) string {
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Is4() {
		return addr
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}
