package client

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/refusal"
)

// exchange makes a call: through the interceptors, with a CSRF token where one
// is needed, and again where the answer says so.
func (c *Client) exchange(first *http.Request) (*http.Response, error) {
	req := first.Clone(first.Context())
	if err := c.asked(req); err != nil {
		return nil, err
	}
	resp, err := c.send(req)
	if err != nil {
		return nil, err
	}
	if err := c.answered(resp); err != nil {
		return nil, err
	}
	return resp, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// send sends a request until its answer stands.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	mismatch := false
	rules := rules{cfg: c.cfg.Socket, random: randomFraction}
	for {
		if err := c.guard(req); err != nil {
			closeBody(req)
			return nil, err
		}
		resp, err := c.http.Do(req.Clone(req.Context())) // which adds cookies to what it is given
		if err != nil {
			return nil, err
		}
		sent := req.Header.Get(c.csrfHeader())
		c.learnCSRF(resp)
		var again bool
		switch {
		case resp.StatusCode == http.StatusForbidden && !mismatch && c.guarded(req):
			again = c.mismatched(resp, sent)
			mismatch = again
		case resp.StatusCode == http.StatusServiceUnavailable:
			rules.attempts++
			again = c.awaited(req, resp, &rules)
		}
		if !again {
			return resp, nil
		}
		next, ok := c.again(req)
		if !ok {
			return resp, nil
		}
		_, _ = io.CopyN(io.Discard, resp.Body, refusal.MaxBody) // so that the connection is used again
		_ = resp.Body.Close()
		req = next
	}
}

func (c *Client) csrfHeader() string {
	if c.cfg.CSRF == nil {
		return "X-Csrf-Token"
	}
	return c.cfg.CSRF.Header
}

// mismatched reports whether an answer asks for another CSRF token, and there
// is one.
func (c *Client) mismatched(resp *http.Response, sent string) bool {
	if peek(resp).Err.Code != holdfast.CSRFMismatch {
		return false
	}
	_, err := c.csrfToken(resp.Request.Context(), sent)
	if err != nil {
		c.log.Warn("client: no new CSRF token", "err", err)
	}
	return err == nil
}

// awaited waits as a 503 asks for. It is false where there is no use in trying
// again, or no time.
func (c *Client) awaited(req *http.Request, resp *http.Response, rules *rules) bool {
	switch req.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
	default:
		return false // it may have had its effect
	}
	if c.cfg.Retries < rules.attempts || req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
		return false
	}
	r := peek(resp)
	if r.Err.RetryAfter <= 0 {
		return false
	}
	wait := rules.backoff(r.Err)
	ctx := req.Context()
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// peek reads a refusal and leaves the answer whole.
func peek(resp *http.Response) refusal.Refusal {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, refusal.MaxBody))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), resp.Body), resp.Body}
	return refusal.Read(resp.StatusCode, resp.Header, body)
}

// again makes a request to be sent once more; ok is false where its body can't
// be.
func (c *Client) again(req *http.Request) (next *http.Request, ok bool) {
	next = req.Clone(req.Context())
	next.Header.Del(c.csrfHeader())
	if req.Body == nil || req.Body == http.NoBody {
		return next, true
	}
	err := errors.New("no GetBody")
	if req.GetBody != nil {
		next.Body, err = req.GetBody()
	}
	if err != nil {
		if k, _ := req.Context().Value(callKey{}).(*call); k != nil {
			k.oneShot = true
		}
		return nil, false
	}
	return next, true
}
