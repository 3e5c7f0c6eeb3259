package jsonws

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

var errTwice = errors.New("a key is there twice")

// members are the members of a message that mean something. It is filled from
// text that jsonscan has checked, and so never looks beyond its end.
type members struct {
	data   []byte
	values [fields]json.RawMessage // alias data; nil where there is none
}

// get returns a value; nil if it is absent or null.
func (in *members) get(f field) json.RawMessage {
	if v := in.values[f]; string(v) != "null" {
		return v
	}
	return nil
}

// find goes through the object at data[i], and returns false if a key is there
// twice, in it or anywhere inside.
func (in *members) find(i int) bool {
	var keys keySet
	var seen [fields]bool
	for i = first(in.data, i); i >= 0; {
		quoted, at := member(in.data, i)
		key := jsonscan.Unquote(quoted)
		f, exact := fieldOf(key)
		if f < fields {
			if seen[f] {
				return false
			}
			seen[f] = true
		} else if !keys.add(key) {
			return false
		}
		end := unique(in.data, at)
		if end < 0 {
			return false
		}
		if exact {
			in.values[f] = in.data[at:end:end]
		}
		i = next(in.data, end)
	}
	return true
}

// fieldOf returns the field that key names, exactly or in another case; fields
// if it is of no meaning.
func fieldOf(key []byte) (f field, exact bool) {
	for f, name := range fieldNames {
		if string(key) == name {
			return field(f), true
		}
	}
	for f, name := range fieldNames {
		if bytes.EqualFold(key, []byte(name)) {
			return field(f), false
		}
	}
	return fields, false
}

// unique returns the index after the value at data[i], or -1 if an object in
// it has a key twice.
func unique(data []byte, i int) int {
	if data[i] != '{' && data[i] != '[' {
		return jsonscan.Skip(data, i)
	}
	var keys keySet
	object := data[i] == '{'
	at := first(data, i)
	if at < 0 {
		return jsonscan.Skip(data, i)
	}
	for {
		if object {
			var key []byte
			if key, at = member(data, at); !keys.add(jsonscan.Unquote(key)) {
				return -1
			}
		}
		end := unique(data, at)
		if end < 0 {
			return -1
		}
		if at = next(data, end); at < 0 {
			return space(data, end) + 1
		}
	}
}

// fewKeys is up to how many keys are compared one by one: most objects have no
// more, and need no map.
const fewKeys = 8

// keySet holds keys of one object.
type keySet struct {
	few  [fewKeys][]byte
	n    int
	more map[string]struct{} // all of them, once they are more than few
}

// add adds a key and reports whether it is new.
func (k *keySet) add(key []byte) bool {
	if k.more != nil {
		if _, there := k.more[string(key)]; there {
			return false
		}
		k.more[string(key)] = struct{}{}
		return true
	}
	for _, other := range k.few[:k.n] {
		if bytes.Equal(other, key) {
			return false
		}
	}
	if k.n < fewKeys {
		k.few[k.n] = key
		k.n++
		return true
	}
	k.more = make(map[string]struct{}, 4*fewKeys)
	for _, other := range k.few {
		k.more[string(other)] = struct{}{}
	}
	k.more[string(key)] = struct{}{}
	return true
}

// What follows steps through checked text.

// first returns where the first member or element of the object or array at
// data[i] begins; -1 if it is empty.
func first(data []byte, i int) int {
	if i = space(data, i+1); data[i] == '}' || data[i] == ']' {
		return -1
	}
	return i
}

// member returns the key of the member at data[i], quoted, and where its value
// begins.
func member(data []byte, i int) (key []byte, value int) {
	end := jsonscan.Skip(data, i)
	return data[i:end], space(data, space(data, end)+1)
}

// next returns where the member or element begins that follows the one that
// ends before data[end]; -1 if that was the last.
func next(data []byte, end int) int {
	if end = space(data, end); data[end] == ',' {
		return space(data, end+1)
	}
	return -1
}

func space(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
		i++
	}
	return i
}
