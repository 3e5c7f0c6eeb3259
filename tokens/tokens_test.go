package tokens

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func jwt(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestExpires(t *testing.T) {
	for text, want := range map[string]int64{
		jwt(`{"exp":1767226500}`):             1767226500,
		jwt(`{"sub":"a","exp":1767226500.9}`): 1767226500,
		jwt(`{"exp":1e300}`):                  maxExpiry,
		jwt(`{"exp":9e15}`):                   maxExpiry,
		jwt(`{"exp":0}`):                      0,
		jwt(`{"exp":-5}`):                     0,
		jwt(`{"exp":"1767226500"}`):           0,
		jwt(`{"exp":null}`):                   0,
		jwt(`{}`):                             0,
		jwt(`[1]`):                            0,
		jwt(`{"exp":`):                        0,
		"":                                    0,
		"opaque":                              0,
		"a.b":                                 0,
		"a.!!.c":                              0,
		"...":                                 0,
		jwt(`{"exp":1767226500,"x":"` + strings.Repeat("x", maxJWT) + `"}`): 0,
	} {
		token := New(text)
		switch {
		case token.Access != text:
			t.Errorf("%.60s: the text was changed", text)
		case want == 0 && !token.Expires.IsZero(), want != 0 && token.Expires.Unix() != want:
			t.Errorf("%.60s: %v, want %d", text, token.Expires, want)
		}
		if _, err := token.Expires.MarshalJSON(); err != nil {
			t.Errorf("%.60s: %v", text, err)
		}
	}
	// A text of exactly the bound is looked into, and none of a byte more.
	const part = "e30.eyJleHAiOjV9." // {"exp":5}
	for more, want := range map[int]bool{0: true, 1: false} {
		if got := New(part + strings.Repeat("x", maxJWT-len(part)+more)).Expires; got.IsZero() == want {
			t.Errorf("%d over: %v", more, got)
		}
	}
	if got := New(jwt(`{"exp":5.25}`)).Expires; !got.Equal(time.Unix(5, 25e7)) {
		t.Errorf("a fraction of a second: %v", got)
	}
	padded := "e30." + base64.URLEncoding.EncodeToString([]byte(`{"exp":5}`)) + ".x"
	if New(padded).Expires.Unix() != 5 {
		t.Error("padding is no reason to know nothing")
	}
	if !expiry(jwt(fmt.Sprintf(`{"exp":%v}`, math.MaxFloat64))).Equal(time.Unix(maxExpiry, 0)) {
		t.Error("overflow")
	}
}

// How long a token is good for, by what is known of it.
func TestLifetime(t *testing.T) {
	now := time.Unix(1767225600, 0)
	for name, test := range map[string]struct {
		s    Session
		want time.Duration
	}{
		"nothing":              {Session{Access: "a"}, 0},
		"said":                 {Session{Access: jwt(`{"iat":1767225600,"exp":1767226500}`), Lifetime: time.Minute}, time.Minute},
		"claims, skewed":       {Session{Access: jwt(`{"iat":1000,"exp":1900}`)}, 15 * time.Minute},
		"claims, no beginning": {Session{Access: jwt(`{"exp":1767226500}`)}, 15 * time.Minute},
		"claims, no length":    {Session{Access: jwt(`{"iat":1767226500,"exp":1767226500}`)}, 15 * time.Minute},
		"claims, backwards":    {Session{Access: jwt(`{"iat":1767226501,"exp":1767226500}`)}, 15 * time.Minute},
		"an end":               {Session{Access: "a", Expires: now.Add(time.Hour)}, time.Hour},
		"an end that is over":  {Session{Access: "a", Expires: now.Add(-time.Hour)}, 0},
		"an end before claims": {Session{Access: jwt(`{"exp":1767226500}`), Expires: now.Add(time.Hour)}, time.Hour},
	} {
		got := test.s.complete(now)
		if got.Lifetime != test.want || !got.Received.Equal(now) {
			t.Errorf("%s: %v, want %v", name, got.Lifetime, test.want)
		}
	}
}

func TestNoSecretInText(t *testing.T) {
	token := Token{Access: "secret", Expires: time.Unix(1767226500, 0)}
	refused := &RefusedError{Token: token, Reason: holdfast.TokenExpired.New()}
	for _, text := range []string{
		fmt.Sprint(token), fmt.Sprintf("%+v", token), fmt.Sprintf("%#v", token), fmt.Sprint(Token{Access: "secret"}),
		refused.Error(), fmt.Sprintf("%v", Static("secret")), fmt.Sprintf("%#v", Static("secret")),
	} {
		if strings.Contains(text, "secret") {
			t.Error(text)
		}
	}
	if Token.String(Token{}) != "no token" || !strings.Contains(token.String(), "2026-01-01T00:15:00Z") {
		t.Error(token)
	}
}

func FuzzNew(f *testing.F) {
	f.Add("")
	f.Add(jwt(`{"exp":1767226500}`))
	f.Fuzz(func(t *testing.T, text string) { New(text) })
}

// refresher answers Refused with what it is told.
type refresher struct {
	Func
	token Token
	err   error
}

func (r refresher) Refused(context.Context, Token, *holdfast.Error) (Token, error) {
	return r.token, r.err
}

func TestRenew(t *testing.T) {
	is := func(code holdfast.Code) func(error) bool {
		return func(err error) bool {
			refused, ok := errors.AsType[*RefusedError](err)
			return ok && refused.Token.Access == "a" && errors.Is(err, code)
		}
	}
	none := func(err error) bool { return errors.Is(err, ErrNone) && errors.Is(err, holdfast.Unauthenticated) }
	eof := func(err error) bool { return errors.Is(err, io.EOF) }
	to := func(access string, err error) Func {
		return func(context.Context) (Token, error) { return Token{Access: access}, err }
	}
	for name, test := range map[string]struct {
		src    Source
		reason holdfast.Code
		access string
		bad    func(error) bool
	}{
		"static":             {Static("a"), holdfast.TokenExpired, "", is(holdfast.TokenExpired)},
		"another static":     {Static("b"), holdfast.TokenExpired, "b", nil},
		"empty static":       {Static(""), holdfast.TokenExpired, "", none},
		"func":               {to("b", nil), holdfast.TokenExpired, "b", nil},
		"func, empty":        {to("", nil), holdfast.TokenExpired, "", none},
		"func, same":         {to("a", nil), holdfast.Unauthenticated, "", is(holdfast.Unauthenticated)},
		"func, error":        {to("", io.EOF), holdfast.Unauthenticated, "", eof},
		"func, revoked":      {to("b", nil), holdfast.SessionRevoked, "", is(holdfast.SessionRevoked)},
		"refresher":          {refresher{to("x", nil), Token{Access: "b"}, nil}, holdfast.TokenExpired, "b", nil},
		"refresher, same":    {refresher{to("x", nil), Token{Access: "a"}, nil}, holdfast.TokenExpired, "", is(holdfast.TokenExpired)},
		"refresher, empty":   {refresher{to("x", nil), Token{}, nil}, holdfast.TokenExpired, "", none},
		"refresher, error":   {refresher{to("x", nil), Token{}, io.EOF}, holdfast.TokenExpired, "", eof},
		"refresher, revoked": {refresher{to("x", nil), Token{}, ErrNone}, holdfast.SessionRevoked, "", none},
		"signed in again":    {refresher{to("x", nil), Token{Access: "b"}, nil}, holdfast.SessionRevoked, "b", nil},
	} {
		token, err := Renew(t.Context(), test.src, Token{Access: "a"}, test.reason.New())
		if test.bad == nil && (err != nil || token.Access != test.access) || test.bad != nil && (token.Access != "" || err == nil || !test.bad(err)) {
			t.Errorf("%s: %q, %v", name, token.Access, err)
		}
	}
}

func TestSources(t *testing.T) {
	if token, err := Static(jwt(`{"exp":5}`)).Token(t.Context()); err != nil || token.Expires.Unix() != 5 {
		t.Error(token, err)
	}
	if _, err := Static("").Token(t.Context()); !errors.Is(err, ErrNone) {
		t.Error(err)
	}
}
