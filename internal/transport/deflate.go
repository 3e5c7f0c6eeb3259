package transport

import (
	"compress/flate"
	"io"
	"runtime"
	"strings"
	"sync"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

// deflateAnswer accepts an offer of permessage-deflate (RFC 7692 §7.1). No
// context is kept, either way: what is compressed is then the same bytes for
// all receivers, and a connection holds no window while it is idle. A server
// may ask that of a client which did not offer it (§7.1.1.2).
const deflateAnswer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

const (
	// deflateFrom is the default of EngineConfig.CompressFrom.
	deflateFrom = 1 << 10
	// rsv1 is the bit that says that a message is compressed.
	rsv1 = 4
	// deflateWindow is how far back DEFLATE may refer.
	deflateWindow = 32 << 10
	// maxFinal bounds the final blocks of a message. Clients that can't flush
	// otherwise end each frame with one (RFC 7692 §7.2.3.4), and each costs a
	// reset, with a copy of the window.
	maxFinal = 16
)

// deflateTail is what a sender leaves out at the end of each message (RFC 7692
// §7.2.1), and a final block behind it, by which the decompressor knows the end.
const deflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// deflater compresses and decompresses messages for the connections of a host.
// A compressor costs most of a megabyte: they are pooled, and no more are at
// work at once than there are processors. It is safe for concurrent use.
type deflater struct {
	from    int           // bytes a message has at the least to be compressed
	turns   chan struct{} // holds one value for each that is at work
	packers sync.Pool     // of *flate.Writer
	readers sync.Pool     // of *inflater
}

func newDeflater(from int) *deflater {
	return &deflater{from: from, turns: make(chan struct{}, runtime.GOMAXPROCS(0))}
}

// wire returns a frame as it goes to a WebSocket that takes compressed
// messages: made once, for all of them.
func (d *deflater) wire(f *hub.Frame) []byte {
	if f.Size() < d.from {
		return f.Wire
	}
	return f.Packed(d.pack)
}

// pack is wire's work. Messages that are short, or become no shorter, go as
// they are.
func (d *deflater) pack(f *hub.Frame) []byte {
	d.turns <- struct{}{}
	defer func() { <-d.turns }()
	wire := make([]byte, 0, f.Size()/2)
	packed := false
	if len(f.Text) > 0 {
		wire, packed = d.appendMessage(wire, ws.OpText, f.Text)
	}
	for _, b := range f.Binary {
		var p bool
		wire, p = d.appendMessage(wire, ws.OpBinary, b)
		packed = packed || p
	}
	if !packed {
		return f.Wire
	}
	return wire
}

func (d *deflater) appendMessage(wire []byte, op ws.OpCode, data []byte) (_ []byte, packed bool) {
	if len(data) >= d.from {
		// The header's length depends on what follows it: that goes first into
		// its place behind the longest header that can be needed.
		start := len(wire)
		header := len(appendHeader(nil, op, len(data)))
		out := d.compress(append(wire, make([]byte, header)...), data)
		if n := len(out) - start - header; n < len(data) {
			body := out[start+header:]
			wire = appendHeader(out[:start], op|rsv1<<4, n)
			return append(wire, body...), true
		}
		wire = out[:start]
	}
	return append(appendHeader(wire, op, len(data)), data...), false
}

// compress appends data as the payload of a compressed message.
func (d *deflater) compress(dst, data []byte) []byte {
	out := appender{dst}
	w, ok := d.packers.Get().(*flate.Writer)
	if ok {
		w.Reset(&out)
	} else {
		w, _ = flate.NewWriter(&out, flate.BestSpeed) // fails for other levels only
	}
	_, _ = w.Write(data) // an appender takes everything
	_ = w.Flush()
	w.Reset(nil)
	d.packers.Put(w)
	return out.b[:len(out.b)-len("\x00\x00\xff\xff")]
}

type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

// inflate returns the message of which data is the compressed payload. It is
// refused as soon as it is larger than limit.
func (d *deflater) inflate(data []byte, limit int) ([]byte, error) {
	d.turns <- struct{}{}
	defer func() { <-d.turns }()
	in, ok := d.readers.Get().(*inflater)
	if !ok {
		in = new(inflater)
		in.flate = flate.NewReader(&in.src)
	}
	out, err := in.inflate(data, limit)
	in.src = tailed{}
	d.readers.Put(in)
	return out, err
}

// inflater decompresses one message at a time.
type inflater struct {
	src   tailed
	flate io.ReadCloser // a flate.Resetter
}

func (in *inflater) inflate(data []byte, limit int) ([]byte, error) {
	in.src = tailed{data: data}
	out := make([]byte, 0, min(limit, max(3*len(data), 512))+1)
	in.reset(nil)
	for final := 0; ; {
		if len(out) == cap(out) {
			grown := make([]byte, len(out), min(2*cap(out), limit+1))
			copy(grown, out)
			out = grown
		}
		n, err := in.flate.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		switch {
		case len(out) > limit:
			return nil, tooLarge(limit)
		case err == nil:
		case err != io.EOF:
			return nil, badDeflate()
		case in.src.empty():
			return out, nil
		case final == maxFinal:
			return nil, badDeflate()
		default: // a final block that is not the end
			final++
			in.reset(out[max(0, len(out)-deflateWindow):])
		}
	}
}

func (in *inflater) reset(window []byte) {
	_ = in.flate.(flate.Resetter).Reset(&in.src, window) // never fails
}

func badDeflate() error {
	return &frameError{wsframe.BadData, holdfast.Errorf(holdfast.ProtocolError, "compressed message can't be read")}
}

func tooLarge(limit int) error {
	return &frameError{wsframe.TooBig, holdfast.Errorf(holdfast.MessageTooLarge, "message is larger than %d bytes", limit)}
}

// tailed reads data and then deflateTail. It is an io.ByteReader, from which
// flate takes no more than it needs.
type tailed struct {
	data []byte
	tail int // how much of deflateTail was read
}

func (t *tailed) empty() bool { return len(t.data) == 0 && t.tail == len(deflateTail) }

func (t *tailed) ReadByte() (byte, error) {
	if len(t.data) > 0 {
		b := t.data[0]
		t.data = t.data[1:]
		return b, nil
	}
	if t.tail == len(deflateTail) {
		return 0, io.EOF
	}
	t.tail++
	return deflateTail[t.tail-1], nil
}

func (t *tailed) Read(p []byte) (int, error) {
	if len(t.data) > 0 {
		n := copy(p, t.data)
		t.data = t.data[n:]
		return n, nil
	}
	if t.tail == len(deflateTail) {
		return 0, io.EOF
	}
	n := copy(p, deflateTail[t.tail:])
	t.tail += n
	return n, nil
}

// offersDeflate reports whether one of the offers of a handshake (its
// Sec-WebSocket-Extensions headers) is one that deflateAnswer accepts.
func offersDeflate(headers []string) bool {
	for _, h := range headers {
		for offer := range unquoted(h, ',') {
			if acceptable(offer) {
				return true
			}
		}
	}
	return false
}

// acceptable looks at one offer. RFC 7692 §7.1 has it declined for parameters
// that are unknown, there twice or of a wrong value; and a smaller window than
// DEFLATE's own can't be kept to.
func acceptable(offer string) bool {
	seen := make(map[string]bool)
	name := true
	for part := range unquoted(offer, ';') {
		key, value, has := strings.Cut(part, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		if name {
			if name = false; has || !strings.EqualFold(key, "permessage-deflate") {
				return false
			}
			continue
		}
		if len(value) >= 2 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		good := false
		switch key {
		case "server_no_context_takeover", "client_no_context_takeover":
			good = !has
		case "server_max_window_bits":
			good = value == "15"
		case "client_max_window_bits": // a hint, which binds nobody if it is not answered
			good = !has || windowBits(value)
		}
		if !good || seen[key] {
			return false
		}
		seen[key] = true
	}
	return true
}

// windowBits reports whether value is one of 8 to 15, without leading zeros.
func windowBits(value string) bool {
	switch value {
	case "8", "9", "10", "11", "12", "13", "14", "15":
		return true
	}
	return false
}

// unquoted goes through the parts of s between separators that are in no
// quoted string.
func unquoted(s string, separator byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		start, quoted := 0, false
		for i := 0; i < len(s); i++ {
			switch {
			case s[i] == '"':
				quoted = !quoted
			case quoted && s[i] == '\\':
				i++
			case !quoted && s[i] == separator:
				if !yield(s[start:i]) {
					return
				}
				start = i + 1
			}
		}
		yield(s[start:])
	}
}
