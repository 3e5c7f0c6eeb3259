package jsonscan

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// fewKeys is up to how many keys are compared one by one: most objects have
// no more, and need no map.
const fewKeys = 8

// keySet holds the keys of one object in folded form.
type keySet struct {
	list [][]byte
	more map[string]struct{}
}

// add adds the key whose quoted text is given and reports whether it is new.
func (k *keySet) add(quoted []byte) bool {
	key := fold(Unquote(quoted))
	if k.more != nil {
		if _, there := k.more[string(key)]; there {
			return false
		}
		k.more[string(key)] = struct{}{}
		return true
	}
	for _, other := range k.list {
		if bytes.Equal(other, key) {
			return false
		}
	}
	k.list = append(k.list, key)
	if len(k.list) > fewKeys {
		k.more = make(map[string]struct{}, 4*fewKeys)
		for _, other := range k.list {
			k.more[string(other)] = struct{}{}
		}
		k.list = nil
	}
	return true
}

// fold maps all spellings that encoding/json takes for the same field name to
// one: every character becomes the smallest of those it folds with.
func fold(key []byte) []byte {
	out := make([]byte, 0, len(key))
	for len(key) > 0 {
		r, size := utf8.DecodeRune(key)
		key = key[size:]
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				r = next // the folding goes round to the smallest
				break
			}
			r = next
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}
