package jsonscan

import (
	"bytes"
	"encoding/json"
)

// Split splits an array that was checked before: it finds where elements end
// and does not look at them otherwise. The elements alias data, without the
// white space around them; they are as good as data is. What is no array is
// an error. It allocates the slice and nothing else.
func Split(data []byte) ([]json.RawMessage, error) {
	i := spaceAt(data, 0)
	if i >= len(data) || data[i] != '[' {
		return nil, failure{i, "an array was expected"}.err()
	}
	if i = spaceAt(data, i+1); i < len(data) && data[i] == ']' {
		return []json.RawMessage{}, nil
	}
	return elements(data, i)
}

// SplitFrom splits what follows one of the elements of an array: data[i] is
// the first byte after the element. The terms are those of Split.
func SplitFrom(data []byte, i int) ([]json.RawMessage, error) {
	i = spaceAt(data, i)
	switch {
	case i < len(data) && data[i] == ']':
		return []json.RawMessage{}, nil
	case i < len(data) && data[i] == ',':
		return elements(data, spaceAt(data, i+1))
	}
	return nil, failure{i, "',' or ']' was expected"}.err()
}

// fewElements is up to how many elements are found before the slice is made.
// Most arrays have no more, and are gone through once; of others the rest is
// counted.
const fewElements = 8

// elements splits the rest of an array, which has at least one element more:
// it begins at data[i].
func elements(data []byte, i int) ([]json.RawMessage, error) {
	var (
		few    [fewElements]struct{ start, end int }
		n      int
		values []json.RawMessage // nil while few is enough
	)
	for i < len(data) {
		end := Skip(data, i)
		if end <= i {
			return nil, failure{i, "a value was expected"}.err()
		}
		if n < fewElements {
			few[n].start, few[n].end = i, end
		} else {
			if values == nil {
				values = make([]json.RawMessage, 0, n+count(data, i))
				for _, e := range few {
					values = append(values, data[e.start:e.end:e.end])
				}
			}
			values = append(values, data[i:end:end])
		}
		n++
		if i = spaceAt(data, end); i >= len(data) {
			break
		}
		switch data[i] {
		case ',':
			i = spaceAt(data, i+1)
		case ']':
			if values == nil {
				values = make([]json.RawMessage, 0, n)
				for _, e := range few[:n] {
					values = append(values, data[e.start:e.end:e.end])
				}
			}
			return values, nil
		default:
			return nil, failure{i, "',' or ']' was expected"}.err()
		}
	}
	return nil, failure{len(data), "the text ends early"}.err()
}

// count returns how many elements an array still has from data[i] on, where
// one begins. It is a guess where the array is not valid.
func count(data []byte, i int) int {
	n := 1
	for i < len(data) {
		end := Skip(data, i)
		if end <= i {
			break
		}
		if i = spaceAt(data, end); i >= len(data) || data[i] != ',' {
			break
		}
		n++
		i = spaceAt(data, i+1)
	}
	return n
}

// Skip returns the index after the value that begins at data[i], or -1 if the
// text ends before it does. The value must have been checked before.
func Skip(data []byte, i int) int {
	if i >= len(data) {
		return -1
	}
	switch data[i] {
	case '"':
		return skipString(data, i)
	case '{', '[':
		return skipNested(data, i)
	}
	for i < len(data) && !isSpace(data[i]) && data[i] != ',' && data[i] != ']' && data[i] != '}' && data[i] != ':' {
		i++
	}
	return i
}

// skipNested is Skip for the array or object that begins at data[i].
func skipNested(data []byte, i int) int {
	depth := 0
	for i < len(data) {
		// Brackets of both kinds differ in one bit of the higher half; the
		// text was checked, so there is no need to tell the kinds apart.
		switch data[i] | 0x20 {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			end := skipString(data, i)
			if end < 0 {
				return -1
			}
			i = end
			continue
		}
		i++
	}
	return -1
}

// shortString is how far skipString looks by itself before it asks for help,
// which pays for long strings alone.
const shortString = 16

// skipString returns the index after the string that begins at data[i], or -1.
func skipString(data []byte, i int) int {
	i++
	for end := min(i+shortString, len(data)); i < end; i++ {
		switch data[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
	for i < len(data) {
		n := bytes.IndexByte(data[i:], '"')
		if n < 0 {
			return -1
		}
		start := i
		i += n + 1
		// The mark ends the string unless an odd number of backslashes is before it.
		j := i - 1
		for j > start && data[j-1] == '\\' {
			j--
		}
		if (i-1-j)%2 == 0 {
			return i
		}
	}
	return -1
}

func spaceAt(data []byte, i int) int {
	for i < len(data) && isSpace(data[i]) {
		i++
	}
	return i
}
