// Package wsclient is the client's end of a WebSocket (RFC 6455) that holds
// next to nothing while nothing comes: on TCP no buffer at all, and no
// goroutine of its own. It has no extensions and no subprotocols.
//
// The handshake is made by an http.Client, so that proxies, cookies, TLS and
// redirects are that one's. What comes is read message by message; what goes
// out is put together by Append and its like, and written by Try, which never
// waits, or Write.
package wsclient

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"syscall"
	"time"
)

// Conn is a WebSocket after its handshake. Read is for one goroutine, Try and
// Write for one at a time; Close may be called by any.
type Conn struct {
	body io.ReadWriteCloser
	conn net.Conn        // the same; nil where it is not known
	raw  syscall.RawConn // of conn; nil where it is no TCP socket
	rd   reader

	rest []byte // what Try has not written; owned by the writer
}

// acceptGUID is what a server proves with that it has read the key (RFC 6455
// §1.3).
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// Dial opens a WebSocket at an http or https URL. limit bounds a message, over
// all its fragments. header is sent besides the handshake's own, and is changed.
// ctx counts until Dial returns.
//
// If the server answers anything but 101, that answer is returned with the
// error, and its body is the caller's to close.
func Dial(ctx context.Context, hc *http.Client, url string, header http.Header, limit int) (*Conn, *http.Response, error) {
	var conn net.Conn
	if plainTransport(hc) { // of another one it is not known whose connections it tells of
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { conn = i.Conn }})
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // which never fails
	key := base64.StdEncoding.EncodeToString(nonce[:])
	req.Header = header
	header.Set("Connection", "Upgrade")
	header.Set("Upgrade", "websocket")
	header.Set("Sec-WebSocket-Version", "13")
	header.Set("Sec-WebSocket-Key", key)
	resp, err := hc.Do(req)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, resp, fmt.Errorf("handshake answered with status %d", resp.StatusCode)
	}
	err = accepted(resp.Header, key)
	body, ok := resp.Body.(io.ReadWriteCloser)
	if err == nil && !ok {
		err = errors.New("the HTTP client's transport gives no connection that can be written to")
	}
	if err != nil {
		_ = resp.Body.Close()
		return nil, nil, err
	}
	c := &Conn{body: body, conn: conn}
	c.rd.limit, c.rd.in.Pool = limit, &buffers
	c.rd.src = &plainSource{r: body}
	if err := c.bare(); err != nil {
		_ = body.Close()
		return nil, nil, err
	}
	return c, nil, nil
}

// plainTransport reports whether the connections that a request's trace tells of
// are those that its answers are of.
func plainTransport(hc *http.Client) bool {
	t := hc.Transport
	if t == nil {
		t = http.DefaultTransport
	}
	_, ok := t.(*http.Transport)
	return ok
}

// accepted checks the server's part of the handshake (RFC 6455 §4.1).
func accepted(h http.Header, key string) error {
	sum := sha1.Sum([]byte(key + acceptGUID))
	switch {
	case !hasToken(h, "Connection", "upgrade"):
		return errors.New("handshake without Connection: Upgrade")
	case !strings.EqualFold(h.Get("Upgrade"), "websocket"):
		return errors.New("handshake without Upgrade: websocket")
	case h.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(sum[:]):
		return errors.New("handshake with a wrong Sec-WebSocket-Accept")
	case h.Get("Sec-WebSocket-Extensions") != "":
		return errors.New("handshake with an extension that was not asked for")
	case h.Get("Sec-WebSocket-Protocol") != "":
		return errors.New("handshake with a subprotocol that was not asked for")
	}
	return nil
}

func hasToken(h http.Header, name, token string) bool {
	for _, line := range h.Values(name) {
		for part := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// bare goes on without http.Transport's reader where the connection is a TCP
// socket, so that its buffers are free and waiting needs none. What came with the
// answer to the handshake is in that reader: a read whose time is over returns
// that and nothing else.
func (c *Conn) bare() error {
	tcp, ok := c.conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw := rawConn(tcp) // of some systems there is none
	if raw == nil {
		return nil
	}
	if err := tcp.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return err
	}
	for {
		n, err := c.body.Read(c.rd.in.Room())
		_ = c.rd.in.Filled(n, err) // that nothing came is no failure here
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return err
		}
	}
	c.rd.in.Idle()
	c.raw, c.rd.src = raw, newSource(raw)
	return tcp.SetReadDeadline(time.Time{})
}

// Close ends the connection at once, and with it Read, Try and Write. It may be
// called more than once.
func (c *Conn) Close() { _ = c.body.Close() }
