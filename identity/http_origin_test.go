package identity

import (
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

func TestHTTPOriginAttacks(t *testing.T) {
	allow := func(_ *Config, c *HTTPConfig) {
		c.AllowedOrigins = []string{"https://app.example.org:8443", "HTTPS://Web.Example.Net:443"}
	}
	oneSite(t, allow, func(t *testing.T, s *site) {
		l := s.newUserLogin("ann@example.com")
		b := s.program(t)
		b.put("__Host-session", l.CookieSecret, "/")
		for what, c := range map[string]struct {
			origin, site string
			ok           bool
		}{
			"no browser":                        {"", "", true},
			"its own":                           {"https://example.com", "same-origin", true},
			"its own, an older browser":         {"https://example.com", "", true},
			"allowed":                           {"https://app.example.org:8443", "cross-site", true},
			"allowed, in other words":           {"https://web.example.net", "cross-site", true},
			"typed in":                          {"", "none", true},
			"null":                              {"null", "", false},
			"null from its own":                 {"null", "same-origin", false},
			"a suffix":                          {"https://example.com.evil.example", "", false},
			"a prefix":                          {"https://evil-example.com", "", false},
			"below":                             {"https://sub.example.com", "same-site", false},
			"above":                             {"https://com", "", false},
			"another port":                      {"https://example.com:8443", "same-site", false},
			"the scheme's port":                 {"https://example.com:443", "", false},
			"another scheme":                    {"http://example.com", "cross-site", false},
			"no scheme":                         {"example.com", "", false},
			"userinfo":                          {"https://example.com@evil.example", "", false},
			"userinfo of its own":               {"https://evil@example.com", "", false},
			"a path":                            {"https://example.com/", "", false},
			"upper case":                        {"https://EXAMPLE.com", "", false},
			"a dot":                             {"https://example.com.", "", false},
			"two":                               {"https://example.com https://evil.example", "", false},
			"a list":                            {"https://example.com,https://evil.example", "", false},
			"an allowed one, another port":      {"https://app.example.org", "", false},
			"star":                              {"*", "", false},
			"a file":                            {"file://", "", false},
			"an extension":                      {"chrome-extension://abcdefghijklmnop", "", false},
			"no Origin, but cross-site":         {"", "cross-site", false},
			"no Origin, but same-site":          {"", "same-site", false},
			"no Origin, but something else":     {"", "whatever", false},
			"another, although it says its own": {"https://evil.example", "same-origin", false},
		} {
			code := holdfast.OriginNotAllowed
			if c.ok {
				code = ""
			}
			headers := []string{"Origin", c.origin, "Sec-Fetch-Site", c.site}
			b.do("POST", "/api/realtime/token", "", headers...).refused(what, code)
			p := s.program(t)
			p.do("POST", "/api/auth/refresh", form("refreshToken", "hfr_x"), headers...).refused(what+", before all else", map[bool]holdfast.Code{true: holdfast.Unauthenticated, false: code}[c.ok])
			if a := b.do("GET", "/api/auth/session", "", headers...); a.status != 200 {
				t.Errorf("%s: a read is refused: %s", what, a.body)
			} else if allowed := a.header.Get("Access-Control-Allow-Origin"); allowed != "" && !c.ok {
				t.Errorf("%s: and may be read by %s", what, allowed)
			}
		}
		r := b.request("POST", "/api/realtime/token", "")
		r.Header["Origin"] = []string{"https://example.com", "https://evil.example"}
		b.send(r).refused("two headers", holdfast.OriginNotAllowed)
		for _, rt := range s.routes() {
			if path := "/api" + strings.ReplaceAll(rt.path, "{id}", "x"); rt.method != "GET" {
				s.program(t).do(rt.method, path, "{}", "Origin", "https://evil.example").refused("every call", holdfast.OriginNotAllowed)
			}
		}
	})
	// Without a public URL the request's own address counts.
	noURL := func(c *Config, _ *HTTPConfig) { c.PublicURL = "" }
	oneSite(t, noURL, func(t *testing.T, s *site) {
		for origin, ok := range map[string]bool{"http://example.com": true, "https://example.com": false, "http://example.com:8080": false, "http://evil.example": false} {
			code := holdfast.OriginNotAllowed
			if ok {
				code = holdfast.Unauthenticated
			}
			s.program(t).do("POST", "/api/realtime/token", "", "Origin", origin).refused(origin, code)
		}
		// A browser that says that the page is another's is believed.
		s.program(t).do("POST", "/api/realtime/token", "", "Origin", "http://example.com", "Sec-Fetch-Site", "cross-site").refused("a contradiction", holdfast.OriginNotAllowed)
	})
}

func TestHTTPCORS(t *testing.T) {
	const app = "https://app.example.org"
	allow := func(_ *Config, c *HTTPConfig) {
		c.AllowedOrigins, c.SameSite = []string{app}, http.SameSiteNoneMode
	}
	oneSite(t, allow, func(t *testing.T, s *site) {
		s.user("ann@example.com")
		b := s.browser(t)
		b.origin = app
		preflight := func(origin string) http.Header {
			r := b.request("OPTIONS", "/api/auth/sign-in", "", "Origin", origin,
				"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type,x-csrf-token")
			w := httptestRecorder(s, r)
			return w.Header()
		}
		h := preflight(app)
		if h.Get("Access-Control-Allow-Origin") != app || h.Get("Access-Control-Allow-Credentials") != "true" ||
			!strings.Contains(h.Get("Access-Control-Allow-Headers"), "x-csrf-token") || h.Get("Access-Control-Allow-Methods") != "POST" {
			t.Errorf("preflight: %s", h)
		}
		if h := preflight("https://evil.example"); h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("preflight of another: %s", h)
		}
		a := b.signIn("ann@example.com")
		exposed := strings.ToLower(a.header.Get("Access-Control-Expose-Headers"))
		if a.header.Get("Access-Control-Allow-Origin") != app || !strings.Contains(exposed, "x-csrf-token") || !strings.Contains(exposed, "retry-after") ||
			!strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin") {
			t.Errorf("sign-in: %s", a.header)
		}
		if b.signedInAs() == "" || a.set["__Host-session"].SameSite != http.SameSiteNoneMode {
			t.Errorf("cookies: %v", a.set)
		}
	})
}
