package guard

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rs/cors"

	"github.com/holdfast-dev/holdfast"
)

// OriginsConfig says which pages may talk to this server. The zero value
// allows pages of the same origin, as the request's Host and TLS tell it.
type OriginsConfig struct {
	// PublicURL is where browsers find the server; its scheme, host and port
	// are the same origin. Empty: the request's Host, with https if it came
	// over TLS or a trusted proxy says that it did.
	PublicURL string
	// Allowed are origins besides, each exactly as a browser sends it:
	// scheme://host, with :port unless it is the scheme's own. "*" allows
	// every page, and turns cookies off: see CookiesOff.
	Allowed []string
	// Proxies are trusted to say which scheme the browser used.
	Proxies Proxies
}

// Origins decides which pages may talk to this server. It is immutable, and
// safe for concurrent use.
type Origins struct {
	public  string // the canonical origin of PublicURL; empty: by request
	allowed map[string]bool
	all     bool // "*"
	proxies Proxies
}

// NewOrigins returns an error for a PublicURL or an entry that no browser's
// Origin could ever equal, such as one with a path, a wildcard, or "null".
func NewOrigins(cfg OriginsConfig) (*Origins, error) {
	o := &Origins{allowed: make(map[string]bool, len(cfg.Allowed)), proxies: cfg.Proxies}
	if cfg.PublicURL != "" {
		u, err := url.Parse(cfg.PublicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
			return nil, errors.New("guard: the public URL must be an http or https URL, such as https://example.org")
		}
		if o.public, err = canonicalOrigin(u.Scheme + "://" + u.Host); err != nil {
			return nil, fmt.Errorf("guard: the public URL: %w", err)
		}
	}
	for _, entry := range cfg.Allowed {
		if entry == "*" {
			o.all = true
			continue
		}
		origin, err := canonicalOrigin(entry)
		if err != nil {
			return nil, fmt.Errorf("guard: allowed origin %.100q: %w", entry, err)
		}
		o.allowed[origin] = true
	}
	return o, nil
}

// canonicalOrigin returns a configured origin in the form in which browsers
// send it (RFC 6454 §6.2): lower case, without the scheme's own port.
func canonicalOrigin(text string) (string, error) {
	if text == "null" {
		return "", errors.New("null can't be allowed: any page can have that origin")
	}
	if strings.Contains(text, "*") {
		return "", errors.New("wildcards are not supported: list each origin, or * for all")
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Host == "" || u.Hostname() == "" {
		return "", errors.New("it must look like https://example.org")
	}
	if u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#") {
		return "", errors.New("it must be scheme, host and port alone")
	}
	for i := range len(u.Host) {
		if c := u.Host[i]; c <= ' ' || c >= 0x7f || c == '%' {
			return "", errors.New("the host must be in ASCII (Punycode for other letters)")
		}
	}
	return originOf(strings.ToLower(u.Scheme), u.Host), nil
}

// originOf puts scheme and host together as a browser would.
func originOf(scheme, host string) string {
	host = strings.ToLower(host)
	switch scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return scheme + "://" + strings.TrimSuffix(host, ":")
}

// Check returns an ORIGIN_NOT_ALLOWED error if r comes from a page that may
// not talk to this server. It is for unsafe requests (see Unsafe) and for all
// those of a connection, polling included: other safe requests may come from
// anywhere, since a page can't read their answers.
//
// A request without an Origin header is not a page's, unless Sec-Fetch-Site
// says that it comes from another origin.
func (o *Origins) Check(r *http.Request) error {
	if o.all {
		return nil
	}
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		for _, site := range r.Header["Sec-Fetch-Site"] {
			if site != "same-origin" && site != "none" {
				return holdfast.OriginNotAllowed.New()
			}
		}
		return nil
	}
	if len(origins) == 1 && (o.allowed[origins[0]] || o.same(r, origins[0])) {
		return nil
	}
	return holdfast.OriginNotAllowed.New()
}

func (o *Origins) same(r *http.Request, origin string) bool {
	if o.public != "" {
		return origin == o.public
	}
	if r.Host == "" {
		return false
	}
	scheme := "http"
	if o.proxies.HTTPS(r) {
		scheme = "https"
	}
	return origin == originOf(scheme, r.Host)
}

// CookiesOff reports whether every page is allowed ("*"). Then cookies must
// neither be read nor set: any page could act for whoever looks at it.
func (o *Origins) CookiesOff() bool { return o.all }

// CORS lets the pages of the allowed origins read the answers of next, with
// credentials unless every page is allowed, and answers preflight requests.
// It refuses nothing by itself: see Check. headers are what requests may carry
// besides the usual.
func (o *Origins) CORS(next http.Handler, headers ...string) http.Handler {
	options := cors.Options{
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: append([]string{"Content-Type", "Authorization", "X-CSRF-Token"}, headers...),
		ExposedHeaders: []string{"X-CSRF-Token", "Retry-After"},
		MaxAge:         600, // seconds
	}
	if o.all {
		options.AllowedOrigins = []string{"*"}
	} else {
		options.AllowOriginFunc = func(origin string) bool { return o.allowed[origin] }
		options.AllowCredentials = true
	}
	return cors.New(options).Handler(next)
}
