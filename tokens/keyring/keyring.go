// Package keyring keeps a session in the operating system's keyring: the Secret
// Service on Linux and the BSDs (GNOME Keyring, KWallet), the Keychain on macOS,
// the Credential Manager on Windows. It is apart from package tokens so that
// nobody else links what that needs.
//
//	store, err := keyring.New(keyring.Config{Service: "example-app", Account: "rt.example.com"})
//	m, err := tokens.NewManager(tokens.Config{Store: store})
//
// A keyring has no locks and tells nobody of changes. Those are files without
// secrets in the user's runtime folder, so that processes that share an entry
// refresh once, and know each other's changes within a second.
package keyring

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	keys "github.com/zalando/go-keyring"

	"github.com/holdfast-dev/holdfast/tokens"
)

// watchPoll is how often others' changes are looked for.
const watchPoll = 500 * time.Millisecond

// The notes in which changes are looked for; noteChanged is this package's own.
const noteChanged = "changed"

// Config says which entry of the keyring it is.
type Config struct {
	// Service names the application. Required.
	Service string
	// Account names the session among those of the application, by its server
	// or its user: "default".
	Account string
	// Dir is where the files for locks and notes are; all who share the entry
	// must have the same. Default: the folder "holdfast" in $XDG_RUNTIME_DIR or,
	// where there is none, in the user's cache folder. It is made with mode 0700.
	Dir string
}

// Store is a tokens.Store in the keyring. All methods may be called from any
// goroutine. A keyring that is locked may ask the user for its password, and a
// call then lasts until that is answered, whatever its context says.
//
// Keyrings have limits of their own: Windows takes entries of up to 2.5 kB, so
// that a session with a large token is kept in memory alone, and told of.
type Store struct {
	service, account string
	swap             *tokens.File // for its lock alone
	beside           *tokens.File // the same, and its notes
}

var _ tokens.NoteStore = (*Store)(nil)

// New makes a Store. The keyring is not asked yet.
func New(cfg Config) (*Store, error) {
	if cfg.Service == "" {
		return nil, errors.New("keyring: Config.Service is not set")
	}
	if cfg.Account == "" {
		cfg.Account = "default"
	}
	if cfg.Dir == "" {
		dir, err := runtimeDir()
		if err != nil {
			return nil, fmt.Errorf("keyring: Config.Dir is not set, and there is no folder for it: %w", err)
		}
		cfg.Dir = dir
	}
	// Any text is a name in a keyring, but not a file's.
	sum := sha256.Sum256([]byte(cfg.Service + "\x00" + cfg.Account))
	path := filepath.Join(cfg.Dir, "keyring-"+hex.EncodeToString(sum[:8]))
	beside, err := tokens.NewFile(path)
	if err != nil {
		return nil, err
	}
	swap, err := tokens.NewFile(path + "-swap")
	if err != nil {
		return nil, err
	}
	return &Store{service: cfg.Service, account: cfg.Account, swap: swap, beside: beside}, nil
}

func runtimeDir() (string, error) {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "holdfast"), nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "holdfast"), err
}

// Load implements tokens.Store.
func (s *Store) Load(ctx context.Context) (*tokens.Session, error) {
	session, err := s.get()
	if _, ok := errors.AsType[*tokens.CorruptError](err); !ok {
		return session, err
	}
	unlock, lerr := s.swap.Lock(ctx)
	if lerr != nil {
		return nil, errors.Join(err, lerr)
	}
	defer unlock()
	return s.load()
}

// load is get, and puts aside what is no session. It needs the lock.
func (s *Store) load() (*tokens.Session, error) {
	session, err := s.get()
	bad, ok := errors.AsType[*tokens.CorruptError](err)
	if !ok {
		return session, err
	}
	aside := s.account + ".bad"
	text, err := keys.Get(s.service, s.account)
	if err == nil {
		err = keys.Set(s.service, aside, text)
	}
	if err == nil {
		err = keys.Delete(s.service, s.account)
	}
	if err != nil {
		return nil, fmt.Errorf("keyring: the entry is no session, and can't be put aside: %w", err)
	}
	bad.Path = fmt.Sprintf("the keyring's entry %q of %q", aside, s.service)
	return nil, bad
}

func (s *Store) get() (*tokens.Session, error) {
	text, err := keys.Get(s.service, s.account)
	switch {
	case errors.Is(err, keys.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("keyring: %w", err)
	}
	session, err := tokens.DecodeSession([]byte(text))
	if err != nil {
		return nil, &tokens.CorruptError{Err: err}
	}
	return session, nil
}

// Swap implements tokens.Store.
func (s *Store) Swap(ctx context.Context, old, next *tokens.Session) (*tokens.Session, error) {
	unlock, err := s.swap.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	now, err := s.load()
	if err != nil {
		return nil, err
	}
	if !same(now, old) {
		return now, nil
	}
	if next == nil {
		if err = keys.Delete(s.service, s.account); errors.Is(err, keys.ErrNotFound) {
			err = nil
		}
	} else {
		err = keys.Set(s.service, s.account, string(tokens.EncodeSession(next)))
	}
	if err != nil {
		return nil, fmt.Errorf("keyring: the session can't be kept: %w", err)
	}
	// Without this note others learn of it when they refresh.
	return next, s.SetNote(ctx, noteChanged, rand.Text())
}

// same reports whether two sessions are the same tokens; nil is no session.
func same(a, b *tokens.Session) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Access == b.Access && a.Refresh == b.Refresh
}

// Lock implements tokens.Store, by a file that is locked while its process
// lives.
func (s *Store) Lock(ctx context.Context) (func(), error) { return s.beside.Lock(ctx) }

// Watch implements tokens.Store: it looks for notes twice a second. What other
// programs do to the entry is seen at the next refresh.
func (s *Store) Watch(ctx context.Context, changed func()) error {
	look := func() (notes [4]string) {
		for i, name := range []string{noteChanged, "active", "signed-out", "refreshing"} {
			notes[i], _ = s.beside.Note(ctx, name)
		}
		return notes
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
			return nil
		}
	}
}

// SetNote implements tokens.NoteStore.
func (s *Store) SetNote(ctx context.Context, name, text string) error {
	return s.beside.SetNote(ctx, name, text)
}

// Note implements tokens.NoteStore.
func (s *Store) Note(ctx context.Context, name string) (string, error) {
	return s.beside.Note(ctx, name)
}
