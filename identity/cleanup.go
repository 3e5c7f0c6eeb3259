package identity

import (
	"context"
	"time"
)

const (
	// cleanBatch bounds how many rows one statement touches, so that others
	// can write in between.
	cleanBatch = 500
	// cleanPause is between two full batches.
	cleanPause = 20 * time.Millisecond
)

// cleanings are what has expired; $1 is the present, $2 the batch.
func (p *Provider) cleanings() []cleaning {
	return []cleaning{
		{`DELETE FROM codes WHERE hash IN (SELECT hash FROM codes WHERE expires <= $1 LIMIT $2)`, 0},
		{`DELETE FROM attempts WHERE key IN (SELECT key FROM attempts WHERE forget <= $1 LIMIT $2)`, 0},
		{`DELETE FROM revocations WHERE (user_id, session_id, token_id) IN
			(SELECT user_id, session_id, token_id FROM revocations WHERE forget <= $1 LIMIT $2)`, 0},
		{`DELETE FROM events WHERE (scope, id) IN (SELECT scope, id FROM events WHERE saved <= $1 LIMIT $2)`, eventsFor},
		{`DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires <= $1 LIMIT $2)`, 0},
		{`DELETE FROM signing_keys WHERE id IN (SELECT id FROM signing_keys WHERE expires > 0 AND expires <= $1 LIMIT $2)`, 0},
		// A sealed successor is of no use once its grace is over.
		{`UPDATE sessions SET previous_sealed = NULL WHERE id IN
			(SELECT id FROM sessions WHERE previous_sealed IS NOT NULL AND rotated < $1 LIMIT $2)`, p.cfg.RefreshGrace},
		{`DELETE FROM webhook_outbox WHERE id IN (SELECT id FROM webhook_outbox WHERE happened <= $1 LIMIT $2)`, outboxKeep},
		{`UPDATE users SET totp_pending = NULL, totp_pending_expires = 0 WHERE id IN
			(SELECT id FROM users WHERE totp_pending IS NOT NULL AND totp_pending_expires <= $1 LIMIT $2)`, 0},
	}
}

// cleaning is a statement for what expired so long ago.
type cleaning struct {
	statement string
	ago       time.Duration
}

// clean removes what has expired, time after time, until ctx ends.
func (p *Provider) clean(ctx context.Context) {
	tick := time.NewTicker(p.cfg.CleanInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := p.cleanOnce(ctx); err != nil && ctx.Err() == nil {
			p.log.ErrorContext(ctx, "expired rows can't be removed", "error", err)
		}
	}
}

// cleanOnce removes what has expired up to now.
func (p *Provider) cleanOnce(ctx context.Context) error {
	now := time.Now()
	for _, c := range p.cleanings() {
		for {
			n, err := execute(ctx, p.db.write, c.statement, millis(now.Add(-c.ago)), cleanBatch)
			if err != nil {
				return err
			}
			if n < cleanBatch {
				break
			}
			if err := pause(ctx, cleanPause); err != nil {
				return err
			}
		}
	}
	return nil
}
