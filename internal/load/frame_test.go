package load

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"pgregory.net/rapid"
)

func TestParseFrame(t *testing.T) {
	long := strings.Repeat("x", 126)
	for name, c := range map[string]struct {
		data    string
		op      byte
		final   bool
		payload string
		n       int
		err     error
	}{
		"nothing":                {data: ""},
		"half a head":            {data: "\x81"},
		"a head alone":           {data: "\x81\x05"},
		"cut":                    {data: "\x81\x05hell"},
		"whole":                  {data: "\x81\x05hello", op: opText, final: true, payload: "hello", n: 7},
		"with the next":          {data: "\x81\x05hello\x81", op: opText, final: true, payload: "hello", n: 7},
		"empty":                  {data: "\x81\x00", op: opText, final: true, n: 2},
		"first part":             {data: "\x01\x02he", op: opText, payload: "he", n: 4},
		"last part":              {data: "\x80\x02lo", op: opContinuation, final: true, payload: "lo", n: 4},
		"binary":                 {data: "\x82\x01\xff", op: opBinary, final: true, payload: "\xff", n: 3},
		"ping":                   {data: "\x89\x01p", op: opPing, final: true, payload: "p", n: 3},
		"close":                  {data: "\x88\x02\x03\xe8", op: opClose, final: true, payload: "\x03\xe8", n: 4},
		"16 bits":                {data: "\x81\x7e\x00\x7e" + long, op: opText, final: true, payload: long, n: 130},
		"16 bits, cut":           {data: "\x81\x7e\x00"},
		"64 bits":                {data: "\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("y", 1<<16), op: opBinary, final: true, payload: strings.Repeat("y", 1<<16), n: 10 + 1<<16},
		"64 bits, cut":           {data: "\x82\x7f\x00\x00\x00\x00\x00\x01\x00"},
		"16 bits, not needed":    {data: "\x81\x7e\x00\x7d", err: errLength},
		"64 bits, not needed":    {data: "\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", err: errLength},
		"over the limit":         {data: "\x81\x7f\x00\x00\x00\x00\x00\x10\x00\x01", err: errTooLong},
		"a sign bit":             {data: "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", err: errTooLong},
		"compressed":             {data: "\xc1\x00", err: errReserved},
		"opcode 3":               {data: "\x83\x00", err: errReserved},
		"opcode 11":              {data: "\x8b\x00", err: errReserved},
		"masked":                 {data: "\x81\x80abcd", err: errMasked},
		"a control frame's part": {data: "\x09\x00", err: errControl},
		"a long control frame":   {data: "\x89\x7e", err: errControl},
	} {
		f, n, err := parseFrame([]byte(c.data), 1<<20)
		if !errors.Is(err, c.err) || n != c.n {
			t.Errorf("%s: %d bytes, error %v; want %d and %v", name, n, err, c.n, c.err)
		}
		if n > 0 && (f.op != c.op || f.final != c.final || string(f.payload) != c.payload) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestAppendFrame has another library read what is written.
func TestAppendFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{0, 1, 7, 8, 9, 125, 126, 127, 65535, 65536, 70000}).Draw(t, "size")
		payload := bytes.Repeat([]byte("0123456"), size/7+1)[:size]
		mask := [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "mask"))
		data := appendFrame([]byte("before"), opText, mask, payload)
		r := bytes.NewReader(data[len("before"):])
		head, got, err := readFrame(r)
		if err != nil || r.Len() > 0 {
			t.Fatalf("%v, %d bytes left", err, r.Len())
		}
		if !head.Masked || head.Mask != mask || head.OpCode != ws.OpText || !head.Fin {
			t.Errorf("%+v", head)
		}
		if ws.Cipher(got, head.Mask, 0); !bytes.Equal(got, payload) {
			t.Error("the payload is another")
		}
	})
}

// FuzzParseFrame compares with another library, and sees to it that it does
// not matter where what is read was cut.
func FuzzParseFrame(f *testing.F) {
	f.Add([]byte("\x81\x05hello"))
	f.Add([]byte("\x89\x00\x81\x7e\x00\x7e"))
	f.Fuzz(func(t *testing.T, data []byte) {
		const limit = 1 << 16
		got, n, err := parseFrame(data, limit)
		if n < 0 || n > len(data) || err != nil && n > 0 {
			t.Fatalf("%d bytes of %d, %v", n, len(data), err)
		}
		if n > 0 {
			for cut := range n {
				if _, m, err := parseFrame(data[:cut], limit); m != 0 || err != nil {
					t.Fatalf("the first %d of %d bytes: %d, %v", cut, n, m, err)
				}
			}
		}
		r := bytes.NewReader(data)
		want, payload, werr := readFrame(r)
		if n > 0 {
			if werr != nil || len(data)-r.Len() != n || byte(want.OpCode) != got.op || want.Fin != got.final || !bytes.Equal(payload, got.payload) {
				t.Fatalf("%+v of %d bytes; the other one has %+v, %v", got, n, want, werr)
			}
		} else if err == nil && werr == nil {
			t.Fatalf("the other one has a whole frame: %+v", want)
		}
	})
}

// readFrame has the other library read a frame's head.
func readFrame(r *bytes.Reader) (ws.Header, []byte, error) {
	head, err := ws.ReadHeader(r)
	if err != nil || head.Length > int64(r.Len()) {
		return head, nil, cmp.Or(err, io.ErrUnexpectedEOF)
	}
	payload := make([]byte, head.Length)
	_, err = io.ReadFull(r, payload)
	return head, payload, err
}
