package tutorial_test

import (
	"go/format"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// part is a piece of docs/tutorial.md that something is done with: a block of
// code, or a comment such as "<!-- see: plain -->", which readers don't see.
type part struct {
	line int
	// kind is the block's language, or the comment's word.
	kind string
	// name is what follows it: of a block of shell, the terminal where it stays
	// up; of text, the terminal where it appears, "" for the command before it.
	name string
	text string
}

var aside = regexp.MustCompile(`^<!-- (see|stop): (\w+) -->$`)

// read returns the parts of the tutorial, in order.
func read(t *testing.T) (parts []part) {
	t.Helper()
	text, err := os.ReadFile("../../docs/tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	var open *part
	for i, line := range strings.Split(string(text), "\n") {
		switch {
		case open != nil && line == "```":
			parts = append(parts, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		case strings.HasPrefix(line, "```"):
			kind, name, _ := strings.Cut(line[3:], " ")
			open = &part{line: i + 1, kind: kind, name: name}
		default:
			if m := aside.FindStringSubmatch(line); m != nil {
				parts = append(parts, part{line: i + 1, kind: m[1], name: m[2]})
			}
		}
	}
	return parts
}

// fileName finds the name of a file in the first line of a block, which is a
// comment in the file's language.
var fileName = regexp.MustCompile(`^(?://|<!--|/\*| //) ([\w./-]+)(?: -->| \*/)?\n`)

// file returns the file that a block is of, and the block without that line.
func (p part) file() (name, text string) {
	m := fileName.FindStringSubmatch(p.text)
	if m == nil {
		return "", p.text
	}
	return m[1], p.text[len(m[0]):]
}

func (p part) isFile() bool { return fileName.MatchString(p.text) }

// change applies a block with + and - to a file's text, hunk by hunk: what a
// hunk has without its + lines must be there once. Empty lines are between hunks.
func (p part) change(t *testing.T, text string) string {
	t.Helper()
	_, lines := p.file()
	for hunk := range strings.SplitSeq(strings.TrimSuffix(lines, "\n"), "\n\n") {
		old, now := "\n", "\n"
		for line := range strings.Lines(hunk + "\n") {
			switch line[0] {
			case '+':
				now += line[1:]
			case '-':
				old += line[1:]
			case ' ':
				old += line[1:]
				now += line[1:]
			default:
				t.Fatalf("docs/tutorial.md:%d: %q begins with none of +, - and space", p.line, line)
			}
		}
		if n := strings.Count("\n"+text, old); n != 1 {
			t.Fatalf("docs/tutorial.md:%d: %d times in the file:%s", p.line, n, old)
		}
		text = strings.Replace("\n"+text, old, now, 1)[1:]
	}
	return text
}

// write does to the module what a block of code says.
func (b *board) write(p part) {
	b.t.Helper()
	name, text := p.file()
	if name == "" {
		b.t.Fatalf("docs/tutorial.md:%d: of which file?", p.line)
	}
	path := filepath.Join(b.dir, filepath.FromSlash(name))
	if p.kind == "diff" {
		before, err := os.ReadFile(path)
		if err != nil {
			b.t.Fatalf("docs/tutorial.md:%d: %v", p.line, err)
		}
		// What stands for the reader's own port is another one here.
		text = b.here(p.change(b.t, b.there(string(before))))
	} else {
		text = b.here(text)
	}
	if strings.HasSuffix(name, ".go") {
		formatted, err := format.Source([]byte(text))
		if err != nil || string(formatted) != text {
			b.t.Errorf("docs/tutorial.md:%d: %s is not formatted (%v)", p.line, name, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}
