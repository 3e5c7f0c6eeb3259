package hub

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"hash/maphash"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast"
)

const (
	memoryShards = 32

	// What things count for besides their bytes, against TotalBytes.
	memoryRoomCost  = 512
	memoryEventCost = 256
	memoryIDCost    = 208

	// memoryPending bounds the events of one room that wait to be delivered.
	memoryPending = 256
	// memoryUnused is how many rooms are made between two looks for those that
	// nobody uses, when memory is short.
	memoryUnused = 4096
	// memoryTurn is how many events one publisher delivers, his own and others'.
	memoryTurn = 64
)

// MemoryConfig bounds a Memory. The zero value works.
type MemoryConfig struct {
	// Events, Bytes and Age bound the history of each room. 0: 1,000 events,
	// 1 MiB (by Event.Size), 10 minutes. Events < 0 keeps no history.
	Events int
	Bytes  int
	Age    time.Duration
	// IDs bounds the event ids that are remembered for each room; they are
	// remembered for Age. 0: 10,000.
	IDs int
	// TotalBytes bounds the memory of all rooms, as an estimate. Over it, the
	// oldest events go first, whatever room they are in. 0: 256 MiB.
	TotalBytes int64
}

// Memory is the Broker within one process. Nothing survives the process.
//
// A room exists while it has a subscription or history, and for Age after its
// last use, unless memory is short. A room made anew has a new epoch.
type Memory struct {
	// Static after NewMemory.
	cfg    MemoryConfig
	prefix string // of epochs; tells this Memory from any other
	seed   maphash.Seed
	closed chan struct{}
	wg     sync.WaitGroup // the sweep, and deliveries handed on by publishers

	epochs atomic.Uint64
	bytes  atomic.Int64  // estimate of all shards' memory
	scarce atomic.Int64  // time, in Unix seconds, of the last sweep for want of memory
	tidied atomic.Uint64 // epochs when the last dropUnused began
	shards [memoryShards]memShard
}

// memShard is the rooms whose names hash alike.
type memShard struct {
	memory *Memory
	// oldest is the time of the oldest event in Unix nanoseconds, 0 if there
	// is none: written under mu, read without.
	oldest atomic.Int64

	mu sync.Mutex
	// Guarded by mu, as is all of a memRoom.
	closed bool
	rooms  map[string]*memRoom
	events eventList // all rooms', oldest first
}

// NewMemory makes a Memory. Close it after use.
func NewMemory(cfg MemoryConfig) *Memory {
	cfg.Events = cmp.Or(cfg.Events, 1000)
	cfg.Bytes = cmp.Or(cfg.Bytes, 1<<20)
	cfg.Age = cmp.Or(cfg.Age, 10*time.Minute)
	cfg.IDs = cmp.Or(cfg.IDs, 10_000)
	cfg.TotalBytes = cmp.Or(cfg.TotalBytes, 256<<20)
	var random [8]byte
	_, _ = rand.Read(random[:]) // it never fails
	random[0] &= 0x7f           // so that the first character is a letter: on a command line "-" would begin a flag
	m := &Memory{
		cfg:    cfg,
		prefix: base64.RawURLEncoding.EncodeToString(random[:]) + "-",
		seed:   maphash.MakeSeed(),
		closed: make(chan struct{}),
	}
	for i := range m.shards {
		m.shards[i].memory = m
		m.shards[i].rooms = make(map[string]*memRoom)
	}
	m.wg.Go(m.sweeper)
	return m
}

// Close drops everything and waits for the Memory's goroutines. Publishers
// that wait get GOING_AWAY. Close the hub first.
func (m *Memory) Close() error {
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.Lock()
		if sh.closed { // by another call, which does the rest
			sh.mu.Unlock()
			m.wg.Wait()
			return nil
		}
		sh.closed = true
		for _, r := range sh.rooms {
			r.unsubscribe()
		}
		clear(sh.rooms)
		sh.events = eventList{}
		sh.mu.Unlock()
	}
	close(m.closed)
	m.wg.Wait()
	return nil
}

func (m *Memory) shard(room string) *memShard {
	return &m.shards[maphash.String(m.seed, room)%memoryShards]
}

// Publish implements Broker. Where the room's readers are behind, it waits; one
// publisher at a time delivers what the others have appended.
func (m *Memory) Publish(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error) {
	if err := ctx.Err(); err != nil {
		return holdfast.Position{}, err
	}
	kept := newKept(ev)
	sh := m.shard(ev.Room)
	for {
		sh.mu.Lock()
		if sh.closed {
			sh.mu.Unlock()
			return holdfast.Position{}, holdfast.GoingAway.New()
		}
		r := sh.room(ev.Room)
		if ev.ID != "" {
			if offset, ok := r.ids.find(ev); ok {
				pos := holdfast.Position{Epoch: r.epoch, Offset: offset}
				sh.mu.Unlock()
				return pos, nil
			}
		}
		if r.pending.len() >= memoryPending {
			space := r.waitSpace()
			sh.mu.Unlock()
			select {
			case <-space:
				continue
			case <-ctx.Done():
				return holdfast.Position{}, ctx.Err()
			}
		}
		r.append(kept, time.Now())
		pos := kept.event.Position
		receiver := r.receiver
		if receiver != nil && r.draining {
			r.pending.push(kept)
			receiver = nil
		} else if receiver != nil {
			r.draining = true
		}
		sh.mu.Unlock()
		m.trim()
		if receiver != nil {
			r.deliver(kept, receiver, memoryTurn)
		}
		return pos, nil
	}
}

// Subscribe implements Broker.
func (m *Memory) Subscribe(_ context.Context, room string, receiver Receiver) (holdfast.Position, error) {
	defer m.trim() // after the lock is released: the room may be new
	sh := m.shard(room)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closed {
		return holdfast.Position{}, holdfast.GoingAway.New()
	}
	r := sh.room(room)
	if r.receiver != nil {
		return holdfast.Position{}, holdfast.Errorf(holdfast.Conflict, "hub: the room is subscribed already")
	}
	r.receiver = receiver
	r.used = time.Now()
	return r.position(), nil
}

// Unsubscribe implements Broker.
func (m *Memory) Unsubscribe(_ context.Context, room string) error {
	sh := m.shard(room)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if r := sh.rooms[room]; r != nil {
		r.unsubscribe()
		r.used = time.Now()
	}
	return nil
}

// History implements Broker.
func (m *Memory) History(_ context.Context, room string, since *holdfast.Position, limit int) (History, error) {
	defer m.trim() // after the lock is released: the room may be new
	sh := m.shard(room)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closed {
		return History{}, holdfast.GoingAway.New()
	}
	r := sh.room(room)
	r.used = time.Now()
	r.expire(r.used.Add(-m.cfg.Age))
	return r.history(since, limit), nil
}

// room returns the room, made if need be. mu is held.
func (sh *memShard) room(name string) *memRoom {
	r := sh.rooms[name]
	if r == nil {
		m := sh.memory
		r = &memRoom{
			shard: sh,
			name:  name,
			epoch: m.prefix + strconv.FormatUint(m.epochs.Add(1), 36),
			used:  time.Now(),
		}
		sh.rooms[name] = r
		m.bytes.Add(r.cost())
	}
	return r
}

// sweeper expires what is old in all rooms, from time to time.
func (m *Memory) sweeper() {
	tick := time.NewTicker(min(max(m.cfg.Age/10, time.Second), time.Minute))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			m.sweep(time.Now().Add(-m.cfg.Age))
		case <-m.closed:
			return
		}
	}
}

// sweep drops events and ids from before cutoff, and rooms that are not in use
// and were not since.
func (m *Memory) sweep(cutoff time.Time) {
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.Lock()
		for name, r := range sh.rooms {
			r.expire(cutoff)
			if r.receiver == nil && !r.draining && r.events.len() == 0 && !r.used.After(cutoff) {
				r.ids.clear(m)
				m.bytes.Add(-r.cost())
				delete(sh.rooms, name)
			}
		}
		sh.mu.Unlock()
	}
}

// trim brings the memory within its bound. Rooms go first that were only asked
// about, since anybody may do that with any number of names; then the oldest
// events. If that is not enough, all ids and unused rooms go, but no more than
// once a second.
func (m *Memory) trim() {
	for m.bytes.Load() > m.cfg.TotalBytes {
		if m.dropUnused() {
			continue
		}
		var oldest *memShard
		var when int64
		for i := range m.shards {
			if t := m.shards[i].oldest.Load(); t != 0 && (oldest == nil || t < when) {
				oldest, when = &m.shards[i], t
			}
		}
		if oldest == nil {
			now := time.Now()
			if last := m.scarce.Load(); last != now.Unix() && m.scarce.CompareAndSwap(last, now.Unix()) {
				m.sweep(now)
			}
			return
		}
		oldest.mu.Lock()
		if e := oldest.events.first; e != nil {
			e.room.dropOldest()
		}
		oldest.mu.Unlock()
	}
}

// dropUnused drops the rooms that have nothing in them, nor anybody, if there
// may be many. It reports whether it did.
func (m *Memory) dropUnused() bool {
	before := m.tidied.Load()
	made := m.epochs.Load()
	if made-before < memoryUnused || !m.tidied.CompareAndSwap(before, made) {
		return false
	}
	for i := range m.shards {
		sh := &m.shards[i]
		sh.mu.Lock()
		for name, r := range sh.rooms {
			if r.receiver == nil && !r.draining && r.events.len() == 0 && r.ids.order.len() == 0 {
				m.bytes.Add(-r.cost())
				delete(sh.rooms, name)
			}
		}
		sh.mu.Unlock()
	}
	return true
}
