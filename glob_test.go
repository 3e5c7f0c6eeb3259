package holdfast

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// globOracle is the same language, by the regexp package.
func globOracle(pattern string) *regexp.Regexp {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	for len(pattern) > 0 {
		if rest, ok := strings.CutPrefix(pattern, "**"); ok {
			b.WriteString(`.*`)
			pattern = rest
			continue
		}
		r, n := utf8.DecodeRuneInString(pattern)
		if r == '*' {
			b.WriteString(`[^:]*`)
		} else {
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
		pattern = pattern[n:]
	}
	b.WriteString(`\z`)
	return regexp.MustCompile(b.String())
}

func checkGlob(t interface {
	Helper()
	Fatalf(string, ...any)
}, pattern, name string) {
	t.Helper()
	want := globOracle(pattern).MatchString(name)
	if got := matchGlob(pattern, name); got != want {
		t.Fatalf("matchGlob(%q, %q) = %v, want %v", pattern, name, got, want)
	}
	if got := matchGlobTable(pattern, name); got != want {
		t.Fatalf("matchGlobTable(%q, %q) = %v, want %v", pattern, name, got, want)
	}
	if strings.Contains(pattern, "*") && name != "" {
		g := newRoomGlob(pattern, AllVerbs)
		if got := g.match(name); got != want {
			t.Fatalf("glob %q matches %q: %v, want %v", pattern, name, got, want)
		}
	}
}

func TestMatchGlob(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a", true},
		{"*", "a:b", false},
		{"**", "a:b", true},
		{"a*", "a", true},
		{"a*", "a:", false},
		{"*:*", "a:b", true},
		{"*:*", "a:b:c", false},
		{"org:*:board", "org:7:board", true},
		{"org:*:board", "org:7:8:board", false},
		{"org:**:board", "org:7:8:board", true},
		{"org:**:board", "org:board", false},
		{"**:board", ":board", true},
		{"**a*b", "x:a:b:aab", true},
		{"**a*b", "a:b", false},
		{"a**b*c**d", "abXc:bYcd", true},
		{"*b**", ":b", false},
		{"***", "a:b", true},
		{"****", "", true},
		{"a?c", "abc", false},
		{"[ab]", "a", false},
		{"a.c", "abc", false},
		{"é*", "éa", true},
		{"*é", "aé", true},
		{"**é*ü", "é:éxü", true},
	} {
		if got := matchGlob(test.pattern, test.name); got != test.want {
			t.Errorf("matchGlob(%q, %q) = %v", test.pattern, test.name, got)
		}
		checkGlob(t, test.pattern, test.name)
	}
}

// A small alphabet makes near misses frequent.
func TestMatchGlobEqualsRegexp(t *testing.T) {
	pattern := rapid.StringOfN(rapid.SampledFrom([]rune("ab:é***")), 0, 14, -1)
	name := rapid.StringOfN(rapid.SampledFrom([]rune("aab::é")), 0, 20, -1)
	rapid.Check(t, func(t *rapid.T) {
		checkGlob(t, pattern.Draw(t, "pattern"), name.Draw(t, "name"))
	})
}

// All patterns and names up to a length, which are enough for every way in
// which two stars of either kind can interfere.
func TestMatchGlobExhaustively(t *testing.T) {
	var words func(letters string, n int, visit func(string))
	words = func(letters string, n int, visit func(string)) {
		visit("")
		if n == 0 {
			return
		}
		for i := range len(letters) {
			words(letters, n-1, func(w string) {
				if len(w) == n-1 || w == "" {
					visit(letters[i:i+1] + w)
				}
			})
		}
	}
	names := make(map[string]bool)
	for n := range 6 {
		words("ab:", n, func(w string) { names[w] = true })
	}
	patterns := make(map[string]bool)
	for n := range 5 {
		words("ab:*", n, func(w string) { patterns[w] = true })
	}
	for pattern := range patterns {
		oracle := globOracle(pattern)
		for name := range names {
			if got, want := matchGlob(pattern, name), oracle.MatchString(name); got != want {
				t.Fatalf("matchGlob(%q, %q) = %v, want %v", pattern, name, got, want)
			}
		}
	}
	t.Logf("%d patterns, %d names", len(patterns), len(names))
}

func FuzzMatchGlob(f *testing.F) {
	for _, seed := range [][2]string{
		{"**a*b", "x:a:b:aab"}, {"a**b*c**d", "abXc:bYcd"}, {"*:*", "a:b:c"}, {"***", ""}, {"é*ü**", "éxü:"},
		{"**aab*ab", "aaab:aabaab"}, {"*a*a*a*b", "aaaaaaaaaa"}, {"**a**a**a**b", "aaaaaaaaaa"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if len(pattern) > MaxRoomPattern || len(name) > MaxRoomName || !utf8.ValidString(pattern) || !utf8.ValidString(name) {
			return
		}
		checkGlob(t, pattern, name)
	})
}

// worstGlobs are the patterns and names that cost the most steps.
func worstGlobs() map[string][2]string {
	a := strings.Repeat("a", 200)
	return map[string][2]string{
		"many stars":        {strings.Repeat("*a", 99) + "*b", a},
		"many double stars": {strings.Repeat("**a", 66) + "b", a},
		"both":              {strings.Repeat("**a*a", 39) + "b", a},
		"long tail":         {"**a*" + strings.Repeat("a", 100) + "b", a},
		"tail before colon": {"**a*" + strings.Repeat("a", 60) + "b**b", strings.Repeat("a", 198) + ":b"},
		"tail and colons":   {"**a*" + strings.Repeat("a", 30) + "b**b", strings.Repeat(strings.Repeat("a", 65)+":", 3) + "b"},
		"no match possible": {"**" + strings.Repeat("a", 99) + "c**a", a},
	}
}

// The worst cases go through both methods.
func TestMatchGlobWorst(t *testing.T) {
	for _, c := range worstGlobs() {
		checkGlob(t, c[0], c[1])
		checkGlob(t, c[0], c[1]+"b")
	}
}

func BenchmarkMatchGlobWorst(b *testing.B) {
	for name, c := range worstGlobs() {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				matchGlob(c[0], c[1])
			}
		})
	}
}
