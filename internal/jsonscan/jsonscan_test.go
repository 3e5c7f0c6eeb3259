package jsonscan_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// texts is JSON, good and bad, that tests and fuzzing begin with.
var texts = []string{
	``, ` `, `null`, `true`, `false`, ` true `, `tru`, `nul`, `nulll`, `False`, `undefined`, `NaN`, `x`,
	`0`, `-0`, `-`, `+1`, `01`, `-01`, `1.`, `.5`, `1.5`, `1e`, `1e5`, `1E+5`, `1e-`, `1.5e-10`, `--1`, `0x1`, `1 2`, `9007199254740993`,
	`""`, `"a"`, `"a`, `"`, `"\"`, `"\\"`, `"\"`, `"\"\\\/\b\f\n\r\t"`, `"\x"`, `"\u"`, `"\u12"`, `"\u12g4"`, `"\uD83C\udf88"`, `"\ud83c"`, `"\u0000"`,
	"\"\x00\"", "\"\x1f\"", "\"\n\"", "\"\x7f\"", `"é€🎈"`, `'a'`, `"12345678"`, `"1234567"`, `"123456789abcdef0"`, `"1234567\"90"`,
	"\"\xff\"", "\"\xc3\"", "\"\xc3(\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"12345678\xff\"", "\xef\xbb\xbf{}", "\"\xef\xbf\xbd\"", "\xff",
	`[]`, `[ ]`, `[1]`, `[1,2]`, `[ 1 , 2 ]`, `[,]`, `[1,]`, `[,1]`, `[1 2]`, `[1`, `[`, `]`, `[]]`, `[[]]`, `[[],[]]`, `[1}`, `["a","b\"]"]`, `[1,2,3,4,5,6,7,8]`, `[1,2,3,4,5,6,7,8,9]`, `[1,2,3,4,5,6,7,8,9,10,"11",[12],{"13":14}]`,
	`{}`, `{ }`, `{"a":1}`, `{"a" : 1 , "b" : 2}`, `{"a"}`, `{"a":}`, `{:1}`, `{"a":1,}`, `{,}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":1`, `{`, `}`, `{}}`, `{"a":1]`, `{"a":{"b":[{"c":null}]}}`, `{1:2}`,
	`{"a":1,"a":2}`, `{"a":1,"A":2}`, `{"a":1,"\u0061":2}`, `{"k":1,"K":2}`, `{"s":1,"ſ":2}`, `{"é":1,"É":2}`, `{"\ud800":1,"\udbff":2}`, `{"a":{"a":1},"b":{"a":1}}`, `{"":1,"":2}`,
	`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1}`, `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"B":1}`,
	strings.Repeat("[", 32) + strings.Repeat("]", 32), strings.Repeat("[", 33) + strings.Repeat("]", 33), strings.Repeat(`{"a":`, 32) + "1" + strings.Repeat("}", 32), strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), strings.Repeat("[", 100),
	" \t\r\n[1]\n", "\v1", "\u00a01", "1\x00", `{"token":"123"}`, `["todo:create",{"title":"Write tests","done":false,"tags":["a","b"]}]`,
}

// depthOf returns how deep valid JSON nests.
func depthOf(text []byte) (deepest int) {
	depth, inString := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '[' || c == '{':
			depth++
			deepest = max(deepest, depth)
		case c == ']' || c == '}':
			depth--
		}
	}
	return deepest
}

// checkAgainst compares Check with encoding/json and the stricter rules.
func checkAgainst(t *testing.T, data []byte) {
	t.Helper()
	err := jsonscan.Check(data, jsonscan.Limits{})
	want := json.Valid(data) && utf8.Valid(data) && depthOf(data) <= jsonscan.DefaultDepth
	if (err == nil) != want {
		t.Errorf("Check(%q) = %v; valid: %v", data, err, want)
	}
	if err != nil && holdfast.CodeOf(err) != holdfast.InvalidArgument {
		t.Errorf("Check(%q): code of %v", data, err)
	}
	if unique := jsonscan.Check(data, jsonscan.Limits{UniqueKeys: true}); err != nil && unique == nil {
		t.Errorf("Check(%q) with unique keys lets through what Check does not", data)
	}
}

// arrayAgainst compares Array with encoding/json.
func arrayAgainst(t *testing.T, data []byte) {
	t.Helper()
	got, err := jsonscan.Array(data, 0)
	if jsonscan.Check(data, jsonscan.Limits{}) != nil {
		if err == nil {
			t.Errorf("Array(%q) takes what Check does not", data)
		}
		return
	}
	var want []json.RawMessage
	if json.Unmarshal(data, &want) != nil || want == nil {
		if err == nil {
			t.Errorf("Array(%q) = %q, and it is no array", data, got)
		}
		return
	}
	if err != nil || len(got) != len(want) || got == nil {
		t.Fatalf("Array(%q) = %q, %v; want %q", data, got, err, want)
	}
	for i := range want {
		if string(got[i]) != string(want[i]) {
			t.Errorf("Array(%q)[%d] = %q, want %q", data, i, got[i], want[i])
		}
	}
	if cap(got) != len(got) && len(got) <= 8 {
		t.Errorf("Array(%q) has room for %d elements and %d of them", data, cap(got), len(got))
	}
}

func TestCheck(t *testing.T) {
	for _, text := range texts {
		checkAgainst(t, []byte(text))
		arrayAgainst(t, []byte(text))
	}
}

// Every text is also cut off everywhere and has every byte changed, which
// reaches the ends of all loops.
func TestCheckMangled(t *testing.T) {
	for _, text := range texts {
		for i := range text {
			checkAgainst(t, []byte(text[:i]))
			if len(text) > 80 {
				continue // more of the same
			}
			for _, c := range []byte("\"\\[]{},:0e.-a \x00\x80\xc3\xff") {
				mangled := []byte(text)
				mangled[i] = c
				checkAgainst(t, mangled)
				arrayAgainst(t, mangled)
			}
		}
	}
}

func TestDepth(t *testing.T) {
	for _, test := range []struct {
		text  string
		depth int
		good  bool
	}{
		{`1`, 1, true}, {`[]`, 1, true}, {`{}`, 1, true}, {`[[]]`, 1, false}, {`[{}]`, 1, false}, {`{"a":[]}`, 1, false},
		{`{"a":[]}`, 2, true}, {`[[],[],{"a":[]}]`, 3, true}, {`[[],[],{"a":[[]]}]`, 3, false},
		{strings.Repeat("[", 32) + strings.Repeat("]", 32), 0, true},
		{strings.Repeat("[", 33) + strings.Repeat("]", 33), 0, false},
		{strings.Repeat("[", 33) + strings.Repeat("]", 33), -1, false},
		{strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000), 1 << 30, true},
		{strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001), 1 << 30, false},
	} {
		if err := jsonscan.Check([]byte(test.text), jsonscan.Limits{Depth: test.depth}); (err == nil) != test.good {
			t.Errorf("depth %d of %.20q: %v", test.depth, test.text, err)
		}
	}
}

func TestUniqueKeys(t *testing.T) {
	many := func(last string) string {
		var s strings.Builder
		s.WriteString(`{`)
		for i := range 1000 {
			s.WriteString(`"key` + strings.Repeat("x", i%7) + string(rune('a'+i%26)) + string(rune(0x4e00+i)) + `":1,`)
		}
		return s.String() + `"` + last + `":1}`
	}
	for text, good := range map[string]bool{
		`{"a":1,"b":2}`:                     true,
		`{"a":1,"a":2}`:                     false,
		`{"a":1,"A":2}`:                     false,
		`{"token":1,"TOKEN":2}`:             false,
		`{"a":1,"\u0061":2}`:                false,
		`{"k":1,"\u212a":2}`:                false, // the Kelvin sign folds with k
		`{"s":1,"ſ":2}`:                     false,
		`{"é":1,"É":2}`:                     false,
		`{"i":1,"İ":2}`:                     true, // does not fold
		`{"a":{"a":1},"b":[{"a":1}]}`:       true,
		`[{"a":1},{"a":1}]`:                 true,
		`{"a":{"b":1,"B":2}}`:               false,
		`{"":1,"":2}`:                       false,
		`{"":1," ":2}`:                      true,
		`{"\ud800":1,"\udbff":2}`:           false, // both become U+FFFD
		`{"a\"b":1,"a\u0022b":2}`:           false,
		many("new"):                         true,
		many("KEYA" + string(rune(0x4e00))): false,
	} {
		if err := jsonscan.Check([]byte(text), jsonscan.Limits{UniqueKeys: true}); (err == nil) != good {
			t.Errorf("unique keys of %.40q: %v", text, err)
		}
	}
}

// The messages tell where, and nothing of the text, which may be a secret.
func TestErrorsHoldNoText(t *testing.T) {
	err := jsonscan.Check([]byte(`{"token":"canary" "x"}`), jsonscan.Limits{})
	if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "byte 18") {
		t.Errorf("error is %v", err)
	}
}

// Split and Skip say nothing useful about what was not checked, but they
// return.
func TestUncheckedText(t *testing.T) {
	for _, text := range texts {
		for i := range text {
			_, _ = jsonscan.Split([]byte(text[i:]))
			_, _ = jsonscan.SplitFrom([]byte(text), i)
			if end := jsonscan.Skip([]byte(text), i); end > len(text) {
				t.Errorf("Skip(%q, %d) = %d", text, i, end)
			}
		}
	}
	if end := jsonscan.Skip([]byte("[]"), 7); end != -1 {
		t.Errorf("Skip beyond the end = %d", end)
	}
}

func TestSplitFrom(t *testing.T) {
	data := []byte(`["name" , 1 , [2,3],"x"]`)
	got, err := jsonscan.SplitFrom(data, 7)
	if err != nil || len(got) != 3 || string(got[1]) != "[2,3]" {
		t.Errorf("SplitFrom = %q, %v", got, err)
	}
	if got, err := jsonscan.SplitFrom([]byte(`["name" ]`), 7); err != nil || got == nil || len(got) != 0 {
		t.Errorf("SplitFrom without more = %q, %v", got, err)
	}
	if _, err := jsonscan.SplitFrom([]byte(`["name" 1]`), 7); err == nil {
		t.Error("SplitFrom takes a missing comma")
	}
}

// unquoteAgainst compares Unquote and KeyIs with encoding/json, where quoted is
// a valid string.
func unquoteAgainst(t *testing.T, quoted []byte) {
	t.Helper()
	var want string
	if len(quoted) == 0 || quoted[0] != '"' || !utf8.Valid(quoted) || json.Unmarshal(quoted, &want) != nil {
		return
	}
	quoted = quoted[:jsonscan.Skip(quoted, 0)] // without white space
	if got := string(jsonscan.Unquote(quoted)); got != want {
		t.Errorf("Unquote(%s) = %q, want %q", quoted, got, want)
	}
	if !jsonscan.KeyIs(quoted, want) || jsonscan.KeyIs(quoted, want+"x") || want != "" && jsonscan.KeyIs(quoted, want[1:]) {
		t.Errorf("KeyIs(%s) is wrong", quoted)
	}
}

func TestUnquote(t *testing.T) {
	for _, text := range append(texts, `"\ud83c"`, `"\ud83c\u0041"`, `"\ud83c\ud83c\udf88x"`, `"\udf88\ud83c"`, `"\ud83cx"`, `"\ud83c\n"`,
		`"\u00E9\u20aC\uFFFF"`, `"a\\"`, `"\/\"\b\f\n\r\t"`, `"_placeholder"`, `"\u005fplaceholder"`, `"n\u0075m"`) {
		unquoteAgainst(t, []byte(text))
	}
	for _, text := range []string{``, `"`, `"\`, `"\"`, `"\u`, `"\u00"`, `"\u00zz"`, `"\q"`} { // not valid: no panic
		_ = jsonscan.Unquote([]byte(text))
		_ = jsonscan.KeyIs([]byte(text), "a")
	}
}

func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "a", "room:join", "a\"b\\c", "\x00\x01\x1f\b\f\n\r\t", "é€🎈", "\u2028<>&", "\xff", "a\xffb\xc3", "\x7f"} {
		got := jsonscan.AppendString(nil, s)
		var back string
		if err := json.Unmarshal(got, &back); err != nil || back != strings.ToValidUTF8(strings.ReplaceAll(s, "\xff", "\ufffd"), "\ufffd") {
			t.Errorf("AppendString(%q) = %s, which is %q, %v", s, got, back, err)
		}
		if err := jsonscan.Check(got, jsonscan.Limits{}); err != nil {
			t.Errorf("AppendString(%q) = %s: %v", s, got, err)
		}
	}
}

func TestAllocations(t *testing.T) {
	data := []byte(`["todo:create",{"title":"Write tests","done":false,"tags":["a","b"]},12]`)
	check := testing.AllocsPerRun(100, func() {
		if err := jsonscan.Check(data, jsonscan.Limits{}); err != nil {
			t.Fatal(err)
		}
	})
	if check != 0 {
		t.Errorf("Check allocates %v times", check)
	}
	split := testing.AllocsPerRun(100, func() {
		if _, err := jsonscan.Split(data); err != nil {
			t.Fatal(err)
		}
	})
	if split > 1 {
		t.Errorf("Split allocates %v times", split)
	}
}

func FuzzCheck(f *testing.F) {
	for _, text := range texts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkAgainst(t, data)
		arrayAgainst(t, data)
		unquoteAgainst(t, data)
		_ = jsonscan.Unquote(data)
		_, _ = jsonscan.Split(data)
		_, _ = jsonscan.SplitFrom(data, len(data)/2)
	})
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a", "a\"b\\c", "\x00\x1f\n", "é€🎈", "\xff\xc3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := jsonscan.AppendString(nil, s)
		// Invalid bytes become U+FFFD one by one, as in a conversion to runes.
		if back := string(jsonscan.Unquote(got)); back != string([]rune(s)) {
			t.Errorf("AppendString(%q) = %s, which is %q", s, got, back)
		}
		if err := jsonscan.Check(got, jsonscan.Limits{}); err != nil {
			t.Errorf("AppendString(%q) = %s: %v", s, got, err)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	for name, text := range map[string]string{
		"small":  `["todo:create",{"title":"Write tests","done":false,"tags":["a","b"]},12]`,
		"string": `"` + strings.Repeat("lorem ipsum dolor ", 3000) + `"`,
		"deep":   `[` + strings.Repeat(`{"id":12345,"name":"somebody","on":true,"x":[1.5,null]},`, 500) + `0]`,
	} {
		b.Run(name, func(b *testing.B) {
			data := []byte(text)
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := jsonscan.Check(data, jsonscan.Limits{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkValid(b *testing.B) { // encoding/json, for comparison
	data := []byte(`["todo:create",{"title":"Write tests","done":false,"tags":["a","b"]},12]`)
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		json.Valid(data)
	}
}
