package front

import (
	"bufio"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

// headBytes is the size of the buffer for a first request. What has a longer
// header goes to the server.
const headBytes = 4096

// idleWorkers is how many goroutines may wait for a connection; each holds its
// buffer, and a stack of 8 KB. A new one has to make the one, and grow the other
// three times on the way through a handler, each time by copying it. So there
// are as many as clients may come at once after a pause.
const idleWorkers = 64

// worker is a goroutine that reads first requests, one connection at a time.
type worker struct {
	front *Front
	next  chan net.Conn // closed where no more will come
	in    *bufio.Reader

	// Guarded by front.mu.
	conn  net.Conn // nil: there is none, or it is somebody else's by now
	waits bool     // conn has not sent a whole request, or was answered
}

func newWorker(f *Front, conn net.Conn) *worker {
	return &worker{front: f, next: make(chan net.Conn, 1), in: bufio.NewReaderSize(nil, headBytes), conn: conn, waits: true}
}

func (w *worker) run(conn net.Conn) {
	defer w.front.gone(w) // also where a handler ends the goroutine
	for more := true; more; conn, more = <-w.next {
		w.serve(conn)
		conn = nil // what waits holds no connection
		if !w.front.rests(w) {
			return
		}
	}
}

// gone forgets a worker that ends.
func (f *Front) gone(w *worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.workers, w)
	if f.closed && len(f.workers) == 0 {
		close(f.over)
	}
}

// rests has w wait for a connection; false if it is not needed any more.
func (f *Front) rests(w *worker) bool {
	w.in.Reset(nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	w.conn = nil
	if f.closed || len(f.idle) >= idleWorkers {
		return false
	}
	f.idle = append(f.idle, w)
	return true
}

// begins notes that a request is being answered, which Shutdown waits for; false
// if it is too late.
func (f *Front) begins(w *worker) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.waits = false
	return !f.closed
}

// leaves notes that a connection is somebody else's. w may have another one by
// now.
func (f *Front) leaves(w *worker, conn net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.conn == conn {
		w.conn = nil
	}
}

// answered notes that nothing of a request is left but to close its connection.
func (f *Front) answered(w *worker) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w.waits = true
	if f.closed && w.conn != nil {
		w.conn.Close()
	}
}

// serve reads the first request of a connection and answers it, or has the
// server do so.
func (w *worker) serve(conn net.Conn) {
	if d := w.front.headerTimeout(); d > 0 {
		_ = conn.SetReadDeadline(time.Now().Add(d))
	}
	w.in.Reset(conn)
	head, ok := w.readHead()
	if !ok {
		if len(head) == 0 {
			conn.Close()
			return
		}
		w.giveUp(conn, head)
		return
	}
	// It consumes the header alone: what follows stays in the buffer.
	r, err := http.ReadRequest(w.in)
	if err != nil || r.Host == "" || r.Close || r.ContentLength != 0 || r.Body != http.NoBody {
		w.giveUp(conn, head)
		return
	}
	w.answer(conn, r)
}

// readHead reads until there is the whole header of a handshake. It returns all
// that was read; false where the server is to have it, or nothing is to be done
// about the connection any more.
func (w *worker) readHead() (read []byte, ok bool) {
	var s scan
	for {
		_, err := w.in.Peek(w.in.Buffered() + 1)
		read, _ = w.in.Peek(w.in.Buffered())
		switch {
		case err == bufio.ErrBufferFull:
			return read, false
		case errors.Is(err, io.EOF):
			return read, false // an unfinished request is answered
		case err != nil:
			return nil, false // too slow, or cut off
		}
		switch s.look(read) {
		case handshake:
			return read, true
		case other:
			return read, false
		}
	}
}

// giveUp leaves a connection to the server, which reads again what was read.
func (w *worker) giveUp(conn net.Conn, read []byte) {
	w.front.leaves(w, conn)
	_ = conn.SetReadDeadline(time.Time{})
	w.front.rest.give(&replayed{Conn: conn, rest: append([]byte(nil), read...)})
}

// answer calls the handler.
func (w *worker) answer(conn net.Conn, r *http.Request) {
	f := w.front
	if !f.begins(w) {
		conn.Close()
		return
	}
	f.state(conn, http.StateNew)
	f.state(conn, http.StateActive)
	x := newExchange(w, conn, r)
	defer x.end()
	f.handler().ServeHTTP(x, x.request)
	x.finish()
}

func (f *Front) handler() http.Handler {
	if f.server.Handler == nil {
		return http.DefaultServeMux
	}
	return f.server.Handler
}

func (f *Front) state(conn net.Conn, state http.ConnState) {
	if f.server.ConnState != nil {
		f.server.ConnState(conn, state)
	}
}

func (f *Front) logf(format string, args ...any) {
	if f.server.ErrorLog != nil {
		f.server.ErrorLog.Printf(format, args...)
		return
	}
	log.Printf(format, args...)
}
