package jsonws_test

import (
	"encoding/json"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonws"
)

// What the benchmarks decode and encode.
var (
	pingText    = []byte(`{"type":"ping","ref":17}`)
	joinText    = []byte(`{"type":"join","room":"board-7","since":{"epoch":"k3Jx9a","offset":41},"ref":1}`)
	publishText = []byte(`{"type":"publish","room":"board-7","event":"card:move","data":{"card":"c-1042","from":3,"to":5,"by":"ada"},"id":"01J9ZQ3V7Y8Y6P7V7Y8Y6P7V7Y","ref":17}`)
	signalText  = []byte(`{"type":"signal","room":"board-7","event":"cursor","data":{"x":104,"y":2044},"key":"c1"}`)
	moved       = &holdfast.Event{
		Room: "board-7", Name: "card:move", Data: json.RawMessage(`{"card":"c-1042","from":3,"to":5,"by":"ada"}`),
		Position: holdfast.Position{Epoch: "k3Jx9a", Offset: 42}, From: "u1",
	}
)

// Parse allocates the strings of a message and nothing else, the Append
// functions nothing.
func TestAllocations(t *testing.T) {
	dst := make([]byte, 0, 512)
	refusal := holdfast.Forbidden.New()
	for _, test := range []struct {
		name string
		max  float64
		run  func()
	}{
		{"ping", 0, func() { _, _ = jsonws.Parse(pingText) }},
		{"join", 3, func() { _, _ = jsonws.Parse(joinText) }},
		{"publish", 3, func() { _, _ = jsonws.Parse(publishText) }},
		{"signal", 3, func() { _, _ = jsonws.Parse(signalText) }},
		{"AppendEvent", 0, func() { _, _ = jsonws.AppendEvent(dst, moved) }},
		{"AppendOK", 0, func() { jsonws.AppendOK(dst, moved.Data, moved.Data) }},
		{"AppendError", 0, func() { jsonws.AppendError(dst, moved.Data, refusal) }},
	} {
		if got := testing.AllocsPerRun(100, test.run); got > test.max {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.max)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for name, text := range map[string][]byte{"ping": pingText, "join": joinText, "publish": publishText, "signal": signalText} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if _, err := jsonws.Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkUnmarshal is what encoding/json takes for the same, without the
// checks.
func BenchmarkUnmarshal(b *testing.B) {
	b.ReportAllocs()
	b.SetBytes(int64(len(publishText)))
	for b.Loop() {
		var m struct {
			Type, Room, Event, ID string
			Data, Ref             json.RawMessage
		}
		if err := json.Unmarshal(publishText, &m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	dst := make([]byte, 0, 512)
	b.ReportAllocs()
	for b.Loop() {
		out, err := jsonws.AppendEvent(dst, moved)
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(out)))
	}
}
