package load

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestStamp(t *testing.T) {
	s := newStamper(0xc0ffee)
	rapid.Check(t, func(t *rapid.T) {
		digits := func(name string, n int) uint32 {
			return uint32(rapid.Uint64Range(0, 1<<(4*n)-1).Draw(t, name))
		}
		want := stamp{digits("slot", slotDigits), digits("room", roomDigits), digits("pub", pubDigits), digits("seq", seqDigits)}
		size := rapid.IntRange(MinSize, 300).Draw(t, "size")
		body := s.appendBody(nil, want, s.padding(size))
		if len(body) != size || !json.Valid(body) {
			t.Fatalf("%d bytes, want %d: %s", len(body), size, body)
		}
		var fields map[string]string
		if err := json.Unmarshal(body, &fields); err != nil {
			t.Fatal(err)
		}
		spaced, err := json.MarshalIndent(fields, "", "  ") // as another server might write it
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{string(body), `2["e",` + string(body) + `]`, string(spaced)} {
			if got, ok := s.find([]byte(text)); !ok || got != want {
				t.Fatalf("%+v in %s, want %+v", got, text, want)
			}
			cut := text[:strings.Index(text, string(s.mark))+len(s.mark)+stampDigits-1]
			if _, ok := s.find([]byte(cut)); ok {
				t.Fatalf("a stamp is found in %s", cut)
			}
		}
	})
	other := newStamper(0xc0ffef).append(nil, stamp{})
	if _, ok := s.find(other); ok {
		t.Error("a stamp of another run is found")
	}
	broken := s.append(nil, stamp{})
	broken[len(broken)-1] = 'g'
	if _, ok := s.find(broken); ok {
		t.Error("what is no number is taken for one")
	}
}
