package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"time"

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
	return l.keep(e, store, server, body.Email, answer)
}

// keep puts a new session in place of the one that there was, which it ends.
func (l *loginCmd) keep(e *environment, store sessionStore, server, email string, answer tokenAnswer) error {
	ctx, cancel := context.WithTimeout(e.ctx, l.Timeout)
	defer cancel()
	file, err := store.file(ctx, server)
	if file == nil {
		return err
	}
	if err == nil {
		_, err = file.Load(ctx)
	}
	if err != nil { // it is replaced
		e.note("%v", err)
		for _, path := range []string{file.Path(), store.folder(server) + ".json"} {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("can't delete %s: %w", path, reason(err))
			}
		}
	}
	session, err := l.manageFile(e, store, server, file)
	if err != nil {
		return err
	}
	defer session.Close()
	old, had := session.Session()
	if err := store.note(server, email); err != nil {
		return err
	}
	if err := session.SetTokens(ctx, tokens.Session{
		Access: answer.AccessToken, Refresh: answer.RefreshToken, User: answer.User, SessionID: answer.SessionID,
		Expires: time.UnixMilli(answer.ExpiresAt),
	}); err != nil {
		return err
	}
	if had {
		if err := session.endOld(ctx, old); err != nil {
			e.note("the session before could not be ended: %v", brief(err))
		}
	}
	e.note("logged in to %s as %s", server, email)
	return nil
}

type logoutCmd struct {
	connectFlags
	Local bool   `help:"Forget the session here without telling the server, where it stays."`
	URL   string `arg:"" optional:"" name:"url" help:"The server's address; without it, the only one there is a session with."`
}

// Run ends the session at the server, and forgets it.
func (l *logoutCmd) Run(e *environment) error {
	session, err := l.session(e, l.URL)
	if err != nil {
		return err
	}
	defer session.Close()
	ctx, cancel := context.WithTimeout(e.ctx, l.Timeout)
	defer cancel()
	if !l.Local {
		// The token may be too old to sign out with. A session that has ended
		// already needs no more.
		_, err := session.Token(ctx)
		if now, ok := session.Session(); err == nil && ok {
			err = session.endpoint.SignOut(ctx, now)
		}
		if err = failedCall(e, err, session.server); err != nil && exitCode(err) != exitUnauthenticated {
			return fmt.Errorf("%w; --local forgets the session here", err)
		}
	}
	if err := session.Clear(ctx); err != nil {
		return err
	}
	e.note("logged out of %s", session.server)
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
	session, err := w.session(e, w.URL)
	if err != nil {
		return err
	}
	defer session.Close()
	c, err := w.client(e, session.server, session.Manager, client.SocketConfig{})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(e.ctx, w.Timeout)
	defer cancel()
	answer, err := client.Get[*account](ctx, c, "/api/auth/session")
	if err == nil && answer == nil {
		err = tokens.ErrNone
	}
	if err != nil {
		return session.explain(failedCall(e, err, session.server))
	}
	return printJSON(e, answer)
}

// client makes a client of the server; source may be nil.
func (c *connectFlags) client(e *environment, address string, source tokens.Source, socket client.SocketConfig) (*client.Client, error) {
	transport, err := c.transport()
	if err != nil {
		return nil, err
	}
	cl, err := client.New(client.Config{
		BaseURL: address, Source: source, HTTPClient: &http.Client{Transport: transport},
		Header: http.Header{"User-Agent": {userAgent}}, Socket: socket,
		Logger: slog.New(slog.NewTextHandler(e.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return nil, usagef("%q is no address of a server, such as http://127.0.0.1:8080", address)
	}
	return cl, nil
}

// post calls the server without a token.
func post[T any](e *environment, c *connectFlags, server, path string, body any) (T, error) {
	var none T
	cl, err := c.client(e, server, nil, client.SocketConfig{})
	if err != nil {
		return none, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(e.ctx, c.Timeout)
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
