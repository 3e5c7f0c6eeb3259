package tokens

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/gofrs/flock"
)

const (
	// maxFile bounds what is read of the file, in bytes.
	maxFile = 1 << 20
	// maxNote bounds what is read of a note, in bytes.
	maxNote = 64
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
// Beside the file NAME there may be NAME.lock, NAME.swap and its notes, which
// hold no secrets; NAME.new, for a moment; and NAME.bad-* with what could not be
// read.
type File struct {
	path string
}

// NewFile makes a File of a path. Nothing is read or made yet. A folder that is
// missing is made when the file is first written or watched; one that is there
// is taken as it is.
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

var _ NoteStore = (*File)(nil)

// Path returns where the session is kept.
func (f *File) Path() string { return f.path }

// Load implements Store. A file that others may read is an error: somebody
// else may have the tokens.
func (f *File) Load(ctx context.Context) (*Session, error) {
	s, err := f.load(false)
	if !isCorrupt(err) {
		return s, err
	}
	// It is looked at again with the lock, for another process may be replacing
	// it: what is put aside is bad for certain.
	unlock, lerr := f.lock(ctx, ".swap")
	if lerr != nil {
		return nil, errors.Join(err, lerr)
	}
	defer unlock()
	return f.load(true)
}

// load reads the file. With aside, which needs the lock, one that is no session
// is put aside.
func (f *File) load(aside bool) (*Session, error) {
	data, err := f.read()
	if err == nil && data == nil {
		return nil, nil
	}
	var s *Session
	if err == nil {
		s, err = DecodeSession(data)
		if err != nil {
			err = &CorruptError{Err: err}
		}
	}
	if isCorrupt(err) && aside {
		err = f.putAside(err)
	}
	return s, err
}

// read returns what is in the file; nil where there is none.
func (f *File) read() ([]byte, error) {
	file, err := os.Open(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("tokens: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("tokens: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("tokens: %s is no file", f.path)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("tokens: %s can be read by others, who could act for you: run \"chmod 600 %s\", and sign in anew", f.path, f.path)
	}
	data := make([]byte, 0, min(info.Size(), maxFile)+1)
	for {
		n, err := file.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case err == io.EOF:
			return data, nil
		case err != nil:
			return nil, fmt.Errorf("tokens: %w", err)
		case len(data) > maxFile:
			return nil, &CorruptError{Err: fmt.Errorf("it is larger than %d bytes", maxFile)}
		}
		data = slices.Grow(data, 1)
	}
}

// putAside renames a file that is no session, and drops older ones. It needs
// the lock.
func (f *File) putAside(err error) error {
	bad := &CorruptError{Path: f.path + ".bad-" + strconv.FormatInt(time.Now().UnixNano(), 36)}
	if e, ok := errors.AsType[*CorruptError](err); ok {
		bad.Err = e.Err
	}
	if err := os.Rename(f.path, bad.Path); err != nil {
		// It can't be told from a session that can't be read: a fault of the system.
		return fmt.Errorf("tokens: %s is no session, and can't be put aside: %w", f.path, err)
	}
	dir, base := filepath.Split(f.path)
	entries, _ := os.ReadDir(dir) // in the order of their names, so of their age
	old := slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !strings.HasPrefix(e.Name(), base+".bad-") })
	for ; len(old) > maxAside; old = old[1:] {
		_ = os.Remove(filepath.Join(dir, old[0].Name()))
	}
	return bad
}

// Swap implements Store. It replaces a file that others may read as well.
func (f *File) Swap(ctx context.Context, old, next *Session) (*Session, error) {
	unlock, err := f.lock(ctx, ".swap")
	if err != nil {
		return nil, err
	}
	defer unlock()
	now, err := f.load(true)
	if err != nil {
		return nil, err
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
	return next, f.write(EncodeSession(next))
}

// write replaces the file, whole or not at all. It needs the lock.
func (f *File) write(data []byte) error {
	temp := f.path + ".new"
	_ = os.Remove(temp) // of a process that was killed
	err := writeThrough(temp, data)
	if err == nil {
		err = os.Rename(temp, f.path)
	}
	if err == nil {
		err = f.syncFolder()
	}
	if err != nil {
		_ = os.Remove(temp)
		return fmt.Errorf("tokens: the session can't be kept in %s: %w", f.path, err)
	}
	return nil
}

// writeThrough makes a file that must not be there, and has it on the disk.
func writeThrough(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	return err
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
	for ctx.Err() == nil {
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
		err = f.follow(ctx, w, changed)
		_ = w.Close()
		if err != nil {
			return fmt.Errorf("tokens: watching %s: %w", f.path, err)
		}
	}
	return nil
}

// follow hears the notices until ctx ends, or the folder is another one.
func (f *File) follow(ctx context.Context, w *fsnotify.Watcher, changed func()) error {
	changed() // for what was changed before the watch stood
	for {
		select {
		case e, ok := <-w.Events:
			switch {
			case !ok:
				return fsnotify.ErrClosed
			case e.Name == filepath.Dir(f.path):
				if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
					return nil
				}
			case f.concerns(e.Name):
				changed()
			}
		case err, ok := <-w.Errors:
			switch {
			case !ok:
				return fsnotify.ErrClosed
			case errors.Is(err, fsnotify.ErrEventOverflow):
				changed()
			default:
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// concerns reports whether a file is the session or a note.
func (f *File) concerns(path string) bool {
	rest, ok := strings.CutPrefix(path, f.path)
	return ok && (rest == "" || slices.Contains([]string{"." + noteActive, "." + noteSignOut, "." + noteRefresh}, rest))
}

// poll looks at the files from time to time.
func (f *File) poll(ctx context.Context, changed func()) {
	look := func() (state [4]string) {
		for i, suffix := range []string{"", "." + noteActive, "." + noteSignOut, "." + noteRefresh} {
			if info, err := os.Stat(f.path + suffix); err == nil {
				state[i] = fmt.Sprint(info.ModTime().UnixNano(), info.Size())
			}
		}
		return state
	}
	tick := time.NewTicker(watchPoll)
	defer tick.Stop()
	last := look()
	changed()
	for {
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

// SetNote implements NoteStore.
func (f *File) SetNote(_ context.Context, name, text string) error {
	if err := f.makeFolder(); err != nil {
		return err
	}
	if err := os.WriteFile(f.path+"."+name, []byte(text), 0o600); err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	return nil
}

// Note implements NoteStore.
func (f *File) Note(_ context.Context, name string) (string, error) {
	file, err := os.Open(f.path + "." + name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("tokens: %w", err)
	}
	defer file.Close()
	text := make([]byte, maxNote)
	n, err := io.ReadFull(file, text)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", fmt.Errorf("tokens: %w", err)
	}
	return string(text[:n]), nil
}
