package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/sse"
)

// streamRig is a Streams with a server and a client.
type streamRig struct {
	t       testing.TB
	streams *Streams
	client  *http.Client
	opened  chan *listening
}

// listening is a StreamReceiver. It numbers what goes out.
type listening struct {
	*Stream
	n      int
	closed chan error
}

func (l *listening) Append(dst []byte, f *hub.Frame) []byte {
	l.n++
	return append(sse.AppendID(dst, fmt.Sprint(l.n)), f.Text...)
}

func (l *listening) Closed(err error) {
	if l.Context().Err() == nil {
		err = errors.New("the context outlives Closed")
	}
	l.closed <- err
}

// say sends an event.
func (l *listening) say(data string) bool {
	return l.Send(&hub.Frame{Text: sse.AppendEnd(sse.AppendData(nil, []byte(data)))})
}

// ended waits for Closed and checks its code.
func (l *listening) ended(t testing.TB, want holdfast.Code) {
	t.Helper()
	select {
	case err := <-l.closed:
		if holdfast.CodeOf(err) != want {
			t.Errorf("Closed with %v, want %q", err, want)
		}
	case <-time.After(time.Minute):
		t.Fatal("Closed was not called")
	}
}

func newStreamRig(t testing.TB, n network, cfg StreamsConfig) *streamRig {
	t.Helper()
	rg := &streamRig{t: t, opened: make(chan *listening, 16)}
	if cfg.Open == nil {
		cfg.Open = func(s *Stream) (StreamReceiver, error) {
			l := &listening{Stream: s, closed: make(chan error, 2)}
			rg.opened <- l
			return l, nil
		}
	}
	rg.streams = NewStreams(cfg)
	// Timeouts that are about requests must not end a stream.
	server := &http.Server{Handler: rg.streams, ReadTimeout: 3 * time.Second, WriteTimeout: 3 * time.Second}
	serving := make(chan struct{})
	go func() { defer close(serving); _ = server.Serve(n.listener) }()
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dial(ctx) },
	}
	rg.client = &http.Client{Transport: transport}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := rg.streams.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
		if n := rg.streams.Len(); n != 0 {
			t.Errorf("%d streams are left", n)
		}
		_ = server.Close()
		<-serving
		transport.CloseIdleConnections()
	})
	return rg
}

// open opens a stream.
func (rg *streamRig) open() (*sse.Reader, *listening, func()) {
	rg.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	rg.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", "http://stream.test/events", nil)
	if err != nil {
		rg.t.Fatal(err)
	}
	resp, err := rg.client.Do(req)
	if err != nil {
		rg.t.Fatal(err)
	}
	if resp.StatusCode != 200 {
		rg.t.Fatal(resp.Status)
	}
	return sse.NewReader(resp.Body), <-rg.opened, func() { cancel(); resp.Body.Close() }
}

func wantEvents(t testing.TB, in *sse.Reader, want ...string) {
	t.Helper()
	for _, data := range want {
		if ev, err := in.Next(); err != nil || ev.Data != data {
			t.Fatalf("%.100v %v, want %.100s", ev, err, data)
		}
	}
}

func TestStreamLife(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newStreamRig(t, n, StreamsConfig{})
		in, l, leave := rg.open()
		for i := range 200 {
			if !l.say(fmt.Sprint(i)) {
				t.Fatal("Send")
			}
		}
		for i := range 200 {
			ev, err := in.Next()
			if err != nil || ev.Data != fmt.Sprint(i) || ev.ID != fmt.Sprint(i+1) {
				t.Fatalf("%+v %v, want %d", ev, err, i)
			}
		}
		if l.Transport() != "sse" || l.Request().Host != "stream.test" {
			t.Errorf("%s %+v", l.Transport(), l.Request())
		}
		// The peer goes.
		leave()
		l.ended(t, holdfast.GoingAway)
		if l.say("late") {
			t.Error("Send after the end")
		}
		if err := context.Cause(l.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("cause %v", err)
		}
		// The server ends it, after what is queued.
		in, l, _ = rg.open()
		l.say("last")
		l.Close(holdfast.Forbidden.New())
		l.Close(nil)
		wantEvents(t, in, "last")
		if _, err := in.Next(); err != io.EOF {
			t.Errorf("%v", err)
		}
		l.ended(t, holdfast.Forbidden)
	})
}

func TestStreamKeepAlive(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newStreamRig(t, n, StreamsConfig{})
		in, l, _ := rg.open()
		time.Sleep(10 * time.Second)
		l.say("one")
		wantEvents(t, in, "one")
		time.Sleep(100 * time.Second)
		l.say("two")
		wantEvents(t, in, "two")
		if in.Comments() != 6 {
			t.Errorf("%d comments, counted from the last event", in.Comments())
		}
	})
}

// A peer that does not read is cut off: by the queue, or by time.
func TestStreamSlow(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newStreamRig(t, n, StreamsConfig{QueueBytes: 100_000})
		_, l, _ := rg.open()
		for l.say(strings.Repeat("a", 10_000)) {
			runtime.Gosched()
		}
		l.ended(t, holdfast.SlowConsumer)
	})
	onMemnet(t, func(t *testing.T, n network) {
		rg := newStreamRig(t, n, StreamsConfig{})
		_, l, _ := rg.open()
		start := time.Now()
		for range 5 { // more than the network holds, less than the queue
			l.say(strings.Repeat("a", 50_000))
		}
		l.ended(t, holdfast.SlowConsumer)
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("cut after %v", d)
		}
	})
	// One that is closed has less time.
	onMemnet(t, func(t *testing.T, n network) {
		rg := newStreamRig(t, n, StreamsConfig{})
		_, l, _ := rg.open()
		for range 5 {
			l.say(strings.Repeat("a", 50_000))
		}
		synctest.Wait()
		start := time.Now()
		if err := rg.streams.Close(t.Context()); err != nil {
			t.Error(err)
		}
		l.ended(t, holdfast.GoingAway)
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
	onMemnet(t, func(t *testing.T, n network) {
		rg := newStreamRig(t, n, StreamsConfig{})
		_, l, _ := rg.open()
		for range 5 {
			l.say(strings.Repeat("a", 50_000))
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := rg.streams.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		synctest.Wait()
		if rg.streams.Len() != 0 {
			t.Error("not cut")
		}
		l.ended(t, holdfast.GoingAway)
	})
}

// A replay waits for its reader.
func TestStreamPace(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newStreamRig(t, n, StreamsConfig{QueueBytes: 100_000})
		in, l, _ := rg.open()
		done := make(chan error, 1)
		go func() {
			for range 100 {
				if err := l.Pace(context.Background()); err != nil || !l.say(strings.Repeat("a", 20_000)) {
					done <- fmt.Errorf("cut off: %w", err)
					return
				}
			}
			done <- nil
		}()
		for range 100 {
			wantEvents(t, in, strings.Repeat("a", 20_000))
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestStreamRefusals(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		fail := make(chan func(s *Stream) (StreamReceiver, error), 1)
		rg := newStreamRig(t, n, StreamsConfig{
			Check: func(r *http.Request) error {
				if r.URL.RawQuery == "bad" {
					return holdfast.OriginNotAllowed.New()
				}
				return nil
			},
			Open: func(s *Stream) (StreamReceiver, error) { return (<-fail)(s) },
		})
		get := func(method, path string) (int, string, http.Header) {
			req, err := http.NewRequest(method, "http://stream.test"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := rg.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil {
				t.Fatal(err)
			}
			return resp.StatusCode, string(body), resp.Header
		}
		if status, body, _ := get("GET", "/events?bad"); status != 403 || !strings.Contains(body, "ORIGIN_NOT_ALLOWED") {
			t.Errorf("%d %s", status, body)
		}
		if status, _, h := get("POST", "/events"); status != 405 || h.Get("Allow") != "GET" {
			t.Errorf("%d %v", status, h)
		}
		var contexts []context.Context
		closed := make(chan error, 1)
		for want, open := range map[string]func(s *Stream) (StreamReceiver, error){
			"401 UNAUTHENTICATED": func(*Stream) (StreamReceiver, error) { return nil, holdfast.Unauthenticated.New() },
			"500 INTERNAL":        func(*Stream) (StreamReceiver, error) { return nil, nil },
			"503 GOING_AWAY": func(s *Stream) (StreamReceiver, error) { // it is closed before it begins
				s.Send(&hub.Frame{Text: []byte("data: x\n\n")})
				s.Close(holdfast.GoingAway.New())
				return &listening{Stream: s, closed: closed}, nil
			},
		} {
			fail <- func(s *Stream) (StreamReceiver, error) {
				contexts = append(contexts, s.Context())
				return open(s)
			}
			status, body, h := get("GET", "/events")
			if text, code, _ := strings.Cut(want, " "); fmt.Sprint(status) != text || !strings.Contains(body, code) || h.Get("Content-Type") != "application/json" {
				t.Errorf("%d %s, want %s", status, body, want)
			}
		}
		if err := <-closed; holdfast.CodeOf(err) != holdfast.GoingAway {
			t.Errorf("Closed with %v", err)
		}
		for _, ctx := range contexts {
			<-ctx.Done()
		}
		if err := rg.streams.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if status, body, _ := get("GET", "/events"); status != 503 || !strings.Contains(body, "GOING_AWAY") {
			t.Errorf("%d %s", status, body)
		}
	})
}

// A panicking receiver ends its stream and nothing else.
func TestStreamPanics(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newStreamRig(t, n, StreamsConfig{Open: func(s *Stream) (StreamReceiver, error) { return panickingStream{}, nil }})
		resp, err := rg.client.Get("http://stream.test/")
		if err != nil {
			t.Fatal(err)
		}
		rg.streams.all()[0].Close(nil)
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Error(err)
		}
		resp.Body.Close()
	})
}

type panickingStream struct{}

func (panickingStream) Append(dst []byte, _ *hub.Frame) []byte { return dst }
func (panickingStream) Closed(error)                           { panic("closed") }

// HTTP/2 over TLS, on loopback: streams share a connection, and end one by one.
func TestStreamHTTP2(t *testing.T) {
	rg := &streamRig{t: t, opened: make(chan *listening, 16)}
	rg.streams = NewStreams(StreamsConfig{Open: func(s *Stream) (StreamReceiver, error) {
		l := &listening{Stream: s, closed: make(chan error, 2)}
		rg.opened <- l
		return l, nil
	}})
	server := httptest.NewUnstartedServer(rg.streams)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	rg.client = server.Client()
	transport := rg.client.Transport.(*http.Transport)
	defer transport.CloseIdleConnections()
	address := server.Listener.Addr().String()
	transport.DialTLSContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&tls.Dialer{Config: transport.TLSClientConfig}).DialContext(ctx, network, address)
	}
	open := func() (*sse.Reader, *listening, func()) {
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "GET", "https://example.com/", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := rg.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.ProtoMajor != 2 {
			t.Fatalf("%s", resp.Proto)
		}
		return sse.NewReader(resp.Body), <-rg.opened, func() { cancel(); resp.Body.Close() }
	}
	in1, one, leave := open()
	in2, two, _ := open()
	one.say("a")
	two.say("b")
	wantEvents(t, in1, "a")
	wantEvents(t, in2, "b")
	leave()
	one.ended(t, holdfast.GoingAway)
	for i := range 50 {
		two.say(fmt.Sprint(i))
		wantEvents(t, in2, fmt.Sprint(i))
	}
	// A peer that does not read: its window is full, and only its stream ends.
	_, slow, _ := open()
	for slow.say(strings.Repeat("a", 100_000)) {
		runtime.Gosched()
	}
	slow.ended(t, holdfast.SlowConsumer)
	two.say("still there")
	wantEvents(t, in2, "still there")
	if err := rg.streams.Close(t.Context()); err != nil {
		t.Error(err)
	}
	two.ended(t, holdfast.GoingAway)
}
