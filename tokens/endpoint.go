package tokens

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/refusal"
)

// maxAnswer bounds the answer of an Endpoint, in bytes.
const maxAnswer = 1 << 20

// EndpointConfig says how sessions are renewed at a server. Only URL must be
// set; what is left out is as docs/protocol.md §3 has it.
type EndpointConfig struct {
	// URL is the call that gives new tokens, such as
	// "https://rt.example.com/api/auth/refresh", or ".../api/realtime/token"
	// for a session that is a cookie of HTTPClient's jar.
	URL string
	// SignOutURL is the call that ends a session. Empty: SignOut does nothing.
	SignOutURL string
	// Method is POST, the default, or GET, which sends no body.
	Method string
	// Header goes with each call.
	Header http.Header
	// HTTPClient makes the calls; it must not send the Manager's own tokens.
	// Redirects are not followed. Nil: a client of its own, without cookies.
	HTTPClient *http.Client
	// Body makes what is sent: anything that marshals to JSON, or url.Values,
	// which go as a form, as OAuth 2 has it (RFC 6749 §6); nil is no body.
	// Default: {"refreshToken": …}, and nothing for a session without one.
	Body func(old Session) (any, error)
	// Prepare changes a request before it is sent: another credential, a CSRF
	// header. Nil: nothing is changed.
	Prepare func(req *http.Request, old Session) error
	// Parse reads a good answer. Default: an object with accessToken,
	// refreshToken, sessionId, user, and expiresIn (seconds) or expiresAt (ms);
	// access_token, refresh_token, expires_in and token are read as well, and
	// numbers that are written as text.
	Parse func(resp *http.Response, body []byte) (Session, error)
}

// Endpoint renews sessions at a server, over HTTP. Its methods go into Config:
//
//	e, err := tokens.NewEndpoint(tokens.EndpointConfig{URL: base + "/api/auth/refresh"})
//	m, err := tokens.NewManager(tokens.Config{Store: store, Refresh: e.Refresh, SignOut: e.SignOut})
//
// It is safe for concurrent use.
type Endpoint struct {
	cfg    EndpointConfig
	client http.Client
}

// NewEndpoint makes an Endpoint. It calls nobody.
func NewEndpoint(cfg EndpointConfig) (*Endpoint, error) {
	if cfg.Method == "" {
		cfg.Method = http.MethodPost
	}
	if cfg.Method != http.MethodPost && cfg.Method != http.MethodGet {
		return nil, fmt.Errorf("tokens: EndpointConfig.Method %q must be POST or GET", cfg.Method)
	}
	for _, u := range []string{cfg.URL, cfg.SignOutURL} {
		req, err := http.NewRequest(cfg.Method, u, nil)
		switch {
		case u == "" && cfg.URL != "":
		case err != nil || req.URL.Host == "" || req.URL.Scheme != "https" && req.URL.Scheme != "http":
			return nil, fmt.Errorf("tokens: EndpointConfig: %q is no URL of a call, such as https://rt.example.com/api/auth/refresh", u)
		}
	}
	e := &Endpoint{cfg: cfg}
	if cfg.HTTPClient != nil {
		e.client = *cfg.HTTPClient
	}
	// A redirect would take the refresh token somewhere else.
	e.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return e, nil
}

// Refresh gets new tokens; it is a RefreshFunc. A refusal is a *holdfast.Error
// with the code that the server gave, or UNAUTHENTICATED for a 400 or 401
// without one; what a proxy says beyond that (403, 404, a page) is an error
// that will be tried again.
func (e *Endpoint) Refresh(ctx context.Context, old Session) (Session, error) {
	resp, body, err := e.call(ctx, e.cfg.Method, e.cfg.URL, old)
	if err != nil {
		return Session{}, err
	}
	if e.cfg.Parse != nil {
		return e.cfg.Parse(resp, body)
	}
	return parseSession(resp, body)
}

// SignOut ends a session at SignOutURL. That it has ended already is no error.
func (e *Endpoint) SignOut(ctx context.Context, s Session) error {
	if e.cfg.SignOutURL == "" {
		return nil
	}
	_, _, err := e.call(ctx, http.MethodPost, e.cfg.SignOutURL, s)
	if err != nil && final(err) {
		return nil
	}
	return err
}

func (e *Endpoint) call(ctx context.Context, method, url string, s Session) (*http.Response, []byte, error) {
	req, err := e.request(ctx, method, url, s)
	if err != nil {
		return nil, nil, err
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, fmt.Errorf("tokens: %s %s: %w", method, url, err)
	}
	if len(body) > maxAnswer {
		return nil, nil, fmt.Errorf("tokens: %s %s: the answer is larger than %d bytes", method, url, maxAnswer)
	}
	if resp.StatusCode/100 != 2 {
		return nil, nil, refused(method, url, resp, body)
	}
	return resp, body, nil
}

func (e *Endpoint) request(ctx context.Context, method, url string, s Session) (*http.Request, error) {
	var content io.Reader
	kind := ""
	if method != http.MethodGet {
		data, is, err := e.body(s)
		if err != nil {
			return nil, fmt.Errorf("tokens: body: %w", err)
		}
		if data != nil {
			content, kind = bytes.NewReader(data), is
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	for name, values := range e.cfg.Header {
		req.Header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	if url == e.cfg.SignOutURL && s.Access != "" && req.Header.Get("Authorization") == "" {
		req.Header.Set("Authorization", "Bearer "+s.Access)
	}
	if e.cfg.Prepare != nil {
		if err := e.cfg.Prepare(req, s); err != nil {
			return nil, err
		}
	}
	return req, nil
}

// body is what is sent, and its content type; nil for nothing.
func (e *Endpoint) body(s Session) (data []byte, kind string, err error) {
	var v any
	switch {
	case e.cfg.Body != nil:
		if v, err = e.cfg.Body(s); err != nil || v == nil {
			return nil, "", err
		}
	case s.Refresh == "":
		return nil, "", nil
	default:
		v = struct {
			RefreshToken string `json:"refreshToken"`
		}{s.Refresh}
	}
	if form, ok := v.(url.Values); ok {
		return []byte(form.Encode()), "application/x-www-form-urlencoded", nil
	}
	data, err = json.Marshal(v)
	return data, "application/json", err
}

// refused makes an error of a bad answer. Whether it is final is settled by a
// code, and only the server that keeps the session has the right to say so: a
// proxy that answers 403 must not sign anybody out.
func refused(method, url string, resp *http.Response, body []byte) error {
	r := refusal.Read(resp.StatusCode, resp.Header, body)
	if r.Named {
		return r.Err
	}
	switch resp.StatusCode {
	case http.StatusBadRequest, http.StatusUnauthorized:
		r.Err.Code = holdfast.Unauthenticated
		return r.Err
	case http.StatusTooManyRequests:
		return r.Err
	}
	r.Err.Code = holdfast.Internal
	r.Err.Err = fmt.Errorf("tokens: %s %s was answered %d", method, url, resp.StatusCode)
	return r.Err
}

// parseSession reads the answers of docs/protocol.md §3, and those of OAuth 2
// (RFC 6749 §5.1).
func parseSession(resp *http.Response, body []byte) (Session, error) {
	var a struct {
		AccessToken   string        `json:"accessToken"`
		AccessToken2  string        `json:"access_token"`
		Token         string        `json:"token"`
		RefreshToken  string        `json:"refreshToken"`
		RefreshToken2 string        `json:"refresh_token"`
		SessionID     string        `json:"sessionId"`
		ExpiresIn     number        `json:"expiresIn"`
		ExpiresIn2    number        `json:"expires_in"`
		ExpiresAt     number        `json:"expiresAt"`
		User          holdfast.User `json:"user"`
	}
	err := json.Unmarshal(body, &a)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !ok {
		// A field of another type is as good as none: it must not cost a session
		// whose old refresh token is used up.
		return Session{}, errors.New("tokens: the answer is no JSON with an accessToken")
	}
	s := Session{
		Access: first(a.AccessToken, a.AccessToken2, a.Token), Refresh: first(a.RefreshToken, a.RefreshToken2),
		SessionID: a.SessionID, User: a.User,
	}
	if s.Access == "" {
		return Session{}, errors.New("tokens: the answer has no accessToken")
	}
	if in := max(a.ExpiresIn, a.ExpiresIn2); in > 0 {
		s.Lifetime = seconds(float64(in))
	}
	if a.ExpiresAt > 0 && a.ExpiresAt <= maxExpiry*1000 {
		s.Expires = time.UnixMilli(int64(a.ExpiresAt))
	}
	c, _ := readClaims(s.Access)
	if s.Lifetime == 0 && c.Issued == nil {
		// The server's clock at the time of the answer is the best there is.
		end := s.Expires
		if end.IsZero() {
			end = moment(c.Expires)
		}
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil && end.After(date) {
			s.Lifetime = end.Sub(date)
		}
	}
	return s, nil
}

// number is a number, or a text of one, as some servers write it. Anything else
// is as good as none.
type number float64

// UnmarshalJSON implements json.Unmarshaler.
func (n *number) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		data = []byte(text)
	}
	var value float64
	if json.Unmarshal(data, &value) == nil {
		*n = number(value)
	}
	return nil
}

// maxLifetime is the longest lifetime in use, 200 years: within a Duration.
const maxLifetime = 200 * 365 * 24 * time.Hour

func seconds(n float64) time.Duration {
	if n >= maxLifetime.Seconds() {
		return maxLifetime
	}
	return time.Duration(n * float64(time.Second))
}

// first returns the first text that is not empty.
func first(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}
