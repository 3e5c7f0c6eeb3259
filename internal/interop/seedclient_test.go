package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/socketio"
	"github.com/holdfast-dev/holdfast/standalone"
)

// TestSeedClient drives our server, accounts included, with the npm package
// realtimehttpauthclient 1.0.5.
func TestSeedClient(t *testing.T) {
	requireNode(t)
	const short = 2 * time.Second
	for scenario, lifetime := range map[string]time.Duration{ // of access tokens; 0: the default
		"token": 0, "cookie": 0, "csrf": 0, "rooms": 0, "acks": 0, "restart": 0, "forbidden": 0, "stale": 0, "signout": 0,
		"http": short, "expiry": short, "expired": short,
		"browser": 13 * time.Second, // over 10 s, or it refreshes again at once
	} {
		t.Run(scenario, func(t *testing.T) {
			t.Parallel()
			runSeedClient(t, newSeedServer(t, lifetime), scenario)
		})
	}
}

const seedPassword = "correct horse battery"

func runSeedClient(t *testing.T, s *seedServer, scenario string) {
	input, err := json.Marshal(map[string]any{"url": "http://" + s.address, "password": seedPassword, "leeway": auth.DefaultLeeway.Milliseconds()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "seedclient.mjs", scenario)
	cmd.Stdin = bytes.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		switch line := lines.Text(); line {
		case "stop":
			err = s.stop()
		case "start":
			err = s.start(ctx)
		default:
			err = errors.New("node said: " + line)
		}
		if err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
}

// seedServer is a standalone server on loopback with an application behind
// it, which can be stopped and started again at its address.
type seedServer struct {
	t       *testing.T
	cfg     standalone.Config
	address string
	todos   todoList // outlives the server, as a database would

	// Those of the last start; nil while it is stopped.
	sa   *standalone.Standalone
	http *http.Server
	done chan struct{} // closed when http has ended
}

func newSeedServer(t *testing.T, lifetime time.Duration) *seedServer {
	rooms := holdfast.MustRoomList("**", "!secret")
	s := &seedServer{t: t, address: "127.0.0.1:0"}
	s.cfg.Logger = slog.New(slog.DiscardHandler)
	s.cfg.Identity = &identity.Config{
		Dir: t.TempDir(), AccessTokenLifetime: lifetime, DefaultRooms: &rooms,
		Argon2: identity.Argon2{Memory: 64, Time: 1, Threads: 1},
	}
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.stop(); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"alice", "bob", "mallory"} {
		if _, err := s.sa.Accounts().CreateUser(t.Context(), identity.NewUser{Email: name + "@example.com", Name: name, Password: seedPassword}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// start starts the server, at the address that it had before.
func (s *seedServer) start(ctx context.Context) error {
	sa, err := standalone.New(ctx, s.cfg)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", s.address)
	if err != nil {
		return errors.Join(err, sa.Shutdown(ctx))
	}
	s.address = listener.Addr().String()
	s.sa, s.http, s.done = sa, &http.Server{Handler: s.application(sa)}, make(chan struct{})
	go func() { defer close(s.done); _ = s.http.Serve(listener) }() // until Close
	return nil
}

// stop drains the server. It may be called again.
func (s *seedServer) stop() error {
	if s.sa == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err := s.sa.Shutdown(ctx)
	err = errors.Join(err, s.http.Close())
	<-s.done
	s.sa = nil
	return err
}

// application is what seedclient.mjs talks to.
func (s *seedServer) application(sa *standalone.Standalone) http.Handler {
	sa.OnConnect(func(ctx context.Context, c *server.Conn) error {
		if c.Identity().Name == "mallory" {
			return holdfast.Errorf(holdfast.Forbidden, "Not with this token")
		}
		return nil
	})
	server.Handle(sa, "echo", func(_ context.Context, _ *server.Conn, in json.RawMessage) (json.RawMessage, error) { return in, nil })
	server.HandleRaw(sa, "raw", func(_ context.Context, _ *server.Conn, args socketio.Args) (socketio.Args, error) { return args, nil })
	server.Handle(sa, "rooms", func(_ context.Context, c *server.Conn, _ *struct{}) ([]string, error) {
		return append([]string{}, c.Rooms()...), nil // none is [], not null
	})
	server.Handle(sa, "refuse", func(context.Context, *server.Conn, struct{}) (int, error) {
		return 0, holdfast.Errorf(holdfast.Conflict, "That is taken")
	})
	server.Handle(sa, "fail", func(context.Context, *server.Conn, struct{}) (int, error) {
		return 0, errors.New("what is inside stays inside")
	})
	server.Handle(sa, "bump", func(ctx context.Context, c *server.Conn, _ *struct{}) (int, error) {
		b, err := sa.BumpPermissions(ctx, c.Identity().User)
		return int(b.Version), err
	})
	server.Handle(sa, "add", func(_ context.Context, c *server.Conn, text string) (int, error) {
		return len(s.todos.add(c.Identity().User, text)), nil
	})
	mux := http.NewServeMux()
	mux.Handle("/", sa)
	mux.Handle("GET /app/todos", sa.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := holdfast.IdentityFrom(r.Context())
		s.answer(w, http.StatusOK, s.todos.of(id.User))
	})))
	mux.Handle("POST /app/todos", sa.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, _ := holdfast.IdentityFrom(r.Context())
		var in struct{ Text string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.answer(w, http.StatusOK, s.todos.add(id.User, in.Text))
	})))
	mux.Handle("GET /app/forbidden", sa.Require(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.answer(w, http.StatusForbidden, map[string]string{"error": "Not for you", "code": "FORBIDDEN"})
	})))
	return mux
}

func (s *seedServer) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.t.Error(err)
	}
}

// todoList is the application's data.
type todoList struct {
	mu    sync.Mutex // guards lists
	lists map[string][]string
}

func (l *todoList) add(user, text string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lists == nil {
		l.lists = make(map[string][]string)
	}
	l.lists[user] = append(l.lists[user], text)
	return append([]string{}, l.lists[user]...)
}

func (l *todoList) of(user string) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, l.lists[user]...)
}
