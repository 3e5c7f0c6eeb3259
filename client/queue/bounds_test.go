package queue

import (
	"encoding/binary"
	"errors"
	"os"
	"strings"
	"testing"
)

// What fits exactly is kept.
func TestRoom(t *testing.T) {
	sized := func(n int) Item {
		i := Item{Event: "e"}
		i.Args = []byte(strings.Repeat("1", n-i.size()))
		return i
	}
	var three state
	for _, id := range []string{"a", "b", "c"} {
		i := sized(29)
		i.ID = id
		three.add(i)
	}
	for name, test := range map[string]struct {
		state  state
		size   int
		limits Limits
		n      int
		ok     bool
	}{
		"empty, all of it":     {state{}, 100, Limits{Items: 3, Bytes: 100}, 0, true},
		"empty, 1 over":        {state{}, 101, Limits{Items: 3, Bytes: 100}, 0, false},
		"the last bytes":       {three, 10, Limits{Items: 9, Bytes: 100}, 0, true},
		"1 byte over":          {three, 11, Limits{Items: 9, Bytes: 100}, 1, false},
		"1 byte over, drop":    {three, 11, Limits{Items: 9, Bytes: 100, DropOldest: true}, 1, true},
		"drop two":             {three, 41, Limits{Items: 9, Bytes: 100, DropOldest: true}, 2, true},
		"drop all":             {three, 100, Limits{Items: 9, Bytes: 100, DropOldest: true}, 3, true},
		"the last item":        {three, 10, Limits{Items: 4, Bytes: 100}, 0, true},
		"1 item over":          {three, 10, Limits{Items: 3, Bytes: 100}, 1, false},
		"1 item over, drop":    {three, 10, Limits{Items: 3, Bytes: 100, DropOldest: true}, 1, true},
		"1 over, drop in vain": {three, 101, Limits{Items: 3, Bytes: 100, DropOldest: true}, 0, false},
	} {
		i := sized(test.size)
		if n, ok := test.state.room(&i, test.limits); n != test.n || ok != test.ok {
			t.Errorf("%s: %d, %v", name, n, ok)
		}
	}
}

// The largest record that is written, and one that is a byte over.
func TestLargestRecord(t *testing.T) {
	sized := func(size, more int) ([]byte, error) {
		i := Item{Event: strings.Repeat("x", more), Attachments: [][]byte{make([]byte, size)}}
		return appendRecord(nil, &record{Add: &i})
	}
	small, err := sized(3, 0)
	if err != nil {
		t.Fatal(err)
	}
	room := maxRecord - (len(small) - frameSize - 4) // for base64
	data, err := sized(room/4*3, room%4)
	if err != nil || len(data) != frameSize+maxRecord {
		t.Error(len(data), err)
	}
	if _, err := sized(room/4*3, room%4+1); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
}

// What is cut off is told from what is damaged.
func TestNextRecord(t *testing.T) {
	whole, err := appendRecord(nil, &record{Remove: "a"})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		data []byte
		n    int
		err  error
	}{
		"nothing":        {nil, 0, nil},
		"half a frame":   {whole[:frameSize-1], 0, nil},
		"a frame":        {whole[:frameSize], 0, nil},
		"all but 1 byte": {whole[:len(whole)-1], 0, nil},
		"whole":          {whole, len(whole), nil},
		"and more":       {append(whole[:len(whole):len(whole)], 1), len(whole), nil},
		"zeroes":         {make([]byte, frameSize), 0, errDamaged},
		"too large":      {binary.LittleEndian.AppendUint64(nil, maxRecord+1), 0, errDamaged},
		"as can be":      {binary.LittleEndian.AppendUint64(nil, maxRecord), 0, nil},
	} {
		if _, n, err := nextRecord(test.data); n != test.n || err != test.err {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}

// The file is written anew as soon as it is large enough, and four times what is
// in it.
func TestCompactsAt(t *testing.T) {
	for name, live := range map[string]int{"large enough": 0, "four times": 100_000} {
		for short, anew := range map[int64]bool{1: false, 0: true} {
			q := open(t, t.TempDir(), Limits{})
			size := int64(compactAt)
			if live > 0 {
				i := item("ann", "a")
				i.Attachments = [][]byte{make([]byte, live)}
				if err := q.Add(t.Context(), i); err != nil {
					t.Fatal(err)
				}
				size = 4 * int64(i.size())
			}
			before, err := os.Stat(q.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := q.locked(t.Context(), func(file *os.File) error {
				pad := size - short - q.offset - int64(frameSize+len(`{"remove":""}`))
				return q.append(file, []record{{Remove: strings.Repeat("x", int(pad))}}, false)
			}); err != nil {
				t.Fatal(err)
			}
			after, err := os.Stat(q.path)
			if err != nil || os.SameFile(before, after) == anew || !anew && after.Size() != size-short {
				t.Errorf("%s, but for %d: %d bytes, then %d; %v", name, short, before.Size(), after.Size(), err)
			}
		}
	}
}

// A file without news is not read anew, and wakes nobody.
func TestNoNews(t *testing.T) {
	q := open(t, t.TempDir(), Limits{})
	put(t, q, "a")
	q.mu.Lock()
	change := q.change
	q.mu.Unlock()
	if err := q.locked(t.Context(), func(*os.File) error { return nil }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-change:
		t.Error("woken")
	default:
	}
}
