package wsframe

import "io"

// maxHeader is the size of the longest frame header (RFC 6455 §5.2).
const maxHeader = 14

// Buffer holds what was read of a connection and not yet taken. Bytes are read as
// many as come at once into memory that is borrowed, grows as the bytes of a
// large frame arrive (never by what its header promises), and goes back when
// nothing is left in it. It belongs to one goroutine.
type Buffer struct {
	Pool *Buffers // lends the memory; set it before first use

	p    []byte // nil while idle
	r, w int    // what is unread is p[r:w]
	need int    // size of the frame under way, as far as it is known
}

// Room returns where the next bytes are to be read to: at least one.
func (b *Buffer) Room() []byte {
	switch {
	case b.p == nil:
		b.p = b.Pool.Get(SmallBuffer)
	case b.r == b.w:
		b.r, b.w = 0, 0
	case b.w == len(b.p) && b.r > 0:
		b.w = copy(b.p, b.p[b.r:b.w])
		b.r = 0
	case b.w == len(b.p):
		size := min(max(2*len(b.p), LargeBuffer), max(b.need, len(b.p)+maxHeader))
		larger := b.Pool.Get(size)
		copy(larger, b.p)
		b.Pool.Put(b.p)
		b.p = larger
	}
	return b.p[b.w:]
}

// Filled takes the result of a read to Room. It fails if nothing was read.
func (b *Buffer) Filled(n int, err error) error {
	b.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// Preload puts bytes into an empty Buffer that were read before.
func (b *Buffer) Preload(p []byte) {
	if len(p) > 0 {
		b.p = b.Pool.Get(len(p))
		b.r, b.w = 0, copy(b.p, p)
	}
}

// Unread returns what is unread. It is valid until the next call of another
// method.
func (b *Buffer) Unread() []byte { return b.p[b.r:b.w] }

// Len returns how many bytes are unread.
func (b *Buffer) Len() int { return b.w - b.r }

// Expect says how many bytes the frame under way has, with its header; 0 if
// that is not known yet. Memory then grows to that and no further.
func (b *Buffer) Expect(n int) { b.need = n }

// Take takes n of the unread bytes, which are there. They stay until the next
// call of Room, Idle or Drop.
func (b *Buffer) Take(n int) []byte {
	p := b.p[b.r : b.r+n : b.r+n]
	b.r += n
	return p
}

// Drop takes all that is unread.
func (b *Buffer) Drop() { b.r, b.w = 0, 0 }

// Idle gives the memory back if nothing in it is unread. It is for who is about
// to wait.
func (b *Buffer) Idle() {
	if b.r == b.w && b.p != nil {
		b.Pool.Put(b.p)
		b.p, b.r, b.w = nil, 0, 0
	}
}

// Lent returns the size of the memory that is borrowed, 0 for none.
func (b *Buffer) Lent() int { return len(b.p) }
