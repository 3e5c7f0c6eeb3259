package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	secretA = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secretB = "whsec_bm90IHRoZSBvdGhlciBvbmUsIGJ1dCBhIHNlY3JldA=="
)

// backend is a target's end: an HTTP server on an in-memory network, which
// verifies and keeps what it gets.
type backend struct {
	t      *testing.T
	net    *memnet.Listener
	server *http.Server
	// answer says what to answer; nil: 204.
	answer func(w http.ResponseWriter, m Message)

	mu  sync.Mutex // guards what follows
	got []delivery
}

// delivery is a message with when it came.
type delivery struct {
	Message
	at time.Time
}

func newBackend(t *testing.T, answer func(http.ResponseWriter, Message)) *backend {
	b := &backend{t: t, net: memnet.Listen(), answer: answer}
	b.server = &http.Server{Handler: b}
	var serving sync.WaitGroup
	serving.Go(func() { _ = b.server.Serve(b.net) })
	t.Cleanup(func() {
		_ = b.server.Shutdown(context.Background()) // waits for handlers that sleep
		serving.Wait()
	})
	return b
}

// ServeHTTP implements http.Handler.
func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m, err := Receive(auth.Secret(secretA), r)
	if err != nil {
		b.t.Errorf("Receive: %v", err)
	}
	if id := r.Header.Get(HeaderID); id != m.ID || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		b.t.Errorf("%s: id %q, want %q; %q", r.Method, id, m.ID, r.Header)
	}
	b.mu.Lock()
	b.got = append(b.got, delivery{m, time.Now()})
	b.mu.Unlock()
	if b.answer == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	b.answer(w, m)
}

// take returns what came since the last call.
func (b *backend) take() []delivery {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	got := b.got
	b.got = nil
	return got
}

// world is a dispatcher with its backends, in a bubble of synctest.
type world struct {
	*Dispatcher
	memory *Memory

	mu      sync.Mutex // guards what follows
	results []Result
	log     bytes.Buffer
}

// newWorld makes a dispatcher whose targets are the backends, in this order:
// https://a.example and so on, told everything unless the target says else.
func newWorld(t *testing.T, cfg Config, backends ...*backend) *world {
	t.Helper()
	w := &world{memory: NewMemory()}
	if cfg.Outbox == nil {
		cfg.Outbox = w.memory
	}
	byHost := make(map[string]*backend)
	for i, b := range backends {
		host := string(rune('a'+i)) + ".example"
		byHost[host+":443"] = b
		if i == len(cfg.Targets) {
			cfg.Targets = append(cfg.Targets, Target{})
		}
		cfg.Targets[i].URL = "https://" + host + "/hook"
		if cfg.Targets[i].Secrets == nil {
			cfg.Targets[i].Secrets = []auth.Secret{auth.Secret(secretA)}
		}
	}
	cfg.dial = func(ctx context.Context, _, address string) (net.Conn, error) { return byHost[address].net.Dial(ctx) }
	cfg.Observe = func(r Result) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.results = append(w.results, r)
	}
	cfg.Logger = slog.New(slog.NewTextHandler(w, nil))
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Dispatcher = d
	t.Cleanup(func() { _ = d.Shutdown(t.Context()) })
	return w
}

// Write takes the log.
func (w *world) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func (w *world) logged() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.String()
}

// observed returns the results since the last call.
func (w *world) observed() []Result {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	results := w.results
	w.results = nil
	return results
}

// joined tells of a join of connection c.
func (w *world) joined(t *testing.T, c, room string) {
	t.Helper()
	if err := w.Joined(t.Context(), Membership{Peer: Peer{Connection: c}, Room: room}); err != nil {
		t.Fatal(err)
	}
}

func decode[T any](t *testing.T, m Message) (data T) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(m.Data))
	d.DisallowUnknownFields()
	if err := d.Decode(&data); err != nil {
		t.Errorf("%s: %v", m.Type, err)
	}
	return data
}

// status answers with a status and nothing else.
func status(code int) func(http.ResponseWriter, Message) {
	return func(w http.ResponseWriter, _ Message) { w.WriteHeader(code) }
}

// text answers 200 with a body.
func text(body string) func(http.ResponseWriter, Message) {
	return func(w http.ResponseWriter, _ Message) { _, _ = io.WriteString(w, body) }
}
