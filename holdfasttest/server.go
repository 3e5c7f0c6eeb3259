package holdfasttest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/memnet"
	"github.com/holdfast-dev/holdfast/server"
)

// DefaultLifetime is how long access tokens are good where Config doesn't say.
const DefaultLifetime = 15 * time.Minute

// stopTimeout bounds how long handlers may take to end when the server stops.
const stopTimeout = 10 * time.Second

// Config configures a Server. The zero value is a server in memory, whose
// tokens are good for 15 minutes and allow every room.
type Config struct {
	// TCP: listen on 127.0.0.1, at a free port, instead of in memory.
	TCP bool
	// Server is the configuration of the real server. Its Authenticator, Bumps
	// and Revocations are the issuer's where they are nil, its Broker a memory
	// that lives over Stop and Start, and its Logger is silent. Limits of rates
	// and connections that are 0 are off, other than a real server's.
	Server server.Config
	// Setup registers what the application has on the real server: event
	// handlers, OnConnect. It is called by New and by each Start. Nil: nothing.
	Setup func(*server.Server)

	// Lifetime is how long access tokens are good: 15 min. It may be longer than
	// a real server allows.
	Lifetime time.Duration
	// Claims returns what the token of a user says beyond who he is; User,
	// Session and times in it are overwritten. Nil: every room, nothing else.
	Claims func(user string) auth.Claims
	// Password is everybody's. Empty: any will do.
	Password string
	// PublicKey signs by a key pair, which is at /.well-known/jwks.json, instead
	// of by a secret.
	PublicKey bool
	// Opaque: access tokens are texts without claims.
	Opaque bool
	// NoExpiry: answers don't say when a token expires; with Opaque nobody but
	// the server knows.
	NoExpiry bool
	// KeepRefresh: refresh tokens are not rotated: the answer to a refresh has
	// none, and the old one stays good.
	KeepRefresh bool
	// CSRF demands a CSRF token (X-CSRF-Token) of all calls that change something
	// and have no Authorization header, but for those of the issuer. GET CSRF gives it in this way alone: "header",
	// "body" or "cookie". Empty: in all of them, and nobody asks for it.
	CSRF string
	// Plain: to its sockets it is a Socket.IO server that knows nothing of
	// tokens: no auth:session, no in-place refresh, no auth:closing.
	Plain bool
}

// Server is a server that can be told to misbehave. All methods may be called
// from any goroutine, but for Stop, Start and Close, which one has to call.
type Server struct {
	// URL is where the server is: "http://holdfast.test" in memory, which only
	// Client and Dial reach.
	URL string
	// Secret is what tokens are signed with, unless Config.PublicKey is set.
	Secret []byte

	cfg       Config
	key       auth.SigningKey
	verifier  *auth.JWT
	transport *http.Transport
	mux       *http.ServeMux
	issuer    *issuer
	faults    *faults
	sockets   *sockets

	mu       sync.Mutex // guards what follows
	listener net.Listener
	http     *http.Server
	served   chan struct{} // closed when http.Serve has returned
	srv      *server.Server
	broker   *hub.Memory // nil where Config has one
	up       bool
	closed   bool
}

// New starts a server that ends with the test.
func New(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// NewServer starts a server outside a test: Close it after use. The error names
// the field of Config that is wrong.
func NewServer(cfg Config) (*Server, error) {
	if cfg.Lifetime < 0 {
		return nil, errors.New("holdfasttest: Config.Lifetime is negative")
	}
	switch cfg.CSRF {
	case "", "header", "body", "cookie":
	default:
		return nil, errors.New("holdfasttest: Config.CSRF is header, body or cookie")
	}
	if cfg.Lifetime == 0 {
		cfg.Lifetime = DefaultLifetime
	}
	s := &Server{URL: "http://holdfast.test", cfg: cfg, mux: http.NewServeMux(), sockets: newSockets(cfg.Plain)}
	if err := s.makeKeys(); err != nil {
		return nil, err
	}
	s.issuer = newIssuer(cfg)
	s.faults = newFaults()
	s.transport = &http.Transport{DialContext: s.dial, DisableKeepAlives: true}
	s.routes()
	if err := s.start(); err != nil {
		_ = s.stop()
		return nil, err
	}
	if cfg.TCP {
		s.URL = "http://" + s.listener.Addr().String()
	}
	return s, nil
}

// Server returns the real server of this moment: Start makes another one.
func (s *Server) Server() *server.Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.srv
}

// Client returns an HTTP client that reaches the server, whatever host a URL
// names, also for WebSocket handshakes. It has no cookies, and a connection for
// each request, so that no request is sent twice on its own.
func (s *Server) Client() *http.Client { return &http.Client{Transport: s.transport} }

// Dial connects to the server, for clients that bring their own HTTP.
func (s *Server) Dial(ctx context.Context) (net.Conn, error) { return s.dial(ctx, "tcp", "") }

func (s *Server) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.mu.Lock()
	l := s.listener
	s.mu.Unlock()
	if m, ok := l.(*memnet.Listener); ok {
		return m.Dial(ctx)
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", l.Addr().String())
}

// Handle adds a route of the application's, as http.ServeMux does; it stays
// over Stop and Start. Faults are done to it as to any other path.
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// Require protects a route: see server.Server.Require.
func (s *Server) Require(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Server().Require(next).ServeHTTP(w, r)
	})
}

// Start brings back a server that was stopped, at the same address.
func (s *Server) Start() error {
	s.mu.Lock()
	up, closed := s.up, s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return errors.New("holdfasttest: the server is closed")
	case up:
		return nil
	}
	return s.start()
}

func (s *Server) start() error {
	l, err := s.listen()
	if err != nil {
		return fmt.Errorf("holdfasttest: %w", err)
	}
	srv, err := s.newReal()
	if err != nil {
		l.Close()
		return err
	}
	hs := &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	done := make(chan struct{})
	s.faults.resume()
	s.mu.Lock()
	s.listener, s.http, s.served, s.srv, s.up = l, hs, done, srv, true
	s.mu.Unlock()
	go func() {
		defer close(done)
		_ = hs.Serve(l) // always ErrServerClosed: stop ends it
	}()
	return nil
}

// listen opens the listener; on TCP always at the same port.
func (s *Server) listen() (net.Listener, error) {
	if !s.cfg.TCP {
		return memnet.Listen(), nil
	}
	addr := "127.0.0.1:0"
	s.mu.Lock()
	if s.listener != nil {
		addr = s.listener.Addr().String()
	}
	s.mu.Unlock()
	return net.Listen("tcp", addr)
}

// newReal makes the real server, with what lives over restarts.
func (s *Server) newReal() (*server.Server, error) {
	cfg := s.cfg.Server
	if cfg.Authenticator == nil {
		cfg.Authenticator = auth.Func(s.authenticate)
	}
	if cfg.Bumps == nil {
		cfg.Bumps = s.issuer
	}
	if cfg.Revocations == nil {
		cfg.Revocations = s.issuer
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.MaxTokenLifetime == 0 {
		cfg.MaxTokenLifetime = maxLifetime
	}
	for _, limit := range []*int{&cfg.ConnectionsPerUser, &cfg.UnauthenticatedPerAddress} {
		if *limit == 0 {
			*limit = -1
		}
	}
	for _, limit := range []*float64{&cfg.MessageRate, &cfg.AdmissionRate, &cfg.TotalAdmissionRate} {
		if *limit == 0 {
			*limit = -1
		}
	}
	if cfg.Broker == nil {
		s.mu.Lock()
		if s.broker == nil {
			s.broker = hub.NewMemory(hub.MemoryConfig{})
		}
		cfg.Broker = s.broker
		s.mu.Unlock()
	}
	srv, err := server.New(cfg)
	if err != nil {
		return nil, err
	}
	srv.OnConnect(s.sockets.admitted)
	if s.cfg.Setup != nil {
		s.cfg.Setup(srv)
	}
	return srv, nil
}

// Stop ends the server as a crash does: nobody listens, and connections are cut
// without a word. Sessions, and the rooms' history, are kept: see Wipe.
func (s *Server) Stop() error {
	s.mu.Lock()
	up, hs, done, srv := s.up, s.http, s.served, s.srv
	s.up = false
	s.mu.Unlock()
	if !up {
		return nil
	}
	s.faults.interrupt() // answers that are slow are never given
	err := hs.Close()
	<-done
	s.sockets.cut()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if serr := srv.Shutdown(ctx); serr != nil {
		err = fmt.Errorf("holdfasttest: %w", serr)
	}
	s.faults.idle()
	return err
}

// Wipe makes the server forget the history of all rooms, which have a new
// epoch then. It has to be stopped.
func (s *Server) Wipe() error {
	s.mu.Lock()
	b, up := s.broker, s.up
	if !up {
		s.broker = nil
	}
	s.mu.Unlock()
	switch {
	case up:
		return errors.New("holdfasttest: Wipe: the server is running")
	case b == nil:
		return nil
	}
	return b.Close()
}

func (s *Server) stop() error {
	err := errors.Join(s.Stop(), s.Wipe())
	s.transport.CloseIdleConnections()
	return errors.Join(err, s.verifier.Close())
}

// Close ends the server for good. It returns when none of its goroutines runs.
func (s *Server) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if !first {
		return nil
	}
	return s.stop()
}
