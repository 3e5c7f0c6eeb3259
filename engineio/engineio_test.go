package engineio_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/engineio"
	"github.com/holdfast-dev/holdfast/internal/wiretest"
)

func Example() {
	body := engineio.AppendPayload(nil,
		engineio.Packet{Type: engineio.Message, Data: []byte("hello")},
		engineio.Packet{Type: engineio.Message, Binary: true, Data: []byte{1, 2, 3, 4}})
	fmt.Printf("%q\n", body)

	packets, err := engineio.ParsePayload(body, engineio.MaxPackets)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range packets {
		fmt.Println(p.Type, p.Binary, p.Data)
	}
	// Output:
	// "4hello\x1ebAQIDBA=="
	// message false [104 101 108 108 111]
	// message true [1 2 3 4]
}

func ExampleHandshake() {
	h := engineio.Handshake{
		SID:          "lv_VI97HAXpY6yYWAAAC",
		Upgrades:     []string{"websocket"},
		PingInterval: 25 * time.Second,
		PingTimeout:  20 * time.Second,
		MaxPayload:   1_000_000,
	}
	fmt.Printf("%s\n", engineio.Packet{Type: engineio.Open, Data: h.Append(nil)}.Append(nil))
	// Output:
	// 0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}
}

func TestDefaultMaxPackets(t *testing.T) {
	body := []byte(strings.Repeat("2\x1e", engineio.MaxPackets-1) + "2")
	if packets, err := engineio.ParsePayload(body, 0); err != nil || len(packets) != engineio.MaxPackets {
		t.Errorf("%d packets, %v", len(packets), err)
	}
	if _, err := engineio.ParsePayload(append(body, "\x1e2"...), -1); holdfast.CodeOf(err) != holdfast.MessageTooLarge {
		t.Errorf("error is %v", err)
	}
}

func TestHandshakeBounds(t *testing.T) {
	const rest = `"pingInterval":1,"pingTimeout":1}`
	for text, good := range map[string]bool{
		`{"sid":"` + strings.Repeat("a", 256) + `",` + rest:                                true,
		`{"sid":"` + strings.Repeat("a", 257) + `",` + rest:                                false,
		`{"sid":"a","upgrades":["a"` + strings.Repeat(`,"a"`, 15) + `],` + rest:            true,
		`{"sid":"a","upgrades":["a"` + strings.Repeat(`,"a"`, 16) + `],` + rest:            false,
		`{"sid":"a","x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `,` + rest: false,
		`{"sid":"a","pingInterval":86400000,"pingTimeout":86400000}`:                       true,
		`{"sid":"a","pingInterval":86400001,"pingTimeout":1}`:                              false,
		`{"sid":"a","pingInterval":1,"pingTimeout":86400001}`:                              false,
	} {
		if _, err := engineio.ParseHandshake([]byte(text)); (err == nil) != good || err != nil && holdfast.CodeOf(err) != holdfast.ProtocolError {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

func TestTypeNames(t *testing.T) {
	for typ := engineio.Open - 1; typ <= engineio.Noop+1; typ++ {
		if known := typ >= engineio.Open && typ <= engineio.Noop; (typ.String() != "unknown") != known {
			t.Errorf("name of type %c is %s", typ, typ)
		}
	}
}

func TestAllocations(t *testing.T) {
	text := []byte(`42["todo:create",{"title":"Write tests"}]`)
	body, binary := payload(), []byte("bAQIDBA==")
	packets, err := engineio.ParsePayload(body, 64)
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]byte, 0, 2*len(body))
	handshake := engineio.Handshake{SID: "lv_VI97HAXpY6yYWAAAC", Upgrades: []string{"websocket"}, PingInterval: time.Second, PingTimeout: time.Second}
	for _, test := range []struct {
		name string
		max  float64
		run  func()
	}{
		{"Parse", 0, func() { _, _ = engineio.Parse(text) }},
		{"ParsePayload of text", 1, func() { _, _ = engineio.ParsePayload(body, 64) }},
		{"ParsePayload with one binary", 2, func() { _, _ = engineio.ParsePayload(binary, 64) }},
		{"Append", 0, func() { dst = packets[0].Append(dst[:0]) }},
		{"AppendPayload", 0, func() { dst = engineio.AppendPayload(dst[:0], packets...) }},
		{"AppendPayload into nothing", 2, func() { _ = engineio.AppendPayload(nil, packets...) }},
		{"Handshake.Append", 0, func() { dst = handshake.Append(dst[:0]) }},
	} {
		if got := testing.AllocsPerRun(100, test.run); got > test.max {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.max)
		}
	}
}

// payload has 64 small events.
func payload() []byte {
	packets := slices.Repeat([]engineio.Packet{{Type: engineio.Message, Data: []byte(`2["todo:create",{"title":"Write tests","done":false}]`)}}, 64)
	return engineio.AppendPayload(nil, packets...)
}

func FuzzParse(f *testing.F) {
	for _, c := range wiretest.Load(f, transcripts) {
		if text, ok := c.Get("packet"); ok {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := engineio.Parse(text)
		if err != nil {
			if holdfast.CodeOf(err) != holdfast.ProtocolError {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if again := p.Append(nil); !bytes.Equal(again, text) {
			t.Errorf("%q became %q", text, again)
		}
	})
}

func FuzzParsePayload(f *testing.F) {
	for _, c := range wiretest.Load(f, transcripts) {
		if text, ok := c.Get("payload"); ok {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		packets, err := engineio.ParsePayload(body, 8)
		if err != nil {
			if code := holdfast.CodeOf(err); code != holdfast.ProtocolError && code != holdfast.MessageTooLarge {
				t.Errorf("%q: %v", body, err)
			}
			return
		}
		if len(packets) == 0 || len(packets) > 8 {
			t.Errorf("%q: %d packets", body, len(packets))
		}
		if again := engineio.AppendPayload(nil, packets...); !bytes.Equal(again, body) {
			t.Errorf("%q became %q", body, again)
		}
	})
}

func FuzzParseHandshake(f *testing.F) {
	for _, c := range wiretest.Load(f, transcripts) {
		if text, ok := c.Get("handshake"); ok {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := engineio.ParseHandshake(data)
		if err != nil {
			if holdfast.CodeOf(err) != holdfast.ProtocolError {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		text := h.Append(nil)
		again, err := engineio.ParseHandshake(text)
		if err != nil || !bytes.Equal(again.Append(nil), text) {
			t.Errorf("%q became %q, which is %+v, %v", data, text, again, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	text := []byte(`42["todo:create",{"title":"Write tests","done":false,"tags":["a","b"]}]`)
	b.ReportAllocs()
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := engineio.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParsePayload64(b *testing.B) {
	body := payload()
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := engineio.ParsePayload(body, 64); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendPayload64(b *testing.B) {
	body := payload()
	packets, err := engineio.ParsePayload(body, 64)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, len(body))
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		dst = engineio.AppendPayload(dst[:0], packets...)
	}
}

func BenchmarkParsePayloadBinary(b *testing.B) {
	body := engineio.AppendPayload(nil, engineio.Packet{Type: engineio.Message, Binary: true, Data: make([]byte, 1024)})
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := engineio.ParsePayload(body, 64); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendPayloadBinary(b *testing.B) {
	p := engineio.Packet{Type: engineio.Message, Binary: true, Data: make([]byte, 1024)}
	dst := make([]byte, 0, 2048)
	b.ReportAllocs()
	b.SetBytes(1024)
	for b.Loop() {
		dst = engineio.AppendPayload(dst[:0], p)
	}
}
