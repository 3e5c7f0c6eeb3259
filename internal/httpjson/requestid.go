package httpjson

import (
	"context"
	"crypto/rand"
	"net/http"
)

// requestIDHeader carries a request's id in both directions.
const requestIDHeader = "X-Request-Id"

// maxRequestID bounds, in bytes, the ids that are taken from requests.
const maxRequestID = 128

type requestIDKey struct{}

// WithRequestID returns r with its id fixed, so that every later RequestID of
// it, and what is logged about it, agree.
func WithRequestID(r *http.Request) *http.Request {
	if _, ok := r.Context().Value(requestIDKey{}).(string); ok {
		return r
	}
	return r.WithContext(context.WithValue(r.Context(), requestIDKey{}, RequestID(r)))
}

// RequestID returns r's id: the one that WithRequestID fixed, else the
// X-Request-Id header if it is 1 to 128 characters of [A-Za-z0-9._-], else a
// random one, new at each call. r may be nil.
func RequestID(r *http.Request) string {
	if r != nil {
		if id, ok := r.Context().Value(requestIDKey{}).(string); ok {
			return id
		}
		if id := r.Header.Get(requestIDHeader); validRequestID(id) {
			return id
		}
	}
	return rand.Text()
}

// validRequestID keeps everything out that could forge a line of a log.
func validRequestID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
