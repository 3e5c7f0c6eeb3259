// Package guard keeps out requests that should not get any further: those of
// pages that may not talk to this server (Origins), and those that are too
// many (Limiter, Delays). Proxies says who a request is from.
//
// docs/protocol.md §3 has the rules.
package guard

import (
	"net/http"
	"strings"
)

// Unsafe reports whether r may change something, so that its Origin has to be
// checked: by its method, or because it asks for a WebSocket, which the
// method GET hides. Polling requests of Engine.IO are to be checked whatever
// their method; their handler knows them.
func Unsafe(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, "":
		return r.Header.Get("Upgrade") != "" || strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
	}
	return true
}
