package guard_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/guard"
)

// request is a polling request as a browser would send it, with headers given
// as name, value, name, value.
func request(t *testing.T, host string, headers ...string) *http.Request {
	t.Helper()
	r := httptest.NewRequest("GET", "/socket.io/?EIO=4&transport=polling", nil)
	r.Host = host
	r.RemoteAddr = "192.0.2.1:1234"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func origins(t *testing.T, cfg guard.OriginsConfig) *guard.Origins {
	t.Helper()
	o, err := guard.NewOrigins(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func checkOrigin(t *testing.T, o *guard.Origins, r *http.Request, want bool) {
	t.Helper()
	err := o.Check(r)
	if (err == nil) != want || err != nil && !errors.Is(err, holdfast.OriginNotAllowed) {
		t.Errorf("Host %q, %v: %v, want allowed %v", r.Host, r.Header, err, want)
	}
}

func TestOriginAgainstPublicURL(t *testing.T) {
	o := origins(t, guard.OriginsConfig{
		PublicURL: "https://app.example.org/base/",
		Allowed:   []string{"https://Other.example.net:443", "http://localhost:5173", "capacitor://localhost", "https://slash.example.org/"},
	})
	for origin, want := range map[string]bool{
		"https://app.example.org":   true,
		"https://other.example.net": true,
		"http://localhost:5173":     true,
		"capacitor://localhost":     true,
		"https://slash.example.org": true,

		"null":                                     false,
		"":                                         false,
		"*":                                        false,
		"https://":                                 false,
		"app.example.org":                          false,
		"//app.example.org":                        false,
		"https:app.example.org":                    false,
		"http://app.example.org":                   false, // scheme
		"wss://app.example.org":                    false,
		"ftp://app.example.org":                    false,
		"https://app.example.org:8443":             false, // port
		"https://app.example.org:80":               false,
		"https://app.example.org:443":              false, // no browser sends it
		"https://app.example.org:":                 false,
		"http://localhost":                         false,
		"http://localhost:51730":                   false,
		"http://localhost:517":                     false,
		"https://localhost:5173":                   false,
		"https://app.example.org.evil.net":         false, // suffix, prefix
		"https://app.example.organic":              false,
		"https://evil-app.example.org":             false,
		"https://evil.app.example.org":             false,
		"https://example.org":                      false,
		"https://org":                              false,
		"https://appxexample.org":                  false,
		"https://app.example.org.":                 false, // spelling
		"https://APP.example.org":                  false,
		"HTTPS://app.example.org":                  false,
		"https://app.example.org/":                 false,
		"https://app.example.org/x":                false,
		"https://app.example.org?x":                false,
		"https://app.example.org#x":                false,
		" https://app.example.org":                 false,
		"https://app.example.org ":                 false,
		"https://app.example.org\x00":              false,
		"https://app.example.org@evil.net":         false, // userinfo
		"https://user@app.example.org":             false,
		"https://evil.net/@app.example.org":        false,
		"https://evil.net#@app.example.org":        false,
		`https://evil.net\@app.example.org`:        false,
		"https://evil.net?https://app.example.org": false,
		"https://app.example.org,https://evil.net": false,
		"https://app.example.org https://evil.net": false,
		"https://xn--app-example-org":              false,
		"https://аpp.example.org":                  false, // a Cyrillic a
		"https://app。example。org":                  false,
		"https://[::1]":                            false,
		"file://":                                  false,
		"chrome-extension://app.example.org":       false,
	} {
		checkOrigin(t, o, request(t, "app.example.org", "Origin", origin), want)
		// What the request calls itself changes nothing once there is a public URL.
		checkOrigin(t, o, request(t, "evil.net", "Origin", origin, "X-Forwarded-Host", "evil.net", "Sec-Fetch-Site", "same-origin"), want)
	}
	checkOrigin(t, o, request(t, "evil.net", "Origin", "http://evil.net"), false) // rebound DNS
}

func TestOriginAgainstHost(t *testing.T) {
	for _, test := range []struct {
		name, host, origin string
		tls                bool
		remote, proto      string
		want               bool
	}{
		{"plain", "example.org", "http://example.org", false, "", "", true},
		{"with port", "example.org:8080", "http://example.org:8080", false, "", "", true},
		{"own port left out", "example.org:80", "http://example.org", false, "", "", true},
		{"over TLS", "example.org", "https://example.org", true, "", "", true},
		{"over TLS, own port", "example.org:443", "https://example.org", true, "", "", true},
		{"Host in capitals", "Example.ORG", "http://example.org", false, "", "", true},
		{"IPv6", "[::1]:8080", "http://[::1]:8080", false, "", "", true},
		{"behind a proxy with TLS", "example.org", "https://example.org", false, "10.0.0.1:1", "https", true},
		{"behind two", "example.org", "https://example.org", false, "10.0.0.1:1", "http, HTTPS", true},

		{"other host", "example.org", "http://evil.net", false, "", "", false},
		{"other port", "example.org:8080", "http://example.org:8081", false, "", "", false},
		{"port left out", "example.org:8080", "http://example.org", false, "", "", false},
		{"other scheme", "example.org", "https://example.org", false, "", "", false},
		{"less safe scheme", "example.org", "http://example.org", true, "", "", false},
		{"port of the other scheme", "example.org:443", "http://example.org", false, "", "", false},
		{"no host", "", "http://", false, "", "", false},
		{"null", "null", "null", false, "", "", false},
		{"proto of a stranger", "example.org", "https://example.org", false, "192.0.2.1:1", "https", false},
		{"proto of a proxy", "example.org", "http://example.org", false, "10.0.0.1:1", "https", false},
		{"proto written by the client", "example.org", "https://example.org", false, "10.0.0.1:1", "https, http", false},
	} {
		proxies, err := guard.ParseProxies("10.0.0.0/8")
		if err != nil {
			t.Fatal(err)
		}
		o := origins(t, guard.OriginsConfig{Proxies: proxies})
		r := request(t, test.host, "Origin", test.origin)
		if test.tls {
			r.TLS = &tls.ConnectionState{}
		}
		if test.remote != "" {
			r.RemoteAddr = test.remote
		}
		if test.proto != "" {
			r.Header.Set("X-Forwarded-Proto", test.proto)
		}
		t.Run(test.name, func(t *testing.T) { checkOrigin(t, o, r, test.want) })
	}
}

func TestWithoutOrigin(t *testing.T) {
	o := origins(t, guard.OriginsConfig{PublicURL: "https://example.org", Allowed: []string{"https://other.example.org"}})
	for _, test := range []struct {
		headers []string
		want    bool
	}{
		{nil, true}, // not a browser
		{[]string{"Sec-Fetch-Site", "same-origin"}, true},
		{[]string{"Sec-Fetch-Site", "none"}, true},
		{[]string{"Sec-Fetch-Site", "cross-site"}, false},
		{[]string{"Sec-Fetch-Site", "same-site"}, false},
		{[]string{"Sec-Fetch-Site", "Cross-Site"}, false},
		{[]string{"Sec-Fetch-Site", ""}, false},
		{[]string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, false},
		{[]string{"Referer", "https://evil.net/"}, true},
		// An Origin that is allowed says it better.
		{[]string{"Origin", "https://other.example.org", "Sec-Fetch-Site", "cross-site"}, true},
		{[]string{"Origin", "https://example.org", "Sec-Fetch-Site", "same-origin"}, true},
		{[]string{"Origin", "https://example.org", "Origin", "https://example.org"}, false},
		{[]string{"Origin", "https://example.org", "Origin", "https://evil.net"}, false},
	} {
		checkOrigin(t, o, request(t, "example.org", test.headers...), test.want)
	}
}

func TestEveryOrigin(t *testing.T) {
	o := origins(t, guard.OriginsConfig{PublicURL: "https://example.org", Allowed: []string{"*"}})
	if !o.CookiesOff() {
		t.Error("cookies are on for every page")
	}
	for _, origin := range []string{"https://example.org", "https://evil.net", "file://"} {
		checkOrigin(t, o, request(t, "example.org", "Origin", origin), true)
	}
	checkOrigin(t, o, request(t, "example.org", "Sec-Fetch-Site", "cross-site"), true)
	if origins(t, guard.OriginsConfig{Allowed: []string{"https://a.example.org"}}).CookiesOff() {
		t.Error("cookies are off for exact entries")
	}
}

func TestOriginsRefusesEntries(t *testing.T) {
	for _, entry := range []string{
		"", "null", "example.org", "//example.org", "https://", "https:///x", "https://*.example.org", "https://example.org:*",
		"**", "https://example.org/path", "https://example.org?x", "https://example.org?", "https://example.org#", "https://example.org#x",
		"https://user@example.org", "https://müller.example", "https://example.org%00", "https://:443", "https://exa mple.org", "https://example.org:x",
	} {
		if _, err := guard.NewOrigins(guard.OriginsConfig{Allowed: []string{entry}}); err == nil {
			t.Errorf("entry %q is taken", entry)
		}
	}
	for _, public := range []string{"example.org", "ftp://example.org", "https://", "https://user:pass@example.org", "://", "/", "https://*.example.org"} {
		_, err := guard.NewOrigins(guard.OriginsConfig{PublicURL: public})
		if err == nil {
			t.Errorf("public URL %q is taken", public)
		} else if strings.Contains(err.Error(), "pass") {
			t.Errorf("the error tells a password: %v", err)
		}
	}
}

func TestUnsafe(t *testing.T) {
	for _, test := range []struct {
		method  string
		headers []string
		want    bool
	}{
		{"GET", nil, false},
		{"HEAD", nil, false},
		{"OPTIONS", nil, false},
		{"POST", nil, true},
		{"PUT", nil, true},
		{"PATCH", nil, true},
		{"DELETE", nil, true},
		{"get", nil, true},
		{"CONNECT", nil, true},
		{"PROPFIND", nil, true},
		{"GET", []string{"Upgrade", "websocket", "Connection", "Upgrade"}, true},
		{"GET", []string{"Upgrade", "WebSocket"}, true},
		{"GET", []string{"Connection", "keep-alive, Upgrade"}, true},
		{"GET", []string{"Connection", "keep-alive"}, false},
	} {
		r := request(t, "example.org", test.headers...)
		r.Method = test.method
		if got := guard.Unsafe(r); got != test.want {
			t.Errorf("%s %v: %v", test.method, test.headers, got)
		}
	}
}

func TestCORS(t *testing.T) {
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	exact := origins(t, guard.OriginsConfig{Allowed: []string{"https://app.example.org"}}).CORS(next)
	every := origins(t, guard.OriginsConfig{Allowed: []string{"*"}}).CORS(next)
	for _, test := range []struct {
		name               string
		handler            http.Handler
		origin             string
		allow, credentials string
	}{
		{"exact", exact, "https://app.example.org", "https://app.example.org", "true"},
		{"other", exact, "https://evil.net", "", ""},
		{"null", exact, "null", "", ""},
		{"suffix", exact, "https://app.example.org.evil.net", "", ""},
		{"every", every, "https://evil.net", "*", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			test.handler.ServeHTTP(w, request(t, "example.org", "Origin", test.origin))
			h := w.Header()
			if w.Code != http.StatusTeapot || h.Get("Access-Control-Allow-Origin") != test.allow ||
				h.Get("Access-Control-Allow-Credentials") != test.credentials {
				t.Errorf("%d %v", w.Code, h)
			}
			if test.allow != "" && !strings.EqualFold(strings.ReplaceAll(h.Get("Access-Control-Expose-Headers"), " ", ""), "X-CSRF-Token,Retry-After") {
				t.Errorf("exposed: %q", h.Get("Access-Control-Expose-Headers"))
			}
			if test.allow != "*" && !strings.Contains(h.Get("Vary"), "Origin") {
				t.Errorf("Vary: %q", h.Get("Vary"))
			}

			w = httptest.NewRecorder()
			r := request(t, "example.org", "Origin", test.origin,
				"Access-Control-Request-Method", "PUT", "Access-Control-Request-Headers", "authorization,content-type,x-csrf-token")
			r.Method = http.MethodOptions
			test.handler.ServeHTTP(w, r)
			if w.Code == http.StatusTeapot {
				t.Error("the preflight request got through")
			}
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != test.allow {
				t.Errorf("preflight: %v", w.Header())
			}
			if test.allow != "" && w.Header().Get("Access-Control-Allow-Headers") == "" {
				t.Errorf("preflight: headers are not allowed: %v", w.Header())
			}

			r.Header.Set("Access-Control-Request-Headers", "x-evil")
			w = httptest.NewRecorder()
			test.handler.ServeHTTP(w, r)
			if got := w.Header().Get("Access-Control-Allow-Headers"); got != "" {
				t.Errorf("preflight allows %q", got)
			}
		})
	}
}

func ExampleOrigins() {
	o, err := guard.NewOrigins(guard.OriginsConfig{
		PublicURL: "https://example.org",
		Allowed:   []string{"https://app.example.net"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, origin := range []string{"https://example.org", "https://app.example.net", "https://app.example.net.evil.com", "null"} {
		r := httptest.NewRequest("POST", "/socket.io/", nil)
		r.Header.Set("Origin", origin)
		fmt.Println(origin, o.Check(r) == nil)
	}
	// Output:
	// https://example.org true
	// https://app.example.net true
	// https://app.example.net.evil.com false
	// null false
}
