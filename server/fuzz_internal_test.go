package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/jsonscan"
	"github.com/holdfast-dev/holdfast/internal/jsonws"
	"github.com/holdfast-dev/holdfast/internal/transport"
	"github.com/holdfast-dev/holdfast/internal/wiretest"
	"github.com/holdfast-dev/holdfast/socketio"
)

// FuzzPlain and FuzzTopic send a server any lines of text, before the client
// has said who it is and afterwards. Whatever they are, the server lives,
// admits nobody, answers each ref once and ends connections by its codes only.
func FuzzPlain(f *testing.F) {
	fuzzText(f, typedForm{}, "../testdata/wire/jsonws", `{"type":"auth","token":"`+fuzzToken+`"}`)
}

func FuzzTopic(f *testing.F) {
	fuzzText(f, topicForm{}, "../testdata/wire/topic", `{"topic":"auth","data":{"token":"`+fuzzToken+`"}}`)
}

// fuzzToken is the one good credential, which no input can know.
var fuzzToken = rand.Text()

// fuzzLines bounds the messages of an input, below what the rate lets through.
const fuzzLines = 64

func fuzzText(f *testing.F, form textForm, seeds, hello string) {
	var all []byte
	for _, c := range wiretest.Load(f, seeds) {
		if line, ok := c.Get("client"); ok {
			f.Add([]byte(line), []byte(nil))
			f.Add([]byte(nil), []byte(line))
			all = append(append(all, line...), '\n')
		}
	}
	f.Add([]byte(`{"type":"ping","ref":1}`), all)
	f.Add([]byte(`{"topic":"ping","ref":1}`), all)
	f.Fuzz(func(t *testing.T, before, after []byte) {
		synctest.Test(t, func(t *testing.T) {
			p := newFuzzed(t, form)
			defer p.close()
			if p.say(before); p.link.admitted() {
				t.Fatal("admitted without a credential")
			}
			if p.deliver([]byte(hello)); p.ended() == nil && !p.link.admitted() {
				t.Fatal("not admitted with one")
			}
			p.say(after)
			if p.ended() == nil { // it is still served
				p.say([]byte(`{"type":"ping","topic":"ping","ref":"last"}`))
			}
			p.check(form)
		})
	})
}

// fuzzed is a connection without a network: a pipe.
type fuzzed struct {
	t      *testing.T
	srv    *Server
	link   *link
	ctx    context.Context
	cancel context.CancelFunc
	form   textForm
	refs   map[string]int // how often each was sent

	mu     sync.Mutex // guards what follows
	frames [][]byte
	err    *holdfast.Error // of the close; nil while open
}

func newFuzzed(t *testing.T, form textForm) *fuzzed {
	srv, err := New(Config{
		Logger: slog.New(slog.DiscardHandler),
		Authenticator: auth.Func(func(_ context.Context, c auth.Credential) (*holdfast.Identity, error) {
			if c.Token != fuzzToken {
				return nil, holdfast.Unauthenticated.New()
			}
			return &holdfast.Identity{User: "alice", Expires: time.Now().Add(time.Hour), Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("**", "!secret")}}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	HandleRaw(srv, "todo:add", echo)
	HandleRaw(srv, "e", echo)
	p := &fuzzed{t: t, srv: srv, form: form, refs: make(map[string]int)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if p.link, err = srv.open(p, plainWS{form}); err != nil {
		t.Fatal(err)
	}
	return p
}

func echo(_ context.Context, _ *Conn, args socketio.Args) (socketio.Args, error) { return args, nil }

// say delivers lines, as long as the connection lives.
func (p *fuzzed) say(text []byte) {
	for i, line := range bytes.Split(text, []byte{'\n'}) {
		if i == fuzzLines || p.ended() != nil {
			return
		}
		m, _ := p.form.parse(bytes.Clone(line))
		if m.Ref != nil {
			p.refs[string(m.Ref)]++
		}
		p.deliver(line)
	}
}

func (p *fuzzed) deliver(line []byte) {
	if p.ended() == nil {
		p.link.Message(nil, bytes.Clone(line), false)
		synctest.Wait()
	}
}

// check looks at all that was sent.
func (p *fuzzed) check(form textForm) {
	p.mu.Lock()
	defer p.mu.Unlock()
	answers := make(map[string]int)
	for _, f := range p.frames {
		if err := jsonscan.Check(f, jsonscan.Limits{Depth: jsonws.MaxDepth + 2}); err != nil {
			p.t.Errorf("sent %q: %v", f, err)
		}
		if bytes.Contains(f, []byte(fuzzToken)) {
			p.t.Error("the token was sent back")
		}
		var keys map[string]json.RawMessage
		if err := json.Unmarshal(f, &keys); err != nil {
			p.t.Fatalf("sent %q: %v", f, err)
		}
		_, topics := form.(topicForm)
		if topics && (keys["topic"] == nil || keys["data"] == nil) || !topics && keys["type"] == nil && keys["error"] == nil {
			p.t.Errorf("sent %q", f)
		}
		if ref := keys["ref"]; ref != nil {
			answers[string(ref)]++
		}
	}
	for ref, n := range p.refs {
		if got := answers[ref]; got > n || got < n && p.err == nil {
			p.t.Errorf("ref %s was sent %d times and answered %d times", ref, n, got)
		}
		delete(answers, ref)
	}
	if len(answers) > 0 {
		p.t.Errorf("answers to refs that were not sent: %v", answers)
	}
	if p.err != nil && p.err.Code.Info().Close == 0 && p.err.Code != holdfast.MessageTooLarge {
		p.t.Errorf("closed with %v", p.err)
	}
}

func (p *fuzzed) close() {
	p.cancel()
	p.link.Closed(nil, nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.srv.Shutdown(ctx); err != nil {
		p.t.Error(err)
	}
	time.Sleep(lastEvents) // a timer that ends the link's context
}

func (p *fuzzed) ended() *holdfast.Error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Send implements pipe.
func (p *fuzzed) Send(f *hub.Frame) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return false
	}
	p.frames = append(p.frames, f.Text)
	return true
}

// Pace implements pipe.
func (p *fuzzed) Pace(context.Context) error { return nil }

// Close implements pipe.
func (p *fuzzed) Close(err *holdfast.Error) {
	p.mu.Lock()
	if p.err == nil {
		p.err = err
	}
	p.mu.Unlock()
	p.cancel()
}

// Context implements pipe.
func (p *fuzzed) Context() context.Context { return p.ctx }

// Request implements pipe.
func (p *fuzzed) Request() *transport.Request {
	return &transport.Request{Header: http.Header{}, RemoteAddr: "192.0.2.1:1", Host: "holdfast.test", URL: &url.URL{Path: "/ws"}}
}

// Transport implements pipe.
func (p *fuzzed) Transport() string { return "ws" }
