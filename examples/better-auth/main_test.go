package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for Node.
const patience = time.Minute

const testKey = "not-a-secret-but-as-long-as-one-should-be"

// The day of a user, by either kind of token, with the real packages.
func TestClient(t *testing.T) {
	for tokens, lifetime := range map[string]string{"exchange": "15", "jwks": "15"} {
		t.Run(tokens, func(t *testing.T) {
			t.Parallel()
			app, realtime := start(t, config{tokens: tokens})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, "node", "client.mjs", tokens)
			cmd.Env = append(os.Environ(), "APP_URL="+app.url, "REALTIME_URL="+realtime)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, app.stop())
			}
			want := "signed in as Ada\n" +
				"connected as Ada, for " + lifetime + " minutes\n" +
				"own room: true; somebody else's: FORBIDDEN\n" +
				"todo 1 \"write it down\" came at offset 1 of the own room: true\n" +
				"signed out: the connection was closed with SESSION_REVOKED\n" +
				"another token: 401\n"
			if string(out) != want {
				t.Errorf("the client said\n%s\nwant\n%s", out, want)
			}
			if errs := app.stop(); strings.Contains(errs, "holdfast ") {
				t.Errorf("the app could not reach the realtime server: %s", errs)
			}
		})
	}
}

// The README shows what the client says.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"own room: true; somebody else's: FORBIDDEN", "signed out: the connection was closed with SESSION_REVOKED", "another token: 401"} {
		if !bytes.Contains(text, []byte(line)) {
			t.Errorf("the README lacks %q", line)
		}
	}
}

// The exchange follows Better Auth's word about a session; where it gives
// none, the answer is 503 and never 401.
func TestExchange(t *testing.T) {
	app, realtime := start(t, config{tokens: "exchange", timeout: patience})
	hasty := beside(t, app, config{tokens: "exchange", timeout: 100 * time.Millisecond}, listen(t))
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	user := &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	post := func(client *http.Client, url, body string, headers ...string) (status int, header http.Header, fields map[string]any) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body != "" {
			r.Header.Set("Content-Type", "application/json")
		}
		for _, line := range headers {
			name, value, _ := strings.Cut(line, ": ")
			r.Header.Set(name, value)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return 0, nil, nil
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		_ = json.Unmarshal(text, &fields) // nil where it is no object
		return resp.StatusCode, resp.Header, fields
	}
	exchangeAt := func(base string, want int, headers ...string) map[string]any {
		t.Helper()
		status, header, body := post(user, base+"/api/realtime/token", "", headers...)
		if status != want {
			t.Fatalf("%d %v, want %d", status, body, want)
		}
		if header.Get("Cache-Control") != "no-store" {
			t.Errorf("Cache-Control: %q", header.Get("Cache-Control"))
		}
		if wait, _ := strconv.Atoi(header.Get("Retry-After")); (wait > 0) != (want == http.StatusServiceUnavailable) {
			t.Errorf("Retry-After: %q with %d", header.Get("Retry-After"), status)
		}
		return body
	}
	exchange := func(want int, headers ...string) map[string]any {
		t.Helper()
		return exchangeAt(realtime, want, headers...)
	}
	ok := func(path, body string) {
		t.Helper()
		if status, _, answer := post(user, app.url+path, body, "Origin: "+app.url); status != http.StatusOK {
			t.Fatalf("%s: %d %v", path, status, answer)
		}
	}

	exchange(http.StatusUnauthorized)                                               // no cookie
	exchange(http.StatusUnauthorized, "Cookie: better-auth.session_token=abc.defg") // none of Better Auth's
	ok("/api/auth/sign-up/email", `{"email":"ada@example.org","password":"correct horse battery","name":"Ada"}`)
	body := exchange(http.StatusOK)
	token, _ := body["accessToken"].(string)
	at, _ := body["expiresAt"].(float64)
	in, _ := body["expiresIn"].(float64)
	if token == "" || in < 890 || in > 900 || at/1000-float64(time.Now().Unix()) > 901 {
		t.Errorf("%v", body)
	}
	// A bad token that comes along does not count, and a good one is not enough.
	exchange(http.StatusOK, "Authorization: Bearer expired")
	if status, _, _ := post(&http.Client{Transport: user.Transport}, realtime+"/api/realtime/token", "", "Authorization: Bearer "+token); status != http.StatusUnauthorized {
		t.Errorf("a token made the next one: %d", status)
	}
	exchange(http.StatusOK, "Origin: "+app.url)
	exchange(http.StatusForbidden, "Origin: https://evil.example")
	exchange(http.StatusForbidden, "Origin: null")

	// Silent, then back: the session is as good as before.
	app.signal(syscall.SIGSTOP)
	if body := exchangeAt(hasty, http.StatusServiceUnavailable); body["code"] != "GOING_AWAY" {
		t.Errorf("%v", body)
	}
	app.signal(syscall.SIGCONT)
	exchange(http.StatusOK)

	// Better Auth limits its rates by the address that we tell it: 429 there
	// is 503 here.
	var limited atomic.Bool
	var askers sync.WaitGroup
	for range 8 { // or a busy machine would not make 100 in 10 s
		askers.Go(func() {
			for end := time.Now().Add(patience); !limited.Load() && time.Now().Before(end); {
				status, header, body := post(user, realtime+"/api/realtime/token", "")
				switch status {
				case http.StatusOK:
				case http.StatusServiceUnavailable:
					limited.Store(true)
					if wait, err := strconv.Atoi(header.Get("Retry-After")); err != nil || wait < 1 || wait > 10 {
						t.Errorf("Retry-After: %q", header.Get("Retry-After"))
					}
				default:
					t.Errorf("%d %v", status, body)
					return
				}
			}
		})
	}
	askers.Wait()
	if !limited.Load() {
		t.Error("no rate limit was met")
	}

	app.kill()
	exchange(http.StatusServiceUnavailable)
}

// nodeApp is server.mjs as it runs.
type nodeApp struct {
	t     *testing.T
	url   string
	cmd   *exec.Cmd
	done  chan struct{} // closed when it has ended
	errs  bytes.Buffer  // to be read after done
	lines chan string   // its output; closed at the end of it
}

// start starts both servers, which know each other. They end with the test.
func start(t *testing.T, cfg config) (*nodeApp, string) {
	t.Helper()
	requirePackages(t)
	listener := listen(t)
	app := startNode(t, "http://"+listener.Addr().String())
	return app, beside(t, app, cfg, listener)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

// beside starts our server beside the other one, and returns its address.
func beside(t *testing.T, app *nodeApp, cfg config, listener net.Listener) string {
	t.Helper()
	cfg.appURL, cfg.apiKey = app.url, []byte(testKey)
	cfg.logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, cfg, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return "http://" + listener.Addr().String()
}

// requirePackages fails a test that can't run, and says what to do.
func requirePackages(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		t.Fatal("node is missing: install Node 20 or newer")
	}
	for _, name := range []string{"better-auth", "hono", "@hono/node-server", "socket.io-client"} {
		if _, err := os.Stat("node_modules/" + name + "/package.json"); err != nil {
			t.Fatalf("the npm package %s is not installed: run\n\tnpm ci --prefix examples/better-auth", name)
		}
	}
}

func startNode(t *testing.T, realtime string) *nodeApp {
	t.Helper()
	a := &nodeApp{t: t, cmd: exec.Command("node", "server.mjs"), done: make(chan struct{}), lines: make(chan string, 100)}
	a.cmd.Env = append(os.Environ(), "PORT=0", "HOLDFAST_URL="+realtime, "HOLDFAST_API_KEY="+testKey,
		"BETTER_AUTH_SECRET="+testKey, "BETTER_AUTH_TELEMETRY=0")
	a.cmd.Stderr = &a.errs
	stdout, err := a.cmd.StdoutPipe()
	if err == nil {
		err = a.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(a.done)
		for scan := bufio.NewScanner(stdout); scan.Scan(); {
			select {
			case a.lines <- scan.Text():
			default: // nobody reads so many
			}
		}
		close(a.lines)
		_ = a.cmd.Wait() // a killed process has no good status
	}()
	t.Cleanup(a.kill)
	listening := regexp.MustCompile(`^listening on (http://\S+)$`)
	deadline := time.After(patience)
	for {
		select {
		case line, ok := <-a.lines:
			if !ok {
				<-a.done
				t.Fatalf("node ended: %s", a.errs.String())
			}
			if m := listening.FindStringSubmatch(line); m != nil {
				a.url = m[1]
				return a
			}
		case <-deadline:
			t.Fatal("node does not listen")
		}
	}
}

func (a *nodeApp) signal(s os.Signal) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(s); err != nil {
		a.t.Fatal(err)
	}
}

// kill ends it as a crash would, and waits. It may be called again.
func (a *nodeApp) kill() {
	if err := a.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		a.t.Error(err)
	}
	<-a.done
}

// stop ends it and returns what it wrote to stderr.
func (a *nodeApp) stop() string {
	a.kill()
	return a.errs.String()
}
