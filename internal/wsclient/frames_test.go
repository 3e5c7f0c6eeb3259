package wsclient

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

// frame makes a server's frame; the first byte has FIN, RSV and the opcode.
func frame(first byte, payload string) string {
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return string(b) + payload
}

// stream is a connection whose bytes are given.
type stream struct {
	io.Reader
	io.Writer
}

func (stream) Close() error { return nil }

const testLimit = 70_000

func overStream(r io.Reader, w io.Writer) *Conn {
	c := &Conn{body: stream{r, w}}
	c.rd.limit, c.rd.in.Pool, c.rd.src = testLimit, &buffers, &plainSource{r: r}
	return c
}

// heard is all that a stream says, in words.
func heard(c *Conn) string {
	var out []string
	for {
		kind, data, err := c.Read()
		if fe, ok := errors.AsType[*FrameError](err); ok {
			return strings.Join(append(out, fmt.Sprint("breach ", fe.Code)), " ")
		}
		if ce, ok := errors.AsType[*CloseError](err); ok {
			return strings.Join(append(out, fmt.Sprintf("close %d %q", ce.Code, ce.Reason)), " ")
		}
		if err != nil {
			return strings.Join(append(out, err.Error()), " ")
		}
		text := string(data)
		if len(text) > 20 {
			text = fmt.Sprintf("%s…%d", text[:3], len(text))
		}
		out = append(out, fmt.Sprintf("%s:%s", [...]string{"text", "binary", "ping"}[kind], text))
	}
}

// RFC 6455: what a server may send and what it may not, each as the bytes
// come: at once, and one by one.
func TestFrames(t *testing.T) {
	const end = "\x88\x02\x03\xe8"
	long := func(n int) string { return strings.Repeat("x", n) }
	for name, test := range map[string]struct{ in, want string }{
		"§5.6 text":                             {frame(0x81, "hé") + end, `text:hé close 1000 ""`},
		"§5.6 binary":                           {frame(0x82, "\xff") + end, "binary:\xff close 1000 \"\""},
		"§5.6 empty text":                       {frame(0x81, "") + end, `text: close 1000 ""`},
		"§5.2 length of 125":                    {frame(0x81, long(125)) + end, `text:xxx…125 close 1000 ""`},
		"§5.2 length of 126":                    {frame(0x81, long(126)) + end, `text:xxx…126 close 1000 ""`},
		"§5.2 length of 65535":                  {frame(0x81, long(65535)) + end, `text:xxx…65535 close 1000 ""`},
		"§5.2 length of 65536":                  {frame(0x81, long(65536)) + end, `text:xxx…65536 close 1000 ""`},
		"§5.2 16-bit length that fits 7":        {"\x81\x7e\x00\x7d", "breach 1002"},
		"§5.2 64-bit length that fits 16":       {"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", "breach 1002"},
		"§5.2 64-bit length with its top bit":   {"\x81\x7f\x80\x00\x00\x00\x00\x00\x00\x00", "breach 1002"},
		"§5.2 RSV1":                             {frame(0xc1, "a"), "breach 1002"},
		"§5.2 RSV2":                             {frame(0xa1, "a"), "breach 1002"},
		"§5.2 RSV3":                             {frame(0x91, "a"), "breach 1002"},
		"§5.2 reserved opcode":                  {frame(0x83, "a"), "breach 1002"},
		"§5.2 reserved control opcode":          {frame(0x8b, ""), "breach 1002"},
		"§5.1 masked by the server":             {"\x81\x81abcd\x00", "breach 1002"},
		"§5.4 fragments":                        {frame(0x01, "a") + frame(0x00, "b") + frame(0x80, "c") + end, `text:abc close 1000 ""`},
		"§5.4 empty fragments":                  {frame(0x01, "") + frame(0x00, "") + frame(0x80, "") + end, `text: close 1000 ""`},
		"§5.4 a ping between fragments":         {frame(0x01, "a") + frame(0x89, "p") + frame(0x80, "b") + end, `ping:p text:ab close 1000 ""`},
		"§5.4 a continuation of nothing":        {frame(0x80, "a"), "breach 1002"},
		"§5.4 a new message among fragments":    {frame(0x01, "a") + frame(0x81, "b"), "breach 1002"},
		"§5.4 close among fragments":            {frame(0x01, "a") + end, `close 1000 ""`},
		"§5.5 ping":                             {frame(0x89, "") + frame(0x89, "p") + end, `ping: ping:p close 1000 ""`},
		"§5.5 pong that nobody asked for":       {frame(0x8a, "p") + end, `close 1000 ""`},
		"§5.5 control frame of 126 bytes":       {frame(0x89, long(126)), "breach 1002"},
		"§5.5 control frame in fragments":       {frame(0x09, "p"), "breach 1002"},
		"§5.5.1 close without a code":           {frame(0x88, ""), `close 1005 ""`},
		"§5.5.1 close with half a code":         {frame(0x88, "\x03"), "breach 1002"},
		"§5.5.1 close with a reason":            {frame(0x88, "\x0f\xa1no é"), `close 4001 "no é"`},
		"§5.5.1 a reason that is no UTF-8":      {frame(0x88, "\x03\xe8\xff"), "breach 1007"},
		"§7.4 code 999":                         {frame(0x88, "\x03\xe7"), "breach 1002"},
		"§7.4 code 1004":                        {frame(0x88, "\x03\xec"), "breach 1002"},
		"§7.4 code 1005":                        {frame(0x88, "\x03\xed"), "breach 1002"},
		"§7.4 code 1006":                        {frame(0x88, "\x03\xee"), "breach 1002"},
		"§7.4 code 1015":                        {frame(0x88, "\x03\xf7"), "breach 1002"},
		"§7.4 code 2999":                        {frame(0x88, "\x0b\xb7"), "breach 1002"},
		"§7.4 code 3000":                        {frame(0x88, "\x0b\xb8"), `close 3000 ""`},
		"§7.4 code 4999":                        {frame(0x88, "\x13\x87"), `close 4999 ""`},
		"§7.4 code 5000":                        {frame(0x88, "\x13\x88"), "breach 1002"},
		"§8.1 text that is no UTF-8":            {frame(0x81, "\xc0"), "breach 1007"},
		"§8.1 a character cut off at the end":   {frame(0x01, "\xc3") + frame(0x80, ""), "breach 1007"},
		"§8.1 a character over two fragments":   {frame(0x01, "\xc3") + frame(0x80, "\xa9") + end, `text:é close 1000 ""`},
		"§8.1 wrong before the last fragment":   {frame(0x01, "\xff") + frame(0x00, "a"), "breach 1007"},
		"§10.4 as large as the limit":           {frame(0x82, long(testLimit)) + end, `binary:xxx…70000 close 1000 ""`},
		"§10.4 over the limit":                  {frame(0x82, long(testLimit+1)), "breach 1009"},
		"§10.4 fragments over the limit":        {frame(0x02, long(testLimit)) + frame(0x80, "x"), "breach 1009"},
		"§10.4 a length that is never sent":     {"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", "breach 1009"},
		"§7.1.7 the end of the stream":          {frame(0x81, "a"), "text:a unexpected EOF"},
		"§7.1.7 the end of it inside a message": {"\x81\x05a", "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := heard(overStream(strings.NewReader(test.in), nil)); got != test.want {
				t.Errorf("at once: %s, want %s", got, test.want)
			}
			if got := heard(overStream(iotest.OneByteReader(strings.NewReader(test.in)), nil)); got != test.want {
				t.Errorf("byte by byte: %s, want %s", got, test.want)
			}
		})
	}
}

// RFC 6455 §5.3: what goes out is masked, each frame by another key, and of the
// shortest length.
func TestWrite(t *testing.T) {
	var out bytes.Buffer
	c := overStream(strings.NewReader(""), &out)
	var f Frames
	want := []string{"\x81", "\x82", "\x8a", "\x88", "\x88"}
	payloads := []string{"hé", strings.Repeat("y", 66_000), "p", "\x03\xe8", ""}
	f.Message(Text, []byte(payloads[0]))
	f.Message(Binary, []byte(payloads[1]))
	f.Pong([]byte(payloads[2]))
	f.Close(wsframe.Normal)
	f.Close(wsframe.NoStatus)
	if err := c.Write(&f, 1<<40); err != nil {
		t.Fatal(err)
	}
	f.Done()
	if f.Len() != 0 {
		t.Error(f.Len())
	}
	keys := make(map[string]bool)
	rest := out.Bytes()
	for i, payload := range payloads {
		header := []byte(frame(want[i][0], payload))
		header = header[:len(header)-len(payload)]
		header[1] |= 0x80
		if !bytes.HasPrefix(rest, header) {
			t.Fatalf("frame %d begins %x, want %x", i, rest[:min(len(rest), 10)], header)
		}
		key := rest[len(header) : len(header)+4]
		keys[string(key)] = true
		body := rest[len(header)+4 : len(header)+4+len(payload)]
		for j := range body {
			if body[j]^key[j%4] != payload[j] {
				t.Fatalf("frame %d differs at %d", i, j)
			}
		}
		rest = rest[len(header)+4+len(payload):]
	}
	if len(rest) > 0 || len(keys) != len(payloads) {
		t.Errorf("%d bytes more, %d keys", len(rest), len(keys))
	}
}
