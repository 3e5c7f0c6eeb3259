package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// Bounds of what a target may answer.
const (
	maxAnswerHeader = 16 << 10
	maxAnswer       = 64 << 10 // of a delivery; it is not looked at
)

// caller posts to one target. It is safe for concurrent use.
type caller struct {
	// Static after construction.
	url    string
	keys   [][]byte
	client *http.Client
}

// answer is what a target answered.
type answer struct {
	status     int
	retryAfter time.Duration
	body       []byte
}

// newCaller makes a client that goes where the guard lets it, and nowhere else:
// no proxy, since that would resolve names itself, and no redirects.
func newCaller(target string, keys [][]byte, g guard, cfg Config) *caller {
	dial := cfg.dial
	if dial == nil {
		dial = g.dialer(cfg.resolver).DialContext
	}
	return &caller{url: target, keys: keys, client: &http.Client{
		Transport: &http.Transport{
			DialContext:            dial,
			DialTLSContext:         cfg.dial, // nil but in tests: DialContext, and then TLS
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout:    10 * time.Second,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // so that bounds are those of what is sent
			MaxIdleConnsPerHost:    DefaultConcurrency,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: maxAnswerHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// post signs and posts a message, and reads up to most bytes of the answer; one
// that is longer is an error. The errors name no URL.
func (c *caller) post(ctx context.Context, id string, body []byte, most int64) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return answer{}, errors.New("webhook: the request can't be made")
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Holdfast")
	now := time.Now()
	sign(r.Header, c.keys, id, now, body)
	response, err := c.client.Do(r)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the URL
		}
		return answer{}, fmt.Errorf("webhook: %w", err)
	}
	defer response.Body.Close()
	a := answer{status: response.StatusCode, retryAfter: retryAfter(response.Header, now)}
	a.body, err = io.ReadAll(io.LimitReader(response.Body, most+1))
	if err != nil {
		return a, fmt.Errorf("webhook: reading the answer: %w", err)
	}
	if int64(len(a.body)) > most {
		return a, fmt.Errorf("webhook: the answer has over %d bytes", most)
	}
	return a, nil
}

func (a answer) ok() bool { return a.status/100 == 2 }

func (c *caller) close() { c.client.CloseIdleConnections() }
