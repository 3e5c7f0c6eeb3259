package tokens

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// childEnv holds what a process of a test is to do; see child.
const childEnv = "HOLDFAST_TOKENS_CHILD"

type childConfig struct {
	URL   string // of the issuer
	Path  string // of the file that all share
	Do    string // stay: be there; refresh: once at the start, too; full: as with a full disk
	Limit uint64 // of bytes in a file, with full
}

// rounds is how often a test of real processes does what it does.
func rounds(short, long int) int {
	if os.Getenv("HOLDFAST_LONG") != "" {
		return long
	}
	return short
}

// child is what the test binary does in a process of its own: it holds the
// session, and writes each event with the access token that it then has, until
// its input ends.
func child() int {
	var c childConfig
	err := json.Unmarshal([]byte(os.Getenv(childEnv)), &c)
	if err == nil {
		err = c.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func (c childConfig) run() error {
	if c.Do == "full" {
		signal.Ignore(syscall.SIGXFSZ)
		var before syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			return err
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: c.Limit, Max: before.Max}); err != nil {
			return err
		}
		defer syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before) // coverage is written at the end
	}
	store, err := NewFile(c.Path)
	if err != nil {
		return err
	}
	e, err := NewEndpoint(EndpointConfig{URL: c.URL, Header: http.Header{"Pid": {strconv.Itoa(os.Getpid())}}})
	if err != nil {
		return err
	}
	m, err := NewManager(Config{Store: store, Refresh: e.Refresh, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	events, stop := m.Events(1000)
	defer stop()
	s, _ := m.Session()
	fmt.Println("start", s.Access)
	if c.Do != "stay" {
		go m.Refresh(context.Background())
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = m.Close()
	}()
	for e := range events {
		fmt.Println(e.Kind, e.Session.Access)
	}
	return nil
}

// process is a child that runs.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	lines chan string // closed at its end
}

func start(t *testing.T, c childConfig) *process {
	t.Helper()
	env, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0]), lines: make(chan string, 10_000)}
	p.cmd.Env = append(os.Environ(), childEnv+"="+string(env))
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(stdout); s.Scan(); {
			p.lines <- s.Text()
		}
	}()
	return p
}

// until waits for a line that begins so; false if the process ends before.
func (p *process) until(t *testing.T, prefix string) (string, bool) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case line, ok := <-p.lines:
			if !ok || strings.HasPrefix(line, prefix) {
				return line, ok
			}
		case <-late.C:
			t.Fatalf("no %q", prefix)
		}
	}
}

// wait waits for the end of the process, which is asked to end unless it was
// killed, and reports whether it was.
func (p *process) wait() (killed bool) {
	_ = p.stdin.Close()
	for range p.lines {
	}
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode() == -1
}

// family is an issuer with one login session: rotation, 30 s of grace for the
// token before, and the end of all for any other one.
type family struct {
	*httptest.Server
	lifetime float64 // seconds
	// strike settles what becomes of the process that asks for the n-th refresh;
	// nil: nothing.
	strike func(n int) point

	mu        sync.Mutex
	n         int // of the present tokens
	rotated   time.Time
	victim    bool // who has got them, or should, was killed
	lasting   int  // the first of the tokens that last
	calls     int
	faults    []string
	refreshed chan int // the number of each refresh
}

// point is where a process is killed.
type point int

const (
	nowhere point = iota
	beforeRotation
	beforeAnswer
	afterAnswer // some time
)

func newFamily(t *testing.T, lifetime float64) *family {
	f := &family{lifetime: lifetime, refreshed: make(chan int, 10_000)}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *family) session() Session {
	return Session{
		Access: fmt.Sprint("access", f.n), Refresh: fmt.Sprint("refresh", f.n), User: holdfast.User{ID: "ann"}, SessionID: "s1",
		Lifetime: time.Duration(f.lifetime * float64(time.Second)),
	}
}

func (f *family) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct{ RefreshToken string }
	_ = json.NewDecoder(r.Body).Decode(&body)
	pid, _ := strconv.Atoi(r.Header.Get("Pid"))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	where := nowhere
	if f.strike != nil {
		where = f.strike(f.calls)
	}
	if where == beforeRotation {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		panic(http.ErrAbortHandler)
	}
	switch body.RefreshToken {
	case fmt.Sprint("refresh", f.n):
		f.n++
		f.rotated = time.Now()
	case fmt.Sprint("refresh", f.n-1):
		if !f.victim {
			f.faults = append(f.faults, "two processes have used refresh"+strconv.Itoa(f.n-1))
		}
		if time.Since(f.rotated) > 30*time.Second {
			f.faults = append(f.faults, "outside the grace: "+body.RefreshToken)
		}
	default:
		f.faults = append(f.faults, "reused: "+body.RefreshToken)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"code":"REFRESH_REUSED"}`)
		return
	}
	f.refreshed <- f.n
	f.victim = where != nowhere
	if where == beforeAnswer {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		panic(http.ErrAbortHandler)
	}
	if f.lasting == 0 && f.lifetime > 1 {
		f.lasting = f.n
	}
	s := f.session()
	_ = json.NewEncoder(w).Encode(map[string]any{"accessToken": s.Access, "refreshToken": s.Refresh, "sessionId": s.SessionID, "expiresIn": f.lifetime})
	if where == afterAnswer {
		if err := http.NewResponseController(w).Flush(); err != nil {
			f.faults = append(f.faults, err.Error())
		}
		time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	}
}

// check reports the faults.
func (f *family) check(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fault := range f.faults {
		t.Error(fault)
	}
}

// signedIn makes a file with a session of the family.
func (f *family) signedIn(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "holdfast", "session.json")
	store, err := NewFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := f.session().complete(time.Now())
	if _, err := store.Swap(t.Context(), nil, &s); err != nil {
		t.Fatal(err)
	}
	return path
}

// A process is killed while it refreshes, though its token is good for long: the
// next one does not wait until that is over, for the grace is.
func TestL16KilledBetweenRotationAndWrite(t *testing.T) {
	f := newFamily(t, 900)
	path := f.signedIn(t)
	points := []point{beforeAnswer, beforeRotation, afterAnswer}
	for round := range rounds(6, 100) {
		f.mu.Lock()
		where := points[round%len(points)]
		first := f.calls
		f.strike = func(n int) point {
			if n == first+1 {
				return where
			}
			return nowhere
		}
		f.mu.Unlock()
		p := start(t, childConfig{URL: f.URL, Path: path, Do: "refresh"})
		if _, ok := p.until(t, "start"); !ok {
			t.Fatal("it did not start")
		}
		for range p.lines {
		}
		if !p.wait() {
			t.Fatalf("round %d: not killed", round)
		}
		f.mu.Lock()
		want := f.session()
		f.mu.Unlock()
		next := start(t, childConfig{URL: f.URL, Path: path, Do: "stay"})
		line, _ := next.until(t, "start")
		if line != "start "+want.Access || where == beforeRotation {
			// What it has was used up, or may have been.
			if line, ok := next.until(t, "refresh"); !ok || strings.HasPrefix(line, "refresh-failed") {
				t.Fatalf("round %d: %q", round, line)
			}
		}
		next.wait()
		store := &File{path: path}
		f.mu.Lock()
		want = f.session()
		f.mu.Unlock()
		if kept, err := store.Load(t.Context()); err != nil || kept == nil || kept.Refresh != want.Refresh {
			t.Fatalf("round %d: %v %v is kept, want %v", round, kept, err, want)
		}
		f.check(t)
		if t.Failed() {
			return
		}
	}
}

// Processes share a file and see the token expire together: each is refreshed
// once, whoever is killed, and all have it in the end.
func TestL17ProcessesRefreshOnce(t *testing.T) {
	f := newFamily(t, 1)
	path := f.signedIn(t)
	config := childConfig{URL: f.URL, Path: path, Do: "stay"}
	f.mu.Lock()
	f.strike = func(int) point {
		if rand.IntN(2) == 0 {
			return nowhere
		}
		return point(1 + rand.IntN(3))
	}
	f.mu.Unlock()
	var all [3]*process
	for i := range all {
		all[i] = start(t, config)
	}
	wanted := rounds(6, 100)
	late := time.After(patience + time.Duration(wanted)*3*time.Second)
	for seen := 0; seen < wanted; {
		select {
		case <-f.refreshed:
			seen++
		case <-late:
			t.Fatalf("%d refreshes", seen)
		case _, ok := <-all[0].lines:
			all[0] = again(t, all[0], ok, config)
		case _, ok := <-all[1].lines:
			all[1] = again(t, all[1], ok, config)
		case _, ok := <-all[2].lines:
			all[2] = again(t, all[2], ok, config)
		}
	}
	f.mu.Lock()
	f.strike, f.lifetime = nil, 900
	f.mu.Unlock()
	// The next token is the last, and reaches them all.
	for i := range all {
		for {
			line, ok := all[i].until(t, "")
			if all[i] = again(t, all[i], ok, config); !ok {
				continue
			}
			f.mu.Lock()
			last := f.lasting
			f.mu.Unlock()
			if last > 0 && strings.HasSuffix(line, fmt.Sprint(" access", last)) {
				break
			}
		}
	}
	for _, p := range all {
		p.wait()
	}
	f.check(t)
}

// again starts a process anew that has ended.
func again(t *testing.T, p *process, runs bool, c childConfig) *process {
	t.Helper()
	if runs {
		return p
	}
	if !p.wait() {
		t.Error("a process has ended by itself")
	}
	return start(t, c)
}

// A disk that is full in the middle of a write leaves what was there, and the
// process goes on with what it has.
func TestL15DiskFullInTheMiddle(t *testing.T) {
	f := newFamily(t, 900)
	path := f.signedIn(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, childConfig{URL: f.URL, Path: path, Do: "full", Limit: 40})
	if _, ok := p.until(t, "error"); !ok {
		t.Error("no error was told of")
	}
	if line, _ := p.until(t, "refresh"); line != "refresh access1" {
		t.Errorf("memory does not go on: %q", line)
	}
	p.wait()
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(before) {
		t.Errorf("what was there is not any more: %q, %v", after, err)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half a session is left: %v", err)
	}
}
