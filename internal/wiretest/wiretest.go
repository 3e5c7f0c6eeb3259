// Package wiretest reads the golden transcripts of testdata/wire, whose
// README.md describes the format, for the tests of the codecs.
package wiretest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Case is one case of a transcript.
type Case struct {
	// Name is unique within its file.
	Name string
	// Place is file:line, for messages.
	Place string
	// Fields are the lines after the first one, in order.
	Fields []Field
}

// Field is one line "key: value" of a case.
type Field struct {
	// Key is without the suffix -json or -hex.
	Key string
	// Value is decoded as the suffix said: verbatim text, the text of a JSON
	// string, or bytes in hexadecimal.
	Value string
}

// Get returns the value of the only field of that key, and whether there is one.
func (c Case) Get(key string) (string, bool) {
	for _, f := range c.Fields {
		if f.Key == key {
			return f.Value, true
		}
	}
	return "", false
}

// All returns the values of all fields of that key.
func (c Case) All(key string) []string {
	var values []string
	for _, f := range c.Fields {
		if f.Key == key {
			values = append(values, f.Value)
		}
	}
	return values
}

// Load reads all transcripts dir/*.txt. It fails the test if there is none,
// or one is not well-formed.
func Load(t testing.TB, dir string) []Case {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in %s: %v", dir, err)
	}
	var cases []Case
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		more, err := parse(filepath.Base(file), string(data))
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, more...)
	}
	return cases
}

func parse(file, text string) ([]Case, error) {
	var (
		cases []Case
		names = map[string]bool{}
	)
	open := false
	for i, line := range strings.Split(text, "\n") {
		place := fmt.Sprintf("%s:%d", file, i+1)
		if line == "" {
			open = false
			continue
		}
		if line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("%s: not \"key: value\"", place)
		}
		value = strings.TrimPrefix(value, " ")
		if key == "case" {
			if open || names[value] {
				return nil, fmt.Errorf("%s: case without a blank line before it, or of a name that is there already", place)
			}
			open, names[value] = true, true
			cases = append(cases, Case{Name: value, Place: place})
			continue
		}
		if !open {
			return nil, fmt.Errorf("%s: field outside a case", place)
		}
		field, err := decode(key, value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		last := &cases[len(cases)-1]
		last.Fields = append(last.Fields, field)
	}
	return cases, nil
}

func decode(key, value string) (Field, error) {
	if name, ok := strings.CutSuffix(key, "-json"); ok {
		var text string
		err := json.Unmarshal([]byte(value), &text)
		return Field{name, text}, err
	}
	if name, ok := strings.CutSuffix(key, "-hex"); ok {
		data, err := hex.DecodeString(strings.ReplaceAll(value, " ", ""))
		return Field{name, string(data)}, err
	}
	return Field{key, value}, nil
}
