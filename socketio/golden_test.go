package socketio_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/wiretest"
	"github.com/holdfast-dev/holdfast/socketio"
)

const transcripts = "../testdata/wire/socketio"

// TestGolden runs every case of the transcripts both ways.
func TestGolden(t *testing.T) {
	for _, c := range wiretest.Load(t, transcripts) {
		t.Run(c.Name, func(t *testing.T) {
			got, err := play(t, c)
			if code, ok := c.Get("error"); ok {
				if err == nil || holdfast.CodeOf(err) != holdfast.Code(code) {
					t.Fatalf("%s: error is %v, want %s", c.Place, err, code)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", c.Place, err)
			}
			want := meaning(t, c)
			if !equal(got, want) {
				t.Fatalf("%s: decoded %s, want %s", c.Place, show(got), show(want))
			}
			wire, ok := c.Get("encodes-as")
			if !ok {
				wire, _ = c.Get("text")
			}
			if text := string(want.Append(nil)); text != wire {
				t.Errorf("%s: encoded %q, want %q", c.Place, text, wire)
			}
			checkArgs(t, c, got)
		})
	}
}

// play gives the wire of a case to a decoder, whose answers but the last must
// be that more is to come.
func play(t *testing.T, c wiretest.Case) (socketio.Packet, error) {
	d := socketio.Decoder{Limits: limits(t, c)}
	steps := slices.DeleteFunc(slices.Clone(c.Fields), func(f wiretest.Field) bool {
		return f.Key != "text" && f.Key != "binary"
	})
	for i, f := range steps {
		read := d.Text
		if f.Key == "binary" {
			read = d.Binary
		}
		// A buffer of its own, overwritten when it is not the last one: only a
		// complete packet may alias it.
		b := []byte(f.Value)
		p, ok, err := read(b)
		if i == len(steps)-1 {
			if err == nil && !ok {
				t.Fatalf("%s: the packet is not complete", c.Place)
			}
			return p, err
		}
		if err != nil || ok {
			t.Fatalf("%s: message %d: complete %v, error %v", c.Place, i+1, ok, err)
		}
		for j := range b {
			b[j] = '#'
		}
	}
	t.Fatalf("%s: no wire", c.Place)
	panic("not reached")
}

func limits(t *testing.T, c wiretest.Case) (l socketio.Limits) {
	text, _ := c.Get("limits")
	for _, word := range strings.Fields(text) {
		name, value, _ := strings.Cut(word, "=")
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatalf("%s: %v", c.Place, err)
		}
		switch name {
		case "attachments":
			l.Attachments = n
		case "depth":
			l.Depth = n
		case "bytes":
			l.Bytes = n
		default:
			t.Fatalf("%s: unknown limit %q", c.Place, name)
		}
	}
	return l
}

func meaning(t *testing.T, c wiretest.Case) socketio.Packet {
	var p socketio.Packet
	name, _ := c.Get("type")
	for typ := socketio.Connect; typ <= socketio.ConnectError; typ++ {
		if typ.String() == name {
			p.Type = typ
		}
	}
	if p.Type == 0 {
		t.Fatalf("%s: unknown type %q", c.Place, name)
	}
	p.Namespace = "/"
	if ns, ok := c.Get("namespace"); ok {
		p.Namespace = ns
	}
	if id, ok := c.Get("id"); ok {
		var err error
		if p.ID, err = strconv.ParseUint(id, 10, 64); err != nil {
			t.Fatalf("%s: %v", c.Place, err)
		}
		p.HasID = true
	}
	if data, ok := c.Get("data"); ok {
		p.Data = []byte(data)
	}
	for _, b := range c.All("binary") {
		p.Attachments = append(p.Attachments, []byte(b))
	}
	return p
}

// checkArgs compares what Event or AckArgs say of a packet with the case.
func checkArgs(t *testing.T, c wiretest.Case, p socketio.Packet) {
	var (
		args socketio.Args
		err  error
	)
	switch p.Type {
	case socketio.Event:
		var name string
		name, args, err = p.Event()
		if want, _ := c.Get("event"); err == nil && name != want {
			t.Errorf("%s: event %q, want %q", c.Place, name, want)
		}
		if _, err := p.AckArgs(); err == nil {
			t.Errorf("%s: an event has ack arguments", c.Place)
		}
	case socketio.Ack:
		args, err = p.AckArgs()
		if _, _, err := p.Event(); err == nil {
			t.Errorf("%s: an ack has an event", c.Place)
		}
	default:
		return
	}
	if err != nil {
		t.Fatalf("%s: %v", c.Place, err)
	}
	compareArgs(t, c, "arg", args)
	portable, err := args.Portable()
	if err != nil || len(portable.Attachments) > 0 {
		t.Fatalf("%s: portable form has %d attachments, error %v", c.Place, len(portable.Attachments), err)
	}
	if len(c.All("portable")) > 0 {
		compareArgs(t, c, "portable", portable)
	}
}

func compareArgs(t *testing.T, c wiretest.Case, key string, args socketio.Args) {
	var got []string
	for _, v := range args.Values {
		got = append(got, string(v))
	}
	if want := c.All(key); !slices.Equal(got, want) {
		t.Errorf("%s: %s are %q, want %q", c.Place, key, got, want)
	}
}

func equal(a, b socketio.Packet) bool {
	return a.Type == b.Type && a.Namespace == b.Namespace && a.ID == b.ID && a.HasID == b.HasID &&
		bytes.Equal(a.Data, b.Data) && slices.EqualFunc(a.Attachments, b.Attachments, bytes.Equal)
}

func show(p socketio.Packet) string {
	return fmt.Sprintf("%s %s id=%d,%v %s %x", p.Type, p.Namespace, p.ID, p.HasID, p.Data, p.Attachments)
}
