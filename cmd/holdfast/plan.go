package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/identity"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/webhook"
)

// plan is what the flags of "serve" add up to. Making it changes nothing.
type plan struct {
	jwt    auth.JWTConfig // without the secret that --dev makes
	keys   auth.APIKeysConfig
	secret string // where the secret came from; "" for none
	// betterAuth and introspection are nil for none.
	betterAuth    *auth.BetterAuthConfig
	introspection *auth.IntrospectionConfig
	// accounts is nil for none.
	accounts *identity.Config
	webhooks webhook.Config
	// makeSecret says that the secret is the one that --dev makes.
	makeSecret bool
}

// elsewhere reports whether tokens of others than the accounts are good.
func (p plan) elsewhere() bool {
	return len(p.jwt.Secret) > 0 || p.jwt.JWKSURL != "" || p.makeSecret || p.introspection != nil
}

// plan works out the configuration. The error holds all that is wrong with it.
func (s *serveFlags) plan(e *environment) (plan, error) {
	var p plan
	var wrong problems
	check := wrong.add

	s.standardNames(e)
	accounts := s.withAccounts(e)
	others := s.JWKSURL != "" || s.IntrospectionURL != "" // they say which tokens are good
	key, err := s.configured(e, others || accounts && !s.Dev)
	check(err)
	p.secret = key.origin
	if err == nil && key.secret == nil && !others {
		p.makeSecret = s.Dev
		switch {
		case s.Dev:
			p.secret = s.devSecretPath()
		case !accounts && s.BetterAuthURL == "": // which says so itself
			check(errNoKey())
		}
	}
	needsRooms := err != nil || key.secret != nil || others || !accounts
	if s.Dev && key.secret == nil {
		check(s.loopback())
	}
	rooms, err := s.rooms(e)
	check(err)
	if err == nil && rooms == nil {
		if s.Dev {
			rooms = everyRoom()
		} else if needsRooms {
			check(usagef("default-rooms is not set, and nobody but you can know what a token that names no rooms may do: give --default-rooms '**' for every room, or patterns such as 'board-*,lobby', or '!**' for none"))
		}
	}
	p.jwt = auth.JWTConfig{
		Secret: key.secret, JWKSURL: s.JWKSURL, Issuer: s.Issuer, Audience: s.Audience, UserClaim: s.UserClaim, DefaultRooms: rooms,
	}
	check(s.asked(&p, rooms))
	p.keys, err = s.apiKeys(e)
	check(err)
	if accounts {
		p.accounts, err = s.accountsConfig(p, rooms)
		check(err)
	}
	p.webhooks, err = s.webhooks()
	check(err)
	check(s.tryOut(p))
	check(s.sane())
	return p, wrong.err()
}

func errNoKey() error {
	return usagef(`there is no key to check tokens by. Give one of:
  --jwt-secret-file FILE  the secret that your backend signs tokens with (or the variable HOLDFAST_JWT_SECRET)
  --jwks-url URL          where your identity provider publishes its keys
  --introspection-url URL the OAuth 2.0 server that knows its tokens
  --accounts              to have accounts here, with keys made here
  --dev                   to try things out, with accounts and a secret made here`)
}

// loopback refuses a dev server with no secret of its own that others could
// reach.
func (s *serveFlags) loopback() error {
	host, _, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return nil // sane says so
	}
	if host == "localhost" {
		return nil
	}
	if addr, err := netip.ParseAddr(host); err == nil && addr.IsLoopback() {
		return nil
	}
	return usagef("--dev is for this machine alone, and addr %s can be reached from others: use 127.0.0.1, or give a secret of yours (--jwt-secret-file)", s.Addr)
}

// apiKeys are those given by flags.
func (s *serveFlags) apiKeys(e *environment) (cfg auth.APIKeysConfig, err error) {
	from := e.flags.of("api-key")
	for _, given := range s.APIKey {
		key := auth.Secret(given)
		if path, ok := strings.CutPrefix(given, "@"); ok {
			if key, err = readSecret(path); err != nil {
				return cfg, usagef("api-key from %s: file %s: %w", from, path, err)
			}
		}
		if len(key) < minAPIKey {
			return cfg, usagef("api-key from %s: a key needs at least %d characters (try: openssl rand -hex 16)", from, minAPIKey)
		}
		if err := addKey(&cfg, key); err != nil {
			return cfg, usagef("api-key from %s: %w", from, err)
		}
	}
	if _, err := auth.NewAPIKeys(cfg); err != nil {
		return cfg, usageError{err: err}
	}
	return cfg, nil
}

// minAPIKey is how short an API key may be, in bytes.
const minAPIKey = 16

// tryOut has the packages look at what they will be given, so that their
// complaints come at once and together. Nothing is fetched.
func (s *serveFlags) tryOut(p plan) error {
	var wrong problems
	if len(p.jwt.Secret) > 0 {
		trial := p.jwt
		trial.JWKSURL = "" // would be fetched
		trial.DefaultRooms = everyRoom()
		if _, err := auth.NewJWT(trial); err != nil {
			wrong.add(usagef("secret from %s: %w", p.secret, err))
		}
	}
	if s.JWKSURL != "" {
		wrong.add(httpURL("jwks-url", s.JWKSURL))
	}
	trial := s.config(slog.New(slog.DiscardHandler))
	trial.Authenticator = auth.Func(nil)
	if srv, err := server.New(trial); err != nil {
		wrong.add(usageError{err: err})
	} else {
		_ = srv.Shutdown(context.Background()) // has nothing to wait for
	}
	return wrong.err()
}

// sane checks what nobody else does.
func (s *serveFlags) sane() error {
	var wrong problems
	check := func(bad bool, format string, args ...any) {
		if bad {
			wrong.add(usagef(format, args...))
		}
	}
	_, _, err := net.SplitHostPort(s.Addr)
	check(err != nil, "addr %q must be HOST:PORT, such as 127.0.0.1:8080 or :8080", s.Addr)
	if s.AdminAddr != "" && s.AdminAddr != "off" {
		_, _, err := net.SplitHostPort(s.AdminAddr)
		check(err != nil, "admin-addr %q must be HOST:PORT, or off", s.AdminAddr)
	}
	check((s.TLSCert == "") != (s.TLSKey == ""), "tls-cert and tls-key go together: one of them is missing")
	for _, file := range [][2]string{{"tls-cert", s.TLSCert}, {"tls-key", s.TLSKey}} {
		if file[1] != "" {
			_, err := os.Stat(file[1])
			check(err != nil, "%s %s: %v", file[0], file[1], reason(err))
		}
	}
	check(s.DrainTimeout < 0, "drain-timeout can't be negative")
	check(s.PingInterval <= 0 || s.PingTimeout <= 0, "ping-interval and ping-timeout must be more than nothing")
	check(s.MaxPayload <= 0, "max-payload must be more than nothing")
	check(s.MessageRate < 0, "message-rate can't be negative")
	check(s.AdmissionRate < 0 || s.AddressAdmissionRate < 0, "admission-rate and address-admission-rate can't be negative")
	wrong.add(s.watchFlags.sane())
	check(s.AccessTokenLifetime < time.Second || s.AccessTokenLifetime > auth.DefaultMaxLifetime, "access-token-lifetime must be between 1s and %v", auth.DefaultMaxLifetime)
	return wrong.err()
}

// config is the configuration of the server, without who may come in.
func (s *serveFlags) config(log *slog.Logger) server.Config {
	policies, _ := s.policies() // sane says what is wrong with them
	return server.Config{
		RoomPolicies:       policies,
		PublicURL:          s.PublicURL,
		AllowedOrigins:     s.AllowedOrigin,
		TrustedProxies:     s.TrustedProxy,
		AllowQueryToken:    s.AllowQueryToken,
		PingInterval:       s.PingInterval,
		PingTimeout:        s.PingTimeout,
		MaxPayload:         s.MaxPayload,
		MessageRate:        unlimited(s.MessageRate),
		MessageBurst:       max(1, int(2*s.MessageRate)),
		AdmissionRate:      unlimited(s.AddressAdmissionRate),
		TotalAdmissionRate: unlimited(s.AdmissionRate),
		Compression:        s.Compression,
		Logger:             log,
	}
}

// unlimited makes a flag's 0 what a server.Config has for no limit.
func unlimited(rate float64) float64 {
	if rate == 0 {
		return -1
	}
	return rate
}

// addKey adds a key to those that are good for everything. Any number may
// have the form of made keys; there can be one of another form.
func addKey(cfg *auth.APIKeysConfig, key auth.Secret) error {
	if !auth.IsAPIKey(string(key)) {
		if len(cfg.Static) > 0 {
			return errors.New("of several keys all but one must have the form hfk_ID_SECRET")
		}
		cfg.Static = key
		return nil
	}
	id, secret, ok := strings.Cut(strings.TrimPrefix(string(key), "hfk_"), "_")
	if !ok || id == "" || len(secret) < minAPIKey {
		return fmt.Errorf("a key that begins with hfk_ must be hfk_ID_SECRET, with a secret of at least %d characters", minAPIKey)
	}
	cfg.Keys = append(cfg.Keys, auth.APIKey{
		ID: id, Hash: sha256.Sum256([]byte(secret)), Scopes: auth.AllScopes, Rooms: holdfast.MustRoomList("**"),
	})
	return nil
}
