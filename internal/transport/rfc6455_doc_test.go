package transport

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var update = flag.Bool("update", false, "write the tables of docs/design/rfc6455.md anew")

// TestRFC6455Document compares the tables in docs/design/rfc6455.md with the
// cases that are run.
func TestRFC6455Document(t *testing.T) {
	const name = "../../docs/design/rfc6455.md"
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	want := between(t, page, "rules", rulesTable(demands()))
	want = between(t, want, "deflate", packedTable(packedRules()))
	if bytes.Equal(page, want) {
		return
	}
	if !*update {
		t.Fatalf("%s has other tables; go test -run Document -update ./internal/transport writes them", name)
	}
	if err := os.WriteFile(name, want, 0o666); err != nil {
		t.Fatal(err)
	}
}

// between puts a table between its two marks on a page.
func between(t *testing.T, page []byte, mark, table string) []byte {
	t.Helper()
	first, last := "<!-- "+mark+" -->\n", "<!-- end of "+mark+" -->\n"
	head, rest, ok := bytes.Cut(page, []byte(first))
	_, tail, ok2 := bytes.Cut(rest, []byte(last))
	if !ok || !ok2 {
		t.Fatalf("no marks of %q", mark)
	}
	return slices.Concat(head, []byte(first+"\n"+table+"\n"+last), tail)
}

func rulesTable(list []demand) string {
	var b strings.Builder
	b.WriteString("| § | rule | cases, and what becomes of the connection |\n|---|---|---|\n")
	for _, d := range list {
		cells := families(d.cases)
		if len(d.tests) > 0 {
			cells = append(cells, "tests: `"+strings.Join(d.tests, "`, `")+"`")
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", d.section, d.says, strings.Join(cells, "<br>"))
	}
	return b.String()
}

// families joins the names of cases that have one outcome, and differ in their
// last word alone if that is a number.
func families(cases []rule) (cells []string) {
	outcome, stem := "", ""
	var line []string
	flush := func() {
		if len(line) > 0 {
			cells = append(cells, "**"+outcome+"**: "+strings.Join(line, "; "))
		}
		line, stem = nil, ""
	}
	for _, r := range cases {
		at := strings.LastIndexByte(r.name, ' ') + 1
		result := r.outcome()
		if result == "closed "+r.name[at:] {
			result = "closed with the same code"
		}
		if result != outcome {
			flush()
			outcome = result
		}
		number := at > 0 && !strings.ContainsFunc(r.name[at:], func(c rune) bool { return !unicode.IsDigit(c) })
		if number && r.name[:at] == stem {
			line[len(line)-1] += ", " + r.name[at:]
			continue
		}
		line, stem = append(line, r.name), ""
		if number {
			stem = r.name[:at]
		}
	}
	flush()
	return cells
}

func packedTable(list []rule) string {
	var b strings.Builder
	b.WriteString("| case | the connection |\n|---|---|\n")
	for _, r := range list {
		fmt.Fprintf(&b, "| %s | %s |\n", r.name, r.outcome())
	}
	return b.String()
}

// Names are the names of subtests, and of tests that are there.
func TestRFC6455Names(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range rules() {
		if seen[r.name] {
			t.Errorf("two cases are called %q", r.name)
		}
		seen[r.name] = true
	}
	for _, d := range demands() {
		if len(d.cases)+len(d.tests) == 0 {
			t.Errorf("nothing shows that %s", d.says)
		}
		for _, name := range d.tests {
			dir, test, other := strings.Cut(name, ".")
			if !other {
				dir, test = ".", name
			} else {
				dir = "../../" + dir
			}
			if !declared(t, dir, test) {
				t.Errorf("there is no test %s", name)
			}
		}
	}
}

// declared reports whether a folder's tests have one of that name.
func declared(t *testing.T, dir, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`(?m)^func ` + test + `\(`)
	return slices.ContainsFunc(files, func(name string) bool {
		text, err := os.ReadFile(name)
		return err == nil && pattern.Match(text)
	})
}
