-- What is to be told to targets of webhooks. docs/design/webhooks.md has the reasons.

-- +goose Up
CREATE TABLE webhook_outbox (
	id        TEXT PRIMARY KEY,
	target    TEXT NOT NULL,
	type      TEXT NOT NULL,
	about     TEXT NOT NULL,    -- what it is about: tried in order
	body      BYTEA NOT NULL,
	happened  BIGINT NOT NULL,
	seq       BIGINT NOT NULL, -- orders what one process has added
	attempts  BIGINT NOT NULL, -- that have failed
	due       BIGINT NOT NULL, -- or until when a node has it
	given_up  BIGINT NOT NULL,
	reason    TEXT NOT NULL     -- of the last failure
);
CREATE INDEX webhook_outbox_due ON webhook_outbox (target, due, seq) WHERE given_up = 0;
CREATE INDEX webhook_outbox_given_up ON webhook_outbox (given_up) WHERE given_up > 0;
CREATE INDEX webhook_outbox_happened ON webhook_outbox (happened);

-- +goose Down
DROP TABLE webhook_outbox;
