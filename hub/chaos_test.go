package hub

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// chaosClient behaves as a good client: it keeps its position in each room and
// joins with it.
type chaosClient struct {
	session *Session
	mu      sync.Mutex
	rooms   map[string]*chaosRoom
	faults  []string
	joins   [3]int // with recovered true, false, and none asked
	events  int
}

// chaosRoom checks what the client gets of one room against the broker's log.
type chaosRoom struct {
	state  string // "", "joining", "in"
	since  *holdfast.Position
	pos    holdfast.Position // last seen
	known  bool
	replay []got
}

func (c *chaosClient) fault(format string, args ...any) {
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

func (c *chaosClient) room(name string) *chaosRoom {
	if c.rooms[name] == nil {
		c.rooms[name] = &chaosRoom{}
	}
	return c.rooms[name]
}

// chaosSink checks the order of live events at once, and the rest at ready.
type chaosSink struct {
	c *chaosClient
	b *flakyBroker
}

func (s chaosSink) Send(f *Frame) bool {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	ev := parseLine(string(f.Text))
	r := c.room(ev.room)
	c.events++
	switch r.state {
	case "joining":
		r.replay = append(r.replay, ev)
	default: // in, or just after leaving
		want := s.b.after(r.pos)
		if len(want) == 0 || want[0] != ev.pos {
			c.fault("%s: %v after %v (%s), want %v", ev.room, ev.pos, r.pos, r.state, want)
		}
		r.pos = ev.pos
	}
	return true
}

// after returns the positions of all events of the epoch after pos.
func (b *flakyBroker) after(pos holdfast.Position) (all []holdfast.Position) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, ev := range b.logs[pos.Epoch] {
		if ev.Position.Offset > pos.Offset {
			all = append(all, ev.Position)
		}
	}
	return all
}

// ready checks the replay.
func (c *chaosClient) ready(b *flakyBroker, j Joined) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.room(j.Room)
	if j.Already {
		return
	}
	if r.state != "joining" {
		c.fault("%s: ready in state %q", j.Room, r.state)
	}
	c.checkReplay(b, r, j.Recovered != nil && *j.Recovered, j.Position)
	switch {
	case (j.Recovered == nil) != (r.since == nil):
		c.fault("%s: recovered %v, since %v", j.Room, j.Recovered, r.since)
	case j.Recovered == nil:
		c.joins[2]++
	case *j.Recovered:
		c.joins[0]++
	default:
		c.joins[1]++
	}
	r.state, r.pos, r.known = "in", j.Position, true
}

// checkReplay compares the replay with the log: the beginning of what followed
// since, and all of it up to pos if it is said to be whole.
func (c *chaosClient) checkReplay(b *flakyBroker, r *chaosRoom, whole bool, pos holdfast.Position) {
	defer func() { r.replay = nil }()
	if r.since == nil {
		if len(r.replay) > 0 {
			c.fault("a replay of %d events that nobody asked for", len(r.replay))
		}
		return
	}
	want := b.after(*r.since)
	if len(r.replay) > len(want) {
		c.fault("replay %v since %v, want %v", r.replay, *r.since, want)
		return
	}
	for i, ev := range r.replay {
		if ev.pos != want[i] {
			c.fault("replay %v since %v, want %v", r.replay, *r.since, want)
			return
		}
	}
	if whole && (pos.Epoch != r.since.Epoch || len(want) > len(r.replay) && want[len(r.replay)].Offset <= pos.Offset) {
		c.fault("replay %v since %v up to %v, want %v", r.replay, *r.since, pos, want)
	}
}

func (c *chaosClient) join(t *testing.T, b *flakyBroker, room string, resume bool) {
	c.mu.Lock()
	r := c.room(room)
	if r.state == "" {
		r.state, r.since = "joining", nil
		if resume && r.known {
			since := r.pos
			r.since = &since
		}
	}
	since := r.since
	c.mu.Unlock()
	_, err := c.session.Join(t.Context(), room, JoinOptions{Since: since}, func(j Joined) { c.ready(b, j) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		return
	}
	if code := holdfast.CodeOf(err); !errors.Is(err, errFlaky) && code != holdfast.RateLimited {
		c.fault("%s: join: %v", room, err)
	}
	if n := len(r.replay); n > 0 {
		last := r.replay[n-1].pos
		c.checkReplay(b, r, false, last)
		r.pos = last
	}
	r.state = ""
}

func (c *chaosClient) leave(room string) {
	c.session.Leave(room)
	c.mu.Lock()
	c.room(room).state = ""
	c.mu.Unlock()
}

// TestChaos: whatever the broker does, each client gets the events of a room in
// order, once and without a gap, from join to join.
func TestChaos(t *testing.T) {
	seeds := uint64(150)
	if testing.Short() {
		seeds = 20
	}
	var joins [3]int
	events, lost := 0, 0
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			j, e, l := chaos(t, seed)
			for i := range joins {
				joins[i] += j[i]
			}
			events, lost = events+e, lost+l
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("joins: %d recovered, %d not, %d without since; %d events, %d times put out", joins[0], joins[1], joins[2], events, lost)
	if joins[0] == 0 || joins[1] == 0 || lost == 0 {
		t.Error("too tame")
	}
}

func chaos(t *testing.T, seed uint64) (joins [3]int, events, putOut int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	b := newFlaky(seed)
	b.drop, b.again, b.late, b.fail = rng.Float64()*0.2, rng.Float64()*0.3, rng.Float64()*0.3, rng.Float64()*0.1
	b.slow, b.keep = time.Duration(rng.IntN(50))*time.Millisecond, 5+rng.IntN(50)
	h := New(Config{Broker: b, JoinBuffer: 3 + rng.IntN(20)})
	rooms := []string{"a", "b"}

	var wg sync.WaitGroup
	var puts atomic.Int64
	stop := make(chan struct{})
	pause := func(r *rand.Rand, d time.Duration) { <-time.After(time.Duration(r.Int64N(int64(d)))) }
	var clients []*chaosClient
	for i := range 4 {
		c := &chaosClient{rooms: make(map[string]*chaosRoom)}
		var out []string // rooms that the client was put out of, guarded by c.mu
		s, err := h.Open(SessionConfig{
			ID: fmt.Sprint(i), Identity: user("u", "**"), Sink: chaosSink{c, b}, Encoder: lineEncoder{tag: fmt.Sprint(i % 2)},
			Left: func(room string, err *holdfast.Error) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.room(room).state = ""
				out = append(out, room)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.session = s
		clients = append(clients, c)
		r := rand.New(rand.NewPCG(seed, uint64(10+i)))
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				pause(r, 200*time.Millisecond)
				room := rooms[r.IntN(len(rooms))]
				c.mu.Lock()
				if len(out) > 0 && r.IntN(2) == 0 {
					room, out = out[0], out[1:]
					puts.Add(1)
				}
				c.mu.Unlock()
				if r.IntN(4) == 0 {
					c.leave(room)
				} else {
					c.join(t, b, room, r.IntN(5) > 0)
				}
			}
		})
	}
	n := 0
	for range 200 {
		pause(rng, 30*time.Millisecond)
		room := rooms[rng.IntN(len(rooms))]
		if rng.IntN(60) == 0 {
			b.restart(room)
		}
		for range 1 + rng.IntN(4) {
			n++
			publish(t, h, room, fmt.Sprint(n))
		}
	}
	close(stop)
	wg.Wait()
	b.heal()
	<-time.After(time.Minute)
	for i, c := range clients {
		for _, room := range rooms { // all are in, at the end
			c.join(t, b, room, true)
		}
		c.mu.Lock()
		for name, r := range c.rooms {
			if missing := b.after(r.pos); r.state != "in" || len(missing) > 0 {
				c.fault("%s: ended %q at %v without %v", name, r.state, r.pos, missing)
			}
			if current := b.rooms[name].epoch; r.pos.Epoch != current {
				c.fault("%s: ended in epoch %s of %s", name, r.pos.Epoch, current)
			}
		}
		for _, f := range c.faults {
			t.Errorf("client %d: %s", i, f)
		}
		for k := range joins {
			joins[k] += c.joins[k]
		}
		events += c.events
		c.mu.Unlock()
		c.session.Close()
	}
	if len(h.rooms) > 0 || len(h.conns) > 0 {
		t.Errorf("left: %d rooms, %d connections", len(h.rooms), len(h.conns))
	}
	_ = h.Close()
	b.wg.Wait()
	return joins, events, int(puts.Load())
}
