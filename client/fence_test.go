package client

import (
	"errors"
	"net/http"
	"strings"
	"testing"
)

func TestTrustedOrigins(t *testing.T) {
	for trusted, ok := range map[string]bool{
		"http://b": true, "https://b": true, "https://b:8443/": true,
		"ftp://b": false, "b": false, "https://": false, "https://b/c": false,
	} {
		if _, err := New(Config{BaseURL: "http://a", TrustedOrigins: []string{trusted}}); (err == nil) != ok {
			t.Errorf("%s: %v", trusted, err)
		}
	}
}

// A handshake follows redirects within the origin, as many as net/http does, and
// asks whom the caller's http.Client asks.
func TestHandshakeRedirects(t *testing.T) {
	no := errors.New("not there")
	for name, test := range map[string]struct {
		redirects int
		check     func(*http.Request, []*http.Request) error
		want      string // the error holds this
		calls     int
	}{
		"nine":           {9, nil, "403", 10},
		"ten":            {10, nil, "stopped after 10 redirects", 10},
		"somebody's no":  {1, func(*http.Request, []*http.Request) error { return no }, "not there", 1},
		"somebody's yes": {12, func(*http.Request, []*http.Request) error { return nil }, "403", 13},
	} {
		calls := 0
		cfg := Config{HTTPClient: &http.Client{CheckRedirect: test.check}, Socket: SocketConfig{MaxAttempts: 1, Transports: []string{WebSocket}}}
		api(t, cfg, func(w http.ResponseWriter, r *http.Request) {
			if calls++; calls <= test.redirects {
				http.Redirect(w, r, "/again", http.StatusTemporaryRedirect)
				return
			}
			w.WriteHeader(http.StatusForbidden)
		}, func(t *testing.T, c *Client) {
			if err := c.Socket().Connect(patient(t)); err == nil || !strings.Contains(err.Error(), test.want) || calls != test.calls {
				t.Errorf("%s: %v after %d calls", name, err, calls)
			}
		})
	}
}
