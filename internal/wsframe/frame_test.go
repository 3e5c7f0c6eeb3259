package wsframe

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gobwas/ws"
)

func TestValidUTF8(t *testing.T) {
	for text, want := range map[string]int{"": 0, "a": 1, "é": 2, "a\xc3": 1, "a\xe2\x82": 1, "\xf0\x9f\x8e": 0, "é\xf0": 2} {
		if n, ok := validUTF8([]byte(text)); n != want || !ok {
			t.Errorf("%q: %d %v", text, n, ok)
		}
	}
	for _, text := range []string{"\xff", "a\x80", "\xc0", "\xed\xa0", "\xf4\x90", "\xe2\x28", "\xf5", "\xe2\x82\xe2"} {
		if _, ok := validUTF8([]byte(text)); ok {
			t.Errorf("%q can become UTF-8", text)
		}
	}
}

// A text is found wrong with the fragment that makes it so, and not before.
func TestText(t *testing.T) {
	for _, tt := range []struct {
		parts []string
		want  int // which of them is refused, from 1; 0: none
	}{
		{[]string{"a", "\xc3", "\xa9"}, 0},
		{[]string{"\xf0\x9f", "", "\x8e", "\x89"}, 0},
		{[]string{"a\xc3", "b", "c"}, 2},
		{[]string{"a", "b", "\xc3"}, 3},
		{[]string{"\xff"}, 1},
		{[]string{""}, 0},
	} {
		var text Text
		var msg []byte
		got := 0
		for i, part := range tt.parts {
			msg = append(msg, part...)
			if !text.Check(msg, i == len(tt.parts)-1) {
				got = i + 1
				break
			}
		}
		if got != tt.want {
			t.Errorf("%q: part %d is refused, want %d", tt.parts, got, tt.want)
		}
	}
}

// FuzzHeader sets ParseHeader beside that of gobwas/ws.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{"", "\x81", "\x81\x05hello", "\x82\x7e\x00\x80", "\x82\x7e\x00\x7d", "\x01\xff\x00\x00\x00\x00\x00\x01\x00\x00mask", "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "\xf9\x80mask"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		h, size, err := ParseHeader(p)
		r := bytes.NewReader(p)
		want, fault := ws.ReadHeader(r)
		switch {
		case err != nil:
			if e, ok := errors.AsType[*Error](err); !ok || e.Code != Protocol {
				t.Errorf("%x: %v", p, err)
			}
			// It lets a length pass that is not in its shortest form.
			if fault == nil && want.Length > 125 && (want.Length > 0xffff || p[1]&0x7f == 126) {
				t.Errorf("%x: %v, and %+v", p, err, want)
			}
		case size == 0:
			if fault == nil {
				t.Errorf("%x is unfinished, and %+v", p, want)
			}
		case fault != nil || (ws.Header{Fin: h.Fin, Rsv: h.Rsv, OpCode: ws.OpCode(h.OpCode), Masked: h.Masked, Mask: h.Mask, Length: h.Length}) != want || size != len(p)-r.Len():
			t.Errorf("%x: %+v in %d bytes, want %+v, %v", p, h, size, want, fault)
		}
	})
}

func TestParseClose(t *testing.T) {
	for body, want := range map[string]uint16{
		"": NoStatus, "\x03\xe8": 1000, "\x03\xe8bye": 1000, "\x03\xeb": 1003, "\x03\xf6": 1014, "\x0b\xb8": 3000, "\x13\x87": 4999,
	} {
		if code, reason, err := ParseClose([]byte(body)); code != want || err != nil || len(body) > 2 && string(reason) != body[2:] {
			t.Errorf("%x: %d %q %v", body, code, reason, err)
		}
	}
	for body, want := range map[string]uint16{
		"\x03": Protocol, "\x00\x00": Protocol, "\x03\xe7": Protocol, "\x03\xec": Protocol, "\x03\xed": Protocol, "\x03\xee": Protocol,
		"\x03\xf7": Protocol, "\x0b\xb7": Protocol, "\x13\x88": Protocol, "\xff\xff": Protocol, "\x03\xe8\xff": BadData,
	} {
		if e, ok := errors.AsType[*Error](func() error { _, _, err := ParseClose([]byte(body)); return err }()); !ok || e.Code != want {
			t.Errorf("%x: %v, want %d", body, e, want)
		}
	}
}
