package standalone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/webhook"
)

// Config configures a Standalone.
type Config struct {
	// Config is that of the server. Its Authenticator knows identities from
	// elsewhere: auth.NewJWT, or any other. It may be nil if Identity is set,
	// and else stands beside that. The first credential that is present
	// decides which is asked: a bearer token goes to the accounts if its iss
	// is theirs, and every other one to the Authenticator; then a session
	// cookie to the accounts; what has neither, to the Authenticator.
	//
	// Revocations, Bumps and Events are the accounts' where they are nil. APIKeys must
	// be nil: Keys says which there are.
	server.Config
	// Identity configures the accounts; nil: there are none. Its Issuer must
	// differ from that of tokens from elsewhere. PublicURL and Logger are the
	// server's where they are not set.
	Identity *identity.Config
	// AccountHTTP is how the accounts are served. Only its SameSite, rates,
	// Timeout and Logger count; all else of it is the server's.
	AccountHTTP identity.HTTPConfig
	// Keys are the API keys beside those of the accounts. The zero value:
	// none.
	Keys auth.APIKeysConfig
	// Webhooks are who else is told what happens, and asked what may happen;
	// without Targets nobody is. They are asked before functions that are added
	// with OnJoin and OnPublish. Where Outbox is nil it is the accounts'
	// database, or without accounts this process's memory. Logger and
	// TracerProvider are the server's where they are not set; where the server
	// has Metrics, they count what Observe is told.
	Webhooks webhook.Config
}

// Standalone is a server and its identity provider. It is an http.Handler,
// and safe for concurrent use.
type Standalone struct {
	// Server is for handlers of events, for publishing and for Require. Its
	// end is Shutdown of the Standalone.
	*server.Server

	// Static after New.
	accounts *identity.Provider  // nil for none
	handler  *identity.Handler   // nil for none
	webhooks *webhook.Dispatcher // nil for none
	measured *hookMetrics        // of webhooks; nil: nothing is measured
	log      *slog.Logger
	routes   http.Handler
	requests requests
}

// bumpTimeout bounds the reading of new rights for open connections.
const bumpTimeout = 10 * time.Second

// New opens the accounts, if there are to be any, and makes the server. ctx
// bounds that alone. It starts no listener: pass the Standalone to an
// http.Server, and call Shutdown at the end. The Authenticator that was given
// stays the caller's to close.
func New(ctx context.Context, cfg Config) (*Standalone, error) {
	if cfg.APIKeys != nil {
		return nil, errors.New("standalone: Config.APIKeys must be nil; Config.Keys says which API keys there are")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Standalone{log: cfg.Logger}
	if cfg.Identity == nil {
		if err := s.serve(cfg, nil); err != nil {
			return nil, err
		}
		return s, nil
	}
	own, err := accountsConfig(cfg)
	if err != nil {
		return nil, err
	}
	// The provider may have something to tell before there is a server. It
	// waits until there is, which reads what was revoked before only once.
	served := make(chan struct{})
	s.follow(&own, served)
	if s.accounts, err = identity.Open(ctx, own); err != nil {
		return nil, err
	}
	err = s.serve(cfg, &own)
	close(served)
	if err != nil {
		return nil, errors.Join(err, s.accounts.Close())
	}
	return s, nil
}

// accountsConfig is the configuration of the accounts, with what they have
// from the server's.
func accountsConfig(cfg Config) (identity.Config, error) {
	own := *cfg.Identity
	if own.PublicURL == "" {
		own.PublicURL = cfg.PublicURL
	}
	if own.Logger == nil {
		own.Logger = cfg.Logger
	}
	if own.Issuer == "" { // as identity has it: tokens are told apart by it
		if own.Issuer = own.PublicURL; own.Issuer == "" {
			own.Issuer = "holdfast"
		}
	}
	lifetime := own.AccessTokenLifetime
	if lifetime == 0 {
		lifetime = identity.DefaultAccessTokenLifetime
	}
	if cfg.MaxTokenLifetime > 0 && lifetime > cfg.MaxTokenLifetime {
		return own, fmt.Errorf("standalone: the accounts' tokens live %v, longer than MaxTokenLifetime (%v)", lifetime, cfg.MaxTokenLifetime)
	}
	return own, nil
}

// follow has the server act on what the accounts take back or change, from
// when served is closed.
func (s *Standalone) follow(own *identity.Config, served <-chan struct{}) {
	onRevoke, onBump := own.OnRevoke, own.OnBump
	own.OnRevoke = func(r auth.Revocation) {
		if <-served; s.Server != nil {
			s.Revoked(r)
		}
		if onRevoke != nil {
			onRevoke(r)
		}
	}
	own.OnBump = func(b auth.Bump) {
		if <-served; s.Server != nil {
			ctx, cancel := context.WithTimeout(context.Background(), bumpTimeout)
			defer cancel()
			s.Bumped(ctx, b)
		}
		if onBump != nil {
			onBump(b)
		}
	}
}

// serve makes the server and the routes. own is the accounts' configuration,
// nil without accounts.
func (s *Standalone) serve(cfg Config, own *identity.Config) error {
	keys := cfg.Keys
	if s.accounts != nil {
		if err := s.mount(&cfg, own); err != nil {
			return err
		}
		keys.Lookup = firstFound(s.accounts.LookupKey, cfg.Keys.Lookup)
	}
	if keys.Lookup != nil || len(keys.Static) > 0 || len(keys.Keys) > 0 {
		var err error
		if cfg.Config.APIKeys, err = auth.NewAPIKeys(keys); err != nil {
			return err
		}
	}
	srv, err := server.New(cfg.Config)
	if err != nil {
		return err
	}
	if err := s.openWebhooks(cfg); err != nil {
		return errors.Join(err, srv.Shutdown(context.Background())) // nobody has come yet
	}
	s.Server = srv
	s.hookUp()
	s.route(cfg.Config)
	return nil
}

// lookup finds the record of an API key: auth.APIKeysConfig.Lookup.
type lookup = func(ctx context.Context, id string) (*auth.APIKey, error)

// firstFound asks the accounts, and then the other one if there is one.
func firstFound(own, other lookup) lookup {
	if other == nil {
		return own
	}
	return func(ctx context.Context, id string) (*auth.APIKey, error) {
		if key, err := own(ctx, id); key != nil || err != nil {
			return key, err
		}
		return other(ctx, id)
	}
}

// Accounts returns the identity provider; nil if there is none.
func (s *Standalone) Accounts() *identity.Provider { return s.accounts }

// Shutdown drains the server as server.Server.Shutdown does, waits for the
// calls that are being answered and for the webhooks that are being delivered,
// and closes the accounts. When ctx ends first
// the rest is cut off, and ctx's error is returned. The listener is its
// owner's. The Standalone can't be used again.
func (s *Standalone) Shutdown(ctx context.Context) error {
	s.requests.stop()
	err := s.Server.Shutdown(ctx)
	if werr := s.requests.wait(ctx); err == nil {
		err = werr
	}
	// After the server, whose connections are told of as they end.
	if werr := s.closeWebhooks(ctx); err == nil {
		err = werr
	}
	if s.accounts != nil {
		err = errors.Join(err, s.accounts.Close())
	}
	return err
}

// errDraining answers the calls that come during Shutdown.
func errDraining() error {
	return &holdfast.Error{Code: holdfast.GoingAway, Message: "The server is going away", RetryAfter: time.Second}
}
