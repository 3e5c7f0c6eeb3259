package transport

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

func TestOffersDeflate(t *testing.T) {
	for offer, want := range map[string]bool{
		"":                   false,
		"permessage-deflate": true,
		"Permessage-Deflate": true,
		"  permessage-deflate  ; client_max_window_bits ":                                           true,
		"permessage-deflate; client_max_window_bits=8":                                              true,
		"permessage-deflate; client_max_window_bits=15":                                             true,
		`permessage-deflate; client_max_window_bits="10"`:                                           true,
		"permessage-deflate; client_max_window_bits=7":                                              false,
		"permessage-deflate; client_max_window_bits=16":                                             false,
		"permessage-deflate; client_max_window_bits=08":                                             false,
		"permessage-deflate; client_max_window_bits=":                                               false,
		"permessage-deflate; server_max_window_bits=15":                                             true,
		"permessage-deflate; server_max_window_bits=10":                                             false,
		"permessage-deflate; server_max_window_bits":                                                false,
		"permessage-deflate; server_no_context_takeover":                                            true,
		"permessage-deflate; server_no_context_takeover=1":                                          false,
		"permessage-deflate; client_no_context_takeover=true":                                       false,
		"permessage-deflate; what":                                                                  false,
		"permessage-deflate;":                                                                       false,
		"permessage-deflate=1":                                                                      false,
		"x-webkit-deflate-frame":                                                                    false,
		"x-webkit-deflate-frame, permessage-deflate":                                                true,
		`x; a="\", permessage-deflate"`:                                                             false,
		`x; a=", permessage-deflate`:                                                                false,
		"client_no_context_takeover; permessage-deflate":                                            false,
		"permessage-deflate; client_max_window_bits; client_max_window_bits=10":                     false,
		"permessage-deflate; server_no_context_takeover; server_no_context_takeover":                false,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate":                         true,
		"permessage-deflate; server_max_window_bits=10, permessage-deflate; client_max_window_bits": true,
	} {
		if got := offersDeflate([]string{"other", offer}); got != want {
			t.Errorf("%q: %v", offer, got)
		}
	}
}

func TestDeflateNegotiation(t *testing.T) {
	for _, c := range []struct {
		name  string
		on    bool
		offer string
		want  []string
	}{
		{"off", false, "permessage-deflate", nil},
		{"not offered", true, "", nil},
		{"offered", true, "permessage-deflate; client_max_window_bits", []string{deflateAnswer}},
		{"offered as it can't be", true, "permessage-deflate; server_max_window_bits=9", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				plain := newPlainRig(t, n, PlainConfig{Compression: c.on})
				plain.offer = c.offer
				client, resp := plain.rawWebSocket("", nil)
				if got := resp.Header["Sec-Websocket-Extensions"]; strings.Join(got, "|") != strings.Join(c.want, "|") {
					t.Errorf("answered %q", got)
				}
				long := strings.Repeat("x", 2000)
				plain.opened().conn.Send(NewTextFrame([]byte(long)))
				want := "text " + long
				if c.want != nil {
					want = "packed " + want
				}
				client.want(want)
				client.bye()
			})
		})
	}
}

// The handshake of an upgrade from polling negotiates as well.
func TestDeflateAfterUpgrade(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{Compression: true}, echoing)
		rg.offer = "permessage-deflate"
		sid := rg.open()
		c := rg.upgraded(sid)
		long := "4" + strings.Repeat("y", 1500)
		c.text(long)
		c.want("packed text " + long)
		c.bye()
	})
}

// packed is a whole compressed message from a client.
func packed(b0 byte, text string) []byte {
	return frame(b0|rsv1<<4, string(newDeflater(0).compress(nil, []byte(text))))
}

func unhex(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// packedRules are cases of RFC 7692 for plain connections that have agreed on
// it, with all its own examples.
func packedRules() []rule {
	const (
		text1  = fText | rsv1<<4
		begin1 = fTextBegin | rsv1<<4
	)
	hello := unhex("f2 48 cd c9 c9 07 00")
	noise := make([]byte, maxMessage)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.IntN(128))
	}
	return []rule{
		keeps("7.2.3.1 one frame", frame(text1, hello), "text Hello"),
		keeps("7.2.3.1 fragments", cat(frame(begin1, hello[:3]), frame(fLast, hello[3:])), "text Hello"),
		ends("7.2.3.2 a window shared with the last message", cat(frame(text1, hello), frame(text1, unhex("f2 00 11 00 00"))), "text Hello", badText),
		keeps("7.2.3.3 a block without compression", frame(text1, unhex("00 05 00 fa ff 48 65 6c 6c 6f 00")), "text Hello"),
		keeps("7.2.3.4 a final block", frame(text1, unhex("f3 48 cd c9 c9 07 00 00")), "text Hello"),
		keeps("7.2.3.5 two blocks", frame(text1, unhex("f2 48 05 00 00 00 ff ff ca c9 c9 07 00")), "text Hello"),
		keeps("7.2.3.6 empty message", frame(text1, "\x00"), "text "),
		keeps("5 the next message is not compressed", cat(frame(text1, hello), frame(fText, "plain")), "text Hello", "text plain"),
		keeps("6.1 ping between fragments", cat(frame(begin1, hello[:3]), frame(fPing, "p"), frame(fMore, hello[3:]), frame(fLast, "")), "pong p", "text Hello"),
		ends("6.1 RSV1 on a continuation", cat(frame(begin1, hello[:3]), frame(fLast|rsv1<<4, hello[3:])), protocolError),
		ends("6.1 RSV1 on the second fragment alone", cat(frame(fTextBegin, "a"), frame(fLast|rsv1<<4, hello)), protocolError),
		ends("6.1 RSV1 on a ping", frame(fPing|rsv1<<4, ""), protocolError),
		ends("6.1 RSV1 on a close", frame(fClose|rsv1<<4, ""), protocolError),
		ends("5 RSV1 and RSV2", frame(fText|6<<4, hello), protocolError),
		ends("no DEFLATE", frame(text1, "\xff\xff\xff"), badText),
		ends("cut off", frame(text1, hello[:4]), badText),
		keeps("many final blocks", frame(text1, strings.Repeat("\x03\x00", maxFinal)+hello), "text Hello"),
		ends("too many final blocks", frame(text1, strings.Repeat("\x03\x00", maxFinal+1)+hello), badText),
		ends("not UTF-8", packed(fText, "a\xff"), badText),
		keeps("UTF-8", packed(fText, "κόσμε 🎈"), "text κόσμε 🎈"),
		keeps("of the largest size", packed(fText, strings.Repeat("x", maxMessage)), "packed text "+strings.Repeat("x", maxMessage)),
		ends("a byte more", packed(fText, strings.Repeat("x", maxMessage+1)), tooLong),
		ends("a bomb", packed(fText, strings.Repeat("x", 100*maxMessage)), tooLong),
		keeps("noise of the largest size", packed(fText, string(noise)), "packed text "+string(noise)),
		ends("compressed payload too large", header(text1, 127, maxMessage+maxMessage>>8+65), tooLong),
		ends("compressed fragments too large together", cat(frame(begin1, strings.Repeat("x", maxMessage)), frame(fLast, strings.Repeat("x", 1000))), tooLong),
	}
}

func TestRFC7692(t *testing.T) {
	for _, r := range packedRules() {
		t.Run(r.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				rg := newPlainRig(t, n, PlainConfig{MaxPayload: maxMessage, Compression: true, CompressFrom: 1500}, echoing)
				rg.offer = "permessage-deflate"
				c, s := rg.connectPlain()
				go func() { _, _ = c.conn.Write(r.send) }()
				c.want(r.want...)
				if r.want[len(r.want)-1] == "eof" {
					s.end(t, r.code(), nil)
					c.conn.Close()
					return
				}
				c.bye()
				s.end(t, "", nil)
			})
		})
	}
}

// What is sent: only messages that are long enough and get shorter, each part
// of a frame by itself, joined with others or alone.
func TestDeflateOutgoing(t *testing.T) {
	noise := make([]byte, 3000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	long, short := strings.Repeat("x", 3000), strings.Repeat("y", deflateFrom-2)
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{Compression: true})
		rg.offer = "permessage-deflate"
		c, s := rg.connect()
		for range 3 {
			s.conn.Send(NewFrame([]byte("4" + short)))
			s.conn.Send(NewFrame([]byte("4"+long), noise, []byte(long), []byte(short)))
			s.conn.Send(NewFrame([]byte("4"+short), []byte(short)))
			s.conn.Send(NewBinaryFrame(noise))
		}
		for range 3 {
			c.want("text 4"+short, "packed text 4"+long, "binary "+hex.EncodeToString(noise),
				"packed binary "+hex.EncodeToString([]byte(long)), "binary "+hex.EncodeToString([]byte(short)),
				"text 4"+short, "binary "+hex.EncodeToString([]byte(short)), "binary "+hex.EncodeToString(noise))
		}
		c.bye()
	})
}

// All receivers of a frame share its compressed form, whoever asks first.
func TestDeflateOnce(t *testing.T) {
	d := newDeflater(deflateFrom)
	for _, f := range []*hub.Frame{NewTextFrame(bytes.Repeat([]byte("x"), 5000)), NewFrame(nil, bytes.Repeat([]byte("x"), 5000))} {
		wires := make([][]byte, 50)
		var wg sync.WaitGroup
		for i := range wires {
			wg.Go(func() { wires[i] = d.wire(f) })
		}
		wg.Wait()
		for _, w := range wires {
			if &w[0] != &wires[0][0] || len(w) > 100 {
				t.Fatalf("another form of %d bytes", len(w))
			}
		}
	}
	// What gains nothing is not kept twice.
	noise := make([]byte, 5000)
	rand.NewChaCha8([32]byte{}).Read(noise)
	f := NewBinaryFrame(noise)
	if w := d.wire(f); &w[0] != &f.Wire[0] {
		t.Error("noise has another form")
	}
	if n := testing.AllocsPerRun(100, func() { d.wire(f) }); n != 0 {
		t.Errorf("%v allocations a receiver", n)
	}
}

// No more compressors and decompressors exist than can be at work.
func TestDeflateTurns(t *testing.T) {
	d := newDeflater(0)
	for range cap(d.turns) {
		d.turns <- struct{}{}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.wire(NewTextFrame([]byte("hello")))
		_, _ = d.inflate([]byte{0}, 10)
	}()
	for range 100 {
		runtime.Gosched()
		select {
		case <-done:
			t.Fatal("it did not wait for its turn")
		default:
		}
	}
	for range cap(d.turns) {
		<-d.turns
	}
	<-done
	if len(d.turns) != 0 {
		t.Error("a turn was not given back")
	}
}

// A client by others, with and without context takeover of its own.
func TestDeflateWithCoder(t *testing.T) {
	for _, mode := range []websocket.CompressionMode{websocket.CompressionContextTakeover, websocket.CompressionNoContextTakeover} {
		onBoth(t, func(t *testing.T, n network) {
			newPlainRig(t, n, PlainConfig{Compression: true, CompressFrom: 1, MaxPayload: 1 << 20}, echoing)
			client := &http.Client{Transport: &http.Transport{
				DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dial(ctx) },
				DisableKeepAlives: true,
			}}
			conn, resp, err := websocket.Dial(t.Context(), "ws://engine.test/", &websocket.DialOptions{HTTPClient: client, CompressionMode: mode, CompressionThreshold: 1})
			if err != nil {
				t.Fatal(err)
			}
			conn.SetReadLimit(1 << 20)
			if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != deflateAnswer {
				t.Fatalf("answered %q", got)
			}
			for i := range 200 {
				text := strings.Repeat(string(rune('a'+i%26)), i*i) + "é"
				if err := conn.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
					t.Fatal(err)
				}
				_, got, err := conn.Read(t.Context())
				if err != nil || string(got) != text {
					t.Fatalf("message %d: %v, %d bytes for %d", i, err, len(got), len(text))
				}
			}
			conn.Close(websocket.StatusNormalClosure, "")
		})
	}
}

// FuzzInflate: no input may panic or get around the limit; what is compressed
// is read back; and what a decompressor that knows nothing of WebSocket makes
// of an input is what ours does.
func FuzzInflate(f *testing.F) {
	for _, r := range packedRules() {
		if h, n, err := parseHeader(r.send); err == nil && n > 0 && int64(len(r.send)) >= int64(n)+h.Length && h.Length < 1000 {
			body := bytes.Clone(r.send[n : int64(n)+h.Length])
			ws.Cipher(body, h.Mask, 0)
			f.Add(body)
		}
	}
	d := newDeflater(0)
	const limit = 10_000
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := d.inflate(data, limit)
		if err == nil && len(out) > limit {
			t.Fatalf("%d bytes", len(out))
		}
		var fe *frameError
		if err != nil && (!errors.As(err, &fe) || fe.code != wsframe.BadData && fe.code != wsframe.TooBig) {
			t.Fatal(err)
		}
		oracle := flate.NewReader(io.MultiReader(bytes.NewReader(data), strings.NewReader(deflateTail)))
		want, oerr := io.ReadAll(io.LimitReader(oracle, limit+1))
		switch {
		case oerr == nil && len(want) > limit:
			if fe == nil || fe.code != wsframe.TooBig {
				t.Fatalf("a bomb: %v", err)
			}
		case oerr != nil && err == nil:
			t.Fatalf("taken, but: %v", oerr)
		case err == nil && !bytes.HasPrefix(out, want): // a final block ends the oracle's reading
			t.Fatalf("%q, not %q", out, want)
		}
		if len(data) <= limit {
			back, err := d.inflate(d.compress(nil, data), limit)
			if err != nil || !bytes.Equal(back, data) {
				t.Fatalf("%q came back as %q: %v", data, back, err)
			}
		}
	})
}

// BenchmarkPack is the one compression of an event, for all its receivers.
func BenchmarkPack(b *testing.B) {
	text := []byte(strings.Repeat(`{"type":"event","room":"board-7","event":"card:moved","data":{"card":3,"x":17,"y":4}},`, 48))
	d := newDeflater(deflateFrom)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var n int
	for b.Loop() {
		n = len(d.wire(NewTextFrame(text)))
	}
	b.ReportMetric(float64(len(text))/float64(n), "ratio")
}
