package socketio

import (
	"bytes"
	"slices"

	"github.com/holdfast-dev/holdfast/internal/jsonscan"
)

// CheckPlaceholders checks the placeholders of a payload, or a part of one,
// that comes with n attachments: every object that has "_placeholder":true
// must be {"_placeholder":true,"num":N} and nothing else, N an integer below
// n, and each attachment must be used exactly once. data must be valid JSON.
// What stands where an event's name should be is refused by the Decoder.
//
// Without attachments nothing is a placeholder, so a payload of a packet that
// is not binary must not be given to this function.
func CheckPlaceholders(data []byte, n int) error {
	n = max(n, 0)
	used := newUses(n)
	if err := used.count(data); err != nil {
		return err
	}
	return used.complete()
}

// uses tells which of n attachments placeholders use.
type uses struct {
	n, found int
	few      uint64 // one bit for each of the first 64
	many     []bool // for the others
}

func newUses(n int) uses {
	u := uses{n: n}
	if n > 64 {
		u.many = make([]bool, n-64)
	}
	return u
}

// count takes the placeholders of data into account.
func (u *uses) count(data []byte) error {
	var few [MaxAttachments]placeholder
	w := walker{data: data, found: few[:0], most: u.n - u.found}
	if err := w.walk(); err != nil {
		return err
	}
	for i := range w.found {
		num := w.found[i].num
		if num >= u.n {
			return protocolError("placeholder of an attachment that is not there")
		}
		var before bool
		if num < 64 {
			before = u.few>>num&1 == 1
			u.few |= 1 << num
		} else {
			before = u.many[num-64]
			u.many[num-64] = true
		}
		if before {
			return protocolError("attachment used twice")
		}
		u.found++
	}
	return nil
}

// complete returns an error if an attachment was not used.
func (u *uses) complete() error {
	if u.found < u.n {
		return protocolError("attachment not used")
	}
	return nil
}

// placeholder is one that was found.
type placeholder struct {
	start, end int // where it stands in the text
	num        int
	path       []step // how to get there, if that was wanted
}

// step is one step into a value: to a member of an object by its quoted key,
// or to an element of an array, where key is nil.
type step struct{ key []byte }

// walker finds the placeholders of checked JSON. Its methods return the index
// after what they went through, or -1 to stop; on text that was not checked
// they go astray, but come to an end.
type walker struct {
	data  []byte
	most  int  // more placeholders than that are an error
	paths bool // note how to get to them

	found []placeholder // in the order of the text
	path  []step        // only with paths
	err   error
}

// walk fills found.
func (w *walker) walk() error {
	if !bytes.Contains(w.data, []byte("_placeholder")) && bytes.IndexByte(w.data, '\\') < 0 {
		return nil
	}
	if w.value(space(w.data, 0), 0) < 0 {
		if w.err == nil {
			w.err = protocolError("payload: invalid JSON")
		}
		return w.err
	}
	return nil
}

// walkDepth bounds recursion for callers who did not check their text.
const walkDepth = 10_000

func (w *walker) value(i, open int) int {
	if i >= len(w.data) || open > walkDepth {
		return -1
	}
	switch w.data[i] {
	case '{':
		return w.object(i, open+1)
	case '[':
		return w.array(i, open+1)
	}
	if end := jsonscan.Skip(w.data, i); end > i {
		return end
	}
	return -1
}

func (w *walker) array(i, open int) int {
	if i = space(w.data, i+1); i < len(w.data) && w.data[i] == ']' {
		return i + 1
	}
	w.enter()
	for {
		if i = w.value(i, open); i < 0 {
			return -1
		}
		i = space(w.data, i)
		switch {
		case i < len(w.data) && w.data[i] == ',':
			i = space(w.data, i+1)
		case i < len(w.data) && w.data[i] == ']':
			w.leave()
			return i + 1
		default:
			return -1
		}
	}
}

func (w *walker) object(start, open int) int {
	i := space(w.data, start+1)
	if i < len(w.data) && w.data[i] == '}' {
		return i + 1
	}
	var (
		members int
		marked  bool   // has "_placeholder":true
		num     []byte // text of the last member "num"
	)
	w.enter()
	for {
		if i >= len(w.data) || w.data[i] != '"' {
			return -1
		}
		end := jsonscan.Skip(w.data, i)
		if end < 0 {
			return -1
		}
		key := w.data[i:end]
		if i = space(w.data, end); i >= len(w.data) || w.data[i] != ':' {
			return -1
		}
		i = space(w.data, i+1)
		if w.paths {
			w.path[len(w.path)-1].key = key
		}
		if end = w.value(i, open); end < 0 {
			return -1
		}
		members++
		switch {
		case jsonscan.KeyIs(key, "_placeholder"):
			marked = marked || string(w.data[i:end]) == "true"
		case jsonscan.KeyIs(key, "num"):
			num = w.data[i:end]
		}
		i = space(w.data, end)
		switch {
		case i < len(w.data) && w.data[i] == ',':
			i = space(w.data, i+1)
		case i < len(w.data) && w.data[i] == '}':
			w.leave()
			if marked && !w.placeholder(start, i+1, members, num) {
				return -1
			}
			return i + 1
		default:
			return -1
		}
	}
}

// enter and leave keep the path.
func (w *walker) enter() {
	if w.paths {
		w.path = append(w.path, step{})
	}
}

func (w *walker) leave() {
	if w.paths {
		w.path = w.path[:len(w.path)-1]
	}
}

// placeholder notes one, if it is well-formed, and reports whether to go on.
func (w *walker) placeholder(start, end, members int, num []byte) bool {
	value, size := digits(num)
	switch {
	case members != 2 || size == 0 || size != len(num):
		w.err = protocolError("malformed placeholder")
		return false
	case len(w.found) >= w.most:
		w.err = protocolError("more placeholders than attachments")
		return false
	}
	// Attachments are few: a num that does not fit int32 is of none.
	p := placeholder{start: start, end: end, num: int(min(value, 1<<31-1))}
	if w.paths {
		p.path = slices.Clone(w.path)
	}
	w.found = append(w.found, p)
	return true
}
