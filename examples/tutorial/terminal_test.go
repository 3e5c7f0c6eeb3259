package tutorial_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait.
const patience = 2 * time.Minute

// screen is what a program has printed.
type screen struct {
	mu      sync.Mutex // guards what follows
	text    bytes.Buffer
	seen    int           // up to where it was looked at
	over    bool          // nothing more will come
	changed chan struct{} // closed, and made anew, at each change
}

func newScreen() *screen { return &screen{changed: make(chan struct{})} }

func (s *screen) Write(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text.Write(data)
	s.tell()
	return len(data), nil
}

func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.tell()
}

func (s *screen) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// await waits until something new matches, and marks it as seen.
func (s *screen) await(what *regexp.Regexp) (match, all string, ok bool) {
	late := time.After(patience)
	for {
		s.mu.Lock()
		text, over, changed := s.text.String(), s.over, s.changed
		found := what.FindStringIndex(text[s.seen:])
		if found != nil {
			match = text[s.seen:][found[0]:found[1]]
			s.seen += found[1]
		}
		s.mu.Unlock()
		if found != nil {
			return match, text, true
		}
		if over {
			return "", text, false
		}
		select {
		case <-changed:
		case <-late:
			return "", text, false
		}
	}
}

// program is one that stays up, in a terminal of its own.
type program struct {
	*screen
	cmd   *exec.Cmd
	ended chan error
}

// spawn starts a line of shell in a process group of its own, as terminals do.
func spawn(dir string, env []string, line string) (*program, error) {
	p := &program{screen: newScreen(), cmd: exec.Command("bash", "-c", line), ended: make(chan error, 1)}
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = p, p
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		err := p.cmd.Wait()
		p.end()
		p.ended <- err
	}()
	return p, nil
}

// interrupt is Ctrl-C. The program has ended when it returns.
func (p *program) interrupt() error {
	group := -p.cmd.Process.Pid
	if err := syscall.Kill(group, syscall.SIGINT); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
		_ = syscall.Kill(group, syscall.SIGKILL) // it is told below
		<-p.ended
		return fmt.Errorf("it goes on after Ctrl-C:\n%s", p.text.String())
	}
}

// shell is the terminal for commands: variables and the folder stay.
type shell struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

const prompt = "\x00ready\x00" // nothing else prints this

func openShell(t *testing.T, dir string, env []string) *shell {
	t.Helper()
	s := &shell{cmd: exec.Command("bash")}
	s.cmd.Dir, s.cmd.Env = dir, env
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stdout, s.cmd.Stderr, s.out = w, w, bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close() // the shell has its own
	t.Cleanup(func() {
		_ = s.in.Close() // ends it
		_ = s.cmd.Wait() // with the status of its last command
		_ = out.Close()
	})
	return s
}

// run runs commands to their end, and returns what they print.
func (s *shell) run(commands string) (string, error) {
	if _, err := io.WriteString(s.in, "{\n"+commands+"} </dev/null\nprintf '\\0ready\\0'\n"); err != nil {
		return "", err
	}
	// Only the end of what it waits for ends it.
	late := time.AfterFunc(2*patience, func() { _ = syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) })
	defer late.Stop()
	var all strings.Builder
	for !strings.HasSuffix(all.String(), prompt) {
		b, err := s.out.ReadByte()
		if err != nil {
			return all.String(), err
		}
		all.WriteByte(b)
	}
	return strings.TrimSuffix(all.String(), prompt), nil
}

// pattern is what a command prints as the tutorial shows it: "…" is anything
// within the line.
func pattern(text string) string {
	return strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(text)), "…", "[^\n]*")
}
