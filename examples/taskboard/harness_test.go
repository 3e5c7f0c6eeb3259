package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/tokens"
)

// patience bounds every wait.
const patience = time.Minute

// TestMain is also the program itself, for tests that kill it.
func TestMain(m *testing.M) {
	if dir := os.Getenv("TASKBOARD_TEST_DATA"); dir != "" {
		os.Exit(child(dir, os.Getenv("TASKBOARD_TEST_ADDR")))
	}
	if text := os.Getenv("TASKBOARD_TEST_COMMIT"); text != "" {
		os.Exit(commitAndWait(text))
	}
	goleak.VerifyTestMain(m)
}

// child serves until it is told to end, or killed.
func child(dir, addr string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return 1
	}
	if err := run(ctx, config{dir: dir, addr: listener.Addr().String(), callRate: 1e6, logger: quiet()}, listener); err != nil {
		return 1
	}
	return 0
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// stage is a task board that runs, with its data in dir.
type stage struct {
	t    *testing.T
	url  string
	dir  string
	stop func()
}

// start starts a task board, which ends with the test.
func start(t *testing.T, dir string) *stage {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	addr := listener.Addr().String()
	go func() { ended <- run(ctx, config{dir: dir, addr: addr, callRate: 1e6, logger: quiet()}, listener) }()
	running := true
	s := &stage{t: t, url: "http://" + addr, dir: dir}
	s.stop = func() {
		if !running {
			return
		}
		running = false
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(s.stop)
	return s
}

// person is an account with a token.
type person struct {
	t     *testing.T
	url   string
	http  *http.Client
	id    string
	name  string
	email string
	token string
}

const password = "correct horse battery"

// person makes an account.
func (s *stage) person(name string) *person {
	s.t.Helper()
	p := &person{t: s.t, url: s.url, name: name, email: strings.ToLower(name) + "@example.com",
		http: &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}}
	var a struct {
		AccessToken string
		User        holdfast.User
	}
	p.must(http.StatusOK, "POST", "/api/auth/sign-up", map[string]string{"email": p.email, "name": name, "password": password}, &a)
	p.token, p.id = a.AccessToken, a.User.ID
	return p
}

// stranger has no account.
func (s *stage) stranger() *person {
	return &person{t: s.t, url: s.url, http: &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}}
}

// call makes a call. header lines are "Name: value".
func (p *person) call(method, path string, body any, header ...string) (int, []byte) {
	p.t.Helper()
	var content io.Reader
	if body != nil {
		text, ok := body.(string)
		if !ok {
			encoded, err := json.Marshal(body)
			if err != nil {
				p.t.Fatal(err)
			}
			text = string(encoded)
		}
		content = strings.NewReader(text)
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.url+path, content)
	if err != nil {
		p.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	resp, err := p.http.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, bytes.TrimSpace(text)
}

// must makes a call that is to be answered with a status, and decodes the
// answer into out if that is not nil.
func (p *person) must(status int, method, path string, body, out any, header ...string) {
	p.t.Helper()
	got, text := p.call(method, path, body, header...)
	if got != status {
		p.t.Fatalf("%s %s by %s: %d %s, want %d", method, path, p.name, got, text, status)
	}
	if out != nil {
		if err := json.Unmarshal(text, out); err != nil {
			p.t.Fatalf("%s %s: %v: %s", method, path, err, text)
		}
	}
}

// refusal is the body of every refusal: docs/protocol.md §2.
type refusal struct {
	Error      string
	Code       holdfast.Code
	RequestID  string
	RetryAfter int64
	Details    json.RawMessage
}

// refused makes a call that is to be refused with a code.
func (p *person) refused(code holdfast.Code, method, path string, body any, header ...string) refusal {
	p.t.Helper()
	status, text := p.call(method, path, body, header...)
	var r refusal
	_ = json.Unmarshal(text, &r) // an empty code where it is no refusal
	if r.Code != code || status != code.Info().HTTP || r.Error == "" || r.RequestID == "" {
		p.t.Fatalf("%s %s by %s: %d %s, want %s", method, path, p.name, status, text, code)
	}
	return r
}

// board makes a board.
func (p *person) board(title string) BoardState {
	p.t.Helper()
	var b Board
	p.must(http.StatusCreated, "POST", "/api/boards", titled{Title: title}, &b)
	return p.state(b.ID)
}

// state reads a board.
func (p *person) state(board string) (s BoardState) {
	p.t.Helper()
	p.must(http.StatusOK, "GET", "/api/boards/"+board, nil, &s)
	return s
}

// card makes a card.
func (p *person) card(board, list, title string) Card {
	p.t.Helper()
	var c Change
	p.must(http.StatusCreated, "POST", "/api/boards/"+board+"/cards", map[string]string{"list": list, "title": title}, &c)
	return *c.Card
}

// share makes q a member.
func (p *person) share(board string, q *person, role Role) {
	p.t.Helper()
	p.must(http.StatusOK, "POST", "/api/boards/"+board+"/members", invited{Email: q.email, Role: role}, nil)
}

// client is a client of the person's, connected.
func (p *person) client() *client.Client {
	p.t.Helper()
	c, err := client.New(client.Config{BaseURL: p.url, Source: tokens.Static(p.token), Logger: quiet()})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			p.t.Error(err)
		}
	})
	if err := c.Socket().Connect(p.ctx()); err != nil {
		p.t.Fatal(err)
	}
	return c
}

// ctx bounds a call or wait of a test.
func (p *person) ctx() context.Context {
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	p.t.Cleanup(cancel)
	return ctx
}

// ear hears a room.
type ear struct {
	t      *testing.T
	room   *client.Room
	events chan *holdfast.Event
	left   chan error
}

// listen joins a board's room.
func (p *person) listen(c *client.Client, room string) *ear {
	p.t.Helper()
	e := &ear{t: p.t, events: make(chan *holdfast.Event, 10_000), left: make(chan error, 1)}
	var err error
	e.room, err = c.Socket().Join(p.ctx(), room, client.JoinOptions{
		OnEvent: func(_ context.Context, ev *holdfast.Event) { e.events <- ev },
		OnLeft:  func(_ context.Context, err error) { e.left <- err },
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return e
}

// next waits for the next event, which is to have this name.
func (e *ear) next(name string) (*holdfast.Event, Change) {
	e.t.Helper()
	select {
	case ev := <-e.events:
		var c Change
		if err := json.Unmarshal(ev.Data, &c); err != nil {
			e.t.Fatalf("%s: %v", ev.Data, err)
		}
		if ev.Name != name {
			e.t.Fatalf("%s came, want %s: %s", ev.Name, name, ev.Data)
		}
		return ev, c
	case <-time.After(patience):
		e.t.Fatalf("%s did not come", name)
		return nil, Change{}
	}
}

// gone waits for the end of the membership.
func (e *ear) gone(code holdfast.Code) {
	e.t.Helper()
	select {
	case err := <-e.left:
		if holdfast.CodeOf(err) != code {
			e.t.Fatalf("left with %v, want %s", err, code)
		}
	case <-time.After(patience):
		e.t.Fatal("still in the room")
	}
}
