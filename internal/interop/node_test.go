package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait for Node.
const patience = time.Minute

// requireNode fails a test that can't run, and says what to do.
func requireNode(t *testing.T) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "node", "--version").Output()
	if err != nil {
		t.Fatalf("node can't be run (%v): install Node 20 or newer", err)
	}
	if v := strings.TrimSpace(string(out)); len(v) < 3 || v[:2] == "v1" && v[2] != '0' {
		t.Fatalf("node is %s: install Node 20 or newer", v)
	}
	for _, name := range []string{"socket.io", "socket.io-client", "realtimehttpauthclient", "@hyper-fetch/sockets", "ws", "eventsource"} {
		if _, err := os.Stat("node_modules/" + name + "/package.json"); err != nil {
			t.Fatalf("the npm package %s is not installed: run\n\tnpm ci --prefix internal/interop", name)
		}
	}
}

// script is a Node script that runs and prints JSON lines.
type script struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan json.RawMessage // closed at the end of its output
	done  chan struct{}        // closed when it has ended
	errs  bytes.Buffer         // to be read after done
}

// startNode starts a script of this folder. It is stopped with the test.
func startNode(t *testing.T, args ...string) *script {
	t.Helper()
	s := &script{t: t, cmd: exec.Command("node", args...), lines: make(chan json.RawMessage, 10_000), done: make(chan struct{})}
	s.cmd.Stderr = &s.errs
	stdout, err := s.cmd.StdoutPipe()
	if err == nil {
		s.stdin, err = s.cmd.StdinPipe()
	}
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.done)
		for scan := bufio.NewScanner(stdout); scan.Scan(); {
			s.lines <- bytes.Clone(scan.Bytes())
		}
		close(s.lines)
		_ = s.cmd.Wait() // a killed script has no good status
	}()
	t.Cleanup(s.stop)
	return s
}

// line reads the next line into v.
func (s *script) line(v any) {
	s.t.Helper()
	select {
	case line, ok := <-s.lines:
		if !ok {
			<-s.done
			s.t.Fatalf("node ended:\n%s", s.errs.String())
		}
		if err := json.Unmarshal(line, v); err != nil {
			s.t.Fatalf("%s: %v", line, err)
		}
	case <-time.After(patience):
		s.t.Fatal("node says nothing")
	}
}

// stop ends the script and waits for it. It may be called again.
func (s *script) stop() {
	_ = s.stdin.Close() // the script ends when its input does
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Error("node did not end by itself")
		s.kill()
	}
}

// kill ends the script as a crash would, and waits for it.
func (s *script) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}
