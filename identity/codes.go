package identity

import (
	"context"
	"database/sql"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// codeKind is what a single-use code is for.
type codeKind string

const (
	codeVerify          codeKind = "verify"
	codeReset           codeKind = "reset"
	codeInvite          codeKind = "invite"
	codePasskeyRegister codeKind = "passkey-register"
	codePasskeyLogin    codeKind = "passkey-login"
)

// lifetime of a code.
func (k codeKind) lifetime() time.Duration {
	switch k {
	case codeVerify:
		return 24 * time.Hour
	case codeInvite:
		return 7 * 24 * time.Hour
	case codeReset:
		return time.Hour
	}
	return 5 * time.Minute
}

// usedCode is what was kept with a code.
type usedCode struct{ user, data string }

// addCode stores a code, of 256 random bits, for a user ("" for none).
func addCode(ctx context.Context, q queries, kind codeKind, code, user, data string) (expires time.Time, err error) {
	expires = timeNow().Add(kind.lifetime())
	_, err = execute(ctx, q, `INSERT INTO codes (hash, kind, user_id, data, expires) VALUES ($1, $2, $3, $4, $5)`,
		hashSecret(code), string(kind), sql.NullString{String: user, Valid: user != ""}, data, millis(expires))
	return expires, err
}

// takeCode uses a code up, unless the transaction is rolled back. The error is
// INVALID_ARGUMENT for one that is unknown, used or expired.
func takeCode(ctx context.Context, tx *sql.Tx, kind codeKind, code string) (usedCode, error) {
	var c usedCode
	var user sql.NullString
	var expires int64
	row := tx.QueryRowContext(ctx, `DELETE FROM codes WHERE hash = $1 AND kind = $2 RETURNING user_id, data, expires`, hashSecret(code), string(kind))
	ok, err := one(row, &user, &c.data, &expires)
	if err != nil {
		return c, err
	}
	if !ok || !time.Now().Before(fromMillis(expires)) {
		return c, errCode()
	}
	c.user = user.String
	return c, nil
}

// dropCodes makes a user's codes of a kind worthless.
func dropCodes(ctx context.Context, tx *sql.Tx, kind codeKind, user string) error {
	_, err := execute(ctx, tx, `DELETE FROM codes WHERE user_id = $1 AND kind = $2`, user, string(kind))
	return err
}

func errCode() error {
	return holdfast.Errorf(holdfast.InvalidArgument, "The code is not valid, or not any more")
}
