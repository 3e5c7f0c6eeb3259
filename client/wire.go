package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/engineio"
	"github.com/holdfast-dev/holdfast/internal/refusal"
	"github.com/holdfast-dev/holdfast/internal/wsclient"
)

// maxPackets is how many packets an answer to a poll may have. Its bytes are
// bounded as well.
const maxPackets = 1024

// The transports of SocketConfig.Transports.
const (
	WebSocket = "websocket"
	Polling   = "polling"
)

// wire carries Engine.IO packets. read is called by one goroutine, try and write
// by one at a time.
type wire interface {
	// await waits until there may be something to read; read does as well.
	await() error
	// read returns the next packet, one in text form or bytes, or a ping of the
	// transport's own. data is valid until the next call.
	read() (kind wsclient.Kind, data []byte, err error)
	// try writes what can be written without waiting, and returns what is left
	// for write.
	try(b batch) (left batch, err error)
	// write waits. It ends with an error when one packet takes longer than the
	// timeout.
	write(b batch, timeout time.Duration) error
	// cut frees everything and ends read and write.
	cut()
	// size is what of a packet counts for the server's maxPayload. whole: it
	// counts the attachments too.
	size(p outgoing, whole bool) int
}

// errTooBig is why a connection ends on which more came than MaxMessage.
var errTooBig = errors.New("client: message is larger than MaxMessage")

// address is where a socket is, with the query of one attempt.
func (s *Socket) address(transport string, extra url.Values) *url.URL {
	u := &url.URL{Scheme: s.client.base.Scheme, Host: s.client.base.Host, Path: s.cfg.Path}
	s.mu.Lock()
	q := maps.Clone(s.query)
	s.mu.Unlock()
	if q == nil {
		q = url.Values{}
	}
	maps.Copy(q, extra)
	q.Set("EIO", "4")
	q.Set("transport", transport)
	u.RawQuery = q.Encode()
	return u
}

// openWire opens a connection over one of the transports.
func (s *Socket) openWire(ctx context.Context, transport string, extra url.Values) (wire, error) {
	header := s.client.cfg.Header.Clone()
	if header == nil {
		header = http.Header{}
	}
	u := s.address(transport, extra)
	if transport == Polling {
		return openPolling(ctx, s.client.raw, u, header, s.cfg.MaxMessage)
	}
	ws, resp, err := wsclient.Dial(ctx, s.client.raw, u.String(), header, s.cfg.MaxMessage)
	if resp != nil {
		defer resp.Body.Close()
		return nil, refusedHandshake(newError(resp))
	}
	if err != nil {
		return nil, fmt.Errorf("client: %w", unwrapURL(err))
	}
	return socketWire{ws}, nil
}

// socketWire is a WebSocket.
type socketWire struct{ ws *wsclient.Conn }

func (w socketWire) await() error { return w.ws.Await() }

func (w socketWire) read() (wsclient.Kind, []byte, error) {
	kind, data, err := w.ws.Read()
	if wsclient.TooBig(err) {
		err = fmt.Errorf("%w: %w", errTooBig, err)
	}
	return kind, data, err
}

// tryBytes is up to how much is written by whoever has emitted it, and joinBytes
// is how much is joined into one write.
const (
	tryBytes  = 16 << 10
	joinBytes = 60 << 10
)

func (w socketWire) try(b batch) (left batch, err error) {
	if b.bytes > tryBytes || !w.ws.CanTry() {
		return b, nil
	}
	var f wsclient.Frames
	defer f.Done()
	for _, p := range b.items {
		p.frames(&f)
	}
	b.last(&f)
	done, err := w.ws.Try(&f)
	return batch{rest: !done}, err
}

func (w socketWire) write(b batch, timeout time.Duration) error {
	var f wsclient.Frames
	defer f.Done()
	for _, p := range b.items {
		if p.frames(&f); f.Len() < joinBytes {
			continue
		}
		if err := w.ws.Write(&f, timeout); err != nil {
			return err
		}
		f.Done()
	}
	b.last(&f)
	return w.ws.Write(&f, timeout)
}

// frames appends a packet.
func (p outgoing) frames(f *wsclient.Frames) {
	f.Message(wsclient.Text, p.text)
	for _, b := range p.binary {
		f.Message(wsclient.Binary, b)
	}
}

// last appends what follows the packets.
func (b batch) last(f *wsclient.Frames) {
	if b.pinged {
		f.Pong(b.ping)
	}
	if b.status != 0 {
		f.Close(b.status)
	}
}

func (w socketWire) cut() { w.ws.Close() }

func (w socketWire) size(p outgoing, whole bool) int {
	if whole {
		return p.size()
	}
	size := len(p.text)
	for _, b := range p.binary {
		size = max(size, len(b))
	}
	return size
}

// pollingWire is Engine.IO's HTTP long-polling: packets come as answers to GET
// requests, one of which always waits, and go out by POST.
type pollingWire struct {
	client *http.Client
	url    string
	header http.Header
	limit  int64 // of an answer, in bytes

	waiting []engineio.Packet // owned by the reader

	once sync.Once
	ctx  context.Context // ends with cut
	stop context.CancelFunc
}

// openPolling makes the first request, whose answer has the session's id.
func openPolling(ctx context.Context, client *http.Client, u *url.URL, header http.Header, max int) (*pollingWire, error) {
	w := &pollingWire{client: client, url: u.String(), header: header, limit: 2*int64(max) + 4096}
	resp, body, err := w.do(ctx, http.MethodGet, nil)
	if err != nil {
		return nil, fmt.Errorf("client: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return nil, refusedHandshake(newError(resp))
	}
	packets, err := engineio.ParsePayload(body, maxPackets)
	var h engineio.Handshake
	if err == nil && packets[0].Type != engineio.Open {
		err = holdfast.Errorf(holdfast.ProtocolError, "no handshake")
	}
	if err == nil {
		h, err = engineio.ParseHandshake(packets[0].Data)
	}
	if err != nil {
		return nil, &handshakeError{status: resp.StatusCode, err: holdfast.AsError(err)}
	}
	q := u.Query()
	q.Set("sid", h.SID)
	u.RawQuery = q.Encode()
	w.url, w.waiting = u.String(), packets
	w.ctx, w.stop = context.WithCancel(context.Background())
	return w, nil
}

func (w *pollingWire) do(ctx context.Context, method string, body []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	req.Header = w.header.Clone()
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	} else {
		// A poll takes what it is answered with out of the server: if the answer
		// is lost, so are its packets, and the connection is over. http.Transport
		// would repeat a GET without a body by itself, and nobody would know.
		req.Body, req.GetBody = io.NopCloser(bytes.NewReader(nil)), nil
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return nil, nil, unwrapURL(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, w.limit+1))
	if err == nil && int64(len(data)) > w.limit {
		err = errTooBig
	}
	return resp, data, err
}

func (w *pollingWire) await() error { return nil }

func (w *pollingWire) read() (wsclient.Kind, []byte, error) {
	for len(w.waiting) == 0 {
		resp, body, err := w.do(w.ctx, http.MethodGet, nil)
		if err != nil {
			return 0, nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return 0, nil, gone(resp, body)
		}
		if w.waiting, err = engineio.ParsePayload(body, maxPackets); err != nil {
			return 0, nil, &localError{fmt.Errorf("client: answer to a poll: %w", err)}
		}
	}
	p := w.waiting[0]
	w.waiting = w.waiting[1:]
	if p.Binary {
		return wsclient.Binary, p.Data, nil
	}
	return wsclient.Text, p.Append(nil), nil
}

// gone is the error of a session that the server doesn't know any more. It
// says nothing about why; auth:closing does.
func gone(resp *http.Response, body []byte) error {
	r := refusal.Read(resp.StatusCode, resp.Header, body)
	return fmt.Errorf("client: polling ended with status %d: %s", resp.StatusCode, r.Err.Message)
}

func (w *pollingWire) try(b batch) (left batch, err error) { return b, nil }

func (w *pollingWire) write(b batch, timeout time.Duration) error {
	for _, p := range b.items {
		body := append(make([]byte, 0, w.size(p, true)), p.text...)
		for _, b := range p.binary {
			body = append(body, 0x1e)
			body = engineio.Packet{Type: engineio.Message, Binary: true, Data: b}.Append(body)
		}
		if err := w.post(body, timeout); err != nil {
			return err
		}
	}
	if b.status == 0 {
		return nil
	}
	return w.post([]byte{byte(engineio.Close)}, closeTimeout)
}

func (w *pollingWire) post(body []byte, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(w.ctx, timeout)
	defer cancel()
	resp, answer, err := w.do(ctx, http.MethodPost, body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = gone(resp, answer)
	}
	return err
}

func (w *pollingWire) cut() { w.once.Do(w.stop) }

// size is that of the request's body, where bytes are base64.
func (w *pollingWire) size(p outgoing, _ bool) int {
	n := len(p.text)
	for _, b := range p.binary {
		n += 2 + (len(b)+2)/3*4
	}
	return n
}

// paths chooses the transport of an attempt: the first of the list until it
// can't be opened, then the next. What works is kept, but after a connection
// that lasted the first is tried again: the network may be another one.
type paths struct {
	list     []string
	at       int
	failures int // in a row with this one
	refused  int // transports that were refused as if for good
}

// fallbackAfter is how many attempts in a row a WebSocket must fail to open
// before polling is tried.
const fallbackAfter = 2

// fallbackLasts is how long a connection over another transport than the first
// must last for the first to be tried again when it has ended.
const fallbackLasts = time.Minute

func (w *paths) transport() string { return w.list[w.at] }

// after notes how an attempt ended. final: the rules would stop. It reports
// whether another transport is to be tried before.
func (w *paths) after(e ending, final bool) (other bool) {
	if e.connected {
		w.failures, w.refused = 0, 0
		if w.at > 0 && e.lasted >= fallbackLasts {
			w.at, w.failures = 0, fallbackAfter-1 // one attempt, as it didn't work before
		}
		return false
	}
	if len(w.list) < 2 || !e.blocked() {
		return false
	}
	w.failures++
	if final {
		w.refused++
		other = w.refused < len(w.list)
	} else {
		w.refused = 0
	}
	if final || w.failures >= fallbackAfter || w.transport() == Polling {
		w.at, w.failures = (w.at+1)%len(w.list), 0
	}
	return other
}

// blocked reports whether an attempt may have failed because something on the
// way doesn't let the transport through.
func (e ending) blocked() bool {
	if e.connected || e.err == nil {
		return false
	}
	if h, ok := errors.AsType[*handshakeError](e.err); ok {
		return !h.coded
	}
	if _, ok := errors.AsType[*sourceError](e.err); ok {
		return false
	}
	if _, ok := errors.AsType[*localError](e.err); ok {
		return false
	}
	if _, ok := errors.AsType[*holdfast.Error](e.err); ok {
		return false
	}
	if op, ok := errors.AsType[*net.OpError](e.err); ok && op.Op == "dial" {
		return false // nothing gets through
	}
	return true
}
