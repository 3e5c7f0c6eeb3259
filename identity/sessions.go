package identity

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast"
)

const (
	// maxSessions is how many live sessions a user may have. The one that was
	// not used for the longest time ends when there is another.
	maxSessions = 100
	// touchEvery is how exact the last use of a session by cookie is.
	touchEvery = 5 * time.Minute
)

// login is a session with what is not shown.
type login struct {
	Session
	tokenHash, previousHash, previousSealed []byte
	rotated                                 time.Time
	ends                                    time.Time
	ended                                   time.Time
	endCode                                 holdfast.Code
}

const loginColumns = `s.id, s.user_id, s.token_hash, s.previous_hash, s.previous_sealed, s.rotated, s.user_agent, s.addr,
	s.created, s.last_used, s.expires, s.ends, s.ended, s.end_code`

func scanLogin(s scanner) (*login, error) {
	var l login
	var rotated, created, lastUsed, expires, ends, ended int64
	err := s.Scan(&l.ID, &l.User, &l.tokenHash, &l.previousHash, &l.previousSealed, &rotated, &l.UserAgent, &l.Addr,
		&created, &lastUsed, &expires, &ends, &ended, &l.endCode)
	if err != nil {
		return nil, err
	}
	l.rotated, l.Created, l.LastUsed = fromMillis(rotated), fromMillis(created), fromMillis(lastUsed)
	l.Expires, l.ends, l.ended = fromMillis(expires), fromMillis(ends), fromMillis(ended)
	return &l, nil
}

// prefixed scans the first columns of a row by itself, and leaves the rest.
type prefixed struct {
	scanner
	first []any
}

func (p prefixed) Scan(to ...any) error {
	return p.scanner.Scan(append(p.first[:len(p.first):len(p.first)], to...)...)
}

// userLogin is a session and its user, read at one moment.
type userLogin struct {
	login   *login
	account *account
}

// findLogin reads a session and its user. where is a condition with one
// parameter. The error says why the session is not good any more.
func (p *Provider) findLogin(ctx context.Context, where string, value any) (userLogin, error) {
	now := time.Now()
	row := p.db.read.QueryRowContext(ctx, `SELECT `+loginColumns+`, `+accountColumns+`
		FROM sessions s JOIN users u ON u.id = s.user_id WHERE `+where, value)
	var u userLogin
	var err error
	u.login, err = scanLogin(rowFunc(func(first ...any) (err error) {
		u.account, err = scanAccount(prefixed{row, first})
		return err
	}))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return u, holdfast.Unauthenticated.New()
	case err != nil:
		return u, fmt.Errorf("identity: %w", err)
	}
	return u, u.check(now)
}

// rowFunc is a scanner that is a function.
type rowFunc func(to ...any) error

func (f rowFunc) Scan(to ...any) error { return f(to...) }

// check says why a session is not good.
func (u userLogin) check(now time.Time) error {
	switch {
	case !u.login.ended.IsZero() && u.login.endCode == holdfast.RefreshReused:
		return holdfast.RefreshReused.New()
	case !u.login.ended.IsZero() || !u.account.Disabled.IsZero():
		return holdfast.SessionRevoked.New()
	case !now.Before(u.login.Expires):
		return holdfast.Errorf(holdfast.Unauthenticated, "Unauthorized: the session has expired")
	}
	return nil
}

// newLogin makes a session for a user who has proved who he is. check is
// given the account as it is now, which nobody can change until the session is
// there: whatever was proved has to be true of it still.
func (p *Provider) newLogin(ctx context.Context, userID string, c Client, check func(tx *sql.Tx, a *account) error) (Login, error) {
	var l Login
	err := p.endingSessions(ctx, func(tx *sql.Tx, e *ending) error {
		a, err := p.accountLocked(ctx, tx, userID)
		if err != nil {
			return err
		}
		if !a.Disabled.IsZero() {
			return holdfast.InvalidCredentials.New()
		}
		if err := check(tx, a); err != nil {
			return err
		}
		if p.cfg.VerifyEmail && !a.EmailVerified {
			return errUnverified()
		}
		oldest, err := all(ctx, tx, scanString, `SELECT id FROM sessions WHERE user_id = $1 AND ended = 0 AND expires > $2
			ORDER BY last_used DESC, id LIMIT $3 OFFSET $4`, a.ID, millis(time.Now()), maxSessions, maxSessions-1)
		if err != nil {
			return err
		}
		for _, id := range oldest {
			if err := e.session(ctx, tx, id); err != nil {
				return err
			}
		}
		l, err = p.insertSession(ctx, tx, a, c.clean())
		return err
	})
	if err != nil {
		return Login{}, err
	}
	return l, nil
}

func (p *Provider) insertSession(ctx context.Context, tx *sql.Tx, a *account, c Client) (Login, error) {
	now := timeNow()
	ends := now.Add(p.cfg.RefreshTotal)
	family, token := newRefreshFamily()
	l := Login{
		User: a.User,
		Session: Session{
			ID: newID(), User: a.ID, UserAgent: c.UserAgent, Addr: c.Addr,
			Created: now, LastUsed: now, Expires: earlier(now.Add(p.cfg.RefreshIdle), ends),
		},
		RefreshToken: token,
		CookieSecret: newSecret(),
	}
	_, err := execute(ctx, tx, `INSERT INTO sessions (id, user_id, cookie_hash, family_hash, token_hash, rotated, user_agent, addr,
			created, last_used, expires, ends, ended, end_code)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $6, $6, $9, $10, 0, '')`,
		l.Session.ID, a.ID, hashSecret(l.CookieSecret), hashSecret(family), hashSecret(token), millis(now), c.UserAgent, c.Addr,
		millis(l.Session.Expires), millis(ends))
	if err != nil {
		return Login{}, err
	}
	l.AccessToken, l.ExpiresAt, err = p.mint(a, l.Session, now)
	return l, err
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// SessionByCookie returns the session whose cookie has this secret, and its
// user, and notes the use. The error is UNAUTHENTICATED for a secret that is
// unknown or expired, SESSION_REVOKED or REFRESH_REUSED for a session that was
// ended.
func (p *Provider) SessionByCookie(ctx context.Context, secret string) (Session, User, error) {
	u, err := p.cookieLogin(ctx, secret)
	if err != nil {
		return Session{}, User{}, err
	}
	return u.login.Session, u.account.User, nil
}

// cookieLogin is SessionByCookie. With an error it returns the session too, if
// there was one.
func (p *Provider) cookieLogin(ctx context.Context, secret string) (userLogin, error) {
	if len(secret) != secretLen {
		return userLogin{}, holdfast.Unauthenticated.New()
	}
	u, err := p.findLogin(ctx, `s.cookie_hash = $1`, hashSecret(secret))
	if err != nil {
		return u, err
	}
	now := timeNow()
	if now.Sub(u.login.LastUsed) < touchEvery {
		return u, nil
	}
	u.login.LastUsed, u.login.Expires = now, earlier(now.Add(p.cfg.RefreshIdle), u.login.ends)
	_, err = execute(ctx, p.db.write, `UPDATE sessions SET last_used = $1, expires = $2 WHERE id = $3 AND ended = 0 AND last_used < $1`,
		millis(now), millis(u.login.Expires), u.login.ID)
	return u, err
}

// AccessToken makes an access token for a session, as for its cookie's owner.
// The errors are those of SessionByCookie.
func (p *Provider) AccessToken(ctx context.Context, sessionID string) (token string, expires time.Time, err error) {
	if !storable(sessionID) {
		return "", time.Time{}, holdfast.Unauthenticated.New()
	}
	now := timeNow() // before the session is read: see mint
	u, err := p.findLogin(ctx, `s.id = $1`, sessionID)
	if err != nil {
		return "", time.Time{}, err
	}
	return p.mint(u.account, u.login.Session, now)
}

// Sessions returns a user's live sessions, the last used one first.
func (p *Provider) Sessions(ctx context.Context, userID string) ([]Session, error) {
	if !storable(userID) {
		return nil, nil
	}
	logins, err := all(ctx, p.db.read, scanLogin, `SELECT `+loginColumns+` FROM sessions s
		WHERE s.user_id = $1 AND s.ended = 0 AND s.expires > $2 ORDER BY s.last_used DESC, s.id LIMIT $3`,
		userID, millis(time.Now()), maxPage)
	if err != nil {
		return nil, err
	}
	sessions := make([]Session, len(logins))
	for i, l := range logins {
		sessions[i] = l.Session
	}
	return sessions, nil
}

// SignOut ends a session for good. It does nothing if that has ended, or never
// was.
func (p *Provider) SignOut(ctx context.Context, sessionID string) error {
	if !storable(sessionID) {
		return nil
	}
	return p.endingSessions(ctx, func(tx *sql.Tx, e *ending) error {
		return e.session(ctx, tx, sessionID)
	})
}

// EndSession ends one of a user's sessions. The error is NOT_FOUND if he has
// no such live session.
func (p *Provider) EndSession(ctx context.Context, userID, sessionID string) error {
	if !storable(userID) || !storable(sessionID) {
		return errNoSession()
	}
	return p.endingSessions(ctx, func(tx *sql.Tx, e *ending) error {
		err := e.sessionOf(ctx, tx, userID, sessionID)
		if err == nil && len(e.revoked) == 0 {
			err = errNoSession()
		}
		return err
	})
}

func errNoSession() error { return holdfast.Errorf(holdfast.NotFound, "There is no such session") }

// EndSessions ends all sessions of a user except the one named; "" for none.
func (p *Provider) EndSessions(ctx context.Context, userID, except string) error {
	if !storable(userID) || !storable(except) {
		return nil
	}
	return p.endingSessions(ctx, func(tx *sql.Tx, e *ending) error {
		if err := p.lockUser(ctx, tx, userID); err != nil {
			return err
		}
		return e.sessionsOf(ctx, tx, userID, except)
	})
}
