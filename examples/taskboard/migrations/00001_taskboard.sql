-- Times are epoch milliseconds. Ids are random text, except for users', which the accounts made.

-- +goose Up
CREATE TABLE people (
	id    TEXT PRIMARY KEY,
	name  TEXT NOT NULL,
	email TEXT NOT NULL
) STRICT;

CREATE TABLE boards (
	id      TEXT PRIMARY KEY,
	title   TEXT NOT NULL,
	rev     INTEGER NOT NULL, -- counts the writes
	created INTEGER NOT NULL
) STRICT;

CREATE TABLE members (
	board TEXT NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
	user  TEXT NOT NULL REFERENCES people(id),
	role  TEXT NOT NULL CHECK (role IN ('owner', 'editor', 'viewer')),
	link  INTEGER NOT NULL, -- 1: came by a link, and goes with it
	added INTEGER NOT NULL,
	PRIMARY KEY (board, user)
) STRICT;
CREATE INDEX members_user ON members(user, added);

CREATE TABLE links (
	board   TEXT NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
	role    TEXT NOT NULL CHECK (role IN ('editor', 'viewer')),
	hash    BLOB NOT NULL UNIQUE, -- SHA-256 of the token
	created INTEGER NOT NULL,
	PRIMARY KEY (board, role)
) STRICT;

CREATE TABLE lists (
	id      TEXT PRIMARY KEY,
	board   TEXT NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
	title   TEXT NOT NULL,
	key     TEXT NOT NULL, -- its place: compared byte for byte
	version INTEGER NOT NULL,
	UNIQUE (board, key)
) STRICT;

CREATE TABLE cards (
	id      TEXT PRIMARY KEY,
	board   TEXT NOT NULL REFERENCES boards(id) ON DELETE CASCADE,
	list    TEXT NOT NULL REFERENCES lists(id) ON DELETE CASCADE,
	title   TEXT NOT NULL,
	text    TEXT NOT NULL,
	color   TEXT NOT NULL,
	done    INTEGER NOT NULL,
	key     TEXT NOT NULL,
	version INTEGER NOT NULL, -- counts edits, not moves
	author  TEXT NOT NULL,
	created INTEGER NOT NULL,
	updated INTEGER NOT NULL,
	UNIQUE (list, key)
) STRICT;
CREATE INDEX cards_board ON cards(board);

CREATE TABLE todos (
	seq       INTEGER PRIMARY KEY AUTOINCREMENT,
	id        TEXT NOT NULL UNIQUE,
	user      TEXT NOT NULL,
	title     TEXT NOT NULL,
	completed INTEGER NOT NULL,
	created   INTEGER NOT NULL
) STRICT;
CREATE INDEX todos_user ON todos(user, seq);

-- What each write with an id was answered.
CREATE TABLE answers (
	seq     INTEGER PRIMARY KEY AUTOINCREMENT,
	user    TEXT NOT NULL,
	id      TEXT NOT NULL,
	command TEXT NOT NULL,
	answer  TEXT NOT NULL,    -- JSON: the answer, or the refusal
	refused INTEGER NOT NULL,
	at      INTEGER NOT NULL,
	UNIQUE (user, id)
) STRICT;
CREATE INDEX answers_user ON answers(user, seq);
CREATE INDEX answers_at ON answers(at);

-- What the rooms have to be told, in the order of the writes.
CREATE TABLE outbox (
	seq    INTEGER PRIMARY KEY AUTOINCREMENT,
	room   TEXT NOT NULL,
	name   TEXT NOT NULL,  -- of the event; '' for somebody who has to leave
	data   TEXT NOT NULL,  -- JSON; of those who leave the code
	id     TEXT NOT NULL,  -- the write's own id; '' for none
	sender TEXT NOT NULL,
	leaver TEXT NOT NULL   -- whose time in the room is over; '' for everybody's
) STRICT;

-- +goose Down
DROP TABLE outbox;
DROP TABLE answers;
DROP TABLE todos;
DROP TABLE cards;
DROP TABLE lists;
DROP TABLE links;
DROP TABLE members;
DROP TABLE boards;
DROP TABLE people;
