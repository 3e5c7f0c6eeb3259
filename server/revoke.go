package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// staleGrace is how long an open connection has for a refresh after its
// user's permissions changed.
const staleGrace = 30 * time.Second

// Revoke takes back what was issued before, and closes the connections that
// live on it: with auth:closing and r.Code, on every transport. Exactly one of
// r.User, r.Session and r.TokenID says whose. Code is SESSION_REVOKED where it
// is empty; FORBIDDEN refuses as well; GOING_AWAY only closes, and its clients
// come back. Before is now and Until is when the longest token has expired,
// where they are zero.
//
// With Config.Revocations it is kept over restarts; an error says that it was
// not, though the connections are closed all the same.
func (s *Server) Revoke(ctx context.Context, r auth.Revocation) error {
	set := 0
	for _, v := range []string{r.User, r.Session, r.TokenID} {
		if v != "" {
			set++
		}
	}
	if set != 1 {
		return holdfast.Errorf(holdfast.InvalidArgument, "exactly one of user, session and jti says what is revoked")
	}
	var err error
	if r.Code, err = closingCode(r.Code); err != nil {
		return err
	}
	if r.Before.IsZero() {
		r.Before = time.Now()
	}
	if r.Until.IsZero() {
		r.Until = r.Before.Add(s.ledger.lifetime)
	}
	if r.Code != holdfast.GoingAway && s.cfg.Revocations != nil {
		err = s.cfg.Revocations.SaveRevocation(ctx, r)
	}
	s.Revoked(r)
	return err
}

// closingCode settles the code of a close that was asked for.
func closingCode(code holdfast.Code) (holdfast.Code, error) {
	switch code {
	case "":
		return holdfast.SessionRevoked, nil
	case holdfast.SessionRevoked, holdfast.Forbidden, holdfast.GoingAway:
		return code, nil
	}
	return "", holdfast.Errorf(holdfast.InvalidArgument, "code is SESSION_REVOKED, FORBIDDEN or GOING_AWAY")
}

// Revoked applies a revocation that is already kept: an identity provider
// calls it after a sign-out, for example.
func (s *Server) Revoked(r auth.Revocation) {
	s.metrics.revoked()
	// First the ledger, then the connections: one that is being admitted
	// meanwhile is looked up in the ledger after it was added to them.
	if r.Code != holdfast.GoingAway {
		s.ledger.revoke(r)
	}
	for _, l := range s.all() {
		l.mu.Lock()
		hit := l.identity != nil && r.Names(l.identity) && (r.Code == holdfast.GoingAway || r.Refuses(l.identity))
		l.mu.Unlock()
		if hit {
			l.end(r.Code.New())
		}
	}
	s.polls.end(func(id *holdfast.Identity) *holdfast.Error {
		if r.Names(id) && (r.Code == holdfast.GoingAway || r.Refuses(id)) {
			return r.Code.New()
		}
		return nil
	})
}

// CloseConnection ends one connection by its public id, with one of the codes
// of Revoke; NOT_FOUND if there is none here. Nothing is revoked.
func (s *Server) CloseConnection(id string, code holdfast.Code) error {
	code, err := closingCode(code)
	if err != nil {
		return err
	}
	for _, l := range s.all() {
		if l.id == id {
			l.end(code.New())
			return nil
		}
	}
	return holdfast.Errorf(holdfast.NotFound, "there is no such connection")
}

// BumpPermissions says that a user's permissions changed. His tokens from
// before are answered PERMISSION_VERSION_STALE; his open connections get
// auth:expiring and have 30 s for a refresh. Where the Authenticator is a
// Reloader they have the new rights at once.
func (s *Server) BumpPermissions(ctx context.Context, user string) (auth.Bump, error) {
	if user == "" {
		return auth.Bump{}, holdfast.Errorf(holdfast.InvalidArgument, "user is missing")
	}
	b := auth.Bump{User: user, At: time.Now()}
	if s.cfg.Bumps != nil {
		var err error
		if b, err = s.cfg.Bumps.BumpPermissions(ctx, user); err != nil {
			return b, err
		}
	}
	s.Bumped(ctx, b)
	return b, nil
}

// Bumped applies a change of permissions that is already kept.
func (s *Server) Bumped(ctx context.Context, b auth.Bump) {
	s.ledger.bump(b)
	for _, l := range s.all() {
		l.mu.Lock()
		id := l.identity
		l.mu.Unlock()
		if id != nil && b.Stale(id) {
			l.stale(ctx, id)
		}
	}
	s.polls.end(func(id *holdfast.Identity) *holdfast.Error {
		if b.Stale(id) {
			return holdfast.PermissionVersionStale.New()
		}
		return nil
	})
}

// Reloader is an Authenticator that knows what a user may do now, without a
// new credential.
type Reloader interface {
	// Reload returns id with the permissions of this moment.
	Reload(ctx context.Context, id *holdfast.Identity) (*holdfast.Identity, error)
}

// stale gives the connection staleGrace for a refresh, and the rights that
// are known already at once. id is the identity that is out of date. Where that
// was replaced meanwhile by what another change has found, which may be from
// before this one, it asks again; each time somebody else got on.
func (l *link) stale(ctx context.Context, id *holdfast.Identity) {
	for {
		fresh := id
		if r, ok := l.srv.cfg.Authenticator.(Reloader); ok {
			known, err := reload(ctx, r, id)
			if err != nil {
				l.srv.log.Warn("permissions could not be reloaded", "connection", l.id, "err", err)
			} else {
				fresh = known
			}
		}
		if l.outdate(id, fresh) {
			return
		}
		l.mu.Lock()
		now := l.identity
		l.mu.Unlock()
		if err := l.srv.ledger.check(now); err == nil || err.Code != holdfast.PermissionVersionStale {
			return
		}
		id = now
	}
}

// outdate gives the connection the rights of fresh and asks for a refresh of
// old, unless somebody was quicker: then it is false. A connection that has
// ended needs nothing. As with warn, what is said comes before the answer to a
// later refresh.
func (l *link) outdate(old, fresh *holdfast.Identity) bool {
	l.swap.Lock()
	defer l.swap.Unlock()
	l.mu.Lock()
	if l.ended || l.identity != old {
		ended := l.ended
		l.mu.Unlock()
		return ended
	}
	l.identity = fresh
	l.life.shorten(l, time.Now().Add(staleGrace), holdfast.PermissionVersionStale)
	conns := append([]*Conn(nil), l.conns...)
	n := notice{name: "auth:expiring", expiry: expiryAt(l.life.deadline), reason: "permissions"}
	l.mu.Unlock()
	if fresh != old {
		apply(conns, fresh)
	}
	for _, c := range conns {
		c.notify(n)
	}
	return true
}

// reload asks r, whose panic must not end the process.
func reload(ctx context.Context, r Reloader, id *holdfast.Identity) (fresh *holdfast.Identity, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("server: Reload panicked: %s", panicText(v))
		}
	}()
	fresh, err = r.Reload(ctx, id)
	if err == nil && fresh == nil {
		err = errors.New("server: Reload returned no identity")
	}
	return fresh, err
}

// all returns the links of this moment.
func (s *Server) all() []*link {
	s.mu.RLock()
	defer s.mu.RUnlock()
	links := make([]*link, 0, len(s.links))
	for l := range s.links {
		links = append(links, l)
	}
	return links
}

// restore fills the ledger with what was kept.
func (s *Server) restore(ctx context.Context) error {
	if s.cfg.Revocations != nil {
		kept, err := s.cfg.Revocations.Revocations(ctx)
		if err != nil {
			return err
		}
		for _, r := range kept {
			s.ledger.revoke(r)
		}
	}
	if s.cfg.Bumps != nil {
		kept, err := s.cfg.Bumps.Bumps(ctx, time.Now().Add(-s.cfg.MaxTokenLifetime))
		if err != nil {
			return err
		}
		for _, b := range kept {
			s.ledger.bump(b)
		}
	}
	return nil
}
