package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/tokens"
)

// refresh gets new tokens for a session, and keeps them. The store's lock is
// held. A session that has ended is forgotten.
func refresh(e *environment, c *connectFlags, store sessionStore, saved *savedSession) (*savedSession, error) {
	body := struct {
		RefreshToken string `json:"refreshToken"`
	}{saved.RefreshToken}
	answer, err := post[tokenAnswer](e, c, saved.URL, "/api/auth/refresh", body)
	if err != nil {
		if exitCode(err) == exitUnauthenticated {
			err = errors.Join(err, store.remove(saved.URL))
		}
		return nil, err
	}
	if answer.AccessToken == "" || answer.RefreshToken == "" {
		return nil, fmt.Errorf("%s did not answer the refresh with tokens", saved.URL)
	}
	next := *saved
	next.AccessToken, next.ExpiresAt, next.RefreshToken = answer.AccessToken, answer.ExpiresAt, answer.RefreshToken
	return &next, store.save(&next)
}

// savedSource gives the tokens of a saved session, to this program and to
// others at once: what one of them has refreshed, the others find in the file.
type savedSource struct {
	e      *environment
	store  sessionStore
	server string
	flags  *connectFlags
}

var _ tokens.Refresher = (*savedSource)(nil)

// Token implements tokens.Source.
func (s *savedSource) Token(ctx context.Context) (tokens.Token, error) {
	saved, err := s.store.load(s.server)
	switch {
	case err != nil:
		return tokens.Token{}, err
	case saved == nil:
		return tokens.Token{}, s.ended()
	case saved.fresh():
		return saved.token(), nil
	}
	return s.renew(ctx, saved.AccessToken)
}

// Refused implements tokens.Refresher.
func (s *savedSource) Refused(ctx context.Context, refused tokens.Token, reason *holdfast.Error) (tokens.Token, error) {
	if reason.Code == holdfast.SessionRevoked || reason.Code == holdfast.RefreshReused {
		saved, err := s.store.load(s.server)
		if err == nil && saved != nil && saved.AccessToken == refused.Access {
			err = s.store.remove(s.server)
		}
		return tokens.Token{}, errors.Join(&tokens.RefusedError{Token: refused, Reason: reason}, err)
	}
	return s.renew(ctx, refused.Access)
}

// renew refreshes the session, unless its token is another than old already.
func (s *savedSource) renew(ctx context.Context, old string) (tokens.Token, error) {
	unlock, err := s.store.lock(ctx, s.server)
	if err != nil {
		return tokens.Token{}, err
	}
	defer unlock()
	saved, err := s.store.load(s.server)
	switch {
	case err != nil:
		return tokens.Token{}, err
	case saved == nil:
		return tokens.Token{}, s.ended()
	case saved.AccessToken != old && saved.fresh():
		return saved.token(), nil
	}
	// Not ctx, which ends with the one call that asked: an answer that nobody
	// waits for any more would be lost, and the refresh token with it.
	next, err := refresh(s.e, s.flags, s.store, saved)
	if err != nil {
		return tokens.Token{}, err
	}
	return next.token(), nil
}

func (s *savedSession) token() tokens.Token {
	return tokens.Token{Access: s.AccessToken, Expires: time.UnixMilli(s.ExpiresAt)}
}

func (s *savedSource) ended() error {
	return holdfast.Errorf(holdfast.Unauthenticated, "the session with %s has ended", s.server)
}

// explain says what to do about a session that has ended.
func (s *savedSource) explain(err error) error {
	if err != nil && exitCode(err) == exitUnauthenticated {
		return fmt.Errorf("%w: run \"holdfast login %s\"", err, s.server)
	}
	return err
}
