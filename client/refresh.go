package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
	"github.com/holdfast-dev/holdfast/tokens"
)

func randomFraction() float64 { return rand.Float64() }

// Refresh brings the Source's present token to the server: call it when the
// token has changed. If it is the one that the connection uses already, nothing
// happens. A Holdfast server takes it on the same connection, without a gap; the
// error is the server's if it doesn't, and the connection stays as it was. A
// plain Socket.IO server can't: the socket reconnects with the new token, and
// Refresh returns when that has begun. Without a connection Refresh returns nil:
// each attempt reads the token anew.
func (s *Socket) Refresh(ctx context.Context) error {
	src := s.client.cfg.Source
	c := s.current()
	if c == nil || src == nil {
		return nil
	}
	t, err := src.Token(ctx)
	if err != nil {
		return err
	}
	if t.Access == c.token().Access {
		return nil
	}
	if session, ok := s.Session(); !ok || !session.Has("refresh") {
		c.hangUp(&localError{errNewToken}, 1000)
		return nil
	}
	return c.present(ctx, t)
}

// errNewToken is why a connection ends that can't take a new token.
var errNewToken = errors.New("client: reconnecting with a new token")

// present gives the server another token for this connection.
func (c *conn) present(ctx context.Context, t tokens.Token) error {
	args, err := socketio.NewArgs(struct {
		Token string `json:"token"`
	}{t.Access})
	if err == nil {
		args, err = c.ask(ctx, eventPacket(c.s.ns, "auth:refresh", args))
	}
	if err == nil {
		args, err = unwrap(args)
	}
	if err != nil {
		return err
	}
	var expiry struct {
		ExpiresAt int64 `json:"expiresAt"`
		ExpiresIn int64 `json:"expiresIn"`
	}
	if err := args.Decode(0, &expiry); err != nil {
		return err
	}
	c.mu.Lock()
	c.used = t
	c.mu.Unlock()
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if c.session != nil {
		session := *c.session
		session.ExpiresAt, session.ExpiresIn = expiry.ExpiresAt, expiry.ExpiresIn
		c.session = &session
	}
	return nil
}

// expiring handles auth:expiring.
func (c *conn) expiring(args socketio.Args) {
	var e Expiring
	if args.Decode(0, &e) != nil {
		return
	}
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	switch {
	case strings.HasPrefix(e.Reason, "permission"):
		c.refreshLocked(holdfast.PermissionVersionStale.New())
	case e.ExpiresAt != 0 && c.session != nil && e.ExpiresAt < c.session.ExpiresAt:
		// It is about a token that has been replaced since it was sent.
	default:
		c.refreshLocked(holdfast.TokenExpired.New())
	}
}

// refreshLocked starts to renew the token in band, unless that is under way or
// can't be done. Without a reason only a newer token is presented. The caller
// holds s.mu, and is the reader or a task, or has seen that s.conn is c.
func (c *conn) refreshLocked(reason *holdfast.Error) bool {
	if c.s.client.cfg.Source == nil || c.session == nil || !c.session.Has("refresh") {
		return false
	}
	if c.refreshing {
		// A token asked for before the rights have changed is stale as well. That
		// it expires, the next one's time tells.
		switch {
		case reason == nil:
			c.newer = true
		case reason.Code == holdfast.PermissionVersionStale:
			c.stale = reason
		}
		return true
	}
	c.refreshing = true
	c.tasks.Go(func() {
		c.renew(reason)
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		c.refreshing = false
		if stale := c.stale; stale != nil || c.newer {
			c.stale, c.newer = nil, false
			c.refreshLocked(stale)
		}
	})
	return true
}

// renew gets another token from the Source and presents it, again and again
// until it is done, is refused for good, or the connection ends. Then the
// server closes it, and the rules decide.
func (c *conn) renew(reason *holdfast.Error) {
	rules := rules{cfg: c.s.cfg, random: randomFraction}
	for {
		err := c.renewOnce(reason)
		if err == nil || c.ctx.Err() != nil {
			return
		}
		c.s.registry.log.Warn("token was not refreshed on the connection", "err", err)
		if tokens.Final(err) || rules.attempts >= maxRenewals {
			return
		}
		rules.attempts++
		refusal, _ := errors.AsType[*holdfast.Error](err)
		timer := time.NewTimer(rules.backoff(refusal))
		select {
		case <-timer.C:
		case <-c.ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (c *conn) renewOnce(reason *holdfast.Error) error {
	src, used := c.s.client.cfg.Source, c.token()
	t, err := src.Token(c.ctx)
	if err == nil && t.Access == used.Access {
		if reason == nil {
			return nil
		}
		t, err = tokens.Renew(c.ctx, src, used, reason)
	}
	if err != nil {
		return err
	}
	return c.present(c.ctx, t)
}
