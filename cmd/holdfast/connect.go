package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/tokens"
)

// tokenFlags say which token a client shows.
type tokenFlags struct {
	Token     string `secret:"" placeholder:"TOKEN|-" group:"client" help:"The token; - reads it from stdin. Better as a variable: command lines can be seen by others."`
	TokenFile string `placeholder:"FILE|-" group:"client" help:"Read the token from this file, anew whenever one is needed; - reads it from stdin."`
}

// clientFlags are those of the commands that connect a socket.
type clientFlags struct {
	tokenFlags
	connectFlags
}

// connectFlags are those of all commands that talk to a server.
type connectFlags struct {
	Timeout time.Duration `default:"10s" placeholder:"TIME" group:"client" help:"How long to try to reach the server, and to wait for an answer (default 10s)."`
	CAFile  string        `name:"ca-file" placeholder:"FILE" group:"client" help:"Trust servers that these certificates vouch for, PEM, instead of the system's."`
}

// maxTokenText bounds what is read as a token, line ends included.
const maxTokenText = 64 << 10

// usesStdin reports whether the token comes from stdin.
func (t *tokenFlags) usesStdin() bool { return t.Token == "-" || t.TokenFile == "-" }

// source returns where tokens come from; nil if no token was given.
func (t *tokenFlags) source(e *environment) (tokens.Source, error) {
	switch {
	case t.Token != "" && t.TokenFile != "":
		return nil, usagef("there are two tokens, from %s and from %s: keep one", e.flags.of("token"), e.flags.of("token-file"))
	case t.usesStdin():
		token, err := readToken(e.stdin)
		if err != nil {
			return nil, usagef("the token on stdin: %w", err)
		}
		return tokens.Static(token), nil
	case t.Token != "":
		return tokens.Static(t.Token), nil
	case t.TokenFile != "":
		read := func(context.Context) (tokens.Token, error) {
			token, err := readTokenFile(t.TokenFile)
			return tokens.New(token), err
		}
		_, err := read(e.ctx)
		return tokens.Func(read), err
	}
	return nil, nil
}

func readTokenFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", usagef("token-file %s: %w", path, reason(err))
	}
	defer f.Close()
	token, err := readToken(f)
	if err != nil {
		return "", usagef("token-file %s: %w", path, err)
	}
	return token, nil
}

// readToken reads one token, with or without space around it.
func readToken(r io.Reader) (string, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxTokenText))
	if err != nil {
		return "", reason(err)
	}
	token := string(bytes.TrimSpace(data))
	switch {
	case token == "":
		return "", errors.New("it is empty")
	case strings.ContainsAny(token, " \t\r\n"):
		return "", errors.New("there is more than one word; a token is one")
	}
	return token, nil
}

// connection is a connected socket, with what it takes to get rid of it.
type connection struct {
	client  *client.Client
	socket  *client.Socket
	login   *signedIn // nil if the token is from elsewhere
	without bool      // there is no token at all
	user    string    // of login, when it was opened
	address string
	notes   sync.WaitGroup
	final   chan error // holds why the socket stopped for good
}

// connect connects to the server at address, and notes trouble with the
// connection on stderr from then on.
func (c *clientFlags) connect(e *environment, address string) (*connection, error) {
	conn, err := c.open(e, address, client.SocketConfig{})
	if err != nil {
		return nil, err
	}
	if err := conn.up(e, c.Timeout); err != nil {
		conn.close()
		return nil, err
	}
	return conn, nil
}

// open prepares a connection.
func (c *clientFlags) open(e *environment, address string, cfg client.SocketConfig) (*connection, error) {
	conn := &connection{address: address, final: make(chan error, 1)}
	source, err := c.source(e)
	if err == nil && source == nil {
		if conn.login, err = c.saved(e, address); conn.login != nil {
			source, conn.user = conn.login.Manager, conn.login.User().ID
		}
	}
	if err != nil {
		return nil, err
	}
	conn.without = source == nil
	if conn.client, err = c.client(e, address, source, cfg); err != nil {
		if conn.login != nil {
			_ = conn.login.Close() // always nil
		}
		return nil, err
	}
	conn.socket = conn.client.Socket()
	changes, _ := conn.socket.Changes(64)
	conn.notes.Go(func() { conn.watch(e, changes) })
	if conn.login != nil {
		events, _ := conn.login.Events(16)
		conn.notes.Go(func() { conn.login.follow(e, events) })
	}
	return conn, nil
}

// up connects.
func (c *connection) up(e *environment, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(e.ctx, timeout)
	defer cancel()
	if err := c.socket.Connect(ctx); err != nil {
		return c.explain(e, err)
	}
	return nil
}

// saved returns the session that "login" has kept for the server at address;
// nil if there is none.
func (c *connectFlags) saved(e *environment, address string) (*signedIn, error) {
	server, err := serverURL(address)
	if err != nil {
		return nil, err
	}
	store, err := e.sessions()
	if err != nil || !store.has(server) {
		return nil, nil // nobody has logged in
	}
	return c.session(e, server)
}

// transport is the HTTP transport, which trusts the certificates of CAFile.
func (c *connectFlags) transport() (*http.Transport, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if c.CAFile == "" {
		return transport, nil
	}
	data, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, usagef("ca-file %s: %w", c.CAFile, reason(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, usagef("ca-file %s: there is no certificate in it", c.CAFile)
	}
	transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	return transport, nil
}

// watch notes trouble with the connection until the socket is closed: what it
// is, once for each kind, and that it is over.
func (c *connection) watch(e *environment, changes <-chan client.Change) {
	up, last := false, ""
	var since time.Time // of the trouble; zero for none
	for change := range changes {
		switch {
		case change.State == client.Connected:
			if !since.IsZero() && up {
				e.note("connected again, after %v", time.Since(since).Round(time.Millisecond))
			}
			up, last, since = true, "", time.Time{}
		case change.State != client.Disconnected || change.Err == nil:
		case change.Final:
			select {
			case c.final <- change.Err:
			default:
			}
		case exitCode(change.Err) == exitUnauthenticated: // a newer token may do, and if not that is an error
		default:
			what := "can't connect"
			if up && since.IsZero() {
				what = "the connection ended"
			}
			if since.IsZero() {
				since = time.Now()
			}
			if now := kind(change.Err); now != last {
				e.note("%s: %v; trying again", what, brief(change.Err))
				last = now
			}
		}
	}
}

// kind tells errors apart, without ports that change at each attempt.
func kind(err error) string {
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Op + " " + op.Err.Error()
	}
	return brief(err).Error()
}

// close says goodbye to the server and waits for all that runs.
func (c *connection) close() {
	_ = c.client.Close() // always nil
	<-c.socket.Done()
	if c.login != nil {
		_ = c.login.Close() // always nil
	}
	c.notes.Wait()
}

// brief is the server's own refusal where there is one, else what the network
// said.
func brief(err error) error {
	if refusal, ok := errors.AsType[*holdfast.Error](err); ok {
		return refusal
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op
	}
	return err
}

// explain turns the end of the connection into an error that says what to do.
func (c *connection) explain(e *environment, err error) error {
	if c.login != nil && e.ctx.Err() == nil && (exitCode(err) == exitUnauthenticated || errors.Is(err, client.ErrSignedOut)) {
		if !errors.Is(err, client.ErrSignedOut) {
			err = brief(err)
		}
		return c.login.explain(err)
	}
	return explain(e, err, c.address, c.without)
}

// explain turns the end of a connection into an error that says what to do.
func explain(e *environment, err error, address string, tokenless bool) error {
	if e.ctx.Err() != nil {
		return errInterrupted
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return err // a token file that has gone
	}
	refusal, ok := errors.AsType[*holdfast.Error](err)
	if !ok {
		return &unreachableError{address, err}
	}
	switch exitCodeOf(refusal.Code) {
	case exitUnauthenticated:
		if tokenless {
			return fmt.Errorf("the server wants a token: run \"holdfast login\" if it has accounts, or set HOLDFAST_TOKEN, or give --token-file; \"holdfast token mint\" makes one: %w", refusal)
		}
		return fmt.Errorf("the server refused the token: %w; \"holdfast token inspect\" shows what is in it, \"holdfast token mint\" makes another", refusal)
	case exitUnreachable:
		return &unreachableError{address, refusal}
	}
	return refusal
}

// unreachableError says that the server could not be reached.
type unreachableError struct {
	address string
	err     error
}

func (u *unreachableError) Error() string {
	return fmt.Sprintf("can't reach %s: %v; is the server running there?", u.address, brief(u.err))
}
func (u *unreachableError) Unwrap() error { return u.err }
