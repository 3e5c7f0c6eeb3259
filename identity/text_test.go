package identity

import (
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

func TestNormalizeEmail(t *testing.T) {
	for in, want := range map[string]string{
		"a@b.c":                    "a@b.c",
		" A.B+c@Example.ORG\n":     "a.b+c@example.org",
		"jose\u0301@example.com":   "josé@example.com",
		"ß@example.com":            "ß@example.com",
		"":                         "",
		"a":                        "",
		"a@":                       "",
		"@b":                       "",
		"a@b@c":                    "",
		"a b@c":                    "",
		"a@b.c,d@e.f":              "",
		"Ann <a@b.c>":              "",
		`"a b"@c.d`:                "",
		"a\x00@b.c":                "",
		"a\u200b@b.c":              "",
		"a\u202e@b.c":              "",
		"a@b..c":                   "",
		"a@b.c.":                   "",
		"a@[127.0.0.1]":            "",
		"a\xff@b.c":                "",
		string(make([]byte, 1000)): "",
		"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggg@b.c": "",
	} {
		got, err := NormalizeEmail(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%.40q: %q, %v, want %q", in, got, err, want)
		}
		if err != nil {
			wantCode(t, in, err, holdfast.InvalidArgument)
		}
	}
}

// Whatever is typed in: what comes out is stored, compared and mailed to, and
// comes out the same again.
func FuzzNormalizeEmail(f *testing.F) {
	for _, seed := range []string{"a@b.c", " Ann@Example.COM ", "jose\u0301@example.com", "\u212a@b.c", "\u0130@b.c", "a@b.c\r\nBcc: d@e.f", "<a@b.c>"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		out, err := NormalizeEmail(in)
		if err != nil {
			return
		}
		if again, err := NormalizeEmail(out); err != nil || again != out {
			t.Errorf("%q: %q, and again %q, %v", in, out, again, err)
		}
		if len(out) > maxEmail || !storable(out) || strings.Count(out, "@") != 1 || strings.ContainsAny(out, " \r\n\t<>,;:\"") {
			t.Errorf("%q: %q", in, out)
		}
	})
}
