package main

import (
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

// block is a piece of code in the README.
type block struct{ language, text string }

// readme returns the README's section of this heading, "" for all of it, and
// the code in it.
func readme(t *testing.T, heading string) (string, []block) {
	t.Helper()
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	if heading != "" {
		_, rest, ok := strings.Cut(text, "\n## "+heading+"\n")
		if !ok {
			t.Fatalf("README.md has no section %q", heading)
		}
		text, _, _ = strings.Cut(rest, "\n## ")
	}
	return text, blocks(text)
}

// blocks returns the code in a document.
func blocks(text string) (list []block) {
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		list = append(list, block{m[1], m[2]})
	}
	return list
}

// TestReadmeScripts compares what the README has people type with the files
// of the scripts that run it.
func TestReadmeScripts(t *testing.T) {
	for heading, name := range map[string]string{"Quickstart": "quickstart.txtar", "Accounts": "readme_accounts.txtar", "From a shell": "readme_shell.txtar"} {
		script, err := txtar.ParseFile(filepath.Join("testdata", "script", name))
		if err != nil {
			t.Fatal(err)
		}
		var typed, run []string
		_, blocks := readme(t, heading)
		for _, b := range blocks {
			if b.language != "json" {
				typed = append(typed, b.text)
			}
		}
		for _, file := range script.Files {
			run = append(run, string(file.Data))
		}
		if diff := cmp.Diff(run, typed); diff != "" {
			t.Errorf("%s runs (-) something else than README.md shows (+):\n%s", name, diff)
		}
	}
}

// TestWebhookDocs compares the code of docs/webhooks.md with what its script
// runs.
func TestWebhookDocs(t *testing.T) {
	script, err := txtar.ParseFile(filepath.Join("testdata", "script", "webhooks.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown, run []string
	for _, b := range blocks(string(doc)) {
		if b.language != "json" {
			shown = append(shown, b.text)
		}
	}
	for _, file := range script.Files[1:] { // the first is the script's own
		run = append(run, string(file.Data))
	}
	if diff := cmp.Diff(run, shown); diff != "" {
		t.Errorf("webhooks.txtar runs (-) something else than docs/webhooks.md shows (+):\n%s", diff)
	}
}

// TestBenchDocs compares the code of docs/bench.md with what its script runs.
func TestBenchDocs(t *testing.T) {
	script, err := txtar.ParseFile(filepath.Join("testdata", "script", "bench.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/bench.md")
	if err != nil {
		t.Fatal(err)
	}
	var shown, run []string
	for _, b := range blocks(string(doc)) {
		shown = append(shown, b.text)
	}
	for _, file := range script.Files[3:] { // those before are the script's own
		run = append(run, string(file.Data))
	}
	if diff := cmp.Diff(run, shown); diff != "" {
		t.Errorf("bench.txtar runs (-) something else than docs/bench.md shows (+):\n%s", diff)
	}
}

// TestReadmeGo vets the README's Go programs.
func TestReadmeGo(t *testing.T) {
	_, blocks := readme(t, "")
	programs := 0
	for _, b := range blocks {
		if b.language != "go" {
			continue
		}
		programs++
		file := filepath.Join(t.TempDir(), "main.go")
		if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
			t.Fatal(err)
		}
		vet := exec.Command("go", "vet", file) // type-checks too
		if out, err := vet.CombinedOutput(); err != nil {
			t.Errorf("program %d: %v\n%s", programs, err, out)
		}
		if formatted, err := format.Source([]byte(b.text)); err != nil || string(formatted) != b.text {
			t.Errorf("program %d is not formatted (%v)", programs, err)
		}
	}
	if programs != 2 {
		t.Errorf("README.md has %d Go programs, want 2", programs)
	}
}

// TestReadmeTables sees to it that no flag of serve and no exit code is left
// out, and that none is there that does not exist.
func TestReadmeTables(t *testing.T) {
	text, _ := readme(t, "Configuration")
	parser, err := newParser(&environment{flags: newSources(func(string) string { return "" })})
	if err != nil {
		t.Fatal(err)
	}
	var flags, shown []string
	for _, command := range parser.Model.Children {
		if command.Name != "serve" {
			continue
		}
		for _, flag := range command.Flags {
			flags = append(flags, flag.Name)
		}
	}
	table, _, _ := strings.Cut(text, "| exit code |")
	for line := range strings.Lines(table) {
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		for _, m := range regexp.MustCompile("`--([a-z-]+)`").FindAllStringSubmatch(first, -1) {
			if strings.HasPrefix(line, "| ") {
				shown = append(shown, m[1])
			}
		}
	}
	slices.Sort(flags)
	slices.Sort(shown)
	if diff := cmp.Diff(flags, shown); diff != "" {
		t.Errorf("flags of serve (-) and those in README.md (+):\n%s", diff)
	}

	codes := regexp.MustCompile(`(?m)^\| (\d+) \| (.*) \|$`).FindAllStringSubmatch(text, -1)
	inHelp := regexp.MustCompile(`(?m)^ +(\d+)  (.*)$`).FindAllStringSubmatch(appHelp, -1)
	strip := func(rows [][]string) (out []string) {
		for _, row := range rows {
			out = append(out, row[1]+" "+row[2])
		}
		return out
	}
	if diff := cmp.Diff(strip(inHelp), strip(codes)); diff != "" {
		t.Errorf("exit codes in --help (-) and in README.md (+):\n%s", diff)
	}
}
