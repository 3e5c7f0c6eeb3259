-- The answers of events that had an id, for repeats; see server.EventStore.
-- Scope and id may hold any bytes, and are not always those of a user here.

-- +goose Up
CREATE TABLE events (
	scope BYTEA NOT NULL,
	id    BYTEA NOT NULL,
	name  TEXT NOT NULL,
	ack   BYTEA NOT NULL,
	saved BIGINT NOT NULL,
	PRIMARY KEY (scope, id)
);
CREATE INDEX events_saved ON events (saved);

-- +goose Down
DROP TABLE events;
