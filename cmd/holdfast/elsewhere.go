package main

import (
	"log/slog"
	"net/url"
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// elsewhereFlags name services that are asked who somebody is.
type elsewhereFlags struct {
	BetterAuthURL                 string `name:"better-auth-url" placeholder:"URL" group:"keys" help:"Sessions of the Better Auth at this address (its baseURL) are good: POST /api/realtime/token makes tokens of them, signed with the secret, which there must be."`
	IntrospectionURL              string `name:"introspection-url" placeholder:"URL" group:"keys" help:"Tokens are what the OAuth 2.0 server at this address knows (RFC 7662); it is asked about each."`
	IntrospectionClientID         string `name:"introspection-client-id" placeholder:"ID" group:"keys" help:"Who this server is there."`
	IntrospectionClientSecretFile string `name:"introspection-client-secret-file" placeholder:"FILE" group:"keys" help:"The secret in this file is what this server shows there."`
}

// asked fills in who is asked, and makes both on trial, so that their
// complaints come at once. Neither of them asks anything yet.
func (s *serveFlags) asked(p *plan, rooms *holdfast.RoomPermissions) error {
	var wrong problems
	if rooms == nil {
		rooms = everyRoom() // for the trial: plan has said that it is missing
	}
	if s.BetterAuthURL != "" {
		wrong.add(s.betterAuth(p, rooms))
	}
	if s.IntrospectionURL != "" {
		wrong.add(s.introspection(p, rooms))
	} else if s.IntrospectionClientID != "" || s.IntrospectionClientSecretFile != "" {
		wrong.add(usagef("introspection-client-id and introspection-client-secret-file are of no use without introspection-url"))
	}
	return wrong.err()
}

func (s *serveFlags) betterAuth(p *plan, rooms *holdfast.RoomPermissions) error {
	var wrong problems
	switch {
	case s.IntrospectionURL != "":
		wrong.add(usagef("better-auth-url and introspection-url don't go together: the tokens that are made of sessions are not known there"))
	case len(p.jwt.Secret) == 0 && !p.makeSecret:
		wrong.add(usagef("better-auth-url needs a secret, with which the tokens are signed that are made of its sessions: give --jwt-secret-file (try: openssl rand -hex 32), or HOLDFAST_JWT_SECRET"))
	}
	if s.UserClaim != "sub" {
		wrong.add(usagef("better-auth-url and user-claim %q don't go together: tokens that are made of sessions have the user's id in sub", s.UserClaim))
	}
	cfg := &auth.BetterAuthConfig{URL: s.BetterAuthURL, DefaultRooms: rooms, TrustedProxies: s.TrustedProxy}
	if err := httpURL("better-auth-url", cfg.URL); err != nil {
		wrong.add(err)
	} else if trial, err := auth.NewBetterAuth(*cfg); err != nil {
		wrong.add(usagef("better-auth-url: %s", complaint(err)))
	} else {
		_ = trial.Close() // always nil
	}
	p.betterAuth = cfg
	return wrong.err()
}

func (s *serveFlags) introspection(p *plan, rooms *holdfast.RoomPermissions) error {
	var wrong problems
	if p.secret != "" || s.JWKSURL != "" {
		wrong.add(usagef("introspection-url does not go together with jwt-secret-file, jwt-secret and jwks-url: one of them says which tokens are good"))
	}
	cfg := &auth.IntrospectionConfig{
		URL: s.IntrospectionURL, ClientID: s.IntrospectionClientID,
		Issuer: s.Issuer, Audience: s.Audience, UserClaim: s.UserClaim, DefaultRooms: rooms,
	}
	if s.IntrospectionClientID == "" || s.IntrospectionClientSecretFile == "" {
		wrong.add(usagef("introspection-url needs introspection-client-id and introspection-client-secret-file: nobody else may ask about tokens there"))
	} else {
		secret, err := readSecret(s.IntrospectionClientSecretFile)
		if err != nil {
			wrong.add(usagef("introspection-client-secret-file %s: %w", s.IntrospectionClientSecretFile, err))
		}
		cfg.ClientSecret = secret
		if err := httpURL("introspection-url", cfg.URL); err != nil {
			wrong.add(err)
		} else if trial, err := auth.NewIntrospection(*cfg); err != nil {
			wrong.add(usagef("introspection-url: %s", complaint(err)))
		} else {
			_ = trial.Close() // always nil
		}
	}
	p.introspection = cfg
	return wrong.err()
}

// httpURL looks at a URL, and quotes nothing of it.
func httpURL(flag, text string) error {
	if u, err := url.Parse(text); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return usagef("%s must be an https or http URL", flag)
	}
	return nil
}

// complaint is an error of package auth without what only programs know.
func complaint(err error) string { return strings.TrimPrefix(err.Error(), "auth: ") }

// foreign is what knows identities from elsewhere, and their sessions.
type foreign struct {
	authenticator auth.Authenticator // nil for none
	exchange      *auth.Exchange     // nil for none
	closers       []interface{ Close() error }
}

// close ends what it works with.
func (f *foreign) close() {
	for _, c := range f.closers {
		_ = c.Close() // always nil
	}
}

// foreign makes it of the plan, whose secret is complete by now.
func (s *serveFlags) foreign(p plan, log *slog.Logger) (f *foreign, err error) {
	f = &foreign{}
	defer func() {
		if err != nil {
			f.close()
			err = usageError{err: err}
		}
	}()
	if p.introspection != nil {
		p.introspection.Logger = log
		tokens, err := auth.NewIntrospection(*p.introspection)
		if err != nil {
			return f, err
		}
		f.authenticator, f.closers = tokens, append(f.closers, tokens)
		return f, nil
	}
	if !p.elsewhere() {
		return f, nil
	}
	p.jwt.Logger = log
	tokens, err := auth.NewJWT(p.jwt)
	if err != nil {
		return f, err
	}
	f.authenticator, f.closers = tokens, append(f.closers, tokens)
	if p.betterAuth == nil {
		return f, nil
	}
	p.betterAuth.Logger = log
	sessions, err := auth.NewBetterAuth(*p.betterAuth)
	if err != nil {
		return f, err
	}
	f.authenticator, f.closers = auth.BearerOrCookie{Bearer: tokens, Cookie: sessions}, append(f.closers, sessions)
	f.exchange, err = auth.NewExchange(auth.ExchangeConfig{
		Session: sessions, Key: auth.SigningKey{Secret: p.jwt.Secret}, Lifetime: s.AccessTokenLifetime,
		Issuer: s.Issuer, Audience: s.Audience,
	})
	return f, err
}
