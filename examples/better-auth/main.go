// Command better-auth embeds Holdfast as the realtime server of an application
// whose users sign in with Better Auth. README.md says how to run both.
package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// config is what the flags and the environment say.
type config struct {
	appURL  string // where Better Auth is
	tokens  string // "exchange" or "jwks"
	apiKey  auth.Secret
	timeout time.Duration // of a question to Better Auth; 0: the default
	logger  *slog.Logger
}

func main() {
	cfg := config{apiKey: auth.Secret(os.Getenv("HOLDFAST_API_KEY")), logger: slog.Default()}
	addr := flag.String("addr", "127.0.0.1:8080", "where to listen")
	flag.StringVar(&cfg.appURL, "app", "http://127.0.0.1:3000", "where Better Auth is")
	flag.StringVar(&cfg.tokens, "tokens", "exchange", "exchange: sessions for our own tokens; jwks: tokens of Better Auth's jwt plugin")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", *addr)
	if err == nil {
		fmt.Printf("listening on http://%s\n", listener.Addr())
		err = run(ctx, cfg, listener)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, cfg config, listener net.Listener) error {
	defer listener.Close()
	if len(cfg.apiKey) == 0 {
		return errors.New("HOLDFAST_API_KEY is not set; README.md says how")
	}
	// With this key the todo API publishes, and ends connections.
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Static: cfg.apiKey})
	if err != nil {
		return err
	}
	var srv *server.Server
	switch cfg.tokens {
	case "exchange":
		sessions, err := newSessions(cfg)
		if err != nil {
			return err
		}
		defer sessions.Close()
		exchange, tokens, err := newExchange(sessions)
		if err != nil {
			return err
		}
		defer tokens.Close()
		// A token decides; where there is none, the session's cookie does.
		either := auth.BearerOrCookie{Bearer: tokens, Cookie: sessions}
		srv, err = server.New(server.Config{Authenticator: either, Exchange: exchange, APIKeys: keys, AllowedOrigins: []string{cfg.appURL}, Logger: cfg.logger})
		if err != nil {
			return err
		}
	case "jwks":
		none := holdfast.MustRoomList() // the tokens say which
		tokens, err := auth.NewJWT(auth.JWTConfig{
			JWKSURL: cfg.appURL + "/api/auth/jwks", Algorithms: []auth.Algorithm{auth.EdDSA},
			Issuer: cfg.appURL, Audience: []string{cfg.appURL}, DefaultRooms: &none, Logger: cfg.logger,
		})
		if err != nil {
			return err
		}
		defer tokens.Close()
		srv, err = server.New(server.Config{Authenticator: tokens, APIKeys: keys, AllowedOrigins: []string{cfg.appURL}, Logger: cfg.logger})
		if err != nil {
			return err
		}
	default:
		return fmt.Errorf("-tokens is exchange or jwks, not %q", cfg.tokens)
	}
	return serve(ctx, srv, &http.Server{Handler: srv, ReadHeaderTimeout: 10 * time.Second}, listener)
}

// newSessions asks Better Auth whose session a cookie is.
func newSessions(cfg config) (*auth.BetterAuth, error) {
	none := holdfast.MustRoomList()
	return auth.NewBetterAuth(auth.BetterAuthConfig{
		URL:          cfg.appURL,
		DefaultRooms: &none,
		Extend: func(_ context.Context, id *holdfast.Identity, _ auth.BetterAuthSession) (err error) {
			// Better Auth's ids are letters and digits: nothing in them is a pattern.
			id.Permissions.Rooms, err = holdfast.RoomList("todos:" + id.User)
			return err
		},
		Timeout: cfg.timeout,
		Logger:  cfg.logger,
	})
}

// newExchange makes tokens of sessions, and what verifies them. The key lives
// as long as the process: after a restart the clients exchange anew.
func newExchange(sessions *auth.BetterAuth) (*auth.Exchange, *auth.JWT, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	const issuer = "urn:example:realtime"
	key := auth.SigningKey{ID: rand.Text(), Private: private}
	exchange, err := auth.NewExchange(auth.ExchangeConfig{Session: sessions, Key: key, Issuer: issuer})
	if err != nil {
		return nil, nil, err
	}
	public, err := key.Public()
	if err != nil {
		return nil, nil, err
	}
	none := holdfast.MustRoomList()
	tokens, err := auth.NewJWT(auth.JWTConfig{Keys: []auth.Key{public}, Issuer: issuer, DefaultRooms: &none})
	return exchange, tokens, err
}

// serve serves until ctx ends, then lets the clients go in order.
func serve(ctx context.Context, srv *server.Server, httpServer *http.Server, listener net.Listener) error {
	failed := make(chan error, 1)
	go func() { failed <- httpServer.Serve(listener) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	err = errors.Join(err, srv.Shutdown(drain), httpServer.Shutdown(drain))
	if ctx.Err() != nil {
		<-failed // http.ErrServerClosed
	}
	return err
}
