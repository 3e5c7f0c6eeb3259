package transport

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// wsClient is the client's end of a raw WebSocket.
type wsClient struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

const clientKey = "dGhlIHNhbXBsZSBub25jZQ=="

func upgradeRequest(query string, more ...string) string {
	return "GET /engine.io/?" + query + " HTTP/1.1\r\nHost: engine.test\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
		"Sec-WebSocket-Key: " + clientKey + "\r\nSec-WebSocket-Version: 13\r\n" + strings.Join(more, "") + "\r\n"
}

const websocketQuery = "EIO=4&transport=websocket"

// rawWebSocket sends an opening handshake, and early right behind it.
func (rg *rig) rawWebSocket(query string, early []byte) (*wsClient, *http.Response) {
	rg.t.Helper()
	conn, err := rg.network.dial(context.Background())
	if err != nil {
		rg.t.Fatal(err)
	}
	rg.t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
	request := upgradeRequest(query)
	if rg.offer != "" {
		request = upgradeRequest(query, "Sec-WebSocket-Extensions: "+rg.offer+"\r\n")
	}
	if _, err := conn.Write(append([]byte(request), early...)); err != nil {
		rg.t.Fatal(err)
	}
	c := &wsClient{rg.t, conn, bufio.NewReader(conn)}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		rg.t.Fatal(err)
	}
	return c, resp
}

// webSocket upgrades and returns the client, which has not read anything yet.
func (rg *rig) webSocket(query string) *wsClient {
	rg.t.Helper()
	c, resp := rg.rawWebSocket(query, nil)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		rg.t.Fatalf("upgrade: %s", resp.Status)
	}
	if accept := resp.Header.Get("Sec-WebSocket-Accept"); accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		rg.t.Fatalf("Sec-WebSocket-Accept is %q", accept)
	}
	return c
}

// connect opens a session on WebSocket.
func (rg *rig) connect() (*wsClient, *session) {
	rg.t.Helper()
	c := rg.webSocket(websocketQuery)
	if open := c.next(); !strings.HasPrefix(open, "text 0{") {
		rg.t.Fatalf("handshake: %s", open)
	}
	return c, rg.opened()
}

// upgraded takes a polling session over to WebSocket.
func (rg *rig) upgraded(sid string) *wsClient {
	rg.t.Helper()
	c := rg.webSocket(websocketQuery + "&sid=" + sid)
	c.text("2probe")
	c.want("text 3probe")
	c.text("5")
	return c
}

// frame builds a client's frame; b0 is the first byte, with FIN and opcode.
func frame(b0 byte, payload string) []byte {
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	out := []byte{b0}
	switch n := len(payload); {
	case n <= 125:
		out = append(out, 0x80|byte(n))
	case n <= 0xffff:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	out = append(out, mask[:]...)
	body := []byte(payload)
	ws.Cipher(body, mask, 0)
	return append(out, body...)
}

// First bytes of frames.
const (
	fText, fBinary, fClose, fPing, fPong = 0x81, 0x82, 0x88, 0x89, 0x8a
	fMore, fLast                         = 0x00, 0x80 // continuation
	fTextBegin, fBinaryBegin             = 0x01, 0x02
)

func closeFrame(code uint16, reason string) []byte {
	return frame(fClose, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

func (c *wsClient) write(p []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(p); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *wsClient) text(s string) { c.t.Helper(); c.write(frame(fText, s)) }

// next returns the next frame in words: "text …", "binary …" (in hex), "ping …",
// "pong …", "close CODE REASON", or "eof"; what came compressed begins with
// "packed ".
func (c *wsClient) next() string {
	first, _ := c.in.Peek(2)
	h, err := ws.ReadHeader(c.in)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return "eof"
		}
		return "error " + err.Error()
	}
	form := first[1]
	if h.Masked || h.Rsv&^rsv1 != 0 || !h.Fin || h.OpCode.IsControl() && (h.Length > 125 || h.Rsv != 0) ||
		form == 126 && h.Length < 126 || form == 127 && h.Length <= 65535 {
		return fmt.Sprintf("bad header %+v", h)
	}
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return "error in frame: " + err.Error()
	}
	if h.Rsv == 0 {
		return words(h.OpCode, body)
	}
	if body, err = io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(body), strings.NewReader(deflateTail)))); err != nil {
		return "error in compressed frame: " + err.Error()
	}
	return "packed " + words(h.OpCode, body)
}

func words(op ws.OpCode, body []byte) string {
	switch op {
	case ws.OpText:
		return "text " + string(body)
	case ws.OpBinary:
		return fmt.Sprintf("binary %x", body)
	case ws.OpPing:
		return "ping " + string(body)
	case ws.OpPong:
		return "pong " + string(body)
	case ws.OpClose:
		if len(body) < 2 {
			return "close"
		}
		return strings.TrimSpace(fmt.Sprintf("close %d %s", binary.BigEndian.Uint16(body), body[2:]))
	}
	return fmt.Sprintf("opcode %d", op)
}

func (c *wsClient) want(frames ...string) {
	c.t.Helper()
	for _, want := range frames {
		if got := c.next(); got != want {
			c.t.Fatalf("got frame %.200q, want %.200q", got, want)
		}
	}
}

// bye makes the client's half of a close handshake, and checks the other.
func (c *wsClient) bye() {
	c.t.Helper()
	c.write(closeFrame(1000, ""))
	c.want("close 1000", "eof")
	c.conn.Close()
}
