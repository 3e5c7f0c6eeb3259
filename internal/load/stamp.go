package load

import (
	"bytes"
	"fmt"
)

// stamp says which message it is that was received. It is text of fixed length
// within a JSON string, so that a server may put spaces around it, or other
// fields, and it is still found without parsing.
type stamp struct {
	slot uint32 // place in the generator's table of messages in flight
	room uint32
	pub  uint32 // publisher: the number of a member in its room
	seq  uint32 // the publisher's messages, counted from 0
}

// Lengths of a stamp's fields in hexadecimal digits, and the most they hold.
const (
	slotDigits, roomDigits, pubDigits, seqDigits = 4, 6, 6, 8

	stampDigits = slotDigits + roomDigits + pubDigits + seqDigits
	maxSlots    = 1 << (4 * slotDigits)
)

const hexDigits = "0123456789abcdef"

// stamper writes and finds the stamps of one run.
type stamper struct {
	mark []byte // stands before each stamp; of this run alone
	last int    // where the last one was found: the next is mostly there too
}

func newStamper(run uint32) *stamper { return &stamper{mark: fmt.Appendf(nil, "hf~%08x", run)} }

// append appends the mark and the stamp.
func (s *stamper) append(dst []byte, st stamp) []byte {
	dst = append(dst, s.mark...)
	dst = appendHex(dst, st.slot, slotDigits)
	dst = appendHex(dst, st.room, roomDigits)
	dst = appendHex(dst, st.pub, pubDigits)
	return appendHex(dst, st.seq, seqDigits)
}

// find returns the first stamp in text. Text without one of this run is not ok.
func (s *stamper) find(text []byte) (st stamp, ok bool) {
	at, size := s.last, len(s.mark)
	if len(text) < at+size || string(text[at:at+size]) != string(s.mark) {
		if at = bytes.Index(text, s.mark); at < 0 {
			return st, false
		}
		s.last = at
	}
	text = text[at+size:]
	if len(text) < stampDigits {
		return st, false
	}
	bad := uint32(0)
	st.slot = parseHex(text[:slotDigits], &bad)
	text = text[slotDigits:]
	st.room = parseHex(text[:roomDigits], &bad)
	text = text[roomDigits:]
	st.pub = parseHex(text[:pubDigits], &bad)
	text = text[pubDigits:]
	st.seq = parseHex(text[:seqDigits], &bad)
	return st, bad == 0
}

func appendHex(dst []byte, v uint32, digits int) []byte {
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, hexDigits[v>>shift&15])
	}
	return dst
}

// hexValues are the values of digits; 16 and more for what is none.
var hexValues = func() (t [256]uint8) {
	for i := range t {
		t[i] = 16
	}
	for i := range hexDigits {
		t[hexDigits[i]] = uint8(i)
	}
	return t
}()

// parseHex reads digits; one that is none sets a bit of bad.
func parseHex(text []byte, bad *uint32) (v uint32) {
	for _, c := range text {
		digit := uint32(hexValues[c])
		*bad |= digit & 16
		v = v<<4 | digit&15
	}
	return v
}

// bodyOverhead is what a message's JSON has besides stamp and padding.
const bodyOverhead = len(`{"bench":"","pad":""}`)

// MinSize is the smallest size of a message's JSON in bytes: that of a stamp.
const MinSize = 64

// appendBody appends the JSON of a message, size bytes long.
func (s *stamper) appendBody(dst []byte, st stamp, pad []byte) []byte {
	dst = append(dst, `{"bench":"`...)
	dst = s.append(dst, st)
	dst = append(dst, `","pad":"`...)
	dst = append(dst, pad...)
	return append(dst, `"}`...)
}

// padding is what makes a message's JSON size bytes long.
func (s *stamper) padding(size int) []byte {
	return bytes.Repeat([]byte("x"), max(0, size-bodyOverhead-len(s.mark)-stampDigits))
}
