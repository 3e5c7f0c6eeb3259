package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Defaults of services that are asked about a credential.
const (
	// DefaultUpstreamTimeout bounds one question, waiting for its turn included.
	DefaultUpstreamTimeout = 5 * time.Second
	// DefaultUpstreamParallel is how many questions are asked at once.
	DefaultUpstreamParallel = 64

	waitersPerSlot   = 16 // questions that wait for their turn, for each that is asked
	maxUpstreamBody  = 256 << 10
	maxSameRedirects = 3
	minRetryAfter    = time.Second
	maxRetryAfter    = time.Minute
	faultLogInterval = 10 * time.Second
)

// upstream asks another service about credentials: within a time, so many
// questions at once, and answers of so many bytes. What would wait for its
// turn beyond waitersPerSlot is turned away at once.
type upstream struct {
	// Static after construction.
	client  *http.Client
	owned   bool // client is nobody else's
	host    string
	timeout time.Duration
	logger  *slog.Logger
	slots   chan struct{} // one for each question under way

	waiting atomic.Int64
	logged  atomic.Int64 // when a fault was last logged, in nanoseconds since 1970
}

type upstreamConfig struct {
	client   *http.Client
	timeout  time.Duration
	parallel int
	logger   *slog.Logger
}

func newUpstream(u *url.URL, cfg upstreamConfig) *upstream {
	if cfg.timeout <= 0 {
		cfg.timeout = DefaultUpstreamTimeout
	}
	if cfg.parallel <= 0 {
		cfg.parallel = DefaultUpstreamParallel
	}
	if cfg.logger == nil {
		cfg.logger = slog.New(slog.DiscardHandler)
	}
	s := &upstream{
		owned: cfg.client == nil, host: u.Host, timeout: cfg.timeout, logger: cfg.logger,
		slots: make(chan struct{}, cfg.parallel),
	}
	var client http.Client
	if cfg.client != nil {
		client = *cfg.client
	} else {
		client.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: cfg.parallel,
			IdleConnTimeout:     time.Minute,
		}
	}
	client.Jar = nil // it would give one caller's cookies to the next
	client.CheckRedirect = sameOrigin
	s.client = &client
	return s
}

// upstreamURL reads the address of a service.
func upstreamURL(text, name string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return nil, fmt.Errorf("auth: %s must be an absolute https or http URL without user and fragment", name)
	}
	return u, nil
}

// sameOrigin follows redirects that stay where they are: another origin must
// see neither the caller's cookies nor the client's secret, nor vouch for
// anybody.
func sameOrigin(r *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case r.URL.Scheme != first.Scheme || !strings.EqualFold(r.URL.Host, first.Host):
		return errors.New("redirect to another origin")
	case len(via) > maxSameRedirects:
		return errors.New("too many redirects")
	}
	return nil
}

// ask sends r and returns the body of the answer 200. Any other answer, and
// none, is no word about the credential: unavailable.
func (s *upstream) ask(ctx context.Context, r *http.Request) ([]byte, *holdfast.Error) {
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.acquire(ctx); err != nil {
		return nil, s.unavailable(caller, err, 0)
	}
	defer func() { <-s.slots }()
	resp, err := s.client.Do(r.WithContext(ctx))
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err // without the URL, whose query may hold a secret
	}
	if err != nil {
		return nil, s.unavailable(caller, err, 0)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxUpstreamBody+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		return nil, s.unavailable(caller, fmt.Errorf("status %d", resp.StatusCode), retryAfter(resp.Header))
	case err != nil:
		return nil, s.unavailable(caller, err, 0)
	case len(body) > maxUpstreamBody:
		return nil, s.unavailable(caller, fmt.Errorf("the answer is larger than %d bytes", maxUpstreamBody), 0)
	}
	return body, nil
}

func (s *upstream) acquire(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	if s.waiting.Add(1) > int64(waitersPerSlot*cap(s.slots)) {
		s.waiting.Add(-1)
		return errors.New("too many questions wait for an answer")
	}
	defer s.waiting.Add(-1)
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unavailable makes the refusal for a question that was not answered. The
// credential may be good, so it is no 401: GOING_AWAY is what the table of
// codes has for 503 with Retry-After and "come back as you are". INTERNAL
// would be 500, and CONNECTION_LIMIT blames the client. The message must not
// look like a refusal of the credential to clients that read messages.
func (s *upstream) unavailable(caller context.Context, cause error, wait time.Duration) *holdfast.Error {
	if caller.Err() == nil { // the caller did not leave: somebody should know
		now, last := time.Now().UnixNano(), s.logged.Load()
		if now-last >= int64(faultLogInterval) && s.logged.CompareAndSwap(last, now) {
			s.logger.Warn("the sign-in service gives no answer", "host", s.host, "error", cause)
		}
	}
	return &holdfast.Error{
		Code:       holdfast.GoingAway,
		Message:    "The sign-in service can't be reached",
		RetryAfter: max(wait, minRetryAfter),
		Err:        fmt.Errorf("auth: ask %s: %w", s.host, cause),
	}
}

// retryAfter reads Retry-After, or X-Retry-After which Better Auth sends, in
// seconds; 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	for _, name := range []string{"Retry-After", "X-Retry-After"} {
		if seconds, err := strconv.Atoi(h.Get(name)); err == nil && seconds > 0 {
			return min(time.Duration(min(seconds, 3600))*time.Second, maxRetryAfter)
		}
	}
	return 0
}

// close ends the idle connections, if they are not somebody else's.
func (s *upstream) close() {
	if s.owned {
		s.client.CloseIdleConnections()
	}
}
