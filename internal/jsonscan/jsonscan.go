// Package jsonscan checks and splits JSON text in one pass, without
// reflection and without building values.
//
// It is stricter than encoding/json: text must be UTF-8 throughout, nesting
// is bounded, and on request the keys of an object must differ even when
// their case is ignored, since encoding/json would let one shadow another.
//
// All functions are safe for concurrent use. Every error is a
// *holdfast.Error with code InvalidArgument; its message holds a byte offset
// and never any of the text.
package jsonscan

import (
	"encoding/json"

	"github.com/holdfast-dev/holdfast"
)

// DefaultDepth is how deep values may nest where Limits say nothing: an array
// or object inside 31 others is the deepest.
const DefaultDepth = 32

// maxDepth bounds what a caller may ask for, since the scanner recurses.
const maxDepth = 10_000

// Limits says what Check lets through beyond the grammar of RFC 8259.
type Limits struct {
	// Depth is how many arrays and objects may be open at once; 0 means
	// DefaultDepth, and no more than 10,000 are ever allowed. "[]" has depth
	// 1, a string or number 0.
	Depth int
	// UniqueKeys refuses objects in which two keys are the same, or differ
	// in case alone (as encoding/json folds case).
	UniqueKeys bool
}

// Check returns an error unless data is one JSON value, with nothing but
// white space around it, in valid UTF-8 and within limits.
func Check(data []byte, limits Limits) error {
	s := scanner{data: data, depth: clampDepth(limits.Depth), unique: limits.UniqueKeys}
	i := s.space(0)
	if i = s.value(i, 0); i < 0 {
		return s.err()
	}
	if i = s.space(i); i < len(data) {
		s.stop(i, "unexpected text after the JSON value")
		return s.err()
	}
	return nil
}

// Array checks data as Check does, with the given depth, and splits it: it
// must be an array. The elements alias data, without the white space around
// them. An empty array gives an empty, non-nil slice.
func Array(data []byte, depth int) ([]json.RawMessage, error) {
	if err := Check(data, Limits{Depth: depth}); err != nil {
		return nil, err
	}
	return Split(data)
}

func clampDepth(depth int) int {
	switch {
	case depth <= 0:
		return DefaultDepth
	case depth > maxDepth:
		return maxDepth
	}
	return depth
}

// failure is where and why scanning stopped.
type failure struct {
	at     int
	reason string
}

func (f failure) err() error {
	return holdfast.Errorf(holdfast.InvalidArgument, "invalid JSON at byte %d: %s", f.at, f.reason)
}
