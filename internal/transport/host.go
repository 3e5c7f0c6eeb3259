package transport

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

// host is what an Engine and a Plain are made of: their sessions, and what
// those run on.
type host struct {
	// Static after construction.
	cfg    EngineConfig // with defaults; what only Engine.IO needs is idle in a Plain
	plain  bool         // no Engine.IO: messages are WebSocket messages, pings its control frames
	binary bool         // of a plain one: binary messages are delivered
	start  time.Time
	clock  func() instant // now
	ping   *hub.Frame     // nil if plain
	pack   *deflater      // nil without compression

	pool     wsframe.Buffers
	attempts sync.Pool // of *attempt
	shards   []shard   // static; they write
	loops    []loop    // static; they read. Empty: goroutines do
	watch    watch
	sockets  atomic.Uint64 // made so far

	// wg counts sessions, goroutines, and requests being answered. It is added
	// to only under mu before closed is set, or while one is counted already.
	wg sync.WaitGroup

	mu     sync.Mutex
	conns  map[string]*Conn // guarded by mu
	closed bool             // guarded by mu
}

func newHost(cfg EngineConfig) *host {
	h := &host{cfg: cfg, start: time.Now(), conns: make(map[string]*Conn)}
	h.clock = h.now
	h.watch.stopped = make(chan struct{})
	h.shards = newShards(runtime.GOMAXPROCS(0), &h.wg)
	if hasPoller && !cfg.ReaderEach {
		h.loops = newLoops(h, runtime.GOMAXPROCS(0))
	}
	if cfg.Compression {
		h.pack = newDeflater(cfg.CompressFrom)
	}
	return h
}

// Len returns the number of sessions, those included that are being closed.
func (h *host) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.conns)
}

// Close refuses new sessions with GOING_AWAY and closes all others with it,
// after what is queued for them. It waits until all of them have ended and no
// goroutine is left, or until ctx ends: then it cuts what is still open and
// returns ctx's error. Further calls do the same again.
func (h *host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	last := len(h.conns) == 0
	h.mu.Unlock()
	if last {
		h.stopAll()
	}
	return drainAll(ctx, h.all, &h.wg)
}

func (h *host) all() []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	conns := make([]*Conn, 0, len(h.conns))
	for _, c := range h.conns {
		conns = append(conns, c)
	}
	return conns
}

// enter counts a request that may open a session; leave ends it.
func (h *host) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Add(1)
	return true
}

// find returns a session and counts the request for it, or nil.
func (h *host) find(sid string) *Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.conns[sid]
	if c != nil {
		h.wg.Add(1)
	}
	return c
}

func (h *host) leave() { h.wg.Done() }

// register makes a session known; false if the engine was closed meanwhile.
func (h *host) register(c *Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.conns[c.id] = c
	h.wg.Add(1)
	return true
}

// forget is called once for each registered session, when nothing more will
// be started for it.
func (h *host) forget(c *Conn) {
	h.mu.Lock()
	delete(h.conns, c.id)
	last := h.closed && len(h.conns) == 0
	h.mu.Unlock()
	if last {
		h.stopAll()
	}
	h.wg.Done()
}

// stopAll ends the writers and the loops. It is called when the host is closed and has no
// sessions, and so will have none.
func (h *host) stopAll() {
	for i := range h.shards {
		h.shards[i].stop()
	}
	for i := range h.loops {
		h.loops[i].stop()
	}
	h.watch.stop.Do(func() { close(h.watch.stopped) })
}

// instant is a time since the start of the host: short to store and to
// compare. 0 means never.
type instant time.Duration

func (h *host) now() instant { return instant(time.Since(h.start)) }

func (i instant) add(d time.Duration) instant { return i + instant(d) }

// open makes a session for r and asks Open about it.
func (h *host) open(r *http.Request, poll *polling) (*Conn, error) {
	c := &Conn{
		host:       h,
		id:         newSID(h.cfg.Node),
		request:    newRequest(r),
		poll:       poll,
		delivering: true, // until Open has returned, so that Closed comes after it
	}
	c.queue.Limit, c.queue.Drops = h.cfg.QueueBytes, h.cfg.Drops
	if poll != nil {
		poll.posted.L = &c.mu
	}
	receiver, err := h.cfg.Open(c)
	if err == nil && receiver == nil {
		err = holdfast.Errorf(holdfast.Internal, "Open returned no receiver")
	}
	if err != nil {
		c.end(ending{err: holdfast.AsError(err)}) // for its context
		return nil, err
	}
	c.receiver = receiver
	if err := c.begin(); err != nil {
		return nil, err
	}
	return c, nil
}

// refuse answers r with an error.
func (h *host) refuse(w http.ResponseWriter, r *http.Request, err error) {
	h.log(err)
	httpjson.WriteError(w, r, err)
}

// log notes a refusal.
func (h *host) log(err error) { logRefusal(h.cfg.Logger, "session", err) }
