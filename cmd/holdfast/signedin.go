package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/tokens"
)

// signedIn is a session that "login" has kept. Its Manager shares it with all
// programs that use it: one refreshes, the others see that, and a logout.
type signedIn struct {
	*tokens.Manager
	server   string
	store    sessionStore
	file     *tokens.File
	endpoint *tokens.Endpoint
}

// userAgent is what the server's list of devices shows.
const userAgent = "holdfast (command line)"

// anotherLogin bounds the wait for a session that the file has already.
const anotherLogin = 5 * time.Second

// manage opens the session with a server, which need not be there. It is to be
// closed.
func (c *connectFlags) manage(e *environment, store sessionStore, server string) (*signedIn, error) {
	ctx, cancel := context.WithTimeout(e.ctx, c.Timeout)
	defer cancel()
	file, err := store.file(ctx, server)
	if err != nil {
		return nil, err
	}
	return c.manageFile(e, store, server, file)
}

func (c *connectFlags) manageFile(e *environment, store sessionStore, server string, file *tokens.File) (*signedIn, error) {
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	s := &signedIn{server: server, store: store, file: file}
	if s.endpoint, err = tokens.NewEndpoint(tokens.EndpointConfig{
		URL: server + "/api/auth/refresh", SignOutURL: server + "/api/auth/sign-out",
		Header: http.Header{"User-Agent": {userAgent}}, HTTPClient: &http.Client{Transport: transport},
	}); err != nil {
		return nil, err
	}
	s.Manager, err = tokens.NewManager(tokens.Config{
		Store: file, Refresh: s.endpoint.Refresh, RefreshTimeout: c.Timeout,
		Logger: slog.New(slog.DiscardHandler), // errors are returned, or noted by follow
	})
	return s, err
}

// session opens the session with the server at address, or the only one there
// is. It is to be closed. Without a session the error is UNAUTHENTICATED.
func (c *connectFlags) session(e *environment, address string) (*signedIn, error) {
	store, err := e.sessions()
	if err != nil {
		return nil, err
	}
	server := ""
	if address == "" {
		server, err = store.only()
	} else {
		server, err = serverURL(address)
	}
	if err != nil {
		return nil, err
	}
	if server == "" || !store.has(server) {
		return nil, holdfast.Errorf(holdfast.Unauthenticated, "there is no session: run \"holdfast login URL\"")
	}
	s, err := c.manage(e, store, server)
	if err != nil {
		return nil, err
	}
	if _, err := s.file.Load(e.ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%w; log in anew", err), s.Close())
	}
	return s, nil
}

// endOld ends a session at the server that another one has replaced here.
func (s *signedIn) endOld(ctx context.Context, old tokens.Session) error {
	if expired(old) { // it can't be ended with an expired token
		next, err := s.endpoint.Refresh(ctx, old)
		if err != nil {
			if tokens.Final(err) {
				err = nil // it has ended
			}
			return err
		}
		old = next
	}
	return s.endpoint.SignOut(ctx, old)
}

// expired reports whether the access token may be of no use any more.
func expired(old tokens.Session) bool {
	return old.Lifetime > 0 && time.Since(old.Received) >= old.Lifetime
}

// explain says what to do about a session that has ended.
func (s *signedIn) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, client.ErrSignedOut) && exitCode(err) != exitUnauthenticated:
		err = holdfast.Errorf(holdfast.Unauthenticated, "logged out of %s by another program", s.server)
	case errors.Is(err, tokens.ErrNone):
		err = holdfast.Errorf(holdfast.Unauthenticated, "the session with %s has ended", s.server)
	}
	if exitCode(err) == exitUnauthenticated {
		return fmt.Errorf("%w: run \"holdfast login %s\"", err, s.server)
	}
	return err
}

// renewed reports whether somebody has logged in anew, in place of the session
// that has ended.
func (s *signedIn) renewed(ctx context.Context, ended string) bool {
	kept, err := s.file.Load(ctx)
	if err != nil || kept == nil || kept.SessionID == ended {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, anotherLogin)
	defer cancel()
	events, stop := s.Events(1)
	defer stop()
	for s.SessionID() != kept.SessionID {
		select {
		case <-events:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// follow notes trouble with the session, once for each kind of it, until the
// Manager is closed.
func (s *signedIn) follow(e *environment, events <-chan tokens.Event) {
	last := ""
	for event := range events {
		switch event.Kind {
		case tokens.Failed:
			text := brief(event.Err).Error()
			if text != last {
				e.note("the session could not be renewed or kept; trying again: %s", text)
			}
			last = text
		case tokens.SignIn, tokens.Refreshed:
			last = ""
		}
	}
}
