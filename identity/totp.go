package identity

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"github.com/holdfast-dev/holdfast"
)

// Second factors are TOTP (RFC 6238) as every authenticator app has it: SHA-1,
// 6 digits, 30 seconds; the code of the step before and after is taken too. A
// code is good once.
const (
	totpPeriod  = 30 // seconds
	totpPending = 10 * time.Minute

	recoveryCodes = 10
	recoveryBytes = 13 // of which 100 bits are used
	recoveryChars = 20
	recoveryGroup = 5
)

// TOTPEnable makes a secret for a second factor, which TOTPConfirm has to turn
// on within ten minutes. The error is CONFLICT if one is on.
func (p *Provider) TOTPEnable(ctx context.Context, userID string) (TOTPSetup, error) {
	a, err := p.accountByID(ctx, p.db.read, userID)
	if err != nil {
		return TOTPSetup{}, err
	}
	if a.TOTP {
		return TOTPSetup{}, errTOTPOn()
	}
	issuer := p.cfg.RelyingPartyName
	if issuer == "" {
		issuer = "Holdfast"
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: strings.ReplaceAll(issuer, ":", " "), AccountName: a.Email, Period: totpPeriod})
	if err != nil {
		return TOTPSetup{}, fmt.Errorf("identity: %w", err)
	}
	n, err := execute(ctx, p.db.write, `UPDATE users SET totp_pending = $1, totp_pending_expires = $2 WHERE id = $3 AND totp IS NULL`,
		p.vault.seal("totp", userID, []byte(key.Secret())), millis(time.Now().Add(totpPending)), userID)
	if err == nil && n == 0 {
		err = errTOTPOn()
	}
	return TOTPSetup{Secret: key.Secret(), URL: key.URL()}, err
}

func errTOTPOn() error { return holdfast.Errorf(holdfast.Conflict, "The second factor is on already") }

// TOTPConfirm turns on the second factor that TOTPEnable has prepared, as its
// code proves that the app has it. It returns the recovery codes, each of
// which stands in for a code once; they are shown this once. The error is
// INVALID_CREDENTIALS for a wrong code, RATE_LIMITED after too many, and
// CONFLICT if nothing is prepared.
func (p *Provider) TOTPConfirm(ctx context.Context, userID, code string) (recovery []string, err error) {
	try, err := p.attempt(ctx, "second-factor", userID, limits{freeFailures, firstWait})
	if err != nil {
		return nil, err
	}
	err = p.db.tx(ctx, func(tx *sql.Tx) error {
		a, err := p.accountLocked(ctx, tx, userID)
		if err != nil {
			return err
		}
		if a.TOTP {
			return errTOTPOn()
		}
		var sealed []byte
		var expires int64
		row := tx.QueryRowContext(ctx, `SELECT totp_pending, totp_pending_expires FROM users WHERE id = $1`, userID)
		if _, err := one(row, &sealed, &expires); err != nil {
			return err
		}
		if len(sealed) == 0 || !time.Now().Before(fromMillis(expires)) {
			return holdfast.Errorf(holdfast.Conflict, "Enable the second factor first, and confirm it within ten minutes")
		}
		step, err := p.totpStep(userID, sealed, code, 0)
		if err != nil {
			return err
		}
		_, err = execute(ctx, tx, `UPDATE users SET totp = totp_pending, totp_step = $1, totp_pending = NULL, totp_pending_expires = 0 WHERE id = $2`, step, userID)
		if err != nil {
			return err
		}
		recovery, err = newRecoveryCodes(ctx, tx, userID)
		return err
	})
	if err != nil {
		return nil, err
	}
	return recovery, try.succeeded(ctx)
}

// TOTPDisable turns the second factor off. It wants a code, or a recovery
// code. The error is INVALID_CREDENTIALS for a wrong one, RATE_LIMITED after
// too many, and CONFLICT if there is none to turn off.
func (p *Provider) TOTPDisable(ctx context.Context, userID, code string) error {
	return p.withSecondFactor(ctx, userID, code, func(tx *sql.Tx) error { return removeTOTP(ctx, tx, userID) })
}

// RemoveTOTP is for administrators: it turns the second factor of a user off
// who has lost it, recovery codes and all.
func (p *Provider) RemoveTOTP(ctx context.Context, userID string) error {
	return p.db.tx(ctx, func(tx *sql.Tx) error {
		if _, err := p.accountLocked(ctx, tx, userID); err != nil {
			return err
		}
		return removeTOTP(ctx, tx, userID)
	})
}

func removeTOTP(ctx context.Context, tx *sql.Tx, userID string) error {
	if _, err := execute(ctx, tx, `UPDATE users SET totp = NULL, totp_step = 0, totp_pending = NULL, totp_pending_expires = 0 WHERE id = $1`, userID); err != nil {
		return err
	}
	_, err := execute(ctx, tx, `DELETE FROM recovery_codes WHERE user_id = $1`, userID)
	return err
}

// RecoveryCodes makes new recovery codes; the old ones are void. It wants a
// code; the errors are those of TOTPDisable.
func (p *Provider) RecoveryCodes(ctx context.Context, userID, code string) (recovery []string, err error) {
	err = p.withSecondFactor(ctx, userID, code, func(tx *sql.Tx) (err error) {
		recovery, err = newRecoveryCodes(ctx, tx, userID)
		return err
	})
	return recovery, err
}

// withSecondFactor runs do if the code is right.
func (p *Provider) withSecondFactor(ctx context.Context, userID, code string, do func(tx *sql.Tx) error) error {
	try, err := p.attempt(ctx, "second-factor", userID, limits{freeFailures, firstWait})
	if err != nil {
		return err
	}
	err = p.db.tx(ctx, func(tx *sql.Tx) error {
		a, err := p.accountLocked(ctx, tx, userID)
		if err != nil {
			return err
		}
		if !a.TOTP {
			return holdfast.Errorf(holdfast.Conflict, "The second factor is off")
		}
		if err := p.useSecondFactor(ctx, tx, a, code); err != nil {
			return err
		}
		return do(tx)
	})
	if err != nil {
		return err
	}
	return try.succeeded(ctx)
}

// useSecondFactor takes a code, or a recovery code, of an account that the
// transaction has locked. The error is INVALID_CREDENTIALS.
func (p *Provider) useSecondFactor(ctx context.Context, tx *sql.Tx, a *account, code string) error {
	code = strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, code)
	if len(code) != recoveryChars {
		step, err := p.totpStep(a.ID, a.totp, code, a.totpStep)
		if err != nil {
			return err
		}
		_, err = execute(ctx, tx, `UPDATE users SET totp_step = $1 WHERE id = $2`, step, a.ID)
		return err
	}
	n, err := execute(ctx, tx, `DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2`, a.ID, hashSecret(strings.ToLower(code)))
	if err == nil && n == 0 {
		err = errSecondFactor()
	}
	return err
}

func errSecondFactor() error {
	return holdfast.Errorf(holdfast.InvalidCredentials, "The code is wrong, or was used already")
}

// totpStep returns the step that a code is of, if it is after the last one
// that was taken.
func (p *Provider) totpStep(userID string, sealed []byte, code string, last int64) (int64, error) {
	secret, err := p.vault.open("totp", userID, sealed)
	if err != nil {
		return 0, err
	}
	now := time.Now().Unix() / totpPeriod
	found := int64(0)
	for step := now - 1; step <= now+1; step++ {
		want, err := hotp.GenerateCodeCustom(string(secret), uint64(step), hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return 0, fmt.Errorf("identity: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(code), []byte(want)) == 1 && step > last {
			found = step
		}
	}
	if found == 0 {
		return 0, errSecondFactor()
	}
	return found, nil
}

// newRecoveryCodes replaces a user's recovery codes.
func newRecoveryCodes(ctx context.Context, tx *sql.Tx, userID string) ([]string, error) {
	if _, err := execute(ctx, tx, `DELETE FROM recovery_codes WHERE user_id = $1`, userID); err != nil {
		return nil, err
	}
	codes := make([]string, recoveryCodes)
	for i := range codes {
		random := make([]byte, recoveryBytes)
		_, _ = rand.Read(random) // never fails
		code := strings.ToLower(base32.StdEncoding.EncodeToString(random))[:recoveryChars]
		if _, err := execute(ctx, tx, `INSERT INTO recovery_codes (user_id, hash) VALUES ($1, $2)`, userID, hashSecret(code)); err != nil {
			return nil, err
		}
		for at := recoveryGroup; at < recoveryChars; at += recoveryGroup {
			codes[i] += code[at-recoveryGroup:at] + "-"
		}
		codes[i] += code[recoveryChars-recoveryGroup:]
	}
	return codes, nil
}
