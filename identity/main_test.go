package identity

import (
	"bytes"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/pgtest"
)

// postgres is one server for all tests, started by the first that wants it.
var postgres struct {
	sync.Mutex
	server *pgtest.Server
}

func TestMain(m *testing.M) {
	if os.Getenv(outboxEnv) != "" {
		os.Exit(publishForEver())
	}
	if os.Getenv(crashEnv) != "" {
		os.Exit(refreshForEver())
	}
	code := m.Run()
	if postgres.server != nil {
		if err := postgres.server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// newPostgres makes an empty database; the URL is good until the test ends.
func newPostgres(t testing.TB) string {
	t.Helper()
	return makePostgres(t, (*pgtest.Server).Create)
}

// makePostgres starts the server if need be, and drops what is made when the
// test ends.
func makePostgres(t testing.TB, create func(*pgtest.Server) (string, error)) string {
	t.Helper()
	postgres.Lock()
	defer postgres.Unlock()
	if postgres.server == nil {
		server, err := pgtest.Start(pgtest.Config{})
		if err != nil {
			t.Fatal(err)
		}
		postgres.server = server
	}
	url, err := create(postgres.server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := postgres.server.Drop(url); err != nil {
			t.Error(err)
		}
	})
	return url
}

// migrated holds databases with the schema and nothing else, made by the first
// test that wants one. Most tests have copies: to migrate takes longer than many
// a test. Those of the migrations and of real processes begin with nothing.
var migrated struct {
	sync.Mutex
	sqlite   []byte // the file
	postgres string // the URL
}

// newDatabase returns a Config with a database of the kind that has its schema.
func newDatabase(t *testing.T, kind string) Config {
	t.Helper()
	cfg := Config{Dir: t.TempDir()}
	if kind == "postgres" {
		cfg.Database = makePostgres(t, func(s *pgtest.Server) (_ string, err error) {
			migrated.Lock()
			defer migrated.Unlock()
			if migrated.postgres == "" {
				if migrated.postgres, err = s.Create(); err != nil {
					return "", err
				}
				migrate(t, Config{Database: migrated.postgres})
			}
			return s.Copy(migrated.postgres)
		})
		return cfg
	}
	migrated.Lock()
	defer migrated.Unlock()
	if migrated.sqlite == nil {
		dir := t.TempDir()
		migrate(t, Config{Dir: dir})
		file, err := os.ReadFile(filepath.Join(dir, sqliteFile))
		noError(t, err)
		migrated.sqlite = file
	}
	noError(t, os.WriteFile(filepath.Join(cfg.Dir, sqliteFile), migrated.sqlite, 0o600))
	return cfg
}

func migrate(t *testing.T, cfg Config) {
	t.Helper()
	db, err := openDatabase(cfg, nil)
	noError(t, err)
	noError(t, db.migrate(t.Context()))
	noError(t, db.close())
}

// harness is a provider on one kind of database, in a synctest bubble: the
// clock is fake, the database is real. SQLite's driver is plain Go, and a
// goroutine that waits for PostgreSQL's socket keeps the clock from moving.
type harness struct {
	t   *testing.T
	cfg Config
	*Provider

	wrap func(driver.Connector) driver.Connector

	mu      sync.Mutex // guards what follows
	revoked []auth.Revocation
	bumped  []auth.Bump
	mails   []Mail
	log     bytes.Buffer
	secrets []string // that must not be in the log
}

// eachDatabase runs the test with SQLite and with PostgreSQL. change may
// change the configuration; nil for none.
func eachDatabase(t *testing.T, change func(*Config), do func(t *testing.T, h *harness)) {
	t.Helper()
	for _, kind := range []string{"sqlite", "postgres"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			cfg := newDatabase(t, kind)
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t, cfg, change)
				h.open()
				do(t, h)
			})
		})
	}
}

func newHarness(t *testing.T, cfg Config, change func(*Config)) *harness {
	h := &harness{t: t}
	cfg.SignUp = SignUpOpen
	cfg.PublicURL = "https://example.com"
	cfg.Argon2 = Argon2{Memory: 64, Time: 1, Threads: 1, Parallel: 4}
	cfg.WatchInterval, cfg.CleanInterval = -1, -1
	cfg.Mailer = h
	cfg.OnRevoke = func(r auth.Revocation) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.revoked = append(h.revoked, r)
	}
	cfg.OnBump = func(b auth.Bump) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.bumped = append(h.bumped, b)
	}
	cfg.Logger = slog.New(slog.NewTextHandler(h, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if change != nil {
		change(&cfg)
	}
	h.cfg = cfg
	return h
}

// open opens the provider until the test ends, or close is called.
func (h *harness) open() {
	h.t.Helper()
	p, err := open(h.t.Context(), h.cfg, h.wrap)
	if err != nil {
		h.t.Fatal(err)
	}
	h.Provider = p
	h.t.Cleanup(h.close)
}

func (h *harness) close() {
	if h.Provider == nil {
		return
	}
	if err := h.Provider.Close(); err != nil {
		h.t.Error(err)
	}
	h.Provider = nil
	h.mu.Lock()
	defer h.mu.Unlock()
	log := h.log.String()
	for _, secret := range h.secrets {
		if strings.Contains(log, secret) {
			h.t.Error("the log holds a secret")
		}
	}
}

// another opens a second provider on the same database, as another process.
func (h *harness) another(change func(*Config)) *Provider {
	h.t.Helper()
	cfg := h.cfg
	cfg.OnRevoke, cfg.OnBump = nil, nil
	if change != nil {
		change(&cfg)
	}
	p, err := Open(h.t.Context(), cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			h.t.Error(err)
		}
	})
	return p
}

// Send keeps the mail: the harness is the Mailer.
func (h *harness) Send(_ context.Context, m Mail) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mails = append(h.mails, m)
	if m.Code != "" {
		h.secrets = append(h.secrets, m.Code)
	}
	return nil
}

// Write takes the log.
func (h *harness) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.Write(p)
}

// logged returns the log so far.
func (h *harness) logged() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.String()
}

// takeRevoked returns what OnRevoke was told since the last call.
func (h *harness) takeRevoked() []auth.Revocation {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.revoked
	h.revoked = nil
	return list
}

// revokedSessions returns the sessions that OnRevoke was told of since the
// last call, as a set.
func (h *harness) revokedSessions() map[string]bool {
	set := make(map[string]bool)
	for _, r := range h.takeRevoked() {
		set[r.Session] = true
	}
	return set
}

func (h *harness) takeBumped() []auth.Bump {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := h.bumped
	h.bumped = nil
	return list
}

// mail waits until all mails are delivered, and returns the last one since
// the last call; a zero Mail if there is none.
func (h *harness) mail() Mail {
	h.wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.mails) == 0 {
		return Mail{}
	}
	m := h.mails[len(h.mails)-1]
	h.mails = nil
	return m
}

// wait returns when the provider's goroutines have nothing left to do. A real
// database's socket is outside of the bubble, so that synctest.Wait waits for
// its answers as for anything else.
func (h *harness) wait() { synctest.Wait() }

const (
	goodPassword = "correct horse battery"
	firefox      = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
)

var home = Client{UserAgent: firefox, Addr: "192.0.2.1"}

// user makes an account with a password.
func (h *harness) user(email string) User {
	h.t.Helper()
	u, err := h.CreateUser(h.t.Context(), NewUser{Email: email, Password: goodPassword, Name: "Ann"})
	if err != nil {
		h.t.Fatal(err)
	}
	return u
}

// signIn signs in with the password.
func (h *harness) signIn(email string) Login {
	h.t.Helper()
	l, err := h.SignIn(h.t.Context(), SignInRequest{Email: email, Password: goodPassword}, home)
	if err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.secrets = append(h.secrets, goodPassword, l.AccessToken, l.RefreshToken, l.CookieSecret)
	return l
}

// wantCode fails unless err has the code; "" for no error.
func wantCode(t *testing.T, what string, err error, code holdfast.Code) {
	t.Helper()
	if got := holdfast.CodeOf(err); got != code {
		t.Errorf("%s: %q (%v), want %q", what, got, err, code)
	}
	if refusal, ok := errors.AsType[*holdfast.Error](err); ok && refusal.Code.Info().HTTP == 401 && !strings.Contains(refusal.Message, "Unauthorized") {
		t.Errorf("%s: message %q does not say Unauthorized", what, refusal.Message)
	}
}

// noError fails at once on an error.
func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// after lets time pass.
func after(d time.Duration) { <-time.After(d) }
