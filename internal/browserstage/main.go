// Command browserstage has the servers that tests in a real browser talk to.
// Each serves the pages of one folder besides, so that they are of its origin:
//
//   - trouble is a server of package holdfasttest, which can be told to misbehave;
//   - accounts is one as "holdfast serve" runs it, with accounts and cookies;
//   - other has nothing but the pages: a second origin, and as "localhost" a
//     second site.
//
// It prints their addresses as one line of JSON, then takes one command a line
// from its input and answers each by a line: {"ok":true,…} or {"ok":false,"error":…}.
// It ends with its input.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/holdfasttest"
	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/standalone"
)

// maxCommand bounds one line of input.
const maxCommand = 1 << 20

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "browserstage:", err)
		os.Exit(1)
	}
}

func run() error {
	pages := flag.String("pages", ".", "the folder with the pages")
	lifetime := flag.Duration("lifetime", 5*time.Second, "of access tokens")
	flag.Parse()
	st, err := open(*pages, *lifetime)
	if err != nil {
		return err
	}
	defer st.close()
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(map[string]string{"trouble": st.trouble.URL, "accounts": st.accountsURL, "other": st.otherURL}); err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxCommand)
	for lines.Scan() {
		answer := map[string]any{"ok": true}
		if err := st.command(lines.Bytes(), answer); err != nil {
			answer = map[string]any{"ok": false, "error": err.Error()}
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
	return lines.Err()
}

// stage is the servers.
type stage struct {
	trouble     *holdfasttest.Server
	accounts    *standalone.Standalone
	accountsURL string
	recorded    *record // what came to accounts
	otherURL    string
	data        string
	servers     []*http.Server

	mu    sync.Mutex // guards what follows
	added []json.RawMessage
	held  chan struct{} // answers of "add" wait for its close; nil: they don't
}

func open(pages string, lifetime time.Duration) (st *stage, err error) {
	st = &stage{}
	defer func() {
		if err != nil {
			st.close()
		}
	}()
	files := http.FileServer(http.Dir(pages))
	if st.trouble, err = holdfasttest.NewServer(holdfasttest.Config{TCP: true, Lifetime: lifetime, Setup: st.setup}); err != nil {
		return st, err
	}
	st.trouble.Handle("/pages/", http.StripPrefix("/pages/", files))
	st.trouble.Handle("/app/me", st.trouble.Require(http.HandlerFunc(me)))
	if st.data, err = os.MkdirTemp("", "browserstage-"); err != nil {
		return st, err
	}
	if err := st.openAccounts(files, lifetime); err != nil {
		return st, err
	}
	other := http.NewServeMux()
	other.Handle("/pages/", http.StripPrefix("/pages/", files))
	st.otherURL, err = st.listen(other)
	return st, err
}

func (st *stage) openAccounts(files http.Handler, lifetime time.Duration) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	st.accountsURL = "http://" + listener.Addr().String()
	st.accounts, err = standalone.New(context.Background(), standalone.Config{
		Config:   server.Config{PublicURL: st.accountsURL, Logger: slog.New(slog.DiscardHandler)},
		Identity: &identity.Config{Dir: st.data, SignUp: identity.SignUpOpen, AccessTokenLifetime: lifetime},
	})
	if err != nil {
		_ = listener.Close() // nobody uses it
		return err
	}
	st.setup(st.accounts.Server)
	mux := http.NewServeMux()
	mux.Handle("/pages/", http.StripPrefix("/pages/", files))
	mux.Handle("/app/me", st.accounts.Require(http.HandlerFunc(me)))
	mux.Handle("/", st.accounts)
	st.recorded = &record{next: mux}
	st.serve(listener, st.recorded)
	return nil
}

// setup is the application: "add" keeps its payload and answers how many there
// are, unless answers are held; "echo" answers it.
func (st *stage) setup(srv *server.Server) {
	server.Handle(srv, "add", func(ctx context.Context, _ *server.Conn, v json.RawMessage) (int, error) {
		st.mu.Lock()
		st.added = append(st.added, v)
		n, held := len(st.added), st.held
		st.mu.Unlock()
		if held != nil {
			select {
			case <-held:
			case <-ctx.Done():
			}
		}
		return n, nil
	})
	server.Handle(srv, "echo", func(_ context.Context, _ *server.Conn, v json.RawMessage) (json.RawMessage, error) { return v, nil })
}

// me answers who is calling, to any method.
func me(w http.ResponseWriter, r *http.Request) {
	identity, _ := holdfast.IdentityFrom(r.Context())
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"user": identity.User}) // the page has gone
}

func (st *stage) listen(h http.Handler) (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	st.serve(listener, h)
	return "http://" + listener.Addr().String(), nil
}

func (st *stage) serve(listener net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	st.servers = append(st.servers, s)
	go s.Serve(listener) //nolint:errcheck // ends with close
}

func (st *stage) close() {
	if st.accounts != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = st.accounts.Shutdown(ctx) // the process ends
	}
	for _, s := range st.servers {
		_ = s.Close()
	}
	if st.trouble != nil {
		_ = st.trouble.Close()
	}
	if st.data != "" {
		_ = os.RemoveAll(st.data)
	}
}

// command is what a line of input may say: Do, and what belongs to it. Times
// are milliseconds.
type command struct {
	Do         string          `json:"do"`
	Path       string          `json:"path"` // refresh, signIn, signOut, sockets, any, or as it is
	Status     int             `json:"status"`
	Code       holdfast.Code   `json:"code"`
	Times      int             `json:"times"`
	For        int64           `json:"for"`
	RetryAfter int64           `json:"retryAfter"`
	User       string          `json:"user"`
	How        string          `json:"how"`
	Room       string          `json:"room"`
	Event      string          `json:"event"`
	Data       json.RawMessage `json:"data"`
}

func (c *command) path() string {
	switch c.Path {
	case "refresh":
		return holdfasttest.Refresh
	case "signIn":
		return holdfasttest.SignIn
	case "signOut":
		return holdfasttest.SignOut
	case "sockets":
		return holdfasttest.Sockets
	case "any", "":
		return holdfasttest.Any
	}
	return c.Path
}

// requests are what came to the server trouble, pages left out.
func requests(log []holdfasttest.Request) []request {
	out := []request{}
	for _, r := range log {
		if !strings.HasPrefix(r.Path, "/pages/") {
			out = append(out, request{Method: r.Method, Path: r.Path, Status: r.Status})
		}
	}
	return out
}

// hold makes the answers of "add" wait, or no more.
func (st *stage) hold(yes bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.held != nil {
		close(st.held)
		st.held = nil
	}
	if yes {
		st.held = make(chan struct{})
	}
}

// command does what a line says to the server trouble, but for "state" and
// "recorded", which put what has happened there, and at accounts, into answer.
func (st *stage) command(line []byte, answer map[string]any) error {
	var c command
	d := json.NewDecoder(strings.NewReader(string(line)))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return err
	}
	s := st.trouble
	length := time.Duration(c.For) * time.Millisecond
	switch c.Do {
	case "state":
		st.mu.Lock()
		defer st.mu.Unlock()
		answer["added"] = append([]json.RawMessage{}, st.added...)
		answer["refreshes"], answer["signOuts"], answer["connections"] = s.Refreshes(), s.SignOuts(), s.Connections()
		answer["requests"] = requests(s.Log())
	case "recorded":
		answer["requests"] = st.recorded.all()
	case "signIn":
		session := s.SignIn(c.User)
		answer["accessToken"], answer["refreshToken"] = session.Access, session.Refresh
		answer["sessionId"], answer["expiresIn"], answer["user"] = session.SessionID, session.Lifetime.Seconds(), session.User
	case "issue":
		answer["accessToken"] = s.Issue(auth.Claims{User: c.User})
	case "fail":
		s.Fail(c.path(), holdfasttest.Failure{
			Status: c.Status, Code: c.Code, Times: c.Times, For: length, RetryAfter: time.Duration(c.RetryAfter) * time.Second,
		})
	case "slow":
		s.Slow(c.path(), length)
	case "slowReplies":
		s.SlowReplies(c.path(), length)
	case "dropRequests":
		s.DropRequests(c.path(), c.Times)
	case "dropReplies":
		s.DropReplies(c.path(), c.Times)
	case "dropAcks":
		s.DropAcks(c.Times)
	case "refuseFresh":
		s.RefuseFresh(c.Times)
	case "refuse":
		s.Refuse(c.Code, c.Times)
	case "expire":
		s.Expire()
	case "heal":
		s.Heal()
		st.hold(false)
	case "hold":
		st.hold(true)
	case "revoke":
		return s.Revoke(c.User)
	case "bump":
		return s.Bump(c.User)
	case "close":
		s.CloseAll(c.Status, string(c.Code))
	case "end":
		s.End(c.Code)
	case "silence":
		s.Silence()
	case "stop":
		return s.Stop()
	case "start":
		return s.Start()
	case "publish":
		_, err := s.Server().Publish(context.Background(), c.Room, c.Event, c.Data)
		return err
	default:
		return fmt.Errorf("no such command: %q", c.Do)
	}
	return nil
}
