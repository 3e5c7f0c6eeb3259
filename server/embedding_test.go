package server_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var indent = regexp.MustCompile(`(?m)^\t+`)

// The code on docs/embedding.md is that of the examples, line for line.
func TestEmbeddingPage(t *testing.T) {
	read := func(name string) string {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return indent.ReplaceAllString(string(data), "")
	}
	page, examples := read("../docs/embedding.md"), read("example_hooks_test.go")
	blocks := strings.Split(page, "```go\n")[1:]
	if len(blocks) < 5 {
		t.Errorf("found %d blocks of code", len(blocks))
	}
	for _, block := range blocks {
		code, _, _ := strings.Cut(block, "```")
		if !strings.Contains(examples, code) {
			t.Errorf("in no example:\n%s", code)
		}
	}
}
