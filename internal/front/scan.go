package front

import (
	"bytes"
	"strings"
)

// verdict is what can be said of the bytes that have come so far.
type verdict uint8

const (
	unfinished verdict = iota // all is well, and the header's end has not come yet
	handshake                 // a plain opening handshake, with the whole of its header
	other                     // for the http.Server to judge
)

// scan looks at the header of a first request, line by line as lines come, and
// says whether it is a plain opening handshake: GET with a path, HTTP/1.1, no
// body, one Host, Upgrade to WebSocket alone, names and values of the characters
// that clients really use, and every line ended by CR and LF. What a second
// reader of these bytes, such as a proxy, might take for something else is not
// plain.
type scan struct {
	at   int // where the first line begins that was not looked at
	seen int // how far it was searched for its end
	line int // how many lines were looked at

	host, upgrade, connection bool // these headers were there
}

const method, version = "GET /", " HTTP/1.1"

// look says what p is, all that has come so far; it begins with what the last
// call was given.
func (s *scan) look(p []byte) verdict {
	if n := min(len(p), len(method)); string(p[:n]) != method[:n] {
		return other
	}
	for {
		i := bytes.IndexByte(p[s.seen:], '\n')
		if i < 0 {
			s.seen = len(p)
			return unfinished
		}
		end := s.seen + i
		line := p[s.at:end]
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return other
		}
		line = line[:len(line)-1]
		s.at, s.seen = end+1, end+1
		s.line++
		switch {
		case s.line == 1:
			if !plainRequestLine(line) {
				return other
			}
		case len(line) > 0:
			if !s.header(line) {
				return other
			}
		case s.host && s.upgrade && s.connection:
			return handshake
		default:
			return other
		}
	}
}

func plainRequestLine(line []byte) bool {
	target, ok := bytes.CutSuffix(line[len("GET "):], []byte(version))
	return ok && all(target, graphic)
}

// header looks at one header.
func (s *scan) header(line []byte) bool {
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok || len(name) == 0 || !all(name, nameByte) || !printable(value) {
		return false
	}
	// Of those with a meaning for the connection only what is known is plain.
	switch value = bytes.Trim(value, " \t"); len(name) {
	case len("Host"):
		if is(name, "Host") {
			return once(&s.host) && len(value) > 0 && all(value, hostByte)
		}
	case len("Upgrade"):
		if is(name, "Upgrade") {
			return once(&s.upgrade) && is(value, "websocket")
		}
		return !is(name, "Trailer")
	case len("Connection"):
		if is(name, "Connection") {
			return once(&s.connection) && plainConnection(value)
		}
	case len("Expect"):
		return !is(name, "Expect")
	case len("Content-Length"):
		return !is(name, "Content-Length") && !is(name, "HTTP2-Settings")
	case len("Transfer-Encoding"):
		return !is(name, "Transfer-Encoding")
	}
	return true
}

// plainConnection reports whether Connection says Upgrade and nothing that
// matters besides.
func plainConnection(value []byte) (upgrade bool) {
	for token := range bytes.SplitSeq(value, []byte(",")) {
		switch token = bytes.Trim(token, " \t"); {
		case is(token, "Upgrade"):
			upgrade = true
		case !is(token, "keep-alive"):
			return false
		}
	}
	return upgrade
}

// once notes that something is there, and reports whether it is the first time.
func once(there *bool) bool {
	first := !*there
	*there = true
	return first
}

// is compares regardless of case. text is ASCII.
func is(p []byte, text string) bool { return len(p) == len(text) && strings.EqualFold(string(p), text) }

// all reports whether every byte of p is good.
func all(p []byte, good func(byte) bool) bool {
	for _, c := range p {
		if !good(c) {
			return false
		}
	}
	return true
}

func graphic(c byte) bool { return c > ' ' && c < 0x7f }

// hostByte says what is in a name, an address and a port.
func hostByte(c byte) bool {
	return c == '-' || c == '.' || c == ':' || c == '[' || c == ']' || c == '_' || alphanumeric(c)
}

// nameByte says what may be in a header's name (RFC 9110 §5.6.2).
func nameByte(c byte) bool {
	return c == '-' || alphanumeric(c) || strings.IndexByte("!#$%&'*+.^_`|~", c) >= 0
}

// printable reports whether a header's value has neither control characters nor
// bytes that are no ASCII.
func printable(p []byte) bool {
	for _, c := range p {
		if c < ' ' && c != '\t' || c >= 0x7f {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9'
}
