package tokens

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/refusal"
)

// Transport is an http.RoundTripper that sends the Source's token with each
// request, and a request once more where its token was refused and the Source
// has another. It goes into any http.Client, and stands wherever
// golang.org/x/oauth2's Transport does. Its fields must not change after first
// use; it is safe for concurrent use.
//
//	c := &http.Client{Transport: &tokens.Transport{Source: manager}}
//
// A request that has an Authorization header already is left as it is. An
// answer is a refusal if its status is 401; the second answer is returned as
// it comes. A request whose body can't be read again (http.Request.GetBody is
// nil) is not sent twice: its 401 is returned, though the token is renewed.
type Transport struct {
	// Source gives the token. Required.
	Source Source
	// Base sends the requests. Nil: http.DefaultTransport.
	Base http.RoundTripper
	// Origins are those that get the token ("https://api.example.com"), and no
	// others do, whatever a redirect says. Empty: whatever origin a request
	// names gets it, but not another one that it is redirected to.
	Origins []string
	// OneShot is told of a refused request that was not sent again because of
	// its body. Nil: nobody.
	OneShot func(*http.Request)
}

// RoundTrip implements http.RoundTripper. Errors are the Source's, as they are
// after "tokens: ", and the Base's.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.Source == nil {
		closeBody(req)
		return nil, errors.New("tokens: Transport.Source is not set")
	}
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if req.Header.Get("Authorization") != "" || !t.within(req) {
		return base.RoundTrip(req)
	}
	token, err := t.Source.Token(req.Context())
	if err != nil {
		closeBody(req)
		return nil, &namedError{err: err}
	}
	if a, ok := t.Source.(Activity); ok {
		a.Touch()
	}
	resp, err := base.RoundTrip(withToken(req, token))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	return t.again(base, req, resp, token)
}

// namedError is an error with what was being done. The name of this package is in
// front of it once, also where err has it.
type namedError struct {
	doing string
	err   error
}

func (e *namedError) Error() string {
	return "tokens: " + e.doing + strings.TrimPrefix(e.err.Error(), "tokens: ")
}

func (e *namedError) Unwrap() error { return e.err }

// Activity is a Source that wants to know when its user is active.
type Activity interface {
	Touch()
}

// again sends a request once more whose token was refused, if there is another.
func (t *Transport) again(base http.RoundTripper, req *http.Request, resp *http.Response, token Token) (*http.Response, error) {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, refusal.MaxBody))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), resp.Body), resp.Body}
	token, err := Renew(req.Context(), t.Source, token, refusal.Read(resp.StatusCode, resp.Header, body).Err)
	if err != nil {
		if Final(err) {
			return resp, nil // the server's own refusal says more
		}
		_ = resp.Body.Close()
		return nil, &namedError{"refresh after a 401: ", err}
	}
	next := withToken(req, token)
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			if t.OneShot != nil {
				t.OneShot(req)
			}
			return resp, nil
		}
		if next.Body, err = req.GetBody(); err != nil {
			_ = resp.Body.Close()
			return nil, err
		}
	}
	_ = resp.Body.Close()
	return base.RoundTrip(next)
}

// withToken copies a request as far as a RoundTripper must not change it.
func withToken(req *http.Request, token Token) *http.Request {
	out := new(http.Request)
	*out = *req
	out.Header = make(http.Header, len(req.Header)+1)
	for name, values := range req.Header {
		out.Header[name] = values
	}
	out.Header["Authorization"] = []string{"Bearer " + token.Access}
	return out
}

// within reports whether a request may carry the token.
func (t *Transport) within(req *http.Request) bool {
	if len(t.Origins) == 0 {
		first := req
		for first.Response != nil && first.Response.Request != nil {
			first = first.Response.Request
		}
		return first == req || sameOrigin(first.URL, req.URL)
	}
	for _, o := range t.Origins {
		if scheme, host, ok := strings.Cut(o, "://"); ok && scheme == req.URL.Scheme && host == req.URL.Host {
			return true // as it is written nearly always, and nothing to parse
		}
	}
	for _, o := range t.Origins {
		if u, err := url.Parse(o); err == nil && sameOrigin(u, req.URL) {
			return true
		}
	}
	return false
}

// sameOrigin compares scheme, host and port (RFC 6454 §5).
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if strings.EqualFold(u.Scheme, "https") {
		return "443"
	}
	return "80"
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// Final reports whether an error of a Source means that asking again is no
// use: by its code; an error without a code is passing.
func Final(err error) bool {
	if _, ok := errors.AsType[*RefusedError](err); ok {
		return true
	}
	var code holdfast.Code
	if e, ok := errors.AsType[*holdfast.Error](err); ok {
		code = e.Code
	} else if c, ok := errors.AsType[holdfast.Code](err); ok {
		code = c
	} else {
		return false
	}
	switch code.Info().Action {
	case holdfast.ActionWait, holdfast.ActionReconnect:
		return false
	}
	return true
}
