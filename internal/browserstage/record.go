package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"sync"
)

// maxStart bounds what is kept of an answer to find its code.
const maxStart = 1 << 10

// request is one request as it came in, and what it was answered.
type request struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Origin string `json:"origin"`
	Cookie bool   `json:"cookie"` // the session's came along
	Status int    `json:"status"` // 101 for a WebSocket, 0 for none yet
	Code   string `json:"code"`   // of a refusal
}

// record keeps what requests come to a handler.
type record struct {
	next http.Handler

	mu   sync.Mutex // guards what follows
	seen []*request
}

func (c *record) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	entry := &request{Method: r.Method, Path: r.URL.Path, Origin: r.Header.Get("Origin")}
	if _, err := r.Cookie("session"); err == nil {
		entry.Cookie = true
	}
	c.mu.Lock()
	c.seen = append(c.seen, entry)
	c.mu.Unlock()
	to := &answer{ResponseWriter: w, of: c, entry: entry}
	c.next.ServeHTTP(to, r)
	to.finish()
}

func (c *record) all() []request {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]request, len(c.seen))
	for i, entry := range c.seen {
		out[i] = *entry
	}
	return out
}

// answer looks at an answer that passes.
type answer struct {
	http.ResponseWriter
	of    *record
	entry *request
	start bytes.Buffer
}

func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) status(n int) {
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	if a.entry.Status == 0 {
		a.entry.Status = n
	}
}

func (a *answer) WriteHeader(n int) {
	a.status(n)
	a.ResponseWriter.WriteHeader(n)
}

func (a *answer) Write(p []byte) (int, error) {
	a.status(http.StatusOK)
	a.start.Write(p[:min(len(p), maxStart-a.start.Len())])
	return a.ResponseWriter.Write(p)
}

func (a *answer) Flush() {
	_ = http.NewResponseController(a.ResponseWriter).Flush() // the page has gone
}

func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	a.status(http.StatusSwitchingProtocols)
	return http.NewResponseController(a.ResponseWriter).Hijack()
}

func (a *answer) finish() {
	var body struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(a.start.Bytes(), &body) // what is no error has no code
	a.of.mu.Lock()
	defer a.of.mu.Unlock()
	a.entry.Code = body.Code
}
