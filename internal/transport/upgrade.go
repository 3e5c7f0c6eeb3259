package transport

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/engineio"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

// checkUpgrade says whether r is the opening handshake of a WebSocket (RFC 6455
// §4.2.1), before anything is done about it.
func checkUpgrade(w http.ResponseWriter, r *http.Request) error {
	refuse := func(message string) error {
		return holdfast.Errorf(holdfast.ProtocolError, "WebSocket handshake: %s", message)
	}
	key := r.Header["Sec-Websocket-Key"]
	switch {
	case r.ProtoMajor != 1 || r.ProtoMinor < 1:
		return refuse("HTTP/1.1 is needed")
	case r.Host == "":
		return refuse("Host is missing")
	case !hasToken(r.Header["Upgrade"], transportWebSocket): // a client may name others too (§4.1)
		return refuse("Upgrade is not websocket")
	case !hasToken(r.Header["Connection"], "upgrade"):
		return refuse("Connection is not Upgrade")
	case len(key) != 1 || !validKey(key[0]):
		return refuse("bad Sec-WebSocket-Key")
	case !slices.Equal(r.Header["Sec-Websocket-Version"], []string{"13"}):
		w.Header().Set("Sec-WebSocket-Version", "13") // §4.4
		return refuse("unsupported Sec-WebSocket-Version")
	}
	return nil
}

func hasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// validKey reports whether key is 16 bytes in base64.
func validKey(key string) bool {
	b, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(b) == 16 && len(key) == 24
}

// upgrade answers the opening handshake, and sends first right behind the
// answer: one write, and one packet for the client to wait for. What the client
// sent behind its request is in the socket already. An error was answered.
func (h *host) upgrade(w http.ResponseWriter, r *http.Request, first []byte) (*socket, error) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		h.refuse(w, r, holdfast.Errorf(holdfast.Internal, "the connection can't leave HTTP: %w", err))
		return nil, err
	}
	// The server's buffers go back when the handler returns; take what is in them.
	early, err := rw.Reader.Peek(rw.Reader.Buffered())
	if err != nil {
		conn.Close()
		return nil, err
	}
	answer := append(make([]byte, 0, 256+len(first)), "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	answer = appendAccept(answer, r.Header["Sec-Websocket-Key"][0])
	var pack *deflater
	if h.pack != nil && offersDeflate(r.Header["Sec-Websocket-Extensions"]) {
		pack = h.pack
		answer = append(answer, "\r\nSec-WebSocket-Extensions: "+deflateAnswer...)
	}
	answer = append(append(answer, "\r\n\r\n"...), first...)
	_ = conn.SetDeadline(time.Now().Add(h.cfg.WriteTimeout))
	if _, err := conn.Write(answer); err != nil {
		conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{}) // from now on ticks see to everything
	return h.newSocket(bare(conn), early, pack), nil
}

// bare returns the connection inside one that only stood in for it while HTTP
// was spoken: a TCP connection of its own costs less.
func bare(conn net.Conn) net.Conn {
	if inside, ok := conn.(interface{ Bare() net.Conn }); ok {
		return inside.Bare()
	}
	return conn
}

// appendAccept appends what proves that a key was read (RFC 6455 §4.2.2).
func appendAccept(dst []byte, key string) []byte {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.AppendEncode(dst, sum[:])
}

// run gives a session that was opened for r its WebSocket. The handshake, if
// there is one, goes before whatever was sent meanwhile.
func (c *Conn) run(w http.ResponseWriter, r *http.Request, handshake *hub.Frame) {
	var first []byte
	if handshake != nil {
		first = handshake.Wire
	}
	s, err := c.host.upgrade(w, r, first)
	if err != nil {
		c.end(lost(err))
		c.remove()
		return
	}
	c.mu.Lock()
	c.ws = s
	if c.state != stateOpen {
		c.arm(c.closeBy)
	}
	c.kick()
	c.mu.Unlock()
	c.host.wg.Add(1)
	c.read(s)
}

// serveUpgrade tries a WebSocket for a polling session. Until its upgrade
// packet comes, nothing changes for the polling.
func (c *Conn) serveUpgrade(w http.ResponseWriter, r *http.Request) error {
	if err := checkUpgrade(w, r); err != nil {
		return err
	}
	p := c.poll
	c.mu.Lock()
	free := p != nil && !p.upgrading && c.ws == nil
	open := c.state == stateOpen
	if free && open {
		p.upgrading = true
	}
	c.mu.Unlock()
	switch {
	case !open:
		return unknownSession()
	case !free:
		return c.host.refuseWebSocket(w, r, holdfast.Errorf(holdfast.ProtocolError, "session has a WebSocket already"))
	}
	s, err := c.host.upgrade(w, r, nil)
	if err != nil {
		c.endProbe(nil)
		return nil
	}
	c.mu.Lock()
	if open = c.state == stateOpen; open {
		p.probe = s
	}
	c.mu.Unlock()
	if !open {
		s.conn.Close()
		return nil
	}
	c.host.wg.Go(func() { c.probe(s) })
	return nil
}

// refuseWebSocket takes a WebSocket only to close it, since clients are not
// shown the status of a refused handshake.
func (h *host) refuseWebSocket(w http.ResponseWriter, r *http.Request, refusal *holdfast.Error) error {
	h.log(refusal)
	s, err := h.upgrade(w, r, nil)
	if err != nil {
		return nil
	}
	h.wg.Go(func() {
		_ = s.conn.SetDeadline(time.Now().Add(h.cfg.CloseTimeout))
		s.fail(closeCode(refusal), refusal.Code)
		s.conn.Close()
	})
	return nil
}

// fail writes a Close frame and waits until the peer is gone, or for the
// deadline. For sockets that no session has.
func (s *socket) fail(code uint16, reason holdfast.Code) {
	_, _ = s.conn.Write(appendClose(nil, code, string(reason)))
	halfClose(s.conn)
	s.rd.discard()
}

// probe is the life of a WebSocket that a polling session tries, and after a
// successful upgrade the session's.
func (c *Conn) probe(s *socket) {
	_ = s.conn.SetDeadline(time.Now().Add(c.host.cfg.UpgradeTimeout))
	err := c.readProbe(s)
	if err == nil && c.switchTo(s) {
		c.host.wg.Add(1)
		c.read(s)
		return
	}
	if fe, ok := errors.AsType[*frameError](err); ok {
		s.fail(fe.code, fe.err.Code)
	}
	c.endProbe(s)
}

// readProbe returns nil when the peer has asked for the upgrade.
func (c *Conn) readProbe(s *socket) error {
	answered := false
	for {
		op, data, err := s.rd.next()
		if err != nil {
			return err
		}
		text := op == ws.OpText
		switch {
		case text && !answered && string(data) == string(byte(engineio.Ping))+"probe":
			answered = true
			c.mu.Lock()
			c.poll.probed = true // before the client can know, who looks for the end here from then on
			c.mu.Unlock()
			err = writeFrame(s.conn, ws.OpText, string(byte(engineio.Pong))+"probe")
			c.mu.Lock()
			c.poll.noop = c.poll.waiting
			c.kick()
			c.mu.Unlock()
		case text && answered && string(data) == string(byte(engineio.Upgrade)):
			return nil
		case op == ws.OpPing:
			err = writeFrame(s.conn, ws.OpPong, string(data))
		case op == ws.OpPong:
		case op == ws.OpClose:
			code, _, err := wsframe.ParseClose(data)
			if err != nil {
				return breach(err)
			}
			if code == wsframe.NoStatus {
				code = 0
			}
			_, _ = s.conn.Write(appendClose(nil, code, ""))
			return io.EOF
		default:
			err = breach(wsframe.Breach("not a packet of an upgrade"))
		}
		if err != nil {
			return err
		}
	}
}

func writeFrame(conn net.Conn, op ws.OpCode, data string) error {
	_, err := conn.Write(append(appendHeader(nil, op, len(data)), data...))
	return err
}

// switchTo makes s the session's transport, after the POST that may still be
// delivered; false if the session is over.
func (c *Conn) switchTo(s *socket) bool {
	_ = s.conn.SetDeadline(time.Time{}) // from now on tick sees to everything
	p := c.poll
	c.mu.Lock()
	defer c.mu.Unlock()
	for p.posting && c.state == stateOpen {
		p.posted.Wait()
	}
	if c.state != stateOpen && p.probe != s {
		return false
	}
	c.ws = s
	p.probe, p.upgrading, p.probed = nil, false, false
	p.rouse() // a poll that came too late is refused
	c.kick()
	return true
}

// endProbe gives an upgrade up; the session goes on as it was.
func (c *Conn) endProbe(s *socket) {
	if s != nil {
		s.conn.Close()
		s.rd.in.Drop()
		s.rd.in.Idle()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.poll.probe, c.poll.upgrading, c.poll.probed = nil, false, false
}
