package brokertest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// planter decides which of the things that go by it is spoilt: one, or in a
// storm, where a member may be gone before it matters, each so manieth.
type planter struct {
	mu    sync.Mutex
	n     int
	every bool
}

// now reports whether it is to be this one; at is which one, and how many lie
// between them.
func (p *planter) now(at int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
	return p.n == at || p.every && p.n%at == 0
}

// sinkFunc is a sink that sends what spoil makes of each frame.
type sinkFunc struct {
	to    hub.Sink
	spoil func(ev stormFrame, send func(stormFrame))
}

// Send implements hub.Sink.
func (s sinkFunc) Send(f *hub.Frame) bool {
	var ev stormFrame
	if err := json.Unmarshal(f.Text, &ev); err != nil {
		panic(err)
	}
	ok := true
	s.spoil(ev, func(ev stormFrame) {
		text, _ := json.Marshal(ev)
		ok = s.to.Send(&hub.Frame{Text: text}) && ok
	})
	return ok
}

// brokerFuncs is a broker of which some calls are spoilt.
type brokerFuncs struct {
	hub.Broker
	deliver func(ev *holdfast.Event, prev uint64, to hub.Receiver)
	publish func(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error)
	history func(h hub.History, since *holdfast.Position) hub.History
	start   func(pos holdfast.Position) holdfast.Position
}

type receiverFuncs struct {
	hub.Receiver
	deliver func(ev *holdfast.Event, prev uint64, to hub.Receiver)
}

func (r receiverFuncs) Deliver(ev *holdfast.Event, prev uint64) { r.deliver(ev, prev, r.Receiver) }

func (b brokerFuncs) Publish(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error) {
	if b.publish == nil {
		return b.Broker.Publish(ctx, ev)
	}
	return b.publish(ctx, ev)
}

func (b brokerFuncs) Subscribe(ctx context.Context, room string, r hub.Receiver) (holdfast.Position, error) {
	if b.deliver != nil {
		r = receiverFuncs{r, b.deliver}
	}
	pos, err := b.Broker.Subscribe(ctx, room, r)
	if err == nil && b.start != nil {
		pos = b.start(pos)
	}
	return pos, err
}

func (b brokerFuncs) History(ctx context.Context, room string, since *holdfast.Position, limit int) (hub.History, error) {
	h, err := b.Broker.History(ctx, room, since, limit)
	if err == nil && b.history != nil {
		h = b.history(h, since)
	}
	return h, err
}

// plant is a fault, and the rules by which it can be found.
type plant struct {
	name   string
	rules  []string
	sink   func(p *planter) func(hub.Sink) hub.Sink
	broker func(p *planter) func(hub.Broker) hub.Broker
	stormy bool // it matters only in a storm
	calm   bool // in a storm it may not matter
	keep   int  // events of history, where it matters
}

// spoilSink makes a plant's sink of what happens to an event.
func spoilSink(spoil func(p *planter, ev stormFrame, send func(stormFrame))) func(*planter) func(hub.Sink) hub.Sink {
	return func(p *planter) func(hub.Sink) hub.Sink {
		return func(to hub.Sink) hub.Sink {
			return sinkFunc{to, func(ev stormFrame, send func(stormFrame)) { spoil(p, ev, send) }}
		}
	}
}

func spoilBroker(spoil func(p *planter, b *brokerFuncs)) func(*planter) func(hub.Broker) hub.Broker {
	return func(p *planter) func(hub.Broker) hub.Broker {
		return func(to hub.Broker) hub.Broker {
			b := &brokerFuncs{Broker: to}
			spoil(p, b)
			return b
		}
	}
}

func plants() []plant {
	return []plant{
		{name: "an event lost on its way to a member", rules: []string{"gap", "replay", "behind"},
			sink: spoilSink(func(p *planter, ev stormFrame, send func(stormFrame)) {
				if !p.now(50) {
					send(ev)
				}
			})},
		{name: "an event doubled on its way to a member", rules: []string{"again", "replay"},
			sink: spoilSink(func(p *planter, ev stormFrame, send func(stormFrame)) {
				if p.now(50) {
					send(ev)
				}
				send(ev)
			})},
		{name: "two events swapped on their way to a member", rules: []string{"again", "gap", "replay"}, sink: swapSink},
		{name: "an event of another epoch", rules: []string{"epoch", "replay"},
			sink: spoilSink(func(p *planter, ev stormFrame, send func(stormFrame)) {
				if p.now(50) {
					ev.At.Epoch += "x"
				}
				send(ev)
			})},
		{name: "an event of another room", rules: []string{"nowhere"},
			sink: spoilSink(func(p *planter, ev stormFrame, send func(stormFrame)) {
				if p.now(50) {
					ev.Room = stormRooms()[(slices.Index(stormRooms(), ev.Room)+1)%2]
				}
				send(ev)
			})},
		{name: "another event at the same place", rules: []string{"conflict"},
			sink: spoilSink(func(p *planter, ev stormFrame, send func(stormFrame)) {
				if p.now(50) {
					ev.V = "p0.0/0"
				}
				send(ev)
			})},
		{name: "an event lost by a broker that says nothing", rules: []string{"gap", "behind", "replay"}, broker: loseInSilence},
		{name: "an event acknowledged and dropped", rules: []string{"gap", "behind", "replay", "lost"}, broker: spoilBroker(func(p *planter, b *brokerFuncs) {
			b.publish = func(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error) {
				if p.now(20) {
					h, err := b.Broker.History(ctx, ev.Room, nil, 1)
					return holdfast.Position{Epoch: h.Position.Epoch, Offset: h.Position.Offset + 1}, err // with Stretch, nobody is there
				}
				return b.Broker.Publish(ctx, ev)
			}
		})},
		{name: "a repeat that is appended again", rules: []string{"twice"}, broker: spoilBroker(func(_ *planter, b *brokerFuncs) {
			var n int
			var mu sync.Mutex
			b.publish = func(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error) {
				own := *ev
				mu.Lock()
				n++
				if own.ID != "" {
					own.ID = fmt.Sprint(n)
				}
				mu.Unlock()
				return b.Broker.Publish(ctx, &own)
			}
		})},
		{name: "a subscription that begins too late", rules: []string{"gap", "replay", "behind"}, calm: true, broker: spoilBroker(func(_ *planter, b *brokerFuncs) {
			b.start = func(pos holdfast.Position) holdfast.Position {
				pos.Offset += 7 // the next event's
				return pos
			}
		})},
		{name: "history without one of its events", rules: []string{"replay", "gap"}, stormy: true, broker: spoilBroker(func(p *planter, b *brokerFuncs) {
			b.history = func(h hub.History, _ *holdfast.Position) hub.History {
				if n := len(h.Events); n > 2 && p.now(3) {
					h.Events = slices.Delete(slices.Clone(h.Events), n/2, n/2+1)
				}
				return h
			}
		})},
		{name: "history said to be whole that is not", rules: []string{"replay", "gap", "behind"}, stormy: true, keep: 3, broker: spoilBroker(func(_ *planter, b *brokerFuncs) {
			b.history = func(h hub.History, since *holdfast.Position) hub.History {
				h.Recovered = h.Recovered || since.Epoch == h.Position.Epoch
				return h
			}
		})},
		{name: "one name for all epochs", rules: []string{"conflict", "again", "gap", "replay"}, stormy: true, broker: spoilBroker(func(_ *planter, b *brokerFuncs) { oneEpoch(b) })},
	}
}

// swapSink holds an event back until the next of its room.
func swapSink(p *planter) func(hub.Sink) hub.Sink {
	return func(to hub.Sink) hub.Sink {
		var mu sync.Mutex
		held := make(map[string]stormFrame)
		return sinkFunc{to, func(ev stormFrame, send func(stormFrame)) {
			mu.Lock()
			first, ok := held[ev.Room]
			if !ok && p.now(50) {
				held[ev.Room] = ev
				mu.Unlock()
				return
			}
			delete(held, ev.Room)
			mu.Unlock()
			send(ev)
			if ok {
				send(first)
			}
		}}
	}
}

// loseInSilence drops deliveries, and makes the next one say that it follows on
// what was before.
func loseInSilence(p *planter) func(hub.Broker) hub.Broker {
	return spoilBroker(func(p *planter, b *brokerFuncs) {
		var mu sync.Mutex
		hide := make(map[string]uint64) // by room: prev of what was dropped, until the next
		b.deliver = func(ev *holdfast.Event, prev uint64, to hub.Receiver) {
			mu.Lock()
			if p.now(20) {
				if _, ok := hide[ev.Room]; !ok {
					hide[ev.Room] = prev
				}
				mu.Unlock()
				return
			}
			if before, ok := hide[ev.Room]; ok {
				prev = before
				delete(hide, ev.Room)
			}
			mu.Unlock()
			to.Deliver(ev, prev)
		}
	})(p)
}

// oneEpoch gives all epochs the same name.
func oneEpoch(b *brokerFuncs) {
	const name = "always"
	rename := func(ev *holdfast.Event) *holdfast.Event {
		own := *ev
		own.Position.Epoch = name
		return &own
	}
	b.publish = func(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error) {
		pos, err := b.Broker.Publish(ctx, ev)
		pos.Epoch = name
		return pos, err
	}
	b.deliver = func(ev *holdfast.Event, prev uint64, to hub.Receiver) { to.Deliver(rename(ev), prev) }
	b.start = func(pos holdfast.Position) holdfast.Position {
		pos.Epoch = name
		return pos
	}
	b.history = func(h hub.History, since *holdfast.Position) hub.History {
		h.Position.Epoch = name
		h.Recovered = since == nil || since.Offset <= h.Position.Offset
		events := make([]*holdfast.Event, len(h.Events))
		for i, ev := range h.Events {
			events[i] = rename(ev)
		}
		h.Events = events
		return h
	}
}

// TestPlanted: the checker finds each planted fault, whatever the seed; and
// TestStorm, which is the same without, shows that it finds nothing else.
func TestPlanted(t *testing.T) {
	const seeds = 8
	for _, c := range plants() {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(seeds) {
				for _, calm := range []bool{true, false} {
					if calm && c.stormy || !calm && c.calm {
						continue
					}
					synctest.Test(t, func(t *testing.T) {
						report := gale(t, seed, func(s *storm, plan *Plan, keep *hub.MemoryConfig) {
							p := &planter{every: !calm}
							if c.sink != nil {
								s.sink = c.sink(p)
							}
							if c.broker != nil {
								s.broker = c.broker(p)
							}
							plan.Stretch = 7
							if c.keep > 0 {
								keep.Events = c.keep
							}
							if s.calm = calm; calm {
								*plan, *keep = Plan{Stretch: 7}, hub.MemoryConfig{}
							}
						})
						found := slices.ContainsFunc(report.Rules(), func(rule string) bool { return slices.Contains(c.rules, rule) })
						if !found {
							t.Errorf("seed %d, calm %v: not found, but %q", seed, calm, report.Rules())
						}
					})
				}
			}
		})
	}
}
