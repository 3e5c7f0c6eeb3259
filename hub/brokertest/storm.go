package brokertest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/checker"
)

// storm is a run of hubs on faulty brokers, with members who come and go while
// others publish. internal/checker judges it.
type storm struct {
	seed  uint64
	nodes []*FaultyBroker // one hub each
	// trouble is what happens now and then, one of them at a time.
	trouble []func()
	// sink and broker, if set, wrap each member's sink and each hub's broker: to
	// plant faults.
	sink   func(hub.Sink) hub.Sink
	broker func(hub.Broker) hub.Broker
	calm   bool // members stay where they are

	members, publishers, events int // of each node; events of each publisher
	buffer                      int // hub.Config.JoinBuffer
	step                        time.Duration

	rec checker.Recorder
}

// stormRooms are the rooms of a storm.
func stormRooms() []string { return []string{"a", "b"} }

// testHub: a hub on the broker loses nothing, whatever else goes wrong.
func testHub(t *testing.T, cfg Config) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed-", seed), func(t *testing.T) {
			b := cfg.New(t, Bounds{})
			stormOn(t, cfg, seed, b)
		})
	}
}

// testHubNodes: the same with the hubs of two processes.
func testHubNodes(t *testing.T, cfg Config) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed-", seed), func(t *testing.T) {
			stormOn(t, cfg, seed, nodes(t, cfg, cfg.New(t, Bounds{}))...)
		})
	}
}

// stormOn runs a storm over brokers of the suite, with delays that a real clock
// can bear.
func stormOn(t *testing.T, cfg Config, seed uint64, brokers ...hub.Broker) {
	s := &storm{seed: seed, members: 4, publishers: 2, events: 150, buffer: 8, step: 2 * time.Millisecond}
	for i, b := range brokers {
		f := Faulty(b, Plan{
			Seed: seed*10 + uint64(i), Delay: time.Millisecond, Fail: 0.03, Drop: 0.1, Again: 0.2, Late: 0.2, Unknown: 0.05, Stretch: 1 + 6*(seed%2),
		})
		s.nodes = append(s.nodes, f)
		s.trouble = append(s.trouble, f.Cut, f.Restore, f.Restore)
	}
	if cfg.Restart != nil {
		s.trouble = append(s.trouble, func() { cfg.Restart(t, brokers[0]) })
	}
	if cfg.Wipe != nil {
		s.trouble = append(s.trouble, func() { cfg.Wipe(t, brokers[0]) })
	}
	report := s.run(t)
	t.Log(report)
	if report.Err() != nil {
		t.Errorf("seed %d", seed)
	}
	if report.Received < s.events || report.Recovered == 0 {
		t.Error("too tame")
	}
}

// run runs it to its end, until all members have everything, and judges it.
func (s *storm) run(t *testing.T) *checker.Report {
	var working, living sync.WaitGroup
	stop := make(chan struct{})
	var all []*stormMember
	var hubs []*hub.Hub
	for n, node := range s.nodes {
		b := hub.Broker(node)
		if s.broker != nil {
			b = s.broker(b)
		}
		h := hub.New(hub.Config{Broker: b, JoinBuffer: s.buffer})
		hubs = append(hubs, h)
		for i := range s.publishers {
			name := fmt.Sprintf("p%d.%d", n, i)
			working.Go(func() { s.publish(h, name, s.dice(uint64(100*n+i))) })
		}
		for i := range s.members {
			m := newStormMember(s, h, fmt.Sprintf("m%d.%d", n, i), uint64(i))
			all = append(all, m)
			living.Go(func() { m.live(t, stop, s.dice(uint64(1000+100*n+i))) })
		}
	}
	living.Go(func() { s.disturb(stop) })
	working.Wait()
	close(stop)
	living.Wait()
	for _, node := range s.nodes {
		node.Heal()
	}
	for _, room := range stormRooms() {
		final := s.finalReading(t, room)
		for _, m := range all {
			m.catchUp(t, room, final)
		}
	}
	for _, m := range all {
		m.close()
	}
	for n, h := range hubs {
		_ = h.Close()
		s.nodes[n].Wait()
		if left := s.nodes[n].Subscriptions(); left > 0 {
			t.Errorf("%d subscriptions are left", left)
		}
	}
	return checker.Check(s.rec.History())
}

func (s *storm) dice(n uint64) *rand.Rand { return rand.New(rand.NewPCG(s.seed, n)) }

// pause waits for up to n steps.
func (s *storm) pause(rng *rand.Rand, n int64) {
	<-time.After(time.Duration(rng.Int64N(n * int64(s.step))))
}

// disturb makes trouble; the broker that was cut comes back soon.
func (s *storm) disturb(stop <-chan struct{}) {
	rng := s.dice(1)
	for len(s.trouble) > 0 {
		s.pause(rng, 60)
		select {
		case <-stop:
			return
		default:
		}
		s.trouble[rng.IntN(len(s.trouble))]()
		s.pause(rng, 20)
		for _, node := range s.nodes {
			if node.isCut() {
				node.Restore()
			}
		}
	}
}

// publish publishes events, most with an id; those are tried again.
func (s *storm) publish(h *hub.Hub, name string, rng *rand.Rand) {
	rooms := stormRooms()
	for i := range s.events {
		if rng.IntN(4) == 0 {
			s.pause(rng, 8)
		}
		value := fmt.Sprintf("%s/%d", name, i)
		data, _ := json.Marshal(value)
		ev := &holdfast.Event{Room: rooms[rng.IntN(len(rooms))], Name: "e", From: name, Data: data}
		tries := 1
		if rng.IntN(4) > 0 {
			ev.ID, tries = value, 4
		}
		for try := range tries {
			a := s.rec.Publish(ev.Room, value)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			pos, err := h.Publish(ctx, ev)
			cancel()
			if err == nil {
				a.Acked(pos)
			}
			if err == nil && (try > 0 || rng.IntN(8) > 0) {
				break // else once more, though there was an answer
			}
		}
	}
}

// finalReading reads what is kept of a room.
func (s *storm) finalReading(t *testing.T, room string) holdfast.Position {
	t.Helper()
	h := insist(t, func(ctx context.Context) (hub.History, error) { return s.nodes[0].History(ctx, room, nil, 0) })
	s.rec.Reading("the last reading", room, nil, h.Events, valueOf, h.Position, true)
	return h.Position
}

// valueOf returns the value that an event carries.
func valueOf(ev *holdfast.Event) string {
	var v string
	_ = json.Unmarshal(ev.Data, &v) // another event's is no string, and known nowhere
	return v
}
