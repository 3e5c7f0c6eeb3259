package identity

import (
	"context"
	"database/sql"
	"errors"

	"github.com/holdfast-dev/holdfast"
)

// SignIn proves a user by his password, and by a second factor where that is
// on, and makes a session. If the password is right and a code is wanted, the
// Login has Requires2FA and the error is nil.
//
// The error is INVALID_CREDENTIALS, whatever was wrong: address, password or
// code, or that the user is disabled; and after about the same time, since an
// unknown address costs a hash as well. It is RATE_LIMITED, with RetryAfter,
// after too many failures, and FORBIDDEN for the right password of an address
// that has to be verified first; then a mail is sent.
func (p *Provider) SignIn(ctx context.Context, r SignInRequest, c Client) (Login, error) {
	email, err := NormalizeEmail(r.Email)
	if err != nil {
		email = "" // no account has it: it goes the way of an unknown one
	}
	a, err := p.accountByEmail(ctx, email)
	if err != nil {
		return Login{}, err
	}
	try, err := p.signInAttempt(ctx, email, a, c)
	if err != nil {
		return Login{}, err
	}
	hash := ""
	if a != nil {
		hash = a.password
	}
	ok, stale, err := p.hasher.verify(ctx, hash, r.Password)
	if err != nil {
		return Login{}, errors.Join(err, try.undone(context.WithoutCancel(ctx)))
	}
	if !ok || !a.Disabled.IsZero() {
		return Login{}, holdfast.InvalidCredentials.New()
	}
	if p.cfg.VerifyEmail && !a.EmailVerified {
		if err := p.enqueue(mailJob{kind: MailVerify, email: a.Email}); err != nil {
			return Login{}, err
		}
		if err := try.undone(ctx); err != nil {
			return Login{}, err
		}
		return Login{}, errUnverified()
	}
	if a.TOTP && r.TOTPCode == "" {
		return Login{Requires2FA: true}, try.undone(ctx)
	}
	if stale {
		if err := p.rehash(ctx, a, r.Password); err != nil {
			return Login{}, err
		}
	}
	l, err := p.newLogin(ctx, a.ID, c, func(tx *sql.Tx, now *account) error {
		if now.password != a.password {
			return holdfast.InvalidCredentials.New() // changed a moment ago
		}
		if !now.TOTP {
			return nil
		}
		return p.useSecondFactor(ctx, tx, now, r.TOTPCode)
	})
	if err != nil {
		if holdfast.CodeOf(err) == holdfast.NotFound { // deleted a moment ago
			err = holdfast.InvalidCredentials.New()
		}
		return Login{}, err
	}
	return l, try.succeeded(ctx)
}

func errUnverified() error {
	return holdfast.Errorf(holdfast.Forbidden, "The e-mail address has to be verified first; the code was sent there")
}

// rehash stores the password with the present parameters.
func (p *Provider) rehash(ctx context.Context, a *account, password string) error {
	hash, err := p.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	n, err := execute(ctx, p.db.write, `UPDATE users SET password = $1 WHERE id = $2 AND password = $3`, hash, a.ID, a.password)
	if n > 0 {
		a.password = hash
	}
	return err
}

// SignUp makes an account and a session, as Config.SignUp allows. The password
// is required.
//
// The error is FORBIDDEN where sign-up is closed, or without a good
// invitation; INVALID_ARGUMENT for an address or password that can't be;
// CONFLICT if the address has an account. With Config.VerifyEmail there is no
// CONFLICT: the Login has VerificationSent and no session, and a mail tells
// whoever owns the address. An invitation counts as verification.
func (p *Provider) SignUp(ctx context.Context, u NewUser, c Client) (Login, error) {
	if p.cfg.SignUp == SignUpClosed || p.cfg.SignUp == SignUpInvite && u.Invite == "" {
		return Login{}, holdfast.Errorf(holdfast.Forbidden, "Sign-up is closed")
	}
	if u.Password == "" {
		return Login{}, holdfast.Errorf(holdfast.InvalidArgument, "The password is shorter than %d characters", MinPassword)
	}
	a, err := p.newAccount(ctx, u, Grants{}, false)
	if err != nil {
		return Login{}, err
	}
	made := false
	err = p.db.tx(ctx, func(tx *sql.Tx) error {
		if u.Invite != "" {
			if err := p.useInvitation(ctx, tx, a, u.Invite); err != nil {
				return err
			}
		}
		var err error
		if made, err = a.insert(ctx, tx); err == nil && !made && (!p.cfg.VerifyEmail || u.Invite != "") {
			err = errExists() // the invitation stays good
		}
		return err
	})
	if err != nil {
		return Login{}, err
	}
	if p.cfg.VerifyEmail && !a.EmailVerified {
		kind := MailVerify
		if !made {
			kind = MailExists
		}
		return Login{VerificationSent: true}, p.enqueue(mailJob{kind: kind, email: a.Email})
	}
	return p.newLogin(ctx, a.ID, c, func(*sql.Tx, *account) error { return nil })
}
