package socketio_test

import (
	"runtime"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/wiretest"
	"github.com/holdfast-dev/holdfast/socketio"
)

// A decoder goes on after any error as if it were new.
func TestDecoderAfterError(t *testing.T) {
	var d socketio.Decoder
	good := func() {
		t.Helper()
		p, ok, err := d.Text([]byte(`2/ns,7["a",1]`))
		if err != nil || !ok || p.Namespace != "/ns" || p.ID != 7 || !p.HasID || string(p.Data) != `["a",1]` || p.Attachments != nil {
			t.Fatalf("got %s, %v, %v", show(p), ok, err)
		}
		if p, ok, err := d.Text([]byte(`51-["a",{"_placeholder":true,"num":0}]`)); ok || err != nil {
			t.Fatalf("got %s, %v, %v", show(p), ok, err)
		}
		if p, ok, err := d.Binary([]byte{9}); !ok || err != nil || len(p.Attachments) != 1 {
			t.Fatalf("got %s, %v, %v", show(p), ok, err)
		}
	}
	good()
	for _, c := range wiretest.Load(t, transcripts) {
		if _, bad := c.Get("error"); !bad {
			continue
		}
		d.Limits = limits(t, c)
		for _, f := range c.Fields {
			var err error
			switch f.Key {
			case "text":
				_, _, err = d.Text([]byte(f.Value))
			case "binary":
				_, _, err = d.Binary([]byte(f.Value))
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: the error repeats the message: %v", c.Place, err)
			}
		}
		d.Limits = socketio.Limits{}
		good()
	}
}

// What is kept over calls is copied, even though buffers are used again.
func TestDecoderCopies(t *testing.T) {
	var d socketio.Decoder
	buffer := make([]byte, 0, 200)
	put := func(s string) []byte { buffer = append(buffer[:0], s...); return buffer }
	if _, ok, err := d.Text(put(`52-/first,["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)); ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, ok, err := d.Binary(put("one")); ok || err != nil {
		t.Fatal(ok, err)
	}
	p, ok, err := d.Binary(put("two"))
	if !ok || err != nil {
		t.Fatal(ok, err)
	}
	if p.Namespace != "/first" || !strings.HasPrefix(string(p.Data), `["a",{`) || string(p.Attachments[0]) != "one" || string(p.Attachments[1]) != "two" {
		t.Errorf("got %s", show(p))
	}
	// The namespace is a string of its own, not a view of the buffer.
	put(strings.Repeat("#", 200))
	if p.Namespace != "/first" {
		t.Errorf("namespace is %q", p.Namespace)
	}
	if p, _, err := d.Text(put("2/second,[\"b\"]")); err != nil || p.Namespace != "/second" {
		t.Errorf("got %s, %v", show(p), err)
	}
}

func TestCheckNamespace(t *testing.T) {
	for name, good := range map[string]bool{
		"/": true, "/admin": true, "/a/b": true, "/é": true, "/" + strings.Repeat("a", 199): true,
		"": false, "admin": false, "/a,b": false, "/a?b": false, "/a\n": false, "/\x7f": false, "/\u0085": false, "/\xff": false,
		"/" + strings.Repeat("a", 200): false,
	} {
		if err := socketio.CheckNamespace(name); (err == nil) != good || err != nil && holdfast.CodeOf(err) != holdfast.InvalidArgument {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Event and AckArgs of packets that no Decoder made.
func TestPacketsByHand(t *testing.T) {
	for _, data := range []string{``, `[`, `[]`, `["a`, `["a"`, `["a" 1]`, `["a",`, `["a",]`, `["a",1`, `{}`, `"a"`, `[1.5]`, `[nul`, `[-`, `[-]`, ` ["a"]`} {
		p := socketio.Packet{Type: socketio.Event, Data: []byte(data)}
		if name, args, err := p.Event(); holdfast.CodeOf(err) != holdfast.ProtocolError {
			t.Errorf("event %q: %q, %q, %v", data, name, args.Values, err)
		}
	}
	for _, data := range []string{``, `[`, `[1`, `[1,`, `[,]`, `{}`, `1`} {
		p := socketio.Packet{Type: socketio.Ack, Data: []byte(data)}
		if args, err := p.AckArgs(); holdfast.CodeOf(err) != holdfast.ProtocolError {
			t.Errorf("ack %q: %q, %v", data, args.Values, err)
		}
	}
	if got := string(socketio.Packet{Type: socketio.BinaryEvent, Data: []byte(`["a"]`)}.Append(nil)); got != `2["a"]` {
		t.Errorf("binary event without attachments: %s", got)
	}
	if got := string(socketio.Packet{Type: socketio.BinaryAck, HasID: true, Data: []byte(`[]`)}.Append(nil)); got != `30[]` {
		t.Errorf("binary ack without attachments: %s", got)
	}
	for typ := socketio.Connect; typ <= socketio.BinaryAck+1; typ++ {
		if (typ.String() == "unknown") != (typ > socketio.BinaryAck) {
			t.Errorf("name of type %c is %s", typ, typ)
		}
	}
}

func TestCheckPlaceholders(t *testing.T) {
	for _, test := range []struct {
		data string
		n    int
		good bool
	}{
		{`null`, 0, true}, {`{"a":1}`, 0, true}, {`"_placeholder"`, 0, true}, {`null`, 1, false}, {`null`, -1, true},
		{`{"_placeholder":true,"num":0}`, 1, true}, {`{"_placeholder":true,"num":0}`, 0, false},
		{`[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, 2, true},
		{`[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`, 3, false},
		{` {"a":[{"b": {"num":0,"_placeholder":true} }]}`, 1, true},
		// Not JSON: an error or not, but no panic and an end.
		{`{"_placeholder"`, 1, false}, {`{"_placeholder":`, 1, false}, {`{"_placeholder":true`, 1, false}, {`{"_placeholder":true,`, 1, false},
		{`{"_placeholder":true,}`, 1, false}, {`[{"_placeholder":true,"num":0}`, 1, false}, {`["_placeholder"`, 1, false}, {`["_placeholder",`, 1, false},
		{`{_placeholder:true}`, 1, false}, {strings.Repeat("[", 20_000) + `"_placeholder"`, 1, false}, {`"_placeholder`, 1, false}, {``, 1, false},
	} {
		err := socketio.CheckPlaceholders([]byte(test.data), test.n)
		if (err == nil) != test.good || err != nil && holdfast.CodeOf(err) != holdfast.ProtocolError {
			t.Errorf("%.60s with %d attachments: %v", test.data, test.n, err)
		}
	}
}

// However hostile a message, decoding it takes memory in proportion to it.
func TestMemory(t *testing.T) {
	const size = 500_000
	for name, text := range map[string]string{
		"many arguments":         `2["a"` + strings.Repeat(",1", size/2) + `]`,
		"many empty strings":     `2["a"` + strings.Repeat(`,""`, size/3) + `]`,
		"many placeholders":      `516-["a"` + strings.Repeat(`,{"_placeholder":true,"num":0}`, size/30) + `]`,
		"deep":                   `2["a",` + strings.Repeat("[", size),
		"deep with placeholders": `51-["a",` + strings.Repeat(`{"_placeholder":`, size/16),
		"long namespace":         `2/` + strings.Repeat("a", size),
		"long query":             `0/a?` + strings.Repeat("a", size),
		"long id":                `2` + strings.Repeat("1", size),
		"long name":              `2["` + strings.Repeat("a", size) + `"]`,
		"long escaped name":      `2["` + strings.Repeat(`\u0000`, size/6) + `"]`,
		"backslashes":            `2["a","` + strings.Repeat(`\\`, size/2) + `"]`,
		"escaped marks":          `2["a","` + strings.Repeat(`\"`, size/2) + `"]`,
		"escaped keys":           `51-["a"` + strings.Repeat(`,{"\u0000":0}`, size/13) + `,{"_placeholder":true,"num":0}]`,
		"many keys":              `51-["a",{"x":{"_placeholder":true,"num":0}` + strings.Repeat(`,"k":0`, size/6) + `}]`,
	} {
		t.Run(name, func(t *testing.T) {
			data := []byte(text)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			var d socketio.Decoder
			p, ok, err := d.Text(data)
			if err == nil && !ok {
				p, ok, err = d.Binary([]byte{1})
			}
			if ok && err == nil && p.Type == socketio.Event {
				_, args, err := p.Event()
				if err != nil {
					t.Error(err)
				}
				if _, err := args.Portable(); err != nil {
					t.Error(err)
				}
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 40*uint64(len(data)) {
				t.Errorf("%d bytes allocated for %d bytes of text", used, len(data))
			}
		})
	}
}
