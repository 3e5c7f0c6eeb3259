-- Times are epoch milliseconds; 0 is never. Hashes are SHA-256. docs/design/identity.md has the reasons.

-- +goose Up
CREATE TABLE meta (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
);

CREATE TABLE users (
	id                   TEXT PRIMARY KEY,
	email                TEXT NOT NULL UNIQUE,
	email_verified       BIGINT NOT NULL,
	name                 TEXT NOT NULL,
	password             TEXT NOT NULL,    -- argon2id in PHC form; '' for none
	roles                TEXT NOT NULL,    -- JSON
	rooms                TEXT NOT NULL,    -- JSON; '' for the default rooms
	actions              TEXT NOT NULL,    -- JSON
	totp                 BYTEA,             -- sealed; NULL while it is off
	totp_step            BIGINT NOT NULL, -- of the last code that was taken
	totp_pending         BYTEA,             -- sealed; not confirmed yet
	totp_pending_expires BIGINT NOT NULL,
	disabled             BIGINT NOT NULL,
	created              BIGINT NOT NULL
);

CREATE TABLE recovery_codes (
	user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	hash    BYTEA NOT NULL,
	PRIMARY KEY (user_id, hash)
);

CREATE TABLE passkeys (
	id         BYTEA PRIMARY KEY, -- the credential id
	user_id    TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	name       TEXT NOT NULL,
	credential TEXT NOT NULL,    -- JSON
	created    BIGINT NOT NULL,
	last_used  BIGINT NOT NULL
);
CREATE INDEX passkeys_user ON passkeys (user_id);

CREATE TABLE sessions (
	id              TEXT PRIMARY KEY,
	user_id         TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	cookie_hash     BYTEA NOT NULL UNIQUE,
	family_hash     BYTEA NOT NULL UNIQUE, -- of what all refresh tokens of the session begin with
	token_hash      BYTEA NOT NULL,        -- of the one refresh token that is good
	previous_hash   BYTEA,                 -- of the one before it
	previous_sealed BYTEA,                 -- the good one, under a key made from the one before
	rotated         BIGINT NOT NULL,
	user_agent      TEXT NOT NULL,
	addr            TEXT NOT NULL,
	created         BIGINT NOT NULL,
	last_used       BIGINT NOT NULL,
	expires         BIGINT NOT NULL,     -- when it is not used before
	ends            BIGINT NOT NULL,     -- whatever is done
	ended           BIGINT NOT NULL,     -- signed out, or ended otherwise
	end_code        TEXT NOT NULL         -- what those are told who come with its secrets
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires);
CREATE INDEX sessions_sealed ON sessions (rotated) WHERE previous_sealed IS NOT NULL;

CREATE TABLE codes (
	hash    BYTEA PRIMARY KEY,
	kind    TEXT NOT NULL,
	user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
	data    TEXT NOT NULL,
	expires BIGINT NOT NULL
);
CREATE INDEX codes_user ON codes (user_id);
CREATE INDEX codes_expires ON codes (expires);

CREATE TABLE attempts (
	key      BYTEA PRIMARY KEY,
	failures BIGINT NOT NULL,
	blocked  BIGINT NOT NULL, -- until
	forget   BIGINT NOT NULL
);
CREATE INDEX attempts_forget ON attempts (forget);

CREATE TABLE api_keys (
	id      TEXT PRIMARY KEY,
	hash    BYTEA NOT NULL,
	name    TEXT NOT NULL,
	scopes  BIGINT NOT NULL,
	rooms   TEXT NOT NULL, -- JSON
	created BIGINT NOT NULL,
	expires BIGINT NOT NULL
);

CREATE TABLE signing_keys (
	id        TEXT PRIMARY KEY,
	algorithm TEXT NOT NULL,
	private   BYTEA NOT NULL,    -- sealed
	created   BIGINT NOT NULL,
	signs     BIGINT NOT NULL, -- from
	expires   BIGINT NOT NULL
);

CREATE TABLE revocations (
	user_id       TEXT NOT NULL,
	session_id    TEXT NOT NULL,
	token_id      TEXT NOT NULL,
	code          TEXT NOT NULL,
	issued_before BIGINT NOT NULL,
	forget        BIGINT NOT NULL,
	saved         BIGINT NOT NULL,
	PRIMARY KEY (user_id, session_id, token_id)
);
CREATE INDEX revocations_saved ON revocations (saved);
CREATE INDEX revocations_forget ON revocations (forget);

-- Also of users of other identity providers, and so without a reference.
CREATE TABLE permission_versions (
	user_id TEXT PRIMARY KEY,
	version BIGINT NOT NULL,
	changed BIGINT NOT NULL
);
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
