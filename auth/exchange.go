package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// ExchangeConfig says what an Exchange gives for what. Session and Key must
// be set.
type ExchangeConfig struct {
	// Session proves an identity by a cookie session, as BetterAuth does.
	Session Authenticator
	// Key signs the tokens. The server's Authenticator must know it.
	Key SigningKey
	// Lifetime of the tokens; default DefaultTokenLifetime. A token never
	// outlives its session.
	Lifetime time.Duration
	// Issuer and Audience of the tokens; empty: none.
	Issuer   string
	Audience []string
}

// Exchange makes short-lived access tokens of cookie sessions: what POST
// /api/realtime/token does (docs/protocol.md §3). It is safe for concurrent
// use.
type Exchange struct{ cfg ExchangeConfig }

// NewExchange checks the configuration.
func NewExchange(cfg ExchangeConfig) (*Exchange, error) {
	if cfg.Session == nil {
		return nil, errors.New("auth: ExchangeConfig.Session is not set")
	}
	if _, err := cfg.Key.check(); err != nil {
		return nil, err
	}
	switch {
	case cfg.Lifetime < 0:
		return nil, errors.New("auth: ExchangeConfig.Lifetime is negative")
	case cfg.Lifetime == 0:
		cfg.Lifetime = DefaultTokenLifetime
	case cfg.Lifetime > DefaultMaxLifetime:
		return nil, fmt.Errorf("auth: ExchangeConfig.Lifetime is more than %v", DefaultMaxLifetime)
	}
	return &Exchange{cfg: cfg}, nil
}

// Format prints the type's name: inside is the signing key.
func (e *Exchange) Format(f fmt.State, _ rune) { printRedacted(f, "auth.Exchange"+redacted) }

// AccessToken is the answer of POST /api/realtime/token. The answer must not
// be cached. Printed or logged it shows without the token.
type AccessToken struct {
	AccessToken string `json:"accessToken"`
	// ExpiresIn is in whole seconds.
	ExpiresIn int64 `json:"expiresIn"`
	// ExpiresAt is in milliseconds since 1970.
	ExpiresAt int64 `json:"expiresAt"`
}

// Format prints that there is a token, and nothing of it.
func (a AccessToken) Format(f fmt.State, _ rune) { printRedacted(f, "auth.AccessToken"+redacted) }

// LogValue is the same for slog.
func (a AccessToken) LogValue() slog.Value { return slog.StringValue("auth.AccessToken" + redacted) }

// Token is Identify, then Mint. Who looks at the identity in between, such as
// a server for revocations, calls those.
func (e *Exchange) Token(ctx context.Context, c Credential) (AccessToken, error) {
	id, err := e.Identify(ctx, c)
	if err != nil {
		return AccessToken{}, err
	}
	return e.Mint(id)
}

// Identify returns the identity that the credential's cookies prove. Nothing
// else of it counts: a client asks for a new token because its old one is bad,
// and may send it along. The error is that of ExchangeConfig.Session.
func (e *Exchange) Identify(ctx context.Context, c Credential) (*holdfast.Identity, error) {
	header := make(http.Header, len(c.Header))
	for name, values := range c.Header {
		if name != "Authorization" {
			header[name] = values
		}
	}
	id, err := e.cfg.Session.Authenticate(ctx, Credential{Header: header, RemoteAddr: c.RemoteAddr, TLS: c.TLS})
	if err != nil {
		return nil, err
	}
	if id == nil || id.User == "" {
		return nil, refuse("", nil)
	}
	return id, nil
}

// Mint makes a token of id: its user, session (sid), shown fields and
// permissions, issued now. The error is UNAUTHENTICATED if id has less than
// a second left, and INTERNAL if no token can be made of it.
func (e *Exchange) Mint(id *holdfast.Identity) (AccessToken, error) {
	now := time.Now()
	expires := now.Add(e.cfg.Lifetime)
	if !id.Expires.IsZero() && id.Expires.Before(expires) {
		expires = id.Expires
	}
	expires = expires.Truncate(time.Second)
	if expires.Sub(now) < time.Second {
		return AccessToken{}, refuse("the session is over", nil)
	}
	token, err := Mint(e.cfg.Key, Claims{
		User: id.User, Name: id.Name, Email: id.Email, Roles: id.Roles, Session: id.Session,
		Issuer: e.cfg.Issuer, Audience: e.cfg.Audience, IssuedAt: now, Expires: expires,
		PermissionVersion: id.PermissionVersion,
		Permissions:       &ClaimedPermissions{Rooms: &id.Permissions.Rooms, Actions: id.Permissions.Actions},
	})
	if err == nil && len(token) > MaxToken {
		err = fmt.Errorf("auth: the token is larger than %d bytes: it has too many permissions or roles", MaxToken)
	}
	if err != nil {
		return AccessToken{}, holdfast.AsError(err)
	}
	return AccessToken{
		AccessToken: token,
		ExpiresIn:   int64(expires.Sub(now) / time.Second),
		ExpiresAt:   expires.UnixMilli(),
	}, nil
}
