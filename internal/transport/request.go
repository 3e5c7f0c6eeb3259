package transport

import (
	"net/http"
	"net/url"
	"strings"
)

// Request is what is kept of the HTTP request that opened a session. It is
// shared: nobody may change it.
type Request struct {
	// Header has the request's headers, cookies too, without those that only
	// concern the HTTP connection and the WebSocket handshake.
	Header http.Header
	// RemoteAddr is the peer of the TCP connection, which may be a proxy.
	RemoteAddr string
	// Host is the host that the client asked for.
	Host string
	// URL is the request's path and query.
	URL *url.URL
	// TLS says that the connection to this process is encrypted.
	TLS bool
}

// newRequest copies from r what a session needs, so that the rest of it can go.
func newRequest(r *http.Request) *Request {
	header := make(http.Header, len(r.Header))
	for name, values := range r.Header {
		switch name {
		case "Connection", "Upgrade", "Keep-Alive", "Accept-Encoding":
			continue
		}
		if strings.HasPrefix(name, "Sec-Websocket-") {
			continue
		}
		header[name] = append([]string(nil), values...)
	}
	return &Request{
		Header:     header,
		RemoteAddr: r.RemoteAddr,
		Host:       r.Host,
		URL:        &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery},
		TLS:        r.TLS != nil,
	}
}
