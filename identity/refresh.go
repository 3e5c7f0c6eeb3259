package identity

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// A refresh token is hfr_ and 64 characters of base64url: 22 of them say
// which family (login session) it is of, and the rest is a secret of its own.
// Both parts are random, and stored as hashes. A family has one good token at
// a time. Another token of a known family was good once, since nobody else
// knows the family: so used tokens need not be kept to be recognised.
const (
	refreshPrefix = "hfr_"
	familyBytes   = 16
	refreshBytes  = familyBytes + 32
	secretLen     = 43 // characters of newSecret
)

// newRefreshFamily returns a family and its first token.
func newRefreshFamily() (family, token string) {
	random := make([]byte, familyBytes)
	_, _ = rand.Read(random) // never fails
	return string(random), newRefreshToken(string(random))
}

// newRefreshToken returns another token of a family.
func newRefreshToken(family string) string {
	random := make([]byte, refreshBytes)
	_, _ = rand.Read(random[copy(random, family):]) // never fails
	return refreshPrefix + base64.RawURLEncoding.EncodeToString(random)
}

// refreshFamily returns the family of a token; false for what can't be one.
func refreshFamily(token string) (string, bool) {
	text, ok := strings.CutPrefix(token, refreshPrefix)
	if !ok || len(text) != base64.RawURLEncoding.EncodedLen(refreshBytes) {
		return "", false
	}
	random, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(random) != refreshBytes { // it skips line ends
		return "", false
	}
	return string(random[:familyBytes]), true
}

// successorKey is known only to who has the token that is replaced.
func successorKey(token string) []byte {
	key, err := hkdf.Key(sha256.New, []byte(token), nil, "holdfast refresh successor", 32)
	if err != nil {
		panic(err) // 32 bytes are never too many
	}
	return key
}

// Refresh takes a refresh token and returns its successor with an access token
// (docs/protocol.md §3, "Refresh tokens"). Within Config.RefreshGrace, and
// until the successor is used, the same token returns the same successor: a
// lost reply and two tabs do no harm. A used token ends the session
// otherwise, since it may be stolen.
//
// The error is UNAUTHENTICATED for a token that is unknown or expired,
// REFRESH_REUSED for a used one and after it for every token of the session,
// and SESSION_REVOKED if the session was ended otherwise.
func (p *Provider) Refresh(ctx context.Context, refreshToken string, c Client) (Login, error) {
	family, ok := refreshFamily(refreshToken)
	if !ok {
		return Login{}, holdfast.Unauthenticated.New()
	}
	var l Login
	var reused *login // whose used token came; the transaction that ends it is committed
	err := p.endingSessions(ctx, func(tx *sql.Tx, e *ending) error {
		l, reused = Login{}, nil
		u, err := p.lockFamily(ctx, tx, family)
		if err != nil {
			return err
		}
		now := timeNow() // with the lock held: nobody ends the session in the past
		if err := u.check(now); err != nil {
			return err
		}
		hash := hashSecret(refreshToken)
		if subtle.ConstantTimeCompare(hash, u.login.tokenHash) == 1 {
			l, err = p.rotate(ctx, tx, u, family, refreshToken, c.clean(), now)
			return err
		}
		if subtle.ConstantTimeCompare(hash, u.login.previousHash) == 1 && len(u.login.previousSealed) > 0 && now.Sub(u.login.rotated) <= p.cfg.RefreshGrace {
			l, err = p.repeat(u, refreshToken, now)
			return err
		}
		reused = u.login
		return e.reused(ctx, tx, u.login.ID)
	})
	if err != nil {
		return Login{}, err
	}
	if reused != nil {
		p.log.WarnContext(ctx, "a used refresh token was presented, perhaps a stolen one: its session is ended",
			"user", reused.User, "session", reused.ID, "addr", c.clean().Addr)
		return Login{}, holdfast.RefreshReused.New()
	}
	return l, nil
}

// lockFamily reads the session of a family, which nobody else can change until
// the transaction ends, and then its user.
func (p *Provider) lockFamily(ctx context.Context, tx *sql.Tx, family string) (userLogin, error) {
	var u userLogin
	var err error
	u.login, err = scanLogin(tx.QueryRowContext(ctx, `SELECT `+loginColumns+` FROM sessions s WHERE s.family_hash = $1`+p.db.forUpdate(), hashSecret(family)))
	if errors.Is(err, sql.ErrNoRows) {
		return u, holdfast.Unauthenticated.New()
	}
	if err != nil {
		return u, fmt.Errorf("identity: %w", err)
	}
	u.account, err = p.accountByID(ctx, tx, u.login.User)
	return u, err
}

// rotate replaces the good token.
func (p *Provider) rotate(ctx context.Context, tx *sql.Tx, u userLogin, family, token string, c Client, now time.Time) (Login, error) {
	successor := newRefreshToken(family)
	var sealed []byte
	if p.cfg.RefreshGrace > 0 {
		sealed = seal(successorKey(token), u.login.ID, []byte(successor))
	}
	s := u.login.Session
	s.LastUsed, s.Expires, s.UserAgent, s.Addr = now, earlier(now.Add(p.cfg.RefreshIdle), u.login.ends), c.UserAgent, c.Addr
	_, err := execute(ctx, tx, `UPDATE sessions SET token_hash = $1, previous_hash = $2, previous_sealed = $3, rotated = $4, last_used = $4,
		expires = $5, user_agent = $6, addr = $7 WHERE id = $8`,
		hashSecret(successor), u.login.tokenHash, sealed, millis(now), millis(s.Expires), s.UserAgent, s.Addr, s.ID)
	if err != nil {
		return Login{}, err
	}
	return p.refreshed(u.account, s, successor, now)
}

// repeat answers as rotate has done before.
func (p *Provider) repeat(u userLogin, token string, now time.Time) (Login, error) {
	successor, err := unseal(successorKey(token), u.login.ID, u.login.previousSealed)
	if err != nil {
		return Login{}, err
	}
	return p.refreshed(u.account, u.login.Session, string(successor), now)
}

func (p *Provider) refreshed(a *account, s Session, successor string, now time.Time) (Login, error) {
	token, expires, err := p.mint(a, s, now)
	if err != nil {
		return Login{}, err
	}
	return Login{User: a.User, Session: s, AccessToken: token, ExpiresAt: expires, RefreshToken: successor}, nil
}
