package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

// refused is a token that the server has refused, to be renewed before the
// next attempt.
type refused struct {
	token  tokens.Token
	reason *holdfast.Error
}

// keeper keeps a run connected. It belongs to one goroutine at a time: the one
// that connects, or the one that reads the connection.
type keeper struct {
	s        *Socket
	r        *run
	rules    *rules
	pending  *refused
	err      error  // of the last attempt that was not cut short
	first    error  // of a transport that was refused, while another is tried
	unfollow func() // leaves the Source's events
}

// keep begins a run. The keeper goes on by itself until r is stopped or the
// rules say so.
func (s *Socket) keep(r *run) {
	k := &keeper{s: s, r: r, rules: newRules(s.cfg), unfollow: s.follow(r)}
	s.paths.refused = 0
	k.connect()
}

// connect makes attempts until one is a connection, which another goroutine
// reads: this one's stack has grown for the handshake.
func (k *keeper) connect() {
	for {
		c, end, token := k.attempt()
		if c != nil {
			go k.hold(c)
			return
		}
		if !k.again(end, token) {
			return
		}
	}
}

// hold reads a connection to its end.
func (k *keeper) hold(c *conn) {
	err := c.read()
	if err == errReplace {
		go k.hold(c)
		return
	}
	if k.again(c.over(err)) {
		k.connect()
	}
}

// again takes note of how an attempt or a connection ended, and waits for the
// next attempt. It is false where there is none, and the run has ended.
func (k *keeper) again(end ending, token tokens.Token) bool {
	s, r := k.s, k.r
	if r.ctx.Err() == nil {
		k.err = end.err
	}
	d := k.rules.after(end)
	switch {
	case r.ctx.Err() != nil:
	case s.paths.after(end, d.stop) && !k.rules.spent():
		d, k.first = decision{}, end.err
	case d.stop && k.first != nil && end.blocked():
		k.err = k.first // of the transport that is preferred
	default:
		k.first = nil
	}
	switch {
	case r.ctx.Err() != nil:
		d.stop = true
	case d.tell != nil:
		s.signOut(r.ctx, refused{token, d.tell})
	case d.renew != nil && s.client.cfg.Source == nil:
		d.stop = true
	case d.renew != nil:
		k.pending = &refused{token, d.renew}
	}
	if d.stop {
		k.finish()
		return false
	}
	s.set(Change{State: Disconnected, Err: k.err, Attempt: k.rules.attempts, RetryIn: d.wait})
	timer := time.NewTimer(d.wait)
	select {
	case <-timer.C:
	case <-r.hurry:
		timer.Stop()
		k.rules, k.pending = newRules(s.cfg), nil
	case <-r.ctx.Done():
		timer.Stop()
		k.finish()
		return false
	}
	s.set(Change{State: Connecting, Attempt: k.rules.attempts + 1})
	return true
}

func (k *keeper) finish() {
	k.unfollow()
	k.s.finish(k.r, k.rules.attempts, k.err)
}

func (s *Socket) set(c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.setLocked(c)
	}
}

// attempt opens one connection. Where that fails it returns how, and the token
// that was last used.
func (k *keeper) attempt() (*conn, ending, tokens.Token) {
	s := k.s
	ctx, cancel := context.WithTimeoutCause(k.r.ctx, s.cfg.ConnectTimeout, errConnectTimeout)
	c, token, err := s.open(ctx, &k.pending)
	if err != nil {
		err = timedOut(ctx, err)
		cancel()
		return nil, ending{err: err}, token
	}
	c.run = k.r
	stop := context.AfterFunc(ctx, func() { c.fail(context.Cause(ctx)) })
	c.opening = func() { stop(); cancel() }
	k.r.serve(c)
	return c, ending{}, token
}

// open opens a connection in the name of whoever is signed in.
func (s *Socket) open(ctx context.Context, pending **refused) (*conn, tokens.Token, error) {
	token, user, err := s.credential(ctx, pending)
	if err != nil {
		return nil, token, &sourceError{err}
	}
	s.mu.Lock()
	makeAuth := s.auth
	s.mu.Unlock()
	auth, err := makeAuth(ctx, token)
	if err != nil {
		return nil, token, &sourceError{fmt.Errorf("client: auth payload: %w", err)}
	}
	c, err := s.dial(ctx, token, auth, s.tokenQuery(token))
	if err != nil {
		return nil, token, err
	}
	c.user = user
	_, c.told = s.client.cfg.Source.(sessioned)
	return c, token, nil
}

// tokenQuery is the token as a parameter of the URL, where that is wanted.
func (s *Socket) tokenQuery(t tokens.Token) url.Values {
	if s.cfg.TokenParam == "" || t.Access == "" {
		return nil
	}
	return url.Values{s.cfg.TokenParam: {t.Access}}
}

var errConnectTimeout = errors.New("client: the server did not admit the socket in time")

// timedOut names the timeout that err came from.
func timedOut(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errConnectTimeout) {
		return fmt.Errorf("%w: %w", errConnectTimeout, err)
	}
	return err
}

// token reads the token for an attempt; one that was refused is renewed first.
func (s *Socket) token(ctx context.Context, pending **refused) (tokens.Token, error) {
	src := s.client.cfg.Source
	if src == nil {
		return tokens.Token{}, nil
	}
	if p := *pending; p != nil {
		t, err := tokens.Renew(ctx, src, p.token, p.reason)
		if err == nil {
			*pending = nil
		}
		return t, err
	}
	return src.Token(ctx)
}

// signOutTimeout bounds how long a Source may take to note that its session is
// over.
const signOutTimeout = 5 * time.Second

// signOut tells a Source that can know that the session is over.
func (s *Socket) signOut(ctx context.Context, p refused) {
	src, ok := s.client.cfg.Source.(tokens.Refresher)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, signOutTimeout)
	defer cancel()
	_, _ = src.Refused(ctx, p.token, p.reason) // there is nothing to do about an error
}
