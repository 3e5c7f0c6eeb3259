package memnet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBytesArriveInOrder(t *testing.T) {
	a, b := Pipe(100)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1000)
	go func() {
		_, _ = a.Write(data)
		a.Close()
	}()
	got, err := io.ReadAll(b)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	b.Close()
}

func TestWriteBlocksWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(10)
		written := make(chan int, 1)
		go func() {
			n, err := a.Write(make([]byte, 25))
			if err != nil {
				t.Error(err)
			}
			written <- n
		}()
		synctest.Wait()
		for _, want := range []int{10, 10, 5} {
			if done := len(written) != 0; done != (want == 5) {
				t.Error("Write did not wait")
			}
			if n, err := b.Read(make([]byte, 100)); n != want || err != nil {
				t.Errorf("read %d, %v", n, err)
			}
			synctest.Wait()
		}
		if n := <-written; n != 25 {
			t.Errorf("wrote %d", n)
		}
	})
}

func TestClose(t *testing.T) {
	a, b := Pipe(0)
	_, _ = a.Write([]byte("last"))
	_, _ = b.Write([]byte("never read"))
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if err := a.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if got, err := io.ReadAll(b); string(got) != "last" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := b.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write to a closed end: %v", err)
	}
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write after Close: %v", err)
	}
	if err := a.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("deadline after Close: %v", err)
	}
}

// What the other end writes because this one was closed is not read here.
func TestNothingIsReadAfterClose(t *testing.T) {
	for round := range 2000 {
		a, b := Pipe(0)
		go func() {
			_, _ = b.Read(make([]byte, 1)) // EOF
			_, _ = b.Write([]byte("late"))
			b.Close()
		}()
		go a.Close()
		if n, err := a.Read(make([]byte, 4)); n != 0 || !errors.Is(err, net.ErrClosed) {
			t.Fatalf("round %d: read %d, %v", round, n, err)
		}
	}
}

func TestCloseWrite(t *testing.T) {
	a, b := Pipe(0)
	_, _ = a.Write([]byte("last"))
	_ = a.CloseWrite()
	if got, err := io.ReadAll(b); string(got) != "last" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := a.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("write after CloseWrite: %v", err)
	}
	if _, err := b.Write([]byte("answer")); err != nil {
		t.Error(err)
	}
	b.Close()
	if got, err := io.ReadAll(a); string(got) != "answer" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestCloseWakesBothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := Pipe(1)
		failed := make(chan error, 3)
		go func() { _, err := a.Read(make([]byte, 1)); failed <- err }()
		go func() { _, err := a.Write(make([]byte, 2)); failed <- err }()
		go func() { _, err := b.Write(make([]byte, 2)); failed <- err }()
		synctest.Wait()
		a.Close()
		for range 3 {
			if err := <-failed; err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.EPIPE) {
				t.Error(err)
			}
		}
	})
}

func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := Pipe(1)
		wait := func(op func() error, want time.Duration) {
			t.Helper()
			begin := time.Now()
			err := op()
			if d := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || d != want {
				t.Errorf("%v after %v, want a timeout after %v", err, d, want)
			}
			if e, ok := errors.AsType[net.Error](err); !ok || !e.Timeout() {
				t.Errorf("%v is no timeout to net", err)
			}
		}
		read := func() error { _, err := a.Read(make([]byte, 1)); return err }
		write := func() error { _, err := a.Write(make([]byte, 5)); return err }
		_ = a.SetReadDeadline(time.Now().Add(time.Second))
		wait(read, time.Second)
		wait(read, 0)
		_ = a.SetDeadline(time.Now().Add(time.Minute)) // a new deadline lifts the old one
		wait(write, time.Minute)
		_ = a.SetReadDeadline(time.Now().Add(-1))
		wait(read, 0)
		_ = a.SetReadDeadline(time.Now().Add(time.Hour))
		go func() { // shortened while a Read waits
			time.Sleep(time.Second)
			_ = a.SetReadDeadline(time.Now().Add(time.Second))
			time.Sleep(500 * time.Millisecond)
			_ = a.SetReadDeadline(time.Now())
		}()
		wait(read, 1500*time.Millisecond)
		_ = a.SetDeadline(time.Time{})
		a.Close()
	})
}

func TestListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Listen()
		c, err := l.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if s.RemoteAddr().String() != c.LocalAddr().String() || c.RemoteAddr().String() != l.Addr().String() {
			t.Errorf("addresses %v %v", s.RemoteAddr(), c.LocalAddr())
		}
		if _, _, err := net.SplitHostPort(s.RemoteAddr().String()); err != nil {
			t.Error(err)
		}
		from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}
		if _, err := l.DialFrom(t.Context(), from); err != nil {
			t.Fatal(err)
		}
		if s, err := l.Accept(); err != nil || s.RemoteAddr() != from {
			t.Errorf("%v, %v", s, err)
		}
		ended := make(chan error)
		go func() {
			_, err := l.Accept()
			ended <- err
		}()
		synctest.Wait()
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("second Close: %v", err)
		}
		if _, err := l.Dial(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
		if _, err := s.Write([]byte("still open")); err != nil {
			t.Error(err)
		}
	})
}

func TestCloseDropsUnaccepted(t *testing.T) {
	l := Listen()
	c, err := l.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}

func TestFullBacklog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Listen()
		for range backlog {
			if _, err := l.Dial(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Dial(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		l.Close()
	})
}

// net/http works on it inside a bubble, timeouts included.
func TestHTTPInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Listen()
		server := &http.Server{
			IdleTimeout: time.Minute,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(time.Hour)
				_, _ = io.Copy(w, r.Body)
			}),
		}
		go func() { _ = server.Serve(l) }()
		client := &http.Client{Transport: &http.Transport{DialContext: l.DialContext}}
		body := strings.Repeat("x", 1<<20)
		resp, err := client.Post("http://memnet/", "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if err != nil || string(got) != body {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		resp.Body.Close()
		time.Sleep(2 * time.Minute) // the idle connection is closed
		server.Close()
		client.CloseIdleConnections()
	})
}
