package wsframe

import (
	"bytes"
	"errors"
	"io"
	"testing"
)

// feed reads up to n bytes more.
func feed(t *testing.T, b *Buffer, src io.Reader, n int) {
	t.Helper()
	room := b.Room()
	if len(room) == 0 {
		t.Fatal("no room")
	}
	got, err := src.Read(room[:min(n, len(room))])
	if err := b.Filled(got, err); err != nil {
		t.Fatal(err)
	}
}

// pattern is n bytes none of which looks like its neighbours.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * 7 / 3)
	}
	return p
}

// TestBuffer reads frames of all sizes in pieces of all sizes: what is taken is
// what came, and memory is only what was needed.
func TestBuffer(t *testing.T) {
	for _, tt := range []struct{ frame, piece, lent int }{
		{1, 1, SmallBuffer}, {100, 7, SmallBuffer}, {100, 5000, SmallBuffer}, {SmallBuffer, 1000, SmallBuffer},
		{SmallBuffer + 1, 1000, LargeBuffer}, {LargeBuffer, 4096, LargeBuffer},
		{LargeBuffer + 1, 4096, LargeBuffer + maxHeader}, {3 * LargeBuffer, 10_000, 3 * LargeBuffer},
	} {
		const frames = 5
		data := pattern(frames * tt.frame)
		src, b := bytes.NewReader(data), &Buffer{Pool: new(Buffers)}
		var taken []byte
		for range frames {
			b.Expect(tt.frame)
			for b.Len() < tt.frame {
				feed(t, b, src, tt.piece)
			}
			if b.Lent() > max(tt.lent, SmallBuffer) {
				t.Fatalf("%+v: %d bytes are lent", tt, b.Lent())
			}
			if !bytes.Equal(b.Unread()[:tt.frame], data[len(taken):len(taken)+tt.frame]) {
				t.Fatalf("%+v: other bytes are unread", tt)
			}
			part := b.Take(tt.frame)
			if cap(part) != tt.frame {
				t.Fatalf("%+v: an append to what was taken goes into what follows", tt)
			}
			taken = append(taken, part...)
		}
		if !bytes.Equal(taken, data) {
			t.Errorf("%+v: other bytes were taken", tt)
		}
		if b.Idle(); b.Lent() > 0 || b.Len() > 0 {
			t.Errorf("%+v: %d bytes are lent while it is idle", tt, b.Lent())
		}
	}
}

// A header that promises much has little lent until it comes.
func TestBufferIgnoresPromises(t *testing.T) {
	src, b := bytes.NewReader(pattern(SmallBuffer+10)), &Buffer{Pool: new(Buffers)}
	b.Expect(1 << 30)
	for b.Len() < SmallBuffer {
		feed(t, b, src, SmallBuffer)
	}
	if b.Lent() != SmallBuffer {
		t.Errorf("%d bytes are lent for %d", b.Lent(), b.Len())
	}
	if feed(t, b, src, 10); b.Lent() != LargeBuffer {
		t.Errorf("%d bytes are lent for %d", b.Lent(), b.Len())
	}
}

func TestBufferKeepsWhatIsUnread(t *testing.T) {
	b := &Buffer{Pool: new(Buffers)}
	b.Preload(nil)
	if b.Lent() > 0 {
		t.Error("something is lent for nothing")
	}
	b.Preload([]byte("abc"))
	if b.Idle(); string(b.Unread()) != "abc" {
		t.Errorf("%q is unread", b.Unread())
	}
	for name, tt := range map[string]struct {
		n    int
		err  error
		want error
	}{
		"nothing came": {0, nil, io.ErrNoProgress}, "the end": {0, io.EOF, io.EOF}, "bytes and the end": {2, io.EOF, nil},
	} {
		if err := b.Filled(copy(b.Room(), "xy")*tt.n/2, tt.err); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if string(b.Unread()) != "abcxy" {
		t.Errorf("%q is unread", b.Unread())
	}
	b.Drop()
	if b.Idle(); b.Lent() > 0 {
		t.Error("memory is kept for what was dropped")
	}
}
