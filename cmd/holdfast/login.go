package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/tokens"
)

type loginCmd struct {
	connectFlags
	Email string `placeholder:"ADDRESS" help:"The account's e-mail address; else it is asked for."`
	URL   string `arg:"" name:"url" help:"The server's address, such as http://127.0.0.1:8080."`
}

// tokenAnswer is what a sign-in and a refresh answer.
type tokenAnswer struct {
	User         holdfast.User `json:"user"`
	SessionID    string        `json:"sessionId"`
	AccessToken  string        `json:"accessToken"`
	ExpiresAt    int64         `json:"expiresAt"`
	RefreshToken string        `json:"refreshToken"`
	Requires2FA  bool          `json:"requires2fa"`
}

// signIn is the body of POST /api/auth/sign-in.
type signIn struct {
	Email    string `json:"email"`
	Password string `json:"password"`
	TOTPCode string `json:"totpCode,omitempty"`
	Mode     string `json:"mode"`
}

// Run signs in, and keeps the session.
func (l *loginCmd) Run(e *environment) error {
	server, err := serverURL(l.URL)
	if err != nil {
		return err
	}
	store, err := e.sessions()
	if err != nil {
		return err
	}
	ask := e.prompt()
	body := signIn{Email: l.Email, Mode: "token"}
	if body.Email == "" {
		if body.Email, err = ask.word("E-mail"); err != nil {
			return err
		}
	}
	if body.Password, err = ask.secret("Password"); err != nil {
		return err
	}
	answer, err := post[tokenAnswer](e, &l.connectFlags, server, "/api/auth/sign-in", body)
	if err == nil && answer.Requires2FA {
		if body.TOTPCode, err = ask.secret("Code of the second factor"); err != nil {
			return err
		}
		answer, err = post[tokenAnswer](e, &l.connectFlags, server, "/api/auth/sign-in", body)
	}
	if err != nil {
		return noAccounts(err, server)
	}
	if answer.AccessToken == "" || answer.RefreshToken == "" {
		return fmt.Errorf("%s did not answer the sign-in with a session", server)
	}
	unlock, err := l.lock(e, store, server)
	if err != nil {
		return err
	}
	defer unlock()
	old, err := store.load(server)
	if err != nil {
		e.note("%v", err) // it is replaced
	}
	if err := store.save(&savedSession{
		URL: server, Email: body.Email, SessionID: answer.SessionID, AccessToken: answer.AccessToken,
		ExpiresAt: answer.ExpiresAt, RefreshToken: answer.RefreshToken,
	}); err != nil {
		return err
	}
	if old != nil {
		l.forget(e, old)
	}
	e.note("logged in to %s as %s", server, body.Email)
	return nil
}

// forget ends a session that was replaced, if the server can be told so.
func (l *loginCmd) forget(e *environment, old *savedSession) {
	if _, err := signOut(e, &l.connectFlags, old); err != nil {
		e.note("the session before could not be ended: %v", brief(err))
	}
}

// lock waits for other programs that refresh the session.
func (c *connectFlags) lock(e *environment, store sessionStore, server string) (func(), error) {
	ctx, cancel := context.WithTimeout(e.ctx, c.Timeout)
	defer cancel()
	return store.lock(ctx, server)
}

type logoutCmd struct {
	connectFlags
	Local bool   `help:"Forget the session here without telling the server, where it stays."`
	URL   string `arg:"" optional:"" name:"url" help:"The server's address; without it, the only one there is a session with."`
}

// Run ends the session at the server, and forgets it.
func (l *logoutCmd) Run(e *environment) error {
	saved, store, err := savedFor(e, l.URL)
	if err != nil {
		return err
	}
	unlock, err := l.lock(e, store, saved.URL)
	if err != nil {
		return err
	}
	defer unlock()
	if !l.Local {
		if saved, err = store.load(saved.URL); err != nil || saved == nil {
			return err // another program has just logged out
		}
		// The token may be too old to sign out with.
		if !saved.fresh() {
			saved, err = refresh(e, &l.connectFlags, store, saved)
		}
		if err == nil {
			_, err = signOut(e, &l.connectFlags, saved)
		}
		if err != nil && exitCode(err) != exitUnauthenticated { // then it has ended already
			return fmt.Errorf("%w; --local forgets the session here", err)
		}
		if saved == nil { // refresh has removed it
			e.note("logged out")
			return nil
		}
	}
	if err := store.remove(saved.URL); err != nil {
		return err
	}
	e.note("logged out of %s", saved.URL)
	return nil
}

type whoamiCmd struct {
	connectFlags
	URL string `arg:"" optional:"" name:"url" help:"The server's address; without it, the only one there is a session with."`
}

// account is what "whoami" prints.
type account struct {
	User    json.RawMessage `json:"user"`
	Session json.RawMessage `json:"session"`
}

// Run asks the server whose session it is.
func (w *whoamiCmd) Run(e *environment) error {
	saved, store, err := savedFor(e, w.URL)
	if err != nil {
		return err
	}
	source := &savedSource{e: e, store: store, server: saved.URL, flags: &w.connectFlags}
	c, err := w.client(e, saved.URL, source)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(e.ctx, w.Timeout)
	defer cancel()
	answer, err := client.Get[*account](ctx, c, "/api/auth/session")
	switch {
	case err != nil:
		return source.explain(failedCall(e, err, saved.URL))
	case answer == nil:
		return holdfast.Errorf(holdfast.Unauthenticated, "the session with %s has ended: run \"holdfast login %s\"", saved.URL, saved.URL)
	}
	return printJSON(e, answer)
}

// savedFor returns the session with the server at address, or the only one.
func savedFor(e *environment, address string) (*savedSession, sessionStore, error) {
	store, err := e.sessions()
	if err != nil {
		return nil, store, err
	}
	var saved *savedSession
	if address == "" {
		saved, err = store.only()
	} else if address, err = serverURL(address); err == nil {
		saved, err = store.load(address)
	}
	if err == nil && saved == nil {
		err = holdfast.Errorf(holdfast.Unauthenticated, "there is no session: run \"holdfast login URL\"")
	}
	return saved, store, err
}

// client makes a client of the server; source may be nil.
func (c *connectFlags) client(e *environment, address string, source tokens.Source) (*client.Client, error) {
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	cl, err := client.New(client.Config{
		BaseURL: address, Source: source, HTTPClient: &http.Client{Transport: transport},
		Header: http.Header{"User-Agent": {"holdfast (command line)"}}, // for the list of devices
		Logger: slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return nil, usagef("%q is no address of a server, such as http://127.0.0.1:8080", address)
	}
	return cl, nil
}

// post calls the server without a token.
func post[T any](e *environment, c *connectFlags, server, path string, body any) (T, error) {
	return postWith[T](e.ctx, e, c, server, path, nil, body)
}

// postWith calls the server with the token of source; nil for none.
func postWith[T any](ctx context.Context, e *environment, c *connectFlags, server, path string, source tokens.Source, body any) (T, error) {
	var none T
	cl, err := c.client(e, server, source)
	if err != nil {
		return none, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	answer, err := client.Post[T](ctx, cl, path, body)
	return answer, failedCall(e, err, server)
}

// failedCall says of a call that did not get through why.
func failedCall(e *environment, err error, server string) error {
	switch {
	case err == nil:
		return nil
	case e.ctx.Err() != nil:
		return errInterrupted
	case exitCode(err) == exitUnreachable:
		return &unreachableError{server, err}
	}
	return brief(err)
}

// noAccounts explains the refusal of a sign-in.
func noAccounts(err error, server string) error {
	if holdfast.CodeOf(err) == holdfast.NotFound {
		return fmt.Errorf("%s has no accounts (\"holdfast serve --accounts\"): %w", server, brief(err))
	}
	return err
}

// signOut ends a session at the server.
func signOut(e *environment, c *connectFlags, saved *savedSession) (json.RawMessage, error) {
	return postWith[json.RawMessage](e.ctx, e, c, saved.URL, "/api/auth/sign-out", tokens.Static(saved.AccessToken), nil)
}
