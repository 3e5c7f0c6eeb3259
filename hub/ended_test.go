package hub

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/holdfast-dev/holdfast"
)

// losing is a broker whose history can't be carried on when it is told so.
type losing struct {
	*Memory
	lost atomic.Bool
	mu   sync.Mutex
	to   map[string]Receiver
}

func (b *losing) Subscribe(ctx context.Context, room string, r Receiver) (holdfast.Position, error) {
	b.mu.Lock()
	b.to[room] = r
	b.mu.Unlock()
	return b.Memory.Subscribe(ctx, room, r)
}

func (b *losing) History(ctx context.Context, room string, since *holdfast.Position, limit int) (History, error) {
	h, err := b.Memory.History(ctx, room, since, limit)
	if b.lost.CompareAndSwap(true, false) {
		h.Events, h.Recovered = nil, false
	}
	return h, err
}

// lose makes the room lose its continuity, soon.
func (b *losing) lose(room string) {
	b.mu.Lock()
	r := b.to[room]
	b.mu.Unlock()
	if r != nil {
		b.lost.Store(true)
		r.Stale()
	}
}

// stay watches the memberships of one session in one room.
type stay struct {
	mu     sync.Mutex
	in     bool
	joins  int
	faults []string
}

func (s *stay) move(in bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.in == in {
		s.faults = append(s.faults, fmt.Sprintf("told of in=%v twice, after %d joins", in, s.joins))
	}
	s.in = in
	if in {
		s.joins++
	}
}

// Whatever happens at once, Ended hears of the end of each join that was
// announced, once, and before the next one is.
func TestEndedOnce(t *testing.T) {
	steps := []string{"join", "join", "ask", "refuse", "leave", "remove", "forbid", "allow", "lose", "publish", "close"}
	rapid.Check(t, func(t *rapid.T) {
		scripts := rapid.SliceOfN(rapid.SliceOfN(rapid.SampledFrom(steps), 20, 60), 2, 5).Draw(t, "scripts")
		broker := &losing{Memory: NewMemory(MemoryConfig{}), to: make(map[string]Receiver)}
		defer broker.Memory.Close()
		h := New(Config{Broker: broker})
		stays := map[string]*stay{"a": {}, "b": {}}
		may, none := user("u", "**"), user("u")
		s, err := h.Open(SessionConfig{ID: "s", Identity: may, Sink: &recorder{}, Encoder: lineEncoder{}, Ended: func(room string, _ *holdfast.Error) {
			for range 3 { // room for another join, if one could get in
				runtime.Gosched()
			}
			stays[room].move(false)
		}})
		if err != nil {
			t.Fatal(err)
		}
		var announced, succeeded atomic.Int64
		join := func(room string, ask func(context.Context, *JoinOptions) error) {
			j, err := s.Join(context.Background(), room, JoinOptions{Ask: ask}, func(j Joined) {
				if !j.Already {
					announced.Add(1)
					stays[room].move(true)
				}
				runtime.Gosched()
			})
			if err == nil && !j.Already {
				succeeded.Add(1)
			}
		}
		var all sync.WaitGroup
		for _, script := range scripts {
			all.Go(func() {
				for i, step := range script {
					room := [...]string{"a", "b"}[i%2]
					switch step {
					case "join":
						join(room, nil)
					case "ask":
						join(room, func(context.Context, *JoinOptions) error { runtime.Gosched(); return nil })
					case "refuse":
						join(room, func(context.Context, *JoinOptions) error { runtime.Gosched(); return holdfast.Conflict.New() })
					case "leave":
						s.Leave(room)
					case "remove":
						s.Remove(room, holdfast.Conflict.New())
					case "forbid":
						s.SetIdentity(none)
					case "allow":
						s.SetIdentity(may)
					case "lose":
						broker.lose(room)
					case "publish":
						_, _ = h.Publish(context.Background(), event(room, "1"))
					case "close":
						if i > 40 {
							s.Close()
						}
					}
				}
			})
		}
		all.Wait()
		s.Close()
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		for room, stay := range stays {
			if stay.in || len(stay.faults) > 0 {
				t.Errorf("%s: in=%v at the end, %q", room, stay.in, stay.faults)
			}
		}
		if announced.Load() != succeeded.Load() {
			t.Errorf("%d joins were announced, %d succeeded", announced.Load(), succeeded.Load())
		}
	})
}

// A join that is being asked about is stopped by what would have ended it.
func TestAskIsStopped(t *testing.T) {
	for _, tc := range []struct {
		name string
		stop func(s *Session)
		code holdfast.Code
	}{
		{"left", func(s *Session) { s.Leave("r") }, holdfast.Conflict},
		{"removed", func(s *Session) { s.Remove("r", holdfast.NotFound.New()) }, holdfast.NotFound},
		{"right lost", func(s *Session) { s.SetIdentity(user("a")) }, holdfast.Forbidden},
		{"closed", func(s *Session) { s.Close() }, holdfast.GoingAway},
	} {
		for _, answer := range []error{nil, holdfast.RateLimited.New()} {
			t.Run(fmt.Sprint(tc.name, " ", answer), func(t *testing.T) {
				h := newHub(t, Config{})
				ended := 0
				s := openAs(t, h, SessionConfig{ID: "a", Identity: user("a", "**"), Sink: &recorder{}, Encoder: lineEncoder{},
					Ended: func(string, *holdfast.Error) { ended++ }})
				_, err := s.Join(t.Context(), "r", JoinOptions{Ask: func(ctx context.Context, _ *JoinOptions) error {
					tc.stop(s)
					<-ctx.Done()
					return answer
				}}, func(Joined) { t.Error("it was announced") })
				wantCode(t, err, tc.code)
				if ended != 0 || s.In("r") || len(s.Rooms()) != 0 {
					t.Errorf("ended %d times, in %v", ended, s.Rooms())
				}
			})
		}
	}
}

// Of two joins at once one is asked about; the other waits for its answer.
func TestAskOnce(t *testing.T) {
	h := newHub(t, Config{})
	s := open(t, h, "a", &recorder{})
	asked := 0
	var second sync.WaitGroup
	_, err := s.Join(t.Context(), "r", JoinOptions{Ask: func(context.Context, *JoinOptions) error {
		asked++
		second.Go(func() {
			j, err := s.Join(t.Context(), "r", JoinOptions{Ask: func(context.Context, *JoinOptions) error {
				return errors.New("asked again")
			}}, nil)
			if err != nil || !j.Already {
				t.Errorf("the second: %+v, %v", j, err)
			}
		})
		for { // until the second waits
			s.mu.Lock()
			waits := s.member("r").wait != nil
			s.mu.Unlock()
			if waits {
				return nil
			}
			runtime.Gosched()
		}
	}}, nil)
	if err != nil || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
	second.Wait()
	if !s.In("r") || s.In("x") {
		t.Error("In is wrong")
	}
}
