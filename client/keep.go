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

// keep connects, and connects again, until r is stopped or the rules say so.
func (s *Socket) keep(r *run) {
	defer s.follow(r)()
	rules := newRules(s.cfg)
	s.paths.refused = 0
	var pending *refused
	var err error   // of the last attempt that was not cut short
	var first error // of a transport that was refused, while another is tried
	for {
		end, token := s.attempt(r, &pending)
		if r.ctx.Err() == nil {
			err = end.err
		}
		d := rules.after(end)
		switch {
		case r.ctx.Err() != nil:
		case s.paths.after(end, d.stop) && !rules.spent():
			d, first = decision{}, end.err
		case d.stop && first != nil && end.blocked():
			err = first // of the transport that is preferred
		default:
			first = nil
		}
		switch {
		case r.ctx.Err() != nil:
			d.stop = true
		case d.tell != nil:
			s.signOut(r.ctx, refused{token, d.tell})
		case d.renew != nil && s.client.cfg.Source == nil:
			d.stop = true
		case d.renew != nil:
			pending = &refused{token, d.renew}
		}
		if d.stop {
			s.finish(r, rules.attempts, err)
			return
		}
		s.set(Change{State: Disconnected, Err: err, Attempt: rules.attempts, RetryIn: d.wait})
		timer := time.NewTimer(d.wait)
		select {
		case <-timer.C:
		case <-r.hurry:
			timer.Stop()
			rules, pending = newRules(s.cfg), nil
		case <-r.ctx.Done():
			timer.Stop()
			s.finish(r, rules.attempts, err)
			return
		}
		s.set(Change{State: Connecting, Attempt: rules.attempts + 1})
	}
}

func (s *Socket) set(c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.setLocked(c)
	}
}

// attempt makes one connection and serves it to its end. It returns how that
// came, and the token that was last used.
func (s *Socket) attempt(r *run, pending **refused) (ending, tokens.Token) {
	ctx, cancel := context.WithTimeoutCause(r.ctx, s.cfg.ConnectTimeout, errConnectTimeout)
	defer cancel()
	token, user, err := s.credential(ctx, pending)
	if err != nil {
		return ending{err: timedOut(ctx, &sourceError{err})}, token
	}
	s.mu.Lock()
	makeAuth := s.auth
	s.mu.Unlock()
	auth, err := makeAuth(ctx, token)
	if err != nil {
		return ending{err: timedOut(ctx, &sourceError{fmt.Errorf("client: auth payload: %w", err)})}, token
	}
	c, err := s.dial(ctx, token, auth, s.tokenQuery(token))
	if err != nil {
		return ending{err: timedOut(ctx, err)}, token
	}
	c.user = user
	_, c.told = s.client.cfg.Source.(sessioned)
	return c.serve(r, ctx)
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
