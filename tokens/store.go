package tokens

import (
	"context"
	"sync"
)

// Store keeps the session, and is what the managers of several processes have
// in common. Its methods are called from many goroutines, and what they are
// given and return is not changed afterwards.
//
// A session that can't be read as one is a *CorruptError: the store has put it
// aside, and holds nothing. Other errors are faults of the system, after which
// a Manager goes on with what it has in memory.
type Store interface {
	// Load returns the session that is kept; nil for none.
	Load(ctx context.Context) (*Session, error)
	// Swap keeps next in place of old, either of which may be nil for none, and
	// returns what is kept then: if that was not old, by its tokens, nothing
	// was changed and that is returned. It is atomic over all processes, and
	// what is kept is on the disk when it returns.
	Swap(ctx context.Context, old, next *Session) (*Session, error)
	// Lock waits until nobody else holds the lock, over all processes, and
	// returns what gives it back; that also happens when the process dies.
	// Load and Swap do not need it: it is held for as long as a refresh takes,
	// so that a refresh token is used once.
	Lock(ctx context.Context) (unlock func(), err error)
	// Watch calls changed once when it has begun, and then within a second after
	// others may have kept or noted something else, until ctx ends; then it
	// returns nil. It may call too often, but one call at a time, and from no
	// other method: changed calls Load.
	Watch(ctx context.Context, changed func()) error
}

// NoteStore is a Store that also keeps notes: short texts that hold no secrets
// and tell other processes what happens around the session. A Manager notes
// "active" (when the user was, in nanoseconds since 1970), "signed-out"
// (another text at each sign-out) and "refreshing" (a hash of the tokens that
// somebody is about to renew, so that others finish it if he can't). A note
// that is lost does little harm: it need not be on the disk.
type NoteStore interface {
	Store
	// SetNote keeps a note, of up to 64 bytes, in place of the one by that name.
	SetNote(ctx context.Context, name, text string) error
	// Note returns a note, "" for none.
	Note(ctx context.Context, name string) (string, error)
}

// CorruptError says that what a Store held was no session.
type CorruptError struct {
	// Path is where the bad data was put, for somebody to look at; "" where it
	// is gone. It may hold secrets.
	Path string
	// Err is what was wrong with it.
	Err error
}

// Error tells where the bad data is.
func (e *CorruptError) Error() string {
	text := "tokens: what was kept is no session: " + e.Err.Error()
	if e.Path != "" {
		text += "; it was put aside as " + e.Path
	}
	return text
}

// Unwrap returns what was wrong.
func (e *CorruptError) Unwrap() error { return e.Err }

// Memory is a Store within one process. Managers that share one are as
// processes that share a file. The zero value is empty.
type Memory struct {
	once sync.Once
	lock chan struct{} // holds one value while locked

	mu       sync.Mutex // guards what follows
	session  *Session
	notes    map[string]string
	watchers map[*func()]struct{}
}

// NewMemory makes an empty store.
func NewMemory() *Memory { return new(Memory) }

var _ NoteStore = (*Memory)(nil)

// Load implements Store.
func (m *Memory) Load(context.Context) (*Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.session, nil
}

// Swap implements Store.
func (m *Memory) Swap(_ context.Context, old, next *Session) (*Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !same(m.session, old) {
		return m.session, nil
	}
	m.session = next
	m.changedLocked()
	return next, nil
}

// Lock implements Store.
func (m *Memory) Lock(ctx context.Context) (func(), error) {
	m.once.Do(func() { m.lock = make(chan struct{}, 1) })
	select {
	case m.lock <- struct{}{}:
		return sync.OnceFunc(func() { <-m.lock }), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Watch implements Store.
func (m *Memory) Watch(ctx context.Context, changed func()) error {
	signal := make(chan struct{}, 1)
	signal <- struct{}{} // for what was changed before
	poke := func() {
		select {
		case signal <- struct{}{}:
		default:
		}
	}
	m.mu.Lock()
	if m.watchers == nil {
		m.watchers = make(map[*func()]struct{})
	}
	m.watchers[&poke] = struct{}{}
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		delete(m.watchers, &poke)
		m.mu.Unlock()
	}()
	for {
		select {
		case <-signal:
			changed()
		case <-ctx.Done():
			return nil
		}
	}
}

// SetNote implements NoteStore.
func (m *Memory) SetNote(_ context.Context, name, text string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.notes == nil {
		m.notes = make(map[string]string)
	}
	m.notes[name] = text
	m.changedLocked()
	return nil
}

// Note implements NoteStore.
func (m *Memory) Note(_ context.Context, name string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.notes[name], nil
}

// changedLocked wakes the watchers, who do not block it.
func (m *Memory) changedLocked() {
	for poke := range m.watchers {
		(*poke)()
	}
}
