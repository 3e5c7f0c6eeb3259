package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/refusal"
)

// CSRF tells how a server that knows its users by cookies wants its CSRF token
// (docs/protocol.md §3). The token is fetched before the first call that needs
// one, kept, replaced when an answer brings another, and fetched anew when a
// call is refused with CSRF_MISMATCH, which is then made once more.
//
// Calls need one that are no GET, HEAD or OPTIONS, go to an origin that gets
// what is ours, and have no Authorization header; those with NoToken too.
type CSRF struct {
	// Path is the call that gives the token, appended to BaseURL:
	// "/api/auth/csrf". Required.
	Path string
	// Header is the header that carries it both ways. Default "X-CSRF-Token".
	Header string
	// Field is its name in the JSON answer, where the header is missing.
	// Default "csrfToken".
	Field string
	// Cookie is the cookie that has it, where that is missing too. Default
	// "csrf-token".
	Cookie string
}

func (c *CSRF) withDefaults() *CSRF {
	if c == nil {
		return nil
	}
	out := *c
	out.Header = http.CanonicalHeaderKey(or(c.Header, "X-CSRF-Token"))
	out.Field = or(c.Field, "csrfToken")
	out.Cookie = or(c.Cookie, "csrf-token")
	return &out
}

// guard adds the CSRF token to a request that needs one.
func (c *Client) guard(req *http.Request) error {
	if !c.guarded(req) {
		return nil
	}
	token, err := c.csrfToken(req.Context(), "")
	if err == nil {
		req.Header.Set(c.cfg.CSRF.Header, token)
	}
	return err
}

// guarded reports whether a request needs a CSRF token that is ours to add.
func (c *Client) guarded(req *http.Request) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	k, _ := req.Context().Value(callKey{}).(*call)
	bearer := c.cfg.Source != nil && (k == nil || !k.noToken)
	return c.cfg.CSRF != nil && c.fence.within(req.URL) && !bearer && req.Header.Get("Authorization") == ""
}

// csrfToken returns the token that is kept, or fetches one if there is none or
// it is the bad one. One call fetches at a time.
func (c *Client) csrfToken(ctx context.Context, bad string) (string, error) {
	select {
	case c.csrfTurn <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-c.csrfTurn }()
	c.mu.Lock()
	token := c.csrf
	c.mu.Unlock()
	if token != "" && token != bad {
		return token, nil
	}
	token, err := c.fetchCSRF(ctx)
	if err != nil {
		return "", fmt.Errorf("client: CSRF token: %w", err)
	}
	c.mu.Lock()
	c.csrf = token
	c.mu.Unlock()
	return token, nil
}

func (c *Client) fetchCSRF(ctx context.Context) (string, error) {
	u, err := c.URL(c.cfg.CSRF.Path)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", err
	}
	for name, values := range c.cfg.Header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", "application/json")
	resp, err := c.raw.Do(req)
	if err != nil {
		return "", unwrapURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return "", newError(resp)
	}
	if token := resp.Header.Get(c.cfg.CSRF.Header); token != "" {
		return token, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, refusal.MaxBody))
	if err != nil {
		return "", err
	}
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(body, &fields)
	if token := refusal.Text(fields[c.cfg.CSRF.Field]); token != "" {
		return token, nil
	}
	cookies := resp.Cookies()
	if c.raw.Jar != nil {
		cookies = append(cookies, c.raw.Jar.Cookies(u)...)
	}
	for _, cookie := range cookies {
		if cookie.Name == c.cfg.CSRF.Cookie && cookie.Value != "" {
			return cookie.Value, nil
		}
	}
	return "", holdfast.Errorf(holdfast.ProtocolError, "GET %s brought none, by header, body or cookie", c.cfg.CSRF.Path)
}

// learnCSRF keeps the token that an answer brings: signing in and out do.
func (c *Client) learnCSRF(resp *http.Response) {
	if c.cfg.CSRF == nil || resp.Request == nil || !c.fence.within(resp.Request.URL) {
		return
	}
	if token := resp.Header.Get(c.cfg.CSRF.Header); token != "" {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.csrf = token
	}
}
