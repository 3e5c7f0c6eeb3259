package hub

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"

	"github.com/holdfast-dev/holdfast"
)

// TestStress does everything at once: the race detector looks, and at the end
// nothing is left.
func TestStress(t *testing.T) {
	b := newMemory(t, MemoryConfig{Events: 50})
	h := newHub(t, Config{Broker: b, JoinBuffer: 8})
	rooms := []string{"a", "b", "c"}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for range 30 {
				sink := &recorder{}
				s, err := h.Open(SessionConfig{
					ID: fmt.Sprint(i), Identity: user("", "**"), Sink: sink, Encoder: lineEncoder{tag: fmt.Sprint(i % 3)},
					Left: func(room string, _ *holdfast.Error) { sink.put("left " + room) },
				})
				if err != nil {
					t.Error(err)
					return
				}
				var own sync.WaitGroup
				for range 3 {
					seed := rng.Uint64()
					own.Go(func() { stressSession(t, s, sink, rooms, rand.New(rand.NewPCG(seed, 0))) })
				}
				if rng.IntN(2) == 0 {
					own.Wait()
				}
				s.Close()
				own.Wait()
			}
		})
	}
	stop := make(chan struct{})
	var pubs sync.WaitGroup
	for i := range 2 {
		pubs.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					publish(t, h, rooms[(n+i)%len(rooms)], "1")
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	pubs.Wait()
	if len(h.rooms) > 0 || len(h.conns) > 0 || len(h.users) > 0 {
		t.Errorf("left: %d rooms, %d connections", len(h.rooms), len(h.conns))
	}
	checkBytes(t, b)
}

func stressSession(t *testing.T, s *Session, sink *recorder, rooms []string, rng *rand.Rand) {
	for range 20 {
		room := rooms[rng.IntN(len(rooms))]
		switch rng.IntN(5) {
		case 0:
			s.Leave(room)
		case 1:
			if rng.IntN(4) == 0 {
				s.SetIdentity(user("", "a", "b"))
			} else {
				s.SetIdentity(user("", "**"))
			}
		default:
			o := JoinOptions{}
			if page, err := s.hub.History(t.Context(), room, nil, 10); err == nil && len(page.Events) > 0 && rng.IntN(2) == 0 {
				o.Since = &page.Events[0].Position
			}
			_, _ = s.Join(t.Context(), room, o, func(j Joined) {
				if !j.Already {
					sink.put("ready " + j.Room)
				}
			})
		}
	}
}

// orderSink checks that a client who comes and goes gets every event once.
type orderSink struct {
	mu     sync.Mutex
	state  string // "out": ignored; "joining": collected; "in": must be the next
	last   uint64
	replay []uint64
	faults []string
}

func (s *orderSink) Send(f *Frame) bool {
	offset := parseLine(string(f.Text)).pos.Offset
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case "joining":
		s.replay = append(s.replay, offset)
	case "in":
		if offset != s.last+1 {
			s.faults = append(s.faults, fmt.Sprintf("%d after %d", offset, s.last))
		}
		s.last = offset
	}
	return true
}

// ready: what was collected ends with the replay; before it there may be an
// event that was on its way when the room was left.
func (s *orderSink) ready(j Joined) {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := int(j.Position.Offset - s.last)
	if extra := len(s.replay) - want; extra < 0 || extra > 1 || j.Recovered != nil && !*j.Recovered {
		s.faults = append(s.faults, fmt.Sprintf("ready at %d with %v after %d", j.Position.Offset, s.replay, s.last))
	} else {
		for i, offset := range s.replay[extra:] {
			if offset != s.last+1+uint64(i) {
				s.faults = append(s.faults, fmt.Sprintf("replay %v after %d", s.replay, s.last))
				break
			}
		}
	}
	s.state, s.last, s.replay = "in", j.Position.Offset, nil
}

func TestStressOrder(t *testing.T) {
	b := newMemory(t, MemoryConfig{Events: 1 << 20, Bytes: 1 << 30})
	h := newHub(t, Config{Broker: b, JoinBuffer: 1 << 20}) // no join may fail here
	pos := publish(t, h, "r", "0")[0]
	stop := make(chan struct{})
	var pubs, wg sync.WaitGroup
	for range 2 {
		pubs.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					publish(t, h, "r", "1")
					runtime.Gosched()
				}
			}
		})
	}
	for i := range 4 {
		wg.Go(func() {
			sink := &orderSink{state: "out", last: pos.Offset}
			s := open(t, h, fmt.Sprint(i), sink)
			defer s.Close()
			for range 400 {
				sink.mu.Lock()
				sink.state = "joining"
				since := holdfast.Position{Epoch: pos.Epoch, Offset: sink.last}
				sink.mu.Unlock()
				if _, err := s.Join(t.Context(), "r", JoinOptions{Since: &since}, sink.ready); err != nil {
					t.Error(err)
					return
				}
				s.Leave("r")
				sink.mu.Lock()
				sink.state = "out"
				sink.mu.Unlock()
			}
			for _, f := range sink.faults {
				t.Errorf("client %d: %s", i, f)
			}
		})
	}
	wg.Wait()
	close(stop)
	pubs.Wait()
}
