package auth

import (
	"encoding/json"
	"iter"

	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// members yields the keys and values of a JSON object, in order and with
// every repetition. The object must have been checked before; of anything
// that is no object it yields nothing. Values alias object.
func members(object []byte) iter.Seq2[string, json.RawMessage] {
	return func(yield func(string, json.RawMessage) bool) {
		i := skipSpace(object, 0)
		if i >= len(object) || object[i] != '{' {
			return
		}
		for i++; ; i++ { // past the brace, and past each comma
			i = skipSpace(object, i)
			if i >= len(object) || object[i] != '"' {
				return
			}
			end := jsonscan.Skip(object, i)
			if end < 0 {
				return
			}
			key := string(jsonscan.Unquote(object[i:end]))
			i = skipSpace(object, skipSpace(object, end)+1) // past the colon
			if end = jsonscan.Skip(object, i); end < 0 {
				return
			}
			if !yield(key, object[i:end:end]) {
				return
			}
			if i = skipSpace(object, end); i >= len(object) || object[i] != ',' {
				return
			}
		}
	}
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r') {
		i++
	}
	return i
}
