package socketio_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/holdfast-dev/holdfast/socketio"
)

// What the benchmarks decode; the event is what a publish looks like.
var (
	smallEvent   = []byte(`2["todo:create",{"title":"Write tests","done":false,"tags":["a","b"]}]`)
	publishEvent = []byte(`27["room:publish",{"room":"board-7","event":"card:move","data":{"card":"c-1042","from":3,"to":5,"by":"ada"},"id":"01J9ZQ3V7Y8Y6P7V7Y8Y6P7V7Y"}]`)
	namespaced   = []byte(`2/admin,12["todo:create",{"title":"Write tests"}]`)
	smallAck     = []byte(`312[{"ok":true,"data":{"epoch":"Zk3x","offset":1042}}]`)
	binaryEvent  = []byte(`51-["upload",{"name":"a.png","body":{"_placeholder":true,"num":0}}]`)
	attachment   = bytes.Repeat([]byte{1, 2, 3, 4}, 256)
)

func decodeEvent(tb testing.TB, d *socketio.Decoder, text []byte) socketio.Args {
	p, ok, err := d.Text(text)
	if err == nil && !ok {
		p, _, err = d.Binary(attachment)
	}
	if err != nil {
		tb.Fatal(err)
	}
	_, args, err := p.Event()
	if err != nil {
		tb.Fatal(err)
	}
	return args
}

// The hot paths keep to their allocations: two for the arguments and the name
// of an event.
func TestAllocations(t *testing.T) {
	var d socketio.Decoder
	dst := make([]byte, 0, 512)
	connect := []byte("0")
	args, err := socketio.NewArgs(map[string]int{"a": 1}, "b")
	if err != nil {
		t.Fatal(err)
	}
	packet := socketio.Packet{Type: socketio.Event, Namespace: "/admin", HasID: true, ID: 1 << 40, Data: args.AppendEvent(nil, "e")}
	for _, test := range []struct {
		name string
		max  float64
		run  func()
	}{
		{"Text of an event", 0, func() { _, _, _ = d.Text(smallEvent) }},
		{"Text of a connect", 0, func() { _, _, _ = d.Text(connect) }},
		{"Text in a namespace", 0, func() { _, _, _ = d.Text(namespaced) }},
		{"event", 2, func() { decodeEvent(t, &d, smallEvent) }},
		{"ack", 1, func() {
			p, _, _ := d.Text(smallAck)
			if _, err := p.AckArgs(); err != nil {
				t.Fatal(err)
			}
		}},
		// The data, the list of attachments, what waits; placeholders; name, arguments.
		{"binary event", 8, func() { decodeEvent(t, &d, binaryEvent) }},
		{"AppendEvent", 0, func() { dst = args.AppendEvent(dst[:0], "todo:created") }},
		{"AppendArray", 0, func() { dst = args.AppendArray(dst[:0]) }},
		{"Append", 0, func() { dst = packet.Append(dst[:0]) }},
		{"NewArgs of raw JSON", 2, func() {
			if _, err := socketio.NewArgs(args.Values[0]); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		if got := testing.AllocsPerRun(200, test.run); got > test.max {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.max)
		}
	}
}

func BenchmarkDecodeEvent(b *testing.B)     { benchmarkDecode(b, smallEvent, 0) }
func BenchmarkDecodePublish(b *testing.B)   { benchmarkDecode(b, publishEvent, 0) }
func BenchmarkDecodeNamespace(b *testing.B) { benchmarkDecode(b, namespaced, 0) }
func BenchmarkDecodeBinary(b *testing.B)    { benchmarkDecode(b, binaryEvent, len(attachment)) }

func benchmarkDecode(b *testing.B, text []byte, more int) {
	var d socketio.Decoder
	b.ReportAllocs()
	b.SetBytes(int64(len(text) + more))
	for b.Loop() {
		decodeEvent(b, &d, text)
	}
}

func BenchmarkDecodeText(b *testing.B) { // without Event
	var d socketio.Decoder
	b.ReportAllocs()
	b.SetBytes(int64(len(smallEvent)))
	for b.Loop() {
		if _, _, err := d.Text(smallEvent); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeAck(b *testing.B) {
	var d socketio.Decoder
	b.ReportAllocs()
	b.SetBytes(int64(len(smallAck)))
	for b.Loop() {
		p, _, err := d.Text(smallAck)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.AckArgs(); err != nil {
			b.Fatal(err)
		}
	}
}

type todo struct {
	Title string   `json:"title"`
	Done  bool     `json:"done"`
	Tags  []string `json:"tags"`
}

type upload struct {
	Name string          `json:"name"`
	Body socketio.Binary `json:"body"`
}

func BenchmarkDecodeValue(b *testing.B) {
	var d socketio.Decoder
	args := decodeEvent(b, &d, smallEvent)
	b.ReportAllocs()
	for b.Loop() {
		var in todo
		if err := args.Decode(0, &in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeValueBinary(b *testing.B) {
	var d socketio.Decoder
	args := decodeEvent(b, &d, binaryEvent)
	b.ReportAllocs()
	b.SetBytes(int64(len(attachment)))
	for b.Loop() {
		var in upload
		if err := args.Decode(0, &in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeEvent(b *testing.B) {
	var d socketio.Decoder
	args := decodeEvent(b, &d, smallEvent)
	var data, dst []byte
	b.ReportAllocs()
	for b.Loop() {
		data = args.AppendEvent(data[:0], "todo:create")
		dst = socketio.Packet{Type: socketio.Event, Namespace: "/", Data: data}.Append(append(dst[:0], '4'))
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkEncodeAck(b *testing.B) {
	var d socketio.Decoder
	p, _, _ := d.Text(smallAck)
	args, err := p.AckArgs()
	if err != nil {
		b.Fatal(err)
	}
	var data, dst []byte
	b.ReportAllocs()
	for b.Loop() {
		data = args.AppendArray(data[:0])
		dst = socketio.Packet{Type: socketio.Ack, Namespace: "/", ID: 12, HasID: true, Data: data}.Append(append(dst[:0], '4'))
	}
	b.SetBytes(int64(len(dst)))
}

func BenchmarkNewArgs(b *testing.B) {
	in := todo{Title: "Write tests", Tags: []string{"a", "b"}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := socketio.NewArgs(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkNewArgsBinary(b *testing.B) {
	in := upload{Name: "a.png", Body: attachment}
	b.ReportAllocs()
	b.SetBytes(int64(len(attachment)))
	for b.Loop() {
		if _, err := socketio.NewArgs(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPortable(b *testing.B) {
	var d socketio.Decoder
	args := decodeEvent(b, &d, binaryEvent)
	b.ReportAllocs()
	b.SetBytes(int64(len(attachment)))
	for b.Loop() {
		if _, err := args.Portable(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeRaw(b *testing.B) {
	args := socketio.Args{Values: []json.RawMessage{json.RawMessage(`{"card":"c-1042","from":3,"to":5,"by":"ada","note":"to be looked at again on Monday"}`)}}
	b.ReportAllocs()
	for b.Loop() {
		var v json.RawMessage
		if err := args.Decode(0, &v); err != nil {
			b.Fatal(err)
		}
	}
}
