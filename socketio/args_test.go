package socketio_test

import (
	"bytes"
	"encoding/json"
	"math"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
)

// file has binary parts at depth, in every way a Go type can hold them.
type file struct {
	Name   string                     `json:"name"`
	Body   socketio.Binary            `json:"body"`
	Thumb  *socketio.Binary           `json:"thumb,omitempty"`
	Parts  []socketio.Binary          `json:"parts,omitempty"`
	ByName map[string]socketio.Binary `json:"byName,omitempty"`
	Any    any                        `json:"any,omitempty"`
	Inner  *file                      `json:"inner,omitempty"`
}

func roundTrip(t *testing.T, args socketio.Args) socketio.Args {
	t.Helper()
	p := socketio.Packet{Type: socketio.Event, Namespace: "/", Data: args.AppendEvent(nil, "e"), Attachments: args.Attachments}
	var d socketio.Decoder
	got, ok, err := d.Text(p.Append(nil))
	for _, b := range args.Attachments {
		if ok || err != nil {
			t.Fatalf("complete %v, error %v", ok, err)
		}
		got, ok, err = d.Binary(b)
	}
	if !ok || err != nil {
		t.Fatalf("complete %v, error %v", ok, err)
	}
	_, back, err := got.Event()
	if err != nil {
		t.Fatal(err)
	}
	return back
}

func TestNewArgs(t *testing.T) {
	thumb := socketio.Binary{7}
	for _, test := range []struct {
		name        string
		values      []any
		want        string
		attachments int
	}{
		{"nothing", nil, `[]`, 0},
		{"nil", []any{nil}, `[null]`, 0},
		{"plain values", []any{1, "a<b>&", true, 1.5, []int{1}, map[string]int{"b": 2, "a": 1}}, `[1,"a<b>&",true,1.5,[1],{"a":1,"b":2}]`, 0},
		{"raw", []any{json.RawMessage(` {"a" : 1}`), json.RawMessage(nil)}, `[ {"a" : 1},null]`, 0},
		{"bytes", []any{[]byte{1}, "x", socketio.Binary{2}}, `[{"_placeholder":true,"num":0},"x",{"_placeholder":true,"num":1}]`, 2},
		{"empty and nil bytes", []any{[]byte{}, []byte(nil), socketio.Binary(nil)}, `[{"_placeholder":true,"num":0},null,null]`, 1},
		{"bytes inside stay base64 text", []any{struct{ B []byte }{[]byte{1, 2}}}, `[{"B":"AQI="}]`, 0},
		{"binary inside", []any{file{Name: "a", Body: socketio.Binary{1}}}, `[{"name":"a","body":{"_placeholder":true,"num":0}}]`, 1},
		{"nil binary inside", []any{file{Name: "a"}}, `[{"name":"a","body":null}]`, 0},
		{
			"binary everywhere",
			[]any{file{Body: socketio.Binary{1}, Thumb: &thumb, Parts: []socketio.Binary{{2}, {}, nil}, ByName: map[string]socketio.Binary{"b": {3}, "a": {4}},
				Any: []any{socketio.Binary{5}, &thumb}, Inner: &file{Body: socketio.Binary{1}}}},
			`[{"name":"","body":{"_placeholder":true,"num":0},"thumb":{"_placeholder":true,"num":1},"parts":[{"_placeholder":true,"num":2},{"_placeholder":true,"num":3},null],` +
				`"byName":{"a":{"_placeholder":true,"num":4},"b":{"_placeholder":true,"num":5}},"any":[{"_placeholder":true,"num":6},{"_placeholder":true,"num":7}],` +
				`"inner":{"name":"","body":{"_placeholder":true,"num":8}}}]`, 9,
		},
		{"pointer to binary", []any{&thumb}, `[{"_placeholder":true,"num":0}]`, 1},
		{"binary in an unexported struct that marshals itself", []any{sealed{thumb}}, `[[{"_placeholder":true,"num":0}]]`, 1},
		{"an object of the application that looks like bytes", []any{map[string]string{"$base64": "AQ=="}}, `[{"$base64":"AQ=="}]`, 0},
		{"such an object beside bytes", []any{map[string]any{"a": map[string]string{"$base64": "AQ=="}, "b": socketio.Binary{2}}}, `[{"a":{"$base64":"AQ=="},"b":{"_placeholder":true,"num":0}}]`, 1},
		{"text that looks like bytes", []any{[]any{`{"$base64":"AQ=="}`, `\{"$base64":"`, socketio.Binary{1}}}, `[["{\"$base64\":\"AQ==\"}","\\{\"$base64\":\"",{"_placeholder":true,"num":0}]]`, 1},
		{"literal placeholder without attachments", []any{map[string]any{"_placeholder": true, "num": 0}}, `[{"_placeholder":true,"num":0}]`, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			args, err := socketio.NewArgs(test.values...)
			if err != nil {
				t.Fatal(err)
			}
			if got := string(args.AppendArray(nil)); got != test.want || len(args.Attachments) != test.attachments || args.Len() != len(test.values) {
				t.Errorf("got %s with %d attachments, want %s with %d", got, len(args.Attachments), test.want, test.attachments)
			}
			roundTrip(t, args)
		})
	}
}

// sealed marshals what its fields do not show.
type sealed struct{ inside socketio.Binary }

func (s sealed) MarshalJSON() ([]byte, error) { return json.Marshal([]socketio.Binary{s.inside}) }

type broken struct{}

func (broken) MarshalJSON() ([]byte, error) { return []byte("\"\xff\""), nil }

func TestNewArgsRefuses(t *testing.T) {
	deep := json.RawMessage(strings.Repeat("[", 32) + strings.Repeat("]", 32))
	var seventeen []any
	for i := range 17 {
		seventeen = append(seventeen, []byte{byte(i)})
	}
	ring := map[string]any{}
	ring["ring"] = ring
	for name, values := range map[string][]any{
		"channel":                               {make(chan int)},
		"not a number":                          {math.NaN()},
		"ring":                                  {ring},
		"too deep":                              {deep},
		"raw that is not JSON":                  {json.RawMessage(`{`)},
		"raw with text behind":                  {json.RawMessage(`1],["x"`)},
		"raw that is empty":                     {json.RawMessage{}},
		"raw that is not UTF-8":                 {json.RawMessage("\"\xff\"")},
		"a marshaler that is not UTF-8":         {broken{}},
		"17 attachments":                        seventeen,
		"17 attachments inside":                 {map[string]any{"a": make([]socketio.Binary, 1), "b": seventeenBinaries()}},
		"a forged placeholder":                  {[]byte{1}, json.RawMessage(`{"_placeholder":true,"num":0}`)},
		"a forged placeholder beyond":           {[]byte{1}, map[string]any{"_placeholder": true, "num": 9}},
		"a forged placeholder with more keys":   {[]byte{1}, map[string]any{"_placeholder": true, "num": 0, "x": 1}},
		"a forged placeholder before the bytes": {json.RawMessage(`[{"_placeholder":true,"num":0}]`), []byte{1}},
	} {
		_, err := socketio.NewArgs(values...)
		if err == nil || holdfast.CodeOf(err) != holdfast.InvalidArgument {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func seventeenBinaries() []socketio.Binary {
	all := make([]socketio.Binary, 17)
	for i := range all {
		all[i] = socketio.Binary{byte(i)}
	}
	return all
}

// The deepest value fits in the array of an event.
func TestNewArgsDepth(t *testing.T) {
	args, err := socketio.NewArgs(json.RawMessage(strings.Repeat("[", 31) + strings.Repeat("]", 31)))
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, args)
}

func TestBinaryRoundTrip(t *testing.T) {
	thumb := socketio.Binary("thumb")
	in := file{
		Name: "a", Body: socketio.Binary("body"), Thumb: &thumb,
		Parts:  []socketio.Binary{socketio.Binary("one"), {}, socketio.Binary("two")},
		ByName: map[string]socketio.Binary{"x": socketio.Binary("y")},
		Inner:  &file{Name: "b", Body: bytes.Repeat([]byte{0, 255}, 5000)},
	}
	args, err := socketio.NewArgs(in, "and", []byte("top"))
	if err != nil {
		t.Fatal(err)
	}
	back := roundTrip(t, args)
	var out file
	if err := back.Decode(0, &out); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(in, out) {
		t.Errorf("got %+v, want %+v", out, in)
	}
	portable, err := args.Portable()
	if err != nil {
		t.Fatal(err)
	}
	var fromPortable file
	if err := portable.Decode(0, &fromPortable); err != nil || !reflect.DeepEqual(in, fromPortable) {
		t.Errorf("portable form gives %+v, %v", fromPortable, err)
	}
	var top socketio.Binary
	if err := portable.Decode(2, &top); err != nil || string(top) != "top" {
		t.Errorf("portable form of bytes gives %q, %v", top, err)
	}
	if b, ok := back.Bytes(2); !ok || string(b) != "top" {
		t.Errorf("Bytes = %q, %v", b, ok)
	}
	for _, i := range []int{-1, 0, 1, 3} {
		if b, ok := back.Bytes(i); ok {
			t.Errorf("Bytes(%d) = %q", i, b)
		}
	}
}

type named []byte

type embedded struct {
	Deep   []byte
	Shadow socketio.Binary
}

type Exported struct{ More []byte }

// Recursive embeds itself, as encoding/json allows.
type Recursive struct {
	*Recursive
	B []byte
}

type holder struct {
	embedded
	*Exported
	Tagged   []byte `json:"tagged,omitempty"`
	Ignored  []byte `json:"-"`
	Shadow   []byte
	Named    named
	Pointer  **[]byte
	List     [][]byte
	Array    [2][]byte
	Map      map[string][]byte
	Bytes    socketio.Binary
	Raw      json.RawMessage
	Any      any
	Nested   struct{ X struct{ Y []byte } }
	Embedded embedded
}

// Placeholders reach plain byte slices wherever encoding/json would fill
// them from base64 text.
func TestDecodeByteSlices(t *testing.T) {
	const ph = `{"_placeholder":true,"num":0}`
	for _, test := range []struct {
		text string
		get  func(h *holder) any
	}{
		{`{"tagged":` + ph + `}`, func(h *holder) any { return h.Tagged }},
		{`{"TAGGED":` + ph + `}`, func(h *holder) any { return h.Tagged }},
		{`{"t\u0061gged":` + ph + `}`, func(h *holder) any { return h.Tagged }},
		{`{"Named":` + ph + `}`, func(h *holder) any { return []byte(h.Named) }},
		{`{"Pointer":` + ph + `}`, func(h *holder) any { return **h.Pointer }},
		{`{"List":["",` + ph + `]}`, func(h *holder) any { return h.List[1] }},
		{`{"Array":["",` + ph + `]}`, func(h *holder) any { return h.Array[1] }},
		{`{"Map":{"any key":` + ph + `}}`, func(h *holder) any { return h.Map["any key"] }},
		{`{"Bytes":` + ph + `}`, func(h *holder) any { return []byte(h.Bytes) }},
		{`{"Nested":{"x":{"Y":` + ph + `}}}`, func(h *holder) any { return h.Nested.X.Y }},
		{`{"Deep":` + ph + `}`, func(h *holder) any { return h.Deep }},
		{`{"More":` + ph + `}`, func(h *holder) any { return h.More }},
		{`{"Shadow":` + ph + `}`, func(h *holder) any { return h.Shadow }},
		{`{"Embedded":{"Shadow":` + ph + `}}`, func(h *holder) any { return []byte(h.Embedded.Shadow) }},
	} {
		args := socketio.Args{Values: []json.RawMessage{json.RawMessage(test.text)}, Attachments: [][]byte{[]byte("data")}}
		h := holder{}
		if err := args.Decode(0, &h); err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		if got := test.get(&h).([]byte); string(got) != "data" {
			t.Errorf("%s: got %q", test.text, got)
		}
	}
	args := socketio.Args{Values: []json.RawMessage{json.RawMessage(`{"Raw":` + ph + `,"Any":[1]}`), json.RawMessage(ph)}, Attachments: [][]byte{[]byte("data")}}
	var h holder
	if err := args.Decode(0, &h); err != nil || string(h.Raw) != `{"$base64":"ZGF0YQ=="}` {
		t.Errorf("raw: %s, %v", h.Raw, err)
	}
	var a any
	if err := args.Decode(1, &a); err != nil || !reflect.DeepEqual(a, map[string]any{"$base64": "ZGF0YQ=="}) {
		t.Errorf("any: %v, %v", a, err)
	}
	var n named
	if err := args.Decode(1, &n); err != nil || string(n) != "data" {
		t.Errorf("named: %q, %v", n, err)
	}
	var r Recursive
	args.Values[0] = json.RawMessage(`{"B":` + ph + `,"Recursive":1,"C":2}`)
	if err := args.Decode(0, &r); err != nil || string(r.B) != "data" {
		t.Errorf("recursive: %q, %v", r.B, err)
	}
	args.Values[0] = json.RawMessage(`{"None":` + ph + `}`)
	if err := args.Decode(0, &r); err != nil {
		t.Errorf("recursive, unknown member: %v", err)
	}
}

// What Decode gives away does not alias the packet.
func TestDecodeCopies(t *testing.T) {
	attachment := []byte("data")
	args := socketio.Args{Values: []json.RawMessage{json.RawMessage(`{"_placeholder":true,"num":0}`)}, Attachments: [][]byte{attachment}}
	var (
		plain  []byte
		binary socketio.Binary
	)
	if args.Decode(0, &plain) != nil || args.Decode(0, &binary) != nil {
		t.Fatal("not decoded")
	}
	attachment[0] = '#'
	if string(plain) != "data" || string(binary) != "data" {
		t.Errorf("got %q and %q", plain, binary)
	}
}

func TestDecodeMissing(t *testing.T) {
	var args socketio.Args
	type in struct{ A int }
	p := &in{1}
	if err := args.Decode(0, &p); err != nil || p != nil {
		t.Errorf("missing argument: %v, %v", p, err)
	}
	v := in{1}
	if err := args.Decode(3, &v); err != nil || v.A != 1 {
		t.Errorf("missing argument: %v, %v", v, err)
	}
	b := socketio.Binary{1}
	if err := args.Decode(0, &b); err != nil || b != nil {
		t.Errorf("missing argument: %v, %v", b, err)
	}
	if got := string(socketio.Args{Values: make([]json.RawMessage, 2)}.AppendEvent(nil, "e")); got != `["e",null,null]` {
		t.Errorf("nil values: %s", got)
	}
}

func TestDecodeErrors(t *testing.T) {
	args := socketio.Args{Values: []json.RawMessage{
		json.RawMessage(`{"name":1}`), json.RawMessage(`"x"`), json.RawMessage(`{"body":"text"}`), json.RawMessage(`{"body":{"$base64":"*"}}`),
	}}
	for _, test := range []struct {
		i    int
		v    any
		code holdfast.Code
		want string
	}{
		{0, new(file), holdfast.InvalidArgument, `argument 1: "name" can't be a JSON number`},
		{1, new(file), holdfast.InvalidArgument, `argument 2 can't be a JSON string`},
		{2, new(file), holdfast.InvalidArgument, `argument 3: bytes must be {"$base64":"…"}`},
		{3, new(file), holdfast.InvalidArgument, `argument 4: bytes are not base64`},
		{1, new(time.Time), holdfast.InvalidArgument, `argument 2 is not valid`},
		{1, new(net.IP), holdfast.InvalidArgument, `argument 2 is not valid`},
		{0, file{}, holdfast.Internal, `an argument can't be decoded`},
		{0, nil, holdfast.Internal, `an argument can't be decoded`},
	} {
		err := args.Decode(test.i, test.v)
		if err == nil || holdfast.CodeOf(err) != test.code || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("Decode(%d, %T): %v, want %s", test.i, test.v, err, test.want)
		}
	}
	forged := socketio.Args{Values: []json.RawMessage{json.RawMessage(`[{"_placeholder":true,"num":5}]`)}, Attachments: [][]byte{{1}}}
	if err := forged.Decode(0, new(any)); holdfast.CodeOf(err) != holdfast.InvalidArgument {
		t.Errorf("forged: %v", err)
	}
	if _, err := forged.Portable(); holdfast.CodeOf(err) != holdfast.ProtocolError {
		t.Errorf("forged: %v", err)
	}
	if err := forged.Decode(0, nil); holdfast.CodeOf(err) == "" {
		t.Error("decoded into nil")
	}
}

func TestBinaryJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"$base64":"AQID"}`:               "\x01\x02\x03",
		` { "$base64" : "AQ\u0049D" } `:    "\x01\x02\x03",
		`{"\u0024base64":"AQID"}`:          "\x01\x02\x03",
		`{"$base64":""}`:                   "",
		`null`:                             "",
		`"AQID"`:                           "error",
		`{"$base64":"AQI"}`:                "error",
		`{"$base64":"-_-_"}`:               "error",
		`{"$base64":1}`:                    "error",
		`{"$Base64":"AQID"}`:               "error",
		`{"$base64":"AQID","x":1}`:         "error",
		`{"x":1,"$base64":"AQID"}`:         "error",
		`{"$base64":"AQID","$base64":"A"}`: "error",
		`{}`:                               "error",
		`[]`:                               "error",
		`[1,2]`:                            "error",
		`1`:                                "error",
	} {
		b := socketio.Binary("before")
		err := json.Unmarshal([]byte(text), &b)
		if want == "error" {
			if holdfast.CodeOf(err) != holdfast.InvalidArgument || string(b) != "before" {
				t.Errorf("%s: %q, %v", text, b, err)
			}
			continue
		}
		if err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", text, b, err)
		}
	}
	for _, text := range []string{"", "{", `{"`, `{"$base64"`, `{"$base64":`, `{"$base64":"`, `{"$base64":""`, `{"$base64":""}x`} {
		if new(socketio.Binary).UnmarshalJSON([]byte(text)) == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// A json.RawMessage gets what encoding/json would give it, or its error.
func TestDecodeRaw(t *testing.T) {
	for _, text := range []string{
		`null`, `{"a":[1,"x"]}`, ` 1 `, "\n[]", `"x" `, `1`, `{`, `1 2`, `"` + "\xff" + `"`, strings.Repeat("[", 40) + strings.Repeat("]", 40), `nul`,
	} {
		args := socketio.Args{Values: []json.RawMessage{json.RawMessage(text)}}
		got, want := json.RawMessage("before"), json.RawMessage("before")
		err, wantErr := args.Decode(0, &got), json.Unmarshal([]byte(text), &want)
		if string(got) != string(want) || (err == nil) != (wantErr == nil) {
			t.Errorf("%q: %q, %v; encoding/json says %q, %v", text, got, err, want, wantErr)
		}
		if len(got) > 0 && &got[0] == &args.Values[0][0] {
			t.Errorf("%q: the argument was not copied", text)
		}
	}
	if err := (socketio.Args{}).Decode(0, (*json.RawMessage)(nil)); holdfast.CodeOf(err) != holdfast.Internal {
		t.Errorf("a nil pointer: %v", err)
	}
}
