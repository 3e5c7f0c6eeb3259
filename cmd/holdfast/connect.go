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
	client *client.Client
	socket *client.Socket
	source tokens.Source // nil for none
	notes  chan struct{} // closed when watch has ended
	final  chan error    // holds why the socket stopped for good
}

// connect connects to the server at address, and notes trouble with the
// connection on stderr from then on.
func (c *clientFlags) connect(e *environment, address string) (*connection, error) {
	source, err := c.source(e)
	if err == nil && source == nil {
		source, err = c.saved(e, address)
	}
	if err != nil {
		return nil, err
	}
	cl, err := c.client(e, address, source)
	if err != nil {
		return nil, err
	}
	conn := &connection{client: cl, socket: cl.Socket(), source: source, notes: make(chan struct{}), final: make(chan error, 1)}
	changes, _ := conn.socket.Changes(64)
	go conn.watch(e, changes)
	ctx, cancel := context.WithTimeout(e.ctx, c.Timeout)
	defer cancel()
	if err := conn.socket.Connect(ctx); err != nil {
		conn.close()
		return nil, conn.explain(e, err, address)
	}
	return conn, nil
}

// saved returns the tokens of the session that "login" has kept for the server
// at address; nil if there is none.
func (c *connectFlags) saved(e *environment, address string) (tokens.Source, error) {
	server, err := serverURL(address)
	if err != nil {
		return nil, err
	}
	store, err := e.sessions()
	if err != nil {
		return nil, nil // nobody has logged in
	}
	saved, err := store.load(server)
	if err != nil || saved == nil {
		return nil, err
	}
	return &savedSource{e: e, store: store, server: server, flags: c}, nil
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

// watch notes trouble with the connection until the socket is closed.
func (c *connection) watch(e *environment, changes <-chan client.Change) {
	defer close(c.notes)
	up := false
	for change := range changes {
		switch {
		case change.State == client.Connected:
			up = true
		case change.State != client.Disconnected || change.Err == nil:
		case change.Final:
			select {
			case c.final <- change.Err:
			default:
			}
		default:
			what := "can't connect"
			if up {
				what = "the connection ended"
			}
			up = false
			if exitCode(change.Err) != exitUnauthenticated { // else a newer token may do, and if not that is an error
				e.note("%s: %v; trying again in %v", what, brief(change.Err), change.RetryIn.Round(time.Millisecond))
			}
		}
	}
}

// close says goodbye to the server and waits for all that runs.
func (c *connection) close() {
	_ = c.client.Close() // always nil
	<-c.notes
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
func (c *connection) explain(e *environment, err error, address string) error {
	if saved, ok := c.source.(*savedSource); ok && exitCode(err) == exitUnauthenticated && e.ctx.Err() == nil {
		return saved.explain(brief(err))
	}
	return explain(e, err, address, c.source == nil)
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
