package front

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// seen is what a handler saw of a request.
type seen struct {
	Method, Target, URL, Proto, Host, Remote string
	Header                                   http.Header
	Length                                   int64
	Coding                                   []string
	Body                                     string
	Close, TLS, Server, Local, Base, Conn    bool
}

// stage is a server, an http.Server alone or with a front before it, and what it
// has seen.
type stage struct {
	*memnet.Listener
	server *http.Server
	front  *Front // nil: net/http alone

	mu     sync.Mutex
	seen   []seen
	own    []bool // which of them the front answered
	log    bytes.Buffer
	states []http.ConnState // of connections that became the handler's or the front's
	ended  int              // contexts that the handler of /wait saw end
}

type key string

// Times of the server, on the fake clock.
const headerTimeout, idleTimeout = 10 * time.Second, 20 * time.Second

// newStage starts a server. The bubble's test stops it.
func newStage(withFront bool) *stage {
	s := &stage{Listener: memnet.Listen()}
	s.server = &http.Server{
		Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 32 << 10,
		BaseContext: func(net.Listener) context.Context { return context.WithValue(context.Background(), key("base"), true) },
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, key("conn"), true)
		},
		ErrorLog: log.New(locked{s}, "", 0),
	}
	if withFront {
		s.front = New(Config{Server: s.server})
		go s.front.Serve(s.Listener)
	} else {
		go s.server.Serve(s.Listener)
	}
	return s
}

func (s *stage) close() {
	if s.front != nil {
		s.front.Close()
		return
	}
	s.server.Close()
}

// locked takes the log.
type locked struct{ s *stage }

func (l locked) Write(p []byte) (int, error) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.s.log.Write(p)
}

func (s *stage) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *stage) note(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		body = append(body, "…"...)
	}
	base, _ := r.Context().Value(key("base")).(bool)
	conn, _ := r.Context().Value(key("conn")).(bool)
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	remote, _, _ := net.SplitHostPort(r.RemoteAddr)
	_, own := w.(*exchange)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.own = append(s.own, own)
	s.seen = append(s.seen, seen{
		Method: r.Method, Target: r.RequestURI, URL: fmt.Sprintf("%#v", *r.URL), Proto: fmt.Sprint(r.Proto, r.ProtoMajor, r.ProtoMinor),
		Host: r.Host, Remote: remote, Header: r.Header.Clone(), Length: r.ContentLength, Coding: r.TransferEncoding, Body: string(body),
		Close: r.Close, TLS: r.TLS != nil, Server: r.Context().Value(http.ServerContextKey) == s.server,
		Local: local != nil && local.String() == s.Addr().String(), Base: base, Conn: conn,
	})
}

// serve does what the path says.
func (s *stage) serve(w http.ResponseWriter, r *http.Request) {
	s.note(w, r)
	status, _ := strconv.Atoi(r.URL.Query().Get("status"))
	switch first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); first {
	case "take":
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		if _, _, again := http.NewResponseController(w).Hijack(); again == nil {
			panic("taken twice")
		}
		all, _ := io.ReadAll(rw)
		fmt.Fprintf(conn, "HTTP/1.1 101 Taken\r\n\r\n%s", all)
		conn.Close()
	case "panic":
		panic("as asked")
	case "abort":
		panic(http.ErrAbortHandler)
	case "nothing":
	case "empty":
		w.WriteHeader(max(status, 200))
	case "header":
		w.Header()["X-Many"] = []string{"a", "b\r\nX-Injected: 1"}
		w.Header()["Bad name"] = []string{"x"}
		w.Header()["Date"] = nil
		w.Header().Set("Content-Type", "x/y")
		io.WriteString(w, "{}")
		w.Header().Set("X-Late", "1")
	case "long":
		for range 10 {
			w.Write(bytes.Repeat([]byte("long "), 100))
		}
	case "flush":
		io.WriteString(w, "a")
		w.(http.Flusher).Flush()
		io.WriteString(w, "b")
	case "short":
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "short")
	case "over":
		w.Header().Set("Content-Length", "2")
		if _, err := io.WriteString(w, "much more"); !errors.Is(err, http.ErrContentLength) {
			panic(err)
		}
		io.WriteString(w, "ok")
	case "refuse":
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		w.WriteHeader(http.StatusUpgradeRequired)
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, "refused")
	case "early":
		w.Header().Set("Link", "x")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "<html>")
	case "wait":
		<-r.Context().Done()
		s.mu.Lock()
		s.ended++
		s.mu.Unlock()
	default:
		w.WriteHeader(max(status, 200))
		fmt.Fprintf(w, "hello")
	}
}

// answer is what came back.
type answer struct {
	Status int
	Proto  string
	Header http.Header
	Body   string
	Close  bool
	Err    string
}

// talk sends raw in pieces, and reads until the end.
func (s *stage) talk(t *testing.T, pieces ...[]byte) []byte {
	conn, err := s.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	all := make(chan []byte)
	go func() {
		got, _ := io.ReadAll(conn)
		all <- got
	}()
	for _, p := range pieces {
		conn.Write(p) // the server may have had enough
		synctest.Wait()
	}
	conn.(*memnet.Conn).CloseWrite()
	return <-all
}

// first reads the final answer that raw begins with; zero where there is none.
func first(raw []byte) (a answer) {
	in := bufio.NewReader(bytes.NewReader(raw))
	for {
		r, err := http.ReadResponse(in, nil)
		if err != nil {
			a.Err = err.Error()
			return a
		}
		if r.StatusCode < 200 && r.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		body, err := io.ReadAll(r.Body)
		if r.StatusCode == http.StatusSwitchingProtocols {
			body, err = io.ReadAll(in)
		}
		if err != nil {
			a.Err = err.Error()
		}
		a.Status, a.Proto, a.Header, a.Body, a.Close = r.StatusCode, r.Proto, r.Header, string(body), r.Close
		return a
	}
}

// common leaves out of an answer what differs where its connection ends with it.
func (a answer) common() answer {
	if date := a.Header["Date"]; len(date) > 0 {
		a.Header["Date"] = []string{"…"}
	}
	a.Header.Del("Connection")
	a.Close = false
	return a
}

// withoutDates makes raw answers comparable.
func withoutDates(raw []byte) string {
	lines := strings.SplitAfter(string(raw), "\r\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "Date: ") {
			lines[i] = "Date: …\r\n"
		}
	}
	return strings.Join(lines, "")
}

// compare sends the same bytes to an http.Server with and without a front, and
// reports whether the front answered the first request.
func compare(t *testing.T, pieces ...[]byte) (own bool) {
	t.Helper()
	alone, fronted := newStage(false), newStage(true)
	defer alone.close()
	defer fronted.close()
	want, got := alone.talk(t, pieces...), fronted.talk(t, pieces...)
	time.Sleep(time.Second) // until a server has ceased to wait for the end of what it refused
	own = len(fronted.own) > 0 && fronted.own[0]
	for i, later := range fronted.own {
		if later && i > 0 {
			t.Errorf("the front answered request %d of the connection", i)
		}
	}
	wantSeen, gotSeen := alone.seen, fronted.seen
	if own && len(wantSeen) > 1 {
		wantSeen = wantSeen[:1] // the connection ends with the front's answer
	}
	if diff := cmp.Diff(wantSeen, gotSeen); diff != "" {
		t.Errorf("the handler saw something else behind the front (-net/http +front):\n%s", diff)
	}
	if own {
		if diff := cmp.Diff(first(want).common(), first(got).common()); diff != "" {
			t.Errorf("another answer from the front (-net/http +front):\n%s", diff)
		}
		if a := first(got); a.Status != 0 && a.Status != http.StatusSwitchingProtocols && !a.Close {
			t.Errorf("the connection ends, and the answer does not say so: %v", a.Header)
		}
	} else if diff := cmp.Diff(withoutDates(want), withoutDates(got)); diff != "" {
		t.Errorf("another answer behind the front (-net/http +front):\n%s", diff)
	}
	return own
}
