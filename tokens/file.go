package tokens

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/gofrs/flock"

	"github.com/holdfast-dev/holdfast"
)

const (
	// fileVersion is that of the form in which a File keeps a session.
	fileVersion = 1
	// maxFile bounds what is read of the file, in bytes.
	maxFile = 1 << 20
	// maxAside is how many damaged files are kept.
	maxAside = 3
	// lockRetry is how often a lock that somebody holds is tried again.
	lockRetry = 20 * time.Millisecond
	// watchPoll is how often a folder is looked at that can't be watched.
	watchPoll = 500 * time.Millisecond
)

// File is a Store in a file, for one user of one machine: the file has mode
// 0600 in a folder of mode 0700, is replaced whole, and written through to the
// disk. Processes that share it refresh one at a time, by a lock beside it
// that ends with its process, and see each other's changes. The folder must be
// on a disk of this machine: locks over a network are not to be relied on.
//
// Beside the file NAME there may be NAME.lock, NAME.swap and NAME.active, which
// hold no secrets, and NAME.bad-* with what could not be read.
type File struct {
	path string
}

// NewFile makes a File of a path. Nothing is read or made yet; the folder is
// made with the first session, or taken as it is where it is there.
func NewFile(path string) (*File, error) {
	if path == "" {
		return nil, errors.New("tokens: NewFile: the path is empty")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	return &File{path: path}, nil
}

var _ ActivityStore = (*File)(nil)

// Path returns where the session is kept.
func (f *File) Path() string { return f.path }

// kept is a session as it is written.
type kept struct {
	Version    int           `json:"version"`
	Access     string        `json:"access"`
	Refresh    string        `json:"refresh,omitempty"`
	User       holdfast.User `json:"user"`
	SessionID  string        `json:"sessionId,omitempty"`
	LifetimeMS int64         `json:"lifetimeMs,omitempty"`
	ExpiresAt  int64         `json:"expiresAt,omitempty"` // epoch milliseconds, the server's clock
	ReceivedAt int64         `json:"receivedAt"`          // the same, this machine's
}

// encodeSession makes the text that stores keep.
func encodeSession(s *Session) []byte {
	k := kept{
		Version: fileVersion, Access: s.Access, Refresh: s.Refresh, User: s.User, SessionID: s.SessionID,
		LifetimeMS: s.Lifetime.Milliseconds(), ReceivedAt: s.Received.UnixMilli(),
	}
	if !s.Expires.IsZero() {
		k.ExpiresAt = s.Expires.UnixMilli()
	}
	data, err := json.Marshal(k)
	if err != nil {
		panic(err) // of strings and numbers alone: can't be
	}
	return append(data, '\n')
}

// decodeSession reads what encodeSession made.
func decodeSession(data []byte) (*Session, error) {
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		// The message may quote the text, and the text is a secret.
		return nil, errors.New("it is no JSON")
	}
	switch {
	case k.Version > fileVersion:
		return nil, fmt.Errorf("it is of version %d, and this program reads %d", k.Version, fileVersion)
	case k.Version < 1 || k.Access == "":
		return nil, errors.New("it has no token")
	}
	s := &Session{
		Access: k.Access, Refresh: k.Refresh, User: k.User, SessionID: k.SessionID,
		Received: time.UnixMilli(k.ReceivedAt),
	}
	if k.LifetimeMS > 0 && k.LifetimeMS <= maxLifetime.Milliseconds() {
		s.Lifetime = time.Duration(k.LifetimeMS) * time.Millisecond
	}
	if k.ExpiresAt > 0 && k.ExpiresAt < maxExpiry*1000 {
		s.Expires = time.UnixMilli(k.ExpiresAt)
	}
	return s, nil
}

// Load implements Store. A file that others may read is an error: somebody
// else may have the tokens.
func (f *File) Load(context.Context) (*Session, error) {
	data, err := f.read()
	if data == nil || err != nil {
		return nil, err
	}
	s, err := decodeSession(data)
	if err != nil {
		return nil, f.putAside(data, err)
	}
	return s, nil
}

func (f *File) read() ([]byte, error) {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("tokens: %w", err)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("tokens: %s can be read by others, who could act for you: run \"chmod 600 %s\", and sign in anew", f.path, f.path)
	case info.Size() > maxFile:
		return nil, f.putAside(nil, fmt.Errorf("it is larger than %d bytes", maxFile))
	}
	data, err := os.ReadFile(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // a moment ago
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("tokens: %w", err)
	case data == nil:
		data = []byte{}
	}
	return data, nil
}

// putAside renames a file that can't be used, unless another process has
// replaced it meanwhile, and drops older ones.
func (f *File) putAside(data []byte, cause error) error {
	unlock, err := f.lock(context.Background(), ".swap")
	if err != nil {
		return errors.Join(&CorruptError{Err: cause}, err)
	}
	defer unlock()
	if now, err := os.ReadFile(f.path); err != nil || data != nil && string(now) != string(data) {
		return &CorruptError{Err: cause}
	}
	bad := f.path + ".bad-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	if err := os.Rename(f.path, bad); err != nil {
		return errors.Join(&CorruptError{Err: cause}, err)
	}
	if old, err := filepath.Glob(f.path + ".bad-*"); err == nil && len(old) > maxAside {
		slices.Sort(old)
		for _, path := range old[:len(old)-maxAside] {
			_ = os.Remove(path)
		}
	}
	return &CorruptError{Path: bad, Err: cause}
}

// Swap implements Store.
func (f *File) Swap(ctx context.Context, old, next *Session) (*Session, error) {
	unlock, err := f.lock(ctx, ".swap")
	if err != nil {
		return nil, err
	}
	defer unlock()
	data, err := f.read()
	if err != nil && !isCorrupt(err) {
		return nil, err
	}
	var now *Session
	if data != nil {
		now, _ = decodeSession(data) // damaged is as good as none
	}
	if !same(now, old) {
		return now, nil
	}
	if next == nil {
		if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("tokens: %w", err)
		}
		return nil, f.syncFolder()
	}
	return next, f.write(encodeSession(next))
}

// write replaces the file, whole or not at all.
func (f *File) write(data []byte) error {
	temp, err := os.CreateTemp(filepath.Dir(f.path), ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	defer os.Remove(temp.Name()) // fails once it was renamed
	_, err = temp.Write(data)
	if err == nil {
		err = temp.Sync()
	}
	if cerr := temp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temp.Name(), f.path)
	}
	if err == nil {
		err = f.syncFolder()
	}
	if err != nil {
		return fmt.Errorf("tokens: the session can't be kept in %s: %w", f.path, err)
	}
	return nil
}

// syncFolder writes the folder's list of names through to the disk.
func (f *File) syncFolder() error {
	if runtime.GOOS == "windows" {
		return nil // a folder can't be opened there
	}
	d, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// Lock implements Store.
func (f *File) Lock(ctx context.Context) (func(), error) { return f.lock(ctx, ".lock") }

func (f *File) lock(ctx context.Context, suffix string) (func(), error) {
	if err := f.makeFolder(); err != nil {
		return nil, err
	}
	l := flock.New(f.path+suffix, flock.SetPermissions(0o600))
	ok, err := l.TryLockContext(ctx, lockRetry)
	if err != nil || !ok {
		_ = l.Close()
		return nil, fmt.Errorf("tokens: %s%s can't be locked: %w", f.path, suffix, err)
	}
	return func() { _ = l.Close() }, nil // which unlocks it
}

func (f *File) makeFolder() error {
	dir := filepath.Dir(f.path)
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("tokens: the folder of the session can't be made: %w", err)
	}
	return nil
}

// Watch implements Store, by the system's notices, or by looking where there
// are none.
func (f *File) Watch(ctx context.Context, changed func()) error {
	if err := f.makeFolder(); err != nil {
		return err
	}
	w, err := fsnotify.NewWatcher()
	if err == nil {
		if err = w.Add(filepath.Dir(f.path)); err != nil {
			_ = w.Close()
		}
	}
	if err != nil {
		f.poll(ctx, changed)
		return nil
	}
	defer w.Close()
	changed() // for what was changed before the watch stood
	for {
		select {
		case e, ok := <-w.Events:
			if !ok {
				return errors.New("tokens: the watch has ended")
			}
			if e.Name == f.path || e.Name == f.path+".active" {
				changed()
			}
		case err, ok := <-w.Errors:
			if !ok {
				return errors.New("tokens: the watch has ended")
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				changed()
				continue
			}
			return fmt.Errorf("tokens: watching %s: %w", f.path, err)
		case <-ctx.Done():
			return nil
		}
	}
}

// poll looks at the files from time to time.
func (f *File) poll(ctx context.Context, changed func()) {
	look := func() (state [2]string) {
		for i, path := range []string{f.path, f.path + ".active"} {
			if info, err := os.Stat(path); err == nil {
				state[i] = fmt.Sprint(info.ModTime().UnixNano(), info.Size())
			}
		}
		return state
	}
	tick := time.NewTicker(watchPoll)
	defer tick.Stop()
	for last := look(); ; {
		select {
		case <-tick.C:
			if now := look(); now != last {
				last = now
				changed()
			}
		case <-ctx.Done():
			return
		}
	}
}

// Touch implements ActivityStore.
func (f *File) Touch(_ context.Context, at time.Time) error {
	if err := f.makeFolder(); err != nil {
		return err
	}
	path := f.path + ".active"
	if info, err := os.Stat(path); err == nil && !info.ModTime().Before(at) {
		return nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	if err := os.Chtimes(path, at, at); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	return nil
}

// Active implements ActivityStore.
func (f *File) Active(context.Context) (time.Time, error) {
	info, err := os.Stat(f.path + ".active")
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("tokens: %w", err)
	}
	return info.ModTime(), nil
}
