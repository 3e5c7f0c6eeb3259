package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
)

// byHand answers an opening handshake and then has play write and read frames,
// as the WebSocket library that makes the others can't write wrong ones.
func (f *fake) byHand(play func(h *hand)) {
	f.before = func(_ int, w http.ResponseWriter, r *http.Request) bool {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			f.t.Error(err)
			return true
		}
		defer conn.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		h := &hand{t: f.t, out: conn, in: rw.Reader, masks: make(map[[4]byte]bool)}
		fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(sum[:]))
		play(h)
		return true
	}
}

// hand is a server's end of a WebSocket.
type hand struct {
	t     *testing.T
	out   io.Writer
	in    *bufio.Reader
	masks map[[4]byte]bool
}

// serverFrame is a frame as servers send it; b0 has FIN and opcode.
func serverFrame(b0 byte, payload string) string {
	switch n := len(payload); {
	case n <= 125:
		return string([]byte{b0, byte(n)}) + payload
	case n <= 0xffff:
		return string(binary.BigEndian.AppendUint16([]byte{b0, 126}, uint16(n))) + payload
	default:
		return string(binary.BigEndian.AppendUint64([]byte{b0, 127}, uint64(n))) + payload
	}
}

// next reads a frame of the client in words, and holds it against the client if
// it is not masked, or masked as one before (RFC 6455 §5.1, §5.3).
func (h *hand) next() string {
	var head [2]byte
	if _, err := io.ReadFull(h.in, head[:]); err != nil {
		return "end"
	}
	length := uint64(head[1] & 127)
	switch length {
	case 126:
		var b [2]byte
		_, _ = io.ReadFull(h.in, b[:])
		length = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, _ = io.ReadFull(h.in, b[:])
		length = binary.BigEndian.Uint64(b[:])
	}
	if head[0]&0xf0 != 0x80 || head[1]&0x80 == 0 || length > 1<<20 {
		return fmt.Sprintf("bad frame % x", head)
	}
	var mask [4]byte
	body := make([]byte, length)
	_, _ = io.ReadFull(h.in, mask[:])
	if _, err := io.ReadFull(h.in, body); err != nil {
		return "end"
	}
	if h.masks[mask] {
		return fmt.Sprintf("mask % x again", mask)
	}
	h.masks[mask] = true
	for i := range body {
		body[i] ^= mask[i%4]
	}
	switch op := head[0] & 15; {
	case op == 1:
		return "text " + string(body)
	case op == 8 && len(body) >= 2:
		return fmt.Sprint("close ", binary.BigEndian.Uint16(body))
	case op == 8:
		return "close"
	case op == 10:
		return "pong " + string(body)
	default:
		return fmt.Sprintf("opcode %d", op)
	}
}

// want checks the client's next frames.
func (h *hand) want(frames ...string) {
	h.t.Helper()
	for _, want := range frames {
		if got := h.next(); got != want {
			h.t.Errorf("the client sent %.200q, not %.200q", got, want)
			return
		}
	}
}

// TestRFC6455 has a server send what is right and wrong, and looks at what the
// client makes of it: an event is acked, a fault is answered by a close.
func TestRFC6455(t *testing.T) {
	const (
		text, bin, cls, ping, pong = 0x81, 0x82, 0x88, 0x89, 0x8a
		begin, more, last          = 0x01, 0x00, 0x80
		acked                      = `text 431["got"]`
	)
	event := serverFrame(text, `421["e",""]`)
	code := func(n uint16, reason string) string {
		return serverFrame(cls, string(binary.BigEndian.AppendUint16(nil, n))+reason)
	}
	long := strings.Repeat("p", 126)
	page, err := os.ReadFile("../docs/design/rfc6455.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, send string
		want       []string
	}{
		{"§5.1 masked text of a server", string([]byte{text, 0x82, 0, 0, 0, 0}) + "42", []string{"close 1002"}},
		// The library lets this pass, and the next of these.
		{"§5.1 masked ping of a server", string([]byte{ping, 0x80, 0, 0, 0, 0}), []string{"close 1002"}},
		{"§5.2 RSV1 without an extension", serverFrame(text|0x40, `421["e",""]`), []string{"close 1002"}},
		{"§5.2 RSV2", serverFrame(text|0x20, `421["e",""]`), []string{"close 1002"}},
		{"§5.2 RSV3 on a ping", serverFrame(ping|0x10, ""), []string{"close 1002"}},
		{"§5.2 reserved opcode 3", serverFrame(0x83, "x"), []string{"close 1002"}},
		{"§5.2 reserved opcode 11", serverFrame(0x8b, ""), []string{"close 1002"}},
		{"§5.2 length with its highest bit", string([]byte{text, 127, 0x80, 0, 0, 0, 0, 0, 0, 0}), []string{"close 1002"}},
		{"§5.4 event in fragments", serverFrame(begin, `421["e",`) + serverFrame(more, "") + serverFrame(last, `""]`), []string{acked}},
		{"§5.4 ping between fragments", serverFrame(begin, `421["e",`) + serverFrame(ping, "p") + serverFrame(last, `""]`), []string{"pong p", acked}},
		{"§5.4 continuation of nothing", serverFrame(last, `421["e",""]`), []string{"close 1002"}},
		{"§5.4 text inside a message", serverFrame(begin, `421["e",`) + event, []string{"close 1002"}},
		{"§5.5 ping of 126 bytes", serverFrame(ping, long), []string{"close 1002"}},
		{"§5.5 fragmented ping", serverFrame(0x09, "p"), []string{"close 1002"}},
		{"§5.5 fragmented close", serverFrame(0x08, ""), []string{"close 1002"}},
		{"§5.5.1 close without a body", serverFrame(cls, ""), []string{"close"}},
		{"§5.5.1 close with a code and a reason", code(4001, "TOKEN_EXPIRED"), []string{"close 4001"}},
		{"§5.5.1 close with half a code", serverFrame(cls, "\x03"), []string{"close 1002"}},
		{"§5.5.1 close with a reason that is not UTF-8", code(1000, "\xff"), []string{"close 1007"}},
		{"§5.5.2 ping", serverFrame(ping, "hello") + event, []string{"pong hello", acked}},
		{"§5.5.3 pong unasked for", serverFrame(pong, "hello") + event, []string{acked}},
		{"§7.4 close code 1005", code(1005, ""), []string{"close 1002"}},
		{"§7.4 close code 1006", code(1006, ""), []string{"close 1002"}},
		{"§7.4 close code 999", code(999, ""), []string{"close 1002"}},
		{"§7.4 close code 2000", code(2000, ""), []string{"close 1002"}},
		{"§7.4 close code 5000", code(5000, ""), []string{"close 1002"}},
		{"§8.1 character across fragments", serverFrame(begin, "421[\"e\",\"\xc3") + serverFrame(last, "\xa9\"]"), []string{acked}},
		{"§8.1 text that is not UTF-8", serverFrame(text, "421[\"e\",\"\xff\"]"), []string{"close 1007"}},
		{"§8.1 text that is not UTF-8 in fragments", serverFrame(begin, "421[\"e\",\"\xc3") + serverFrame(last, "a\"]"), []string{"close 1007"}},
		{"§8.1 a surrogate", serverFrame(text, "421[\"e\",\"\xed\xa0\x80\"]"), []string{"close 1007"}},
		{"§10.4 message too large", string([]byte{text, 127, 0, 0, 0, 0, 0x7f, 0, 0, 0}) + strings.Repeat("x", 5000), []string{"close 1009"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !bytes.Contains(page, []byte("| "+c.name+" |")) {
				t.Error("not in docs/design/rfc6455.md")
			}
			bubble(t, nil, func(t *testing.T, f *fake) {
				played := make(chan struct{}, 1)
				f.byHand(func(h *hand) {
					_, _ = io.WriteString(h.out, serverFrame(text, `0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`))
					h.want("text 40")
					_, _ = io.WriteString(h.out, serverFrame(text, `40{"sid":"s"}`))
					_, _ = io.WriteString(h.out, c.send)
					h.want(c.want...)
					select {
					case played <- struct{}{}:
					default:
					}
				})
				s := f.client(Config{Socket: SocketConfig{MaxMessage: 4096}}).Socket()
				Handle(s, "e", func(context.Context, string) (string, error) { return "got", nil })
				if err := s.Connect(patient(t)); err != nil {
					t.Fatal(err)
				}
				<-played
				s.Close()
			})
		})
	}
}
