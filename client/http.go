package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/refusal"
)

// Option changes one call.
type Option func(*call)

type call struct {
	query   url.Values
	header  http.Header
	noToken bool
	quiet   bool // not the user's doing
	// oneShot is set by the transport: the body could not be sent again.
	oneShot bool
}

// Query adds to the query of the URL.
func Query(q url.Values) Option {
	return func(c *call) {
		for k, v := range q {
			c.query[k] = append(c.query[k], v...)
		}
	}
}

// Header sets a header of the request.
func Header(name, value string) Option { return func(c *call) { c.header.Set(name, value) } }

// NoToken leaves the token out, for calls that need none, such as signing in.
func NoToken() Option { return func(c *call) { c.noToken = true } }

// Get does GET and decodes the JSON answer into a T. The path is appended to
// BaseURL ("/todos?done=1"); an absolute URL is taken as it is, and gets no
// token if it is of another origin. With T = []byte the answer comes as it is;
// with T = struct{} it is dropped. An answer without a body is the zero T.
//
// An answer with a status of 300 or more is an *Error. After a 401 the Source
// is asked for another token and the call made once more; after a 403 with
// CSRF_MISMATCH, where Config.CSRF is set, once with another CSRF token. GET,
// PUT and DELETE are made again, up to Config.Retries times, after a 503 with
// Retry-After, unless ctx ends before.
func Get[T any](ctx context.Context, c *Client, path string, opts ...Option) (T, error) {
	return do[T](ctx, c, http.MethodGet, path, nil, opts)
}

// Post does POST. The body is sent as JSON; []byte and io.Reader go as they
// are (application/octet-stream unless Header says otherwise), and nil sends
// none. A reader other than *bytes.Reader, *bytes.Buffer and *strings.Reader
// can be sent only once: after a 401 the call fails with ErrNotRetried. All
// else is as with Get.
func Post[T any](ctx context.Context, c *Client, path string, body any, opts ...Option) (T, error) {
	return do[T](ctx, c, http.MethodPost, path, body, opts)
}

// Put does PUT; see Post.
func Put[T any](ctx context.Context, c *Client, path string, body any, opts ...Option) (T, error) {
	return do[T](ctx, c, http.MethodPut, path, body, opts)
}

// Patch does PATCH; see Post.
func Patch[T any](ctx context.Context, c *Client, path string, body any, opts ...Option) (T, error) {
	return do[T](ctx, c, http.MethodPatch, path, body, opts)
}

// Delete does DELETE; see Get.
func Delete[T any](ctx context.Context, c *Client, path string, opts ...Option) (T, error) {
	return do[T](ctx, c, http.MethodDelete, path, nil, opts)
}

// Do sends any request with the token, under the same rules as Get, and
// returns the answer whatever its status. The caller closes its body. The URL
// is taken as it is: see URL.
func (c *Client) Do(req *http.Request) (*http.Response, error) { return c.exchange(req) }

// URL returns the URL of a path: BaseURL with the path appended ("/v1/" and
// "/todos" make "/v1/todos"). A path that is an absolute URL is returned as it is.
func (c *Client) URL(path string) (*url.URL, error) {
	if scheme, _, ok := strings.Cut(path, "://"); ok && (scheme == "http" || scheme == "https") {
		return url.Parse(path)
	}
	path, _, _ = strings.Cut(path, "#")
	path, query, _ := strings.Cut(path, "?")
	if _, err := url.PathUnescape(path); err != nil {
		return nil, err
	}
	u := c.base
	if path != "" {
		u = c.base.JoinPath(path)
	}
	out := *u
	out.RawQuery = query
	return &out, nil
}

func do[T any](ctx context.Context, c *Client, method, path string, body any, opts []Option) (T, error) {
	var out T
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
	}
	k := &call{query: url.Values{}, header: http.Header{}}
	for _, o := range opts {
		o(k)
	}
	req, err := c.request(context.WithValue(ctx, callKey{}, k), method, path, body, k)
	if err != nil {
		return out, err
	}
	resp, err := c.exchange(req)
	if err != nil {
		return out, unwrapURL(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		e := newError(resp)
		e.notRetried = k.oneShot
		return out, e
	}
	return out, c.decode(resp, &out)
}

func (c *Client) request(ctx context.Context, method, path string, body any, k *call) (*http.Request, error) {
	u, err := c.URL(path)
	if err != nil {
		return nil, fmt.Errorf("client: path: %w", err)
	}
	if len(k.query) > 0 {
		q := u.Query()
		for name, values := range k.query {
			q[name] = append(q[name], values...)
		}
		u.RawQuery = q.Encode()
	}
	var r io.Reader
	contentType := "application/octet-stream"
	switch b := body.(type) {
	case nil:
		contentType = ""
	case []byte:
		r = bytes.NewReader(b)
	case io.Reader:
		r = b
	default:
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("client: body: %w", err)
		}
		r, contentType = bytes.NewReader(data), "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), r)
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Accept", "application/json")
	for name, values := range k.header {
		req.Header[name] = values
	}
	return req, nil
}

// decode reads a good answer into out, within MaxResponse.
func (c *Client) decode(resp *http.Response, out any) error {
	if _, drop := out.(*struct{}); drop {
		// Reading the little that is there lets the connection be used again.
		_, _ = io.CopyN(io.Discard, resp.Body, refusal.MaxBody)
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxResponse+1))
	if err != nil {
		return err
	}
	if int64(len(body)) > c.cfg.MaxResponse {
		return holdfast.Errorf(holdfast.MessageTooLarge, "the answer is larger than %d bytes", c.cfg.MaxResponse)
	}
	if b, ok := out.(*[]byte); ok {
		*b = body
		return nil
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("client: the answer (%s) can't be decoded: %w", resp.Header.Get("Content-Type"), err)
	}
	return nil
}

// unwrapURL takes the URL, whose query may be private, out of an error of
// http.Client.
func unwrapURL(err error) error {
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("%s: %w", strings.ToUpper(ue.Op), ue.Err)
	}
	return err
}
