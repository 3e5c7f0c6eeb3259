package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// peer is a server that is measured.
type peer struct {
	name, title string
	pkg         string // the folder of its Go program; "" for Node
	module      string // the module whose version is of interest
}

// ours, node and limit are the servers that others are set beside.
const ours, node, limit = "holdfast", "socketio", "limit"

// peers are all servers, ours first.
func peers() []peer {
	return []peer{
		{name: ours, title: "Holdfast", pkg: "./cmd/holdfast"},
		{name: node, title: "Socket.IO (Node)"},
		{name: "gobwas", title: "bare gobwas", pkg: "./bench/gobwas", module: "github.com/gobwas/ws"},
		{name: limit, title: "limit", pkg: "./bench/limit"},
	}
}

// stage is where servers are built and started.
type stage struct {
	root     string // of the module
	dir      string // temporary: programs, the secret, logs
	progress io.Writer
	built    map[string]string // what was built: its version
}

// newStage makes the folder, the secret and the program that loads servers.
func newStage(ctx context.Context, progress io.Writer) (s *stage, err error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "holdfast-bench-")
	if err != nil {
		return nil, err
	}
	s = &stage{root: root, dir: dir, progress: progress, built: make(map[string]string)}
	err = os.WriteFile(s.secret(), []byte(rand.Text()+rand.Text()), 0o600)
	if err == nil {
		err = s.build(ctx, peers()[0]) // it is the load generator, too
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close removes what was built.
func (s *stage) close() { os.RemoveAll(s.dir) }

func (s *stage) secret() string             { return filepath.Join(s.dir, "secret") }
func (s *stage) program(name string) string { return filepath.Join(s.dir, name) }

// moduleRoot is the folder of go.mod.
func moduleRoot() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	file := strings.TrimSpace(string(out))
	if file == "" || file == os.DevNull {
		return "", errors.New("this is not the repository: run it where go.mod is")
	}
	return filepath.Dir(file), nil
}

// command runs a program in a folder of the module and returns what it prints.
func (s *stage) command(ctx context.Context, folder, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = filepath.Join(s.root, folder)
	cmd.Env = append(os.Environ(), "npm_config_update_notifier=false")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(string(out)), nil
}

// build makes a server ready to be started and notes its version.
func (s *stage) build(ctx context.Context, p peer) (err error) {
	if s.built[p.name] != "" {
		return nil
	}
	if p.name == node {
		s.built[p.name], err = s.install(ctx)
		return err
	}
	fmt.Fprintf(s.progress, "building %s\n", p.pkg)
	if _, err := s.command(ctx, ".", "go", "build", "-o", s.program(p.name), p.pkg); err != nil {
		return err
	}
	version := runtime.Version()
	switch {
	case p.module != "":
		listed, err := s.command(ctx, ".", "go", "list", "-m", "-f", "{{.Version}}", p.module)
		if err != nil {
			return err
		}
		version = listed + ", " + version
	case p.name == ours:
		version = s.commit(ctx) + ", " + version
	}
	s.built[p.name] = version
	return nil
}

// commit names the state of the tree; it is no error if git can't.
func (s *stage) commit(ctx context.Context) string {
	hash, err := s.command(ctx, ".", "git", "rev-parse", "--short", "HEAD")
	if err != nil {
		return "no commit"
	}
	if changes, err := s.command(ctx, ".", "git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!bench/RESULTS.md"); err != nil || changes != "" {
		return hash + " with changes"
	}
	return hash
}

// install installs the npm package of the pinned version, unless it is there.
func (s *stage) install(ctx context.Context) (version string, err error) {
	const folder = "bench/socketio"
	runtime, err := s.command(ctx, ".", "node", "--version")
	if err != nil {
		return "", err
	}
	var wanted struct{ Dependencies map[string]string }
	if err := readJSON(filepath.Join(s.root, folder, "package.json"), &wanted); err != nil {
		return "", err
	}
	var got struct{ Version string }
	there := filepath.Join(s.root, folder, "node_modules/socket.io/package.json")
	if err := readJSON(there, &got); err != nil || got.Version != wanted.Dependencies["socket.io"] {
		fmt.Fprintf(s.progress, "installing the npm packages of %s\n", folder)
		if _, err := s.command(ctx, folder, "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"); err != nil {
			return "", err
		}
		if err := readJSON(there, &got); err != nil {
			return "", err
		}
	}
	return got.Version + ", Node " + runtime, nil
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// environ is this process's environment without what would change a server.
func environ() (list []string) {
	for _, one := range os.Environ() {
		if !strings.HasPrefix(one, "HOLDFAST_") {
			list = append(list, one)
		}
	}
	return list
}

// running is a server that was started.
type running struct {
	cmd *exec.Cmd
	url string
	log string // the file that it logs to
}

// startTimeout is how long a server may take until it listens.
const startTimeout = 30 * time.Second

// start starts a server, which then is to be stopped. env is added to its
// environment.
func (s *stage) start(ctx context.Context, p peer, env ...string) (*running, error) {
	switch p.name {
	case ours:
		return s.startAt(ctx, "127.0.0.1:0", nil, env...)
	case node:
		return s.begin(exec.CommandContext(ctx, "node", "bench/socketio/server.mjs", s.secret()), p.name, env)
	}
	return s.begin(exec.CommandContext(ctx, s.program(p.name)), p.name, env)
}

// startAt starts ours at an address, with more flags.
func (s *stage) startAt(ctx context.Context, addr string, flags []string, env ...string) (*running, error) {
	args := append([]string{"serve", "--addr", addr, "--admin-addr", "127.0.0.1:0",
		"--jwt-secret-file", s.secret(), "--default-rooms", "!**", "--message-rate", "0", "--echo"}, flags...)
	cmd := exec.CommandContext(ctx, s.program(ours), args...)
	return s.begin(cmd, ours, env)
}

// begin starts a command whose first line says where it listens.
func (s *stage) begin(cmd *exec.Cmd, name string, env []string) (*running, error) {
	cmd.Dir, cmd.Env = s.root, append(environ(), env...)
	log, err := os.Create(filepath.Join(s.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &running{cmd: cmd, log: log.Name()}
	timer := time.AfterFunc(startTimeout, func() { _ = cmd.Process.Kill() }) // ends the line below
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	timer.Stop()
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok {
		r.stop()
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%s did not start: %s %s", name, line, bytes.TrimSpace(said))
	}
	r.url = url
	return r, nil
}

// stop ends the server at once and returns the processor time that it has used.
func (r *running) stop() time.Duration {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait() // that it was killed
	return r.cmd.ProcessState.UserTime() + r.cmd.ProcessState.SystemTime()
}
