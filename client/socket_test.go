package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
	"github.com/holdfast-dev/holdfast/tokens"
)

// states collects the changes of a socket as words.
func states(s *Socket) *list[string] {
	out := &list[string]{}
	changes, _ := s.Changes(100)
	go func() {
		for c := range changes {
			word := c.State.String()
			if c.Final {
				word += "!"
			}
			out.add(word)
		}
	}()
	return out
}

func TestConnect(t *testing.T) {
	var got list[string]
	bubble(t, func(p *peer) {
		got.add(p.r.URL.RequestURI() + " " + p.r.Header.Get("X-App"))
		p.admit()
		got.add(p.auth)
		got.add(p.next())
	}, func(t *testing.T, f *fake) {
		s := f.client(Config{Source: tokens.Static("abc"), Header: http.Header{"X-App": {"a"}}}).Socket()
		seen := states(s)
		synctest.Wait()
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		if err := s.Connect(patient(t)); err != nil { // again: it is
			t.Error(err)
		}
		if s.State() != Connected {
			t.Errorf("state %v", s.State())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if want := `[/socket.io/?EIO=4&transport=websocket a {"token":"abc"} 41]`; got.String() != want {
			t.Errorf("server saw %v, want %v", &got, want)
		}
		if want := "[disconnected! connecting connected closed!]"; seen.String() != want {
			t.Errorf("states %v, want %v", seen, want)
		}
		if err := s.Connect(patient(t)); !errors.Is(err, ErrClosed) {
			t.Errorf("Connect after Close: %v", err)
		}
		<-s.Done()
	})
}

func TestAuthPayload(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  Config
		want string
	}{
		"no source":    {Config{}, ""},
		"own payload":  {Config{Source: tokens.Static("abc"), Socket: SocketConfig{Auth: func(_ context.Context, t tokens.Token) (any, error) { return map[string]string{"key": t.Access}, nil }}}, `{"key":"abc"}`},
		"none wanted":  {Config{Source: tokens.Static("abc"), Socket: SocketConfig{Auth: func(context.Context, tokens.Token) (any, error) { return nil, nil }}}, ""},
		"other source": {Config{Source: tokens.Func(func(context.Context) (tokens.Token, error) { return tokens.New("f"), nil })}, `{"token":"f"}`},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			bubble(t, func(p *peer) { p.admit(); got = p.auth; p.idle() }, func(t *testing.T, f *fake) {
				f.connect(test.cfg).Close()
				if got != test.want {
					t.Errorf("auth payload %q, want %q", got, test.want)
				}
			})
		})
	}
}

func TestSourceErrors(t *testing.T) {
	bubble(t, func(p *peer) { p.admit(); p.idle() }, func(t *testing.T, f *fake) {
		// A final one ends Connect.
		s := f.client(Config{Source: tokens.Static("")}).Socket()
		if err := s.Connect(patient(t)); !errors.Is(err, tokens.ErrNone) || !errors.Is(err, holdfast.Unauthenticated) {
			t.Errorf("without a token: %v", err)
		}
		// A passing one is tried again (L03).
		n := 0
		s = f.client(Config{Source: tokens.Func(func(context.Context) (tokens.Token, error) {
			if n++; n < 4 {
				return tokens.Token{}, errors.New("network down")
			}
			return tokens.New("abc"), nil
		})}).Socket()
		if err := s.Connect(patient(t)); err != nil || n != 4 {
			t.Errorf("%v after %d reads", err, n)
		}
	})
}

// L44
func TestL44Reconnect(t *testing.T) {
	bubble(t, func(p *peer) { p.admit(); p.idle() }, func(t *testing.T, f *fake) {
		s := f.connect(Config{})
		changes, stop := s.Changes(1000)
		defer stop()
		<-changes
		time.Sleep(time.Minute)
		f.stop()
		c := <-changes
		if c.State != Disconnected || c.Err == nil || c.Final {
			t.Fatalf("after the cut: %+v", c)
		}
		time.Sleep(time.Hour) // the server stays away: no limit by default
		attempts, longest := 0, time.Duration(0)
		for len(changes) > 0 {
			if c = <-changes; c.State == Disconnected {
				attempts++
				longest = max(longest, c.RetryIn)
				ceiling := min(30*time.Second, time.Second<<min(c.Attempt-1, 10))
				if c.Err == nil || c.RetryIn < 0 || c.RetryIn > ceiling {
					t.Errorf("attempt %d waits %v, at most %v: %v", c.Attempt, c.RetryIn, ceiling, c.Err)
				}
			}
		}
		// 3600 s of waits of 15 s on average.
		if attempts < 150 || attempts > 400 || longest < 20*time.Second {
			t.Errorf("%d attempts in an hour, the longest wait %v", attempts, longest)
		}
		f.restart()
		time.Sleep(31 * time.Second)
		if s.State() != Connected {
			t.Errorf("state %v", s.State())
		}
	})
}

func TestPingTimeout(t *testing.T) {
	bubble(t, func(p *peer) {
		p.admit()
		if p.n == 1 {
			for range 10 { // alive for 250 s
				time.Sleep(25 * time.Second)
				p.send("2")
				if _, data, err := p.ws.Read(p.ctx); err != nil || string(data) != "3" {
					p.Errorf("ping was answered with %q, %v", data, err)
				}
			}
		}
		<-p.ctx.Done() // and not a word more
	}, func(t *testing.T, f *fake) {
		s := f.connect(Config{})
		changes, stop := s.Changes(10)
		defer stop()
		<-changes
		start := time.Now()
		c := <-changes
		if c.State != Disconnected || !errors.Is(c.Err, ErrPingTimeout) {
			t.Errorf("%+v", c)
		}
		if after := time.Since(start); after != 250*time.Second+45*time.Second {
			t.Errorf("after %v", after)
		}
		<-changes
		if c = <-changes; c.State != Connected {
			t.Errorf("%+v", c)
		}
	})
}

// Each attempt reads the token anew (L42).
func TestL42TokenAtEachAttempt(t *testing.T) {
	var got list[string]
	bubble(t, func(p *peer) {
		p.admit()
		got.add(p.auth)
		p.sleep(10 * time.Second)
	}, func(t *testing.T, f *fake) {
		n := 0
		f.connect(Config{Source: tokens.Func(func(context.Context) (tokens.Token, error) {
			n++
			return tokens.Token{Access: strings.Repeat("x", n)}, nil
		})})
		time.Sleep(25 * time.Second)
		if !strings.HasPrefix(got.String(), `[{"token":"x"} {"token":"xx"}`) {
			t.Errorf("got %v", &got)
		}
	})
}

func TestConnectGivenUp(t *testing.T) {
	for name, script := range map[string]func(p *peer){
		"no handshake": func(p *peer) { p.idle() },
		"no admission": func(p *peer) { p.hello(); p.idle() },
		"cut":          func(p *peer) {},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, script, func(t *testing.T, f *fake) {
				s := f.client(Config{}).Socket()
				ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
				defer cancel()
				start := time.Now()
				err := s.Connect(ctx)
				if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 90*time.Second {
					t.Errorf("%v after %v", err, time.Since(start))
				}
				if !strings.Contains(err.Error(), "the last attempt: client: ") {
					t.Errorf("the error does not tell of the attempt: %v", err)
				}
				n := f.connections()
				time.Sleep(time.Hour)
				if f.connections() != n || s.State() != Disconnected {
					t.Errorf("it went on: %d connections, then %d", n, f.connections())
				}
			})
		})
	}
}

func TestConnectTimeout(t *testing.T) {
	bubble(t, func(p *peer) {
		if p.n == 1 {
			p.hello()
			p.idle()
		}
		p.admit()
		p.idle()
	}, func(t *testing.T, f *fake) {
		s := f.client(Config{}).Socket()
		changes, stop := s.Changes(10)
		defer stop()
		start := time.Now()
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < 20*time.Second || took > 21*time.Second {
			t.Errorf("took %v", took)
		}
		<-changes // disconnected
		<-changes // connecting
		if c := <-changes; !errors.Is(c.Err, errConnectTimeout) {
			t.Errorf("%+v", c)
		}
	})
}

func TestMaxAttempts(t *testing.T) {
	bubble(t, func(p *peer) {}, func(t *testing.T, f *fake) {
		s := f.client(Config{Socket: SocketConfig{MaxAttempts: 3}}).Socket()
		changes, stop := s.Changes(10)
		defer stop()
		if err := s.Connect(patient(t)); err == nil || f.connections() != 3 {
			t.Errorf("%v after %d attempts", err, f.connections())
		}
		var got []string
		for len(changes) > 0 {
			c := <-changes
			got = append(got, fmt.Sprint(c.State, c.Attempt))
		}
		if want := "[disconnected 0 connecting 1 disconnected 1 connecting 2 disconnected 2 connecting 3 disconnected 3]"; fmt.Sprint(got) != want {
			t.Error(got)
		}
	})
}

// L45
func TestL45CloseDuringConnect(t *testing.T) {
	for name, script := range map[string]func(p *peer){
		"no handshake": func(p *peer) { p.idle() },
		"no admission": func(p *peer) { p.hello(); p.idle() },
		"waiting":      func(p *peer) {},
		"connected":    func(p *peer) { p.admit(); p.idle() },
		"deaf":         func(p *peer) { p.admit(); <-p.ctx.Done() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, script, func(t *testing.T, f *fake) {
				s := f.client(Config{}).Socket()
				done := make(chan error)
				go func() { done <- s.Connect(patient(t)) }()
				time.Sleep(1500 * time.Millisecond)
				start := time.Now()
				s.Close()
				s.Close()
				if took := time.Since(start); took > closeTimeout {
					t.Errorf("Close took %v", took)
				}
				if err := <-done; err != nil && !errors.Is(err, ErrClosed) {
					t.Errorf("Connect: %v", err)
				}
				n := f.connections()
				time.Sleep(time.Hour)
				if f.connections() != n || s.State() != Closed {
					t.Errorf("it went on: %d connections, then %d", n, f.connections())
				}
				<-s.Done()
			})
		})
	}
}

func TestCloseBeforeConnect(t *testing.T) {
	bubble(t, func(p *peer) {}, func(t *testing.T, f *fake) {
		c := f.client(Config{})
		s := c.Socket()
		s.Close()
		<-s.Done()
		c.Close()
		s = c.Namespace("later")
		if err := s.Connect(patient(t)); !errors.Is(err, ErrClosed) || s.Namespace() != "/later" {
			t.Error(err)
		}
		s.Close()
		if _, err := s.Join(patient(t), "a", JoinOptions{}); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
		if err := s.Emit(t.Context(), "a"); !errors.Is(err, ErrNotConnected) {
			t.Error(err)
		}
	})
}

func TestConnectTwice(t *testing.T) {
	bubble(t, func(p *peer) {
		if p.n < 3 {
			return
		}
		p.admit()
		p.idle()
	}, func(t *testing.T, f *fake) {
		s := f.client(Config{}).Socket()
		first := make(chan error)
		go func() { first <- s.Connect(patient(t)) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Microsecond)
		defer cancel()
		if err := s.Connect(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second: %v", err)
		}
		if err := <-first; err != nil { // the second one's end is not the first one's
			t.Errorf("the first: %v", err)
		}
	})
}

func TestNamespace(t *testing.T) {
	bubble(t, func(p *peer) {
		p.send(`0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)
		p.want(`40/admin,`)
		p.send(`40{"sid":"other"}`) // not ours
		p.send(`42["early"]`)
		p.send(`40/admin,{"sid":"s"}`)
		p.send(`42["stray"]`)
		p.send(`42/admin,["hello",1]`)
		p.want(`42/admin,0["question",null]`)
		p.send(`43/admin,0[2]`)
		p.want(`41/admin,`)
	}, func(t *testing.T, f *fake) {
		c := f.client(Config{})
		s := c.Namespace("admin")
		if s != c.Namespace("/admin") || s == c.Socket() || c.Socket() != c.Namespace("/") {
			t.Error("a namespace has one socket")
		}
		var got list[string]
		s.OnAny(func(_ context.Context, event string, _ socketio.Args) { got.add(event) })
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		if n, err := EmitAck[int](patient(t), s, "question", nil); n != 2 || err != nil {
			t.Error(n, err)
		}
		synctest.Wait()
		s.Close()
		if got.String() != "[hello]" {
			t.Errorf("events %v", &got)
		}
	})
}

func TestBrokenServer(t *testing.T) {
	for name, say := range map[string]func(p *peer){
		"no handshake":  func(p *peer) { p.send(`40{"sid":"x"}`) },
		"bad handshake": func(p *peer) { p.send(`0{"sid":7}`) },
		"two handshakes": func(p *peer) {
			p.hello()
			p.send(`0{"sid":"x","upgrades":[],"pingInterval":1000,"pingTimeout":1000,"maxPayload":1}`)
		},
		"event before CONNECT": func(p *peer) { p.hello(); p.send(`42["x"]`) },
		"unknown packet":       func(p *peer) { p.admit(); p.send(`9`) },
		"bad packet":           func(p *peer) { p.admit(); p.send(`42["x"`) },
		"stray binary":         func(p *peer) { p.admit(); p.sendBinary([]byte("x")) },
		"empty":                func(p *peer) { p.admit(); p.send("") },
		"close packet":         func(p *peer) { p.admit(); p.send("1") },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(p *peer) {
				if p.n == 1 {
					say(p)
				} else {
					p.admit()
				}
				p.idle()
			}, func(t *testing.T, f *fake) {
				s := f.connect(Config{})
				time.Sleep(1100 * time.Millisecond) // at most one backoff
				if s.State() != Connected || f.connections() != 2 {
					t.Errorf("%v, %d connections", s.State(), f.connections())
				}
			})
		})
	}
}

func TestTooLargeFromServer(t *testing.T) {
	bubble(t, func(p *peer) {
		p.admit()
		if p.n == 1 {
			p.send(`42["x",%q]`, strings.Repeat("x", 1000))
		}
		p.idle()
	}, func(t *testing.T, f *fake) {
		s := f.client(Config{Socket: SocketConfig{MaxMessage: 500}}).Socket()
		changes, stop := s.Changes(10)
		defer stop()
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		<-changes // disconnected
		<-changes // connecting
		<-changes // connected
		start := time.Now()
		if c := <-changes; !errors.Is(c.Err, holdfast.MessageTooLarge) || c.Final || time.Since(start) > time.Second {
			t.Errorf("%+v after %v", c, time.Since(start))
		}
	})
}

func TestStateString(t *testing.T) {
	for state, want := range map[State]string{Disconnected: "disconnected", Connecting: "connecting", Connected: "connected", Closed: "closed", 7: "state 7"} {
		if state.String() != want {
			t.Errorf("%d: %s", int(state), state)
		}
	}
}

func TestChanges(t *testing.T) {
	bubble(t, func(p *peer) {}, func(t *testing.T, f *fake) {
		s := f.client(Config{}).Socket()
		slow, _ := s.Changes(0)
		gone, stop := s.Changes(1)
		stop()
		stop()
		if c, ok := <-gone; !ok || c.State != Disconnected || !c.Final {
			t.Errorf("%+v", c)
		}
		if _, ok := <-gone; ok {
			t.Error("open after stop")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s.Connect(ctx)
		s.Close()
		if c := <-slow; c.State != Closed { // the newest, whatever was missed
			t.Errorf("%+v", c)
		}
		if _, ok := <-slow; ok {
			t.Error("open after Closed")
		}
		late, _ := s.Changes(1)
		if c := <-late; c.State != Closed {
			t.Errorf("%+v", c)
		}
		if _, ok := <-late; ok {
			t.Error("open after Closed")
		}
	})
}
