package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/guard"
)

// HTTPConfig says how a provider is served over HTTP. The zero value works for
// pages of the same origin.
type HTTPConfig struct {
	// Prefix is where the calls are: "/api". "/" stands for none.
	Prefix string
	// PublicURL is where browsers see this server, for example
	// https://example.com; default the provider's. It settles which origin is
	// its own, and whether cookies are those of https. Without one, each
	// request does.
	PublicURL string
	// AllowedOrigins are the exact origins, besides the server's own, whose
	// pages may call. "*" allows all, and turns cookies off.
	AllowedOrigins []string
	// TrustedProxies are the networks (10.0.0.0/8) and addresses whose
	// X-Forwarded-For and X-Forwarded-Proto headers count.
	TrustedProxies []string
	// SameSite is that of the cookies: http.SameSiteLaxMode by default,
	// http.SameSiteStrictMode, or for pages of other sites
	// http.SameSiteNoneMode, which makes the cookies Secure.
	SameSite http.SameSite

	// CallRate bounds the calls a second from one address (IPv6: one /64): 20,
	// with a burst of five times as many. Negative: no limit.
	CallRate float64
	// AttemptRate bounds those among them that try a password or a code, or
	// send a mail: 0.5 a second, with a burst of 30. Negative: no limit.
	AttemptRate float64
	// Timeout bounds the work on one call: 30 s.
	Timeout time.Duration

	// Logger gets what goes wrong inside; nil: the provider's.
	Logger *slog.Logger
}

const (
	callBurst    = 5 // times CallRate
	attemptBurst = 30
)

// Handler serves a provider over HTTP, as docs/protocol.md §3 says. As an
// auth.Authenticator it takes the session cookie as well as access tokens. It
// is safe for concurrent use, and has nothing to be closed.
type Handler struct {
	p        *Provider
	cfg      HTTPConfig
	log      *slog.Logger
	proxies  guard.Proxies
	origins  *guard.Origins
	fetch    *http.CrossOriginProtection
	csrfKey  auth.Secret
	calls    *guard.Limiter[netip.Prefix] // nil: no limit
	attempts *guard.Limiter[netip.Prefix] // nil: no limit
	serve    http.Handler
}

var (
	_ http.Handler       = (*Handler)(nil)
	_ auth.Authenticator = (*Handler)(nil)
)

// NewHandler checks the configuration. The handler wants the whole path of a
// request: see Paths.
func NewHandler(p *Provider, cfg HTTPConfig) (*Handler, error) {
	cfg, err := cfg.withDefaults(p)
	if err != nil {
		return nil, err
	}
	h := &Handler{p: p, cfg: cfg, log: cfg.Logger, csrfKey: p.DeriveKey("CSRF tokens")}
	if h.proxies, err = guard.ParseProxies(cfg.TrustedProxies...); err != nil {
		return nil, err
	}
	h.origins, err = guard.NewOrigins(guard.OriginsConfig{PublicURL: cfg.PublicURL, Allowed: cfg.AllowedOrigins, Proxies: h.proxies})
	if err != nil {
		return nil, err
	}
	if h.fetch, err = crossOrigin(cfg); err != nil {
		return nil, err
	}
	if cfg.CallRate > 0 {
		burst := max(1, int(callBurst*cfg.CallRate))
		h.calls = guard.NewLimiter[netip.Prefix](guard.LimiterConfig{Rate: rate.Limit(cfg.CallRate), Burst: burst})
	}
	if cfg.AttemptRate > 0 {
		h.attempts = guard.NewLimiter[netip.Prefix](guard.LimiterConfig{Rate: rate.Limit(cfg.AttemptRate), Burst: attemptBurst})
	}
	h.serve = h.origins.CORS(h.mux())
	return h, nil
}

func (c HTTPConfig) withDefaults(p *Provider) (HTTPConfig, error) {
	if p == nil {
		return c, errors.New("identity: NewHandler wants a Provider")
	}
	if c.Prefix == "" {
		c.Prefix = "/api"
	}
	c.Prefix = strings.TrimRight(c.Prefix, "/")
	if c.Prefix != "" && !strings.HasPrefix(c.Prefix, "/") || strings.ContainsAny(c.Prefix, " ;{}%?#") {
		return c, fmt.Errorf("identity: HTTPConfig.Prefix %q must be a plain path that begins with a slash", c.Prefix)
	}
	if c.PublicURL == "" {
		c.PublicURL = p.cfg.PublicURL
	}
	switch c.SameSite {
	case 0, http.SameSiteDefaultMode:
		c.SameSite = http.SameSiteLaxMode
	case http.SameSiteLaxMode, http.SameSiteStrictMode, http.SameSiteNoneMode:
	default:
		return c, fmt.Errorf("identity: HTTPConfig.SameSite %d is none of Lax, Strict and None", c.SameSite)
	}
	if c.CallRate == 0 {
		c.CallRate = 20
	}
	if c.AttemptRate == 0 {
		c.AttemptRate = 0.5
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = p.log
	}
	return c, nil
}

// crossOrigin returns the check of Sec-Fetch-Site, which browsers send and
// pages can't forge; nil where every origin is allowed. guard.Origins looks at
// the Origin header, which settles more; a request has to pass both.
func crossOrigin(cfg HTTPConfig) (*http.CrossOriginProtection, error) {
	if slices.Contains(cfg.AllowedOrigins, "*") {
		return nil, nil
	}
	protection := http.NewCrossOriginProtection()
	for _, text := range append([]string{cfg.PublicURL}, cfg.AllowedOrigins...) {
		if text == "" {
			continue
		}
		u, err := url.Parse(text) // guard has looked at it closely
		if err != nil {
			return nil, fmt.Errorf("identity: origin: %w", err)
		}
		scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
		switch scheme {
		case "http":
			host = strings.TrimSuffix(host, ":80")
		case "https":
			host = strings.TrimSuffix(host, ":443")
		}
		if err := protection.AddTrustedOrigin(scheme + "://" + strings.TrimSuffix(host, ":")); err != nil {
			return nil, fmt.Errorf("identity: origin: %w", err)
		}
	}
	return protection, nil
}

// checkOrigin refuses what a page that may not call has made a browser send.
func (h *Handler) checkOrigin(r *http.Request) error {
	if err := h.origins.Check(r); err != nil {
		return err
	}
	if h.fetch != nil && h.fetch.Check(r) != nil {
		return holdfast.OriginNotAllowed.New()
	}
	return nil
}

// client is the caller, for the devices list and the throttle of sign-ins.
func (h *Handler) client(r *http.Request) Client {
	c := Client{UserAgent: r.UserAgent()}
	if addr := h.proxies.ClientIP(r); addr.IsValid() {
		c.Addr = addr.String()
	}
	return c
}

// Paths returns the patterns at which a http.ServeMux has to have the handler.
func (h *Handler) Paths() []string {
	return []string{h.cfg.Prefix + "/auth/", h.cfg.Prefix + "/realtime/token", "/.well-known/jwks.json"}
}

// ServeHTTP answers one call.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.cfg.Timeout)
	defer cancel()
	h.serve.ServeHTTP(w, r.WithContext(ctx))
}
