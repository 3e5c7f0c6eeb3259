package front

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"time"
)

// exchange is a request that the front answers itself, and the handler's
// http.ResponseWriter. It is not used again, since a handler may keep its
// context.
type exchange struct {
	worker  *worker
	conn    net.Conn
	request *http.Request
	early   []byte // what came behind the header
	ctx     requestContext
	response

	mu    sync.Mutex // guards what follows
	taken bool       // the connection is the handler's
	over  bool       // the handler has returned
}

var (
	_ http.Hijacker   = (*exchange)(nil)
	_ io.StringWriter = (*exchange)(nil)
)

func newExchange(w *worker, conn net.Conn, r *http.Request) *exchange {
	server := w.front.server
	x := &exchange{worker: w, conn: conn}
	x.ctx.conn, x.ctx.parent = conn, w.front.base
	if server.ConnContext != nil {
		x.ctx.parent = server.ConnContext(w.front.base, conn)
	}
	if server.ReadTimeout > 0 {
		x.ctx.until = time.Now().Add(server.ReadTimeout)
	}
	if server.WriteTimeout > 0 {
		_ = conn.SetWriteDeadline(time.Now().Add(server.WriteTimeout))
	}
	if n := w.in.Buffered(); n > 0 { // the buffer is for the next connection, too
		early, _ := w.in.Peek(n)
		x.early = bytes.Clone(early)
	}
	r.RemoteAddr = conn.RemoteAddr().String()
	x.request = r.WithContext(&x.ctx)
	x.response = response{out: conn, logf: w.front.logf, header: make(http.Header), length: -1}
	return x
}

// Hijack implements http.Hijacker. The reader has what came behind the header.
// Both buffers are small: whoever takes a connection over has his own.
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !x.take() {
		return nil, nil, http.ErrHijacked
	}
	if x.status != 0 {
		if err := x.FlushError(); err != nil {
			x.conn.Close()
			return nil, nil, err
		}
	}
	early := append(x.early, x.ctx.stop()...)
	in := bufio.NewReaderSize(x.conn, 16)
	if n := len(early); n > 0 {
		in = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(early), x.conn), n)
		_, _ = in.Peek(n)
	}
	x.hijacked = true
	x.worker.front.leaves(x.worker, x.conn)
	_ = x.conn.SetDeadline(time.Time{})
	x.worker.front.state(x.conn, http.StateHijacked)
	return x.conn, bufio.NewReadWriter(in, bufio.NewWriterSize(x.conn, 16)), nil
}

// take makes the connection the handler's, once and before it returns.
func (x *exchange) take() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.taken || x.over {
		return false
	}
	x.taken = true
	return true
}

// SetReadDeadline is for http.ResponseController.
func (x *exchange) SetReadDeadline(t time.Time) error { return x.conn.SetReadDeadline(t) }

// SetWriteDeadline is for http.ResponseController.
func (x *exchange) SetWriteDeadline(t time.Time) error { return x.conn.SetWriteDeadline(t) }

// EnableFullDuplex is for http.ResponseController: there is no body to be read.
func (x *exchange) EnableFullDuplex() error { return nil }

// lingering is how long a client may take to read an answer after which the
// connection is closed: closing it at once, with something unread, would take
// the answer from it.
const lingering = 500 * time.Millisecond

// end is to be deferred: it ends the exchange whatever the handler did.
func (x *exchange) end() {
	fault := recover()
	if fault != nil && fault != http.ErrAbortHandler {
		stack := make([]byte, 64<<10)
		stack = stack[:runtime.Stack(stack, false)]
		x.worker.front.logf("http: panic serving %v: %v\n%s", x.request.RemoteAddr, fault, stack)
	}
	if x.returned() {
		return
	}
	x.conn.Close()
	x.worker.front.state(x.conn, http.StateClosed)
}

// returned notes that the handler has, and reports whether the connection is its
// own.
func (x *exchange) returned() (taken bool) {
	x.mu.Lock()
	x.over = true
	taken = x.taken
	x.mu.Unlock()
	x.ctx.end()
	return taken
}

// finish sends what is left of the answer after a handler that has returned.
func (x *exchange) finish() {
	if x.returned() || x.response.finish() != nil {
		return
	}
	x.worker.front.answered(x.worker)
	if c, ok := x.conn.(interface{ CloseWrite() error }); ok && c.CloseWrite() == nil {
		_ = x.conn.SetReadDeadline(time.Now().Add(lingering))
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{x.conn}, make([]byte, 512))
	}
}
