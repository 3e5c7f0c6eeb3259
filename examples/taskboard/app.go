package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/standalone"
)

// config is what the flags say. Only dir and addr are needed.
type config struct {
	dir           string        // the data folder; made if it is missing
	addr          string        // where it listens: for passkeys and for the page's examples
	publicURL     string        // as server.Config.PublicURL
	tokenLifetime time.Duration // of access tokens; 0: the default
	callRate      float64       // of HTTP calls a second and user; 0: the default
	page          string        // a folder with the page, for those who change it; without it, the one that is built in
	logger        *slog.Logger
}

// app is the task board: accounts, connections and calls. It is an
// http.Handler, and safe for concurrent use.
type app struct {
	*standalone.Standalone
	store  *store
	routes *http.ServeMux
	rates  rates // of the boards' calls

	stop context.CancelFunc // ends the outbox
	done sync.WaitGroup
}

// newApp opens the databases and starts the outbox. Shutdown lets the clients
// go, and then Close ends it all.
func newApp(ctx context.Context, cfg config) (*app, error) {
	if cfg.logger == nil {
		cfg.logger = slog.Default()
	}
	if cfg.callRate == 0 {
		cfg.callRate = defaultCallRate
	}
	if !(cfg.callRate > 0) {
		return nil, errors.New("-call-rate must be more than 0")
	}
	shown, err := newPage(cfg.page, cfg.url())
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.dir, 0o700); err != nil {
		return nil, err
	}
	s, err := openStore(ctx, cfg.dir)
	if err != nil {
		return nil, err
	}
	srv, err := standalone.New(ctx, cfg.standalone())
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	guard(srv.Server, s)
	handlers(srv.Server, s)
	a := &app{Standalone: srv, store: s, routes: http.NewServeMux(), rates: rates{rate: cfg.callRate}}
	calls := srv.Require(a.rates.limited(cfg.logger, newAPI(s, srv.Accounts(), cfg.logger).mux))
	for _, path := range []string{"/api/boards", "/api/boards/", "/api/links", "/api/todos", "/api/todos/"} {
		a.routes.Handle(path, calls)
	}
	shown.next = srv
	a.routes.Handle("GET /{$}", shown)
	a.routes.Handle("GET /{file}", shown)
	a.routes.Handle("/", srv)
	run, stop := context.WithCancel(context.Background())
	a.stop = stop
	letters := &outbox{store: s, srv: srv.Server, log: cfg.logger}
	a.done.Go(func() { letters.run(run) })
	return a, nil
}

// url is where people find the board.
func (c config) url() string {
	if c.publicURL != "" {
		return c.publicURL
	}
	return "http://" + c.addr
}

// standalone is the configuration of the server and the accounts. Everybody
// may have an account: what one may see is up to the boards' owners.
func (c config) standalone() standalone.Config {
	rooms := defaultRooms()
	accounts := &identity.Config{
		Dir: c.dir, SignUp: identity.SignUpOpen, DefaultRooms: &rooms,
		AccessTokenLifetime: c.tokenLifetime, RelyingPartyName: "Task board",
	}
	// Passkeys are bound to a name, which an address is not.
	if u, err := url.Parse(c.url()); err == nil && net.ParseIP(u.Hostname()) == nil && u.Hostname() != "" {
		accounts.RelyingParty, accounts.RelyingPartyOrigins = u.Hostname(), []string{u.Scheme + "://" + u.Host}
	}
	cfg := standalone.Config{Identity: accounts}
	cfg.PublicURL, cfg.Logger = c.publicURL, c.logger
	return cfg
}

// ServeHTTP serves the calls of the boards, and all of the server's.
func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.routes.ServeHTTP(w, r) }

// Close ends what is left after Shutdown, when all calls are over: what the
// rooms were not told yet, they are at the next start.
func (a *app) Close() error {
	a.stop()
	a.done.Wait()
	return a.store.close()
}
