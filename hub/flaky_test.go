package hub

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// flakyBroker does everything badly that a Broker may do badly: history is slow
// or fails, live events get lost, come again, late or out of order, and rooms
// restart in a new epoch. It skips offsets and keeps little.
type flakyBroker struct {
	drop, again, late, fail float64 // probabilities
	slow                    time.Duration
	keep                    int

	mu    sync.Mutex
	rng   *rand.Rand
	rooms map[string]*flakyRoom
	logs  map[string][]*holdfast.Event // all events there ever were, by epoch
	wg    sync.WaitGroup
}

type flakyRoom struct {
	epoch   string
	last    uint64
	trimmed uint64 // offset of the last event not kept
	log     []*holdfast.Event
	sub     *flakySub
}

// flakySub delivers in its own goroutine.
type flakySub struct {
	receiver Receiver
	queue    []func(Receiver)
	wake     chan struct{}
	done     chan struct{}
}

var errFlaky = errors.New("flaky")

func newFlaky(seed uint64) *flakyBroker {
	return &flakyBroker{
		rng:   rand.New(rand.NewPCG(seed, 0)),
		rooms: make(map[string]*flakyRoom),
		logs:  make(map[string][]*holdfast.Event),
	}
}

// room returns the room. mu is held.
func (b *flakyBroker) room(name string) *flakyRoom {
	r := b.rooms[name]
	if r == nil {
		r = &flakyRoom{epoch: fmt.Sprintf("%s-%d", name, b.rng.Uint32())}
		b.rooms[name] = r
	}
	return r
}

// pause waits for up to slow.
func (b *flakyBroker) pause(ctx context.Context) error {
	b.mu.Lock()
	d := time.Duration(b.rng.Int64N(int64(b.slow) + 1))
	b.mu.Unlock()
	return wait(ctx, d)
}

func (b *flakyBroker) chance(p float64) bool { return b.rng.Float64() < p }

func (b *flakyBroker) Publish(_ context.Context, ev *holdfast.Event) (holdfast.Position, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.room(ev.Room)
	prev := r.last
	r.last += 1 + uint64(b.rng.IntN(3))
	own := *ev
	own.Position = holdfast.Position{Epoch: r.epoch, Offset: r.last}
	b.logs[r.epoch] = append(b.logs[r.epoch], &own)
	if r.log = append(r.log, &own); len(r.log) > b.keep {
		r.trimmed = r.log[0].Position.Offset
		r.log = slices.Clone(r.log[1:])
	}
	if b.chance(0.1) {
		prev = UnknownOffset
	}
	if r.sub == nil || b.chance(b.drop) {
		return own.Position, nil
	}
	deliver := func(to Receiver) { to.Deliver(&own, prev) }
	r.sub.put(deliver)
	if b.chance(b.again) {
		r.sub.put(deliver)
	}
	if q := r.sub.queue; len(q) > 1 && b.chance(b.late) {
		i, j := b.rng.IntN(len(q)), b.rng.IntN(len(q))
		q[i], q[j] = q[j], q[i]
	}
	return own.Position, nil
}

// put is called with the broker's mu held.
func (s *flakySub) put(call func(Receiver)) {
	s.queue = append(s.queue, call)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (b *flakyBroker) Subscribe(ctx context.Context, room string, receiver Receiver) (holdfast.Position, error) {
	if err := b.pause(ctx); err != nil {
		return holdfast.Position{}, err
	}
	b.mu.Lock()
	if b.chance(b.fail) {
		b.mu.Unlock()
		return holdfast.Position{}, errFlaky
	}
	r := b.room(room)
	if r.sub != nil {
		panic("subscribed twice")
	}
	sub := &flakySub{receiver: receiver, wake: make(chan struct{}, 1), done: make(chan struct{})}
	r.sub = sub
	b.wg.Go(func() { b.run(sub) })
	b.mu.Unlock()
	_ = b.pause(context.WithoutCancel(ctx)) // events may come before the position
	b.mu.Lock()
	defer b.mu.Unlock()
	return holdfast.Position{Epoch: r.epoch, Offset: r.last}, nil
}

func (b *flakyBroker) run(s *flakySub) {
	for {
		b.mu.Lock()
		var call func(Receiver)
		if len(s.queue) > 0 {
			call = s.queue[0]
			s.queue = s.queue[1:]
		}
		b.mu.Unlock()
		if call == nil {
			select {
			case <-s.wake:
				continue
			case <-s.done:
				return
			}
		}
		_ = b.pause(context.Background())
		call(s.receiver)
	}
}

func (b *flakyBroker) Unsubscribe(_ context.Context, room string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.rooms[room]
	r.sub.queue = nil
	close(r.sub.done)
	r.sub = nil
	return nil
}

func (b *flakyBroker) History(ctx context.Context, room string, since *holdfast.Position, _ int) (History, error) {
	if err := b.pause(ctx); err != nil {
		return History{}, err
	}
	b.mu.Lock()
	if b.chance(b.fail) {
		b.mu.Unlock()
		return History{}, errFlaky
	}
	r := b.room(room)
	h := History{Position: holdfast.Position{Epoch: r.epoch, Offset: r.last}}
	if since.Epoch == r.epoch && since.Offset >= r.trimmed && since.Offset <= r.last {
		h.Recovered = true
		for _, ev := range r.log {
			if ev.Position.Offset > since.Offset {
				h.Events = append(h.Events, ev)
			}
		}
	}
	b.mu.Unlock()
	return h, b.pause(ctx) // the answer takes its time
}

// restart loses a room's events. It may say so at once, or leave it to the next
// event.
func (b *flakyBroker) restart(room string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	sub := b.room(room).sub
	delete(b.rooms, room)
	r := b.room(room)
	if r.sub = sub; sub != nil && b.chance(0.5) {
		sub.put(Receiver.Stale)
	}
}

// heal ends the misbehaviour and does what a broker owes after it.
func (b *flakyBroker) heal() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop, b.again, b.late, b.fail = 0, 0, 0, 0
	for _, r := range b.rooms {
		if r.sub != nil {
			r.sub.put(Receiver.Stale)
		}
	}
}
