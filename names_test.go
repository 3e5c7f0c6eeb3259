package holdfast_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/holdfast-dev/holdfast"
)

func checkNames(t *testing.T, check func(string) error, good, bad map[string]string) {
	t.Helper()
	for what, name := range good {
		if err := check(name); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, name := range bad {
		err := check(name)
		if !errors.Is(err, holdfast.InvalidArgument) {
			t.Errorf("%s: %q gives %v", what, name, err)
			continue
		}
		if !utf8.ValidString(err.Error()) {
			t.Errorf("%s: the message is not UTF-8: %q", what, err.Error())
		}
	}
}

func TestCheckRoom(t *testing.T) {
	checkNames(t, holdfast.CheckRoom, map[string]string{
		"one letter":          "a",
		"colons":              "org:1:board-7",
		"space inside":        "my room",
		"slash":               "a/b",
		"'!' inside":          "a!b",
		"three dots":          "...",
		"dots inside":         "a..b",
		"letters with marks":  "Zürich",
		"decomposed":          "Zu\u0308rich",
		"Chinese":             "会议室",
		"Arabic":              "غرفة",
		"emoji":               "room-🎉",
		"emoji with selector": "room-☂\ufe0f",
		"percent":             "%00",
		"longest":             strings.Repeat("a", 200),
		"longest, not ASCII":  strings.Repeat("é", 100),
		"replacement char":    "a\ufffdb",
	}, map[string]string{
		"empty":                 "",
		"too long":              strings.Repeat("a", 201),
		"too long, not ASCII":   strings.Repeat("é", 101),
		"dot":                   ".",
		"dot dot":               "..",
		"'!' first":             "!a",
		"'!' alone":             "!",
		"star":                  "*",
		"star inside":           "a*b",
		"star, not ASCII":       "é*",
		"space first":           " a",
		"space last":            "a ",
		"space alone":           " ",
		"no-break space first":  "\u00a0a",
		"ideographic last":      "a\u3000",
		"space, not ASCII":      "é ",
		"NUL":                   "a\x00b",
		"line end":              "a\nb",
		"tab last":              "a\t",
		"DEL":                   "a\x7fb",
		"C1 control":            "a\u0085b",
		"zero-width space":      "a\u200bb",
		"zero-width joiner":     "a\u200db",
		"zero-width non-joiner": "a\u200cb",
		"word joiner":           "a\u2060b",
		"byte order mark":       "\ufeffa",
		"soft hyphen":           "a\u00adb",
		"right-to-left":         "a\u202eb",
		"left-to-right mark":    "a\u200eb",
		"Arabic letter mark":    "a\u061cb",
		"isolate":               "a\u2066b",
		"line separator":        "a\u2028b",
		"paragraph separator":   "a\u2029b",
		"tag character":         "a\U000e0041b",
		"Hangul filler":         "a\u3164b",
		"grapheme joiner":       "a\u034fb",
		"bad UTF-8":             "a\xffb",
		"cut UTF-8":             "a\xc3",
		"overlong UTF-8":        "a\xc0\xaf",
		"surrogate":             "a\xed\xa0\x80",
	})
}

func TestCheckEvent(t *testing.T) {
	good := map[string]string{
		"one letter":      "a",
		"reserved":        "connect",
		"colon":           "todo:create",
		"space":           "a b",
		"not ASCII":       "größe",
		"longest":         strings.Repeat("e", 128),
		"zero-width join": "👩\u200d💻",
	}
	bad := map[string]string{
		"empty":     "",
		"too long":  strings.Repeat("e", 129),
		"NUL":       "a\x00",
		"line end":  "a\n",
		"DEL":       "\x7f",
		"C1":        "a\u009f",
		"bad UTF-8": "a\xfe",
	}
	checkNames(t, holdfast.CheckEvent, good, bad)

	delete(good, "reserved")
	for _, name := range []string{
		"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener",
		"typing", "user_typing", "auth:", "auth:closing", "room:join", "room:x", "presence:join",
	} {
		bad["reserved "+name] = name
		if !holdfast.ReservedEvent(name) {
			t.Errorf("%s is not reserved", name)
		}
	}
	for _, name := range []string{"Connect", "connected", "auth", "authz:x", "my-room:x", "newlistener", "room"} {
		good["not reserved "+name] = name
		if holdfast.ReservedEvent(name) {
			t.Errorf("%s is reserved", name)
		}
	}
	checkNames(t, holdfast.CheckPublish, good, bad)
}

func TestCheckEventID(t *testing.T) {
	checkNames(t, holdfast.CheckEventID, map[string]string{
		"none":      "",
		"ULID":      "01ARZ3NDEKTSV4RRFFQ69G5FAV",
		"not ASCII": "é",
		"longest":   strings.Repeat("i", 128),
	}, map[string]string{
		"too long":  strings.Repeat("i", 129),
		"control":   "a\x01",
		"C1":        "a\u0080",
		"bad UTF-8": "\xff",
	})
}

func FuzzCheckRoom(f *testing.F) {
	for _, name := range []string{"a", "Zürich", " a", "!a", "a*", "\u200b", "\xff", "..", strings.Repeat("x", 201)} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if holdfast.CheckRoom(name) != nil {
			return
		}
		if name == "" || len(name) > holdfast.MaxRoomName || !utf8.ValidString(name) || strings.TrimSpace(name) != name ||
			name[0] == '!' || strings.ContainsAny(name, "*\x00\n\r\t\x7f\u200b\u200d\u202e\ufeff") {
			t.Errorf("%q is taken for a room name", name)
		}
	})
}
