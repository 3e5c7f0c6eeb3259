package brokertest

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// ErrFault is the error of a call that FaultyBroker makes fail.
var ErrFault = errors.New("brokertest: a planned fault")

// Plan says how a FaultyBroker misbehaves. The zero value only passes on. All
// of it is within what hub.Broker allows, so that a hub must bear it.
type Plan struct {
	// Seed makes the choices; goroutines make them in an order of their own, so
	// only within a synctest bubble does a seed come near to a repeat.
	Seed uint64
	// Delay is the longest wait before a call is passed on, again before its
	// answer is, and before each delivery: answers of calls that overlap come out
	// of order, and history is read early and answered late. 0: none.
	Delay time.Duration
	// Fail is the probability that a call of Publish, Subscribe or History
	// returns ErrFault. Half of the failed publishes were appended all the same.
	Fail float64
	// Drop, Again and Late are the probabilities that an event is not delivered,
	// is delivered twice, or changes places with another that waits.
	Drop, Again, Late float64
	// Unknown is the probability that an event's prev is hub.UnknownOffset.
	Unknown float64
	// Stretch multiplies all offsets, so that they skip numbers. 0: 1. The
	// brokers of several nodes need the same one.
	Stretch uint64
}

// FaultyBroker is a broker that passes all on to another, with faults on the
// way. It is safe for concurrent use.
type FaultyBroker struct {
	broker hub.Broker
	plan   Plan
	dice   dice
	wg     sync.WaitGroup // of mailboxes

	mu   sync.Mutex // guards what follows
	cut  bool
	subs map[string]*mailbox
}

// dice make a FaultyBroker's choices.
type dice struct {
	mu     sync.Mutex // guards what follows; nothing else is locked under it
	rng    *rand.Rand
	healed bool
}

// chance is true with probability p, until the dice are healed.
func (d *dice) chance(p float64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.healed && d.rng.Float64() < p
}

// upTo returns a number below n, 0 once healed.
func (d *dice) upTo(n int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.healed || n <= 0 {
		return 0
	}
	return d.rng.Int64N(n)
}

// Faulty wraps b, which stays its maker's to close, and after Wait.
func Faulty(b hub.Broker, plan Plan) *FaultyBroker {
	plan.Stretch = max(plan.Stretch, 1)
	f := &FaultyBroker{broker: b, plan: plan, subs: make(map[string]*mailbox)}
	f.dice.rng = rand.New(rand.NewPCG(plan.Seed, 0))
	return f
}

// Cut takes the broker away: calls fail, and deliveries are lost.
func (f *FaultyBroker) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cut = true
}

// Restore ends a Cut, and tells the receivers as a broker must. Without a Cut
// it is a connection lost and found in one moment.
func (f *FaultyBroker) Restore() {
	f.mu.Lock()
	f.cut = false
	boxes := slices.Collect(maps.Values(f.subs))
	f.mu.Unlock()
	for _, box := range boxes {
		box.drop()
	}
}

// Heal ends the Plan's faults for good, and a Cut, and tells the receivers.
func (f *FaultyBroker) Heal() {
	f.dice.mu.Lock()
	f.dice.healed = true
	f.dice.mu.Unlock()
	f.Restore()
}

// Subscriptions returns how many there are.
func (f *FaultyBroker) Subscriptions() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subs)
}

// Wait waits for the goroutines of ended subscriptions. Call it when all are.
func (f *FaultyBroker) Wait() { f.wg.Wait() }

// pause waits for up to Delay.
func (f *FaultyBroker) pause(ctx context.Context) error {
	d := time.Duration(f.dice.upTo(int64(f.plan.Delay)))
	if d == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// before is the way of a call to the broker.
func (f *FaultyBroker) before(ctx context.Context) error {
	if err := f.pause(ctx); err != nil {
		return err
	}
	if f.isCut() {
		return ErrFault
	}
	return nil
}

func (f *FaultyBroker) isCut() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cut
}

// after is the way of its answer.
func (f *FaultyBroker) after(ctx context.Context) error {
	if err := f.before(ctx); err != nil {
		return err
	}
	if f.dice.chance(f.plan.Fail / 2) {
		return ErrFault
	}
	return nil
}

// Publish implements hub.Broker.
func (f *FaultyBroker) Publish(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error) {
	if err := f.before(ctx); err != nil {
		return holdfast.Position{}, err
	}
	if f.dice.chance(f.plan.Fail / 2) {
		return holdfast.Position{}, ErrFault
	}
	pos, err := f.broker.Publish(ctx, ev)
	if err != nil {
		return holdfast.Position{}, err
	}
	if err := f.after(ctx); err != nil {
		return holdfast.Position{}, err
	}
	return f.out(pos), nil
}

// Subscribe implements hub.Broker.
func (f *FaultyBroker) Subscribe(ctx context.Context, room string, r hub.Receiver) (holdfast.Position, error) {
	if err := f.before(ctx); err != nil {
		return holdfast.Position{}, err
	}
	if f.dice.chance(f.plan.Fail) {
		return holdfast.Position{}, ErrFault
	}
	box := newMailbox(&f.wg, r, func() { _ = f.pause(context.Background()) }, f.shuffle)
	f.mu.Lock()
	f.subs[room] = box
	f.mu.Unlock()
	pos, err := f.broker.Subscribe(ctx, room, faultyReceiver{f, box})
	if err != nil {
		box.close()
		f.mu.Lock()
		delete(f.subs, room)
		f.mu.Unlock()
		return holdfast.Position{}, err
	}
	_ = f.pause(context.Background()) // events may come before the position
	return f.out(pos), nil
}

// Unsubscribe implements hub.Broker.
func (f *FaultyBroker) Unsubscribe(ctx context.Context, room string) error {
	f.mu.Lock()
	box := f.subs[room]
	delete(f.subs, room)
	f.mu.Unlock()
	if box != nil {
		box.close()
	}
	return f.broker.Unsubscribe(ctx, room)
}

// History implements hub.Broker.
func (f *FaultyBroker) History(ctx context.Context, room string, since *holdfast.Position, limit int) (hub.History, error) {
	if err := f.before(ctx); err != nil {
		return hub.History{}, err
	}
	if f.dice.chance(f.plan.Fail / 2) {
		return hub.History{}, ErrFault
	}
	h, err := f.broker.History(ctx, room, f.in(since), limit)
	if err != nil {
		return hub.History{}, err
	}
	if err := f.after(ctx); err != nil {
		return hub.History{}, err
	}
	h.Position = f.out(h.Position)
	if since != nil && since.Epoch == h.Position.Epoch && since.Offset > h.Position.Offset {
		return hub.History{Position: h.Position}, nil // a position between two of ours, ahead of the last
	}
	events := make([]*holdfast.Event, len(h.Events))
	for i, ev := range h.Events {
		events[i] = f.event(ev)
	}
	h.Events = events
	return h, nil
}

// in and out turn positions of callers into the broker's, and back.
func (f *FaultyBroker) in(pos *holdfast.Position) *holdfast.Position {
	if pos == nil {
		return nil
	}
	return &holdfast.Position{Epoch: pos.Epoch, Offset: pos.Offset / f.plan.Stretch}
}

func (f *FaultyBroker) out(pos holdfast.Position) holdfast.Position {
	pos.Offset *= f.plan.Stretch
	return pos
}

func (f *FaultyBroker) event(ev *holdfast.Event) *holdfast.Event {
	if f.plan.Stretch == 1 {
		return ev
	}
	own := *ev
	own.Position = f.out(ev.Position)
	return &own
}

// shuffle lets two deliveries that wait change places.
func (f *FaultyBroker) shuffle(queue []func(hub.Receiver)) {
	if n := int64(len(queue)); n > 1 && f.dice.chance(f.plan.Late) {
		i, j := f.dice.upTo(n), f.dice.upTo(n)
		queue[i], queue[j] = queue[j], queue[i]
	}
}

// faultyReceiver is what the broker delivers to.
type faultyReceiver struct {
	f   *FaultyBroker
	box *mailbox
}

// Deliver implements hub.Receiver.
func (r faultyReceiver) Deliver(ev *holdfast.Event, prev uint64) {
	f := r.f
	if f.isCut() || f.dice.chance(f.plan.Drop) {
		return
	}
	if prev != hub.UnknownOffset {
		prev *= f.plan.Stretch
	}
	if f.dice.chance(f.plan.Unknown) {
		prev = hub.UnknownOffset
	}
	own := f.event(ev)
	deliver := func(to hub.Receiver) { to.Deliver(own, prev) }
	r.box.put(deliver)
	if f.dice.chance(f.plan.Again) {
		r.box.put(deliver)
	}
}

// Stale implements hub.Receiver.
func (r faultyReceiver) Stale() {
	if !r.f.isCut() { // Restore says it
		r.box.put(hub.Receiver.Stale)
	}
}
