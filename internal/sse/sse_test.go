package sse_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/holdfast-dev/holdfast/internal/sse"
	"github.com/holdfast-dev/holdfast/internal/wiretest"
)

const transcripts = "../../testdata/wire/sse"

// TestGolden runs every case of the transcripts, whole and byte by byte.
func TestGolden(t *testing.T) {
	for _, c := range wiretest.Load(t, transcripts) {
		t.Run(c.Name, func(t *testing.T) {
			if want, ok := c.Get("writes"); ok {
				if got := write(t, c); got != want {
					t.Errorf("%s: %q, want %q", c.Place, got, want)
				}
				return
			}
			stream, ok := c.Get("reads")
			if !ok {
				t.Fatalf("%s: neither reads nor writes", c.Place)
			}
			for _, in := range []io.Reader{strings.NewReader(stream), iotest.OneByteReader(strings.NewReader(stream))} {
				read(t, c, in)
			}
		})
	}
}

func read(t *testing.T, c wiretest.Case, in io.Reader) {
	t.Helper()
	r := sse.NewReader(in)
	var got []string
	for {
		ev, err := r.Next()
		if err != nil {
			if err != io.EOF {
				t.Errorf("%s: %v", c.Place, err)
			}
			break
		}
		got = append(got, fmt.Sprintf("%s|%s|%s", ev.Name, ev.ID, ev.Data))
	}
	if want := c.All("event"); !equal(got, want) {
		t.Errorf("%s: events %q, want %q", c.Place, got, want)
	}
	if want, _ := c.Get("last-id"); r.LastID() != want {
		t.Errorf("%s: last id %q, want %q", c.Place, r.LastID(), want)
	}
	if want, ok := c.Get("retry"); ok && r.Retry().String() != want {
		t.Errorf("%s: retry %v, want %s", c.Place, r.Retry(), want)
	}
	if want, ok := c.Get("comments"); ok && strconv.Itoa(r.Comments()) != want {
		t.Errorf("%s: %d comments, want %s", c.Place, r.Comments(), want)
	}
}

func equal(a, b []string) bool {
	return strings.Join(a, "\x00") == strings.Join(b, "\x00") && len(a) == len(b)
}

func write(t *testing.T, c wiretest.Case) string {
	t.Helper()
	var dst []byte
	for _, f := range c.Fields {
		switch f.Key {
		case "id":
			dst = sse.AppendID(dst, f.Value)
		case "name":
			dst = sse.AppendName(dst, f.Value)
		case "data":
			dst = sse.AppendData(dst, []byte(f.Value))
		case "retry":
			ms, err := strconv.ParseUint(f.Value, 10, 32)
			if err != nil {
				t.Fatal(err)
			}
			dst = sse.AppendRetry(dst, uint(ms))
		case "comment":
			dst = sse.AppendComment(dst, f.Value)
		case "end":
			dst = sse.AppendEnd(dst)
		}
	}
	return string(dst)
}

func TestLimits(t *testing.T) {
	for name, stream := range map[string]string{
		"a line":       "data: " + strings.Repeat("a", 101) + "\n\n",
		"no line end":  strings.Repeat("a", 200),
		"many lines":   strings.Repeat("data: aaaaaaaaaa\n", 11) + "\n",
		"empty lines":  strings.Repeat("data\n", 200) + "\n",
		"only comment": ":" + strings.Repeat("a", 200) + "\n",
	} {
		r := sse.NewReader(strings.NewReader(stream))
		r.MaxEvent = 100
		if _, err := r.Next(); !errors.Is(err, sse.ErrTooLong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r := sse.NewReader(strings.NewReader("data: " + strings.Repeat("a", 100) + "\n\nretry: 99999999999999999999\n\ndata: x\n\n"))
	r.MaxEvent = 100
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if r.Retry() != 24*time.Hour {
		t.Errorf("retry %v", r.Retry())
	}
	broken := errors.New("cut")
	if _, err := sse.NewReader(iotest.ErrReader(broken)).Next(); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// An event that ends with CR is there before anything follows.
func TestCRDoesNotWait(t *testing.T) {
	in, out := io.Pipe()
	defer in.Close()
	go out.Write([]byte("data: x\r\r"))
	if ev, err := sse.NewReader(in).Next(); err != nil || ev.Data != "x" {
		t.Errorf("%+v %v", ev, err)
	}
}

// FuzzRoundTrip reads back what was written.
func FuzzRoundTrip(f *testing.F) {
	f.Add("id", "name", []byte("data\r\nmore\rand\n"))
	f.Add("", "", []byte{})
	f.Add("a\nb", "c\x00d", []byte("\ufeff: data"))
	f.Fuzz(func(t *testing.T, id, name string, data []byte) {
		stream := sse.AppendEnd(sse.AppendData(sse.AppendName(sse.AppendID(nil, id), name), data))
		stream = sse.AppendComment(stream, name)
		r := sse.NewReader(bytes.NewReader(stream))
		ev, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		want := sse.Event{ID: line(id), Name: line(name), Data: lines(data)}
		if want.Name == "" {
			want.Name = "message"
		}
		if ev != want {
			t.Errorf("%+v, want %+v", ev, want)
		}
		if _, err := r.Next(); err != io.EOF || r.Comments() != 1 {
			t.Errorf("after it: %v", err)
		}
	})
}

func line(s string) string {
	if i := strings.IndexAny(s, "\r\n\x00"); i >= 0 {
		s = s[:i]
	}
	return strings.ToValidUTF8(s, "\ufffd")
}

func lines(data []byte) string {
	text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(data))
	all := strings.Split(text, "\n")
	for i := range all {
		all[i] = strings.ToValidUTF8(all[i], "\ufffd")
	}
	return strings.Join(all, "\n")
}

// FuzzRead takes any stream.
func FuzzRead(f *testing.F) {
	for _, c := range wiretest.Load(f, transcripts) {
		if stream, ok := c.Get("reads"); ok {
			f.Add([]byte(stream))
		}
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		whole, slow := sse.NewReader(bytes.NewReader(stream)), sse.NewReader(iotest.OneByteReader(bytes.NewReader(stream)))
		whole.MaxEvent, slow.MaxEvent = 64, 64
		for range len(stream) + 1 {
			a, aerr := whole.Next()
			b, berr := slow.Next()
			if a != b || !errors.Is(berr, aerr) || whole.LastID() != slow.LastID() {
				t.Fatalf("%+v %v, byte by byte %+v %v", a, aerr, b, berr)
			}
			if aerr != nil {
				return
			}
			if len(a.Data) > 64*3 || strings.ContainsAny(a.Data, "\r") || strings.ContainsAny(a.ID+a.Name, "\r\n") || strings.Contains(a.ID, "\x00") {
				t.Fatalf("%+v", a)
			}
		}
		t.Fatal("more events than bytes")
	})
}
