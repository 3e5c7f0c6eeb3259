package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
)

// TestRun drives the program inside this process: no goroutine outlives it.
func TestRun(t *testing.T) {
	defer goleak.VerifyNone(t)
	variables := map[string]string{
		"HOLDFAST_DATA": filepath.Join(t.TempDir(), "data"), "HOLDFAST_ADDR": "127.0.0.1:0", "HOLDFAST_ADMIN_ADDR": "127.0.0.1:0",
	}
	getenv := func(name string) string { return variables[name] }

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, stdout := io.Pipe()
	var log bytes.Buffer
	served := make(chan int, 1)
	go func() {
		code := run(ctx, []string{"serve", "--dev"}, strings.NewReader(""), stdout, &log, getenv)
		stdout.Close()
		served <- code
	}()
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	var url string
	if _, err := fmt.Sscanf(first, "listening on %s\n", &url); err != nil {
		t.Fatalf("%q: %v", first, err)
	}
	rest := make(chan struct{})
	go func() { defer close(rest); _, _ = io.Copy(io.Discard, lines) }()

	call := func(stdin string, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), args, strings.NewReader(stdin), &stdout, &stderr, getenv); code != exitOK {
			t.Fatalf("%q: exit code %d: %s", args, code, &stderr)
		}
		return stdout.String()
	}
	token := call("", "token", "mint", "--sub", "alice")
	if got := call(token, "emit", "--token", "-", url, "lobby", "greeting", `{"n":1}`); !strings.HasSuffix(got, `,"offset":1}`+"\n") {
		t.Errorf("emit printed %q", got)
	}
	epoch := strings.Split(call(token, "emit", "--token", "-", url, "lobby", "greeting", `{"n":2}`), `"`)[3]
	if got := call(token, "listen", "--token-file", "-", "--count", "2", "--since="+epoch+":0", url, "lobby"); strings.Count(got, "\n") != 2 || !strings.Contains(got, `"data":{"n":2}`) {
		t.Errorf("listen printed %q", got)
	}
	stop()
	if code := <-served; code != exitOK {
		t.Errorf("serve ended with %d:\n%s", code, &log)
	}
	<-rest
}

// TestInterrupted ends commands that wait.
func TestInterrupted(t *testing.T) {
	defer goleak.VerifyNone(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	nothing := func(string) string { return "" }
	for _, args := range [][]string{
		{"emit", "--token", "x", "http://127.0.0.1:1", "lobby", "greeting"},
		{"listen", "--token", "x", "http://127.0.0.1:1", "lobby"},
	} {
		if code := run(ctx, args, strings.NewReader(""), io.Discard, io.Discard, nothing); code != exitInterrupted {
			t.Errorf("%q: exit code %d", args, code)
		}
	}
}

// TestDevSecret has several programs start at once: they agree on one secret.
func TestDevSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "data", "jwt-secret")
	var wg sync.WaitGroup
	secrets := make([]string, 16)
	for i := range secrets {
		wg.Go(func() {
			secret, err := devSecret(path)
			if err != nil {
				t.Error(err)
			}
			secrets[i] = string(secret)
		})
	}
	wg.Wait()
	for _, secret := range secrets {
		if len(secret) != 64 || secret != secrets[0] {
			t.Fatalf("secrets differ, or are too short: %d and %d bytes", len(secret), len(secrets[0]))
		}
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 2 {
		t.Errorf("%v has %d entries, want .gitignore and the secret: %v", filepath.Dir(path), len(entries), err)
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{errors.New("x"), exitFailed},
		{usagef("x"), exitUsage},
		{problems{errors.New("x"), usagef("y")}, exitUsage},
		{fmt.Errorf("x: %w", holdfast.TokenExpired.New()), exitUnauthenticated},
		{holdfast.SessionRevoked, exitUnauthenticated},
		{holdfast.InvalidCredentials.New(), exitUnauthenticated},
		{holdfast.Forbidden.New(), exitForbidden},
		{holdfast.OriginNotAllowed.New(), exitForbidden},
		{holdfast.InvalidArgument.New(), exitUsage},
		{holdfast.GoingAway.New(), exitUnreachable},
		{holdfast.Internal.New(), exitFailed},
		{&unreachableError{"x", holdfast.Internal.New()}, exitUnreachable},
		{client.ErrConnectionLost, exitUnreachable},
		{context.DeadlineExceeded, exitUnreachable},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, exitUnreachable},
		{&url.Error{Op: "Get", URL: "http://x", Err: io.EOF}, exitUnreachable},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.ENOENT}, exitFailed}, // of this machine, not of the way to another
		{fmt.Errorf("can't write x: %w", syscall.ENOSPC), exitFailed},
		{errInterrupted, exitInterrupted},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestQuote(t *testing.T) {
	for text, want := range map[string]string{
		"./bin/holdfast": "./bin/holdfast", "a b": "'a b'", "": "''", "it's": `'it'\''s'`, "$HOME": "'$HOME'",
	} {
		if got := quote(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"addr", "admin_addr", "api_key", "jwks_url", "jwt_secret", "jwt_secret_file"}
	for name, want := range map[string]string{
		"adr": "addr", "jwt_secrt": "jwt_secret", "secret_file": "jwt_secret_file", "admin": "addr", "apikey": "api_key",
	} {
		if got := nearest(name, names); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}
