package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/holdfast-dev/holdfast/tokens"
)

type callKey struct{}

// fence is the set of origins that may get what is ours.
type fence map[string]bool

func newFence(base *url.URL, trusted []string) (fence, error) {
	f := fence{origin(base): true}
	for _, t := range trusted {
		u, err := url.Parse(t)
		if err != nil {
			return nil, fmt.Errorf("client: TrustedOrigins: %w", err)
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
			return nil, fmt.Errorf("client: TrustedOrigins: %q is not an origin such as https://example.com", t)
		}
		f[origin(u)] = true
	}
	return f, nil
}

func (f fence) within(u *url.URL) bool { return f[origin(u)] }

// stay makes a CheckRedirect that follows only redirects within the fence.
func (f fence) stay(next func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(req *http.Request, via []*http.Request) error {
		if !f.within(req.URL) {
			return http.ErrUseLastResponse
		}
		if next != nil {
			return next(req, via)
		}
		if len(via) >= 10 {
			return errors.New("stopped after 10 redirects")
		}
		return nil
	}
}

// origin is scheme, host and port, with the default port written out.
func origin(u *url.URL) string {
	scheme := strings.ToLower(u.Scheme)
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// transport is an http.RoundTripper that adds the Source's token to requests
// within the fence, and sends a request once more when its token was refused
// and the Source has another. It works hop by hop, so redirects are covered.
type transport struct {
	base   http.RoundTripper // never nil
	with   *tokens.Transport // over base; nil without a Source
	quiet  *tokens.Transport // the same, and no sign of the user
	fence  fence
	header http.Header
	// csrfHeader doesn't leave the fence either.
	csrfHeader string
}

// transport makes the one of a Client. base may be nil: http.DefaultTransport.
func (c *Client) transport(base http.RoundTripper) *transport {
	if base == nil {
		base = http.DefaultTransport
	}
	t := &transport{base: base, fence: c.fence, header: c.cfg.Header, csrfHeader: c.csrfHeader()}
	if c.cfg.Source != nil {
		t.with = &tokens.Transport{Source: c.cfg.Source, Base: base, OneShot: func(req *http.Request) {
			if k, _ := req.Context().Value(callKey{}).(*call); k != nil {
				k.oneShot = true
			}
		}}
		t.quiet = &tokens.Transport{Source: passive(c.cfg.Source), Base: base}
	}
	return t
}

// passive is a Source that is not told of requests (tokens.Activity).
func passive(src tokens.Source) tokens.Source {
	if r, ok := src.(tokens.Refresher); ok {
		return struct{ tokens.Refresher }{r}
	}
	return struct{ tokens.Source }{src}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !t.fence.within(req.URL) {
		return t.base.RoundTrip(t.outside(req))
	}
	k, _ := req.Context().Value(callKey{}).(*call)
	out := req.Clone(req.Context())
	for name, values := range t.header {
		if _, set := out.Header[name]; !set {
			out.Header[name] = values
		}
	}
	if t.with == nil || k != nil && k.noToken {
		return t.base.RoundTrip(out)
	}
	out.Response = nil // the fence has settled where the token goes
	if k != nil && k.quiet {
		return t.quiet.RoundTrip(out)
	}
	return t.with.RoundTrip(out)
}

// outside returns the request without anything that is ours: cookies, and on
// a redirect also the headers that http.Client copied from the first request.
func (t *transport) outside(req *http.Request) *http.Request {
	out := req.Clone(req.Context())
	out.Header.Del("Cookie")
	if req.Response != nil {
		out.Header.Del("Authorization")
		out.Header.Del(t.csrfHeader)
	}
	return out
}
