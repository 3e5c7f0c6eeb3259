package front

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// dial opens a connection to a stage.
func dial(t *testing.T, s *stage) net.Conn {
	t.Helper()
	conn, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// rest reads a connection to its end, and closes it.
func rest(t *testing.T, conn net.Conn) string {
	t.Helper()
	all, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	return string(all)
}

// counts returns how many workers there are, and how many of them have nothing
// to do.
func (s *stage) counts() (workers, idle int) {
	s.front.mu.Lock()
	defer s.front.mu.Unlock()
	return len(s.front.workers), len(s.front.idle)
}

// A bubble is a test with a front on the fake clock.
func bubble(t *testing.T, run func(t *testing.T, s *stage)) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(true)
		defer s.close()
		run(t, s)
	})
}

// Who is too slow is cut off, as by net/http: without a word, and after the time
// for a header, whatever has come of it.
func TestSlowHeaders(t *testing.T) {
	for name, sent := range map[string]string{"nothing": "", "a line": "GET /take HTTP/1.1\r\nHost: a\r\n"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				began := time.Now()
				conn := dial(t, s)
				io.WriteString(conn, sent)
				if got := rest(t, conn); got != "" || time.Since(began) != headerTimeout {
					t.Errorf("%q after %v", got, time.Since(began))
				}
				if len(s.seen) != 0 {
					t.Errorf("the handler saw %v", s.seen)
				}
			})
		})
	}
}

// A byte now and then gains no time.
func TestSlowBytes(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		began := time.Now()
		conn, done := dial(t, s), make(chan struct{})
		defer func() { <-done }()
		go func() {
			defer close(done)
			for i := range 60 {
				if _, err := io.WriteString(conn, handshakeTo("/take")[i:i+1]); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		if got := rest(t, conn); got != "" || time.Since(began) != headerTimeout {
			t.Errorf("%q after %v", got, time.Since(began))
		}
	})
}

// A handshake that came in time leaves no deadline behind, and neither does the
// front where the server goes on.
func TestNoDeadlineIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		conn := dial(t, s)
		io.WriteString(conn, handshakeTo("/take"))
		time.Sleep(10 * headerTimeout)
		io.WriteString(conn, "late")
		conn.(interface{ CloseWrite() error }).CloseWrite()
		if got := rest(t, conn); got != "HTTP/1.1 101 Taken\r\n\r\nlate" {
			t.Errorf("%q", got)
		}

		conn = dial(t, s)
		time.Sleep(headerTimeout - time.Second)
		in := bufio.NewReader(conn)
		for range 3 {
			io.WriteString(conn, request("GET / HTTP/1.1", "Host: a"))
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, r.Body)
			time.Sleep(idleTimeout - time.Second)
		}
		conn.Close()
	})
}

// A connection whose first request is not for the front stays the server's.
func TestKeepAlive(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		conn := dial(t, s)
		in := bufio.NewReader(conn)
		for range 3 {
			io.WriteString(conn, request("GET / HTTP/1.1", "Host: a"))
			r, err := http.ReadResponse(in, nil)
			if err != nil || r.Close {
				t.Fatal(err, r)
			}
			io.Copy(io.Discard, r.Body)
		}
		io.WriteString(conn, handshakeTo("/take")+"early")
		conn.(interface{ CloseWrite() error }).CloseWrite()
		if got, _ := io.ReadAll(in); string(got) != "HTTP/1.1 101 Taken\r\n\r\nearly" {
			t.Errorf("%q", got)
		}
		conn.Close()
		if !slices.Equal(s.own, []bool{false, false, false, false}) {
			t.Errorf("answered by the front: %v", s.own)
		}
	})
}

// The context of a request ends with the client, if anybody asks; what the
// client sends meanwhile is not lost.
func TestContext(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		asked := make(chan string)
		s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
			defer cancel()
			x := w.(*exchange)
			if x.ctx.watching == nil {
				t.Error("nobody looks for the client, though a context depends on it")
			}
			if r.URL.Path == "/gone" {
				<-ctx.Done()
				asked <- ctx.Err().Error()
				if _, _, err := x.Hijack(); err != nil {
					t.Error(err)
				}
				x.conn.Close()
				return
			}
			asked <- "now"
			synctest.Wait()
			conn, rw, err := x.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			if r.Context().Err() != nil {
				t.Error("taking the connection over ended the context")
			}
			context.AfterFunc(r.Context(), func() { asked <- "over" })
			time.Sleep(time.Hour / 2)
			one := make([]byte, 5)
			_, err = io.ReadFull(rw, one)
			asked <- string(one)
			if err != nil {
				t.Error(err)
			}
			conn.Close()
		})
		conn := dial(t, s)
		io.WriteString(conn, handshakeTo("/gone"))
		synctest.Wait()
		conn.Close()
		if got := <-asked; got != "context canceled" {
			t.Errorf("after the client has gone: %s", got)
		}

		conn = dial(t, s)
		io.WriteString(conn, handshakeTo("/"))
		<-asked
		io.WriteString(conn, "early")
		if got := <-asked; got != "early" {
			t.Errorf("what came while the client was looked for: %q", got)
		}
		if got := <-asked; got != "over" {
			t.Error(got)
		}
		conn.Close()
	})
}

// A context that nobody looks at costs nothing, and ends all the same.
func TestContextAfterwards(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		kept := make(chan *http.Request, 1)
		s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if w.(*exchange).ctx.inner != nil {
				t.Error("a context was made that nobody has asked for")
			}
			kept <- r
		})
		conn := dial(t, s)
		io.WriteString(conn, handshakeTo("/"))
		rest(t, conn)
		r := <-kept
		<-r.Context().Done()
		if err := r.Context().Err(); err != context.Canceled {
			t.Error(err)
		}
		if _, ok := r.Context().Deadline(); ok {
			t.Error("there is a deadline")
		}
	})
}

// What a handler keeps for later is of no use to it, nor of harm to others.
func TestAfterTheHandler(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		kept := make(chan http.ResponseWriter, 1)
		s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { kept <- w })
		conn := dial(t, s)
		io.WriteString(conn, handshakeTo("/"))
		w := <-kept
		synctest.Wait()
		if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("taken over while the answer is read: %v", err)
		}
		rest(t, conn)
		synctest.Wait()
		if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrHijacked) {
			t.Errorf("taken over afterwards: %v", err)
		}
	})
}

// A panic is logged as by net/http, and ends its connection alone.
func TestPanic(t *testing.T) {
	for path, want := range map[string]string{"/panic": "http: panic serving 127.0.0.1:", "/abort": ""} {
		t.Run(path, func(t *testing.T) {
			bubble(t, func(t *testing.T, s *stage) {
				conn := dial(t, s)
				io.WriteString(conn, handshakeTo(path))
				if got := rest(t, conn); got != "" {
					t.Errorf("answered with %q", got)
				}
				synctest.Wait()
				log := s.logged()
				if !strings.HasPrefix(log, want) || want == "" && log != "" {
					t.Errorf("logged: %q", log)
				}
				if want != "" && (!strings.Contains(log, ": as asked\n") || !strings.Contains(log, "\ngoroutine ")) {
					t.Errorf("logged: %q", log)
				}
				if workers, idle := s.counts(); workers != 1 || idle != 1 {
					t.Errorf("%d workers, of which %d wait", workers, idle)
				}
				conn = dial(t, s)
				io.WriteString(conn, handshakeTo("/"))
				if got := rest(t, conn); !strings.HasSuffix(got, "hello") {
					t.Errorf("then: %q", got)
				}
			})
		})
	}
}

// A handler may end its goroutine.
func TestGoexit(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.server.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { runtime.Goexit() })
		conn := dial(t, s)
		io.WriteString(conn, handshakeTo("/"))
		if got := rest(t, conn); got != "" {
			t.Errorf("answered with %q", got)
		}
		synctest.Wait()
		if workers, _ := s.counts(); workers != 0 {
			t.Errorf("%d workers are left", workers)
		}
	})
}

// Many clients at once have a worker each, of which some stay.
func TestWorkers(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		const clients = 2 * idleWorkers
		var conns []net.Conn
		for range clients {
			conns = append(conns, dial(t, s))
		}
		synctest.Wait()
		if workers, idle := s.counts(); workers != clients || idle != 0 {
			t.Fatalf("%d workers, of which %d wait", workers, idle)
		}
		for _, conn := range conns {
			io.WriteString(conn, handshakeTo("/"))
			rest(t, conn)
		}
		synctest.Wait()
		if workers, idle := s.counts(); workers != idleWorkers || idle != idleWorkers {
			t.Errorf("%d workers, of which %d wait; want %d", workers, idle, idleWorkers)
		}
	})
}

// Shutdown lets go of who has asked for nothing, and waits for what runs.
func TestShutdown(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		silent, begun, asking := dial(t, s), dial(t, s), dial(t, s)
		io.WriteString(begun, "GET / HT")
		io.WriteString(asking, handshakeTo("/wait"))
		synctest.Wait()

		done := make(chan error, 1)
		go func() { done <- s.front.Shutdown(t.Context()) }()
		for _, conn := range []net.Conn{silent, begun} {
			if got := rest(t, conn); got != "" {
				t.Errorf("%q", got)
			}
		}
		synctest.Wait()
		select {
		case err := <-done:
			t.Fatalf("Shutdown has not waited: %v", err)
		default:
		}
		if _, err := s.Dial(t.Context()); err == nil {
			t.Error("the listener is open")
		}
		asking.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if s.ended != 1 {
			t.Error("the handler has not returned")
		}
		if workers, _ := s.counts(); workers != 0 {
			t.Errorf("%d workers are left", workers)
		}
		if err := s.front.Shutdown(t.Context()); err != nil {
			t.Errorf("once more: %v", err)
		}
		if err := s.front.Serve(s.Listener); err != http.ErrServerClosed {
			t.Errorf("Serve afterwards: %v", err)
		}
	})
}

// Where the time for it ends, Close cuts off what is left.
func TestShutdownInTime(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		conn := dial(t, s)
		io.WriteString(conn, handshakeTo("/wait"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.front.Shutdown(ctx); err != context.DeadlineExceeded {
			t.Errorf("Shutdown: %v", err)
		}
		if err := s.front.Close(); err != nil {
			t.Error(err)
		}
		if got := rest(t, conn); got != "" {
			t.Errorf("%q", got)
		}
		synctest.Wait()
		if workers, _ := s.counts(); workers != 0 || s.ended != 1 {
			t.Errorf("%d workers are left", workers)
		}
	})
}

// Connections that were taken over are not touched by the end of the front.
func TestShutdownLeavesTaken(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		taken := make(chan net.Conn, 1)
		s.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			taken <- conn
		})
		client := dial(t, s)
		io.WriteString(client, handshakeTo("/"))
		conn := <-taken
		if err := s.front.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		s.front.Close()
		io.WriteString(conn, "still here")
		conn.Close()
		if got := rest(t, client); got != "still here" {
			t.Errorf("%q", got)
		}
	})
}

// A client that does not read its answer to the end holds nobody up for long.
func TestLingering(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		began := time.Now()
		conn := dial(t, s)
		io.WriteString(conn, handshakeTo("/"))
		for workers, idle := s.counts(); workers == 0 || idle == 0; workers, idle = s.counts() {
			time.Sleep(lingering / 10)
		}
		if took := time.Since(began); took < lingering || took > 2*lingering {
			t.Errorf("took %v", took)
		}
		if got := rest(t, conn); !strings.HasSuffix(got, "hello") {
			t.Errorf("%q", got)
		}
	})
}

func TestConnState(t *testing.T) {
	bubble(t, func(t *testing.T, s *stage) {
		s.server.ConnState = func(_ net.Conn, state http.ConnState) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.states = append(s.states, state)
		}
		for path, want := range map[string][]http.ConnState{
			"/take": {http.StateNew, http.StateActive, http.StateHijacked},
			"/":     {http.StateNew, http.StateActive, http.StateClosed},
		} {
			s.states = nil
			s.talk(t, []byte(handshakeTo(path)))
			synctest.Wait()
			if !slices.Equal(s.states, want) {
				t.Errorf("%s: %v, want %v", path, s.states, want)
			}
		}
	})
}

// failing is a listener that fails in one way, then in another.
type failing struct {
	net.Listener
	errs []error
}

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return f.Listener.Accept()
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	return nil, err
}

func TestAcceptFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStage(true)
		s.close()
		again := New(Config{Server: &http.Server{Handler: s.server.Handler, ErrorLog: s.server.ErrorLog}})
		began, broken := time.Now(), errors.New("broken")
		l := &failing{Listener: s.Listener, errs: []error{syscall.EMFILE, syscall.EMFILE, broken}}
		if err := again.Serve(l); err != broken {
			t.Errorf("Serve: %v", err)
		}
		if took := time.Since(began); took != 3*minAcceptWait {
			t.Errorf("waited %v", took)
		}
		if got := strings.Count(s.logged(), "Accept error"); got != 2 {
			t.Errorf("logged %d times", got)
		}
		again.Close()
	})
}

// On the real network the handler gets the connection itself, from the front and
// through the server.
func TestRealConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type taken struct {
		conn  net.Conn
		early string
	}
	conns := make(chan taken, 1)
	f := New(Config{Server: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
		}
		early := make([]byte, 5)
		io.ReadFull(rw, early)
		conns <- taken{conn, string(early)}
	})}})
	served := make(chan error, 1)
	go func() { served <- f.Serve(l) }()
	for name, header := range map[string]string{"plain": handshakeTo("/"), "long": handshakeTo("/", "Cookie: "+strings.Repeat("a", 2*headBytes))} {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(client, header+"early")
		got := <-conns
		if got.early != "early" {
			t.Errorf("%s: behind the header came %q", name, got.early)
		}
		conn := got.conn
		if r, ok := conn.(*replayed); ok != (name == "long") {
			t.Errorf("%s: %T", name, conn)
		} else if ok {
			conn = r.Bare()
		}
		if _, ok := conn.(*net.TCPConn); !ok {
			t.Errorf("%s: %T inside", name, conn)
		}
		client.Close()
		conn.Close()
	}
	if err := f.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Error(err)
	}
}
