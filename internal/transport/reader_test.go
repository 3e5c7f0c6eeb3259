package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// chunks is a source that returns at most n bytes at a time.
type chunks struct {
	r io.Reader
	n int
}

func (s chunks) fill(rd *reader) (int, error) {
	rd.idle()
	room := rd.room()
	return s.r.Read(room[:min(s.n, len(room))])
}

// readAll writes down what a reader makes of bytes.
func readAll(data []byte, chunk, limit int, pack *deflater) (events []string) {
	rd := &reader{src: chunks{bytes.NewReader(data), chunk}, pool: new(buffers), limit: limit, pack: pack}
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

// FuzzReader: no input may panic, get around a limit, or be read otherwise when
// it comes in other pieces.
func FuzzReader(f *testing.F) {
	for _, r := range rules() {
		if len(r.send) < 300 {
			f.Add(r.send)
		}
	}
	for _, r := range packedRules() {
		if len(r.send) < 300 {
			f.Add(r.send)
		}
	}
	const limit = 1000
	inflating := newDeflater(0)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, pack := range []*deflater{nil, inflating} {
			want := readAll(data, 1<<20, limit, pack)
			for _, chunk := range []int{1, 2, 7, 100} {
				got := readAll(data, chunk, limit, pack)
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("in pieces of %d: %v\nwhole: %v", chunk, got, want)
				}
			}
			for _, e := range want {
				if e == "TEXT IS NOT UTF-8" || e == "TOO LARGE" {
					t.Fatal(want)
				}
			}
		}
	})
}

// A header alone must not make the reader take memory for what it announces.
func TestReaderGrowsByWhatArrives(t *testing.T) {
	data := append(header(fBinary, 127, 900_000_000), make([]byte, 10_000)...)
	rd := &reader{src: chunks{bytes.NewReader(data), 4096}, pool: new(buffers), limit: 1_000_000_000}
	if _, _, err := rd.next(); err != io.EOF {
		t.Fatal(err)
	}
	if len(rd.buf) > largeBuffer {
		t.Errorf("buffer of %d bytes", len(rd.buf))
	}
}

func TestReaderGivesBufferBack(t *testing.T) {
	for _, n := range []int{0, 100, 5000, 70_000, 300_000} {
		data := cat(frame(fBinary, string(make([]byte, n))), frame(fText, "4x"))
		rd := &reader{src: chunks{bytes.NewReader(data), 4096}, pool: new(buffers), limit: 1_000_000}
		for range 2 {
			if _, _, err := rd.next(); err != nil {
				t.Fatal(err)
			}
		}
		if rd.idle(); rd.buf != nil || rd.msg != nil {
			t.Errorf("after a message of %d bytes, %d and %d are kept", n, len(rd.buf), len(rd.msg))
		}
	}
}

func TestValidUTF8(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a": 1, "é": 2, "a\xc3": 1, "a\xe2\x82": 1, "\xf0\x9f\x8e": 0, "é\xf0": 2} {
		if n, ok := validUTF8([]byte(text)); n != want || !ok {
			t.Errorf("%q: %d %v", text, n, ok)
		}
	}
	for _, text := range []string{"\xff", "a\x80", "\xc0", "\xed\xa0", "\xf4\x90", "\xe2\x28", "\xf5", "\xe2\x82\xe2"} {
		if _, ok := validUTF8([]byte(text)); ok {
			t.Errorf("%q can become UTF-8", text)
		}
	}
}
