package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/tokens"
)

// manager makes a Manager that somebody is signed in with, if user isn't "".
// Its tokens are "user-n".
func manager(t *testing.T, user string, refresh tokens.RefreshFunc) *tokens.Manager {
	t.Helper()
	m, err := tokens.NewManager(tokens.Config{Refresh: refresh, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if user != "" {
		signIn(t, m, user, 1)
	}
	return m
}

func signIn(t *testing.T, m *tokens.Manager, user string, n int) {
	t.Helper()
	if err := m.SetTokens(context.Background(), sessionOf(user, n)); err != nil {
		t.Fatal(err)
	}
}

func sessionOf(user string, n int) tokens.Session {
	return tokens.Session{Access: fmt.Sprintf("%s-%d", user, n), Refresh: "r", User: holdfast.User{ID: user}}
}

// tokenUser is whose token a CONNECT carried.
func tokenUser(p *peer) string {
	user, _, _ := strings.Cut(strings.TrimPrefix(p.auth, `{"token":"`), "-")
	return user
}

// follows runs a test with a Manager and a server that serves rooms and notes
// "user asks".
func follows(t *testing.T, test func(t *testing.T, f *fake, m *tokens.Manager, s *Socket, asked *list[string])) {
	t.Helper()
	var asked list[string]
	bubble(t, func(p *peer) {
		p.hello()
		p.send(`40{"sid":"s%d"}`, p.n)
		user := tokenUser(p)
		asked.add("connect " + user)
		p.send(`42["auth:session",{"user":{"id":%q},"connection":"c%d","features":["refresh","id","since"]}]`, user, p.n)
		defer p.pings()()
		for {
			id, name, arg := p.event()
			if name == "" {
				return
			}
			asked.add(fmt.Sprint(user, " ", name, " ", string(arg)))
			switch {
			case name == "room:join":
				p.ok(id, fmt.Sprintf(`{"room":%q,"epoch":"e","offset":10}`, roomOf(arg)))
			case name == "auth:refresh":
				p.ok(id, `{"expiresAt":1,"expiresIn":1}`)
			case id != "":
				p.ok(id, "null")
			}
		}
	}, func(t *testing.T, f *fake) {
		m := manager(t, "ann", nil)
		s := f.client(Config{Source: m}).Socket()
		defer s.Close()
		defer m.Close()
		test(t, f, m, s, &asked)
	})
}

// L40: a token that rotates is brought to the server on the same connection.
func TestL40Rotates(t *testing.T) {
	follows(t, func(t *testing.T, f *fake, m *tokens.Manager, s *Socket, asked *list[string]) {
		mustConnect(t, s)
		time.Sleep(time.Second)
		signIn(t, m, "ann", 2)
		time.Sleep(2 * time.Second)
		if want := `[connect ann ann auth:refresh {"token":"ann-2"}]`; asked.String() != want || f.connections() != 1 || s.State() != Connected {
			t.Errorf("%v", asked)
		}
		// Again and again, while the server takes its time.
		for n := 3; n < 6; n++ {
			signIn(t, m, "ann", n)
		}
		time.Sleep(2 * time.Second)
		if got := asked.all(); got[len(got)-1] != `ann auth:refresh {"token":"ann-5"}` || f.connections() != 1 {
			t.Errorf("%v", asked)
		}
	})
}

// L41: a plain server can't take it: the socket reconnects, and what was not
// acknowledged is sent again.
func TestL41Rotates(t *testing.T) {
	k := &taker{plain: true, answer: func(n int, p *peer, name string) string {
		if p.n == 1 {
			return ""
		}
		return "ok"
	}}
	bubble(t, k.script, func(t *testing.T, f *fake) {
		m, q := manager(t, "ann", nil), queue.NewMemory(queue.Limits{})
		defer m.Close()
		s := f.client(Config{Source: m, Socket: SocketConfig{Queue: q}}).Socket()
		defer s.Close()
		mustConnect(t, s)
		mustEmit(t, s, "a", 1)
		mustEmit(t, s, "b", 2)
		time.Sleep(2 * time.Second)
		changes, stop := s.Changes(10)
		defer stop()
		signIn(t, m, "ann", 2)
		time.Sleep(5 * time.Second)
		var states []string
		for len(changes) > 0 {
			states = append(states, (<-changes).State.String())
		}
		if k.got.String() != "[a 1 a 1 b 2]" || f.connections() != 2 || fmt.Sprint(states) != "[connected disconnected connecting connected]" {
			t.Errorf("%v, %v", &k.got, states)
		}
	})
}

// L42: each attempt reads the token; one that has expired is renewed first.
func TestL42Attempts(t *testing.T) {
	var seen list[string]
	var m *tokens.Manager
	bubble(t, func(p *peer) {
		p.hello()
		seen.add(p.auth)
		if p.n < 3 {
			signIn(t, m, "ann", 10*p.n)
			return
		}
		p.send(`40{"sid":"x"}`)
		p.idle()
	}, func(t *testing.T, f *fake) {
		n := 1
		m = manager(t, "", func(context.Context, tokens.Session) (tokens.Session, error) {
			n++
			s := sessionOf("ann", n)
			s.Lifetime = time.Hour
			return s, nil
		})
		defer m.Close()
		s := sessionOf("ann", 1)
		s.Lifetime = time.Millisecond
		if err := m.SetTokens(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1500 * time.Millisecond)
		sock := f.client(Config{Source: m}).Socket()
		defer sock.Close()
		mustConnect(t, sock)
		if seen.String() != `[{"token":"ann-2"} {"token":"ann-10"} {"token":"ann-20"}]` {
			t.Errorf("%v", &seen)
		}
	})
}

// A sign-out ends the socket, with the reason, and nothing but Connect starts
// it again.
func TestSignedOut(t *testing.T) {
	follows(t, func(t *testing.T, f *fake, m *tokens.Manager, s *Socket, asked *list[string]) {
		room := mustJoin(t, s, "a", JoinOptions{})
		mustConnect(t, s)
		time.Sleep(time.Second)
		if err := m.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if last := lastChange(s); !last.Final || !errors.Is(last.Err, ErrSignedOut) || f.connections() != 1 {
			t.Errorf("%+v", last)
		}
		if err := s.Connect(patient(t)); !errors.Is(err, tokens.ErrNone) {
			t.Error(err)
		}
		if err := s.Emit(t.Context(), "x"); !errors.Is(err, ErrNotConnected) {
			t.Error(err)
		}
		signIn(t, m, "ann", 2)
		time.Sleep(time.Minute)
		if f.connections() != 1 {
			t.Error("a sign-in has connected it")
		}
		mustConnect(t, s)
		time.Sleep(time.Second)
		if got := asked.all(); got[len(got)-1] != `ann room:join {"room":"a","since":{"epoch":"e","offset":10}}` {
			t.Errorf("%v", asked)
		}
		_ = room.Leave()
	})
}

// L49: another user signs in on the same client.
func TestL49AnotherUser(t *testing.T) {
	follows(t, func(t *testing.T, f *fake, m *tokens.Manager, s *Socket, asked *list[string]) {
		var left list[error]
		room := mustJoin(t, s, "a", JoinOptions{OnLeft: func(_ context.Context, err error) { left.add(err) }})
		mustConnect(t, s)
		time.Sleep(time.Second)
		signIn(t, m, "bob", 1)
		// From here on nothing goes out in ann's name.
		if err := s.Emit(t.Context(), "secret", "of bob"); err != nil && !errors.Is(err, ErrNotConnected) {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
		mustEmit(t, s, "hello")
		synctest.Wait()
		got := strings.Replace(asked.String(), `bob secret "of bob" `, "", 1) // it may go out as bob
		if want := `[connect ann ann room:join {"room":"a"} connect bob bob hello ]`; got != want {
			t.Errorf("got  %v\nwant %v", got, want)
		}
		if len(left.all()) != 1 || !errors.Is(left.all()[0], errAnotherUser) || !errors.Is(left.all()[0], ErrSignedOut) {
			t.Errorf("left %v", &left)
		}
		if err := room.SetPresence(t.Context(), 1); !errors.Is(err, ErrLeft) {
			t.Error(err)
		}
		// A room that bob joins begins without ann's position.
		mustJoin(t, s, "a", JoinOptions{})
		if got := asked.all(); got[len(got)-1] != `bob room:join {"room":"a"}` {
			t.Errorf("%v", got)
		}
	})
}

// L49: rooms joined while the socket stands still, and a socket that waits.
func TestL49WhileDisconnected(t *testing.T) {
	follows(t, func(t *testing.T, f *fake, m *tokens.Manager, s *Socket, asked *list[string]) {
		mustJoin(t, s, "anns", JoinOptions{})
		signIn(t, m, "bob", 1)
		mustJoin(t, s, "bobs", JoinOptions{})
		mustConnect(t, s)
		time.Sleep(time.Second)
		if want := `[connect bob bob room:join {"room":"bobs"}]`; asked.String() != want {
			t.Errorf("%v", asked)
		}
		f.stop()
		time.Sleep(time.Hour)
		signIn(t, m, "ann", 2)
		f.restart()
		time.Sleep(31 * time.Second)
		if got := asked.all(); got[len(got)-1] != "connect ann" {
			t.Errorf("%v", got)
		}
	})
}

// L49: the queue is kept by user.
func TestL49Queue(t *testing.T) {
	k := &taker{user: tokenUser}
	var by list[string]
	k.answer = func(n int, p *peer, name string) string {
		by.add(tokenUser(p) + " " + name)
		return "ok"
	}
	bubble(t, k.script, func(t *testing.T, f *fake) {
		m, q := manager(t, "ann", nil), queue.NewMemory(queue.Limits{})
		defer m.Close()
		s := f.client(Config{Source: m, Socket: SocketConfig{Queue: q}}).Socket()
		defer s.Close()
		mustEmit(t, s, "1")
		signIn(t, m, "bob", 1)
		mustEmit(t, s, "2")
		signIn(t, m, "ann", 2)
		mustEmit(t, s, "3")
		signIn(t, m, "bob", 2)
		mustConnect(t, s)
		time.Sleep(2 * time.Second)
		if by.String() != "[bob 2]" || events(q) != "1 3" {
			t.Errorf("%v, left %s", &by, events(q))
		}
		signIn(t, m, "ann", 3)
		mustEmit(t, s, "4")
		time.Sleep(5 * time.Second)
		if by.String() != "[bob 2 ann 1 ann 3 ann 4]" || events(q) != "" {
			t.Errorf("%v, left %s", &by, events(q))
		}
		if err := m.Clear(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Emit(t.Context(), "nobody's"); !errors.Is(err, tokens.ErrNone) {
			t.Error(err)
		}
	})
}

// L49 with a Source that doesn't tell: the server does.
func TestL49ByServer(t *testing.T) {
	var asked list[string]
	user := "ann"
	bubble(t, func(p *peer) {
		p.admitAs(user)
		defer p.pings()()
		for {
			id, name, arg := p.event()
			if name == "" {
				return
			}
			asked.add(fmt.Sprint(p.n, " ", name, " ", string(arg)))
			p.ok(id, fmt.Sprintf(`{"room":%q,"epoch":"e","offset":10}`, roomOf(arg)))
		}
	}, func(t *testing.T, f *fake) {
		s := f.connect(Config{})
		mustJoin(t, s, "a", JoinOptions{})
		f.stop()
		user = "bob"
		f.restart()
		time.Sleep(time.Minute)
		if err := s.Emit(t.Context(), "x", 1); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := asked.all(); got[len(got)-1] != "3 x 1" || f.connections() != 3 {
			t.Errorf("%v", got)
		}
	})
}

// A session that the server has ended signs the Source out, once.
func TestSessionRevoked(t *testing.T) {
	bubble(t, func(p *peer) {
		p.admitAs("ann")
		p.sleep(time.Second)
		p.send(`42["auth:closing",{"code":"SESSION_REVOKED","message":"Ended."}]`)
		p.close(4001, "SESSION_REVOKED")
	}, func(t *testing.T, f *fake) {
		m := manager(t, "ann", nil)
		defer m.Close()
		events, stop := m.Events(10)
		defer stop()
		s := f.client(Config{Source: m}).Socket()
		mustConnect(t, s)
		time.Sleep(time.Minute)
		last := lastChange(s)
		if e := <-events; e.Kind != tokens.SignOut || len(events) != 0 || !last.Final || !errors.Is(last.Err, holdfast.SessionRevoked) || f.connections() != 1 {
			t.Errorf("%v, %+v", e, last)
		}
	})
}

// L19: requests and emits are activity.
func TestL19Activity(t *testing.T) {
	follows(t, func(t *testing.T, f *fake, _ *tokens.Manager, s *Socket, _ *list[string]) {
		m, err := tokens.NewManager(tokens.Config{IdleTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		signIn(t, m, "ann", 1)
		events, stop := m.Events(10)
		defer stop()
		c := f.client(Config{Source: m})
		sock := c.Socket()
		defer sock.Close()
		room := mustJoin(t, sock, "a", JoinOptions{})
		mustConnect(t, sock)
		for i, act := range []func() error{
			func() error { return sock.Emit(t.Context(), "x") },
			func() error { _, err := sock.EmitRaw(patient(t), "x"); return err },
			func() error { return room.Typing(t.Context()) },
			func() error { return room.Signal(t.Context(), "x", 1, "") },
			func() error { _, _ = Get[struct{}](t.Context(), c, "/"); return nil },
		} {
			time.Sleep(50 * time.Second)
			if err := act(); err != nil {
				t.Error(i, err)
			}
			synctest.Wait()
			if len(events) != 0 {
				t.Errorf("%d: %+v", i, <-events)
			}
		}
		time.Sleep(2 * time.Minute)
		if e := <-events; e.Kind != tokens.InactivityTimeout || sock.State() != Connected {
			t.Errorf("%+v, %v", e, sock.State())
		}
	})
}

// L40: an ack in flight arrives over the refresh, and no event is lost.
func TestL40AckInFlight(t *testing.T) {
	bubble(t, func(p *peer) {
		p.admitAs("ann")
		slow, _, _ := p.event()
		p.send(`42["tick",1]`)
		id, name, arg := p.event()
		if name != "auth:refresh" || string(arg) != `{"token":"ann-2"}` {
			p.Errorf("%s %s", name, arg)
		}
		p.send(`42["tick",2]`)
		p.ok(id, `{"expiresAt":1,"expiresIn":1}`)
		p.send(`42["tick",3]`)
		p.ok(slow, `"late"`)
		p.idle()
	}, func(t *testing.T, f *fake) {
		m := manager(t, "ann", nil)
		defer m.Close()
		s := f.client(Config{Source: m}).Socket()
		defer s.Close()
		var ticks list[int]
		On(s, "tick", func(_ context.Context, n int) { ticks.add(n) })
		mustConnect(t, s)
		answer := make(chan string, 1)
		go func() {
			v, err := EmitAck[string](patient(t), s, "slow", nil)
			answer <- fmt.Sprint(v, err)
		}()
		time.Sleep(time.Second)
		signIn(t, m, "ann", 2)
		if got := <-answer; got != "late<nil>" && got != "late <nil>" {
			t.Error(got)
		}
		synctest.Wait()
		if ticks.String() != "[1 2 3]" || f.connections() != 1 {
			t.Error(&ticks, f.connections())
		}
	})
}

// L43: the close codes of the row by their bare numbers, and L20 among them.
func TestL43Numbers(t *testing.T) {
	for _, row := range []struct {
		status      websocket.StatusCode
		stops       bool
		refusals    int           // of the token, if the server goes on closing
		connections int           // with one close
		wait        time.Duration // at most, before the second
	}{
		{4001, true, 1, 2, 0},
		{4002, true, maxRenewals, 2, 0},
		{4003, true, 0, 1, 0},
		{4008, false, 0, 2, time.Second},
		{4009, false, 0, 2, time.Second},
		{4010, false, 0, 2, time.Second},
		{1001, false, 0, 2, time.Second},
		{1002, true, 0, 1, 0},
		{1009, true, 0, 1, 0},
		{1011, false, 0, 2, time.Second},
	} {
		for _, always := range []bool{false, true} {
			t.Run(fmt.Sprint(row.status, always), func(t *testing.T) {
				bubble(t, func(p *peer) {
					p.admit()
					if p.n == 1 || always {
						p.close(row.status, "")
						return
					}
					p.idle()
				}, func(t *testing.T, f *fake) {
					src := &source{}
					s := f.client(Config{Source: src}).Socket()
					_ = s.Connect(patient(t))    // the close may be quicker
					time.Sleep(10 * time.Minute) // enough for 20 connections, whatever the jitter
					last := lastChange(s)
					if always {
						if last.Final != row.stops || len(src.refusals()) != row.refusals || !row.stops && f.connections() < 20 {
							t.Errorf("%+v, %d connections, refused %v", last, f.connections(), src.refusals())
						}
						return
					}
					if f.connections() != row.connections || last.Final != (row.connections == 1) {
						t.Errorf("%+v, %d connections", last, f.connections())
					}
					if at := f.times(); len(at) == 2 && at[1].Sub(at[0]) > row.wait {
						t.Errorf("came back after %v", at[1].Sub(at[0]))
					}
				})
			})
		}
	}
}

// L20: stale permissions renew the token, of requests and of sockets, and sign
// nobody out.
func TestL20StalePermissions(t *testing.T) {
	bubble(t, func(p *peer) {
		p.hello()
		if p.auth == `{"token":"ann-1"}` {
			p.send(`44{"message":"Unauthorized: stale","data":{"code":"PERMISSION_VERSION_STALE"}}`)
		} else {
			p.send(`40{"sid":"x"}`)
		}
		p.idle()
	}, func(t *testing.T, f *fake) {
		n := 1
		refresh := func(context.Context, tokens.Session) (tokens.Session, error) { n++; return sessionOf("ann", n), nil }
		f.before = func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/x" {
				return false
			}
			if r.Header.Get("Authorization") == "Bearer ann-2" {
				w.WriteHeader(401)
				fmt.Fprint(w, `{"error":"Stale","code":"PERMISSION_VERSION_STALE"}`)
			}
			return true
		}
		m := manager(t, "ann", refresh)
		defer m.Close()
		c := f.client(Config{Source: m})
		mustConnect(t, c.Socket())
		time.Sleep(5 * time.Second)
		if _, err := Get[struct{}](t.Context(), c, "/x"); err != nil {
			t.Error(err)
		}
		if !m.SignedIn() || n != 3 {
			t.Error(m.SignedIn(), n)
		}
		c.Close()
	})
}
