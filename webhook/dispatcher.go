package webhook

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-dev/holdfast"
)

// Dispatcher tells targets what happens, and asks them what may happen. It is
// safe for concurrent use.
//
// Connected, Disconnected, Joined, Left and Published return when the outbox
// has what is to be told, or can't take it, which is logged and observed as
// well. Their calls are written together, many in one transaction.
type Dispatcher struct {
	// Static after New.
	cfg     Config
	log     *slog.Logger
	tracer  trace.Tracer
	targets []*target
	// volatile says that the outbox ends with the process, so that Shutdown
	// tries what is due once more.
	volatile bool

	adds     chan add
	couriers []*courier
	seq      sequence

	mu      sync.Mutex // guards what follows
	stopped bool
	running sync.WaitGroup // calls that put something into adds

	// Owned by Shutdown.
	once    sync.Once
	drain   chan struct{}      // closed: no more claims of what is not due
	cut     context.CancelFunc // ends deliveries and questions
	ctx     context.Context    // ended by cut
	done    sync.WaitGroup     // of the couriers
	written chan struct{}      // closed by the writer at its end
}

// New makes a Dispatcher and starts delivering what is in the outbox. Shutdown
// ends it. The error names the field that is wrong.
func New(cfg Config) (*Dispatcher, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	d := &Dispatcher{
		cfg: cfg, log: cfg.Logger, tracer: cfg.TracerProvider.Tracer("github.com/holdfast-dev/holdfast/webhook"),
		adds: make(chan add), drain: make(chan struct{}), written: make(chan struct{}),
	}
	_, d.volatile = cfg.Outbox.(*Memory)
	for _, t := range cfg.Targets {
		ready, err := t.ready(cfg)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(d.targets, func(o *target) bool { return o.Name == ready.Name }) {
			return nil, holdfast.Errorf(holdfast.InvalidArgument, "webhook: there are two targets named %s: give them names of their own", ready.Name)
		}
		d.targets = append(d.targets, ready)
	}
	d.ctx, d.cut = context.WithCancel(context.Background())
	for _, t := range d.targets {
		if len(t.Events) > 0 {
			c := newCourier(d, t)
			d.couriers = append(d.couriers, c)
			d.done.Go(c.run)
		}
	}
	go d.write()
	return d, nil
}

// Tells reports whether any target is told of this type; where none is, there
// is no need to call.
func (d *Dispatcher) Tells(what Type) bool {
	return slices.ContainsFunc(d.targets, func(t *target) bool { return slices.Contains(t.Events, what) })
}

// Connected tells that a connection was admitted.
func (d *Dispatcher) Connected(ctx context.Context, c Connection) error {
	return d.tell(ctx, TypeConnected, "", c.Peer.Connection, c)
}

// Disconnected tells that a connection is gone.
func (d *Dispatcher) Disconnected(ctx context.Context, c Connection) error {
	return d.tell(ctx, TypeDisconnected, "", c.Peer.Connection, c)
}

// Joined tells that a connection has joined a room.
func (d *Dispatcher) Joined(ctx context.Context, m Membership) error {
	return d.tell(ctx, TypeJoined, m.Room, m.Peer.Connection, m)
}

// Left tells that a connection is no longer in a room.
func (d *Dispatcher) Left(ctx context.Context, m Membership) error {
	return d.tell(ctx, TypeLeft, m.Room, m.Peer.Connection, m)
}

// Published tells of an event that is in its room's order.
func (d *Dispatcher) Published(ctx context.Context, ev *holdfast.Event) error {
	if !d.wanted(TypePublished, ev.Room) {
		return nil
	}
	data, err := portable(ev.Data, ev.Attachments)
	if err != nil {
		return d.dropped(ctx, TypePublished, d.wanting(TypePublished, ev.Room), err)
	}
	return d.tell(ctx, TypePublished, ev.Room, "room "+ev.Room, Publication{
		Room: ev.Room, Event: ev.Name, Data: data, Epoch: ev.Position.Epoch, Offset: ev.Position.Offset, ID: ev.ID, From: ev.From,
	})
}

func (d *Dispatcher) wanted(what Type, room string) bool {
	return slices.ContainsFunc(d.targets, func(t *target) bool { return t.wants(what, room) })
}

func (d *Dispatcher) wanting(what Type, room string) (names []string) {
	for _, t := range d.targets {
		if t.wants(what, room) {
			names = append(names, t.Name)
		}
	}
	return names
}

// tell puts a message into the outbox, once for each target that wants it.
func (d *Dispatcher) tell(ctx context.Context, what Type, room, about string, data any) error {
	names := d.wanting(what, room)
	if len(names) == 0 {
		return nil
	}
	now := time.Now()
	entries := make([]Entry, len(names))
	for i, name := range names {
		id := newID()
		body, err := encode(id, what, now, data)
		if err != nil {
			return d.dropped(ctx, what, names, err)
		}
		entries[i] = Entry{ID: id, Target: name, Type: what, Key: about, Body: body, Time: now}
	}
	if err := d.add(ctx, entries); err != nil {
		return d.dropped(ctx, what, names, err)
	}
	return nil
}

// dropped says that a message will not be delivered.
func (d *Dispatcher) dropped(ctx context.Context, what Type, names []string, err error) error {
	d.log.ErrorContext(ctx, "webhook dropped", "type", string(what), "targets", names, "err", err)
	for _, name := range names {
		d.cfg.Observe(Result{Target: name, Type: what, Outcome: Dropped})
	}
	return err
}

// Shutdown takes nothing more, stores what it has taken, and waits for the
// deliveries that are running; with an outbox in memory also for one attempt of
// what is due. When ctx ends first they are cut off and stay in the outbox, and
// ctx's error is returned. Repeating it changes nothing.
func (d *Dispatcher) Shutdown(ctx context.Context) (err error) {
	d.once.Do(func() {
		defer context.AfterFunc(ctx, d.cut)()
		d.mu.Lock()
		d.stopped = true
		d.mu.Unlock()
		d.running.Wait() // each ends within addTimeout
		close(d.adds)
		<-d.written
		close(d.drain)
		d.done.Wait()
		if d.ctx.Err() != nil {
			err = ctx.Err()
		}
		d.cut()
		for _, t := range d.targets {
			t.caller.close()
		}
		if m, ok := d.cfg.Outbox.(*Memory); ok && m.Len() > 0 {
			d.log.Warn("webhooks are lost that were not delivered: the outbox is in memory", "count", m.Len())
		}
	})
	return err
}

var errStopped = errors.New("webhook: the dispatcher was shut down")
