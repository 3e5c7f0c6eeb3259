package transport

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/engineio"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/front"
	"github.com/holdfast-dev/holdfast/internal/memnet"
)

// onBoth runs a test on the network in memory with the fake clock, and on
// loopback TCP, where descriptors are read in another way.
func onBoth(t *testing.T, test func(t *testing.T, n network)) {
	t.Helper()
	t.Run("memnet", func(t *testing.T) { onMemnet(t, test) })
	t.Run("tcp", func(t *testing.T) { test(t, tcpNetwork(t)) })
}

// onMemnet runs a test that needs the fake clock.
func onMemnet(t *testing.T, test func(t *testing.T, n network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, memoryNetwork()) })
}

func memoryNetwork() network {
	l := memnet.Listen()
	return network{listener: l, dial: l.Dial, fake: true}
}

type network struct {
	listener net.Listener
	dial     func(context.Context) (net.Conn, error)
	fake     bool // in memory, in a bubble
	fronted  bool // the server has a front before it
}

func tcpNetwork(t testing.TB) network {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	return network{listener: l, dial: func(ctx context.Context) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", l.Addr().String())
	}}
}

// rig is an Engine or a Plain with a server, a client, and a receiver that
// notes what it gets.
type rig struct {
	t        testing.TB
	network  network
	engine   *host
	server   *http.Server
	client   *http.Client
	sessions chan *session // opened
	offer    string        // Sec-WebSocket-Extensions of new WebSockets

	mu  sync.Mutex
	all []*session // guarded by mu
}

// session is a Receiver.
type session struct {
	conn   *Conn
	echo   bool
	got    chan string   // messages; binary ones in hex, behind "0x"
	closed chan error    // what Closed was called with
	hold   chan struct{} // if set, Message waits for it

	mu     sync.Mutex
	busy   bool
	over   bool
	faults []string
}

func (s *session) Message(c *Conn, data []byte, binary bool) {
	s.mu.Lock()
	if s.busy || s.over {
		s.faults = append(s.faults, "Message overlaps, or comes after Closed")
	}
	s.busy = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.busy = false
		s.mu.Unlock()
	}()
	if c != s.conn {
		s.faults = append(s.faults, "Message of another Conn")
	}
	if s.hold != nil {
		<-s.hold
	}
	text := string(data)
	if binary {
		text = fmt.Sprintf("0x%x", data)
	}
	if s.echo {
		if binary {
			c.Send(NewBinaryFrame([]byte(strings.Clone(string(data)))))
		} else {
			c.Send(s.frame(text))
		}
	}
	if s.got != nil {
		s.got <- text
	}
}

// frame makes a frame of a message.
func (s *session) frame(text string) *hub.Frame {
	if s.conn.host.plain {
		return NewTextFrame([]byte(text))
	}
	return NewFrame([]byte("4" + text))
}

func (s *session) Closed(_ *Conn, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy || s.over {
		s.faults = append(s.faults, "Closed overlaps, or comes twice")
	}
	s.over = true
	if s.conn.Context().Err() == nil {
		s.faults = append(s.faults, "context outlives Closed")
	}
	s.closed <- err
}

// newRig starts a server. cfg.Open may be nil: then every session is noted in
// sessions, and does not echo unless told so in prepare.
func newRig(t testing.TB, n network, cfg EngineConfig, prepare ...func(*session)) *rig {
	t.Helper()
	rg := &rig{t: t, network: n, sessions: make(chan *session, 4096)}
	if cfg.Open == nil {
		cfg.Open = rg.note(prepare)
	}
	if !n.fake { // who is slow to ask is on a busy machine
		cfg.PingInterval = cmp.Or(cfg.PingInterval, time.Hour)
		cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, time.Hour)
		cfg.CloseTimeout = cmp.Or(cfg.CloseTimeout, time.Hour)
	}
	e := NewEngine(cfg)
	rg.engine = e.host
	rg.serve(e)
	return rg
}

// newPlainRig is newRig for a Plain.
func newPlainRig(t testing.TB, n network, cfg PlainConfig, prepare ...func(*session)) *rig {
	t.Helper()
	rg := &rig{t: t, network: n, sessions: make(chan *session, 4096)}
	if cfg.Open == nil {
		cfg.Open = rg.note(prepare)
	}
	p := NewPlain(cfg)
	rg.engine = p.host
	rg.serve(p)
	return rg
}

// note returns an Open that notes every session.
func (rg *rig) note(prepare []func(*session)) func(c *Conn) (Receiver, error) {
	return func(c *Conn) (Receiver, error) {
		s := &session{conn: c, got: make(chan string, 1000), closed: make(chan error, 2)}
		for _, p := range prepare {
			p(s)
		}
		rg.mu.Lock()
		rg.all = append(rg.all, s)
		rg.mu.Unlock()
		rg.sessions <- s
		return s, nil
	}
}

// serve starts the server, and ends everything with the test.
func (rg *rig) serve(handler http.Handler) {
	t, n := rg.t, rg.network
	rg.server = &http.Server{Handler: handler}
	var server interface {
		Serve(net.Listener) error
		Close() error
	} = rg.server
	if n.fronted {
		server = front.New(front.Config{Server: rg.server})
	}
	serving := make(chan struct{})
	go func() {
		defer close(serving)
		_ = server.Serve(n.listener)
	}()
	transport := &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dial(ctx) },
		DisableCompression: true,
	}
	rg.client = &http.Client{Transport: transport}
	t.Cleanup(func() {
		for _, c := range rg.engine.all() { // nobody polls for their end
			if c.Transport() == transportPolling {
				c.Close(holdfast.GoingAway.New())
				c.cut()
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := rg.engine.Close(ctx); err != nil {
			t.Errorf("Engine.Close: %v", err)
		}
		if n := rg.engine.Len(); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		_ = server.Close()
		<-serving
		transport.CloseIdleConnections()
		if n.fake {
			time.Sleep(time.Second) // net/http does so after a request that was too large
		}
		rg.mu.Lock()
		defer rg.mu.Unlock()
		for _, s := range rg.all {
			if !s.over {
				t.Errorf("Closed was never called for a session")
			}
			for _, f := range s.faults {
				t.Error(f)
			}
		}
	})
}

func echoing(s *session) { s.echo = true }

// opened returns the next session.
func (rg *rig) opened() *session {
	rg.t.Helper()
	return <-rg.sessions
}

// message returns the session's next message.
func (s *session) message(t testing.TB) string {
	t.Helper()
	select {
	case m := <-s.got:
		return m
	case <-time.After(time.Minute):
		t.Fatal("no message")
		return ""
	}
}

// end waits for Closed and checks its error: want is a code, or "" for nil.
func (s *session) end(t testing.TB, want holdfast.Code, cause error) {
	t.Helper()
	select {
	case err := <-s.closed:
		if holdfast.CodeOf(err) != want || cause != nil && !errors.Is(err, cause) {
			t.Errorf("Closed with %v, want code %q and cause %v", err, want, cause)
		}
	case <-time.After(time.Minute):
		t.Fatal("Closed was not called")
	}
}

// call makes a request and returns status and body.
func (rg *rig) call(method, query, body string) (int, string) {
	rg.t.Helper()
	status, text, err := rg.try(context.Background(), method, query, body)
	if err != nil {
		rg.t.Fatalf("%s %s: %v", method, query, err)
	}
	return status, text
}

func (rg *rig) try(ctx context.Context, method, query, body string) (int, string, error) {
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://engine.test/engine.io/?"+query, in)
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "text/plain;charset=UTF-8")
	}
	resp, err := rg.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

const pollingQuery = "EIO=4&transport=polling"

// open opens a polling session.
func (rg *rig) open() (sid string) {
	rg.t.Helper()
	status, body := rg.call("GET", pollingQuery, "")
	if status != 200 || body == "" || body[0] != '0' {
		rg.t.Fatalf("handshake: %d %s", status, body)
	}
	h, err := engineio.ParseHandshake([]byte(body[1:]))
	if err != nil {
		rg.t.Fatal(err)
	}
	return h.SID
}

// want makes a polling request for sid and checks what it is answered.
func (rg *rig) want(method, sid, body string, status int, text string) {
	rg.t.Helper()
	gotStatus, gotText := rg.call(method, pollingQuery+"&sid="+sid, body)
	if gotStatus != status {
		rg.t.Errorf("%s %.40q: status %d %.80q, want %d", method, body, gotStatus, gotText, status)
	}
	if status == 200 && gotText != text {
		rg.t.Errorf("%s %.40q: %.200q, want %.200q", method, body, gotText, text)
	}
	if status == 400 && !strings.Contains(gotText, `"code":"PROTOCOL_ERROR"`) {
		rg.t.Errorf("%s %.40q: body %s", method, body, gotText)
	}
}

func (rg *rig) poll(sid, text string) { rg.t.Helper(); rg.want("GET", sid, "", 200, text) }
func (rg *rig) post(sid, body string) { rg.t.Helper(); rg.want("POST", sid, body, 200, "ok") }
func (rg *rig) gone(sid string)       { rg.t.Helper(); rg.want("GET", sid, "", 400, "") }

// answer is what a request in the background got.
type answer struct {
	status int
	text   string
}

// later makes a request in the background.
func (rg *rig) later(method, sid, body string) <-chan answer {
	out := make(chan answer, 1)
	go func() {
		status, text, err := rg.try(context.Background(), method, pollingQuery+"&sid="+sid, body)
		if err != nil {
			text = err.Error()
		}
		out <- answer{status, text}
	}()
	return out
}

// waiting waits until a poll of the session is held.
func (s *session) waiting() {
	until(func() bool {
		s.conn.mu.Lock()
		defer s.conn.mu.Unlock()
		return s.conn.poll.wake != nil
	})
}

// until waits for something inside the engine that no event tells.
func until(done func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		<-tick.C
	}
}

// wsClient is the client's end of a raw WebSocket.
type wsClient struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

const clientKey = "dGhlIHNhbXBsZSBub25jZQ=="

func upgradeRequest(query string, more ...string) string {
	return "GET /engine.io/?" + query + " HTTP/1.1\r\nHost: engine.test\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
		"Sec-WebSocket-Key: " + clientKey + "\r\nSec-WebSocket-Version: 13\r\n" + strings.Join(more, "") + "\r\n"
}

const websocketQuery = "EIO=4&transport=websocket"

// rawWebSocket sends an opening handshake, and early right behind it.
func (rg *rig) rawWebSocket(query string, early []byte) (*wsClient, *http.Response) {
	rg.t.Helper()
	conn, err := rg.network.dial(context.Background())
	if err != nil {
		rg.t.Fatal(err)
	}
	rg.t.Cleanup(func() { conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
	request := upgradeRequest(query)
	if rg.offer != "" {
		request = upgradeRequest(query, "Sec-WebSocket-Extensions: "+rg.offer+"\r\n")
	}
	if _, err := conn.Write(append([]byte(request), early...)); err != nil {
		rg.t.Fatal(err)
	}
	c := &wsClient{rg.t, conn, bufio.NewReader(conn)}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		rg.t.Fatal(err)
	}
	return c, resp
}

// webSocket upgrades and returns the client, which has not read anything yet.
func (rg *rig) webSocket(query string) *wsClient {
	rg.t.Helper()
	c, resp := rg.rawWebSocket(query, nil)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		rg.t.Fatalf("upgrade: %s", resp.Status)
	}
	if accept := resp.Header.Get("Sec-WebSocket-Accept"); accept != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		rg.t.Fatalf("Sec-WebSocket-Accept is %q", accept)
	}
	return c
}

// connect opens a session on WebSocket.
func (rg *rig) connect() (*wsClient, *session) {
	rg.t.Helper()
	c := rg.webSocket(websocketQuery)
	if open := c.next(); !strings.HasPrefix(open, "text 0{") {
		rg.t.Fatalf("handshake: %s", open)
	}
	return c, rg.opened()
}

// upgraded takes a polling session over to WebSocket.
func (rg *rig) upgraded(sid string) *wsClient {
	rg.t.Helper()
	c := rg.webSocket(websocketQuery + "&sid=" + sid)
	c.text("2probe")
	c.want("text 3probe")
	c.text("5")
	return c
}

// frame builds a client's frame; b0 is the first byte, with FIN and opcode.
func frame(b0 byte, payload string) []byte {
	mask := [4]byte{0x12, 0x34, 0x56, 0x78}
	out := []byte{b0}
	switch n := len(payload); {
	case n <= 125:
		out = append(out, 0x80|byte(n))
	case n <= 0xffff:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	out = append(out, mask[:]...)
	body := []byte(payload)
	ws.Cipher(body, mask, 0)
	return append(out, body...)
}

// First bytes of frames.
const (
	fText, fBinary, fClose, fPing, fPong = 0x81, 0x82, 0x88, 0x89, 0x8a
	fMore, fLast                         = 0x00, 0x80 // continuation
	fTextBegin, fBinaryBegin             = 0x01, 0x02
)

func closeFrame(code uint16, reason string) []byte {
	return frame(fClose, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

func (c *wsClient) write(p []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(p); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *wsClient) text(s string) { c.t.Helper(); c.write(frame(fText, s)) }

// next returns the next frame in words: "text …", "binary …" (in hex), "ping …",
// "pong …", "close CODE REASON", or "eof"; what came compressed begins with
// "packed ".
func (c *wsClient) next() string {
	first, _ := c.in.Peek(2)
	h, err := ws.ReadHeader(c.in)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return "eof"
		}
		return "error " + err.Error()
	}
	form := first[1]
	if h.Masked || h.Rsv&^rsv1 != 0 || !h.Fin || h.OpCode.IsControl() && (h.Length > 125 || h.Rsv != 0) ||
		form == 126 && h.Length < 126 || form == 127 && h.Length <= 65535 {
		return fmt.Sprintf("bad header %+v", h)
	}
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(c.in, body); err != nil {
		return "error in frame: " + err.Error()
	}
	if h.Rsv == 0 {
		return words(h.OpCode, body)
	}
	if body, err = io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(body), strings.NewReader(deflateTail)))); err != nil {
		return "error in compressed frame: " + err.Error()
	}
	return "packed " + words(h.OpCode, body)
}

func words(op ws.OpCode, body []byte) string {
	switch op {
	case ws.OpText:
		return "text " + string(body)
	case ws.OpBinary:
		return fmt.Sprintf("binary %x", body)
	case ws.OpPing:
		return "ping " + string(body)
	case ws.OpPong:
		return "pong " + string(body)
	case ws.OpClose:
		if len(body) < 2 {
			return "close"
		}
		return strings.TrimSpace(fmt.Sprintf("close %d %s", binary.BigEndian.Uint16(body), body[2:]))
	}
	return fmt.Sprintf("opcode %d", op)
}

func (c *wsClient) want(frames ...string) {
	c.t.Helper()
	for _, want := range frames {
		if got := c.next(); got != want {
			c.t.Fatalf("got frame %.200q, want %.200q", got, want)
		}
	}
}

// bye makes the client's half of a close handshake, and checks the other.
func (c *wsClient) bye() {
	c.t.Helper()
	c.write(closeFrame(1000, ""))
	c.want("close 1000", "eof")
	c.conn.Close()
}

// raw sends a request as it is written, and returns the answer.
func (rg *rig) raw(request string) *http.Response {
	rg.t.Helper()
	conn, err := rg.network.dial(context.Background())
	if err != nil {
		rg.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
	if _, err := io.WriteString(conn, request); err != nil {
		rg.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		rg.t.Fatal(err)
	}
	return resp
}

// lockedBuffer collects a log.
type lockedBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
