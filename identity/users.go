package identity

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// account is a user with what is not shown.
type account struct {
	User
	password string // argon2id in PHC form; "" for none
	totp     []byte // sealed
	totpStep int64
}

// accountColumns reads an account in one statement: a token must never have
// the permissions of before a change with the version of after it.
const accountColumns = `u.id, u.email, u.email_verified, u.name, u.password, u.roles, u.rooms, u.actions, u.totp, u.totp_step,
	u.disabled, u.created, COALESCE((SELECT v.version FROM permission_versions v WHERE v.user_id = u.id), 0)`

func scanAccount(s scanner) (*account, error) {
	var a account
	var verified, disabled, created int64
	var roles, rooms, actions string
	err := s.Scan(&a.ID, &a.Email, &verified, &a.Name, &a.password, &roles, &rooms, &actions, &a.totp, &a.totpStep,
		&disabled, &created, &a.PermissionVersion)
	if err != nil {
		return nil, err
	}
	if rooms != "" {
		a.Rooms = new(holdfast.RoomPermissions)
		if err := json.Unmarshal([]byte(rooms), a.Rooms); err != nil {
			return nil, fmt.Errorf("identity: rooms of user %s: %w", a.ID, err)
		}
	}
	for text, to := range map[string]*[]string{roles: &a.Roles, actions: &a.Actions} {
		if err := json.Unmarshal([]byte(text), to); err != nil {
			return nil, fmt.Errorf("identity: grants of user %s: %w", a.ID, err)
		}
	}
	a.EmailVerified, a.Password, a.TOTP = verified != 0, a.password != "", len(a.totp) > 0
	a.Disabled, a.Created = fromMillis(disabled), fromMillis(created)
	return &a, nil
}

// account returns an account; nil if there is none. where is a condition with
// one parameter.
func (p *Provider) account(ctx context.Context, q queries, where, value string, suffix string) (*account, error) {
	if !storable(value) {
		return nil, nil
	}
	a, err := scanAccount(q.QueryRowContext(ctx, `SELECT `+accountColumns+` FROM users u WHERE `+where+suffix, value))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return a, nil
}

func (p *Provider) accountByID(ctx context.Context, q queries, id string) (*account, error) {
	a, err := p.account(ctx, q, `u.id = $1`, id, "")
	if err == nil && a == nil {
		err = errNoUser()
	}
	return a, err
}

// accountLocked is accountByID in a transaction that is going to change the
// account, or that depends on nobody else changing it.
func (p *Provider) accountLocked(ctx context.Context, tx *sql.Tx, id string) (*account, error) {
	a, err := p.account(ctx, tx, `u.id = $1`, id, p.db.forUpdate())
	if err == nil && a == nil {
		err = errNoUser()
	}
	return a, err
}

// lockUser keeps others from changing a user, or making or ending all his
// sessions, until the transaction ends. There need not be one.
func (p *Provider) lockUser(ctx context.Context, tx *sql.Tx, id string) error {
	_, err := one(tx.QueryRowContext(ctx, `SELECT id FROM users WHERE id = $1`+p.db.forUpdate(), id), &id)
	return err
}

func (p *Provider) accountByEmail(ctx context.Context, email string) (*account, error) {
	return p.account(ctx, p.db.read, `u.email = $1`, email, "")
}

func errNoUser() error { return holdfast.Errorf(holdfast.NotFound, "There is no such user") }

// User returns the account of that id, or NOT_FOUND.
func (p *Provider) User(ctx context.Context, id string) (User, error) {
	a, err := p.accountByID(ctx, p.db.read, id)
	if err != nil {
		return User{}, err
	}
	return a.User, nil
}

// UserByEmail returns the account of an e-mail address, or NOT_FOUND. It is
// for administrators: to others it would tell who has an account.
func (p *Provider) UserByEmail(ctx context.Context, email string) (User, error) {
	email, err := NormalizeEmail(email)
	if err != nil {
		return User{}, err
	}
	a, err := p.accountByEmail(ctx, email)
	if err != nil {
		return User{}, err
	}
	if a == nil {
		return User{}, errNoUser()
	}
	return a.User, nil
}

// maxPage is how many rows a list gives at once.
const maxPage = 1000

// Users lists accounts in the order of their ids, from the one after the id
// named ("" for the first), at most limit, or 1000 if limit is over that or
// not positive.
func (p *Provider) Users(ctx context.Context, after string, limit int) ([]User, error) {
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	if !storable(after) {
		return nil, holdfast.Errorf(holdfast.InvalidArgument, "This is no user id")
	}
	accounts, err := all(ctx, p.db.read, scanAccount, `SELECT `+accountColumns+` FROM users u WHERE u.id > $1 ORDER BY u.id LIMIT $2`, after, limit)
	if err != nil {
		return nil, err
	}
	users := make([]User, len(accounts))
	for i, a := range accounts {
		users[i] = a.User
	}
	return users, nil
}

// CreateUser makes an account, whatever the policy of sign-ups is. The error
// is CONFLICT if the address has one, INVALID_ARGUMENT for what can't be.
func (p *Provider) CreateUser(ctx context.Context, u NewUser) (User, error) {
	a, err := p.newAccount(ctx, u, u.Grants, u.EmailVerified)
	if err != nil {
		return User{}, err
	}
	err = p.db.tx(ctx, func(tx *sql.Tx) error {
		made, err := a.insert(ctx, tx)
		if err == nil && !made {
			err = errExists()
		}
		return err
	})
	if err != nil {
		return User{}, err
	}
	return a.User, nil
}

func errExists() error {
	return holdfast.Errorf(holdfast.Conflict, "This e-mail address has an account already")
}

// newAccount checks a new user and hashes his password. Nothing is stored.
func (p *Provider) newAccount(ctx context.Context, u NewUser, g Grants, verified bool) (*account, error) {
	email, err := NormalizeEmail(u.Email)
	if err != nil {
		return nil, err
	}
	if err := g.check(); err != nil {
		return nil, err
	}
	a := &account{User: User{
		ID: newID(), Email: email, Name: cleanText(u.Name, maxName), Roles: g.Roles, Rooms: g.Rooms, Actions: g.Actions,
		EmailVerified: verified, Created: timeNow(),
	}}
	if u.Password != "" {
		if err := p.checkPassword(ctx, email, u.Password); err != nil {
			return nil, err
		}
		if a.password, err = p.hasher.hash(ctx, u.Password); err != nil {
			return nil, err
		}
		a.Password = true
	}
	return a, nil
}

// insert stores a new account, and reports false if its address has one.
func (a *account) insert(ctx context.Context, tx *sql.Tx) (bool, error) {
	grants, err := Grants{Roles: a.Roles, Rooms: a.Rooms, Actions: a.Actions}.stored()
	if err != nil {
		return false, err
	}
	var verified time.Time
	if a.EmailVerified {
		verified = a.Created
	}
	n, err := execute(ctx, tx, `INSERT INTO users (id, email, email_verified, name, password, roles, rooms, actions, totp_step, totp_pending_expires, disabled, created)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, 0, $9) ON CONFLICT DO NOTHING`,
		a.ID, a.Email, millis(verified), a.Name, a.password, grants.roles, grants.rooms, grants.actions, millis(a.Created))
	return n > 0, err
}

// Disable keeps a user out: his sessions end, and he can't sign in until
// Enable. Repeating it changes nothing. The error is NOT_FOUND for no user.
func (p *Provider) Disable(ctx context.Context, id string) error {
	return p.endingSessions(ctx, func(tx *sql.Tx, e *ending) error {
		if _, err := p.accountLocked(ctx, tx, id); err != nil {
			return err
		}
		if _, err := execute(ctx, tx, `UPDATE users SET disabled = $1 WHERE id = $2 AND disabled = 0`, millis(timeNow()), id); err != nil {
			return err
		}
		return e.sessionsOf(ctx, tx, id, "")
	})
}

// Enable takes Disable back; the sessions stay ended.
func (p *Provider) Enable(ctx context.Context, id string) error {
	if !storable(id) {
		return errNoUser()
	}
	n, err := execute(ctx, p.db.write, `UPDATE users SET disabled = 0 WHERE id = $1`, id)
	if err == nil && n == 0 {
		err = errNoUser()
	}
	return err
}

// DeleteUser removes a user and all that is his. His id is never used again.
// The error is NOT_FOUND for no user.
func (p *Provider) DeleteUser(ctx context.Context, id string) error {
	return p.endingSessions(ctx, func(tx *sql.Tx, e *ending) error {
		if _, err := p.accountLocked(ctx, tx, id); err != nil {
			return err
		}
		if err := e.sessionsOf(ctx, tx, id, ""); err != nil {
			return err
		}
		if _, err := execute(ctx, tx, `DELETE FROM users WHERE id = $1`, id); err != nil {
			return err
		}
		_, err := execute(ctx, tx, `DELETE FROM permission_versions WHERE user_id = $1`, id)
		return err
	})
}

// VerifyEmail takes a code from a mail of kind MailVerify, which is good once.
// The error is INVALID_ARGUMENT for a code that is not good.
func (p *Provider) VerifyEmail(ctx context.Context, code string) (User, error) {
	var user User
	err := p.db.tx(ctx, func(tx *sql.Tx) error {
		c, err := takeCode(ctx, tx, codeVerify, code)
		if err != nil {
			return err
		}
		if _, err := execute(ctx, tx, `UPDATE users SET email_verified = $1 WHERE id = $2 AND email_verified = 0`, millis(timeNow()), c.user); err != nil {
			return err
		}
		a, err := p.accountByID(ctx, tx, c.user)
		if err == nil {
			user = a.User
		}
		return err
	})
	return user, err
}

// RequestEmailVerification mails a user a code for VerifyEmail, three at
// most and then one each quarter of an hour. For one whose address is verified it does nothing.
func (p *Provider) RequestEmailVerification(ctx context.Context, userID string) error {
	a, err := p.accountByID(ctx, p.db.read, userID)
	if err != nil || a.EmailVerified {
		return err
	}
	return p.enqueue(mailJob{kind: MailVerify, email: a.Email})
}
