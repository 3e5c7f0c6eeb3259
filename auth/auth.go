// Package auth turns a credential into an Identity: tokens checked by a
// secret, by public keys or by a JWKS URL (NewJWT), API keys of backends
// (NewAPIKeys), or whatever an application's own Authenticator knows. It also
// makes tokens (Mint), for tests and for applications that issue their own.
//
// docs/protocol.md §1 says what a token holds and what is refused. Every
// refusal is a *holdfast.Error whose message contains "Unauthorized" and
// never the token.
package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// Credential is what somebody shows to be let in. Nothing in it has been
// checked.
//
// Its fields hold secrets. It prints and encodes without them.
type Credential struct {
	// Token is a bearer token that the caller has already chosen, such as the
	// one of an auth:refresh event, or one from a URL where that is allowed.
	// If it is set, it decides, and Payload and Header are not looked at.
	Token string `json:"-"`
	// Payload is the auth payload of a Socket.IO CONNECT as it was sent; nil
	// if there was none.
	Payload json.RawMessage `json:"-"`
	// Header is that of the request that opened the connection, or that
	// carries the call; it may be nil.
	Header http.Header `json:"-"`
	// RemoteAddr is the peer's address, as in http.Request.
	RemoteAddr string
	// TLS: the peer's connection to this process is encrypted. It settles
	// which cookies count where no public URL does.
	TLS bool
	// Method is that of the plain HTTP call which the credential came with; ""
	// for a connection. A cookie needs more than itself to change something.
	Method string
}

// FromRequest returns the credential that a plain HTTP request carries.
func FromRequest(r *http.Request) Credential {
	return Credential{Header: r.Header, RemoteAddr: r.RemoteAddr, TLS: r.TLS != nil, Method: r.Method}
}

// BearerToken returns the token that decides: Token, else "token" of the auth
// payload, else the Authorization header's, scheme Bearer. The first one that
// is present decides, even if it is bad. It returns "" if there is none: a
// payload token that is null or empty, and a header of another scheme, count
// as none. The error is UNAUTHENTICATED: what is there can't be a token.
func (c Credential) BearerToken() (string, error) {
	if c.Token != "" {
		return c.Token, nil
	}
	if token, err := payloadToken(c.Payload); token != "" || err != nil {
		return token, err
	}
	return headerToken(c.Header)
}

// WithQueryToken returns c with a token from a URL's query, which comes last:
// it is left out if c has any other bearer token, good or bad. Only for where
// such tokens are allowed.
func (c Credential) WithQueryToken(token string) Credential {
	if other, err := c.BearerToken(); other == "" && err == nil {
		c.Token = token
	}
	return c
}

func payloadToken(payload json.RawMessage) (string, error) {
	payload = bytes.TrimSpace(payload)
	if len(payload) == 0 || payload[0] != '{' {
		return "", nil
	}
	if err := jsonscan.Check(payload, jsonscan.Limits{}); err != nil {
		return "", refuse("malformed auth payload", err)
	}
	var token string
	seen := false
	for key, value := range members(payload) {
		if key != "token" {
			continue
		}
		if seen {
			return "", refuse("more than one token", nil)
		}
		seen = true
		if string(value) == "null" {
			continue
		}
		if value[0] != '"' {
			return "", refuse("token must be a string", nil)
		}
		token = string(jsonscan.Unquote(value))
	}
	return token, nil
}

func headerToken(h http.Header) (string, error) {
	values := h["Authorization"]
	switch len(values) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", refuse("more than one Authorization header", nil)
	}
	scheme, token, _ := strings.Cut(strings.TrimLeft(values[0], " \t"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", nil
	}
	token = strings.Trim(token, " \t")
	if token == "" || strings.ContainsAny(token, " \t,") {
		return "", refuse("malformed Authorization header", nil)
	}
	return token, nil
}

// Authenticator says who a credential's owner is. An application may bring
// its own: it may admit any auth payload, or none.
//
// It is called by many goroutines at once, and must end when ctx does. A
// refusal is a *holdfast.Error, made for instance by
// holdfast.Unauthenticated.New(); any other error counts as INTERNAL, which
// clients try again after. The Identity must not be changed afterwards.
type Authenticator interface {
	Authenticate(ctx context.Context, c Credential) (*holdfast.Identity, error)
}

// Func is an Authenticator that is one function.
type Func func(ctx context.Context, c Credential) (*holdfast.Identity, error)

// Authenticate calls f.
func (f Func) Authenticate(ctx context.Context, c Credential) (*holdfast.Identity, error) {
	return f(ctx, c)
}

// refuse makes the refusal that is shown: reason is a constant text about
// what is wrong, cause is for this side's logs.
func refuse(reason string, cause error) *holdfast.Error {
	message := "Unauthorized"
	if reason != "" {
		message += ": " + reason
	}
	return &holdfast.Error{Code: holdfast.Unauthenticated, Message: message, Err: cause}
}
