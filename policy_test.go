package holdfast_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

// The rules of the house as tests: TestPolicy… looks at this tree. Each rule
// is a function from what it looks at to a list of faults, and is tried itself
// on planted faults, so that a rule that stopped looking is found out.
//
// policy_imports_test.go has who may import whom, policy_source_test.go what
// is looked for in Go source; here are files, documents and the plumbing.

const policyModule = "github.com/holdfast-dev/holdfast"

// maxGoLines is how long a Go file may be.
const maxGoLines = 600

// longGoFiles are files that may be longer, each with its reason.
var longGoFiles = map[string]string{}

// leftOver finds words that say that something is unfinished. The patterns are
// written so that they don't find themselves.
var leftOver = regexp.MustCompile(`\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K]|(?i:for no[w]))\b`)

// registryHosts finds package registries. Somebody behind a mirror must be
// able to build the tree; a lock file is made without them by npm's option
// omit-lockfile-registry-resolved.
var registryHosts = regexp.MustCompile(`(?i)\b(?:registry\.npmjs[.]org|registry\.yarnpkg[.]com|npm\.pkg\.github[.]com|` +
	`proxy\.golang[.]org|sum\.golang[.]org|pypi[.]org|pythonhosted[.]org|crates[.]io|rubygems[.]org|repo1?\.maven[.])`)

// checkWords returns the faults of one file's text.
func checkWords(name string, text []byte) (faults []string) {
	if bytes.IndexByte(text, 0) >= 0 {
		return nil // not text
	}
	for i, line := range bytes.Split(text, []byte("\n")) {
		for _, rule := range []struct {
			words *regexp.Regexp
			why   string
		}{
			{leftOver, "says that something is unfinished"},
			{registryHosts, "names the host of a package registry"},
		} {
			if found := rule.words.Find(line); found != nil {
				faults = append(faults, fmt.Sprintf("%s:%d: %q %s", name, i+1, found, rule.why))
			}
		}
	}
	return faults
}

// checkLength returns the fault of a Go file that is too long, or of an entry
// of the allowlist that has lost its reason.
func checkLength(name string, text []byte, allowed map[string]string) (faults []string) {
	lines := bytes.Count(text, []byte("\n"))
	_, long := allowed[name]
	switch {
	case lines > maxGoLines && !long:
		faults = append(faults, fmt.Sprintf("%s: %d lines, more than %d: split it, or give a reason in longGoFiles", name, lines, maxGoLines))
	case lines <= maxGoLines && long:
		faults = append(faults, fmt.Sprintf("%s: only %d lines, take it out of longGoFiles", name, lines))
	}
	return faults
}

func TestPolicyFiles(t *testing.T) {
	names := policyFiles(t, ".")
	if !slices.Contains(names, "code.go") || !slices.Contains(names, "docs/protocol.md") {
		t.Fatalf("the list of files misses some that are there: %q", names)
	}
	for name := range longGoFiles {
		if !slices.Contains(names, name) {
			t.Errorf("%s: in longGoFiles, but not in the tree", name)
		}
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed a moment ago
		}
		if err != nil {
			t.Fatal(err)
		}
		policyReport(t, checkWords(name, text))
		if filepath.Ext(name) == ".go" {
			policyReport(t, checkLength(name, text, longGoFiles))
		}
	}
}

func TestPolicyFilesFindsFaults(t *testing.T) {
	long := bytes.Repeat([]byte("\n"), maxGoLines+1)
	for name, c := range map[string]struct{ got, want []string }{
		"unfinished":      {checkWords("a.go", []byte("x\n// TO"+"DO: all of it")), []string{`a.go:2: "TO` + `DO" says`}},
		"unfinished, low": {checkWords("a.md", []byte("Off For No"+"w.")), []string{`a.md:1: "For No` + `w" says`}},
		"both":            {checkWords("a", []byte("FIX"+"ME https://proxy.golang."+"org/x")), []string{"says", "names the host"}},
		"lock file":       {checkWords("l", []byte(`"resolved": "https://registry.npmjs.`+`org/ws"`)), []string{"names the host"}},
		"an application":  {checkWords("a.go", []byte("todo:create, /api/todos, type Todo, hacking, XX"+"XX")), nil},
		"binary":          {checkWords("b", []byte("\x00TO"+"DO")), nil},
		"long":            {checkLength("a.go", long, nil), []string{"a.go: 601 lines"}},
		"long enough":     {checkLength("a.go", long[1:], nil), nil},
		"excused":         {checkLength("a.go", long, map[string]string{"a.go": "a table"}), nil},
		"stale excuse":    {checkLength("a.go", nil, map[string]string{"a.go": "a table"}), []string{"take it out"}},
	} {
		policyExpect(t, name, c.got, c.want)
	}
}

// tableRow is a row of the table of codes in docs/protocol.md: the code and
// the numbers that the next two cells begin with, if they do.
var tableRow = regexp.MustCompile("(?m)^\\| `([A-Z_]+)` \\| ([0-9]*)[^|]* \\| ([0-9]*)[^|]* \\|")

// checkCodeTable compares the table of codes in a document with the Go one.
func checkCodeTable(doc string, codes []holdfast.CodeInfo) (faults []string) {
	number := func(digits string) int {
		n, _ := strconv.Atoi(digits) // none: 0
		return n
	}
	rows := tableRow.FindAllStringSubmatch(doc, -1)
	for i := range max(len(rows), len(codes)) {
		switch {
		case i >= len(rows):
			faults = append(faults, fmt.Sprintf("%s is not in the document", codes[i].Code))
		case i >= len(codes):
			faults = append(faults, fmt.Sprintf("%s is in the document alone", rows[i][1]))
		default:
			got := holdfast.CodeInfo{Code: holdfast.Code(rows[i][1]), HTTP: number(rows[i][2]), Close: number(rows[i][3])}
			want := codes[i]
			want.Action = ""
			if got != want {
				faults = append(faults, fmt.Sprintf("row %d: the document has %+v, the code %+v", i+1, got, want))
			}
		}
	}
	return faults
}

func TestPolicyProtocolCodes(t *testing.T) {
	doc, err := os.ReadFile("docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	policyReport(t, checkCodeTable(string(doc), holdfast.Codes()))

	codes := []holdfast.CodeInfo{{Code: "A", HTTP: 401, Close: 4001, Action: "stop"}, {Code: "B_C"}}
	rows := "| `A` | 401 + `Retry-After` | 4001 | stop |\n| `B_C` | – | – (stays) | stop |\n"
	for name, c := range map[string]struct{ got, want []string }{
		"same":    {checkCodeTable(rows, codes), nil},
		"missing": {checkCodeTable(rows, append(codes, holdfast.CodeInfo{Code: "D"})), []string{"D is not in"}},
		"extra":   {checkCodeTable(rows, codes[:1]), []string{"B_C is in the document alone"}},
		"status":  {checkCodeTable(strings.ReplaceAll(rows, "401", "402"), codes), []string{"row 1"}},
		"close":   {checkCodeTable(strings.ReplaceAll(rows, "4001", "4002"), codes), []string{"row 1"}},
		"nothing": {checkCodeTable("", codes), []string{"A is not in", "B_C is not in"}},
	} {
		policyExpect(t, name, c.got, c.want)
	}
}

// mdLink finds links of Markdown to files and headings of this tree.
var mdLink = regexp.MustCompile(`\]\(([^)#:\s]+|#[^)\s]+|[^)#:\s]+#[^)\s]+)\)`)

// checkLinks returns links of a Markdown file that lead nowhere: to a file
// that does not exist, or to a heading that the page does not have.
func checkLinks(name, text string) (faults []string) {
	for _, m := range mdLink.FindAllStringSubmatch(text, -1) {
		file, heading, _ := strings.Cut(m[1], "#")
		target := text
		if file != "" {
			path := filepath.Join(filepath.Dir(name), filepath.FromSlash(file))
			if _, err := os.Stat(path); err != nil {
				faults = append(faults, fmt.Sprintf("%s: links to %s, which is not there", name, m[1]))
				continue
			}
			page, _ := os.ReadFile(path) // a folder has no headings
			target = string(page)
		}
		if heading != "" && !slices.Contains(headings(target), heading) {
			faults = append(faults, fmt.Sprintf("%s: links to %s, a heading that is not there", name, m[1]))
		}
	}
	return faults
}

// headings returns the anchors of a page, as GitHub makes them.
func headings(text string) (anchors []string) {
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		title := strings.TrimLeft(line, "#")
		if fenced || title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 0x7f:
				return r
			}
			return -1
		}, strings.ToLower(strings.TrimSpace(title))))
	}
	return anchors
}

func TestPolicyLinks(t *testing.T) {
	for _, name := range policyFiles(t, ".") {
		if filepath.Ext(name) != ".md" {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		policyReport(t, checkLinks(name, string(text)))
	}
	page := "# A `b`: c\n[x](#a-b-c) [y](#d) [z](docs/protocol.md) [v](docs/none.md) [w](docs/protocol.md#none) [u](https://example.com/) [t](docs)\n```\n# d\n```\n"
	policyExpect(t, "planted", checkLinks("a.md", page), []string{"#d, a heading", "docs/none.md, which", "#none, a heading"})
}

// policyFiles returns the files below dir that git has, or would take, with
// slashes and relative to dir; where there is no git, all of them. The walk
// comes first so that the go command sees which folders the test depends on,
// and does not reuse its result when one has a new file.
func policyFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed a moment ago
			}
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", "node_modules"}, entry.Name()) {
			return fs.SkipDir
		}
		if entry.Type().IsRegular() {
			rel, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			names = append(names, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	git := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	git.Dir = dir
	out, err := git.Output()
	if err != nil {
		return names // no git, or a tree without it, such as an unpacked archive
	}
	known := make(map[string]bool)
	for name := range strings.SplitSeq(string(out), "\x00") {
		known[name] = true
	}
	return slices.DeleteFunc(names, func(name string) bool { return !known[name] })
}

func TestPolicyFilesOfATree(t *testing.T) {
	dir := t.TempDir()
	policyWrite(t, dir, map[string]string{
		"a.go": "", "sub/b.md": "", "bin/c": "", "node_modules/x/d.go": "", ".gitignore": "/bin/\nnode_modules/\n",
	})
	without := []string{".gitignore", "a.go", "bin/c", "sub/b.md"}
	if got := policyFiles(t, dir); !slices.Equal(got, without) {
		t.Errorf("without git: %q, want %q", got, without)
	}
	git := exec.Command("git", "init", "-q")
	git.Dir = dir
	if out, err := git.CombinedOutput(); err != nil {
		t.Logf("git can't be tried: %v %s", err, out)
		return
	}
	with := []string{".gitignore", "a.go", "sub/b.md"}
	if got := policyFiles(t, dir); !slices.Equal(got, with) {
		t.Errorf("with git: %q, want %q", got, with)
	}
}

// goPackage is what the rules need of one package of go list -json.
type goPackage struct {
	ImportPath, Name, Dir              string
	GoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports []string
	Deps                               []string
}

// rel is the package's path inside the module, "" for its root.
func (p *goPackage) rel() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, policyModule), "/")
}

// goPackages lists the packages of the module in dir. A package that does not
// compile is listed as far as it can be read; the compiler is there to say so.
func goPackages(t *testing.T, dir string) (pkgs []*goPackage) {
	t.Helper()
	var stderr bytes.Buffer
	list := exec.Command("go", "list", "-e", "-json", "./...")
	list.Dir = dir
	list.Env = append(os.Environ(), "GOPROXY=off", "GOWORK=off")
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := new(goPackage)
		if err := dec.Decode(p); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	slices.SortFunc(pkgs, func(a, b *goPackage) int { return cmp.Compare(a.ImportPath, b.ImportPath) })
	if len(pkgs) == 0 {
		t.Fatalf("go list found no packages in %s", dir)
	}
	return pkgs
}

// policyReport fails the test with each fault.
func policyReport(t *testing.T, faults []string) {
	t.Helper()
	for _, f := range faults {
		t.Error(f)
	}
}

// policyExpect checks that the faults are as many as want and that each
// contains the text at its place there.
func policyExpect(t *testing.T, name string, got, want []string) {
	t.Helper()
	if !slices.EqualFunc(got, want, strings.Contains) {
		t.Errorf("%s: faults\n%q\nwant\n%q", name, got, want)
	}
}

// policyWrite writes files, by their names with slashes, below dir.
func policyWrite(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
