package holdfasttest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/server"
)

// turnTimeout is how long a frame of ours waits for a write of the server's
// that doesn't end, because nobody reads; then the connection is cut.
const turnTimeout = time.Second

// sockets are the WebSockets that are open, between the network and the server.
type sockets struct {
	plain bool

	mu    sync.Mutex // guards what follows
	open  map[*socket]struct{}
	conns []*server.Conn // those admitted; some may be gone
	acks  int            // to be dropped; negative: all
}

func newSockets(plain bool) *sockets {
	return &sockets{plain: plain, open: make(map[*socket]struct{})}
}

// CloseAll sends a close frame with any status and reason on every WebSocket,
// which the server knows nothing of, and returns how many there were. The table
// of codes (docs/protocol.md §2) has what statuses mean; 0 cuts connections
// without a frame.
func (s *Server) CloseAll(status int, reason string) int {
	all := s.sockets.all()
	for _, c := range all {
		if status == 0 {
			_ = c.Close()
			continue
		}
		payload := append(binary.BigEndian.AppendUint16(nil, uint16(status)), reason[:min(len(reason), 123)]...)
		c.inject(append([]byte{0x88, byte(len(payload))}, payload...), false)
	}
	return len(all)
}

// End ends every admitted Socket.IO connection in the namespace "/" as the
// server itself does: auth:closing with a code, then the close that goes with
// it. It returns how many there were.
func (s *Server) End(code holdfast.Code) int {
	all := s.sockets.admittedNow()
	for _, c := range all {
		c.Close(code.New())
	}
	return len(all)
}

// VanishMidFrame begins a frame on every WebSocket and cuts the connection in
// the middle of it. It returns how many there were.
func (s *Server) VanishMidFrame() int {
	all := s.sockets.all()
	for _, c := range all {
		c.inject(append([]byte{0x81, 126, 0x10, 0x00}, `42["half`...), true)
	}
	return len(all)
}

// Silence lets the present WebSockets hang: nothing comes through any more,
// either way, and nobody is told. It returns how many there were.
func (s *Server) Silence() int {
	all := s.sockets.all()
	for _, c := range all {
		c.silent.Store(true)
		c.mute.Store(true)
	}
	return len(all)
}

// DropAcks does what the next n events that want an ack ask for, and cuts their
// WebSockets instead of sending the ack; a negative n for all to come.
func (s *Server) DropAcks(n int) { s.sockets.dropAcks(n) }

func (s *sockets) dropAcks(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks = n
}

func (s *sockets) all() []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*socket, 0, len(s.open))
	for c := range s.open {
		all = append(all, c)
	}
	return all
}

// cut cuts all connections.
func (s *sockets) cut() {
	for _, c := range s.all() {
		_ = c.Close()
	}
}

// admitted takes note of a connection: server.Namespace.OnConnect.
func (s *sockets) admitted(_ context.Context, c *server.Conn) error {
	s.admittedNow()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
	return nil
}

// admittedNow returns the connections that are still there.
func (s *sockets) admittedNow() []*server.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var live []*server.Conn
	for _, c := range s.conns {
		if c.Context().Err() == nil {
			live = append(live, c)
		}
	}
	s.conns = live
	return append([]*server.Conn(nil), live...)
}

// responseWriter notes the status, and puts a socket between a WebSocket and
// the server.
type responseWriter struct {
	http.ResponseWriter
	srv   *Server
	entry *Request
}

// Unwrap is for http.ResponseController.
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *responseWriter) WriteHeader(status int) {
	w.srv.faults.answered(w.entry, status)
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *responseWriter) Write(p []byte) (int, error) {
	w.srv.faults.mu.Lock()
	if w.entry.Status == 0 {
		w.entry.Status = http.StatusOK
	}
	w.srv.faults.mu.Unlock()
	return w.ResponseWriter.Write(p)
}

// Hijack implements http.Hijacker. The handshake's answer still goes through
// the writer that it returns; only frames go through the socket.
func (w *responseWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.srv.faults.answered(w.entry, http.StatusSwitchingProtocols)
	s := w.srv.sockets
	c := &socket{Conn: conn, all: s, turn: make(chan struct{}, 1), gone: make(chan struct{})}
	s.mu.Lock()
	s.open[c] = struct{}{}
	s.mu.Unlock()
	return c, rw, nil
}

// socket is the server's side of a WebSocket.
type socket struct {
	net.Conn
	all    *sockets
	turn   chan struct{} // holds one value while somebody writes: frames stay whole
	gone   chan struct{} // closed by Close
	once   sync.Once
	mute   atomic.Bool // what the server writes goes nowhere
	silent atomic.Bool // and what it could read, too
}

// Read implements net.Conn.
func (c *socket) Read(p []byte) (int, error) {
	for {
		n, err := c.Conn.Read(p)
		if err != nil || !c.silent.Load() {
			return n, err
		}
	}
}

// Write implements net.Conn. The server writes whole frames.
func (c *socket) Write(p []byte) (int, error) {
	select {
	case c.turn <- struct{}{}:
	case <-c.gone:
		return 0, net.ErrClosed
	}
	defer func() { <-c.turn }()
	if c.mute.Load() {
		return len(p), nil
	}
	out, cut := c.all.filter(p)
	if len(out) > 0 {
		if _, err := c.Conn.Write(out); err != nil {
			return 0, err
		}
	}
	if cut {
		_ = c.Close()
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// Close implements net.Conn.
func (c *socket) Close() error {
	err := net.ErrClosed
	c.once.Do(func() {
		close(c.gone)
		c.all.mu.Lock()
		delete(c.all.open, c)
		c.all.mu.Unlock()
		err = c.Conn.Close()
	})
	return err
}

// CloseWrite ends the direction to the client.
func (c *socket) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// inject writes in between two frames; the server's own go nowhere from then on.
func (c *socket) inject(p []byte, cut bool) {
	t := time.NewTimer(turnTimeout)
	defer t.Stop()
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-c.gone:
		return
	case <-t.C:
		cut = true
		p = nil
	}
	if !c.mute.Swap(true) && len(p) > 0 {
		_, _ = c.Conn.Write(p) // a client that is gone needs no more
	}
	if cut {
		_ = c.Close()
	}
}

// filter takes out of what the server writes the frames that are not to arrive.
// cut says that the connection ends after what is returned.
func (s *sockets) filter(p []byte) (out []byte, cut bool) {
	s.mu.Lock()
	acks := s.acks
	s.mu.Unlock()
	if !s.plain && acks == 0 {
		return p, false
	}
	rest := p
	for len(rest) > 0 {
		frame, payload, ok := nextFrame(rest)
		if !ok {
			return append(out, rest...), false // no whole frames: not ours to judge
		}
		rest = rest[len(frame):]
		switch {
		case isAck(payload) && s.takeAck():
			return out, true
		case s.plain && isOwnEvent(payload):
		default:
			out = append(out, frame...)
		}
	}
	return out, false
}

func (s *sockets) takeAck() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acks > 0 {
		s.acks--
		return true
	}
	return s.acks < 0
}

// nextFrame returns the first frame of p, which is not masked, and the payload
// of a text frame (RFC 6455 §5.2).
func nextFrame(p []byte) (frame, payload []byte, ok bool) {
	if len(p) < 2 {
		return nil, nil, false
	}
	head, size := 2, uint64(p[1]&0x7f)
	switch {
	case size == 126 && len(p) >= 4:
		head, size = 4, uint64(binary.BigEndian.Uint16(p[2:]))
	case size == 127 && len(p) >= 10:
		head, size = 10, binary.BigEndian.Uint64(p[2:])
	case size >= 126:
		return nil, nil, false
	}
	if size > uint64(len(p)-head) {
		return nil, nil, false
	}
	frame = p[:head+int(size)]
	if p[0] == 0x81 {
		payload = frame[head:]
	}
	return frame, payload, true
}

// isAck recognises the ack of an event, of a Socket.IO connection or a plain
// one.
func isAck(payload []byte) bool {
	return bytes.HasPrefix(payload, []byte("43")) || bytes.HasPrefix(payload, []byte("46")) ||
		bytes.HasPrefix(payload, []byte(`{"type":"ok"`))
}

// isOwnEvent recognises an event that only Holdfast's servers send.
func isOwnEvent(payload []byte) bool {
	rest, ok := bytes.CutPrefix(payload, []byte("42"))
	i := bytes.IndexByte(rest, '[')
	if !ok || i < 0 {
		return false
	}
	var args []json.RawMessage
	var name string
	if json.Unmarshal(rest[i:], &args) != nil || len(args) == 0 || json.Unmarshal(args[0], &name) != nil {
		return false
	}
	return strings.HasPrefix(name, "auth:")
}
