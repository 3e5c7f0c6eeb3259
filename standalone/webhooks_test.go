package standalone

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/webhook"
)

const hookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// backend is an application that is told and asked over loopback.
type backend struct {
	*httptest.Server
	told chan webhook.Message
	// answer says what to answer; "" for 204.
	answer func(webhook.Message) string
}

func newBackend(t *testing.T, answer func(webhook.Message) string) *backend {
	b := &backend{told: make(chan webhook.Message, 1000), answer: answer}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m, err := webhook.Receive(auth.Secret(hookSecret), r)
		if err != nil {
			t.Errorf("Receive: %v", err)
		}
		if m.Type == webhook.TypeJoin || m.Type == webhook.TypePublish {
			_, _ = io.WriteString(w, b.answer(m))
			return
		}
		b.told <- m
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(b.Close)
	return b
}

// next returns the next thing that is told.
func (b *backend) next(t *testing.T) webhook.Message {
	t.Helper()
	select {
	case m := <-b.told:
		return m
	case <-time.After(30 * time.Second):
		t.Fatal("nothing is told")
		return webhook.Message{}
	}
}

func (b *backend) target() webhook.Target {
	return webhook.Target{URL: b.URL + "/hook", Secrets: []auth.Secret{auth.Secret(hookSecret)}}
}

// plain is a client of the plain WebSocket, as ann.
type plain struct {
	t    *testing.T
	conn *websocket.Conn
}

func dial(t *testing.T, url string) *plain {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), strings.Replace(url, "http", "ws", 1)+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer ann"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	p := &plain{t, conn}
	p.until(`"authenticated"`)
	return p
}

// ask sends a message and returns the answer.
func (p *plain) ask(text string) string {
	p.t.Helper()
	if err := p.conn.Write(p.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		p.t.Fatal(err)
	}
	return p.until(`"ref":1`)
}

func (p *plain) until(part string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	for {
		_, text, err := p.conn.Read(ctx)
		if err != nil {
			p.t.Fatalf("waiting for %s: %v", part, err)
		}
		if strings.Contains(string(text), part) {
			return string(text)
		}
	}
}

// dialSocketIO is dial with Socket.IO over WebSocket.
func dialSocketIO(t *testing.T, url string) *plain {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), strings.Replace(url, "http", "ws", 1)+"/socket.io/?EIO=4&transport=websocket", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	p := &plain{t, conn}
	p.until(`"sid"`)
	if err := conn.Write(t.Context(), websocket.MessageText, []byte(`40{"token":"ann"}`)); err != nil {
		t.Fatal(err)
	}
	p.until(`40{`)
	return p
}

// emit sends an event of Socket.IO and returns the ack.
func (p *plain) emit(args string) string {
	p.t.Helper()
	if err := p.conn.Write(p.t.Context(), websocket.MessageText, []byte("427"+args)); err != nil {
		p.t.Fatal(err)
	}
	return p.until("437[")
}

// hooked is a server on loopback whose tokens are the users' names, with no
// accounts, and "ann" has the rights that she needs.
func hooked(t *testing.T, hooks webhook.Config, change ...func(*Config)) (*Standalone, string) {
	t.Helper()
	cfg := Config{Webhooks: hooks}
	cfg.Logger = slog.New(slog.DiscardHandler)
	cfg.Keys.Static = auth.Secret("a-key-of-some-length")
	cfg.Authenticator = auth.Func(func(_ context.Context, c auth.Credential) (*holdfast.Identity, error) {
		token, err := c.BearerToken()
		if c.Token != "" {
			token = c.Token
		}
		if err != nil || token == "" {
			return nil, holdfast.Unauthenticated.New()
		}
		return &holdfast.Identity{User: token, Session: "s1", Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("**")}}, nil
	})
	for _, fn := range change {
		fn(&cfg)
	}
	s := start(t, cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: s}
	var serving sync.WaitGroup
	serving.Go(func() { _ = web.Serve(l) })
	t.Cleanup(func() { _ = web.Close(); serving.Wait() })
	return s, "http://" + l.Addr().String()
}

// All that a client does is told, in order where it is about his connection.
func TestWebhooks(t *testing.T) {
	b := newBackend(t, nil)
	_, url := hooked(t, webhook.Config{Targets: []webhook.Target{b.target()}})
	p := dial(t, url)
	var got []string
	next := func() {
		m := b.next(t)
		var data map[string]any
		if err := json.Unmarshal(m.Data, &data); err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{"connection", "epoch"} {
			if v, ok := data[k].(string); ok && v != "" {
				data[k] = "some"
			}
		}
		text, _ := json.Marshal(data)
		got = append(got, string(m.Type)+" "+string(text))
	}
	next()
	p.ask(`{"type":"join","room":"a","ref":1}`)
	next()
	p.ask(`{"type":"publish","room":"a","event":"e","data":{"n":1},"id":"i1","ref":1}`)
	next()
	p.ask(`{"type":"leave","room":"a","ref":1}`)
	next()
	p.ask(`{"type":"join","room":"b","ref":1}`)
	next()
	if err := p.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Fatal(err)
	}
	next()
	next()
	who := `"connection":"some"`
	tail := `"session":"s1","transport":"ws","user":{"id":"ann"}}`
	want := []string{
		`connected {` + who + `,` + tail,
		`joined {` + who + `,"room":"a",` + tail,
		`published {"data":{"n":1},"epoch":"some","event":"e","from":"ann","id":"i1","offset":1,"room":"a"}`,
		`left {` + who + `,"room":"a",` + tail,
		`joined {` + who + `,"room":"b",` + tail,
		`left {` + who + `,"room":"b",` + tail,
		`disconnected {` + who + `,` + tail,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A backend decides about joins and publications, over the plain WebSocket,
// Socket.IO and HTTP; a backend with an API key is not asked about.
func TestWebhooksDecide(t *testing.T) {
	b := newBackend(t, func(m webhook.Message) string {
		var p webhook.Proposal
		if err := json.Unmarshal(m.Data, &p); err != nil || p.User == nil || p.User.ID != "ann" {
			t.Errorf("asked about %s: %v", m.Data, err)
		}
		switch {
		case p.Room == "closed" || p.Event == "closed":
			return `{"allow":false,"code":"CONFLICT","message":"closed today"}`
		case p.Room == "broken" || p.Event == "broken":
			return `no`
		case p.Event == "censored":
			return `{"allow":true,"data":"***"}`
		case p.Event == "too big":
			return `{"allow":true,"data":"` + strings.Repeat("x", 70_000) + `"}`
		}
		return `{"allow":true}`
	})
	target := b.target()
	target.Decide = []webhook.Type{webhook.TypeJoin, webhook.TypePublish}
	target.Events = []webhook.Type{webhook.TypePublished}
	s, url := hooked(t, webhook.Config{Targets: []webhook.Target{target}})
	p := dial(t, url)
	want := func(what, got string, parts ...string) {
		t.Helper()
		for _, part := range parts {
			if !strings.Contains(got, part) {
				t.Errorf("%s: %s, want %s", what, got, part)
			}
		}
	}
	want("join", p.ask(`{"type":"join","room":"open","ref":1}`), `"ok"`)
	want("join closed", p.ask(`{"type":"join","room":"closed","ref":1}`), `"CONFLICT"`, `closed today`)
	want("join broken", p.ask(`{"type":"join","room":"broken","ref":1}`), `"INTERNAL"`)
	publish := func(event string) string {
		return p.ask(`{"type":"publish","room":"open","event":"` + event + `","data":1,"ref":1}`)
	}
	want("publish", publish("open"), `"ok"`)
	want("publish closed", publish("closed"), `"CONFLICT"`, `closed today`)
	want("publish broken", publish("broken"), `"INTERNAL"`)
	want("publish censored", publish("censored"), `"ok"`)
	want("publish too big", publish("too big"), `"INTERNAL"`)
	sio := dialSocketIO(t, url)
	want("socket.io join", sio.emit(`["room:join",{"room":"lobby"}]`), `"ok":true`)
	want("socket.io join closed", sio.emit(`["room:join",{"room":"closed"}]`), `"ok":false`, `"CONFLICT"`, `closed today`)
	want("socket.io publish", sio.emit(`["room:publish",{"room":"open","event":"open","data":4}]`), `"ok":true`)
	want("socket.io publish closed", sio.emit(`["room:publish",{"room":"open","event":"closed"}]`), `"ok":false`, `"CONFLICT"`)
	post := func(token, event string) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/rooms/open/events", strings.NewReader(`{"event":"`+event+`","data":2}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		defer http.DefaultClient.CloseIdleConnections()
		body, _ := io.ReadAll(response.Body)
		return fmt.Sprint(response.StatusCode, " ", string(body))
	}
	want("http", post("ann", "open"), "200 ")
	want("http closed", post("ann", "closed"), "409 ", "CONFLICT", "closed today")
	want("http broken", post("ann", "broken"), "500 ", "INTERNAL")
	want("http by a backend", post("a-key-of-some-length", "closed"), "200 ")
	if _, err := s.Publish(t.Context(), "open", "closed", 3); err != nil {
		t.Errorf("by the program: %v", err)
	}
	for _, data := range []string{`"event":"open","data":1`, `"event":"censored","data":"***"`, `"event":"open","data":4`, `"event":"open","data":2`, `"event":"closed","data":2`, `"event":"closed","data":3`} {
		if m := b.next(t); !strings.Contains(string(m.Data), data) {
			t.Errorf("published %s, want %s", m.Data, data)
		}
	}
}

// lines takes a log.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestWebhooksMistakes(t *testing.T) {
	cfg := accounts(t)
	cfg.Webhooks.Targets = []webhook.Target{{URL: "http://app.example/"}}
	if s, err := New(t.Context(), cfg); s != nil || !errors.Is(err, holdfast.InvalidArgument) {
		t.Errorf("%v", err)
	}
}

// With accounts, what is not delivered waits in their database for the next
// start; without, it is said that it does not.
func TestWebhooksWait(t *testing.T) {
	var log lines
	b := newBackend(t, nil)
	down := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }))
	defer down.Close()
	cfg := accounts(t)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	target := b.target()
	target.Name, target.URL = "app", down.URL
	cfg.Webhooks.Targets = []webhook.Target{target}
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(t.Context(), "a", "e", 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "in memory") {
		t.Error(log.String())
	}
	target.URL = b.URL
	cfg.Webhooks.Targets = []webhook.Target{target}
	start(t, cfg)
	if m := b.next(t); m.Type != webhook.TypePublished {
		t.Errorf("%+v", m)
	}

	cfg = Config{Webhooks: webhook.Config{Targets: []webhook.Target{target}}}
	cfg.Authenticator = auth.Func(nil)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	start(t, cfg)
	if !strings.Contains(log.String(), "webhooks wait in memory") {
		t.Error(log.String())
	}
}
