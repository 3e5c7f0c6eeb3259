package identity

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// ChangePassword sets a new password for a user who knows the old one. All his
// sessions end but the one named, and codes for a reset are void. A user
// without a password, who has passkeys, gives "" as the old one.
//
// The error is INVALID_CREDENTIALS for a wrong old password, RATE_LIMITED
// after too many, INVALID_ARGUMENT for a new one that the policy refuses.
func (p *Provider) ChangePassword(ctx context.Context, userID, sessionID, old, password string) error {
	a, err := p.accountByID(ctx, p.db.read, userID)
	if err != nil {
		return err
	}
	if err := p.checkPassword(ctx, a.Email, password); err != nil {
		return err
	}
	if a.password != "" || old != "" {
		// A count of its own: the session may be stolen, and strangers who try
		// to sign in must not be in the way.
		try, err := p.attempt(ctx, "change-password", a.ID, limits{freeFailures, firstWait})
		if err != nil {
			return err
		}
		ok, _, err := p.hasher.verify(ctx, a.password, old)
		if err != nil {
			return errors.Join(err, try.undone(context.WithoutCancel(ctx)))
		}
		if !ok {
			return holdfast.Errorf(holdfast.InvalidCredentials, "The old password is wrong")
		}
		if err := try.succeeded(ctx); err != nil {
			return err
		}
	}
	hash, err := p.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	return p.endingSessions(ctx, func(tx *sql.Tx, e *ending) error {
		now, err := p.accountLocked(ctx, tx, userID)
		if err != nil {
			return err
		}
		if now.password != a.password {
			return holdfast.Errorf(holdfast.InvalidCredentials, "The old password is wrong") // changed a moment ago
		}
		return e.setPassword(ctx, tx, userID, hash, sessionID)
	})
}

// setPassword stores a hash, and ends all sessions but one. The transaction
// holds the user's lock.
func (e *ending) setPassword(ctx context.Context, tx *sql.Tx, user, hash, except string) error {
	if _, err := execute(ctx, tx, `UPDATE users SET password = $1 WHERE id = $2`, hash, user); err != nil {
		return err
	}
	if err := e.sessionsOf(ctx, tx, user, except); err != nil {
		return err
	}
	return dropCodes(ctx, tx, codeReset, user)
}

// SetPassword is for administrators: it sets a user's password, and ends all
// his sessions. The error is NOT_FOUND, or INVALID_ARGUMENT for a password
// that the policy refuses.
func (p *Provider) SetPassword(ctx context.Context, userID, password string) error {
	a, err := p.accountByID(ctx, p.db.read, userID)
	if err != nil {
		return err
	}
	if err := p.checkPassword(ctx, a.Email, password); err != nil {
		return err
	}
	hash, err := p.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	err = p.endingSessions(ctx, func(tx *sql.Tx, e *ending) error {
		if err := p.lockUser(ctx, tx, userID); err != nil {
			return err
		}
		return e.setPassword(ctx, tx, userID, hash, "")
	})
	if err != nil {
		return err
	}
	return p.forgetFailures(ctx, a.Email)
}

// RequestPasswordReset mails a code for ResetPassword to an address that has
// an account, three at most and then one each quarter of an hour. It answers the same, and
// as fast, for every address: all else is done later. The error is
// INVALID_ARGUMENT for what is no address.
func (p *Provider) RequestPasswordReset(_ context.Context, email string) error {
	email, err := NormalizeEmail(email)
	if err != nil {
		return err
	}
	return p.enqueue(mailJob{kind: MailReset, email: email})
}

// PasswordResetCode is for administrators: it makes a code for ResetPassword,
// to be handed to the user, good for an hour.
func (p *Provider) PasswordResetCode(ctx context.Context, userID string) (code string, expires time.Time, err error) {
	if _, err := p.accountByID(ctx, p.db.read, userID); err != nil {
		return "", time.Time{}, err
	}
	code = newSecret()
	expires, err = addCode(ctx, p.db.write, codeReset, code, userID, "")
	return code, expires, err
}

// ResetPassword takes a code, which is good once, and sets a new password. All
// sessions of the user end. A second factor stays as it is. The error is
// INVALID_ARGUMENT for a code that is not good, or for a password that the
// policy refuses; then the code stays good.
func (p *Provider) ResetPassword(ctx context.Context, code, password string) error {
	// Before the hash, so that guesses are cheap here too.
	r, err := p.resetCode(ctx, code)
	if err != nil {
		return err
	}
	if err := p.checkPassword(ctx, r.email, password); err != nil {
		return err
	}
	hash, err := p.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	err = p.endingSessions(ctx, func(tx *sql.Tx, e *ending) error {
		if err := p.lockUser(ctx, tx, r.user); err != nil {
			return err
		}
		if _, err := takeCode(ctx, tx, codeReset, code); err != nil {
			return err
		}
		if r.mailed {
			if _, err := execute(ctx, tx, `UPDATE users SET email_verified = $1 WHERE id = $2 AND email_verified = 0`, millis(timeNow()), r.user); err != nil {
				return err
			}
		}
		return e.setPassword(ctx, tx, r.user, hash, "")
	})
	if err != nil {
		return err
	}
	return p.forgetFailures(ctx, r.email)
}

// mailed is kept with a code that went to the user's address: who has it has
// the address as well.
const mailed = "mailed"

// reset is for whom a code is.
type reset struct {
	user, email string
	mailed      bool
}

// resetCode looks at a code without using it up.
func (p *Provider) resetCode(ctx context.Context, code string) (r reset, err error) {
	var data string
	row := p.db.read.QueryRowContext(ctx, `SELECT u.id, u.email, c.data FROM codes c JOIN users u ON u.id = c.user_id
		WHERE c.hash = $1 AND c.kind = $2 AND c.expires > $3`, hashSecret(code), string(codeReset), millis(time.Now()))
	ok, err := one(row, &r.user, &r.email, &data)
	if err == nil && !ok {
		err = errCode()
	}
	r.mailed = data == mailed
	return r, err
}
