package queue

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
	"time"
)

// crockford is the alphabet of ULIDs (https://github.com/ulid/spec): base 32
// without I, L, O and U. (The library for them links database/sql.)
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// NewID makes an id that is new, a ULID: 48 bits of milliseconds, so that it
// sorts behind those of earlier ones, and 80 of chance.
func NewID() string {
	var bits [16]byte
	binary.BigEndian.PutUint64(bits[:], uint64(time.Now().UnixMilli())<<16)
	_, _ = rand.Read(bits[6:]) // it never fails
	high, low := binary.BigEndian.Uint64(bits[:8]), binary.BigEndian.Uint64(bits[8:])
	var text [26]byte
	for i := len(text) - 1; i >= 0; i-- {
		text[i] = crockford[low&31]
		low = low>>5 | high<<59
		high >>= 5
	}
	return string(text[:])
}

// validID reports whether text is a ULID in its canonical form.
func validID(text string) bool {
	return len(text) == 26 && text[0] <= '7' && strings.Trim(text, crockford) == ""
}
