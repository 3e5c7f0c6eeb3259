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
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/holdfast-dev/holdfast/tokens"
)

// sessionStore is the folder of the sessions that "login" keeps: a folder for
// each server, in which session.json is a tokens.File and server.json says
// which server it is of.
type sessionStore struct{ dir string }

// about is what server.json says.
type about struct {
	URL   string `json:"url"`
	Email string `json:"email"`
}

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

// folder is where the session with a server is.
func (s sessionStore) folder(server string) string {
	sum := sha256.Sum256([]byte(server))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:12]))
}

// sessionFile is the name of a session in its folder.
const sessionFile = "session.json"

// file returns where the session with a server is kept. The folders are made,
// for their owner alone.
func (s sessionStore) file(ctx context.Context, server string) (*tokens.File, error) {
	folder := s.folder(server)
	for _, dir := range []string{s.dir, folder} {
		err := os.MkdirAll(dir, 0o700)
		if err == nil {
			err = os.Chmod(dir, 0o700) // it may have been there
		}
		if err != nil {
			return nil, fmt.Errorf("can't make the folder %s: %w", dir, reason(err))
		}
	}
	file, err := tokens.NewFile(filepath.Join(folder, sessionFile))
	if err != nil {
		return nil, err
	}
	return file, s.convert(ctx, server, file)
}

// has reports whether there is a session with a server, in the present form or
// in that of earlier versions.
func (s sessionStore) has(server string) bool {
	for _, path := range []string{filepath.Join(s.folder(server), sessionFile), s.folder(server) + ".json"} {
		if _, err := os.Stat(path); err == nil {
			return true
		}
	}
	return false
}

// note keeps which server a session is of.
func (s sessionStore) note(server, email string) error {
	data, err := json.Marshal(about{URL: server, Email: email})
	if err != nil {
		return err
	}
	path := filepath.Join(s.folder(server), "server.json")
	temp := path + ".new"
	if err = os.WriteFile(temp, append(data, '\n'), 0o600); err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return fmt.Errorf("can't keep the session in %s: %w", s.folder(server), reason(err))
	}
	return nil
}

// only returns the server that there is a session with, "" for none, if there
// is no other one.
func (s sessionStore) only() (string, error) {
	var servers []string
	old, err := filepath.Glob(filepath.Join(s.dir, "*.json"))
	if err != nil {
		return "", err
	}
	for _, path := range old {
		if saved, err := readOld(path); err == nil && saved != nil {
			servers = append(servers, saved.URL)
		}
	}
	found, err := filepath.Glob(filepath.Join(s.dir, "*", sessionFile))
	if err != nil {
		return "", err
	}
	for _, path := range found {
		var a about
		data, err := os.ReadFile(filepath.Join(filepath.Dir(path), "server.json"))
		if err != nil {
			return "", fmt.Errorf("%s: %w", filepath.Dir(path), reason(err))
		}
		if json.Unmarshal(data, &a) != nil || a.URL == "" {
			return "", fmt.Errorf("%s is damaged: log in anew", filepath.Dir(path))
		}
		servers = append(servers, a.URL)
	}
	switch len(servers) {
	case 0:
		return "", nil
	case 1:
		return servers[0], nil
	}
	return "", usagef("there are sessions with %d servers: say which, by its address", len(servers))
}

// oldSession is a session as earlier versions kept it: a file beside the
// folders, with a lock.
type oldSession struct {
	URL          string `json:"url"`
	Email        string `json:"email"`
	SessionID    string `json:"sessionId"`
	AccessToken  string `json:"accessToken"`
	ExpiresAt    int64  `json:"expiresAt"` // of the access token, epoch milliseconds
	RefreshToken string `json:"refreshToken"`
}

// readOld reads such a file; nil where there is none.
func readOld(path string) (*oldSession, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, reason(err))
	}
	var saved oldSession
	if err := json.Unmarshal(data, &saved); err != nil || saved.RefreshToken == "" || saved.URL == "" {
		return nil, fmt.Errorf("%s is damaged: delete it, and log in anew", path)
	}
	return &saved, nil
}

// convert brings a session of earlier versions into the file, once.
func (s sessionStore) convert(ctx context.Context, server string, file *tokens.File) error {
	path := s.folder(server) + ".json"
	if _, err := os.Stat(path); err != nil {
		return nil
	}
	// A program of an earlier version may be refreshing it.
	lock := flock.New(s.folder(server)+".lock", flock.SetPermissions(0o600))
	defer lock.Close()
	if ok, err := lock.TryLockContext(ctx, 20*time.Millisecond); err != nil || !ok {
		return fmt.Errorf("another program holds %s: %w", lock.Path(), err)
	}
	saved, err := readOld(path)
	if err != nil || saved == nil {
		return err
	}
	if saved.URL != server {
		return fmt.Errorf("%s is the session of another server", path)
	}
	session, err := saved.session(ctx)
	if err != nil {
		return fmt.Errorf("%s is damaged: delete it, and log in anew: %w", path, err)
	}
	if err := s.note(server, saved.Email); err != nil {
		return err
	}
	// Where there is a session already, the old one is only removed.
	if _, err := file.Swap(ctx, nil, &session); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("can't delete %s: %w", path, reason(err))
	}
	return nil
}

// session is the same in the present form, completed as a sign-in is.
func (o *oldSession) session(ctx context.Context) (tokens.Session, error) {
	m, err := tokens.NewManager(tokens.Config{NoSync: true})
	if err != nil {
		return tokens.Session{}, err
	}
	defer m.Close()
	expires := time.UnixMilli(o.ExpiresAt)
	err = m.SetTokens(ctx, tokens.Session{
		Access: o.AccessToken, Refresh: o.RefreshToken, SessionID: o.SessionID,
		Expires: expires, Lifetime: max(time.Until(expires), time.Millisecond), // not that of the token, which is older
	})
	session, _ := m.Session()
	return session, err
}
