package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// sources gives flags that are not on the command line their values: from
// HOLDFAST_* variables, else from the config file. It remembers where each
// value came from.
type sources struct {
	getenv func(string) string
	path   string // of the config file; "" for none
	file   map[string]any
	origin map[*kong.Flag]string
}

func newSources(getenv func(string) string) *sources {
	return &sources{getenv: getenv, origin: make(map[*kong.Flag]string)}
}

// envName is the variable of a flag: --jwt-secret is HOLDFAST_JWT_SECRET.
func envName(flag string) string {
	return "HOLDFAST_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// keyName is a flag's key in the config file: --jwt-secret is jwt_secret.
func keyName(flag string) string { return strings.ReplaceAll(flag, "-", "_") }

// own are flags that only make sense on the command line.
func own(flag *kong.Flag) bool { return flag.Name == "help" || flag.Name == "config" }

// load runs before flags are resolved: it notes which of them are on the
// command line, reads the config file, and has kong ask for the others.
func (s *sources) load(ctx *kong.Context) error {
	for _, at := range ctx.Path {
		if at.Flag == nil {
			continue
		}
		s.origin[at.Flag] = "--" + at.Flag.Name
		if at.Flag.Name == "config" {
			s.path, _ = ctx.FlagValue(at.Flag).(string)
		}
	}
	if s.path == "" {
		s.path = s.getenv(envName("config"))
	}
	if s.path != "" {
		var err error
		if s.file, err = readConfig(s.path, flagsByKey(ctx.Model.Node)); err != nil {
			return fmt.Errorf("config file %s: %w", s.path, err)
		}
	}
	ctx.AddResolver(s)
	return nil
}

// Validate implements kong.Resolver; load has checked everything.
func (s *sources) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver. An empty variable counts as unset.
func (s *sources) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if own(flag) {
		return nil, nil
	}
	var value any
	var origin string
	if text := s.getenv(envName(flag.Name)); text != "" {
		value, origin = text, "$"+envName(flag.Name)
	} else if inFile, ok := s.file[keyName(flag.Name)]; ok {
		value, origin = inFile, s.path
	} else {
		return nil, nil
	}
	// kong decodes it once more, but would not say where it came from.
	trial := reflect.New(flag.Target.Type()).Elem()
	scan := kong.Scan().PushTyped(value, kong.FlagValueToken)
	if err := flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, trial); err != nil {
		if flag.Tag.Has("secret") {
			err = errors.New("not a valid value") // the cause may quote it
		}
		return nil, fmt.Errorf("from %s: %w", origin, err)
	}
	s.origin[flag] = origin
	return value, nil
}

// of returns where the flag of this name got its value on the present command
// line: "" if it has its default.
func (s *sources) of(name string) string {
	for flag, origin := range s.origin {
		if flag.Name == name {
			return origin
		}
	}
	return ""
}

// flagsByKey lists the flags of all commands by their keys in the config file.
func flagsByKey(root *kong.Node) map[string]*kong.Flag {
	byKey := make(map[string]*kong.Flag)
	var walk func(*kong.Node)
	walk = func(n *kong.Node) {
		for _, flag := range n.Flags {
			if !own(flag) {
				byKey[keyName(flag.Name)] = flag
			}
		}
		for _, child := range n.Children {
			walk(child)
		}
	}
	walk(root)
	return byKey
}

// readConfig reads a config file: one JSON object from flags to values, which
// are strings, numbers, booleans or, for flags that repeat, lists of strings.
func readConfig(path string, flags map[string]*kong.Flag) (map[string]any, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, reason(err)
	}
	if err := jsonscan.Check(data, jsonscan.Limits{UniqueKeys: true}); err != nil {
		return nil, fmt.Errorf("it must be one JSON object: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil || object == nil {
		return nil, errors.New(`it must be one JSON object, such as {"addr": "127.0.0.1:8080"}`)
	}
	values := make(map[string]any, len(object))
	for _, key := range slices.Sorted(maps.Keys(object)) {
		known := strings.ReplaceAll(key, "-", "_")
		flag, ok := flags[known]
		if !ok {
			return nil, fmt.Errorf("there is no key %q; did you mean %q?", key, nearest(known, slices.Sorted(maps.Keys(flags))))
		}
		if _, twice := values[known]; twice {
			return nil, fmt.Errorf("%q is there twice, with '-' and with '_'", key)
		}
		value, err := configValue(object[key], flag)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", key, err)
		}
		if value != nil {
			values[known] = value
		}
	}
	return values, nil
}

// configValue brings a JSON value into the form that flags are parsed from.
func configValue(value any, flag *kong.Flag) (any, error) {
	switch v := value.(type) {
	case nil:
		return nil, nil // as if it were not there
	case string:
		if flag.IsSlice() {
			return []any{v}, nil
		}
		return v, nil
	case bool:
		if flag.IsBool() {
			return v, nil
		}
	case json.Number:
		if !flag.IsSlice() && !flag.IsBool() {
			return v.String(), nil
		}
	case []any:
		if !flag.IsSlice() {
			return nil, errors.New("it takes one value, not a list")
		}
		for _, item := range v {
			if _, ok := item.(string); !ok {
				return nil, errors.New("it must be a list of strings")
			}
		}
		return v, nil
	}
	switch {
	case flag.IsBool():
		return nil, errors.New("it must be true or false")
	case flag.IsSlice():
		return nil, errors.New("it must be a list of strings")
	}
	return nil, errors.New("it must be a string")
}

// nearest returns the name that takes the fewest edits to get to.
func nearest(name string, names []string) string {
	best, bestAt := "", 0
	for _, candidate := range names {
		if d := distance(name, candidate); best == "" || d < bestAt {
			best, bestAt = candidate, d
		}
	}
	return best
}

// distance is the Levenshtein distance of two names, by bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, cost)
		}
	}
	return row[len(b)]
}
