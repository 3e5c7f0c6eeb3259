// Package oauth2tokens stands between package tokens and golang.org/x/oauth2,
// both ways. It is apart so that nobody else links that module.
//
//   - Another library wants an oauth2.TokenSource: [From] makes one of a
//     tokens.Source, such as a tokens.Manager.
//   - There is an oauth2.TokenSource, and Holdfast's client is to use it: [To].
//   - A session came from an OAuth 2 provider by oauth2.Config, and a
//     tokens.Manager is to keep it: [Session] and [Refresh].
package oauth2tokens

import (
	"context"
	"errors"
	"net/http"
	"time"

	"golang.org/x/oauth2"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/refusal"
	"github.com/holdfast-dev/holdfast/tokens"
)

// From makes an oauth2.TokenSource of a Source. Since that has no context of
// its own, ctx is that of all calls. The result is asked at each use, as
// oauth2.Transport does; in an oauth2.ReuseTokenSource it would miss that a
// token was replaced before its time. Errors are the Source's.
func From(ctx context.Context, src tokens.Source) oauth2.TokenSource { return from{ctx, src} }

type from struct {
	ctx context.Context
	src tokens.Source
}

func (f from) Token() (*oauth2.Token, error) {
	t, err := f.src.Token(f.ctx)
	if err != nil {
		return nil, err
	}
	return &oauth2.Token{AccessToken: t.Access, TokenType: "Bearer", Expiry: t.Expires}, nil
}

// To makes a Source of an oauth2.TokenSource. It is asked at each use, and
// again after a refusal, which helps only where it has another token by then:
// most of those of golang.org/x/oauth2 give the same one until it expires. It
// does not hear contexts. An answer 400 or 401 of the token's server is final:
// holdfast.Unauthenticated. Any other error is passing.
func To(ts oauth2.TokenSource) tokens.Source {
	return tokens.Func(func(ctx context.Context) (tokens.Token, error) {
		if err := ctx.Err(); err != nil {
			return tokens.Token{}, err
		}
		t, err := ts.Token()
		if err != nil {
			return tokens.Token{}, coded(err)
		}
		if t.AccessToken == "" {
			return tokens.Token{}, tokens.ErrNone
		}
		return tokens.Token{Access: t.AccessToken, Expires: t.Expiry}, nil
	})
}

// Session makes of a token what Manager.SetTokens takes. Who the user is comes
// from the access token where it is a JWT; set it if you know better.
func Session(t *oauth2.Token) tokens.Session {
	s := tokens.Session{Access: t.AccessToken, Refresh: t.RefreshToken, Expires: t.Expiry}
	if t.ExpiresIn > 0 {
		s.Lifetime = time.Duration(min(t.ExpiresIn, maxExpiresIn)) * time.Second
	} else if !t.Expiry.IsZero() {
		// Expiry was made by this machine's clock, out of expires_in.
		s.Lifetime = max(time.Until(t.Expiry), time.Nanosecond)
	}
	return s
}

// maxExpiresIn is the longest lifetime in use, in seconds: a century.
const maxExpiresIn = 100 * 365 * 24 * 3600

// Refresh renews sessions with an OAuth 2 provider by its refresh tokens (RFC
// 6749 §6); it goes into tokens.Config. client makes the calls, nil for
// http.DefaultClient. An answer 400 or 401 is final, any other is tried again.
func Refresh(cfg *oauth2.Config, client *http.Client) tokens.RefreshFunc {
	return func(ctx context.Context, old tokens.Session) (tokens.Session, error) {
		if client != nil {
			ctx = context.WithValue(ctx, oauth2.HTTPClient, client)
		}
		if old.Refresh == "" {
			return tokens.Session{}, holdfast.Errorf(holdfast.Unauthenticated, "the session has no refresh token")
		}
		t, err := cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: old.Refresh}).Token()
		if err != nil {
			return tokens.Session{}, coded(err)
		}
		return Session(t), nil
	}
}

// coded gives an error a code where its meaning is known.
func coded(err error) error {
	e, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok || e.Response == nil {
		return err
	}
	code := holdfast.Internal
	switch e.Response.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized:
		code = holdfast.Unauthenticated
	case http.StatusTooManyRequests:
		code = holdfast.RateLimited
	}
	// RetrieveError's own text quotes the answer, which may hold anything.
	text := "the token's server answered " + e.Response.Status
	if e.ErrorCode != "" {
		text += " (" + e.ErrorCode + ")"
	}
	return &holdfast.Error{Code: code, Message: text, RetryAfter: refusal.RetryAfter(e.Response.Header.Get("Retry-After")), Err: errors.New("oauth2: " + text)}
}
