package transport

import (
	"bufio"
	"cmp"
	"context"
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

// patient makes times long that a test leaves to their defaults, where the clock
// is real: who is slow to answer is on a busy machine.
func (n network) patient(times ...*time.Duration) {
	for _, d := range times {
		if !n.fake {
			*d = cmp.Or(*d, time.Hour)
		}
	}
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
	n.patient(&cfg.PingInterval, &cfg.WriteTimeout, &cfg.CloseTimeout)
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
	n.patient(&cfg.PingInterval, &cfg.WriteTimeout, &cfg.CloseTimeout)
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
func (s *session) waiting() { until(s.polled) }

// polled reports whether a poll of the session is held.
func (s *session) polled() bool {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	return s.conn.poll.wake != nil
}

// until waits for something inside the engine that no event tells.
func until(done func() bool) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !done() {
		<-tick.C
	}
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
