package jsonscan

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// Unquote returns the text of a JSON string, given with its quotation marks
// and known to be valid. It aliases quoted where there are no escapes.
// Escaped halves of surrogate pairs that stand alone become U+FFFD.
func Unquote(quoted []byte) []byte {
	if len(quoted) < 2 {
		return nil
	}
	inner := quoted[1 : len(quoted)-1]
	i := bytes.IndexByte(inner, '\\')
	if i < 0 {
		return inner
	}
	text := append(make([]byte, 0, len(inner)), inner[:i]...)
	for i < len(inner) {
		if c := inner[i]; c != '\\' {
			text = append(text, c)
			i++
			continue
		}
		r, size := unescape(inner[i:])
		if utf16.IsSurrogate(r) {
			low, more := unescape(inner[i+size:])
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				size += more
			}
		}
		text = utf8.AppendRune(text, r)
		i += size
	}
	return text
}

// KeyIs reports whether quoted, a JSON string known to be valid, is the text
// name. Unlike a comparison with Unquote's result it hardly ever allocates.
func KeyIs(quoted []byte, name string) bool {
	// An escape makes up to six bytes of one.
	if len(quoted) < len(name)+2 || len(quoted) > 6*len(name)+2 {
		return false
	}
	if len(quoted) == len(name)+2 {
		return string(quoted[1:len(quoted)-1]) == name
	}
	return bytes.IndexByte(quoted, '\\') >= 0 && string(Unquote(quoted)) == name
}

// unescape returns the character that the escape sequence at the beginning of
// b stands for, which may be half of a pair, and how long the sequence is.
// Where there is none, it returns U+FFFD and at least 1, if b is not empty.
func unescape(b []byte) (r rune, size int) {
	if len(b) < 2 || b[0] != '\\' {
		return utf8.RuneError, min(len(b), 1)
	}
	switch b[1] {
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
		if len(b) < 6 {
			return utf8.RuneError, len(b)
		}
		for _, c := range b[2:6] {
			r = r<<4 | rune(hexValue(c))
		}
		return r, 6
	}
	return rune(b[1]), 2 // a quotation mark, a slash or a backslash
}

func hexValue(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c&0xf + 9
}
