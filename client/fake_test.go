package client

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/memnet"
	"github.com/holdfast-dev/holdfast/tokens"
)

func TestMain(m *testing.M) {
	if pings := os.Getenv(fleetServer); pings != "" {
		if err := serveFleet(pings); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// fake is a Socket.IO server that does what a test's script says, over memnet.
type fake struct {
	t *testing.T
	l *memnet.Listener

	mu     sync.Mutex
	n      int         // connections so far
	at     []time.Time // when each was made
	script func(p *peer)
	before func(n int, w http.ResponseWriter, r *http.Request) bool // true: it has answered
	srv    *http.Server
	end    context.CancelFunc
}

// peer is the server's end of one connection.
type peer struct {
	*testing.T
	n   int // 1 for the first
	r   *http.Request
	ws  *websocket.Conn
	ctx context.Context
	// auth is what CONNECT carried, after admit.
	auth string
}

// bubble runs a test on the fake clock with a fake server. script is called
// for each connection, on a goroutine of its own; when it returns the
// connection is cut.
func bubble(t *testing.T, script func(p *peer), test func(t *testing.T, f *fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, l: memnet.Listen(), script: script}
		f.start()
		test(t, f)
		f.stop()
	})
}

func (f *fake) start() {
	ctx, cancel := context.WithCancel(context.Background())
	f.end = cancel
	srv := &http.Server{
		Handler:  http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { f.serve(ctx, w, r) }),
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	f.srv = srv
	l := f.l
	go srv.Serve(l)
}

// stop ends the server and cuts its connections, as a killed process would.
func (f *fake) stop() {
	f.end()
	f.srv.Close()
	synctest.Wait()
}

// sleep lets time pass in the bubble.
func (f *fake) sleep(d time.Duration) { time.Sleep(d) }

// restart stops and starts the server on a new listener.
func (f *fake) restart() {
	f.stop()
	f.mu.Lock()
	f.l = memnet.Listen()
	f.mu.Unlock()
	f.start()
}

func (f *fake) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	f.mu.Lock()
	l := f.l
	f.mu.Unlock()
	return l.DialContext(ctx, network, addr)
}

// connections returns how many were made so far.
func (f *fake) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// times returns when the connections were made.
func (f *fake) times() []time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.at)
}

func (f *fake) serve(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.n++
	f.at = append(f.at, time.Now())
	n, script, before := f.n, f.script, f.before
	f.mu.Unlock()
	if before != nil && before(n, w, r) {
		return
	}
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	stop := context.AfterFunc(ctx, func() { ws.CloseNow() })
	defer stop()
	ws.SetReadLimit(4 << 20)
	script(&peer{T: f.t, n: n, r: r, ws: ws, ctx: ctx})
}

// client makes a Client of the fake server. It is closed with the test.
func (f *fake) client(cfg Config) *Client {
	f.t.Helper()
	transport := &http.Transport{DialContext: f.dial}
	cfg.BaseURL = "http://fake"
	cfg.HTTPClient = &http.Client{Transport: transport}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c, err := New(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		c.Close()
		transport.CloseIdleConnections()
	})
	return c
}

// patient is a context for what a test waits for, and ends after two hours of
// the fake clock: a client that tries for ever fails the test, and does not hang
// it.
func patient(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
	t.Cleanup(cancel)
	return ctx
}

// connect returns a connected socket.
func (f *fake) connect(cfg Config) *Socket {
	f.t.Helper()
	s := f.client(cfg).Socket()
	if err := s.Connect(patient(f.t)); err != nil {
		f.t.Fatal(err)
	}
	return s
}

// send sends one text message, packet type and all.
func (p *peer) send(format string, args ...any) {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	_ = p.ws.Write(p.ctx, websocket.MessageText, []byte(text))
}

func (p *peer) sendBinary(b []byte) { _ = p.ws.Write(p.ctx, websocket.MessageBinary, b) }

// next returns the next message that is no pong; "" when the client is gone.
// Binary ones come as "b:" and the bytes.
func (p *peer) next() string {
	for {
		kind, data, err := p.ws.Read(p.ctx)
		switch {
		case err != nil:
			return ""
		case kind == websocket.MessageBinary:
			return "b:" + string(data)
		case string(data) != "3":
			return string(data)
		}
	}
}

// want reads a message and compares it.
func (p *peer) want(text string) bool {
	p.Helper()
	if got := p.next(); got != text {
		p.Errorf("server got %q, want %q", got, text)
		return false
	}
	return true
}

// hello sends the Engine.IO handshake and reads CONNECT.
func (p *peer) hello() {
	p.Helper()
	p.send(`0{"sid":"e%d","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`, p.n)
	got := p.next()
	if got != "" && !strings.HasPrefix(got, "40") {
		p.Errorf("server got %q, want a CONNECT", got)
	}
	p.auth = strings.TrimPrefix(got, "40")
}

// admit lets the client in, as a plain Socket.IO server.
func (p *peer) admit() {
	p.Helper()
	p.hello()
	p.send(`40{"sid":"s%d"}`, p.n)
}

// admitAs lets the client in, as a Holdfast server.
func (p *peer) admitAs(user string) {
	p.Helper()
	p.admit()
	p.send(`42["auth:session",{"user":{"id":%q},"connection":"c%d","expiresAt":946684860000,"expiresIn":60,"features":["refresh","id","since"]}]`, user, p.n)
}

// sleep waits, or until the server is stopped.
func (p *peer) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.ctx.Done():
	}
}

// close closes with a code and waits for the client's close frame.
func (p *peer) close(code websocket.StatusCode, reason string) { p.ws.Close(code, reason) }

// pings sends a ping every 25 s until stop is called.
func (p *peer) pings() (stop func()) {
	ctx, cancel := context.WithCancel(p.ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-time.After(25 * time.Second):
				p.send("2")
			case <-ctx.Done():
				return
			}
		}
	})
	return func() { cancel(); wg.Wait() }
}

// idle pings and reads until the client is gone.
func (p *peer) idle() {
	defer p.pings()()
	for p.next() != "" {
	}
}

// event reads an event and returns its ack id ("" for none), name and first
// argument.
func (p *peer) event() (id, name string, arg json.RawMessage) {
	p.Helper()
	got := p.next()
	rest, ok := strings.CutPrefix(got, "42")
	i := strings.IndexByte(rest, '[')
	if !ok || i < 0 {
		if got != "" && got != "41" {
			p.Errorf("server got %q, want an event", got)
		}
		return "", "", nil
	}
	var args []json.RawMessage
	if err := json.Unmarshal([]byte(rest[i:]), &args); err != nil || len(args) == 0 {
		p.Errorf("server got %q, want an event", got)
		return "", "", nil
	}
	_ = json.Unmarshal(args[0], &name)
	if len(args) > 1 {
		arg = args[1]
	}
	return rest[:i], name, arg
}

// ok acknowledges as Holdfast does.
func (p *peer) ok(id, data string) { p.send(`43%s[{"ok":true,"data":%s}]`, id, data) }

// no refuses as Holdfast does.
func (p *peer) no(id, code string) {
	p.send(`43%s[{"ok":false,"error":{"message":"No.","code":%q}}]`, id, code)
}

// list is a list that goroutines append to.
type list[T any] struct {
	mu    sync.Mutex
	items []T
}

func (l *list[T]) add(v T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.items = append(l.items, v)
}

func (l *list[T]) all() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.items)
}

func (l *list[T]) String() string { return fmt.Sprint(l.all()) }

// source is a Refresher that counts. Its tokens are t0, t1, …
type source struct {
	mu      sync.Mutex
	n       int // of the present token
	reads   int
	reasons []holdfast.Code // of each refusal
	fail    []error         // what the next refreshes return instead
}

func (s *source) Token(context.Context) (tokens.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	return tokens.Token{Access: fmt.Sprintf("t%d", s.n)}, nil
}

func (s *source) Refused(_ context.Context, t tokens.Token, reason *holdfast.Error) (tokens.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reasons = append(s.reasons, reason.Code)
	if len(s.fail) > 0 {
		err := s.fail[0]
		s.fail = s.fail[1:]
		return tokens.Token{}, err
	}
	if t.Access == fmt.Sprintf("t%d", s.n) {
		s.n++
	}
	return tokens.Token{Access: fmt.Sprintf("t%d", s.n)}, nil
}

// refusals returns why tokens were refused so far.
func (s *source) refusals() []holdfast.Code {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.reasons)
}
