package transport

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast"
)

// rule is a case of RFC 6455: what a client sends to a session that echoes, and
// what it must get.
type rule struct {
	name string
	send []byte
	want []string // frames, with "eof" at the end of those that end the connection
}

const protocolError = "close 1002 PROTOCOL_ERROR"

func cat(parts ...[]byte) []byte { return slices.Concat(parts...) }

func unmasked(b0 byte, payload string) []byte {
	return append([]byte{b0, byte(len(payload))}, payload...)
}

// header announces a frame without sending its payload.
func header(b0 byte, form byte, length uint64) []byte {
	out := []byte{b0, 0x80 | form}
	switch form {
	case 126:
		out = binary.BigEndian.AppendUint16(out, uint16(length))
	case 127:
		out = binary.BigEndian.AppendUint64(out, length)
	}
	return append(out, 1, 2, 3, 4)
}

// maxMessage is MaxPayload in these tests.
const maxMessage = 100_000

func rules() []rule {
	ends := func(name string, send []byte, want ...string) rule { return rule{name, send, append(want, "eof")} }
	keeps := func(name string, send []byte, want ...string) rule { return rule{name, send, want} }
	msg := func(s string) string { return "text 4" + s }
	done := frame(fText, "4done") // shows that the connection is still good

	list := []rule{
		// §5.1, §5.3: masking
		ends("5.1 frame without mask", unmasked(fText, "4a"), protocolError),
		ends("5.1 control frame without mask", unmasked(fPing, ""), protocolError),
		keeps("5.3 mask of zeros", []byte{fText, 0x82, 0, 0, 0, 0, '4', 'a'}, msg("a")),
		// §5.2: header
		ends("5.2 length of 126 form not shortest", cat(header(fText, 126, 2), []byte("xx")), protocolError),
		ends("5.2 length of 127 form not shortest", cat(header(fText, 127, 200), make([]byte, 200)), protocolError),
		ends("5.2 length with highest bit", header(fText, 127, 1<<63), protocolError),
		// §5.4: fragments
		keeps("5.4 two fragments", cat(frame(fTextBegin, "4a"), frame(fLast, "b")), msg("ab")),
		keeps("5.4 many fragments", cat(frame(fTextBegin, "4"), slices.Repeat(frame(fMore, "x"), 500), frame(fLast, "y")), msg(strings.Repeat("x", 500)+"y")),
		keeps("5.4 empty fragments", cat(frame(fTextBegin, ""), frame(fMore, ""), frame(fMore, "4a"), frame(fLast, "")), msg("a")),
		keeps("5.4 binary fragments", cat(frame(fBinaryBegin, "\x01"), frame(fLast, "\xff")), "binary 01ff"),
		keeps("5.4 ping between fragments", cat(frame(fTextBegin, "4a"), frame(fPing, "p"), frame(fLast, "b")), "pong p", msg("ab")),
		keeps("5.4 pong between fragments", cat(frame(fTextBegin, "4a"), frame(fPong, "p"), frame(fLast, "b")), msg("ab")),
		ends("5.4 close between fragments", cat(frame(fTextBegin, "4a"), closeFrame(1000, "")), "close 1000"),
		ends("5.4 continuation of nothing", frame(fLast, "4a"), protocolError),
		ends("5.4 unfinished continuation of nothing", frame(fMore, "4a"), protocolError),
		ends("5.4 continuation after a whole message", cat(done, frame(fLast, "4a")), msg("done"), protocolError),
		ends("5.4 text inside a fragmented message", cat(frame(fTextBegin, "4a"), frame(fText, "4b")), protocolError),
		ends("5.4 binary inside a fragmented message", cat(frame(fTextBegin, "4a"), frame(fBinaryBegin, "b")), protocolError),
		// §5.5: control frames
		keeps("5.5 control frame of 125 bytes", frame(fPing, strings.Repeat("p", 125)), "pong "+strings.Repeat("p", 125)),
		ends("5.5 control frame of 126 bytes", frame(fPing, strings.Repeat("p", 126)), protocolError),
		ends("5.5 close frame of 126 bytes", closeFrame(1000, strings.Repeat("r", 124)), protocolError),
		ends("5.5 fragmented ping", frame(0x09, "p"), protocolError),
		ends("5.5 fragmented pong", frame(0x0a, "p"), protocolError),
		ends("5.5 fragmented close", frame(0x08, ""), protocolError),
		// §5.5.1, §7: close
		ends("5.5.1 close without body", frame(fClose, ""), "close"),
		ends("5.5.1 close with code and reason", closeFrame(1000, "bye"), "close 1000"),
		ends("5.5.1 close with a reason of 123 bytes", closeFrame(1000, strings.Repeat("r", 123)), "close 1000"),
		ends("5.5.1 close with half a code", frame(fClose, "\x03"), protocolError),
		ends("5.5.1 close reason not UTF-8", closeFrame(1000, "\xff"), "close 1007 PROTOCOL_ERROR"),
		ends("5.5.1 data after close", cat(closeFrame(1000, ""), done), "close 1000"),
		ends("5.5.1 ping after close", cat(closeFrame(1000, ""), frame(fPing, "p")), "close 1000"),
		ends("5.5.1 second close", cat(closeFrame(1000, ""), closeFrame(1001, "")), "close 1000"),
		ends("5.5.1 garbage after close", cat(closeFrame(1000, ""), []byte("\xff\xff\xff\xff")), "close 1000"),
		// §5.5.2, §5.5.3: ping and pong
		keeps("5.5.2 ping without payload", frame(fPing, ""), "pong "),
		keeps("5.5.2 ping with binary payload", frame(fPing, "\x00\xff\xfe"), "pong \x00\xff\xfe"),
		keeps("5.5.3 pong unasked for", cat(frame(fPong, "p"), done), msg("done")),
		// §5.6: data frames
		keeps("5.6 empty text message of the protocol above", frame(fText, "4"), "text 4"),
		keeps("5.6 empty binary message", frame(fBinary, ""), "binary "),
		// §8.1: UTF-8
		keeps("8.1 UTF-8", frame(fText, "4κόσμε 🎈"), msg("κόσμε 🎈")),
		keeps("8.1 UTF-8 split inside a character", cat(frame(fTextBegin, "4\xf0\x9f"), frame(fMore, "\x8e"), frame(fLast, "\x88.")), msg("🎈.")),
		ends("8.1 not UTF-8", frame(fText, "4\xff"), "close 1007 PROTOCOL_ERROR"),
		ends("8.1 character cut off at the end", frame(fText, "4\xf0\x9f\x8e"), "close 1007 PROTOCOL_ERROR"),
		ends("8.1 character cut off at the end of the last fragment", cat(frame(fTextBegin, "4a"), frame(fLast, "\xf0\x9f\x8e")), "close 1007 PROTOCOL_ERROR"),
		ends("8.1 overlong", frame(fText, "4\xc0\xaf"), "close 1007 PROTOCOL_ERROR"),
		ends("8.1 surrogate", frame(fText, "4\xed\xa0\x80"), "close 1007 PROTOCOL_ERROR"),
		ends("8.1 beyond U+10FFFF", frame(fText, "4\xf4\x90\x80\x80"), "close 1007 PROTOCOL_ERROR"),
		ends("8.1 wrong in a fragment is noticed before the last", frame(fTextBegin, "4a\xff"), "close 1007 PROTOCOL_ERROR"),
		ends("8.1 impossible continuation in the next fragment", cat(frame(fTextBegin, "4\xf0\x9f"), frame(fMore, "x")), "close 1007 PROTOCOL_ERROR"),
		keeps("8.1 binary needs none", frame(fBinary, "\xff\xfe"), "binary fffe"),
		// §10.4: limits
		keeps("10.4 message of the largest size", frame(fText, "4"+strings.Repeat("x", maxMessage-1)), msg(strings.Repeat("x", maxMessage-1))),
		ends("10.4 message too large is refused by its header", header(fText, 127, maxMessage+1), "close 1009 MESSAGE_TOO_LARGE"),
		ends("10.4 message of the largest length there is", header(fText, 127, 1<<63-1), "close 1009 MESSAGE_TOO_LARGE"),
		ends("10.4 fragments too large together", cat(frame(fTextBegin, "4"+strings.Repeat("x", maxMessage-1)), frame(fLast, "x")), "close 1009 MESSAGE_TOO_LARGE"),
	}
	for rsv := byte(1); rsv < 8; rsv++ {
		list = append(list,
			ends(fmt.Sprintf("5.2 RSV %03b on text", rsv), frame(fText|rsv<<4, "4a"), protocolError),
			ends(fmt.Sprintf("5.2 RSV %03b on ping", rsv), frame(fPing|rsv<<4, ""), protocolError))
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		list = append(list, ends(fmt.Sprintf("5.2 reserved opcode %d", op), frame(0x80|op, ""), protocolError))
	}
	for _, n := range []int{125, 126, 127, 128, 4094, 4096, 65535, 65536} {
		text := strings.Repeat("x", n-1)
		list = append(list, keeps(fmt.Sprintf("5.2 text of %d bytes", n), frame(fText, "4"+text), msg(text)))
		list = append(list, keeps(fmt.Sprintf("5.2 binary of %d bytes", n), frame(fBinary, "4"+text), "binary 34"+strings.Repeat("78", n-1)))
	}
	for _, code := range []uint16{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
		list = append(list, ends(fmt.Sprintf("7.4 close code %d", code), closeFrame(code, ""), fmt.Sprint("close ", code)))
	}
	for _, code := range []uint16{0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		list = append(list, ends(fmt.Sprintf("7.4 forbidden close code %d", code), closeFrame(code, ""), protocolError))
	}
	return list
}

func TestRFC6455(t *testing.T) {
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				rg := newRig(t, n, EngineConfig{MaxPayload: maxMessage}, echoing)
				c, s := rg.connect()
				go func() { _, _ = c.conn.Write(r.send) }()
				c.want(r.want...)
				if r.want[len(r.want)-1] == "eof" {
					if err := <-s.closed; strings.Contains(strings.Join(r.want, " "), "_") != (err != nil) {
						t.Errorf("Closed with %v", err)
					}
					c.conn.Close()
					return
				}
				c.bye()
				s.end(t, "", nil)
			})
		})
	}
}

// The same cases must not depend on how the bytes are cut into packets.
func TestRFC6455ByteByByte(t *testing.T) {
	for _, r := range rules() {
		if len(r.send) > 2000 {
			continue
		}
		t.Run(r.name, func(t *testing.T) {
			onMemnet(t, func(t *testing.T, n network) {
				rg := newRig(t, n, EngineConfig{MaxPayload: maxMessage}, echoing)
				c, _ := rg.connect()
				go func() {
					for i := range r.send {
						if _, err := c.conn.Write(r.send[i : i+1]); err != nil {
							return
						}
					}
				}()
				c.want(r.want...)
				c.conn.Close()
			})
		})
	}
}

func TestPingsDoNotPileUp(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{}, echoing)
		c, _ := rg.connect()
		var pings []byte
		for i := range 1000 {
			pings = append(pings, frame(fPing, fmt.Sprint(i))...)
		}
		go func() { _, _ = c.conn.Write(append(pings, frame(fText, "4x")...)) }()
		last, echoed := "", false
		for last != "pong 999" || !echoed {
			switch got := c.next(); {
			case strings.HasPrefix(got, "pong "):
				last = got
			case got == "text 4x":
				echoed = true
			default:
				t.Fatalf("got %q", got)
			}
		}
		c.bye()
	})
}

func TestOpeningHandshake(t *testing.T) {
	good := upgradeRequest(websocketQuery)
	for _, tt := range []struct{ name, old, new string }{
		{"4.2.1 method", "GET", "POST"},
		{"4.2.1 HTTP/1.0", "HTTP/1.1", "HTTP/1.0"},
		{"4.2.1 no Upgrade", "Upgrade: websocket\r\n", ""},
		{"4.2.1 other Upgrade", "Upgrade: websocket", "Upgrade: h2c"},
		{"4.2.1 no Connection", "Connection: keep-alive, Upgrade\r\n", ""},
		{"4.2.1 other Connection", "keep-alive, Upgrade", "keep-alive"},
		{"4.2.1 no key", "Sec-WebSocket-Key: " + clientKey + "\r\n", ""},
		{"4.2.1 short key", clientKey, "dGhlIHNhbXBsZQ=="},
		{"4.2.1 key not base64", clientKey, "!!!!!!!!!!!!!!!!!!!!!!!!"},
		{"4.2.1 two keys", "Sec-WebSocket-Key: ", "Sec-WebSocket-Key: " + clientKey + "\r\nSec-WebSocket-Key: "},
		{"4.2.1 no version", "Sec-WebSocket-Version: 13\r\n", ""},
		{"4.4 other version", "Version: 13", "Version: 8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				rg := newRig(t, n, EngineConfig{})
				request := strings.Replace(good, tt.old, tt.new, 1)
				if request == good {
					t.Fatal("nothing replaced")
				}
				resp := rg.raw(request)
				if resp.StatusCode != 400 {
					t.Errorf("status %d", resp.StatusCode)
				}
				if strings.Contains(tt.name, "version") && resp.Header.Get("Sec-WebSocket-Version") != "13" {
					t.Error("no Sec-WebSocket-Version in the answer")
				}
				if len(rg.sessions) != 0 {
					t.Error("a session was opened")
				}
			})
		})
	}
}

func TestNoExtensionIsOffered(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		resp := rg.raw(strings.Replace(upgradeRequest(websocketQuery), "\r\n\r\n",
			"\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Protocol: chat\r\n\r\n", 1))
		if resp.StatusCode != 101 || resp.Header["Sec-Websocket-Extensions"] != nil || resp.Header["Sec-Websocket-Protocol"] != nil {
			t.Errorf("%s %v", resp.Status, resp.Header)
		}
		rg.opened().conn.Close(holdfast.Internal.New())
	})
}

func TestNewFrame(t *testing.T) {
	f := NewFrame([]byte(`451-["e"]`), []byte{1, 2}, make([]byte, 70000))
	want := cat([]byte{0x81, 9}, []byte(`451-["e"]`), []byte{0x82, 2, 1, 2},
		[]byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70}, make([]byte, 70000))
	if !slices.Equal(f.Wire, want) {
		t.Error("wrong wire form")
	}
	if wire := NewFrame(make([]byte, 300)).Wire; !slices.Equal(wire[:4], []byte{0x81, 126, 1, 44}) {
		t.Errorf("header % x", wire[:4])
	}
	if wire := NewBinaryFrame(nil).Wire; !slices.Equal(wire, []byte{0x82, 0}) {
		t.Errorf("empty binary: % x", wire)
	}
	if got := appendClose(nil, 0, ""); !slices.Equal(got, []byte{0x80 | byte(ws.OpClose), 0}) {
		t.Errorf("close without body: % x", got)
	}
}
