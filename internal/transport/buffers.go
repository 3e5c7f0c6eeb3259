package transport

import "sync"

const (
	smallBuffer = 4 << 10
	largeBuffer = 64 << 10
)

// buffers lends byte slices of two sizes. They are needed only while bytes are
// on the move, so far fewer exist than connections.
type buffers struct {
	small sync.Pool // of *[smallBuffer]byte
	large sync.Pool // of *[largeBuffer]byte
}

// get returns a slice of at least n bytes, at its full length.
func (b *buffers) get(n int) []byte {
	switch {
	case n <= smallBuffer:
		if p, ok := b.small.Get().(*[smallBuffer]byte); ok {
			return p[:]
		}
		return make([]byte, smallBuffer)
	case n <= largeBuffer:
		if p, ok := b.large.Get().(*[largeBuffer]byte); ok {
			return p[:]
		}
		return make([]byte, largeBuffer)
	}
	return make([]byte, n)
}

// put takes back a slice that get returned. Larger ones are left to the
// collector.
func (b *buffers) put(p []byte) {
	switch cap(p) {
	case smallBuffer:
		b.small.Put((*[smallBuffer]byte)(p[:smallBuffer]))
	case largeBuffer:
		b.large.Put((*[largeBuffer]byte)(p[:largeBuffer]))
	}
}
