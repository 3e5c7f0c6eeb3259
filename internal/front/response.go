package front

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// holdBytes is how much of a body is held back until the handler has returned,
// when its length is known.
const holdBytes = 2048

// response writes the answer of a handler that does not take the connection
// over. It is always the last one on its connection: a body of unknown length
// ends with it (RFC 9112 §6.3). There are no trailers. The rest is as net/http
// has it.
type response struct {
	out  io.Writer
	logf func(format string, args ...any)

	header   http.Header // the handler's
	status   int         // 0: not said yet
	fixed    http.Header // what header was then
	length   int64       // what Content-Length says; -1: nothing
	written  int64       // of the body, also what is held back
	held     []byte      // of the body, before the header is sent
	sent     bool        // the header is
	err      error       // the first one of out
	hijacked bool
}

// Header implements http.ResponseWriter.
func (r *response) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *response) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	case r.hijacked:
		r.logf("http: response.WriteHeader on hijacked connection")
		return
	case r.status != 0:
		r.logf("http: superfluous response.WriteHeader call")
		return
	case status < 200 && status != http.StatusSwitchingProtocols:
		var text strings.Builder
		writeHead(&text, status, r.header, map[string]bool{"Content-Length": true, "Transfer-Encoding": true})
		r.write([]byte(text.String()))
		return
	}
	r.status, r.fixed = status, r.header.Clone()
	if text := r.fixed.Get("Content-Length"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 {
			r.logf("http: invalid Content-Length of %q", text)
			r.fixed.Del("Content-Length")
			return
		}
		r.length = n
	}
}

// Write implements http.ResponseWriter.
func (r *response) Write(p []byte) (int, error) {
	if r.hijacked {
		return 0, http.ErrHijacked
	}
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if len(p) > 0 && !hasBody(r.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if r.written += int64(len(p)); r.length >= 0 && r.written > r.length {
		return 0, http.ErrContentLength
	}
	if !r.sent && len(r.held)+len(p) <= holdBytes {
		r.held = append(r.held, p...)
		return len(p), r.err
	}
	if !r.sent {
		r.held = append(r.held, p...)
		r.send(false)
	} else {
		r.write(p)
	}
	if r.err != nil {
		return 0, r.err
	}
	return len(p), nil
}

// WriteString implements io.StringWriter.
func (r *response) WriteString(s string) (int, error) { return r.Write([]byte(s)) }

// Flush implements http.Flusher.
func (r *response) Flush() { _ = r.FlushError() }

// FlushError is for http.ResponseController.
func (r *response) FlushError() error {
	if r.hijacked {
		return http.ErrHijacked
	}
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if !r.sent {
		r.send(false)
	}
	return r.err
}

// finish sends what is left. An error says that the client has not the whole
// answer, and is not to take it for that.
func (r *response) finish() error {
	if r.status == 0 {
		r.WriteHeader(http.StatusOK)
	}
	if !r.sent {
		r.send(true)
	}
	if r.err == nil && r.length >= 0 && r.length != r.written && hasBody(r.status) {
		return errors.New("front: the handler did not write what it declared")
	}
	return r.err
}

// send sends the header with what is held back, which is all there is of the
// body if whole is true.
func (r *response) send(whole bool) {
	h := r.fixed
	for _, name := range []string{"Transfer-Encoding", "Trailer"} {
		h.Del(name) // they are about connections that go on
	}
	switch {
	case r.status == http.StatusNotModified:
		h.Del("Content-Type")
		h.Del("Content-Length")
	case !hasBody(r.status):
		h.Del("Content-Length")
	case len(r.held) > 0 && !has(h, "Content-Type") && h.Get("Content-Encoding") == "":
		h.Set("Content-Type", http.DetectContentType(r.held))
	}
	if whole && r.length < 0 && hasBody(r.status) {
		h.Set("Content-Length", strconv.Itoa(len(r.held)))
	}
	if !has(h, "Date") {
		h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	if said := h.Get("Connection"); r.status != http.StatusSwitchingProtocols && !strings.EqualFold(said, "close") {
		if said != "" {
			said += ", "
		}
		h.Set("Connection", said+"close")
	}
	var text strings.Builder
	writeHead(&text, r.status, h, nil)
	text.Write(r.held)
	r.sent, r.held = true, nil
	r.write([]byte(text.String()))
}

func (r *response) write(p []byte) {
	if r.err == nil {
		_, r.err = r.out.Write(p)
	}
}

// writeHead writes the status line and the headers, without those that no client
// could read.
func writeHead(to *strings.Builder, status int, h http.Header, without map[string]bool) {
	text := http.StatusText(status)
	if text == "" {
		text = "status code " + strconv.Itoa(status)
	}
	fmt.Fprintf(to, "HTTP/1.1 %03d %s\r\n", status, text)
	_ = h.WriteSubset(to, without) // a Builder takes everything
	to.WriteString("\r\n")
}

// has reports whether there is a header, or nil in its place so that there is
// none.
func has(h http.Header, name string) bool {
	_, ok := h[name]
	return ok
}

// hasBody reports whether answers of this status may have a body (RFC 9110 §6.4.1).
func hasBody(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
