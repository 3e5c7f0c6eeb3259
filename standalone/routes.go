package standalone

import (
	"net/http"
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
	"github.com/holdfast-dev/holdfast/server"
)

// mount makes the accounts' routes, and puts the accounts into the server's
// configuration.
func (s *Standalone) mount(cfg *Config, own *identity.Config) error {
	h := cfg.AccountHTTP
	h.Prefix, h.PublicURL = cfg.Prefix, own.PublicURL
	h.AllowedOrigins, h.TrustedProxies = cfg.AllowedOrigins, cfg.TrustedProxies
	if h.Logger == nil {
		h.Logger = own.Logger
	}
	handler, err := identity.NewHandler(s.accounts, h)
	if err != nil {
		return err
	}
	s.handler = handler
	cfg.Authenticator = &admission{accounts: s.accounts, handler: handler, issuer: own.Issuer, other: cfg.Authenticator}
	if cfg.Revocations == nil {
		cfg.Revocations = s.accounts
	}
	if cfg.Bumps == nil {
		cfg.Bumps = s.accounts
	}
	if cfg.Events == nil {
		cfg.Events = s.accounts
	}
	return nil
}

// route lays out the routes around the server's own.
func (s *Standalone) route(cfg server.Config) {
	if cfg.Path == "" { // as the server has it
		cfg.Path = "/socket.io/"
	}
	if cfg.PlainPath == "" {
		cfg.PlainPath = "/ws"
	}
	if cfg.EventsPath == "" {
		cfg.EventsPath = "/events"
	}
	if cfg.TopicPath == "" {
		cfg.TopicPath = "/ws/topic"
	}
	mux := http.NewServeMux()
	mux.Handle("/", s.counted(s.Server))
	// Connections have a code for the end of their own, and Shutdown of the
	// server waits for them.
	for _, path := range []string{cfg.Path, strings.TrimSuffix(cfg.Path, "/"), cfg.PlainPath, cfg.TopicPath, cfg.EventsPath} {
		mux.Handle(path, s.Server)
	}
	mux.Handle("GET /healthz", s.Server)
	mux.HandleFunc("GET /readyz", s.ready)
	if s.handler != nil {
		for _, path := range s.handler.Paths() {
			next := http.Handler(s.handler)
			if cfg.Exchange != nil && strings.HasSuffix(path, tokenPath) {
				next = http.HandlerFunc(s.token)
			}
			mux.Handle(path, s.counted(next))
		}
	}
	s.routes = mux
}

// tokenPath, below the prefix, is the one call that accounts and sessions from
// elsewhere both answer.
const tokenPath = "/realtime/token"

// token answers it: whoever has a session cookie of the accounts is theirs.
func (s *Standalone) token(w http.ResponseWriter, r *http.Request) {
	if hasSession(r.Header) {
		s.handler.ServeHTTP(w, r)
		return
	}
	s.Server.ServeHTTP(w, r)
}

// counted keeps calls from outliving what they work with.
func (s *Standalone) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.requests.begin() {
			httpjson.WriteError(w, r, errDraining())
			return
		}
		defer s.requests.end()
		next.ServeHTTP(w, r)
	})
}

// ready answers GET /readyz: not while the database can't be reached.
func (s *Standalone) ready(w http.ResponseWriter, r *http.Request) {
	if s.accounts != nil && s.requests.begin() {
		err := s.accounts.Ready(r.Context())
		s.requests.end()
		if err != nil {
			s.log.ErrorContext(r.Context(), "not ready", "err", err)
			httpjson.WriteError(w, r, &holdfast.Error{Code: holdfast.ConnectionLimit, Message: "The database can't be reached", Err: err})
			return
		}
	}
	s.Server.ServeHTTP(w, r)
}

// ServeHTTP serves the connections and calls of the server and those of the
// accounts: everything of docs/protocol.md §3.
func (s *Standalone) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }
