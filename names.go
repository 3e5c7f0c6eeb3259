package holdfast

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of names, in bytes of UTF-8.
const (
	MaxRoomName  = 200
	MaxEventName = 128
	// MaxEventID bounds the idempotency id of an event.
	MaxEventID = 128
)

// CheckRoom returns an InvalidArgument error if name is no room name: 1 to
// 200 bytes of UTF-8 without control, zero-width or bidirectional characters
// or '*', without a leading '!', without space at either end, and neither "."
// nor "..". Names are compared byte for byte.
func CheckRoom(name string) error {
	switch {
	case name == "":
		return Errorf(InvalidArgument, "room is missing")
	case len(name) > MaxRoomName:
		return Errorf(InvalidArgument, "room name is longer than %d bytes", MaxRoomName)
	case name == "." || name == "..":
		return Errorf(InvalidArgument, "room can't be named %q", name)
	case name[0] == '!':
		return Errorf(InvalidArgument, "room name can't begin with '!'")
	case !utf8.ValidString(name):
		return Errorf(InvalidArgument, "room name is not UTF-8")
	}
	if plainASCII(name) {
		if name[0] == ' ' || name[len(name)-1] == ' ' {
			return Errorf(InvalidArgument, "room name has space at an end")
		}
		if strings.IndexByte(name, '*') >= 0 {
			return Errorf(InvalidArgument, "room name can't contain '*'")
		}
		return nil
	}
	if strings.TrimSpace(name) != name {
		return Errorf(InvalidArgument, "room name has space at an end")
	}
	for _, r := range name {
		if r == '*' {
			return Errorf(InvalidArgument, "room name can't contain '*'")
		}
		if unicode.IsControl(r) || invisible(r) {
			return Errorf(InvalidArgument, "room name has a character that can't be seen (U+%04X)", r)
		}
	}
	return nil
}

// invisible reports characters that take no space or change the direction of
// the text, with which two different rooms could look alike. Variation
// selectors are let through: emoji need them.
func invisible(r rune) bool {
	switch r {
	case 0x034F, 0x115F, 0x1160, 0x3164, 0xFFA0: // joiner and fillers without width
		return true
	}
	return unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)
}

// plainASCII reports whether s holds only printable ASCII and spaces.
func plainASCII(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// CheckEvent returns an InvalidArgument error if name is no event name: 1 to
// 128 bytes of UTF-8 without control characters.
func CheckEvent(name string) error {
	switch {
	case name == "":
		return Errorf(InvalidArgument, "event is missing")
	case len(name) > MaxEventName:
		return Errorf(InvalidArgument, "event name is longer than %d bytes", MaxEventName)
	case plainASCII(name):
		return nil
	case !utf8.ValidString(name):
		return Errorf(InvalidArgument, "event name is not UTF-8")
	case strings.ContainsFunc(name, unicode.IsControl):
		return Errorf(InvalidArgument, "event name has a control character")
	}
	return nil
}

// CheckPublish returns an InvalidArgument error if name can't be published:
// it is no event name, or it is reserved. Official Socket.IO parsers drop the
// connection on some reserved names, and nobody may forge the others.
func CheckPublish(name string) error {
	if err := CheckEvent(name); err != nil {
		return err
	}
	if ReservedEvent(name) {
		return Errorf(InvalidArgument, "event name %q is reserved", name)
	}
	return nil
}

// ReservedEvent reports whether only Holdfast itself may send events of this name.
func ReservedEvent(name string) bool {
	switch name {
	case "connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener",
		"typing", "user_typing":
		return true
	}
	return strings.HasPrefix(name, "auth:") || strings.HasPrefix(name, "room:") || strings.HasPrefix(name, "presence:")
}

// CheckEventID returns an InvalidArgument error if id is too long, is not
// UTF-8 or has control characters. The empty id is good: it means none.
func CheckEventID(id string) error {
	switch {
	case len(id) > MaxEventID:
		return Errorf(InvalidArgument, "id is longer than %d bytes", MaxEventID)
	case plainASCII(id):
		return nil
	case !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl):
		return Errorf(InvalidArgument, "id has a character that is not allowed")
	}
	return nil
}
