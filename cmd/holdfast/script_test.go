//go:build unix

package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "write the golden texts of the scripts anew")

// patience is how long a script waits for something that must come.
const patience = time.Minute

// scriptCommands are the commands of this package's scripts:
//
//	exits CODE PROGRAM ARG...      runs it; it must end with this code. stdout and stderr can be looked at then
//	eventually CODE PROGRAM ARG... runs it again and again until it ends with this code
//	spawn NAME PROGRAM ARG...      starts it in the background, with its output in NAME.out and NAME.err
//	await NAME out|err REGEXP [VAR] waits until its output matches; what is in parentheses becomes $VAR
//	send NAME TEXT                 writes a line to its stdin
//	signal NAME INT|TERM|KILL|STOP|CONT sends it a signal
//	finish NAME CODE               waits for its end, with this code; -1 is an end by a signal
//	edit FILE OLD NEW              replaces OLD by NEW everywhere in the file
//	packages                       gives Node the npm packages of internal/interop
//	certificate                    makes cert.pem and key.pem for 127.0.0.1
func scriptCommands() map[string]func(*testscript.TestScript, bool, []string) {
	return map[string]func(*testscript.TestScript, bool, []string){
		"exits": func(ts *testscript.TestScript, _ bool, args []string) {
			want, err := strconv.Atoi(args[0])
			ts.Check(err)
			if got := codeOf(ts.Exec(args[1], args[2:]...)); got != want {
				ts.Fatalf("%q ended with %d, want %d", args[1:], got, want)
			}
		},
		"eventually": func(ts *testscript.TestScript, _ bool, args []string) {
			want, err := strconv.Atoi(args[0])
			ts.Check(err)
			for late := time.After(patience); ; {
				got := codeOf(ts.Exec(args[1], args[2:]...))
				if got == want {
					return
				}
				select {
				case <-late:
					ts.Fatalf("%q ended with %d to the last, want %d", args[1:], got, want)
				default:
				}
			}
		},
		"spawn": func(ts *testscript.TestScript, _ bool, args []string) {
			program, err := startProgram(ts, args[0], args[1], args[2:]...)
			ts.Check(err)
			programsOf(ts)[args[0]] = program
		},
		"await": func(ts *testscript.TestScript, _ bool, args []string) {
			out := programOf(ts, args[0]).stdout
			if args[1] == "err" {
				out = programOf(ts, args[0]).stderr
			}
			match := out.await(regexp.MustCompile("(?m)" + args[2]))
			if match == nil {
				ts.Fatalf("%s: std%s does not match %q within %v:\n%s", args[0], args[1], args[2], patience, out.String())
			}
			if len(args) > 3 {
				ts.Setenv(args[3], match[1])
			}
		},
		"send": func(ts *testscript.TestScript, _ bool, args []string) {
			_, err := io.WriteString(programOf(ts, args[0]).stdin, args[1]+"\n")
			ts.Check(err)
		},
		"signal": func(ts *testscript.TestScript, _ bool, args []string) {
			signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL, "STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT}
			ts.Check(programOf(ts, args[0]).signal(signals[args[1]]))
		},
		"finish": func(ts *testscript.TestScript, _ bool, args []string) {
			p := programOf(ts, args[0])
			select {
			case <-p.ended:
			case <-time.After(patience):
				ts.Fatalf("%s has not ended within %v; stderr:\n%s", args[0], patience, p.stderr.String())
			}
			if got := strconv.Itoa(codeOf(p.err)); got != args[1] {
				ts.Fatalf("%s ended with %s, want %s; stderr:\n%s", args[0], got, args[1], p.stderr.String())
			}
		},
		"edit": func(ts *testscript.TestScript, _ bool, args []string) {
			path := ts.MkAbs(args[0])
			text := ts.ReadFile(args[0])
			if !strings.Contains(text, args[1]) {
				ts.Fatalf("%s does not contain %q", args[0], args[1])
			}
			ts.Check(os.WriteFile(path, []byte(strings.ReplaceAll(text, args[1], args[2])), 0o600))
		},
		"packages": func(ts *testscript.TestScript, _ bool, _ []string) {
			modules := filepath.Join(ts.Getenv("INTEROP"), "node_modules")
			if _, err := os.Stat(filepath.Join(modules, "socket.io-client")); err != nil {
				ts.Fatalf("socket.io-client is not installed; in the root of the module run: npm ci --prefix internal/interop")
			}
			ts.Check(os.Symlink(modules, ts.MkAbs("node_modules")))
		},
		"certificate": func(ts *testscript.TestScript, _ bool, _ []string) {
			ts.Check(writeCertificate(ts.MkAbs("cert.pem"), ts.MkAbs("key.pem")))
		},
	}
}

// writeCertificate makes a certificate for 127.0.0.1 that vouches for itself.
func writeCertificate(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "holdfast test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyBytes}), 0o600)
}

// codeOf is the exit code in the error of a command, -1 for an end by signal.
func codeOf(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -2
}

type programsKey struct{}

// setupScript gives a script a list of programs, and Node its packages.
func setupScript(env *testscript.Env) error {
	programs := make(map[string]*program)
	env.Values[programsKey{}] = programs
	env.Defer(func() {
		for _, p := range programs {
			_ = p.signal(syscall.SIGKILL) // fails if it has ended
			<-p.ended
		}
	})
	interop, err := filepath.Abs("../../internal/interop")
	if err != nil {
		return err
	}
	env.Setenv("INTEROP", interop)
	env.Setenv("GORACE", "atexit_sleep_ms=0") // the race detector waits a second at each exit
	return nil
}

func programsOf(ts *testscript.TestScript) map[string]*program {
	return ts.Value(programsKey{}).(map[string]*program)
}

func programOf(ts *testscript.TestScript, name string) *program {
	p := programsOf(ts)[name]
	if p == nil {
		ts.Fatalf("nothing was started as %q", name)
	}
	return p
}

// program is one that runs in the background.
type program struct {
	cmd            *exec.Cmd
	stdin          io.WriteCloser
	stdout, stderr *watched
	ended          chan struct{} // closed at its end
	err            error         // set before ended is closed
}

func startProgram(ts *testscript.TestScript, name, path string, args ...string) (*program, error) {
	ts.Check(ts.Exec("env", "-0")) // the only way to the script's variables
	environ := strings.Split(strings.TrimSuffix(ts.ReadFile("stdout"), "\x00"), "\x00")
	p := &program{cmd: exec.Command(path, args...), ended: make(chan struct{})}
	p.cmd.Env = environ
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a shell's children are signalled with it
	for _, out := range []struct {
		to   *io.Writer
		save **watched
		name string
	}{{&p.cmd.Stdout, &p.stdout, ".out"}, {&p.cmd.Stderr, &p.stderr, ".err"}} {
		w, err := newWatched(ts.MkAbs(name + out.name))
		if err != nil {
			return nil, err
		}
		*out.save, *out.to = w, w
	}
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		p.stdout.close()
		p.stderr.close()
		close(p.ended)
	}()
	return p, nil
}

// signal sends a signal to the program and to what it has started.
func (p *program) signal(s syscall.Signal) error { return syscall.Kill(-p.cmd.Process.Pid, s) }

// watched is a file that can be waited on to have something in it.
type watched struct {
	file *os.File

	mu      sync.Mutex // guards what follows
	text    bytes.Buffer
	changed chan struct{} // closed at the next change
	closed  bool
}

func newWatched(path string) (*watched, error) {
	f, err := os.Create(path)
	return &watched{file: f, changed: make(chan struct{})}, err
}

func (w *watched) Write(data []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(data)
	close(w.changed)
	w.changed = make(chan struct{})
	return w.file.Write(data)
}

func (w *watched) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	close(w.changed)
	w.file.Close()
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// await waits for a match; nil if none comes.
func (w *watched) await(want *regexp.Regexp) []string {
	deadline := time.After(patience)
	for {
		w.mu.Lock()
		match := want.FindStringSubmatch(w.text.String())
		changed, closed := w.changed, w.closed
		w.mu.Unlock()
		if match != nil || closed {
			return match
		}
		select {
		case <-changed:
		case <-deadline:
			return nil
		}
	}
}
