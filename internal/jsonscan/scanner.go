package jsonscan

import (
	"encoding/binary"
	"unicode/utf8"
)

// scanner walks over JSON text. Its methods take the index where something
// begins and return the index after it, or -1 after having called stop.
type scanner struct {
	data   []byte
	depth  int
	unique bool
	failure
}

// stop records the first failure and returns -1.
func (s *scanner) stop(at int, reason string) int {
	s.failure = failure{at, reason}
	return -1
}

// The classes of bytes. A byte of class plain needs no thought in a string.
const (
	plain = iota
	quote
	backslash
	control
	high // a byte of a character outside ASCII
)

// class tells what a byte is inside a string.
var class = func() (t [256]uint8) {
	for b := range t {
		switch {
		case b == '"':
			t[b] = quote
		case b == '\\':
			t[b] = backslash
		case b < 0x20:
			t[b] = control
		case b >= utf8.RuneSelf:
			t[b] = high
		}
	}
	return t
}()

func isSpace(b byte) bool { return b <= ' ' && (b == ' ' || b == '\t' || b == '\n' || b == '\r') }

// space skips white space.
func (s *scanner) space(i int) int {
	for i < len(s.data) && isSpace(s.data[i]) {
		i++
	}
	return i
}

// value scans any value; open counts the arrays and objects around it.
func (s *scanner) value(i, open int) int {
	if i >= len(s.data) {
		return s.stop(i, "the text ends early")
	}
	switch c := s.data[i]; c {
	case '"':
		return s.str(i)
	case '{':
		return s.object(i, open+1)
	case '[':
		return s.array(i, open+1)
	case 't':
		return s.literal(i, "true")
	case 'f':
		return s.literal(i, "false")
	case 'n':
		return s.literal(i, "null")
	default:
		if c == '-' || isDigit(c) {
			return s.number(i)
		}
		return s.stop(i, "a value was expected")
	}
}

func (s *scanner) array(i, open int) int {
	if open > s.depth {
		return s.stop(i, "nested too deeply")
	}
	if i = s.space(i + 1); i < len(s.data) && s.data[i] == ']' {
		return i + 1
	}
	for {
		if i = s.value(i, open); i < 0 {
			return i
		}
		if i < len(s.data) && isSpace(s.data[i]) {
			i = s.space(i)
		}
		if i >= len(s.data) {
			return s.stop(i, "the text ends early")
		}
		switch s.data[i] {
		case ',':
			i = s.space(i + 1)
		case ']':
			return i + 1
		default:
			return s.stop(i, "',' or ']' was expected")
		}
	}
}

func (s *scanner) object(i, open int) int {
	if open > s.depth {
		return s.stop(i, "nested too deeply")
	}
	if i = s.space(i + 1); i < len(s.data) && s.data[i] == '}' {
		return i + 1
	}
	var keys keySet
	for {
		if i >= len(s.data) || s.data[i] != '"' {
			return s.stop(i, "a key was expected")
		}
		start := i
		if i = s.str(i); i < 0 {
			return i
		}
		if s.unique && !keys.add(s.data[start:i]) {
			return s.stop(start, "a key is there twice")
		}
		if i = s.space(i); i >= len(s.data) || s.data[i] != ':' {
			return s.stop(i, "':' was expected")
		}
		if i = s.value(s.space(i+1), open); i < 0 {
			return i
		}
		if i = s.space(i); i >= len(s.data) {
			return s.stop(i, "the text ends early")
		}
		switch s.data[i] {
		case ',':
			i = s.space(i + 1)
		case '}':
			return i + 1
		default:
			return s.stop(i, "',' or '}' was expected")
		}
	}
}

// str scans a string that begins with the quotation mark at i.
func (s *scanner) str(i int) int {
	data := s.data
	for i++; i < len(data); {
		// Eight plain bytes at once, where there are that many.
		for i+8 <= len(data) && allPlain(binary.LittleEndian.Uint64(data[i:])) {
			i += 8
		}
		for i < len(data) && class[data[i]] == plain {
			i++
		}
		if i >= len(data) {
			break
		}
		switch class[data[i]] {
		case quote:
			return i + 1
		case control:
			return s.stop(i, "a control character in a string")
		case backslash:
			if i = s.escape(i); i < 0 {
				return i
			}
		case high:
			r, size := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && size == 1 {
				return s.stop(i, "not UTF-8")
			}
			i += size
		}
	}
	return s.stop(len(data), "a string does not end")
}

// allPlain reports whether none of the eight bytes is a control character, a
// quotation mark, a backslash or outside ASCII. It may be wrong in saying no.
func allPlain(x uint64) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	return ((x-ones*0x20)|((x^ones*'"')-ones)|((x^ones*'\\')-ones)|x)&tops == 0
}

// escape scans an escape sequence that begins with the backslash at i.
func (s *scanner) escape(i int) int {
	if i+1 >= len(s.data) {
		return s.stop(i, "a string does not end")
	}
	switch s.data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if i+6 > len(s.data) {
			return s.stop(i, "a string does not end")
		}
		for _, c := range s.data[i+2 : i+6] {
			if !isHex(c) {
				return s.stop(i, "a wrong escape sequence")
			}
		}
		return i + 6
	}
	return s.stop(i, "a wrong escape sequence")
}

func (s *scanner) literal(i int, word string) int {
	if len(s.data)-i < len(word) || string(s.data[i:i+len(word)]) != word {
		return s.stop(i, "a value was expected")
	}
	return i + len(word)
}

// number scans -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
func (s *scanner) number(i int) int {
	if s.data[i] == '-' {
		i++
	}
	if i < len(s.data) && s.data[i] == '0' {
		i++
	} else if i = s.digits(i); i < 0 {
		return i
	}
	if i < len(s.data) && s.data[i] == '.' {
		if i = s.digits(i + 1); i < 0 {
			return i
		}
	}
	if i < len(s.data) && s.data[i]|0x20 == 'e' {
		i++
		if i < len(s.data) && (s.data[i] == '+' || s.data[i] == '-') {
			i++
		}
		return s.digits(i)
	}
	return i
}

// digits scans one or more.
func (s *scanner) digits(i int) int {
	start := i
	for i < len(s.data) && isDigit(s.data[i]) {
		i++
	}
	if i == start {
		return s.stop(i, "a digit was expected")
	}
	return i
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool {
	return isDigit(c) || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}
