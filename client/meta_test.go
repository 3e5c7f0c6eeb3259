package client

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/socketio"
)

// What is read by hand is what encoding/json reads.
func FuzzMeta(f *testing.F) {
	for _, text := range []string{
		`{"room":"r","epoch":"e","offset":7,"id":"i","from":"u"}`, `{"room":"r","epoch":"e","offset":18446744073709551615}`,
		`{"room":"r","epoch":"e","offset":1e3}`, `{"room":"r","epoch":"e","offset":-1}`, `{"room":"r","epoch":"e"}`, `{}`,
		`{"Room":"r","epoch":"e","offset":0}`, `{ "room":"r","epoch":"e","offset":1}`, `{"room":"\u00e9","epoch":"e","offset":1}`,
		`{"room":null,"epoch":"e","offset":1}`, `{"room":"r","epoch":"e","offset":null}`, `{"room":"r","room":"s","epoch":"e","offset":2,"x":[1]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if jsonscan.Check(data, jsonscan.Limits{}) != nil || data[0] != '{' {
			return // refused before
		}
		var want *meta
		var m meta
		if json.Unmarshal(data, &m) == nil && m.Room != "" && m.Epoch != "" && m.Offset != nil {
			want = &m
		}
		got := new(meta)
		if !got.read(socketio.Args{Values: []json.RawMessage{json.RawMessage("null"), data}}, &meta{Room: "r", From: "v"}) {
			got = nil
		}
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(meta{})); diff != "" {
			t.Fatalf("%s: %s", data, diff)
		}
	})
}

func BenchmarkMeta(b *testing.B) {
	args := socketio.Args{Values: []json.RawMessage{
		json.RawMessage("null"), json.RawMessage(`{"room":"board-7","epoch":"k3Jx9aQ-1","offset":4211,"from":"user000001"}`),
	}}
	var m, last meta
	b.ReportAllocs()
	for b.Loop() {
		m.read(args, &last)
		last = m
	}
}
