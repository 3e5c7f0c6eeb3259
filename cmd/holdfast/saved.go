package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// savedSession is a login session with one server, as "login" keeps it: a file
// of its own, mode 0600, in a folder with mode 0700.
type savedSession struct {
	URL          string `json:"url"`
	Email        string `json:"email"`
	SessionID    string `json:"sessionId"`
	AccessToken  string `json:"accessToken"`
	ExpiresAt    int64  `json:"expiresAt"` // of the access token, epoch milliseconds
	RefreshToken string `json:"refreshToken"`
}

// fresh reports whether the access token has some time left.
func (s *savedSession) fresh() bool {
	return time.Until(time.UnixMilli(s.ExpiresAt)) > 10*time.Second
}

// sessionStore is the folder of the saved sessions.
type sessionStore struct{ dir string }

// sessions returns the user's store. It need not be there yet.
func (e *environment) sessions() (sessionStore, error) {
	dir := e.getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		var err error
		if dir, err = os.UserConfigDir(); err != nil {
			return sessionStore{}, fmt.Errorf("there is no folder to keep sessions in: %w", err)
		}
	}
	return sessionStore{filepath.Join(dir, "holdfast", "sessions")}, nil
}

// serverURL brings the address of a server into the form that sessions are
// kept under.
func serverURL(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", usagef("%q is no address of a server, such as http://127.0.0.1:8080", address)
	}
	host := strings.ToLower(u.Host)
	if port := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]; strings.HasSuffix(host, port) {
		host = strings.TrimSuffix(host, port)
	}
	return u.Scheme + "://" + host + strings.TrimSuffix(u.EscapedPath(), "/"), nil
}

// path is the file of the session with a server.
func (s sessionStore) path(server string) string {
	sum := sha256.Sum256([]byte(server))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:12])+".json")
}

// load returns the session with a server; nil if there is none.
func (s sessionStore) load(server string) (*savedSession, error) {
	saved, err := s.read(s.path(server))
	if saved != nil && saved.URL != server {
		return nil, fmt.Errorf("%s is the session of another server", s.path(server))
	}
	return saved, err
}

func (s sessionStore) read(path string) (*savedSession, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others, who could act for you: run \"chmod 600 %s\", and log in anew", path, path)
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a moment ago
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	var saved savedSession
	if err := json.Unmarshal(data, &saved); err != nil || saved.RefreshToken == "" {
		return nil, fmt.Errorf("%s is damaged: log in anew", path)
	}
	return &saved, nil
}

// save writes a session, whole or not at all.
func (s sessionStore) save(saved *savedSession) error {
	data, err := json.Marshal(saved)
	if err != nil {
		return err
	}
	if err := s.make(); err != nil {
		return err
	}
	temp, err := os.CreateTemp(s.dir, ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("can't keep the session in %s: %w", s.dir, reason(err))
	}
	defer os.Remove(temp.Name()) // fails once it was renamed
	_, err = temp.Write(append(data, '\n'))
	if err == nil {
		err = temp.Sync()
	}
	if cerr := temp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temp.Name(), s.path(saved.URL))
	}
	if err != nil {
		return fmt.Errorf("can't keep the session in %s: %w", s.dir, reason(err))
	}
	return nil
}

// make makes the folder, for its owner alone.
func (s sessionStore) make() error {
	err := os.MkdirAll(s.dir, 0o700)
	if err == nil {
		err = os.Chmod(s.dir, 0o700) // it may have been there
	}
	if err != nil {
		return fmt.Errorf("can't make the folder %s: %w", s.dir, reason(err))
	}
	return nil
}

// remove forgets the session with a server.
func (s sessionStore) remove(server string) error {
	err := os.Remove(s.path(server))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("can't delete %s: %w", s.path(server), reason(err))
	}
	return nil
}

// only returns the session if there is exactly one.
func (s sessionStore) only() (*savedSession, error) {
	paths, err := filepath.Glob(filepath.Join(s.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	switch len(paths) {
	case 0:
		return nil, nil
	case 1:
		return s.read(paths[0])
	}
	return nil, usagef("there are sessions with %d servers: say which, by its address", len(paths))
}

// lock keeps other programs from refreshing the same session until unlock: the
// refresh token is good once.
func (s sessionStore) lock(ctx context.Context, server string) (unlock func(), err error) {
	if err := s.make(); err != nil {
		return nil, err
	}
	path := strings.TrimSuffix(s.path(server), ".json") + ".lock"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	for {
		if err = tryLock(f); err == nil {
			return func() { _ = f.Close() }, nil // which unlocks it
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("another program holds %s: %w", path, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
