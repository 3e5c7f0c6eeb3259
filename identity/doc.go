// Package identity is the embedded identity provider: accounts with
// passwords, TOTP and passkeys, login sessions with refresh tokens, API keys,
// and the keys that sign access tokens. It keeps everything in SQLite, in a
// file of the data directory, or in PostgreSQL.
//
// Refusals are *holdfast.Error. No error and no log line holds a secret.
package identity
