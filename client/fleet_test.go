package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/holdfasttest"
	"github.com/holdfast-dev/holdfast/tokens"
)

// fleetServer says that this process is the server of a fleet; its value is
// the time between two pings.
const fleetServer = "HOLDFAST_FLEET_SERVER"

// fleetPatience bounds everything that a fleet waits for.
const fleetPatience = 5 * time.Minute

// serveFleet is the life of the server of a fleet: it does what the lines of
// its input say, and answers each with one line.
func serveFleet(pings string) error {
	every, err := time.ParseDuration(pings)
	if err != nil {
		return err
	}
	cfg := holdfasttest.Config{TCP: true}
	// The server looks no sooner than its timeout whether the next ping is due.
	cfg.Server.PingInterval, cfg.Server.PingTimeout = every, min(every, 20*time.Second)
	s, err := holdfasttest.NewServer(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println(s.URL)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		answer := "ok"
		switch word {
		case "token":
			answer = s.SignIn(rest).Access
		case "restart":
			if err = s.Stop(); err == nil {
				err = s.Start()
			}
		case "publish": // COUNT ROOM
			var n int
			var room string
			if _, err = fmt.Sscan(rest, &n, &room); err != nil {
				return err
			}
			for i := range n {
				if _, err = s.Server().Publish(context.Background(), room, "moved", fleetMove{Card: i, To: "done", By: "somebody else", Note: strings.Repeat("x", 40)}); err != nil {
					break
				}
			}
		}
		if err != nil {
			return err
		}
		fmt.Println(answer)
	}
	return nil
}

// fleetMove is the payload of what a fleet's server publishes.
type fleetMove struct {
	Card int    `json:"card"`
	To   string `json:"to"`
	By   string `json:"by"`
	Note string `json:"note"`
}

// fleet is many clients in this process, and their server in another one.
type fleet struct {
	tb    testing.TB
	url   string
	token tokens.Token
	http  *http.Transport // of all clients

	mu  sync.Mutex // a command and its answer
	in  io.WriteCloser
	out *bufio.Reader

	clients  []*Client
	managers []*tokens.Manager
	got      atomic.Int64  // events, of all clients
	want     atomic.Int64  // and how many make a wake
	wake     chan struct{} // has room for one
}

// newFleet starts the server.
func newFleet(tb testing.TB, pings time.Duration) *fleet {
	tb.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), fleetServer+"="+pings.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			tb.Errorf("the fleet's server: %v", err)
		}
	})
	f := &fleet{tb: tb, in: in, out: bufio.NewReader(out), wake: make(chan struct{}, 1), http: &http.Transport{}}
	f.url = f.line()
	f.token = tokens.New(f.do("token %s", "ann"))
	return f
}

func (f *fleet) line() string {
	f.tb.Helper()
	text, err := f.out.ReadString('\n')
	if err != nil {
		f.tb.Fatalf("the fleet's server: %v", err)
	}
	return strings.TrimSpace(text)
}

// do has the server do something and returns its answer.
func (f *fleet) do(format string, args ...any) string {
	f.tb.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := fmt.Fprintf(f.in, format+"\n", args...); err != nil {
		f.tb.Fatalf("the fleet's server: %v", err)
	}
	return f.line()
}

// session is of a Manager's user, with the one token.
func (f *fleet) session() tokens.Session {
	return tokens.Session{Access: f.token.Access, User: holdfast.User{ID: "ann"}, Lifetime: time.Hour}
}

// manager returns a Manager that holds the one token.
func (f *fleet) manager() *tokens.Manager {
	m, err := tokens.NewManager(tokens.Config{})
	if err != nil {
		f.tb.Fatal(err)
	}
	f.managers = append(f.managers, m)
	if err := m.SetTokens(context.Background(), f.session()); err != nil {
		f.tb.Fatal(err)
	}
	return m
}

// launch adds n clients, each in the room; source gives each its Source.
func (f *fleet) launch(n int, room string, source func() tokens.Source) {
	f.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), fleetPatience)
	defer cancel()
	hc := &http.Client{Transport: f.http}
	clients := make([]*Client, n)
	for i := range clients {
		c, err := New(Config{BaseURL: f.url, HTTPClient: hc, Source: source(), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			f.tb.Fatal(err)
		}
		clients[i] = c
	}
	f.clients = append(f.clients, clients...)
	next := make(chan *Client)
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for range 32 {
		wg.Go(func() {
			for c := range next {
				if err := f.join(ctx, c, room); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	for _, c := range clients {
		next <- c
	}
	close(next)
	wg.Wait()
	if err := failed.Load(); err != nil {
		f.tb.Fatal(*err)
	}
}

func (f *fleet) join(ctx context.Context, c *Client, room string) error {
	s := c.Socket()
	if err := s.Connect(ctx); err != nil {
		return err
	}
	r, err := s.Join(ctx, room, JoinOptions{})
	if err != nil {
		return err
	}
	last := r.Position().Offset // its handlers run one after another
	OnEvent(r, "moved", func(_ context.Context, ev Event[fleetMove]) {
		if last++; ev.Data.To != "done" || ev.Position.Offset != last {
			f.tb.Errorf("got %+v, not the event at %d", ev, last)
		}
		f.count()
	})
	return nil
}

// count notes that an event has come.
func (f *fleet) count() {
	if f.got.Add(1) == f.want.Load() {
		f.wake <- struct{}{}
	}
}

// publish has n events published in a room and waits for want of them.
func (f *fleet) publish(n int, room string, want int) {
	f.tb.Helper()
	f.want.Store(f.got.Load() + int64(want))
	f.do("publish %d %s", n, room)
	timeout := time.NewTimer(fleetPatience)
	defer timeout.Stop()
	select {
	case <-f.wake:
	case <-timeout.C:
		f.tb.Fatalf("%d events are missing", f.want.Load()-f.got.Load())
	}
}

// land closes all.
func (f *fleet) land() {
	var wg sync.WaitGroup
	for _, c := range f.clients {
		wg.Go(func() { c.Close() })
	}
	for _, m := range f.managers {
		wg.Go(func() { m.Close() })
	}
	wg.Wait()
	f.clients, f.managers = nil, nil
	f.http.CloseIdleConnections()
}
