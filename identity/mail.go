package identity

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// MailKind says what a mail is about.
type MailKind string

// The kinds of mail.
const (
	// MailVerify: the code verifies the address (VerifyEmail).
	MailVerify MailKind = "verify-email"
	// MailReset: the code sets a new password (ResetPassword).
	MailReset MailKind = "reset-password"
	// MailInvite: the code lets the address sign up (NewUser.Invite).
	MailInvite MailKind = "invite"
	// MailExists: somebody wanted to sign up with an address that has an
	// account. There is no code.
	MailExists MailKind = "account-exists"
)

// Mail is one to be sent. Its code is a secret.
type Mail struct {
	Kind    MailKind
	To      string // an e-mail address
	Name    string // of the user, if there is one
	Code    string
	Expires time.Time // of the code
}

// Mailer delivers mails. It is called by one goroutine, one mail after the
// other, and must end when ctx does. An error is logged, and the mail is lost:
// a Mailer tries again itself, if it wants to.
type Mailer interface {
	Send(ctx context.Context, m Mail) error
}

const (
	mailQueue   = 256 // over it, whoever asks is told RATE_LIMITED
	mailTimeout = time.Minute
)

// mailJob is a mail that is not made yet. The codes of some are made only when
// it is their turn, so that asking takes the same time for every address.
type mailJob struct {
	kind    MailKind
	email   string // normalised
	code    string // of an invitation
	expires time.Time
}

// enqueue hands a job to the goroutine that delivers.
func (p *Provider) enqueue(j mailJob) error {
	select {
	case p.mails <- j:
		return nil
	default:
		return &holdfast.Error{Code: holdfast.RateLimited, Message: "Too many mails are waiting", RetryAfter: time.Minute}
	}
}

// deliver makes and sends mails until ctx ends.
func (p *Provider) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-p.mails:
			switch err := p.send(ctx, j); {
			case err == nil || ctx.Err() != nil:
			case errors.Is(err, holdfast.RateLimited):
				p.log.InfoContext(ctx, "a mail was not sent: there were enough to that address", "kind", string(j.kind))
			default:
				p.log.ErrorContext(ctx, "a mail was not sent", "kind", string(j.kind), "error", err)
			}
		}
	}
}

// send makes a mail and its code, and hands it to the Mailer.
func (p *Provider) send(ctx context.Context, j mailJob) error {
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	m := Mail{Kind: j.kind, To: j.email, Code: j.code, Expires: j.expires}
	if j.kind != MailInvite {
		a, err := p.accountByEmail(ctx, j.email)
		if err != nil {
			return err
		}
		if a == nil || !a.Disabled.IsZero() || j.kind == MailVerify && a.EmailVerified {
			return nil
		}
		if _, err := p.attempt(ctx, "mail", j.email, limits{freeMails, longestWait}); err != nil {
			return err
		}
		m.Name = a.Name
		if err := p.addMailCode(ctx, &m, a.ID); err != nil {
			return err
		}
	}
	if p.cfg.Mailer == nil {
		p.log.WarnContext(ctx, "a mail was not sent: no Mailer is configured", "kind", string(j.kind))
		return nil
	}
	return p.cfg.Mailer.Send(ctx, m)
}

// addMailCode makes the code of a mail, if its kind has one.
func (p *Provider) addMailCode(ctx context.Context, m *Mail, userID string) (err error) {
	var kind codeKind
	switch m.Kind {
	case MailVerify:
		kind = codeVerify
	case MailReset:
		kind = codeReset
	default:
		return nil
	}
	m.Code = newSecret()
	m.Expires, err = addCode(ctx, p.db.write, kind, m.Code, userID, mailed)
	return err
}

// LogMailer is a Mailer for development: it writes each mail to a log. Whoever
// reads that can do what the codes are for.
type LogMailer struct{ Logger *slog.Logger }

// Send writes the mail to the log.
func (l LogMailer) Send(ctx context.Context, m Mail) error {
	l.Logger.InfoContext(ctx, "mail", "kind", string(m.Kind), "to", m.To, "code", m.Code, "expires", m.Expires)
	return nil
}
