// Package httpjson writes and reads the JSON bodies of Holdfast's HTTP calls:
// error bodies with their status and headers (docs/protocol.md §2), plain
// answers, and strictly decoded requests (§3).
package httpjson

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/holdfast-dev/holdfast"
)

// errorBody is the body of every refusal over HTTP.
type errorBody struct {
	Error      string          `json:"error"`
	Code       holdfast.Code   `json:"code"`
	RequestID  string          `json:"requestId"`
	RetryAfter int64           `json:"retryAfter,omitempty"` // whole seconds
	Details    json.RawMessage `json:"details,omitempty"`
}

// WriteError answers r with err: the status, body and headers of its code.
// An error that is no *holdfast.Error is shown as INTERNAL, and of an INTERNAL
// error only the standard sentence and the request id are shown. The answer
// is never cached. A nil err is INTERNAL too: a caller that refuses has a reason.
//
// 401 carries WWW-Authenticate, with error="invalid_token" only if r brought
// a credential (RFC 6750 §3). RATE_LIMITED, CONNECTION_LIMIT and GOING_AWAY
// always carry Retry-After, of one second where err has none.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	e := holdfast.AsError(err)
	if e == nil {
		e = holdfast.Internal.New()
	}
	info := e.Code.Info()
	body := errorBody{
		Error:      e.PublicMessage(),
		Code:       e.Code,
		RetryAfter: e.RetryAfterSeconds(),
		Details:    e.Details,
	}
	if !e.Code.Known() {
		body.Code = holdfast.Internal
	}
	switch body.Code {
	case holdfast.Internal:
		body.Details = nil // they may tell about the inside, too
	case holdfast.RateLimited, holdfast.ConnectionLimit, holdfast.GoingAway:
		body.RetryAfter = max(body.RetryAfter, 1)
	}
	if len(body.Details) > 0 && !json.Valid(body.Details) {
		body.Details = nil
	}
	status := info.HTTP
	if status == 0 { // the code is of a connection, not of a request
		status = http.StatusServiceUnavailable
	}

	h := w.Header()
	body.RequestID = h.Get(requestIDHeader)
	if !validRequestID(body.RequestID) {
		body.RequestID = RequestID(r)
		h.Set(requestIDHeader, body.RequestID)
	}
	// What a handler had set for the answer that it did not give.
	for _, name := range []string{"Content-Encoding", "Content-Length", "Content-Range", "Etag", "Last-Modified", "Expires"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	if body.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(body.RetryAfter, 10))
	}
	if status == http.StatusUnauthorized {
		challenge := "Bearer"
		if e.Code != holdfast.Unauthenticated || credentialSent(r) {
			challenge = `Bearer error="invalid_token"`
		}
		h.Set("WWW-Authenticate", challenge)
	}
	text, merr := json.Marshal(body)
	if merr != nil { // can't be: strings, a number and checked JSON
		text = []byte(`{"error":"Internal error","code":"INTERNAL","requestId":""}`)
	}
	writeBody(w, status, text)
}

// Write answers with v as JSON. If v can't be encoded, nothing of it is
// written, the answer is INTERNAL, and the reason is returned. An answer that
// holds tokens needs Cache-Control: no-store, which is the caller's to set.
func Write(w http.ResponseWriter, status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		WriteError(w, nil, err)
		return err
	}
	writeBody(w, status, text)
	return nil
}

// WriteEncoded is Write for JSON that is encoded already, which it sends as it
// is.
func WriteEncoded(w http.ResponseWriter, status int, text []byte) { writeBody(w, status, text) }

func writeBody(w http.ResponseWriter, status int, text []byte) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a peer that is gone needs no answer
}

// credentialSent reports whether r tried to say who it is: by header, by a
// session cookie, or by a token in the URL.
func credentialSent(r *http.Request) bool {
	if r == nil {
		return false
	}
	if r.Header.Get("Authorization") != "" {
		return true
	}
	for _, name := range []string{"__Host-session", "session"} {
		if c, err := r.Cookie(name); err == nil && c.Value != "" {
			return true
		}
	}
	return r.URL != nil && strings.Contains(r.URL.RawQuery, "token=") && queryToken(r.URL)
}

func queryToken(u *url.URL) bool { return u.Query().Get("token") != "" }
