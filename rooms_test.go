package holdfast_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast"
)

func parseRooms(t *testing.T, text string) holdfast.RoomPermissions {
	t.Helper()
	rooms, err := holdfast.ParseRoomPermissions([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return rooms
}

func TestRoomVerbs(t *testing.T) {
	for _, test := range []struct {
		name  string
		rooms string
		want  map[string]string // room → verbs
	}{
		{"none", `[]`, map[string]string{"a": "", "**": ""}},
		{"empty map", `{}`, map[string]string{"a": ""}},
		{"all", `["**"]`, map[string]string{"a": "join,publish,presence", "a:b": "join,publish,presence", "": ""}},
		{"one level", `["*"]`, map[string]string{"a": "join,publish,presence", "a:b": ""}},
		{"exact", `["a"]`, map[string]string{"a": "join,publish,presence", "A": "", "a ": "", "aa": ""}},
		{"map", `{"document-*":["join"],"board-7":["join","publish","presence"]}`, map[string]string{
			"document-1": "join", "document-": "join", "board-7": "join,publish,presence", "board-8": "", "document-a:b": "",
		}},
		{"verbs repeat", `{"a":["join","join"]}`, map[string]string{"a": "join"}},
		{"no verbs", `{"a":[],"**":["join"]}`, map[string]string{"a": "", "b": "join"}},
		{"more literals win", `{"doc-*":["join"],"doc-secret-*":[]}`, map[string]string{"doc-1": "join", "doc-secret-1": ""}},
		{"the narrow one grants", `["!**","doc-*"]`, map[string]string{"doc-1": "join,publish,presence", "x": ""}},
		{"deny one", `["doc-*","!doc-7"]`, map[string]string{"doc-7": "", "doc-77": "join,publish,presence"}},
		{"only the winner counts", `{"**":["join","publish"],"a*":["presence"]}`, map[string]string{"ab": "presence", "b": "join,publish"}},
		{"fewer double stars win", `{"a**":["join"],"a*":["publish"]}`, map[string]string{"ab": "publish", "a:b": "join"}},
		{"double stars before stars", `{"**":["join"],"*:*":["publish"],"*x*x":["presence"]}`, map[string]string{
			"a:b": "publish", "axbx": "presence", "xx": "presence", "a:b:c": "join",
		}},
		{"fewer stars win", `{"a*":["join"],"*a*":["publish"]}`, map[string]string{"ab": "join", "bab": "publish"}},
		{"a single star beats a double one", `{"**":["join"],"*":["publish"]}`, map[string]string{"ab": "publish", "a:b": "join"}},
		{"no star beats any", `{"ab":["join"],"ab*":["publish"],"ab**":["presence"]}`, map[string]string{"ab": "join", "abc": "publish"}},
		{"tie of grants", `{"a*":["join","publish"],"*a":["join","presence"]}`, map[string]string{"aa": "join", "ab": "join,publish", "ba": "join,presence"}},
		{"tie without common verbs", `{"a*":["publish"],"*a":["presence"]}`, map[string]string{"aa": ""}},
		{"denial wins a tie", `["a*","!*a"]`, map[string]string{"aa": "", "ab": "join,publish,presence"}},
		{"denial wins a tie of equals", `["a","!a"]`, map[string]string{"a": ""}},
		{"denial wins in any order", `["!a","a"]`, map[string]string{"a": ""}},
		{"tie of three", `{"*ab":["join","publish"],"a*b":["join"],"ab*":["publish"]}`, map[string]string{"ab": "", "aab": "join"}},
		{"same pattern twice", `["a*","a*"]`, map[string]string{"ab": "join,publish,presence"}},
		{"denial with verbs", `{"!a*":["join"],"**":["join"]}`, map[string]string{"ab": "", "b": "join"}},
		{"a deeper '!' is literal", `["a!b","!!x","**"]`, map[string]string{"a!b": "join,publish,presence", "!x": ""}},
		{"characters, not bytes", `{"é*":["join"],"*bc":["publish"]}`, map[string]string{"ébc": "publish"}},
		{"'?' and brackets are literal", `["a?","[bc]"]`, map[string]string{"ab": "", "a?": "join,publish,presence", "b": "", "[bc]": "join,publish,presence"}},
		{"escapes of JSON", `["\u0061*"]`, map[string]string{"ab": "join,publish,presence"}},
		{"too long a room", `["**"]`, map[string]string{strings.Repeat("a", 201): "", strings.Repeat("a", 200): "join,publish,presence"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rooms := parseRooms(t, test.rooms)
			for room, want := range test.want {
				if got := rooms.Verbs(room).String(); got != want {
					t.Errorf("%s: %q may %q, want %q", test.rooms, room, got, want)
				}
			}
		})
	}
}

func TestRoomPermissionsRefused(t *testing.T) {
	many := slices.Repeat([]string{"a*"}, 257)
	manyList, _ := json.Marshal(many)
	for name, text := range map[string]string{
		"nothing":            ``,
		"space":              ` `,
		"null":               `null`,
		"string":             `"**"`,
		"number":             `1`,
		"true":               `true`,
		"number in list":     `["a",1]`,
		"null in list":       `["a",null]`,
		"list in list":       `[["a"]]`,
		"empty pattern":      `[""]`,
		"empty denial":       `["!"]`,
		"empty key":          `{"":["join"]}`,
		"verbs as a string":  `{"a":"join"}`,
		"verbs null":         `{"a":null}`,
		"verbs of numbers":   `{"a":[1]}`,
		"verbs in an object": `{"a":{"join":true}}`,
		"unknown verb":       `{"a":["join","admin"]}`,
		"unknown in denial":  `{"!a":["admin"]}`,
		"verb in other case": `{"a":["Join"]}`,
		"key twice":          `{"a":["join"],"a":[]}`,
		"key twice, escaped": `{"a":["join"],"\u0061":[]}`,
		"trailing data":      `["a"] ["b"]`,
		"trailing object":    `{"a":["join"]}{}`,
		"cut":                `["a"`,
		"cut object":         `{"a":["join"]`,
		"not UTF-8":          "[\"a\xff\"]",
		"too long":           `["` + strings.Repeat("a", 201) + `"]`,
		"too many":           string(manyList),
	} {
		rooms, err := holdfast.ParseRoomPermissions([]byte(text))
		if !errors.Is(err, holdfast.InvalidArgument) {
			t.Errorf("%s: error is %v", name, err)
		}
		if rooms.Len() != 0 || rooms.Verbs("a") != 0 {
			t.Errorf("%s: rooms are %v", name, rooms)
		}
		if text != "null" {
			if err := json.Unmarshal([]byte(text), &rooms); err == nil {
				t.Errorf("%s: Unmarshal takes it", name)
			}
		}
	}

	manyMap := make(map[string][]string)
	for i := range 257 {
		manyMap[fmt.Sprint("a", i)] = []string{"join"}
	}
	if _, err := holdfast.RoomMap(manyMap); !errors.Is(err, holdfast.InvalidArgument) {
		t.Errorf("257 patterns of a map: %v", err)
	}
	text, _ := json.Marshal(manyMap)
	if _, err := holdfast.ParseRoomPermissions(text); !errors.Is(err, holdfast.InvalidArgument) {
		t.Errorf("257 patterns of a JSON map: %v", err)
	}
	if _, err := holdfast.RoomMap(map[string][]string{"a": {"fly"}}); !errors.Is(err, holdfast.InvalidArgument) {
		t.Errorf("unknown verb: %v", err)
	}
	if _, err := holdfast.RoomList("a\xff"); !errors.Is(err, holdfast.InvalidArgument) {
		t.Errorf("not UTF-8: %v", err)
	}
	if _, err := holdfast.RoomList(many[:256]...); err != nil {
		t.Errorf("256 patterns: %v", err)
	}
	if _, err := holdfast.RoomList(strings.Repeat("a", 200)); err != nil {
		t.Errorf("200 bytes: %v", err)
	}
}

func TestMustRoomList(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("MustRoomList does not panic")
		}
	}()
	holdfast.MustRoomList("")
}

func TestRoomPermissionsJSON(t *testing.T) {
	for text, want := range map[string]string{
		`[]`:                               `[]`,
		`null`:                             `[]`,
		`["b","!a","**"]`:                  `["b","!a","**"]`,
		`{}`:                               `{}`,
		`{"b*":["publish","join"],"a":[]}`: `{"a":[],"b*":["join","publish"]}`,
		`{"!a":["join"]}`:                  `{"!a":["join"]}`,
		`["a<b>&\"\u00e9"]`:                `["a\u003cb\u003e\u0026\"é"]`,
	} {
		var p holdfast.Permissions
		if err := json.Unmarshal([]byte(`{"rooms":`+text+`}`), &p); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := json.Marshal(p)
		if err != nil || string(got) != `{"rooms":`+want+`}` {
			t.Errorf("%s becomes %s, %v", text, got, err)
		}
		if p.Rooms.String() != want {
			t.Errorf("%s: String() = %s", text, p.Rooms)
		}
	}
	var zero holdfast.RoomPermissions
	if got, err := json.Marshal(zero); err != nil || string(got) != `[]` {
		t.Errorf("zero: %s, %v", got, err)
	}
	filled := holdfast.MustRoomList("**")
	if err := json.Unmarshal([]byte("null"), &filled); err != nil || filled.Verbs("a") != 0 {
		t.Errorf("null leaves %v, %v", filled, err)
	}
}

func TestRoomPermissionsEqual(t *testing.T) {
	a, b := holdfast.MustRoomList("a", "b*"), holdfast.MustRoomList("a", "b*")
	if diff := cmp.Diff(a, b); diff != "" {
		t.Error(diff)
	}
	grants, err := holdfast.RoomMap(map[string][]string{"a": {"join"}})
	if err != nil {
		t.Fatal(err)
	}
	same := parseRooms(t, `{"a":["join"]}`)
	if !grants.Equal(same) {
		t.Error("equal maps differ")
	}
	for _, other := range []holdfast.RoomPermissions{{}, holdfast.MustRoomList("a"), holdfast.MustRoomList("b*", "a"), grants} {
		if a.Equal(other) || other.Equal(a) {
			t.Errorf("%v equals %v", a, other)
		}
	}
	if !(holdfast.RoomPermissions{}).Equal(parseRooms(t, `{}`)) {
		t.Error("two nothings differ")
	}
}

func TestRoomPermissionsAreImmutable(t *testing.T) {
	patterns := []string{"a"}
	list, err := holdfast.RoomList(patterns...)
	if err != nil {
		t.Fatal(err)
	}
	patterns[0] = "b"
	if list.Verbs("a") == 0 || list.Verbs("b") != 0 {
		t.Error("the caller's slice is shared")
	}
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 100 {
				list.Verbs("a")
				_ = list.String()
			}
		})
	}
	wait.Wait()
}

// The rules once more, written in the order of their text.
func oracleVerbs(patterns map[string]holdfast.Verb, room string) holdfast.Verb {
	type rank [3]int
	ranks := make(map[rank]holdfast.Verb)
	best := rank{-1}
	for pattern, verbs := range patterns {
		text, denies := strings.CutPrefix(pattern, "!")
		single := holdfast.MustRoomList(text)
		if single.Verbs(room) == 0 {
			continue
		}
		if denies {
			verbs = 0
		}
		doubles := strings.Count(text, "**")
		stars := strings.Count(strings.ReplaceAll(text, "**", ""), "*")
		r := rank{len([]rune(strings.ReplaceAll(text, "*", ""))), -doubles, -stars}
		if before, ok := ranks[r]; ok {
			verbs &= before
		}
		ranks[r] = verbs
		if slices.Compare(r[:], best[:]) > 0 {
			best = r
		}
	}
	return ranks[best]
}

func TestRoomVerbsEqualTheRules(t *testing.T) {
	pattern := rapid.StringOfN(rapid.SampledFrom([]rune("ab:é**")), 1, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		patterns := rapid.MapOfN(
			rapid.Custom(func(t *rapid.T) string {
				return rapid.SampledFrom([]string{"", "!"}).Draw(t, "deny") + pattern.Draw(t, "pattern")
			}),
			rapid.Custom(func(t *rapid.T) holdfast.Verb {
				return holdfast.Verb(rapid.IntRange(0, 7).Draw(t, "verbs"))
			}), 0, 8).Draw(t, "patterns")
		room := rapid.StringOfN(rapid.SampledFrom([]rune("aab:é")), 1, 6, -1).Draw(t, "room")
		names := make(map[string][]string, len(patterns))
		for p, v := range patterns {
			names[p] = v.Names()
		}
		rooms, err := holdfast.RoomMap(names)
		if err != nil {
			t.Fatal(err)
		}
		want := oracleVerbs(patterns, room)
		if got := rooms.Verbs(room); got != want {
			t.Fatalf("%v: %q may %q, want %q", rooms, room, got, want)
		}
		var again holdfast.RoomPermissions
		text, err := json.Marshal(rooms)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, &again); err != nil || !again.Equal(rooms) {
			t.Fatalf("%s reads back as %v, %v", text, again, err)
		}
	})
}

func FuzzParseRoomPermissions(f *testing.F) {
	for _, seed := range []string{
		`[]`, `["**"]`, `["a*","!a"]`, `{"a":["join"]}`, `{"a":[],"a":[]}`, `{"!x":["publish","presence"]}`, `null`, `[1]`, `{"a":null}`, "[\"\xff\"]",
	} {
		f.Add([]byte(seed), "a")
	}
	f.Fuzz(func(t *testing.T, data []byte, room string) {
		rooms, err := holdfast.ParseRoomPermissions(data)
		if err != nil {
			if !errors.Is(err, holdfast.InvalidArgument) || rooms.Verbs(room) != 0 {
				t.Fatalf("%q: %v, %v", data, rooms, err)
			}
			return
		}
		text, err := json.Marshal(rooms)
		if err != nil {
			t.Fatal(err)
		}
		again, err := holdfast.ParseRoomPermissions(text)
		if err != nil || !again.Equal(rooms) || again.Verbs(room) != rooms.Verbs(room) {
			t.Fatalf("%q becomes %s, which is %v, %v", data, text, again, err)
		}
	})
}

func BenchmarkRoomVerbs(b *testing.B) {
	many := make(map[string][]string)
	for i := range 200 {
		many[fmt.Sprintf("org-%d:*:board-%d", i, i)] = []string{"join"}
	}
	manyMap, err := holdfast.RoomMap(many)
	if err != nil {
		b.Fatal(err)
	}
	cases := map[string]holdfast.RoomPermissions{
		"all":    holdfast.MustRoomList("**"),
		"exact":  holdfast.MustRoomList("org-7:x:board-7", "document-*"),
		"prefix": holdfast.MustRoomList("document-*", "org-7:**"),
		"many":   manyMap,
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if cases[name].Verbs("org-7:x:board-7") == 0 {
					b.Fatal("not permitted")
				}
			}
		})
	}
}
