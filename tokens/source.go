package tokens

import (
	"context"
	"fmt"

	"github.com/holdfast-dev/holdfast"
)

// Source gives the token to use now. It is called often, by several
// goroutines at once: at each request and at each connection attempt. A Source
// whose token is still good answers from memory.
//
// An error that holds a *holdfast.Error (or a holdfast.Code) is judged by its
// code: Unauthenticated, say, is final. Any other error counts as passing, like
// a network that is down: a request fails with it, a socket tries again later.
type Source interface {
	Token(ctx context.Context) (Token, error)
}

// Refresher is a Source that can get another token in place of one that the
// server has refused.
type Refresher interface {
	Source
	// Refused reports that the server refused the token for the given reason,
	// and returns the one to use instead. If the refused token isn't the
	// present one any more, that is the present one, without a refresh.
	// Several callers may report the same token at once: one refresh serves
	// them all, and a caller whose ctx ends returns without stopping it.
	//
	// The reason is never nil. With holdfast.SessionRevoked and
	// holdfast.RefreshReused the session is over: the source forgets its
	// tokens and returns an error. An error is final or passing as in Source;
	// after a passing one the client is still signed in.
	Refused(ctx context.Context, refused Token, reason *holdfast.Error) (Token, error)
}

// ErrNone is returned where there is no token. It is a case of
// holdfast.Unauthenticated.
var ErrNone = fmt.Errorf("tokens: there is no token: %w", holdfast.Unauthenticated)

// RefusedError says that the server refused a token and the source has no
// other. It is final. errors.Is finds the code of the reason.
type RefusedError struct {
	// Token is the one that was refused.
	Token Token
	// Reason is what the server said.
	Reason *holdfast.Error
}

// Error returns the reason, without the token.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("tokens: the server refused the %v and the source has no other: %v", e.Token, e.Reason)
}

// Unwrap returns the reason.
func (e *RefusedError) Unwrap() error { return e.Reason }

// Static is a Source of one token for ever, a JWT or any other text. When it
// expires nothing can be done: requests fail with a *RefusedError. The empty
// string is no token: ErrNone.
func Static(access string) Source { return static(New(access)) }

type static Token

func (s static) String() string   { return Token(s).String() }
func (s static) GoString() string { return Token(s).String() }

func (s static) Token(context.Context) (Token, error) {
	if s.Access == "" {
		return Token{}, ErrNone
	}
	return Token(s), nil
}

// Func is a Source made of a function. It is called at each use, and again
// after a refusal; it keeps the token itself if getting one is dear.
type Func func(ctx context.Context) (Token, error)

// Token calls f.
func (f Func) Token(ctx context.Context) (Token, error) { return f(ctx) }

// Text is a Source made of a function that knows no more than the token's text,
// which New makes a Token of. It is called as a Func is.
type Text func() (string, error)

// Token calls f.
func (f Text) Token(context.Context) (Token, error) {
	access, err := f()
	if err != nil {
		return Token{}, err
	}
	if access == "" {
		return Token{}, ErrNone
	}
	return New(access), nil
}

// Renew handles a refusal: it returns the token to use instead of refused. A
// Refresher is told. Any other source is asked again, unless the session is
// over (the action of the reason's code is holdfast.ActionSignedOut). Where
// there is no other token, the result is a *RefusedError.
func Renew(ctx context.Context, src Source, refused Token, reason *holdfast.Error) (Token, error) {
	var t Token
	var err error
	switch r, ok := src.(Refresher); {
	case ok:
		t, err = r.Refused(ctx, refused, reason)
	case reason.Code.Info().Action == holdfast.ActionSignedOut:
		t = refused
	default:
		t, err = src.Token(ctx)
	}
	switch {
	case err != nil:
		return Token{}, err
	case t.Access == refused.Access:
		return Token{}, &RefusedError{Token: refused, Reason: reason}
	case t.Access == "":
		return Token{}, ErrNone
	}
	return t, nil
}
