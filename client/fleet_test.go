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

// fleetPatience bounds everything that a fleet waits for: see fleet.patience.
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
	why := newEnds()
	cfg.Server.Logger = slog.New(why)
	s, err := holdfasttest.NewServer(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println(s.URL)
	var last holdfast.Position
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
		case "view": // ROOM
			if answer, err = viewFleet(s, why, rest, last); err != nil {
				return err
			}
		case "publish": // COUNT ROOM
			var n int
			var room string
			if _, err = fmt.Sscan(rest, &n, &room); err != nil {
				return err
			}
			for i := range n {
				if last, err = s.Server().Publish(context.Background(), room, "moved", fleetMove{Card: i, To: "done", By: "somebody else", Note: strings.Repeat("x", 40)}); err != nil {
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
	pilots   []*pilot // of the clients, in the same order
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

// patience is how long to wait for something: not until go test ends all
// without a word, so that there is time left to say what is missing.
func (f *fleet) patience() time.Duration {
	if t, ok := f.tb.(*testing.T); ok {
		if end, ok := t.Deadline(); ok {
			return min(fleetPatience, time.Until(end)*3/4)
		}
	}
	return fleetPatience
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
	ctx, cancel := context.WithTimeout(context.Background(), f.patience())
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
	pilots := make([]*pilot, n)
	for i, c := range clients {
		pilots[i] = &pilot{client: c}
	}
	f.clients, f.pilots = append(f.clients, clients...), append(f.pilots, pilots...)
	next := make(chan *pilot)
	var wg sync.WaitGroup
	var failed atomic.Pointer[error]
	for range 32 {
		wg.Go(func() {
			for p := range next {
				if err := f.join(ctx, p, room); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	for _, p := range pilots {
		next <- p
	}
	close(next)
	wg.Wait()
	if err := failed.Load(); err != nil {
		f.tb.Fatal(*err)
	}
}

func (f *fleet) join(ctx context.Context, p *pilot, room string) error {
	s := p.client.Socket()
	if err := s.Connect(ctx); err != nil {
		return err
	}
	var o JoinOptions
	if _, ok := f.tb.(*testing.T); ok { // a benchmark counts every handler
		o.OnLeft, o.OnReset = p.left, p.reset
	}
	r, err := s.Join(ctx, room, o)
	if err != nil {
		return err
	}
	p.begin(r.Position()) // its handlers run one after another
	OnEvent(r, "moved", func(_ context.Context, ev Event[fleetMove]) {
		if want := p.heard(); ev.Data.To != "done" || ev.Position.Offset != want {
			f.tb.Errorf("got %+v, not the event at %d", ev, want)
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
	timeout := time.NewTimer(f.patience())
	defer timeout.Stop()
	select {
	case <-f.wake:
	case <-timeout.C:
		f.tb.Fatalf("%d events are missing\n%s", f.want.Load()-f.got.Load(), f.report(room))
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
	f.clients, f.pilots, f.managers = nil, nil, nil
	f.http.CloseIdleConnections()
}
