package queue

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/gofrs/flock"

	"github.com/holdfast-dev/holdfast"
)

const (
	lockRetry = 5 * time.Millisecond
	leadRetry = 100 * time.Millisecond
	// watchPoll is how often the file is looked at besides the system's notices.
	watchPoll = time.Second
	// compactAt is the least size at which the file is written anew, once most
	// of it is about items that are gone.
	compactAt = 256 << 10
)

// File is a Queue in a folder, for one user of one machine. What Add has
// returned from is on the disk. Processes that share the folder each see all
// items, and one of them sends. The folder must be on a disk of this machine.
//
// It holds events as they were emitted, so its mode is 0700.
type File struct {
	// Static after Open.
	dir    string
	path   string
	limits Limits
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	wg     sync.WaitGroup

	// turn is held by whoever reads or writes the file; it has one value.
	turn chan struct{}
	// Owned by whoever holds turn.
	generation string // of the file that was read
	offset     int64  // up to where

	mu     sync.Mutex // guards what follows
	state  state
	change chan struct{} // closed at the next change
}

var _ Queue = (*File)(nil)

// Open opens the queue in a folder, which is made if need be. Close it after
// use. A file that is damaged in its middle is kept beside the new one as
// queue.bad-*, and what could be read of it goes on.
func Open(dir string, limits Limits) (*File, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("queue: %w", err)
	}
	f := &File{
		dir: dir, path: filepath.Join(dir, "queue.log"), limits: limits.withDefaults(),
		turn: make(chan struct{}, 1), change: make(chan struct{}),
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	if err := f.locked(context.Background(), func(*os.File) error { return nil }); err != nil {
		f.stop()
		return nil, err
	}
	f.wg.Go(f.watch)
	return f, nil
}

// Close ends the queue; what it keeps stays. Calls that wait return ErrClosed.
func (f *File) Close() error {
	f.stop()
	f.wg.Wait()
	return nil
}

// Add implements Queue. ErrFull counts what all processes have put in.
func (f *File) Add(ctx context.Context, item Item) error {
	if err := item.check(); err != nil {
		return err
	}
	var dropped []Item
	err := f.locked(ctx, func(file *os.File) error {
		f.mu.Lock()
		drop, ok := f.state.room(&item, f.limits)
		dropped = slices.Clone(f.state.items[:drop])
		f.mu.Unlock()
		if !ok {
			dropped = nil
			return ErrFull
		}
		var records []record
		for _, d := range dropped {
			records = append(records, record{Drop: d.ID})
		}
		return f.append(file, append(records, record{Add: &item}), true)
	})
	if err == nil {
		f.limits.tell(dropped)
	}
	return err
}

// Next implements Queue.
func (f *File) Next(ctx context.Context, lane Lane) (item Item, err error) {
	err = f.await(ctx, func() (ok bool) {
		item, ok = f.state.next(lane)
		return ok
	})
	return item, err
}

// Gone implements Queue.
func (f *File) Gone(ctx context.Context, id string) (dead *Dead, err error) {
	var how error
	err = f.await(ctx, func() (ok bool) {
		dead, ok, how = f.state.gone(id)
		return ok
	})
	if err == nil {
		err = how
	}
	return dead, err
}

// await waits for ready, which is called under mu at each change.
func (f *File) await(ctx context.Context, ready func() bool) error {
	for {
		f.mu.Lock()
		ok := ready()
		change := f.change
		f.mu.Unlock()
		switch {
		case f.ctx.Err() != nil:
			return ErrClosed
		case ok:
			return nil
		}
		select {
		case <-change:
		case <-f.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Remove implements Queue. It outlives the process, but what was acknowledged
// or withdrawn is not waited for to be gone from the disk: after a power cut it
// may be sent once more, under its id.
func (f *File) Remove(ctx context.Context, id string, cause *holdfast.Error) (was bool, err error) {
	r := record{Remove: id}
	if cause != nil {
		r = record{Bury: &bury{ID: id, Code: cause.Code, Message: cause.Message, At: time.Now()}}
	}
	err = f.locked(ctx, func(file *os.File) error {
		f.mu.Lock()
		was = f.state.find(id) >= 0
		f.mu.Unlock()
		if !was {
			return nil
		}
		return f.append(file, []record{r}, cause != nil)
	})
	return was && err == nil, err
}

// Lead implements Queue. Each lane has a file of its own in the folder, which
// stays.
func (f *File) Lead(ctx context.Context, lane Lane) (func(), error) {
	if f.ctx.Err() != nil {
		return nil, ErrClosed
	}
	ctx, cancel := f.until(ctx)
	defer cancel()
	sum := sha256.Sum256([]byte(lane.Namespace + "\x00" + lane.User))
	l := flock.New(filepath.Join(f.dir, "lead-"+hex.EncodeToString(sum[:12])+".lock"), flock.SetPermissions(0o600))
	if ok, err := l.TryLockContext(ctx, leadRetry); err != nil || !ok {
		_ = l.Close()
		return nil, f.reason(err)
	}
	return sync.OnceFunc(func() { _ = l.Close() }), nil
}

// Items returns what waits, oldest first.
func (f *File) Items() []Item {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.state.items)
}

// Dead returns what the server refused for good, oldest first.
func (f *File) Dead() []Dead {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.state.dead)
}

// until returns a context that ends with ctx and with the queue.
func (f *File) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(f.ctx, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

func (f *File) reason(err error) error {
	if f.ctx.Err() != nil {
		return ErrClosed
	}
	return err
}

// locked calls fn with the file, after all changes of others were read, while
// nobody else writes to it.
func (f *File) locked(ctx context.Context, fn func(*os.File) error) error {
	if f.ctx.Err() != nil {
		return ErrClosed
	}
	ctx, cancel := f.until(ctx)
	defer cancel()
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return f.reason(ctx.Err())
	}
	defer func() { <-f.turn }()
	l := flock.New(filepath.Join(f.dir, "write.lock"), flock.SetPermissions(0o600))
	if ok, err := l.TryLockContext(ctx, lockRetry); err != nil || !ok {
		_ = l.Close()
		return f.reason(fmt.Errorf("queue: %s can't be locked: %w", f.dir, err))
	}
	defer l.Close()
	file, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	defer file.Close()
	if err := f.read(file, true); err != nil {
		return err
	}
	if err := fn(file); err != nil {
		return err
	}
	return f.compact()
}

// append writes records behind the others; durable: through to the disk. A
// write that fails is taken back.
func (f *File) append(file *os.File, records []record, durable bool) error {
	var data []byte
	for i := range records {
		var err error
		if data, err = appendRecord(data, &records[i]); err != nil {
			return err
		}
	}
	_, err := file.WriteAt(data, f.offset)
	if err == nil && durable {
		err = file.Sync()
	}
	if err != nil {
		return errors.Join(fmt.Errorf("queue: %s: %w", f.path, err), f.takeBack(file))
	}
	f.offset += int64(len(data))
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range records {
		f.state.apply(&records[i], f.limits)
	}
	f.changedLocked()
	return nil
}

// takeBack cuts off a write that failed. Somebody may have read it already, so
// the file gets another generation, which makes everybody read it anew.
func (f *File) takeBack(file *os.File) error {
	err := file.Truncate(f.offset)
	generation := make([]byte, headerSize-len(magic))
	_, _ = rand.Read(generation) // it never fails
	_, gerr := file.WriteAt(generation, int64(len(magic)))
	f.generation = "" // so does this queue, whatever was written
	return errors.Join(err, gerr)
}

// read brings the state up to the end of the file. With repair, which needs
// the lock, what is cut off or damaged at the end is dropped from the file, and
// a file without a header is begun.
func (f *File) read(file *os.File, repair bool) error {
	header := make([]byte, headerSize)
	n, err := file.ReadAt(header, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("queue: %w", err)
	}
	fresh := n < headerSize || string(header[:len(magic)]) != magic
	if fresh {
		if !repair {
			return nil
		}
		if n >= len(magic) && string(header[:len(magic)]) != magic {
			if err := f.putAside(file); err != nil {
				return err
			}
		}
		return f.begin(file)
	}
	generation := string(header[len(magic):])
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	if generation != f.generation || info.Size() < f.offset { // a write that was read was taken back
		f.generation, f.offset = generation, int64(headerSize)
		f.mu.Lock()
		f.state = state{}
		f.mu.Unlock()
	}
	data, err := io.ReadAll(io.NewSectionReader(file, f.offset, 1<<40))
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return f.take(file, data, repair)
}

// take applies the records of data, which begins at the offset.
func (f *File) take(file *os.File, data []byte, repair bool) error {
	f.mu.Lock()
	changed, damaged := false, false
	for len(data) > 0 {
		r, n, err := nextRecord(data)
		if err != nil || n == 0 {
			damaged = err != nil
			break
		}
		f.state.apply(&r, f.limits)
		f.offset += int64(n)
		data = data[n:]
		changed = true
	}
	if changed {
		f.changedLocked()
	}
	f.mu.Unlock()
	if len(data) == 0 || !repair {
		return nil
	}
	if damaged {
		if err := f.putAside(file); err != nil {
			return err
		}
	}
	if err := file.Truncate(f.offset); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return file.Sync()
}

// begin makes an empty file of one that has no header.
func (f *File) begin(file *os.File) error {
	header := make([]byte, headerSize)
	copy(header, magic)
	_, _ = rand.Read(header[len(magic):]) // it never fails
	err := file.Truncate(0)
	if err == nil {
		_, err = file.WriteAt(header, 0)
	}
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = f.syncFolder()
	}
	if err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	f.generation, f.offset = string(header[len(magic):]), int64(headerSize)
	f.mu.Lock()
	f.state = state{}
	f.mu.Unlock()
	return nil
}

// putAside copies a file that can't be read whole, for somebody to look at.
func (f *File) putAside(file *os.File) error {
	to, err := os.OpenFile(filepath.Join(f.dir, "queue.bad-"+strconv.FormatInt(time.Now().UnixNano(), 36)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = io.Copy(to, io.NewSectionReader(file, 0, 1<<40))
		if cerr := to.Close(); err == nil {
			err = cerr
		}
	}
	if err != nil {
		return fmt.Errorf("queue: the damaged file can't be kept: %w", err)
	}
	return nil
}

// compact writes the file anew when most of it is about what is gone.
func (f *File) compact() error {
	f.mu.Lock()
	live := f.state.bytes
	for i := range f.state.dead {
		live += f.state.dead[i].Item.size()
	}
	items, dead := slices.Clone(f.state.items), slices.Clone(f.state.dead)
	f.mu.Unlock()
	if f.offset < compactAt || f.offset < 4*int64(live) {
		return nil
	}
	data := make([]byte, headerSize, headerSize+2*live)
	copy(data, magic)
	_, _ = rand.Read(data[len(magic):]) // it never fails
	var err error
	for i := range dead {
		if data, err = appendRecord(data, &record{Dead: &dead[i]}); err != nil {
			return err
		}
	}
	for i := range items {
		if data, err = appendRecord(data, &record{Add: &items[i]}); err != nil {
			return err
		}
	}
	if err := f.replace(data); err != nil {
		return fmt.Errorf("queue: the file can't be written anew: %w", err)
	}
	f.generation, f.offset = string(data[len(magic):headerSize]), int64(len(data))
	return nil
}

// replace puts another file in place of the present one, whole or not at all.
func (f *File) replace(data []byte) error {
	temp, err := os.CreateTemp(f.dir, ".new-*") // mode 0600
	if err != nil {
		return err
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
	return err
}

func (f *File) syncFolder() error {
	d, err := os.Open(f.dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// watch follows what other processes write.
func (f *File) watch() {
	var events chan fsnotify.Event
	w, err := fsnotify.NewWatcher()
	if err == nil {
		defer w.Close()
		if w.Add(f.dir) == nil {
			events = w.Events
		}
	}
	tick := time.NewTicker(watchPoll)
	defer tick.Stop()
	for {
		select {
		case e := <-events:
			if e.Name != f.path {
				continue
			}
		case <-tick.C:
		case <-f.ctx.Done():
			return
		}
		f.look()
	}
}

// look reads what is new without the lock: a record that is being written is
// read the next time.
func (f *File) look() {
	select {
	case f.turn <- struct{}{}:
		defer func() { <-f.turn }()
	default:
		return // whoever has the turn reads it
	}
	file, err := os.Open(f.path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return // whoever writes next hears of it
		}
		return
	}
	defer file.Close()
	_ = f.read(file, false)
}

func (f *File) changedLocked() {
	close(f.change)
	f.change = make(chan struct{})
}
