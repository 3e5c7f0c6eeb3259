package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

const (
	defaultRefreshInterval = 15 * time.Minute
	refetchInterval        = 10 * time.Second // between fetches for the sake of an unknown kid
	fetchTimeout           = 10 * time.Second
	firstRetry             = time.Second // doubling, up to:
	maxRetry               = time.Minute
	maxJWKS                = 1 << 20 // bytes
	maxJWKSKeys            = 256
)

// jwks keeps the keys of a JWKS URL. One goroutine fetches; everybody else
// reads what it has left, or waits for it to be done.
type jwks struct {
	// Static after construction.
	url, host       string
	client          *http.Client
	algorithms      []Algorithm // those allowed; empty: all
	refreshInterval time.Duration
	logger          *slog.Logger

	keys atomic.Pointer[[]verifier] // the last good ones; nil if there never were any

	wake   chan struct{} // holds one; asks the goroutine for a fetch
	cancel context.CancelFunc
	done   chan struct{} // closed when the goroutine has ended

	mu     sync.Mutex    // guards what follows; never held while fetching
	flight chan struct{} // the fetch that is asked for or under way; closed at its end
	asked  time.Time     // when the last fetch for an unknown kid was asked for
	failed error         // why the last fetch failed; nil if it didn't
}

func newJWKS(cfg JWTConfig) (*jwks, error) {
	u, err := url.Parse(cfg.JWKSURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, errors.New("auth: the JWKS URL must be an absolute https or http URL")
	}
	s := &jwks{
		url:             cfg.JWKSURL,
		host:            u.Host,
		client:          cfg.HTTPClient,
		algorithms:      slices.Clone(cfg.Algorithms),
		refreshInterval: cfg.RefreshInterval,
		logger:          cfg.Logger,
		wake:            make(chan struct{}, 1),
		done:            make(chan struct{}),
		flight:          make(chan struct{}), // the first fetch
	}
	if s.client == nil {
		s.client = newHTTPClient()
	}
	if s.refreshInterval <= 0 {
		s.refreshInterval = defaultRefreshInterval
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	return s, nil
}

// newHTTPClient keeps no connection open: a quarter of an hour is longer than
// servers do.
func newHTTPClient() *http.Client {
	return &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			Proxy:             http.ProxyFromEnvironment,
			DisableKeepAlives: true,
			ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) >= 5 {
				return errors.New("too many redirects")
			}
			if via[0].URL.Scheme == "https" && r.URL.Scheme != "https" {
				return errors.New("redirect from https to http")
			}
			return nil
		},
	}
}

// start begins to fetch; stop ends it and waits.
func (s *jwks) start() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go s.run(ctx)
}

func (s *jwks) stop() {
	s.cancel()
	<-s.done
}

func (s *jwks) run(ctx context.Context) {
	defer close(s.done)
	retry := &backoff.ExponentialBackOff{
		InitialInterval:     firstRetry,
		RandomizationFactor: 0.2,
		Multiplier:          2,
		MaxInterval:         maxRetry,
	}
	retry.Reset()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		}
		s.begin()
		keys, err := s.fetch(ctx)
		if ctx.Err() != nil {
			return
		}
		s.end(keys, err)
		if err == nil {
			retry.Reset()
			timer.Reset(s.refreshInterval)
		} else {
			s.logger.Warn("the JWKS URL can't be fetched", "host", s.host, "error", err, "last_keys_kept", s.known())
			timer.Reset(retry.NextBackOff())
		}
	}
}

func (s *jwks) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight == nil {
		s.flight = make(chan struct{})
	}
	select { // this fetch is the one that was asked for
	case <-s.wake:
	default:
	}
}

func (s *jwks) end(keys []verifier, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.keys.Store(&keys)
	}
	s.failed = err
	close(s.flight)
	s.flight = nil
}

// known reports whether there were ever any keys.
func (s *jwks) known() bool { return s.keys.Load() != nil }

// get returns the keys that there are. Only where there never were any does
// it wait for a fetch under way.
func (s *jwks) get(ctx context.Context) ([]verifier, error) {
	if keys := s.keys.Load(); keys != nil {
		return *keys, nil
	}
	s.mu.Lock()
	flight := s.flight
	s.mu.Unlock()
	if err := s.wait(ctx, flight); err != nil {
		return nil, err
	}
	if keys := s.keys.Load(); keys != nil {
		return *keys, nil
	}
	return nil, errNoKeys(s.lastFailure())
}

// refetch returns the keys after a fetch that was asked for, or found under
// way, or has been less than refetchInterval ago. It is for a key that is not
// among the keys that there are: if the fetch failed, it can't be known
// whether it is good, and that is an error.
func (s *jwks) refetch(ctx context.Context) ([]verifier, error) {
	s.mu.Lock()
	if s.flight == nil && (s.asked.IsZero() || time.Since(s.asked) >= refetchInterval) {
		s.asked = time.Now()
		s.flight = make(chan struct{})
		s.wake <- struct{}{} // has room: it is only filled together with flight
	}
	flight := s.flight
	s.mu.Unlock()
	if err := s.wait(ctx, flight); err != nil {
		return nil, err
	}
	if err := s.lastFailure(); err != nil {
		return nil, errNoKeys(err)
	}
	if keys := s.keys.Load(); keys != nil {
		return *keys, nil
	}
	return nil, errNoKeys(nil)
}

func (s *jwks) lastFailure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// wait waits for a fetch; nil: there is none.
func (s *jwks) wait(ctx context.Context, flight <-chan struct{}) error {
	if flight == nil {
		return nil
	}
	select {
	case <-flight:
		return nil
	case <-ctx.Done():
		return errNoKeys(ctx.Err())
	case <-s.done:
		return errNoKeys(errors.New("auth: closed"))
	}
}

// errNoKeys is no refusal of the credential: it may be good. Its message must
// not look like one to clients that read messages.
func errNoKeys(cause error) *holdfast.Error {
	return &holdfast.Error{
		Code:       holdfast.Internal,
		Message:    "Signing keys can't be fetched",
		RetryAfter: firstRetry,
		Err:        cause,
	}
}

// fetch gets the URL once.
func (s *jwks) fetch(ctx context.Context) ([]verifier, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return nil, errors.New("auth: bad JWKS URL") // newJWKS has looked at it
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := s.client.Do(r)
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // without the URL, whose query may hold a secret
	}
	if err != nil {
		return nil, fmt.Errorf("auth: fetch keys from %s: %w", s.host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxJWKS+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxJWKS {
		return nil, fmt.Errorf("the answer is larger than %d bytes", maxJWKS)
	}
	return s.parse(ctx, data)
}

// parse reads a JWK Set (RFC 7517 §5). A key that can't be used is left out
// and does not spoil the others.
func (s *jwks) parse(ctx context.Context, data []byte) ([]verifier, error) {
	if err := jsonscan.Check(data, jsonscan.Limits{}); err != nil {
		return nil, err
	}
	var list json.RawMessage
	for name, value := range members(data) {
		if name != "keys" {
			continue
		}
		if list != nil {
			return nil, errors.New("the answer has keys twice")
		}
		list = value
	}
	elements, err := jsonscan.Split(list)
	if err != nil {
		return nil, errors.New("the answer is not a JWK Set")
	}
	if len(elements) > maxJWKSKeys {
		return nil, fmt.Errorf("the answer has more than %d keys", maxJWKSKeys)
	}
	keys := make([]verifier, 0, len(elements))
	for i, element := range elements {
		key, err := parseRemoteKey(element, s.algorithms)
		if err != nil {
			s.logger.DebugContext(ctx, "a key of the JWKS URL is not used", "index", i, "error", err)
			continue
		}
		if v, ok := publicVerifier(key).narrow(s.algorithms); ok {
			keys = append(keys, v)
		}
	}
	if len(keys) == 0 {
		s.logger.WarnContext(ctx, "the JWKS URL has no key that can be used", "host", s.host, "keys", len(elements))
	}
	return keys, nil
}

// parseRemoteKey reads a key; one without alg is bound to those of algorithms
// that fit its kind.
func parseRemoteKey(data []byte, algorithms []Algorithm) (Key, error) {
	key, err := ParseJWK(data)
	if err != nil || len(algorithms) == 0 {
		return key, err
	}
	named := false
	for name, value := range members(data) {
		named = named || name == "alg" && string(value) != "null" && string(value) != `""`
	}
	if !named {
		if both := fitting(key, algorithms); len(both) > 0 {
			key.Algorithms = both
		}
	}
	return key, nil
}
