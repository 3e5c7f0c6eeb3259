package interop

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/server"
	"github.com/holdfast-dev/holdfast/tokens"
)

// effects are what a handler did, by what it was told.
type effects struct {
	mu    sync.Mutex
	order []string
	times map[string]int
}

func (e *effects) add(what string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.order = append(e.order, what)
	e.times[what]++
}

// countingServer is a server whose handler has an effect.
func countingServer(t *testing.T) (base string, done *effects) {
	srv, base := npmServer(t)
	done = &effects{times: make(map[string]int)}
	server.Handle(srv, "count", func(_ context.Context, _ *server.Conn, what string) (string, error) {
		done.add(what)
		return "did " + what, nil
	})
	server.Handle(srv, "refuse", func(context.Context, *server.Conn, string) (string, error) {
		return "", holdfast.Errorf(holdfast.Forbidden, "Not you")
	})
	return base, done
}

func openQueue(t *testing.T, dir string) *queue.File {
	t.Helper()
	q, err := queue.Open(dir, queue.Limits{Items: 100_000, Bytes: 100 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

func queueing(q queue.Queue) client.SocketConfig {
	return client.SocketConfig{Queue: q, MinBackoff: 20 * time.Millisecond, MaxBackoff: 100 * time.Millisecond}
}

// drained waits until a queue is empty.
func drained(t *testing.T, q *queue.File) {
	t.Helper()
	ctx := within(t)
	for _, i := range q.Items() {
		if _, err := q.Gone(ctx, i.ID); err != nil {
			t.Fatalf("%d items are left: %v", len(q.Items()), err)
		}
	}
}

// What the queue means to a program: what was emitted offline has its effect,
// in order, and what is refused is out of the way.
func TestGoClientQueue(t *testing.T) {
	base, done := countingServer(t)
	q := openQueue(t, t.TempDir())
	s := goClient(t, base, client.Config{Source: tokens.Static(npmTokens(t)["alice"]), Socket: queueing(q)}).Socket()
	dead := make(chan queue.Dead, 1)
	s.OnDead(func(_ context.Context, d queue.Dead) { dead <- d })
	for _, what := range []string{"a", "b", "c"} {
		if err := s.Emit(within(t), "count", what); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Emit(within(t), "refuse", "x"); err != nil {
		t.Fatal(err)
	}
	connect(t, s)
	if v, err := client.EmitAck[string](within(t), s, "count", "d"); v != "did d" || err != nil {
		t.Error(v, err)
	}
	if d := next(t, dead); d.Code != holdfast.Forbidden || d.Message != "Not you" || len(q.Dead()) != 1 {
		t.Errorf("%+v", d)
	}
	at, err := s.Publish(within(t), "board", "note", 1, "")
	if err != nil || at.Offset == 0 {
		t.Error(at, err)
	}
	if !slices.Equal(done.order, []string{"a", "b", "c", "d"}) {
		t.Error(done.order)
	}
}

// TestQueueChild is the program that TestL63 and TestL67 kill: it emits, says
// so when Emit has returned, and sends what the queue holds.
func TestQueueChild(t *testing.T) {
	args := strings.Fields(os.Getenv("HOLDFAST_QUEUE_CHILD")) // folder, base, token, name
	if len(args) == 0 {
		return // it is the parent
	}
	q := openQueue(t, args[0])
	s := goClient(t, args[1], client.Config{Source: tokens.Static(args[2]), Socket: queueing(q)}).Socket()
	go s.Connect(context.Background())
	for i := 0; ; i++ {
		what := fmt.Sprint(args[3], ".", i)
		if err := s.Emit(context.Background(), "count", what); err != nil {
			t.Fatal(err)
		}
		fmt.Println("accepted " + what)
	}
}

// child runs until it has said some number of lines, and is killed then. It
// returns what was accepted.
func child(t *testing.T, dir, base, token, name string, lines int) (accepted []string) {
	cmd := exec.Command(os.Args[0], "-test.run", "^TestQueueChild$", "-test.v")
	cmd.Env = append(os.Environ(), "HOLDFAST_QUEUE_CHILD="+strings.Join([]string{dir, base, token, name}, " "))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Error(err)
		return nil
	}
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return nil
	}
	said := bufio.NewScanner(out)
	for said.Scan() {
		what, ok := strings.CutPrefix(said.Text(), "accepted ")
		if !ok {
			continue
		}
		if accepted = append(accepted, what); len(accepted) == lines {
			cmd.Process.Kill()
		}
	}
	_ = cmd.Wait()
	if len(accepted) < lines {
		t.Errorf("%s ended after %d of %d", name, len(accepted), lines)
	}
	return accepted
}

// killed runs rounds of so many children at once on one folder, each killed at
// a random point, and looks at what they have effected.
func killed(t *testing.T, rounds, atOnce int) {
	base, done := countingServer(t)
	token, dir := npmTokens(t)["alice"], t.TempDir()
	var mu sync.Mutex
	var accepted []string
	for round := range rounds {
		var wg sync.WaitGroup
		for n := range atOnce {
			wg.Go(func() {
				got := child(t, dir, base, token, fmt.Sprintf("%d-%d", round, n), 1+rand.IntN(25))
				mu.Lock()
				defer mu.Unlock()
				accepted = append(accepted, got...)
			})
		}
		wg.Wait()
	}
	q := openQueue(t, dir)
	waiting := len(q.Items())
	s := goClient(t, base, client.Config{Source: tokens.Static(token), Socket: queueing(q)}).Socket()
	connect(t, s)
	drained(t, q)
	s.Close()
	done.mu.Lock()
	defer done.mu.Unlock()
	for _, what := range accepted {
		if done.times[what] != 1 {
			t.Errorf("%s was accepted and had its effect %d times", what, done.times[what])
		}
	}
	last := map[string]int{}
	for _, what := range done.order {
		child, number, _ := strings.Cut(what, ".")
		var i int
		fmt.Sscan(number, &i)
		if n, seen := last[child]; seen && i != n+1 || !seen && i != 0 || done.times[what] != 1 {
			t.Errorf("%s after %d, %d times", what, n, done.times[what])
		}
		last[child] = i
	}
	t.Logf("%d accepted, %d effects, %d sent at the end", len(accepted), len(done.order), waiting)
}

// long is how often a test with real processes does it: more in make drill.
func long(short, drill int) int {
	if os.Getenv("HOLDFAST_LONG") != "" {
		return drill
	}
	return short
}

// L63: a process that is killed at any point loses nothing that was accepted,
// and nothing has its effect twice.
func TestL63Killed(t *testing.T) { killed(t, long(5, 200), 1) }

// L67: processes that share a queue send each item once, though they be killed.
func TestL67Killed(t *testing.T) { killed(t, long(2, 60), 3) }

// withoutWebSocket is a network that lets no WebSocket through, in one of
// several ways.
func withoutWebSocket(t *testing.T, srv http.Handler, refuse func(w http.ResponseWriter)) string {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			refuse(w)
			return
		}
		srv.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}

// TestGoClientPolling meets networks that block WebSocket.
func TestGoClientPolling(t *testing.T) {
	srv, _ := npmServer(t)
	server.Handle(srv, "cut", func(_ context.Context, c *server.Conn, code holdfast.Code) (bool, error) {
		c.Close(code.New())
		return true, nil
	})
	minted := npmTokens(t)
	for name, refuse := range map[string]func(http.ResponseWriter){
		"forbidden": func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
		"gateway":   func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
		"reset":     func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			base := withoutWebSocket(t, srv, refuse)
			q := openQueue(t, t.TempDir())
			cfg := client.Config{Source: tokens.Static(minted["alice"]), Socket: queueing(q)}
			s := goClient(t, base, cfg).Socket()
			connect(t, s)
			ctx := within(t)
			if v, err := client.EmitAck[map[string]int](ctx, s, "echo", map[string]int{"a": 1}); v["a"] != 1 || err != nil {
				t.Error(v, err)
			}
			big := make([]byte, 30_000)
			big[7] = 7
			if args, err := s.EmitRaw(ctx, "raw", "x", big, []byte{}); err != nil || args.Len() != 3 || !slices.Equal(args.Attachments[0], big) {
				t.Error(args.Len(), err)
			}
			got := make(chan string, 100)
			room, err := s.Join(ctx, "board-"+name, client.JoinOptions{OnEvent: func(_ context.Context, e *holdfast.Event) { got <- string(e.Data) }})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Publish(ctx, room.Name(), "note", 1, ""); err != nil || next(t, got) != "1" {
				t.Error(err)
			}
			changes, stop := s.Changes(100)
			defer stop()
			next(t, changes)
			if err := s.Emit(client.Volatile(ctx), "cut", holdfast.GoingAway); err != nil {
				t.Error(err)
			}
			if c := until(t, changes, client.Disconnected); c.Final {
				t.Errorf("%+v", c)
			}
			until(t, changes, client.Connected)
			if _, err := s.Publish(ctx, room.Name(), "note", 2, ""); err != nil || next(t, got) != "2" {
				t.Error(err)
			}
			s.Close()
			// Codes come through as well.
			cfg.Source = tokens.Static(minted["expired"])
			if err := goClient(t, base, cfg).Socket().Connect(within(t)); !strings.Contains(fmt.Sprint(err), "TOKEN_EXPIRED") {
				t.Error(err)
			}
		})
	}
}

// TestGoClientPresence: who is there, who types, signals.
func TestGoClientPresence(t *testing.T) {
	_, base := npmServer(t)
	minted := npmTokens(t)
	dial := func(user string) *client.Socket {
		s := goClient(t, base, client.Config{Source: tokens.Static(minted[user])}).Socket()
		connect(t, s)
		return s
	}
	ctx := within(t)
	alice, bob := dial("alice"), dial("bob")
	seen := make(chan string, 100)
	mine, err := alice.Join(ctx, "board", client.JoinOptions{Presence: "here", OnPresence: func(_ context.Context, e client.PresenceEvent) {
		seen <- fmt.Sprintf("%s %s %s %d", e.Kind, e.User.ID, e.User.Data, len(e.Users))
	}})
	if err != nil {
		t.Fatal(err)
	}
	mine.OnTyping(func(_ context.Context, v client.Typing) { seen <- fmt.Sprint(v.User.ID, " types ", v.Active) })
	client.OnSignal(mine, "cursor", func(_ context.Context, v client.Signal[int]) { seen <- fmt.Sprint(v) })
	theirs, err := bob.Join(ctx, "board", client.JoinOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := theirs.SetPresence(ctx, map[string]int{"at": 1}); err != nil {
		t.Error(err)
	}
	if err := theirs.Typing(ctx); err != nil {
		t.Error(err)
	}
	if err := theirs.Signal(ctx, "cursor", 7, "k"); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"sync", "join bob  0", `update bob {"at":1} 0`, "bob types true", "{board cursor k 7 bob}"} {
		if got := next(t, seen); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	users, err := theirs.Presence(ctx)
	if err != nil || len(users) != 2 {
		t.Errorf("%+v, %v", users, err)
	}
	if got := next(t, seen); got != "bob types false" {
		t.Error(got)
	}
	_ = theirs.Leave()
	if got := next(t, seen); !strings.HasPrefix(got, "leave bob") {
		t.Error(got)
	}
}

// TestGoClientListen hears a room over plain HTTP, through a cut, by a stream
// and by polls.
func TestGoClientListen(t *testing.T) {
	srv, base := npmServer(t)
	minted := npmTokens(t)
	bob := goClient(t, base, client.Config{Source: tokens.Static(minted["bob"])}).Socket()
	connect(t, bob)
	for name, block := range map[string]bool{"stream": false, "poll": true} {
		t.Run(name, func(t *testing.T) {
			var streams sync.Map // request number → cut
			proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if block && r.URL.Path == "/events" {
					w.WriteHeader(http.StatusBadGateway)
					return
				}
				ctx, cut := context.WithCancel(r.Context())
				defer cut()
				streams.Store(r, cut)
				defer streams.Delete(r)
				srv.ServeHTTP(w, r.WithContext(ctx))
			}))
			defer proxy.Close()
			room := "listen-" + name
			got, ready := make(chan string, 100), make(chan string, 100)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			c := goClient(t, proxy.URL, client.Config{Source: tokens.Static(minted["alice"]), Socket: client.SocketConfig{MinBackoff: 10 * time.Millisecond}})
			go func() {
				done <- c.Listen(ctx, []string{room}, client.ListenOptions{
					OnEvent:  func(_ context.Context, e *holdfast.Event) { got <- string(e.Data) + e.From },
					OnCursor: func(_ context.Context, cursor string) { ready <- cursor },
				})
			}()
			next(t, ready)
			for i := range 20 {
				if i == 10 {
					streams.Range(func(_, cut any) bool { cut.(context.CancelFunc)(); return true })
				}
				if _, err := bob.Publish(within(t), room, "note", i, ""); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 20 {
				if e := next(t, got); e != fmt.Sprint(i, "bob") {
					t.Fatal(i, e)
				}
			}
			cancel()
			if err := next(t, done); err != context.Canceled {
				t.Error(err)
			}
			if err := c.Listen(t.Context(), []string{"secret"}, client.ListenOptions{PollOnly: block}); !strings.Contains(fmt.Sprint(err), "FORBIDDEN") {
				t.Error(err)
			}
		})
	}
}
