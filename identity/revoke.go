package identity

import (
	"context"
	"database/sql"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// revokeMargin is added to the time of revocation of a session. Nothing new is
// issued for an ended session, so a later time does no harm; and it covers a
// token that was being made when the session ended, and the difference between
// the clocks of nodes.
const revokeMargin = time.Minute

// revokeFor is how long a revocation is kept: no token lives longer.
const revokeFor = auth.DefaultMaxLifetime + revokeMargin

// ending collects what a transaction ends, to be told when it is committed.
type ending struct{ revoked []auth.Revocation }

// endingSessions runs do in a transaction, and then tells what it has ended.
func (p *Provider) endingSessions(ctx context.Context, do func(tx *sql.Tx, e *ending) error) error {
	e := &ending{}
	err := p.db.tx(ctx, func(tx *sql.Tx) error {
		e.revoked = nil // it may be run again
		return do(tx, e)
	})
	if err != nil {
		return err
	}
	for _, r := range e.revoked {
		p.announceRevocation(r)
	}
	return nil
}

// session ends the session of that id, if it is live.
func (e *ending) session(ctx context.Context, tx *sql.Tx, id string) error {
	return e.end(ctx, tx, holdfast.SessionRevoked, `id = $3`, id)
}

// sessionOf ends the session of that id, if it is live and the user's.
func (e *ending) sessionOf(ctx context.Context, tx *sql.Tx, user, id string) error {
	return e.end(ctx, tx, holdfast.SessionRevoked, `id = $3 AND user_id = $4`, id, user)
}

// sessionsOf ends all sessions of a user but the one named; "" for none. The
// transaction holds the user's lock, so that no two end them in another order.
func (e *ending) sessionsOf(ctx context.Context, tx *sql.Tx, user, except string) error {
	return e.end(ctx, tx, holdfast.SessionRevoked, `user_id = $3 AND id <> $4`, user, except)
}

// reused ends a session whose used refresh token came back.
func (e *ending) reused(ctx context.Context, tx *sql.Tx, id string) error {
	return e.end(ctx, tx, holdfast.RefreshReused, `id = $3`, id)
}

// end ends the live sessions that match, where parameters start at $3, and
// stores a revocation of each.
func (e *ending) end(ctx context.Context, tx *sql.Tx, code holdfast.Code, where string, args ...any) error {
	now := timeNow()
	ids, err := all(ctx, tx, scanString, `UPDATE sessions SET ended = $1, end_code = $2, previous_sealed = NULL
		WHERE ended = 0 AND `+where+` RETURNING id`, append([]any{millis(now), string(code)}, args...)...)
	if err != nil {
		return err
	}
	for _, id := range ids {
		r := auth.Revocation{Session: id, Code: holdfast.SessionRevoked, Before: now.Add(revokeMargin), Until: now.Add(revokeFor)}
		if err := saveRevocation(ctx, tx, r); err != nil {
			return err
		}
		e.revoked = append(e.revoked, r)
	}
	return nil
}

// saveRevocation stores r; of two about the same thing the later times stay.
func saveRevocation(ctx context.Context, q queries, r auth.Revocation) error {
	_, err := execute(ctx, q, `INSERT INTO revocations (user_id, session_id, token_id, code, issued_before, forget, saved) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (user_id, session_id, token_id) DO UPDATE SET code = excluded.code, saved = excluded.saved, issued_before = excluded.issued_before,
		forget = CASE WHEN excluded.forget > revocations.forget THEN excluded.forget ELSE revocations.forget END
		WHERE excluded.issued_before > revocations.issued_before OR excluded.forget > revocations.forget`,
		r.User, r.Session, r.TokenID, string(r.Code), millis(r.Before), millis(r.Until), millis(time.Now()))
	return err
}

// SaveRevocation stores a revocation until r.Until, as auth.RevocationStore
// asks. If it takes back what was issued to a user or for a session, then the
// sessions made up to r.Before end as well: otherwise a refresh would bring
// back what was taken. OnRevoke is not called for r itself, which the caller
// knows of.
func (p *Provider) SaveRevocation(ctx context.Context, r auth.Revocation) error {
	if r.User == "" && r.Session == "" && r.TokenID == "" || !storable(r.User) || !storable(r.Session) || !storable(r.TokenID) {
		return holdfast.Errorf(holdfast.InvalidArgument, "A revocation names a user, a session or a token, by up to 256 bytes")
	}
	p.known(revocationKey(r))
	before := millis(r.Before.Truncate(time.Second).Add(time.Second))
	return p.endingSessions(ctx, func(tx *sql.Tx, e *ending) error {
		if r.User != "" && r.Code != holdfast.GoingAway {
			if err := p.lockUser(ctx, tx, r.User); err != nil {
				return err
			}
			if err := e.end(ctx, tx, holdfast.SessionRevoked, `user_id = $3 AND created < $4`, r.User, before); err != nil {
				return err
			}
		}
		if r.Session != "" && r.Code != holdfast.GoingAway {
			if err := e.end(ctx, tx, holdfast.SessionRevoked, `id = $3 AND created < $4`, r.Session, before); err != nil {
				return err
			}
		}
		return saveRevocation(ctx, tx, r) // after the sessions, as everywhere
	})
}

// Revocations returns those whose time has not passed.
func (p *Provider) Revocations(ctx context.Context) ([]auth.Revocation, error) {
	return all(ctx, p.db.read, scanRevocation, `SELECT `+revocationColumns+` FROM revocations WHERE forget > $1`, millis(time.Now()))
}

const revocationColumns = `user_id, session_id, token_id, code, issued_before, forget`

func scanRevocation(s scanner) (auth.Revocation, error) {
	var r auth.Revocation
	var before, until int64
	err := s.Scan(&r.User, &r.Session, &r.TokenID, &r.Code, &before, &until)
	r.Before, r.Until = fromMillis(before), fromMillis(until)
	return r, err
}

// BumpPermissions raises a user's permission version, whoever his identity
// provider is: tokens made before are stale. OnBump is not called: the caller
// knows.
func (p *Provider) BumpPermissions(ctx context.Context, user string) (auth.Bump, error) {
	if user == "" || !storable(user) {
		return auth.Bump{}, holdfast.Errorf(holdfast.InvalidArgument, "A user id has 1 to 256 bytes")
	}
	b, err := bump(ctx, p.db.write, user)
	if err == nil {
		p.known(bumpKey(b))
	}
	return b, err
}

// bump raises a user's version.
func bump(ctx context.Context, q queries, user string) (auth.Bump, error) {
	b := auth.Bump{User: user}
	var at int64
	_, err := one(q.QueryRowContext(ctx, `INSERT INTO permission_versions (user_id, version, changed) VALUES ($1, 1, $2)
		ON CONFLICT (user_id) DO UPDATE SET version = permission_versions.version + 1, changed = excluded.changed
		RETURNING version, changed`, user, millis(time.Now())), &b.Version, &at)
	b.At = fromMillis(at)
	return b, err
}

// Bumps returns the last change of each user whose permissions changed at or
// after since.
func (p *Provider) Bumps(ctx context.Context, since time.Time) ([]auth.Bump, error) {
	return all(ctx, p.db.read, scanBump, `SELECT user_id, version, changed FROM permission_versions WHERE changed >= $1`, millis(since))
}

func scanBump(s scanner) (auth.Bump, error) {
	var b auth.Bump
	var at int64
	err := s.Scan(&b.User, &b.Version, &at)
	b.At = fromMillis(at)
	return b, err
}
