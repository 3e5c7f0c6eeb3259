package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

func TestSplitWords(t *testing.T) {
	for text, want := range map[string][]string{
		"./handler":                  {"./handler"},
		" a  b\tc\n":                 {"a", "b", "c"},
		`sh -c 'echo "$X" | tee a'`:  {"sh", "-c", `echo "$X" | tee a`},
		`"my program" 'a'b"c" ''`:    {"my program", "abc", ""},
		`a\ b "c\"d\\e\n" '\' \$X`:   {"a b", `c"d\e\n`, `\`, "$X"},
		"$HOME *.txt ; rm -rf `x` &": {"$HOME", "*.txt", ";", "rm", "-rf", "`x`", "&"},
	} {
		if got, err := splitWords(text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"", "  ", `'a`, `"a`, `a\`, `'' b`} {
		if got, err := splitWords(text); err == nil {
			t.Errorf("%s: %q", text, got)
		}
	}
}

// TestEventVariables: no variable about an event is one of a flag, but for
// the one that keeps a listener from running itself.
func TestEventVariables(t *testing.T) {
	parser, err := newParser(&environment{flags: newSources(func(string) string { return "" })})
	if err != nil {
		t.Fatal(err)
	}
	flags := flagsByKey(parser.Model.Node)
	for _, variable := range eventVariables(&holdfast.Event{Name: "moved", Room: "lobby"}) {
		name, value, _ := strings.Cut(variable, "=")
		key := strings.ToLower(strings.TrimPrefix(name, "HOLDFAST_"))
		if _, is := flags[key]; is != (name == "HOLDFAST_EXEC") || is && value != "" {
			t.Errorf("%s is the variable of a flag: %v", variable, is)
		}
	}
}

func FuzzSplitWords(f *testing.F) {
	f.Add(`sh -c 'a "b" \c' "d\"e" \`)
	f.Fuzz(func(t *testing.T, text string) {
		words, err := splitWords(text)
		if err == nil && (len(words) == 0 || words[0] == "") {
			t.Fatalf("%q: %q", text, words)
		}
	})
}
