-- Times are epoch milliseconds; 0 is never. Hashes are SHA-256. docs/design/identity.md has the reasons.

-- +goose Up
CREATE TABLE meta (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT;

CREATE TABLE users (
	id                   TEXT PRIMARY KEY,
	email                TEXT NOT NULL UNIQUE,
	email_verified       INTEGER NOT NULL,
	name                 TEXT NOT NULL,
	password             TEXT NOT NULL,    -- argon2id in PHC form; '' for none
	roles                TEXT NOT NULL,    -- JSON
	rooms                TEXT NOT NULL,    -- JSON; '' for the default rooms
	actions              TEXT NOT NULL,    -- JSON
	totp                 BLOB,             -- sealed; NULL while it is off
	totp_step            INTEGER NOT NULL, -- of the last code that was taken
	totp_pending         BLOB,             -- sealed; not confirmed yet
	totp_pending_expires INTEGER NOT NULL,
	disabled             INTEGER NOT NULL,
	created              INTEGER NOT NULL
) STRICT;

CREATE TABLE recovery_codes (
	user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	hash    BLOB NOT NULL,
	PRIMARY KEY (user_id, hash)
) STRICT;

CREATE TABLE passkeys (
	id         BLOB PRIMARY KEY, -- the credential id
	user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	name       TEXT NOT NULL,
	credential TEXT NOT NULL,    -- JSON
	created    INTEGER NOT NULL,
	last_used  INTEGER NOT NULL
) STRICT;
CREATE INDEX passkeys_user ON passkeys (user_id);

CREATE TABLE sessions (
	id              TEXT PRIMARY KEY,
	user_id         TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	cookie_hash     BLOB NOT NULL UNIQUE,
	family_hash     BLOB NOT NULL UNIQUE, -- of what all refresh tokens of the session begin with
	token_hash      BLOB NOT NULL,        -- of the one refresh token that is good
	previous_hash   BLOB,                 -- of the one before it
	previous_sealed BLOB,                 -- the good one, under a key made from the one before
	rotated         INTEGER NOT NULL,
	user_agent      TEXT NOT NULL,
	addr            TEXT NOT NULL,
	created         INTEGER NOT NULL,
	last_used       INTEGER NOT NULL,
	expires         INTEGER NOT NULL,     -- when it is not used before
	ends            INTEGER NOT NULL,     -- whatever is done
	ended           INTEGER NOT NULL,     -- signed out, or ended otherwise
	end_code        TEXT NOT NULL         -- what those are told who come with its secrets
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires);
CREATE INDEX sessions_sealed ON sessions (rotated) WHERE previous_sealed IS NOT NULL;

CREATE TABLE codes (
	hash    BLOB PRIMARY KEY,
	kind    TEXT NOT NULL,
	user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
	data    TEXT NOT NULL,
	expires INTEGER NOT NULL
) STRICT;
CREATE INDEX codes_user ON codes (user_id);
CREATE INDEX codes_expires ON codes (expires);

CREATE TABLE attempts (
	key      BLOB PRIMARY KEY,
	failures INTEGER NOT NULL,
	blocked  INTEGER NOT NULL, -- until
	forget   INTEGER NOT NULL
) STRICT;
CREATE INDEX attempts_forget ON attempts (forget);

CREATE TABLE api_keys (
	id      TEXT PRIMARY KEY,
	hash    BLOB NOT NULL,
	name    TEXT NOT NULL,
	scopes  INTEGER NOT NULL,
	rooms   TEXT NOT NULL, -- JSON
	created INTEGER NOT NULL,
	expires INTEGER NOT NULL
) STRICT;

CREATE TABLE signing_keys (
	id        TEXT PRIMARY KEY,
	algorithm TEXT NOT NULL,
	private   BLOB NOT NULL,    -- sealed
	created   INTEGER NOT NULL,
	signs     INTEGER NOT NULL, -- from
	expires   INTEGER NOT NULL
) STRICT;

CREATE TABLE revocations (
	user_id       TEXT NOT NULL,
	session_id    TEXT NOT NULL,
	token_id      TEXT NOT NULL,
	code          TEXT NOT NULL,
	issued_before INTEGER NOT NULL,
	forget        INTEGER NOT NULL,
	saved         INTEGER NOT NULL,
	PRIMARY KEY (user_id, session_id, token_id)
) STRICT;
CREATE INDEX revocations_saved ON revocations (saved);
CREATE INDEX revocations_forget ON revocations (forget);

-- Also of users of other identity providers, and so without a reference.
CREATE TABLE permission_versions (
	user_id TEXT PRIMARY KEY,
	version INTEGER NOT NULL,
	changed INTEGER NOT NULL
) STRICT;
CREATE INDEX permission_versions_changed ON permission_versions (changed);

-- +goose Down
DROP TABLE permission_versions;
DROP TABLE revocations;
DROP TABLE signing_keys;
DROP TABLE api_keys;
DROP TABLE attempts;
DROP TABLE codes;
DROP TABLE sessions;
DROP TABLE passkeys;
DROP TABLE recovery_codes;
DROP TABLE users;
DROP TABLE meta;
