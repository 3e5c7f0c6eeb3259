package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/memnet"
	"github.com/holdfast-dev/holdfast/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret signs the tests' tokens.
var secret = []byte("0123456789abcdef0123456789abcdef")

// world is a server on an in-memory network, or on loopback TCP.
type world struct {
	t    testing.TB
	srv  *server.Server
	net  *memnet.Listener // nil on TCP
	over network
	http *http.Server
	log  *bytes.Buffer
}

// newWorld starts a server whose identities come from tokens signed with
// secret. It ends with the test, or within the bubble by close.
func newWorld(t testing.TB, cfg server.Config) *world {
	t.Helper()
	l := memnet.Listen()
	w := worldOn(t, cfg, l, l.DialContext)
	w.net = l
	return w
}

// newTCPWorld is newWorld on loopback.
func newTCPWorld(t testing.TB, cfg server.Config) *world {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var d net.Dialer
	return worldOn(t, cfg, l, func(ctx context.Context, _, _ string) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", l.Addr().String())
	})
}

func worldOn(t testing.TB, cfg server.Config, l net.Listener, over network) *world {
	t.Helper()
	w := &world{t: t, over: over, log: new(bytes.Buffer)}
	if cfg.Authenticator == nil {
		verifier, err := auth.NewJWT(auth.JWTConfig{Secret: secret, DefaultRooms: everyRoom(t)})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Authenticator = verifier
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	srv, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.srv = srv
	w.http = &http.Server{Handler: srv}
	done := make(chan struct{})
	go func() { defer close(done); w.http.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		w.http.Close()
		<-done
	})
	return w
}

func everyRoom(t testing.TB) *holdfast.RoomPermissions {
	rooms, err := holdfast.RoomList("**")
	if err != nil {
		t.Fatal(err)
	}
	return &rooms
}

func (w *world) client() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: w.over, DisableKeepAlives: true}}
}

// token mints a token for sub that lasts ttl; more are claims as JSON.
func token(t testing.TB, sub string, ttl time.Duration, more ...string) string {
	t.Helper()
	claims := auth.Claims{User: sub, IssuedAt: time.Now().Add(min(0, 2*ttl)), Expires: time.Now().Add(ttl)}
	for _, m := range more {
		var in struct {
			Name        string
			Roles       []string
			Permissions *auth.ClaimedPermissions
		}
		if err := json.Unmarshal([]byte(m), &in); err != nil {
			t.Fatal(err)
		}
		claims.Name, claims.Roles, claims.Permissions = in.Name, in.Roles, in.Permissions
	}
	signed, err := auth.Mint(auth.SigningKey{Secret: secret}, claims)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// peer is a client that speaks the wire by hand.
type peer struct {
	t    testing.TB
	conn *websocket.Conn
	ctx  context.Context
}

// dial opens a WebSocket and takes the handshake.
func (w *world) dial(header ...string) *peer {
	w.t.Helper()
	p, err := w.tryDial(header...)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func (w *world) tryDial(header ...string) (*peer, error) {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	ctx, cancel := context.WithTimeout(context.Background(), 48*time.Hour)
	w.t.Cleanup(cancel)
	conn, resp, err := websocket.Dial(ctx, "ws://holdfast.test/socket.io/?EIO=4&transport=websocket", &websocket.DialOptions{HTTPClient: w.client(), HTTPHeader: h})
	if err != nil {
		if resp != nil {
			body, _ := io.ReadAll(resp.Body)
			return nil, errors.New(resp.Status + " " + resp.Header.Get("Retry-After") + " " + string(body))
		}
		return nil, err
	}
	conn.SetReadLimit(4 << 20)
	p := &peer{t: w.t, conn: conn, ctx: ctx}
	w.t.Cleanup(func() { conn.CloseNow() })
	if hello := p.recv(); !strings.HasPrefix(hello, "0{") {
		w.t.Fatalf("handshake: %q", hello)
	}
	return p, nil
}

// connect dials and is admitted as sub.
func (w *world) connect(sub string, more ...string) *peer {
	w.t.Helper()
	p := w.dial()
	p.connect(token(w.t, sub, time.Hour, more...))
	return p
}

func (p *peer) connect(token string) {
	p.t.Helper()
	p.send(`40{"token":"` + token + `"}`)
	p.want(`40{"sid":"`)
	p.want(`42["auth:session",`)
}

func (p *peer) send(messages ...string) {
	p.t.Helper()
	for _, m := range messages {
		if err := p.conn.Write(p.ctx, websocket.MessageText, []byte(m)); err != nil {
			p.t.Fatalf("send %.60q: %v", m, err)
		}
	}
}

func (p *peer) sendBinary(data []byte) {
	p.t.Helper()
	if err := p.conn.Write(p.ctx, websocket.MessageBinary, data); err != nil {
		p.t.Fatal(err)
	}
}

// recv returns the next message, answering heartbeats on the way. A binary
// message shows as "binary:" and its bytes.
func (p *peer) recv() string {
	p.t.Helper()
	m, err := p.tryRecv()
	if err != nil {
		p.t.Fatalf("receive: %v", err)
	}
	return m
}

func (p *peer) tryRecv() (string, error) {
	for {
		kind, data, err := p.conn.Read(p.ctx)
		switch {
		case err != nil:
			return "", err
		case kind == websocket.MessageBinary:
			return "binary:" + string(data), nil
		case string(data) == "2":
			if err := p.conn.Write(p.ctx, websocket.MessageText, []byte("3")); err != nil {
				return "", err
			}
		default:
			return string(data), nil
		}
	}
}

// want takes the next message, which must begin with prefix.
func (p *peer) want(prefix string) string {
	p.t.Helper()
	m := p.recv()
	if !strings.HasPrefix(m, prefix) {
		p.t.Fatalf("got %s\nwant %s…", m, prefix)
	}
	return m
}

// wantClose reads up to the close and checks its code and reason. It returns
// the messages that came before.
func (p *peer) wantClose(code int, reason string) []string {
	p.t.Helper()
	var seen []string
	for {
		m, err := p.tryRecv()
		if err == nil {
			seen = append(seen, m)
			continue
		}
		var closed websocket.CloseError
		if !errors.As(err, &closed) {
			p.t.Fatalf("connection ended without a close frame: %v (after %q)", err, seen)
		}
		if int(closed.Code) != code || closed.Reason != reason {
			p.t.Fatalf("closed with %d %q, want %d %q", closed.Code, closed.Reason, code, reason)
		}
		return seen
	}
}

// quiet checks that the next message is the answer to an event of the test's
// own, so that nothing else was sent before it.
func (p *peer) quiet() {
	p.t.Helper()
	p.send(`42999999["room:leave",{"room":"quiet"}]`)
	p.want(`43999999[{"ok":true`)
}

// request makes an HTTP call and returns status, headers and body.
func (w *world) request(method, path, body string, header ...string) (int, http.Header, string) {
	w.t.Helper()
	req, err := http.NewRequest(method, "http://holdfast.test"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.client().Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(data)
}

func roomPath(room string) string { return "/api/rooms/" + url.PathEscape(room) + "/events" }
