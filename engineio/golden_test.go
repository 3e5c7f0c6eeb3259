package engineio_test

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/engineio"
	"github.com/holdfast-dev/holdfast/internal/wiretest"
)

const transcripts = "../testdata/wire/engineio"

// TestGolden runs every case of the transcripts both ways.
func TestGolden(t *testing.T) {
	for _, c := range wiretest.Load(t, transcripts) {
		t.Run(c.Name, func(t *testing.T) {
			if text, ok := c.Get("handshake"); ok {
				goldenHandshake(t, c, text)
				return
			}
			goldenPackets(t, c)
		})
	}
}

func goldenPackets(t *testing.T, c wiretest.Case) {
	var (
		got []engineio.Packet
		err error
	)
	wire, payload := c.Get("payload")
	if payload {
		limit, _ := c.Get("max")
		n, _ := strconv.Atoi(limit)
		got, err = engineio.ParsePayload([]byte(wire), n)
	} else {
		wire, _ = c.Get("packet")
		var p engineio.Packet
		p, err = engineio.Parse([]byte(wire))
		got = []engineio.Packet{p}
	}
	if code, ok := c.Get("error"); ok {
		wantCode(t, c, err, code)
		return
	}
	if err != nil {
		t.Fatalf("%s: %v", c.Place, err)
	}
	want := goldenMeaning(t, c)
	if !slices.EqualFunc(got, want, equal) {
		t.Fatalf("%s: decoded %s, want %s", c.Place, show(got), show(want))
	}
	var text []byte
	if payload {
		text = engineio.AppendPayload(nil, want...)
	} else {
		text = want[0].Append(nil)
	}
	if string(text) != wire {
		t.Errorf("%s: encoded %q, want %q", c.Place, text, wire)
	}
}

func goldenMeaning(t *testing.T, c wiretest.Case) []engineio.Packet {
	var want []engineio.Packet
	for _, f := range c.Fields {
		if f.Key == "binary" {
			want = append(want, engineio.Packet{Type: engineio.Message, Binary: true, Data: []byte(f.Value)})
			continue
		}
		for typ := engineio.Open; typ <= engineio.Noop; typ++ {
			if typ.String() == f.Key {
				want = append(want, engineio.Packet{Type: typ, Data: []byte(f.Value)})
			}
		}
	}
	if len(want) == 0 {
		t.Fatalf("%s: no meaning", c.Place)
	}
	return want
}

func goldenHandshake(t *testing.T, c wiretest.Case, text string) {
	got, err := engineio.ParseHandshake([]byte(text))
	if code, ok := c.Get("error"); ok {
		wantCode(t, c, err, code)
		return
	}
	if err != nil {
		t.Fatalf("%s: %v", c.Place, err)
	}
	number := func(key string) int {
		value, _ := c.Get(key)
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatalf("%s: %s: %v", c.Place, key, err)
		}
		return n
	}
	upgrades, _ := c.Get("upgrades")
	want := engineio.Handshake{
		Upgrades:     strings.Fields(upgrades),
		PingInterval: time.Duration(number("ping-interval")) * time.Millisecond,
		PingTimeout:  time.Duration(number("ping-timeout")) * time.Millisecond,
		MaxPayload:   number("max-payload"),
	}
	want.SID, _ = c.Get("sid")
	if got.SID != want.SID || !slices.Equal(got.Upgrades, want.Upgrades) || got.PingInterval != want.PingInterval ||
		got.PingTimeout != want.PingTimeout || got.MaxPayload != want.MaxPayload {
		t.Fatalf("%s: decoded %+v, want %+v", c.Place, got, want)
	}
	if other, ok := c.Get("encodes-as"); ok {
		text = other
	}
	if out := string(want.Append(nil)); out != text {
		t.Errorf("%s: encoded %s, want %s", c.Place, out, text)
	}
}

func wantCode(t *testing.T, c wiretest.Case, err error, code string) {
	t.Helper()
	if err == nil || holdfast.CodeOf(err) != holdfast.Code(code) {
		t.Fatalf("%s: error is %v, want %s", c.Place, err, code)
	}
}

func equal(a, b engineio.Packet) bool {
	return a.Type == b.Type && a.Binary == b.Binary && bytes.Equal(a.Data, b.Data)
}

func show(packets []engineio.Packet) string {
	var s strings.Builder
	for _, p := range packets {
		if p.Binary {
			s.WriteString("[binary " + hex.EncodeToString(p.Data) + "]")
			continue
		}
		s.WriteString("[" + p.Type.String() + " " + strconv.Quote(string(p.Data)) + "]")
	}
	return s.String()
}
