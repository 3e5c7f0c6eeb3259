package identity

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// storedInvitation is what is kept with an invitation's code.
type storedInvitation struct {
	Email   string                    `json:"email"`
	Roles   []string                  `json:"roles,omitempty"`
	Rooms   *holdfast.RoomPermissions `json:"rooms,omitempty"`
	Actions []string                  `json:"actions,omitempty"`
}

// Invite makes a code that lets an address sign up once, with these grants,
// within a week, and mails it there. The code is returned as well, for where
// there is no Mailer. The error is CONFLICT where sign-up is closed, or the
// address has an account.
func (p *Provider) Invite(ctx context.Context, i Invitation) (code string, expires time.Time, err error) {
	if p.cfg.SignUp == SignUpClosed {
		return "", time.Time{}, holdfast.Errorf(holdfast.Conflict, "Sign-up is closed, for those with an invitation too: set it to invite")
	}
	email, err := NormalizeEmail(i.Email)
	if err != nil {
		return "", time.Time{}, err
	}
	if err := i.Grants.check(); err != nil {
		return "", time.Time{}, err
	}
	if a, err := p.accountByEmail(ctx, email); err != nil || a != nil {
		if err == nil {
			err = errExists()
		}
		return "", time.Time{}, err
	}
	data, err := json.Marshal(storedInvitation{email, i.Grants.Roles, i.Grants.Rooms, i.Grants.Actions})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("identity: %w", err)
	}
	code = newSecret()
	if expires, err = addCode(ctx, p.db.write, codeInvite, code, "", string(data)); err != nil {
		return "", time.Time{}, err
	}
	return code, expires, p.enqueue(mailJob{kind: MailInvite, email: email, code: code, expires: expires})
}

// useInvitation uses an invitation up for a new account. It came by mail, and
// so the address is verified.
func (p *Provider) useInvitation(ctx context.Context, tx *sql.Tx, a *account, code string) error {
	c, err := takeCode(ctx, tx, codeInvite, code)
	if err != nil {
		if holdfast.CodeOf(err) == holdfast.InvalidArgument {
			err = holdfast.Errorf(holdfast.Forbidden, "The invitation is not valid, or not any more")
		}
		return err
	}
	var i storedInvitation
	if err := json.Unmarshal([]byte(c.data), &i); err != nil {
		return fmt.Errorf("identity: an invitation is malformed: %w", err)
	}
	if i.Email != a.Email {
		return holdfast.Errorf(holdfast.Forbidden, "The invitation is for another e-mail address")
	}
	a.Roles, a.Rooms, a.Actions, a.EmailVerified = i.Roles, i.Rooms, i.Actions, true
	return nil
}
