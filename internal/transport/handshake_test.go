package transport

import (
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast"
)

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

// What RFC 6455 §4.1 leaves to clients is taken.
func TestOpeningHandshakeTaken(t *testing.T) {
	good := upgradeRequest(websocketQuery)
	for _, tt := range []struct{ name, old, new string }{
		{"4.2.1 Upgrade in other letters", "Upgrade: websocket", "Upgrade: WebSocket"},
		{"4.1 Upgrade names another protocol first", "Upgrade: websocket", "Upgrade: example/2, websocket"},
		{"4.1 Upgrade in two headers", "Upgrade: websocket", "Upgrade: example\r\nUpgrade: websocket"},
		{"4.2.1 Connection in other letters", "keep-alive, Upgrade", "Keep-Alive,upgrade"},
		{"4.2.1 Connection names nothing else", "keep-alive, Upgrade", "Upgrade"},
		{"4.1 names of headers in other letters", "Sec-WebSocket-Key", "sec-websocket-KEY"},
		{"4.1 white space around values", "Version: 13", "Version:   13  "},
		{"4.2.1 unknown headers", "Sec-WebSocket-Version", "Sec-WebSocket-Else: 1\r\nSec-WebSocket-Version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := strings.Replace(good, tt.old, tt.new, 1)
			if request == good {
				t.Fatal("nothing replaced")
			}
			for kind, rig := range map[string]func(t *testing.T, n network) *rig{
				"socketio": func(t *testing.T, n network) *rig { return newRig(t, n, EngineConfig{}) },
				"plain":    func(t *testing.T, n network) *rig { return newPlainRig(t, n, PlainConfig{}) },
			} {
				t.Run(kind, func(t *testing.T) {
					onBoth(t, func(t *testing.T, n network) {
						rg := rig(t, n)
						resp := rg.raw(request)
						if resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
							t.Fatalf("%s %v", resp.Status, resp.Header)
						}
						rg.opened().conn.Close(nil)
					})
				})
			}
		})
	}
}
