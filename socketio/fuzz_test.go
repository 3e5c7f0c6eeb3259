package socketio_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/internal/wiretest"
	"github.com/holdfast-dev/holdfast/socketio"
)

// fuzzLimits are small, so that the fuzzer meets them.
var fuzzLimits = socketio.Limits{Attachments: 3, Depth: 6, Bytes: 4096}

// decodeFuzz decodes text with as many attachments as it wants, all the same.
func decodeFuzz(t *testing.T, text, attachment []byte) (socketio.Packet, bool) {
	d := socketio.Decoder{Limits: fuzzLimits}
	p, ok, err := d.Text(text)
	for n := 0; err == nil && !ok; n++ {
		if n == fuzzLimits.Attachments {
			t.Fatalf("%q: wants more than %d attachments", text, n)
		}
		p, ok, err = d.Binary(attachment)
	}
	if err != nil {
		if code := holdfast.CodeOf(err); code != holdfast.ProtocolError && code != holdfast.MessageTooLarge {
			t.Errorf("%q: %v", text, err)
		}
		return p, false
	}
	return p, true
}

func FuzzDecoder(f *testing.F) {
	for _, c := range wiretest.Load(f, transcripts) {
		if text, ok := c.Get("text"); ok {
			f.Add([]byte(text), []byte{1, 2, 3})
		}
	}
	f.Fuzz(func(t *testing.T, text, attachment []byte) {
		p, ok := decodeFuzz(t, text, attachment)
		if !ok {
			return
		}
		// Decoding what was encoded gives the same packet and the same text.
		wire := p.Append(nil)
		again, ok := decodeFuzz(t, wire, attachment)
		if !ok || !equal(p, again) || !bytes.Equal(again.Append(nil), wire) {
			t.Errorf("%q became %q", text, wire)
		}
		if err := socketio.CheckNamespace(p.Namespace); err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if p.HasID && p.ID > socketio.MaxID {
			t.Errorf("%q: id %d", text, p.ID)
		}
		if len(p.Data) > 0 && !json.Valid(p.Data) {
			t.Errorf("%q: data is not JSON", text)
		}
		switch p.Type {
		case socketio.Event:
			fuzzEvent(t, p, attachment)
		case socketio.Ack:
			if args, err := p.AckArgs(); err != nil {
				t.Errorf("%q: %v", text, err)
			} else {
				fuzzArgs(t, args)
			}
		}
	})
}

func fuzzEvent(t *testing.T, p socketio.Packet, attachment []byte) {
	name, args, err := p.Event()
	if err != nil {
		t.Fatalf("%s: %v", p.Data, err)
	}
	var want []json.RawMessage
	if err := json.Unmarshal(p.Data, &want); err != nil || len(want) != args.Len()+1 {
		t.Fatalf("%s: %d arguments, %v", p.Data, args.Len(), err)
	}
	for i, value := range args.Values {
		if !bytes.Equal(value, want[i+1]) {
			t.Errorf("%s: argument %d is %s", p.Data, i, value)
		}
	}
	var text string
	if json.Unmarshal(want[0], &text) != nil {
		text = string(want[0]) // a number
	}
	if name != text {
		t.Errorf("%s: name is %q", p.Data, name)
	}
	fuzzArgs(t, args)

	p.Data = args.AppendEvent(nil, name)
	again, ok := decodeFuzz(t, p.Append(nil), attachment)
	if !ok {
		if len(p.Append(nil)) < fuzzLimits.Bytes/2 {
			t.Errorf("%q can't be sent on", p.Data)
		}
		return
	}
	if name2, _, err := again.Event(); err != nil || name2 != name {
		t.Errorf("name %q became %q, %v", name, name2, err)
	}
}

func fuzzArgs(t *testing.T, args socketio.Args) {
	portable, err := args.Portable()
	if err != nil || len(portable.Attachments) > 0 || portable.Len() != args.Len() {
		t.Fatalf("%s: portable form: %v", args.AppendArray(nil), err)
	}
	for i, value := range portable.Values {
		if err := jsonscan.Check(value, jsonscan.Limits{}); err != nil {
			t.Errorf("portable form %s: %v", value, err)
		}
		var a, b any
		if err := args.Decode(i, &a); err != nil && !unrepresentable(value) {
			t.Errorf("%s: %v", args.Values[i], err)
		}
		if err := portable.Decode(i, &b); err != nil && !unrepresentable(value) {
			t.Errorf("%s: %v", value, err)
		}
		_, _ = args.Bytes(i)
		_ = args.Decode(i, &holder{})
		_ = args.Decode(i, &file{})
		_ = args.Decode(i, new([]byte))
		_ = args.Decode(i, new(socketio.Binary))
	}
}

// unrepresentable reports JSON that no Go value can take: numbers out of range.
func unrepresentable(value []byte) bool {
	var v any
	return json.Unmarshal(value, &v) != nil
}

func FuzzPlaceholders(f *testing.F) {
	for _, c := range wiretest.Load(f, transcripts) {
		for _, value := range append(c.All("arg"), c.All("data")...) {
			f.Add([]byte(value), 1)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		n = n & 0x7f
		err := socketio.CheckPlaceholders(data, n)
		if err != nil && holdfast.CodeOf(err) != holdfast.ProtocolError {
			t.Errorf("%q: %v", data, err)
		}
		if !json.Valid(data) || jsonscan.Check(data, jsonscan.Limits{}) != nil {
			return
		}
		// The same, by way of encoding/json, for objects without repeated keys.
		if jsonscan.Check(data, jsonscan.Limits{UniqueKeys: true}) != nil {
			return
		}
		var v any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if d.Decode(&v) != nil {
			return
		}
		used := map[string]int{}
		good := slowPlaceholders(v, used) && len(used) == n
		for i := range n {
			good = good && used[json.Number(itoa(i)).String()] == 1
		}
		if (err == nil) != good {
			t.Errorf("%q with %d attachments: %v, want good %v", data, n, err, good)
		}
	})
}

func itoa(i int) string { b, _ := json.Marshal(i); return string(b) }

// slowPlaceholders counts the numbers of placeholders by their text, and
// reports whether all are well-formed.
func slowPlaceholders(v any, used map[string]int) bool {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if !slowPlaceholders(e, used) {
				return false
			}
		}
	case map[string]any:
		if v["_placeholder"] == true {
			num, ok := v["num"].(json.Number)
			used[num.String()]++
			return ok && len(v) == 2
		}
		for _, e := range v {
			if !slowPlaceholders(e, used) {
				return false
			}
		}
	}
	return true
}

func FuzzBinary(f *testing.F) {
	for _, text := range []string{`{"$base64":"AQID"}`, `null`, ` { "$base64" : "AQ\u0049D" } `, `{"$base64":""}`, `{"$base64":1}`, `"AQID"`, `{}`, `{"$base64":"AQID","x":1}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = new(socketio.Binary).UnmarshalJSON(data)
		var b socketio.Binary
		if json.Unmarshal(data, &b) != nil {
			return
		}
		text, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		var again socketio.Binary
		if err := json.Unmarshal(text, &again); err != nil || !bytes.Equal(b, again) || (b == nil) != (again == nil) {
			t.Errorf("%q became %s, %v", data, text, err)
		}
	})
}
