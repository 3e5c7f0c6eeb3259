package server

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast"
)

// cursorOf writes a cursor over positions by room.
func cursorOf(positions map[string]holdfast.Position) (*cursorWriter, string) {
	w := new(cursorWriter)
	for _, room := range slices.Sorted(maps.Keys(positions)) {
		w.places = append(w.places, place{room: room, key: keyOf(room), position: positions[room]})
	}
	return w, string(w.append(nil))
}

// resolves reports whether m means position.
func (m mark) resolves(p holdfast.Position) bool {
	if m.epoch == "" {
		return m.tag == tagOf(p.Epoch) && m.offset == p.Offset
	}
	return m.epoch == p.Epoch && m.offset == p.Offset
}

func TestCursorRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epoch := rapid.StringMatching(`[A-Za-z0-9_-]{1,32}`)
		epochs := rapid.SliceOfN(epoch, 1, 128).Draw(t, "epochs")
		offset := rapid.Uint64Range(0, holdfast.MaxOffset)
		positions := make(map[string]holdfast.Position)
		for i := range rapid.IntRange(1, maxCursorRooms).Draw(t, "rooms") {
			positions[fmt.Sprint("room ", i)] = holdfast.Position{Epoch: epochs[i%len(epochs)], Offset: offset.Draw(t, "offset")}
		}
		w, text := cursorOf(positions)
		for range 3 { // and as the stream goes on
			marks, err := parseCursor(text)
			if err != nil || len(marks) != len(positions) {
				t.Fatalf("%s: %d rooms, %v", text, len(marks), err)
			}
			for room, p := range positions {
				if !marks[keyOf(room)].resolves(p) {
					t.Errorf("%s: %v, want %v", room, marks[keyOf(room)], p)
				}
			}
			moved := rapid.SampledFrom(slices.Sorted(maps.Keys(positions))).Draw(t, "moved")
			p := holdfast.Position{Epoch: epoch.Draw(t, "epoch"), Offset: offset.Draw(t, "offset")}
			positions[moved] = p
			if !w.move(moved, p) || w.move("another", p) {
				t.Fatal("move")
			}
			text = string(w.append(nil))
		}
	})
}

// What a request may name fits into a cursor, whatever the broker's epochs.
func TestCursorFits(t *testing.T) {
	for name, tc := range map[string]struct {
		epoch func(i int) string
		limit int
	}{
		"one epoch":       {func(int) string { return strings.Repeat("e", 32) }, 3072},
		"those of Memory": {func(i int) string { return fmt.Sprintf("vG0Hw6MGk5w-%x", 1<<20+i) }, 4096},
		"nothing in common": {func(i int) string {
			return fmt.Sprintf("%032d", i*7919)[:16] + strings.Repeat(string(rune('a'+i%26)), 16)
		}, 4096},
		"not even the beginning": {func(i int) string { s := []byte(fmt.Sprintf("%032d", i*7919)); slices.Reverse(s); return string(s) }, 4096},
	} {
		positions := make(map[string]holdfast.Position)
		for i := range maxCursorRooms {
			positions[strings.Repeat("r", 190)+fmt.Sprint(i)] = holdfast.Position{Epoch: tc.epoch(i), Offset: holdfast.MaxOffset}
		}
		_, text := cursorOf(positions)
		if len(text) > tc.limit {
			t.Errorf("%s: %d characters", name, len(text))
		}
		marks, err := parseCursor(text)
		if err != nil || len(marks) != len(positions) {
			t.Errorf("%s: %d rooms, %v", name, len(marks), err)
		}
		for room, p := range positions {
			if !marks[keyOf(room)].resolves(p) {
				t.Fatalf("%s: %v, want %v", name, marks[keyOf(room)], p)
			}
		}
	}
	if _, text := cursorOf(map[string]holdfast.Position{"room": {Epoch: "vG0Hw6MGk5w-1", Offset: 1000}}); len(text) > 40 {
		t.Errorf("one room: %d characters", len(text))
	}
}

func TestCursorRefuses(t *testing.T) {
	_, good := cursorOf(map[string]holdfast.Position{"a": {Epoch: "e1", Offset: 1}, "b": {Epoch: "e2", Offset: 2}})
	raw, err := base64.RawURLEncoding.DecodeString(good)
	if err != nil {
		t.Fatal(err)
	}
	key := keyOf("a")
	encode := func(parts ...string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(parts, "")))
	}
	cases := map[string]string{
		"nothing":               "",
		"no base64url":          "+/+/",
		"padding":               good + "=",
		"a stray bit":           encode("\x01\x00\x00")[:3] + "B",
		"another version":       encode("\x03\x00"),
		"no epochs":             encode("\x01"),
		"an epoch too few":      encode("\x01\x02\x00\x01e"),
		"no such epoch":         encode("\x01\x01\x00\x01e", string(key[:]), "\x01\x05"),
		"an empty epoch":        encode("\x01\x01\x00\x00"),
		"an epoch that is none": encode("\x01\x01\x00\x02e!"),
		"a long epoch":          encode("\x01\x01\x00\x21", strings.Repeat("e", 33)),
		"more than there was":   encode("\x01\x01\x01\x01e"),
		"a room twice":          encode("\x02", string(key[:]), "1234567\x05", string(key[:]), "1234567\x05"),
		"no offset":             encode("\x02", string(key[:]), "1234567"),
		"a large offset":        encode("\x02", string(key[:]), "1234567\x80\x80\x80\x80\x80\x80\x80\x10"),
		"an offset without end": encode("\x02", string(key[:]), "1234567", strings.Repeat("\x80", 12)),
		"too long":              strings.Repeat("A", maxCursor+1),
		"more rooms than we write": encode("\x02", func() (all string) {
			for i := range maxCursorRooms + 1 {
				k := keyOf(fmt.Sprint(i))
				all += string(k[:]) + "1234567\x05"
			}
			return all
		}()),
	}
	for n := 1; n < len(raw); n++ {
		if cut := raw[:n]; n != 9 { // before the first room it is whole
			cases[fmt.Sprintf("cut after %d", n)] = base64.RawURLEncoding.EncodeToString(cut)
		}
	}
	delete(cases, fmt.Sprintf("cut after %d", len(raw)-10)) // behind the first room
	for name, text := range cases {
		if marks, err := parseCursor(text); holdfast.CodeOf(err) != holdfast.InvalidArgument {
			t.Errorf("%s (%s): %v %v", name, text, marks, err)
		}
	}
}

// The cost of an id line in a room of one's own, and in very many.
func BenchmarkCursor(b *testing.B) {
	for _, n := range []int{1, 8, 128} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			positions := make(map[string]holdfast.Position)
			for i := range n {
				positions[fmt.Sprint(i)] = holdfast.Position{Epoch: fmt.Sprintf("vG0Hw6MGk5w-%x", i), Offset: 1000}
			}
			w, text := cursorOf(positions)
			dst := make([]byte, 0, len(text)+16)
			b.ReportAllocs()
			for i := range b.N {
				w.move("0", holdfast.Position{Epoch: "vG0Hw6MGk5w-0", Offset: uint64(i)})
				dst = w.append(dst[:0])
			}
		})
	}
}

// FuzzCursor takes any text: what is taken is bounded, and means the same when
// it is written again.
func FuzzCursor(f *testing.F) {
	for _, positions := range []map[string]holdfast.Position{
		{"a": {Epoch: "e1", Offset: 1}},
		{"a": {Epoch: "vG0Hw6MGk5w-1", Offset: 77}, "b": {Epoch: "vG0Hw6MGk5w-1z", Offset: holdfast.MaxOffset}, "c": {Epoch: "other", Offset: 0}},
	} {
		_, text := cursorOf(positions)
		f.Add(text)
	}
	f.Add("AgAAAAAAAAAAMTIzNDU2NwU")
	f.Fuzz(func(t *testing.T, text string) {
		marks, err := parseCursor(text)
		if err != nil {
			if holdfast.CodeOf(err) != holdfast.InvalidArgument || strings.Contains(err.Error(), text) && text != "" && len(text) > 20 {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if len(marks) > maxCursorRooms {
			t.Fatalf("%d rooms", len(marks))
		}
		w := new(cursorWriter)
		for key, m := range marks {
			if m.epoch == "" {
				return // its epoch is not known, so it can't be written
			}
			p := holdfast.Position{Epoch: m.epoch, Offset: m.offset}
			if err := p.Check(); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			w.places = append(w.places, place{room: string(key[:]), key: key, position: p})
		}
		again, err := parseCursor(string(w.append(nil)))
		if err != nil || len(again) != len(marks) {
			t.Fatalf("%q: %v", text, err)
		}
		for key, m := range marks {
			if !again[key].resolves(holdfast.Position{Epoch: m.epoch, Offset: m.offset}) {
				t.Errorf("%q: %v became %v", text, m, again[key])
			}
		}
	})
}
