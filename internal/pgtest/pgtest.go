// Package pgtest runs a PostgreSQL server of its own for tests: Debian's
// package, or whatever is on PATH, on a free port of the loopback address and
// in a temporary directory. It is never skipped: where there is no PostgreSQL,
// Start says what to install.
package pgtest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
	superuser    = "holdfast"
)

// Config says how the server runs. The zero value works.
type Config struct {
	// Durable makes it write to the disk before it says so, as in production;
	// otherwise it is fast and survives the end of its process only.
	Durable bool
}

// Server is a running PostgreSQL server. It is safe for concurrent use.
type Server struct {
	// Static after Start.
	dir      string
	bin      string
	port     int
	password string
	cmd      *exec.Cmd
	exited   chan struct{} // closed when the process has ended
}

// Start makes a cluster and starts its server. The caller must Stop it.
func Start(cfg Config) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin, password: rand.Text()}
	if err := s.init(); err != nil {
		_ = os.RemoveAll(dir)
		return nil, err
	}
	// The port is free when it is looked for; another process may be quicker.
	for range 5 {
		if err = s.start(cfg); err == nil {
			return s, nil
		}
		s.halt()
	}
	_ = os.RemoveAll(dir)
	return nil, err
}

// binaries returns the folder of initdb and postgres, of the newest version.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is well formed
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	if len(found) > 0 {
		return filepath.Dir(found[0]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("pgtest: PostgreSQL is missing, which these tests start a server of: run scripts/setup.sh, or install it (Debian: apt-get install postgresql)")
	}
	return filepath.Dir(path), nil
}

func version(initdb string) int {
	v, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(initdb)))) // not a number: the oldest
	return v
}

func (s *Server) init() error {
	pwfile := filepath.Join(s.dir, "password")
	if err := os.WriteFile(pwfile, []byte(s.password+"\n"), 0o600); err != nil {
		return err
	}
	if err := own(s.dir, pwfile); err != nil {
		return err
	}
	cmd := exec.Command(filepath.Join(s.bin, "initdb"), "--pgdata="+filepath.Join(s.dir, "data"), "--username="+superuser,
		"--auth=scram-sha-256", "--pwfile="+pwfile, "--encoding=UTF8", "--no-locale", "--no-sync")
	cmd.Dir = s.dir
	if err := asServer(cmd); err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: initdb: %w\n%s", err, out)
	}
	return nil
}

func (s *Server) start(cfg Config) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.port = port
	args := []string{"-D", filepath.Join(s.dir, "data"), "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-k", s.dir,
		"-c", "max_connections=200", "-c", "log_min_messages=warning"}
	if !cfg.Durable {
		args = append(args, "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	}
	var log bytes.Buffer
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), args...)
	cmd.Dir = s.dir
	cmd.Stderr = &log
	if err := asServer(cmd); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	s.cmd, s.exited = cmd, exited
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(exited)
	}()
	return s.ready(&log)
}

// ready waits until the server takes connections, or has ended.
func (s *Server) ready(log *bytes.Buffer) error {
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-s.exited:
			return fmt.Errorf("pgtest: postgres ended at its start:\n%s", log.Bytes())
		case <-deadline.C:
			return errors.New("pgtest: postgres did not start in time")
		case <-tick.C:
		}
		// The file's last line says so once it is.
		pid, err := os.ReadFile(filepath.Join(s.dir, "data", "postmaster.pid"))
		if lines := strings.Split(strings.TrimSpace(string(pid)), "\n"); err == nil && len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready" {
			return nil
		}
	}
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// URL returns the postgres:// URL of a database, which need not exist. The
// one named "postgres" does.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(superuser, s.password),
		Host: net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)), Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Create makes an empty database of a random name and returns its URL.
func (s *Server) Create() (string, error) {
	name := "t" + strings.ToLower(rand.Text())
	return s.URL(name), s.command("createdb", "--template=template0", name)
}

// Copy makes a database of a random name that holds what another does, to which
// nobody may be connected meanwhile, and returns its URL.
func (s *Server) Copy(databaseURL string) (string, error) {
	from, err := name(databaseURL)
	if err != nil {
		return "", err
	}
	to := "t" + strings.ToLower(rand.Text())
	return s.URL(to), s.command("createdb", "--template="+from, to)
}

// Drop removes a database that Create or Copy has made, whoever is still in it.
func (s *Server) Drop(databaseURL string) error {
	database, err := name(databaseURL)
	if err != nil {
		return err
	}
	return s.command("dropdb", "--force", "--if-exists", database)
}

// name returns the name of the database of a URL.
func name(databaseURL string) (string, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(u.Path, "/"), nil
}

func (s *Server) command(name string, args ...string) error {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "PGHOST=127.0.0.1", "PGPORT="+strconv.Itoa(s.port), "PGUSER="+superuser, "PGPASSWORD="+s.password)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: %s: %w\n%s", name, err, out)
	}
	return nil
}

// Stop ends the server and removes its directory.
func (s *Server) Stop() error {
	s.halt()
	return os.RemoveAll(s.dir)
}

// halt ends the process, with its clients' connections, and waits for it.
func (s *Server) halt() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(os.Interrupt) // fast shutdown; an error: it has ended
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-s.exited:
	case <-timeout.C:
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
}
