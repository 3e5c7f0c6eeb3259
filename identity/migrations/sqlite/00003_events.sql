-- The answers of events that had an id, for repeats; see server.EventStore.
-- Scope and id may hold any bytes, and are not always those of a user here.

-- +goose Up
CREATE TABLE events (
	scope BLOB NOT NULL,
	id    BLOB NOT NULL,
	name  TEXT NOT NULL,
	ack   BLOB NOT NULL,
	saved INTEGER NOT NULL,
	PRIMARY KEY (scope, id)
) STRICT;
CREATE INDEX events_saved ON events (saved);

-- +goose Down
DROP TABLE events;
