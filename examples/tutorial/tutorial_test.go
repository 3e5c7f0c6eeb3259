// Package tutorial_test does what docs/tutorial.md says, in its order: it writes
// the code that is shown into an empty module, runs the commands, compares what
// they print, and looks at the page in Chromium.
package tutorial_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// board is the reader's folder, and what runs in it.
type board struct {
	t         *testing.T
	home      string // where the reader begins
	dir       string // the module
	port      string // in place of 8080
	env       []string
	shell     *shell
	terminals map[string]*program
	browser   *browser
	types     chan error // gets what tsc says of the page; nil before its last change
}

// here is text with the port of this run, there with that of the tutorial.
func (b *board) here(text string) string {
	return strings.ReplaceAll(text, "localhost:8080", "localhost:"+b.port)
}

func (b *board) there(text string) string {
	return strings.ReplaceAll(text, "localhost:"+b.port, "localhost:8080")
}

func TestTutorial(t *testing.T) {
	parts := read(t)
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "web/node_modules")); err != nil {
		t.Fatal("web/node_modules is missing: run scripts/setup.sh")
	}
	b := &board{t: t, home: t.TempDir(), port: freePort(t), terminals: map[string]*program{}}
	b.dir = filepath.Join(b.home, "board")
	bin := filepath.Join(b.home, "bin")
	b.env = append(os.Environ(),
		"HOLDFAST="+root, "GOBIN="+bin, "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"),
		"XDG_CONFIG_HOME="+filepath.Join(b.home, "config"),
		// Everything is in the module cache already, in the versions of go.mod. Nobody debugs. What make test
		// compiles with the race detector is not compiled again without.
		"GOPROXY=off", "GOSUMDB=off", "GOFLAGS=-ldflags=-s "+os.Getenv("GOFLAGS"), "GOWORK=", "npm_config_update_notifier=false", "npm_config_offline=true", "CI=1", "NO_COLOR=1")
	b.shell = openShell(t, b.home, b.env)
	t.Cleanup(func() {
		for name, p := range b.terminals {
			if err := p.interrupt(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
	t.Cleanup(func() {
		if b.types == nil {
			t.Error("the page's types were not looked at")
		} else if err := <-b.types; err != nil {
			t.Error(err)
		}
	})
	before, began := part{}, time.Now()
	output := ""
	for _, p := range parts {
		if time.Since(began) > time.Second {
			t.Logf("docs/tutorial.md:%d: %s %s: %.1f s", before.line, before.kind, before.name, time.Since(began).Seconds())
		}
		began = time.Now()
		switch {
		case p.kind == "sh" && (p.name == "" || p.name == "checkout"):
			output = b.run(p)
		case p.kind == "sh":
			b.stayUp(p)
		case p.kind == "stop":
			b.stop(p.name)
		case p.kind == "see":
			b.see(p)
		case p.name != "":
			b.appears(p)
		case p.kind == "text" || p.kind == "json" && !p.isFile():
			if m := regexp.MustCompile("^" + pattern(b.here(p.text)) + "$"); !m.MatchString(strings.TrimSpace(output)) {
				t.Fatalf("docs/tutorial.md:%d: the commands print\n%s\nand not\n%s", p.line, output, p.text)
			}
		default:
			b.write(p)
		}
		before = p
		if t.Failed() {
			return
		}
	}
	b.forget()
}

// forget does what the last step says to see its test fail.
func (b *board) forget() {
	b.t.Helper()
	path := filepath.Join(b.dir, "write.go")
	text, err := os.ReadFile(path)
	if err != nil {
		b.t.Fatal(err)
	}
	broken := strings.Replace(string(text), "(change Change, err error) {\n", "(change Change, err error) {\n\tid = \"\"\n", 1)
	if err := os.WriteFile(path, []byte(broken), 0o644); err != nil {
		b.t.Fatal(err)
	}
	output, err := b.shell.run("go test .\n")
	if err != nil || broken == string(text) || !strings.Contains(output, "FAIL: TestOnce") {
		b.t.Fatalf("without ids the test does not fail: %v\n%s", err, output)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// What comes from the network is taken from the checkout instead.
var local = strings.NewReplacer(
	`npm ci && npm run build && npm pack --workspace @holdfast/client --pack-destination "$OLDPWD"`,
	`test -e packages/client/dist/index.js && test -z "$(find packages/client/src -newer packages/client/dist/index.js)" ||
		npm run build --silent --workspace @holdfast/client`,
	"go mod tidy", "true", // as is said there
	"npm install @holdfast/client react react-dom", "ln -s $HOLDFAST/web/node_modules node_modules",
	"npm install --save-dev vite typescript @types/react @types/react-dom", "test -x node_modules/.bin/vite",
	"go install github.com/holdfast-dev/holdfast/cmd/holdfast@latest", "go -C $HOLDFAST install ./cmd/holdfast",
	// It asks at a terminal, which there is none of.
	"holdfast login", "echo 'correct horse battery' | holdfast login",
)

// run runs the commands of a block, and returns what they print.
func (b *board) run(p part) string {
	b.t.Helper()
	output, err := b.shell.run(local.Replace(b.here(p.text)))
	if err != nil {
		b.t.Fatalf("docs/tutorial.md:%d: %v\n%s", p.line, err, output)
	}
	b.t.Logf("%s%s", p.text, output)
	return output
}

// stayUp starts what stays up in a terminal, in the place of what is there.
func (b *board) stayUp(p part) {
	b.t.Helper()
	if p.name == "vite" {
		return // built when it is looked at, once each time
	}
	b.stop(p.name)
	program, err := spawn(b.dir, b.env, "exec "+b.here(strings.TrimSpace(p.text)))
	if err != nil {
		b.t.Fatalf("docs/tutorial.md:%d: %v", p.line, err)
	}
	b.terminals[p.name] = program
	if p.name == "server" {
		b.ready(p, "The board is at")
		program.seen = 0
	}
}

func (b *board) stop(name string) {
	b.t.Helper()
	if old := b.terminals[name]; old != nil {
		delete(b.terminals, name)
		if err := old.interrupt(); err != nil {
			b.t.Fatalf("%s: %v", name, err)
		}
	}
}

// ready waits until something has appeared in a terminal.
func (b *board) ready(p part, what string) {
	b.t.Helper()
	if _, all, ok := b.terminals[p.name].await(regexp.MustCompile(what)); !ok {
		b.t.Fatalf("docs/tutorial.md:%d: the terminal %q shows\n%s\nand not\n%s", p.line, p.name, all, what)
	}
}

// appears waits until each line of a block has appeared in its terminal.
func (b *board) appears(p part) {
	b.t.Helper()
	for line := range strings.Lines(b.here(p.text)) {
		b.ready(p, "(?m)^"+pattern(line)+"$")
	}
}

// browser is web/scripts/tutorial.mjs, which looks at the page.
type browser struct {
	in  io.WriteCloser
	out *bufio.Scanner
}

func (b *board) openBrowser() *browser {
	b.t.Helper()
	cmd := exec.Command("node", "../../web/scripts/tutorial.mjs")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = in.Close() // ends it
		if err := cmd.Wait(); err != nil {
			b.t.Error(err)
		}
	})
	return &browser{in: in, out: bufio.NewScanner(out)}
}

// built are the pictures for which the page has changed.
var built = map[string]bool{"plain": true, "react": true, "queue": true, "who": true, "renewed": true}

// last is the last picture with a changed page, whose types are checked as well.
const last = "renewed"

// see builds the page and looks at it.
func (b *board) see(p part) {
	b.t.Helper()
	if built[p.name] {
		b.build(p)
	}
	if b.browser == nil {
		b.browser = b.openBrowser()
	}
	id, err := os.ReadFile(filepath.Join(b.dir, "board.id"))
	if err != nil {
		b.t.Fatal(err)
	}
	line, err := json.Marshal(map[string]string{"see": p.name, "url": b.here("http://localhost:8080"), "board": strings.TrimSpace(string(id))})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.browser.in.Write(append(line, '\n')); err != nil {
		b.t.Fatal(err)
	}
	if !b.browser.out.Scan() {
		b.t.Fatalf("docs/tutorial.md:%d: %s: the browser has ended: %v", p.line, p.name, b.browser.out.Err())
	}
	var answer struct{ Error string }
	if err := json.Unmarshal(b.browser.out.Bytes(), &answer); err != nil || answer.Error != "" {
		b.t.Fatalf("docs/tutorial.md:%d: %s: %s", p.line, p.name, answer.Error)
	}
}

func (b *board) build(p part) {
	b.t.Helper()
	if p.name == last {
		b.types = make(chan error, 1)
		go func() { b.types <- b.node("tsc", "-p", ".") }()
	}
	if err := b.node("vite", "build"); err != nil {
		b.t.Fatalf("docs/tutorial.md:%d: %v", p.line, err)
	}
}

// node runs a program of the page's packages.
func (b *board) node(name string, args ...string) error {
	cmd := exec.Command("node_modules/.bin/"+name, args...)
	cmd.Dir, cmd.Env = filepath.Join(b.dir, "web"), b.env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}
