package transport

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

// chunks is a source that returns at most size() bytes at a time.
type chunks struct {
	r    io.Reader
	size func() int
}

func (s chunks) fill(rd *reader) (int, error) {
	rd.in.Idle()
	room := rd.in.Room()
	return s.r.Read(room[:min(s.size(), len(room))])
}

func upTo(n int) func() int { return func() int { return n } }

// readAll writes down what a reader makes of its bytes.
func readAll(src source, limit int, pack *deflater) (events []string) {
	rd := &reader{src: src, in: wsframe.Buffer{Pool: new(wsframe.Buffers)}, limit: limit, pack: pack}
	for {
		op, body, err := rd.next()
		if err != nil {
			var fe *frameError
			if errors.As(err, &fe) {
				return append(events, fmt.Sprint("error ", fe.code))
			}
			return append(events, err.Error())
		}
		events = append(events, fmt.Sprintf("%x %x", op, body))
		if op == ws.OpText && !utf8.Valid(body) {
			events = append(events, "TEXT IS NOT UTF-8")
		}
		if len(body) > limit && op.IsData() || op.IsControl() && len(body) > 125 {
			events = append(events, "TOO LARGE")
		}
	}
}

// addFrames adds seeds: the cases of both RFCs that are short.
func addFrames(f *testing.F) {
	for _, r := range slices.Concat(rules(), packedRules()) {
		if len(r.send) < 300 {
			f.Add(r.send)
		}
	}
}

// diceOf makes dice that an input throws the same way each time.
func diceOf(data []byte) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write(data)
	return rand.New(rand.NewPCG(h.Sum64(), 1))
}

// FuzzReader: no input is read otherwise than by the model, in whatever pieces it
// comes, with compression and without; and none may get around a limit.
func FuzzReader(f *testing.F) {
	addFrames(f)
	const limit = 1000
	inflating := newDeflater(0)
	f.Fuzz(func(t *testing.T, data []byte) {
		dice := diceOf(data)
		for _, pack := range []*deflater{nil, inflating} {
			want := (&model{limit: limit, deflate: pack != nil}).read(data)
			for name, size := range map[string]func() int{
				"whole": upTo(1 << 20), "1": upTo(1), "2": upTo(2), "7": upTo(7), "100": upTo(100),
				"any": func() int { return 1 + dice.IntN(40) },
			} {
				got := readAll(chunks{bytes.NewReader(data), size}, limit, pack)
				if !slices.Equal(got, want) {
					t.Fatalf("in pieces of %s, compression %v: %v\nthe model: %v", name, pack != nil, got, want)
				}
			}
		}
	})
}

// A header alone must not make the reader take memory for what it announces.
func TestReaderGrowsByWhatArrives(t *testing.T) {
	data := append(header(fBinary, 127, 900_000_000), make([]byte, 10_000)...)
	rd := &reader{src: chunks{bytes.NewReader(data), upTo(4096)}, in: wsframe.Buffer{Pool: new(wsframe.Buffers)}, limit: 1_000_000_000}
	if _, _, err := rd.next(); err != io.EOF {
		t.Fatal(err)
	}
	if rd.in.Lent() > wsframe.LargeBuffer {
		t.Errorf("buffer of %d bytes", rd.in.Lent())
	}
}

func TestReaderGivesBufferBack(t *testing.T) {
	for _, n := range []int{0, 100, 5000, 70_000, 300_000} {
		data := cat(frame(fBinary, string(make([]byte, n))), frame(fText, "4x"))
		rd := &reader{src: chunks{bytes.NewReader(data), upTo(4096)}, in: wsframe.Buffer{Pool: new(wsframe.Buffers)}, limit: 1_000_000}
		for range 2 {
			if _, _, err := rd.next(); err != nil {
				t.Fatal(err)
			}
		}
		if rd.in.Idle(); rd.in.Lent() > 0 || rd.msg != nil {
			t.Errorf("after a message of %d bytes, %d and %d are kept", n, rd.in.Lent(), len(rd.msg))
		}
	}
}
