package brokertest

import (
	"context"
	"sync"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// Remote stands for a broker's server with several clients, all in memory: for
// tests of several nodes, and of a server that starts again. It is safe for
// concurrent use.
type Remote struct {
	cfg hub.MemoryConfig
	wg  sync.WaitGroup

	mu     sync.Mutex // guards what follows, and all feeds
	memory *hub.Memory
	feeds  map[string]*feed
}

// feed is a room of which some client wants to hear. It stays for good.
type feed struct {
	memory *hub.Memory // that it is subscribed to
	ready  chan struct{}
	boxes  map[*RemoteClient]*mailbox
}

// NewRemote makes a Remote within the bounds of cfg. Close it after its clients'
// hubs.
func NewRemote(cfg hub.MemoryConfig) *Remote {
	return &Remote{cfg: cfg, memory: hub.NewMemory(cfg), feeds: make(map[string]*feed)}
}

// Close ends it, and waits for its goroutines.
func (r *Remote) Close() error {
	r.mu.Lock()
	memory := r.memory
	for _, f := range r.feeds {
		for _, box := range f.boxes {
			box.close()
		}
	}
	r.mu.Unlock()
	err := memory.Close()
	r.wg.Wait()
	return err
}

// Restart is a server that starts again and has kept everything: what was on
// its way to the clients is lost, and they know.
func (r *Remote) Restart() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tell()
}

// Wipe is a server that starts again and has kept nothing.
func (r *Remote) Wipe() {
	fresh := hub.NewMemory(r.cfg)
	r.mu.Lock()
	old, names := r.memory, []string(nil)
	r.memory = fresh
	for name := range r.feeds {
		names = append(names, name)
	}
	r.mu.Unlock()
	_ = old.Close() // it only waits for deliveries, which don't wait
	for _, name := range names {
		_, _ = fresh.Subscribe(context.Background(), name, feedReceiver{r, name, fresh}) // fails if wiped again
	}
	r.Restart()
}

// tell drops what is on its way and says so. mu is held.
func (r *Remote) tell() {
	for _, f := range r.feeds {
		for _, box := range f.boxes {
			box.drop()
		}
	}
}

func (r *Remote) now() *hub.Memory {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.memory
}

// feedReceiver hands a room's events to the clients that want them.
type feedReceiver struct {
	r      *Remote
	room   string
	memory *hub.Memory
}

// Deliver implements hub.Receiver.
func (f feedReceiver) Deliver(ev *holdfast.Event, prev uint64) {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if f.r.memory != f.memory {
		return // of a server that is gone
	}
	for _, box := range f.r.feeds[f.room].boxes {
		box.put(func(to hub.Receiver) { to.Deliver(ev, prev) })
	}
}

// Stale implements hub.Receiver.
func (f feedReceiver) Stale() {}

// Client returns a new client of the server.
func (r *Remote) Client() *RemoteClient { return &RemoteClient{r} }

// RemoteClient is the hub.Broker of one node.
type RemoteClient struct{ r *Remote }

// Remote returns the server.
func (c *RemoteClient) Remote() *Remote { return c.r }

// Publish implements hub.Broker.
func (c *RemoteClient) Publish(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error) {
	return c.r.now().Publish(ctx, ev)
}

// History implements hub.Broker.
func (c *RemoteClient) History(ctx context.Context, room string, since *holdfast.Position, limit int) (hub.History, error) {
	return c.r.now().History(ctx, room, since, limit)
}

// Subscribe implements hub.Broker.
func (c *RemoteClient) Subscribe(ctx context.Context, room string, to hub.Receiver) (holdfast.Position, error) {
	r := c.r
	r.mu.Lock()
	f := r.feeds[room]
	first := f == nil
	if first {
		f = &feed{memory: r.memory, ready: make(chan struct{}), boxes: make(map[*RemoteClient]*mailbox)}
		r.feeds[room] = f
	}
	if f.boxes[c] != nil {
		r.mu.Unlock()
		return holdfast.Position{}, holdfast.Errorf(holdfast.Conflict, "brokertest: the room is subscribed already")
	}
	f.boxes[c] = newMailbox(&r.wg, to, func() {}, func([]func(hub.Receiver)) {})
	memory := f.memory
	r.mu.Unlock()
	if first {
		_, _ = memory.Subscribe(ctx, room, feedReceiver{r, room, memory}) // if it was wiped meanwhile, Wipe subscribes
		close(f.ready)
	}
	<-f.ready
	h, err := r.now().History(ctx, room, nil, 1)
	if err != nil {
		_ = c.Unsubscribe(ctx, room)
	}
	return h.Position, err
}

// Unsubscribe implements hub.Broker.
func (c *RemoteClient) Unsubscribe(_ context.Context, room string) error {
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	if f := c.r.feeds[room]; f != nil && f.boxes[c] != nil {
		f.boxes[c].close()
		delete(f.boxes, c)
	}
	return nil
}
