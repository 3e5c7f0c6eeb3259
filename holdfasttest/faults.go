package holdfasttest

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
)

// maxLog bounds Server.Log; beyond it the oldest requests are forgotten.
const maxLog = 1 << 17

// Failure is an answer that is given in place of the server's own.
type Failure struct {
	// Status is the answer's: 503, or the one of Code.
	Status int
	// Code is named in a body as Holdfast's errors have. Empty: a page without
	// one, as of a proxy.
	Code holdfast.Code
	// RetryAfter goes into the header, in whole seconds, unless it is 0.
	RetryAfter time.Duration
	// Times is how many requests are answered so; 0: any number.
	Times int
	// For is how long that goes on; 0: until Heal.
	For time.Duration
}

// Request is one request that came in. It holds no secrets.
type Request struct {
	At           time.Time
	Method, Path string
	// Status is the answer's; 101 for a WebSocket, 0 for none yet, or a cut one.
	Status int
	// Handshake: it asked for a new connection.
	Handshake bool
}

// faults is what goes wrong with requests.
type faults struct {
	mu      sync.Mutex // guards what follows
	rules   []*rule
	log     []*Request
	active  int
	stopped bool
	halt    chan struct{} // closed when the server stops
	quiet   chan struct{} // closed when nothing is active; nil if nobody waits
}

type ruleKind uint8

const (
	ruleSlow ruleKind = iota
	ruleFail
	ruleDropBefore
	ruleDropAfter
	ruleSlowAfter
)

// rule is done to requests of one path.
type rule struct {
	kind    ruleKind
	path    string
	left    int       // requests; negative: any number
	until   time.Time // zero: no end
	delay   time.Duration
	failure Failure
}

func newFaults() *faults { return &faults{stopped: true, halt: make(chan struct{})} }

// Fail answers requests for a path with a failure, without the server's having
// seen them. A path that ends in a slash stands for all below it, and Any for
// all. Of several failures of a path the first that is not used up counts.
func (s *Server) Fail(path string, f Failure) {
	if f.Status == 0 {
		f.Status = cmp.Or(f.Code.Info().HTTP, http.StatusServiceUnavailable)
		if f.Code == "" {
			f.Status = http.StatusServiceUnavailable
		}
	}
	r := &rule{kind: ruleFail, path: path, left: cmp.Or(max(f.Times, 0), -1), failure: f}
	if f.For > 0 {
		r.until = time.Now().Add(f.For)
	}
	s.faults.add(r)
}

// Slow lets requests for a path wait before anything is done about them, until
// Heal.
func (s *Server) Slow(path string, d time.Duration) {
	s.faults.add(&rule{kind: ruleSlow, path: path, left: -1, delay: d})
}

// SlowReplies does what requests for a path ask for, and waits before it answers,
// until Heal. It is for calls that are answered, not for connections.
func (s *Server) SlowReplies(path string, d time.Duration) {
	s.faults.add(&rule{kind: ruleSlowAfter, path: path, left: -1, delay: d})
}

// DropRequests cuts the connections of the next n requests for a path before
// anything is done about them.
func (s *Server) DropRequests(path string, n int) {
	s.faults.add(&rule{kind: ruleDropBefore, path: path, left: n})
}

// DropReplies does what the next n requests for a path ask for, and cuts their
// connections instead of answering. See DropAcks for connections that last.
func (s *Server) DropReplies(path string, n int) {
	s.faults.add(&rule{kind: ruleDropAfter, path: path, left: n})
}

// Heal ends what Fail, Slow, SlowReplies, DropRequests, DropReplies, DropAcks, RefuseFresh
// and Refuse began. What is slow already goes on being so.
func (s *Server) Heal() {
	s.faults.mu.Lock()
	s.faults.rules = nil
	s.faults.mu.Unlock()
	s.sockets.dropAcks(0)
	s.RefuseFresh(0)
	s.Refuse("", 0)
}

// RefuseFresh refuses the tokens of the next n refreshes, wherever they are
// used, with UNAUTHENTICATED; a negative n those of all to come.
func (s *Server) RefuseFresh(n int) {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	s.issuer.fresh = n
}

// Refuse refuses the next n credentials, of requests and connections, with a
// code, however good they are; a negative n all to come.
func (s *Server) Refuse(code holdfast.Code, n int) {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	s.issuer.refusal, s.issuer.refusals = code, n
}

// Expire makes every token that was issued so far count as expired, at its next
// use: open connections stay.
func (s *Server) Expire() {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	for _, t := range s.issuer.access {
		t.refused = cmp.Or(t.refused, holdfast.TokenExpired)
	}
}

// Skew sets the server's clock wrong by d, as far as others see it: in the
// claims of the tokens it makes, in expiresAt of its answers, and in their Date
// header. (expiresAt of auth:session stays right.)
func (s *Server) Skew(d time.Duration) {
	s.issuer.mu.Lock()
	defer s.issuer.mu.Unlock()
	s.issuer.skew = d
}

// Log returns the requests so far, the oldest first; at most the last 131,072.
func (s *Server) Log() []Request {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	all := make([]Request, 0, len(s.faults.log))
	for _, r := range s.faults.log {
		all = append(all, *r)
	}
	return all
}

// Requests returns how many requests for a path came in, answered or not.
func (s *Server) Requests(path string) int {
	return s.count(func(r *Request) bool { return covers(path, r.Path) })
}

// Refreshes returns how many refreshes were asked for.
func (s *Server) Refreshes() int { return s.Requests(Refresh) }

// SignOuts returns how many sign-outs were asked for.
func (s *Server) SignOuts() int { return s.Requests(SignOut) }

// Connections returns how many connections were asked for: Socket.IO's and
// plain WebSockets, admitted or not. Server().Connections() is how many are open.
func (s *Server) Connections() int { return s.count(func(r *Request) bool { return r.Handshake }) }

func (s *Server) count(match func(*Request) bool) (n int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	for _, r := range s.faults.log {
		if match(r) {
			n++
		}
	}
	return n
}

func covers(path, requested string) bool {
	return path == Any || path == requested || strings.HasSuffix(path, "/") && strings.HasPrefix(requested, path)
}

func (f *faults) add(r *rule) {
	if r.left == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, r)
}

// take returns the first rule of a kind for a path, and uses it once.
func (f *faults) take(kind ruleKind, path string) *rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		switch {
		case r.kind != kind, r.left == 0, !covers(r.path, path), !r.until.IsZero() && !time.Now().Before(r.until):
			continue
		case r.left > 0:
			r.left--
		}
		return r
	}
	return nil
}

// arrive notes a request; ok is false if the server is stopping.
func (f *faults) arrive(r *http.Request, handshake bool) (entry *Request, halt <-chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return nil, nil, false
	}
	entry = &Request{At: time.Now(), Method: r.Method, Path: r.URL.Path, Handshake: handshake}
	if len(f.log) >= maxLog {
		f.log = append(f.log[:0], f.log[maxLog/2:]...)
	}
	f.log = append(f.log, entry)
	f.active++
	return entry, f.halt, true
}

func (f *faults) depart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.active--
	if f.active == 0 && f.quiet != nil {
		close(f.quiet)
		f.quiet = nil
	}
}

func (f *faults) answered(entry *Request, status int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	entry.Status = status
}

// interrupt ends what is slow, and lets nothing more in.
func (f *faults) interrupt() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped = true
	close(f.halt)
}

func (f *faults) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopped, f.halt = false, make(chan struct{})
}

// idle waits until no request is being served.
func (f *faults) idle() {
	f.mu.Lock()
	if f.active == 0 {
		f.mu.Unlock()
		return
	}
	f.quiet = make(chan struct{})
	quiet := f.quiet
	f.mu.Unlock()
	<-quiet
}

// serve does to a request what has to be done to it.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	entry, halt, ok := s.faults.arrive(r, s.handshake(r))
	if !ok {
		panic(http.ErrAbortHandler) // which cuts the connection
	}
	defer s.faults.depart()
	s.issuer.mu.Lock()
	skew := s.issuer.skew
	s.issuer.mu.Unlock()
	if skew != 0 {
		w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
	}
	path := r.URL.Path
	if slow := s.faults.take(ruleSlow, path); slow != nil && !wait(r, slow.delay, halt) {
		panic(http.ErrAbortHandler)
	}
	if s.faults.take(ruleDropBefore, path) != nil {
		panic(http.ErrAbortHandler)
	}
	if f := s.faults.take(ruleFail, path); f != nil {
		s.faults.answered(entry, f.failure.Status)
		f.failure.write(w, r)
		return
	}
	if s.guarded(r) {
		s.faults.answered(entry, http.StatusForbidden)
		httpjson.WriteError(w, r, holdfast.CSRFMismatch.New())
		return
	}
	if s.faults.take(ruleDropAfter, path) != nil {
		s.mux.ServeHTTP(nowhere{http.Header{}}, r)
		panic(http.ErrAbortHandler)
	}
	r.Header.Del("Sec-Websocket-Extensions") // frames are looked into: see sockets
	to := &responseWriter{ResponseWriter: w, srv: s, entry: entry}
	if slow := s.faults.take(ruleSlowAfter, path); slow != nil {
		kept := &keptReply{header: w.Header()}
		s.mux.ServeHTTP(kept, r)
		if !wait(r, slow.delay, halt) {
			panic(http.ErrAbortHandler)
		}
		kept.give(to)
		return
	}
	s.mux.ServeHTTP(to, r)
}

// handshake reports whether a request is for a new connection.
func (s *Server) handshake(r *http.Request) bool {
	path := cmp.Or(s.cfg.Server.Path, Sockets)
	if r.URL.Path == cmp.Or(s.cfg.Server.PlainPath, "/ws") {
		return true
	}
	return strings.TrimSuffix(r.URL.Path, "/") == strings.TrimSuffix(path, "/") && !r.URL.Query().Has("sid")
}

func wait(r *http.Request, d time.Duration, halt <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
	case <-halt:
	}
	return false
}

func (f Failure) write(w http.ResponseWriter, r *http.Request) {
	seconds := int64((f.RetryAfter + time.Second - 1) / time.Second)
	if seconds > 0 {
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
	}
	if f.Code == "" {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(f.Status)
		_, _ = io.WriteString(w, "<h1>"+http.StatusText(f.Status)+"</h1>\n")
		return
	}
	_ = httpjson.Write(w, f.Status, struct {
		Error      string        `json:"error"`
		Code       holdfast.Code `json:"code"`
		RequestID  string        `json:"requestId"`
		RetryAfter int64         `json:"retryAfter,omitempty"`
	}{f.Code.New().Message, f.Code, httpjson.RequestID(r), seconds})
}

// nowhere is where a dropped reply goes.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

// keptReply is an answer that is given later.
type keptReply struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *keptReply) Header() http.Header         { return k.header }
func (k *keptReply) Write(p []byte) (int, error) { return k.body.Write(p) }
func (k *keptReply) WriteHeader(status int)      { k.status = cmp.Or(k.status, status) }

func (k *keptReply) give(w http.ResponseWriter) {
	w.WriteHeader(cmp.Or(k.status, http.StatusOK))
	_, _ = w.Write(k.body.Bytes()) // a client that is gone needs no answer
}
