package wsframe

import "sync"

// The sizes that are lent.
const (
	SmallBuffer = 4 << 10
	LargeBuffer = 64 << 10
)

// Buffers lends byte slices of two sizes. They are needed only while bytes are
// on the move, so far fewer exist than connections. The zero value is ready, and
// safe for concurrent use.
type Buffers struct {
	small sync.Pool // of *[SmallBuffer]byte
	large sync.Pool // of *[LargeBuffer]byte
}

// Get returns a slice of at least n bytes, at its full length.
func (b *Buffers) Get(n int) []byte {
	switch {
	case n <= SmallBuffer:
		if p, ok := b.small.Get().(*[SmallBuffer]byte); ok {
			return p[:]
		}
		return make([]byte, SmallBuffer)
	case n <= LargeBuffer:
		if p, ok := b.large.Get().(*[LargeBuffer]byte); ok {
			return p[:]
		}
		return make([]byte, LargeBuffer)
	}
	return make([]byte, n)
}

// Put takes back a slice that Get returned. Larger ones are left to the
// collector.
func (b *Buffers) Put(p []byte) {
	switch cap(p) {
	case SmallBuffer:
		b.small.Put((*[SmallBuffer]byte)(p[:SmallBuffer]))
	case LargeBuffer:
		b.large.Put((*[LargeBuffer]byte)(p[:LargeBuffer]))
	}
}
