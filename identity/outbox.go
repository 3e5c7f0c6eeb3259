package identity

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/webhook"
)

// Bounds of the outbox. What comes when it is full is refused; how full it is
// is looked up once a second, so that it may hold somewhat more.
const (
	outboxEntries  = 100_000
	outboxBytes    = 1 << 30
	outboxCheck    = time.Second
	outboxDead     = 1000 // of those given up, so many are kept
	outboxKeep     = 7 * 24 * time.Hour
	outboxRows     = 64  // of one INSERT
	outboxReason   = 500 // bytes of a reason that are kept
	outboxColumns  = "id, target, type, about, body, happened, seq, attempts"
	outboxPerEntry = 9 // values of one row that are no constants
)

// Outbox is the webhook.Outbox in the provider's database. Entries outlive the
// process, and several processes on one PostgreSQL database share them. It
// holds about 100,000 entries that wait, with 1 GiB of bodies, and the last
// 1,000 that were given up; what happened more than 7 days ago is deleted.
// Bodies are stored as they are: events of rooms, and names of users.
func (p *Provider) Outbox() webhook.Outbox { return &p.outbox }

// outbox implements webhook.Outbox.
type outbox struct {
	// Static after Open.
	db   *database
	most int64 // entries that may wait

	mu      sync.Mutex // guards what follows
	checked time.Time
	full    bool
}

// Add implements webhook.Outbox.
func (o *outbox) Add(ctx context.Context, entries []webhook.Entry) error {
	full, err := o.isFull(ctx)
	if err != nil {
		return err
	}
	if full {
		return webhook.ErrFull()
	}
	now := millis(time.Now())
	return o.db.tx(ctx, func(tx *sql.Tx) error {
		for rows := range slices.Chunk(entries, outboxRows) {
			values := make([]any, 0, len(rows)*outboxPerEntry)
			text := make([]string, len(rows))
			for i, e := range rows {
				text[i] = "(" + placeholders(len(values), outboxPerEntry) + ", 0, '')"
				values = append(values, e.ID, e.Target, string(e.Type), e.Key, e.Body, millis(e.Time), e.Seq, e.Attempts, now)
			}
			if _, err := execute(ctx, tx, `INSERT INTO webhook_outbox (`+outboxColumns+`, due, given_up, reason) VALUES `+strings.Join(text, ", "), values...); err != nil {
				return err
			}
		}
		return nil
	})
}

// isFull looks how full the table is, not more often than it has to.
func (o *outbox) isFull(ctx context.Context) (bool, error) {
	o.mu.Lock()
	full, fresh := o.full, time.Since(o.checked) < outboxCheck
	if !fresh {
		o.checked = time.Now() // others go on with what was known
	}
	o.mu.Unlock()
	if fresh {
		return full, nil
	}
	var entries, bytes int64
	_, err := one(o.db.read.QueryRowContext(ctx, `SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0) FROM webhook_outbox WHERE given_up = 0`), &entries, &bytes)
	if err != nil {
		return false, err
	}
	full = entries >= o.most || bytes >= outboxBytes
	o.mu.Lock()
	defer o.mu.Unlock()
	o.full = full
	return full, nil
}

// placeholders are "$5, $6, …": count of them, after so many that are used.
func placeholders(used, count int) string {
	text := make([]string, count)
	for i := range text {
		text[i] = "$" + strconv.Itoa(used+i+1)
	}
	return strings.Join(text, ", ")
}

// Claim implements webhook.Outbox. A row that another node is just taking is
// passed over; the lease keeps it from being taken afterwards.
func (o *outbox) Claim(ctx context.Context, target string, limit int, lease time.Duration) (entries []webhook.Entry, next time.Time, err error) {
	now := time.Now()
	entries, err = all(ctx, o.db.write, scanEntry, `WITH due AS MATERIALIZED (
		SELECT id FROM webhook_outbox WHERE target = $1 AND given_up = 0 AND due <= $2 ORDER BY due, seq LIMIT $3`+o.db.skipLocked()+`
	) UPDATE webhook_outbox SET due = $4 WHERE id IN (SELECT id FROM due) RETURNING `+outboxColumns,
		target, millis(now), limit, millis(now.Add(lease)))
	if err != nil {
		return nil, time.Time{}, err
	}
	slices.SortFunc(entries, func(a, b webhook.Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	var due sql.NullInt64
	if _, err := one(o.db.read.QueryRowContext(ctx, `SELECT MIN(due) FROM webhook_outbox WHERE target = $1 AND given_up = 0`, target), &due); err != nil {
		return entries, time.Time{}, nil // what was claimed is not to wait for that
	}
	return entries, fromMillis(due.Int64), nil
}

// skipLocked ends a SELECT whose rows become the transaction's own, without
// those of others. SQLite has one writer at a time anyhow.
func (d *database) skipLocked() string {
	if d.postgres {
		return " FOR UPDATE SKIP LOCKED"
	}
	return ""
}

func scanEntry(s scanner) (e webhook.Entry, err error) {
	var happened int64
	var kind string
	err = s.Scan(&e.ID, &e.Target, &kind, &e.Key, &e.Body, &happened, &e.Seq, &e.Attempts)
	e.Type, e.Time = webhook.Type(kind), fromMillis(happened)
	return e, err
}

// Settle implements webhook.Outbox.
func (o *outbox) Settle(ctx context.Context, outcomes []webhook.Outcome) error {
	now := millis(time.Now())
	var done []any
	var kept []webhook.Outcome
	dead := false
	for _, outcome := range outcomes {
		if outcome.Done {
			done = append(done, outcome.ID)
			continue
		}
		kept, dead = append(kept, outcome), dead || outcome.Dead
	}
	// Of two nodes that have the same rows, one is to wait for the other.
	slices.SortFunc(kept, func(a, b webhook.Outcome) int { return cmp.Compare(a.ID, b.ID) })
	return o.db.tx(ctx, func(tx *sql.Tx) error {
		for ids := range slices.Chunk(done, outboxRows) {
			if _, err := execute(ctx, tx, `DELETE FROM webhook_outbox WHERE id IN (`+placeholders(0, len(ids))+`)`, ids...); err != nil {
				return err
			}
		}
		for _, outcome := range kept {
			if err := keep(ctx, tx, outcome, now); err != nil {
				return err
			}
		}
		if !dead {
			return nil
		}
		_, err := execute(ctx, tx, `DELETE FROM webhook_outbox WHERE id IN (
			SELECT id FROM webhook_outbox WHERE given_up > 0 ORDER BY given_up DESC, id LIMIT $1 OFFSET $2)`, cleanBatch, outboxDead)
		return err
	})
}

// keep stores what became of an entry that was not delivered.
func keep(ctx context.Context, tx *sql.Tx, o webhook.Outcome, now int64) error {
	failed, givenUp := 0, int64(0)
	if o.Failed {
		failed = 1
	}
	if o.Dead {
		givenUp = now
	}
	reason := cleanText(o.Reason, outboxReason)
	_, err := execute(ctx, tx, `UPDATE webhook_outbox SET attempts = attempts + $1, due = $2, given_up = $3, reason = $4
		WHERE id = $5 AND attempts = $6 AND given_up = 0`, failed, millis(o.Next), givenUp, reason, o.ID, o.Attempts)
	return err
}

// DeadWebhooks returns the entries that were given up last, the newest first,
// up to limit. Their bodies hold what rooms and users are about.
func (p *Provider) DeadWebhooks(ctx context.Context, limit int) ([]webhook.Failure, error) {
	return all(ctx, p.db.read, func(s scanner) (f webhook.Failure, err error) {
		var happened, at int64
		var kind string
		err = s.Scan(&f.ID, &f.Target, &kind, &f.Key, &f.Body, &happened, &f.Seq, &f.Attempts, &at, &f.Reason)
		f.Type, f.Time, f.At = webhook.Type(kind), fromMillis(happened), fromMillis(at)
		return f, err
	}, `SELECT `+outboxColumns+`, given_up, reason FROM webhook_outbox WHERE given_up > 0 ORDER BY given_up DESC, id LIMIT $1`, limit)
}

// RetryWebhooks makes entries of a target that were given up due again, with
// all attempts before them, and returns how many there are; "" for all targets.
func (p *Provider) RetryWebhooks(ctx context.Context, target string) (int64, error) {
	n, err := execute(ctx, p.db.write, `UPDATE webhook_outbox SET given_up = 0, attempts = 0, due = $1
		WHERE given_up > 0 AND ($2 = '' OR target = $2)`, millis(time.Now()), target)
	if err != nil {
		return 0, fmt.Errorf("webhooks can't be tried again: %w", err)
	}
	return n, nil
}
