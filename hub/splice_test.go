package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// hookBroker is a Memory with hooks.
type hookBroker struct {
	*Memory
	// history, if set, is called instead; read reads for real.
	history func(ctx context.Context, read func() History) (History, error)
	// subscribe, if set, is called before each Subscribe.
	subscribe func(ctx context.Context) error
	// deliver, if set, is called instead of each Deliver.
	deliver func(r Receiver, ev *holdfast.Event, prev uint64)
	// receiver is that of the last Subscribe.
	receiver Receiver
}

type hookReceiver struct {
	Receiver
	b *hookBroker
}

func (r hookReceiver) Deliver(ev *holdfast.Event, prev uint64) {
	if r.b.deliver != nil {
		r.b.deliver(r.Receiver, ev, prev)
		return
	}
	r.Receiver.Deliver(ev, prev)
}

func (b *hookBroker) Subscribe(ctx context.Context, room string, r Receiver) (holdfast.Position, error) {
	if b.subscribe != nil {
		if err := b.subscribe(ctx); err != nil {
			return holdfast.Position{}, err
		}
	}
	b.receiver = r
	return b.Memory.Subscribe(ctx, room, hookReceiver{r, b})
}

func (b *hookBroker) History(ctx context.Context, room string, since *holdfast.Position, limit int) (History, error) {
	if b.history == nil {
		return b.Memory.History(ctx, room, since, limit)
	}
	return b.history(ctx, func() History {
		h, err := b.Memory.History(ctx, room, since, limit)
		if err != nil {
			panic(err)
		}
		return h
	})
}

// bubble runs f on the fake clock with a hub on a hookBroker.
func bubble(t *testing.T, cfg Config, f func(t *testing.T, h *Hub, b *hookBroker)) {
	synctest.Test(t, func(t *testing.T) {
		b := &hookBroker{Memory: NewMemory(MemoryConfig{})}
		cfg.Broker = b
		h := New(cfg)
		defer b.Close()
		defer h.Close()
		f(t, h, b)
	})
}

func wantLines(t *testing.T, r *recorder, want ...string) {
	t.Helper()
	lines := r.all()
	for i, line := range lines {
		if !strings.HasPrefix(line, "ready") && !strings.HasPrefix(line, "left") {
			lines[i] = parseLine(line).data
		}
	}
	if !slices.Equal(lines, want) {
		t.Errorf("got  %q\nwant %q", lines, want)
	}
}

// TestSpliceHistoryIsSlow: what is published while history is read comes after
// ready, once, whether or not history had it.
func TestSpliceHistoryIsSlow(t *testing.T) {
	for _, when := range []string{"before", "after"} {
		t.Run("read "+when, func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, h *Hub, b *hookBroker) {
				at := publish(t, h, "r", "1", "2", "3")
				b.history = func(ctx context.Context, read func() History) (History, error) {
					var page History
					if when == "before" {
						page = read()
					}
					publish(t, h, "r", "4", "5")
					if when == "after" {
						page = read()
					}
					publish(t, h, "r", "6")
					return page, nil
				}
				sink := &recorder{}
				s := open(t, h, "u", sink)
				join(t, s, "r", &at[0])
				publish(t, h, "r", "7")
				if when == "before" {
					wantLines(t, sink, "2", "3", "ready r 3 recovered=true", "4", "5", "6", "7")
				} else {
					wantLines(t, sink, "2", "3", "4", "5", "ready r 5 recovered=true", "6", "7")
				}
			})
		})
	}
}

// TestSpliceHistoryIsAhead: history has events whose live delivery is late;
// they are not sent twice.
func TestSpliceHistoryIsAhead(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, b *hookBroker) {
		var late []func()
		first := publish(t, h, "r", "1")[0]
		sink, other := &recorder{}, &recorder{}
		s, o := open(t, h, "u", sink), open(t, h, "o", other)
		join(t, o, "r", nil)
		b.deliver = func(r Receiver, ev *holdfast.Event, prev uint64) {
			late = append(late, func() { r.Deliver(ev, prev) })
		}
		publish(t, h, "r", "2", "3")
		j := join(t, s, "r", &holdfast.Position{Epoch: first.Epoch})
		if j.Position.Offset != 3 || !slices.Equal(s.Rooms(), []string{"r"}) {
			t.Errorf("%+v", j)
		}
		if again := join(t, s, "r", nil); again.Position.Offset != 3 {
			t.Errorf("%+v", again)
		}
		publish(t, h, "r", "4")
		for _, deliver := range late {
			deliver()
		}
		b.deliver = nil
		publish(t, h, "r", "5")
		wantLines(t, sink, "1", "2", "3", "ready r 3 recovered=true", "ready r 3 already", "4", "5")
		wantLines(t, other, "ready r 1", "2", "3", "4", "5")

		// Leaving while events up to the served one are still to come.
		s.Leave("r")
		if len(h.rooms["r"].joining) > 0 {
			t.Error("still joining")
		}
	})
}

// TestSpliceParkedLeaves: a member who waits for late events can leave.
func TestSpliceParkedLeaves(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, b *hookBroker) {
		first := publish(t, h, "r", "1")[0]
		s, o := open(t, h, "u", &recorder{}), open(t, h, "o", &recorder{})
		join(t, o, "r", nil)
		b.deliver = func(Receiver, *holdfast.Event, uint64) {}
		publish(t, h, "r", "2")
		join(t, s, "r", &holdfast.Position{Epoch: first.Epoch})
		if r := h.rooms["r"]; len(r.joining) != 1 || !r.joining[0].parked {
			t.Fatal("not parked")
		}
		s.Leave("r")
		if r := h.rooms["r"]; len(r.joining) != 0 || r.refs != 1 {
			t.Error("left and still there")
		}
	})
}

// TestSpliceOverflow: a join whose buffer overflows begins anew from where it
// is, and gives up after some times.
func TestSpliceOverflow(t *testing.T) {
	for _, floods := range []int{1, joinAttempts - 1, joinAttempts} {
		t.Run(fmt.Sprint(floods), func(t *testing.T) {
			bubble(t, Config{JoinBuffer: 4}, func(t *testing.T, h *Hub, b *hookBroker) {
				first := publish(t, h, "r", "0")[0]
				publish(t, h, "r", "1")
				calls, n := 0, 1
				var want []string
				b.history = func(_ context.Context, read func() History) (History, error) {
					page := read()
					if calls++; calls <= floods {
						for range 10 {
							n++
							publish(t, h, "r", fmt.Sprint(n))
						}
					}
					return page, nil
				}
				sink := &recorder{}
				s := open(t, h, "u", sink)
				_, err := s.Join(t.Context(), "r", JoinOptions{Since: &first}, marker(s))
				if floods == 1 {
					if err != nil {
						t.Fatal(err)
					}
					want = append(want, "1", "ready r 2 recovered=true")
					for i := 2; i <= n; i++ {
						want = append(want, fmt.Sprint(i))
					}
					wantLines(t, sink, want...)
					return
				}
				// The first overflow is seen after ready.
				if err != nil {
					t.Fatal(err)
				}
				lines := sink.data("r")
				for i, data := range lines {
					if data != fmt.Sprint(i+1) {
						t.Fatalf("event %d is %s", i, data)
					}
				}
				joined := floods < joinAttempts
				if got := len(s.Rooms()) == 1; got != joined {
					t.Errorf("in the room: %v", got)
				}
				if joined && len(lines) != n {
					t.Errorf("%d events of %d", len(lines), n)
				}
			})
		})
	}
}

// TestSpliceNoSinceOverflows before ready can't be; after it, the join goes on
// from history, or the member hears that it is out.
func TestSpliceOverflowInReady(t *testing.T) {
	for _, c := range []struct {
		name string
		keep bool
	}{{"recovered", true}, {"lost", false}} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, Config{JoinBuffer: 2}, func(t *testing.T, h *Hub, b *hookBroker) {
				b.Memory.cfg.Events = 3
				events := 3
				if !c.keep {
					events = 4
				}
				sink := &recorder{}
				var left error
				s := openAs(t, h, SessionConfig{
					ID: "u", Identity: user("u", "**"), Sink: sink, Encoder: lineEncoder{},
					Left: func(_ string, err *holdfast.Error) { left = err },
				})
				_, err := s.Join(t.Context(), "r", JoinOptions{}, func(Joined) {
					for i := range events {
						publish(t, h, "r", fmt.Sprint(i))
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				if c.keep {
					wantLines(t, sink, "0", "1", "2")
				} else {
					wantCode(t, left, holdfast.Internal)
					wantLines(t, sink)
				}
				if got := len(s.Rooms()) == 1; got != c.keep {
					t.Error(s.Rooms())
				}
			})
		})
	}
}

// TestSpliceStaleHistory: an answer from before what was delivered is not used.
func TestSpliceStaleHistory(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, b *hookBroker) {
		o := open(t, h, "o", &recorder{})
		join(t, o, "r", nil)
		first := publish(t, h, "r", "1")[0]
		old := history(t, b.Memory, "r", &first, 0)
		publish(t, h, "r", "2", "3")
		calls := 0
		b.history = func(_ context.Context, read func() History) (History, error) {
			if calls++; calls < 4 {
				return old, nil
			}
			return read(), nil
		}
		sink := &recorder{}
		join(t, open(t, h, "u", sink), "r", &first)
		wantLines(t, sink, "2", "3", "ready r 3 recovered=true")

		b.history = func(context.Context, func() History) (History, error) { return old, nil }
		sink = &recorder{}
		join(t, open(t, h, "v", sink), "r", &first)
		wantLines(t, sink, "ready r 3 recovered=false")
	})
}

func TestJoinGivesUp(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, b *hookBroker) {
		first := publish(t, h, "r", "1", "2")[0]
		hang := func(ctx context.Context) error { <-ctx.Done(); return context.Cause(ctx) }
		hangHistory := func(ctx context.Context, _ func() History) (History, error) { return History{}, hang(ctx) }
		s := open(t, h, "u", &recorder{})
		attempt := func(ctx context.Context) chan error {
			done := make(chan error, 1)
			go func() {
				_, err := s.Join(ctx, "r", JoinOptions{Since: &first}, func(Joined) { t.Error("ready") })
				done <- err
			}()
			synctest.Wait()
			return done
		}
		for _, c := range []struct {
			name      string
			subscribe func(context.Context) error
			history   func(context.Context, func() History) (History, error)
		}{{"subscribe hangs", hang, nil}, {"history hangs", nil, hangHistory}} {
			b.subscribe, b.history = c.subscribe, c.history
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if err := <-attempt(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: %v", c.name, err)
			}
			cancel()

			done := attempt(t.Context())
			s.Leave("r")
			wantCode(t, <-done, holdfast.Conflict)

			done = attempt(t.Context())
			s.SetIdentity(user("u"))
			wantCode(t, <-done, holdfast.Forbidden)
			s.SetIdentity(user("u", "**"))
			<-time.After(time.Minute) // the subscription gives up too
			h.mu.Lock()
			if len(h.rooms) > 0 || s.conn.rooms != 0 {
				t.Errorf("%s: something is left", c.name)
			}
			h.mu.Unlock()
		}
		done := attempt(t.Context())
		s.Close()
		wantCode(t, <-done, holdfast.GoingAway)
	})
}

// TestJoinTwiceAtOnce: the second waits for the first, and answers as a repeat
// or joins by itself.
func TestJoinTwiceAtOnce(t *testing.T) {
	for _, fails := range []bool{false, true} {
		t.Run(fmt.Sprint("first fails: ", fails), func(t *testing.T) {
			bubble(t, Config{}, func(t *testing.T, h *Hub, b *hookBroker) {
				first := publish(t, h, "r", "1", "2")[0]
				gate := make(chan struct{})
				calls := 0
				b.history = func(_ context.Context, read func() History) (History, error) {
					if calls++; calls == 1 {
						<-gate
						if fails {
							return History{}, errors.New("broken")
						}
					}
					return read(), nil
				}
				sink := &recorder{}
				s := open(t, h, "u", sink)
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						_, err := s.Join(t.Context(), "r", JoinOptions{Since: &first}, marker(s))
						if err != nil && !fails {
							t.Error(err)
						}
					})
					synctest.Wait()
				}
				close(gate)
				wg.Wait()
				want := []string{"2", "ready r 2 recovered=true", "ready r 2 already"}
				if !fails {
					want = append(want, "ready r 2 already")
				}
				wantLines(t, sink, want...)
				if s.conn.rooms != 1 || h.rooms["r"].refs != 1 {
					t.Errorf("%d rooms, %d references", s.conn.rooms, h.rooms["r"].refs)
				}
			})
		})
	}
}

// TestRejoinDuringFanOut: a session that leaves and joins again while an event
// is being sent gets it once, and in order.
func TestRejoinDuringFanOut(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, _ *hookBroker) {
		reached, gate := make(chan struct{}), make(chan struct{})
		blocker := &recorder{onSend: func(line string) {
			if strings.HasSuffix(line, "stop") {
				close(reached)
				<-gate
			}
		}}
		join(t, open(t, h, "first", blocker), "r", nil)
		sink := &recorder{}
		s := open(t, h, "u", sink)
		join(t, s, "r", nil)
		at := publish(t, h, "r", "1")[0]

		var wg sync.WaitGroup
		wg.Go(func() { publish(t, h, "r", "stop") })
		<-reached
		s.Leave("r")
		if n := s.conn.rooms; n != 0 {
			t.Errorf("the room that was left still counts (%d)", n)
		}
		wg.Go(func() { join(t, s, "r", &at) })
		synctest.Wait()
		close(gate)
		wg.Wait()
		publish(t, h, "r", "3")
		wantLines(t, sink, "ready r 0", "1", "stop", "stop", "ready r 2 recovered=true", "3")
	})
}

// TestReplayIsPaced: a replay to a Pacer waits for it, and a slow reader holds
// up nobody.
func TestReplayIsPaced(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, _ *hookBroker) {
		at := publish(t, h, "r", make([]string, 200)...)
		sink := &pacedSink{}
		sink.queue.Limit = 2000
		s := open(t, h, "u", sink)
		done := make(chan error, 1)
		go func() {
			_, err := s.Join(t.Context(), "r", JoinOptions{Since: &at[0]}, nil)
			done <- err
		}()
		synctest.Wait()
		if n := sink.queue.Bytes(); n == 0 || n > 1200 {
			t.Errorf("%d bytes queued", n)
		}
		publish(t, h, "r", "live")
		frames := 0
		for frames < 200 {
			synctest.Wait()
			got := len(sink.queue.Pop(nil, 0, 0))
			if frames += got; got == 0 {
				t.Fatalf("stuck after %d frames", frames)
			}
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	})
}

type pacedSink struct{ queue Queue }

func (s *pacedSink) Send(f *Frame) bool             { _, ok := s.queue.Push(f); return ok }
func (s *pacedSink) Pace(ctx context.Context) error { return s.queue.Wait(ctx, 0) }

// TestReplayRefused: a sink that is full ends the join.
func TestReplayRefused(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, h *Hub, _ *hookBroker) {
		at := publish(t, h, "r", "1", "2", "3")
		s := open(t, h, "u", &recorder{closed: true})
		_, err := s.Join(t.Context(), "r", JoinOptions{Since: &at[0]}, func(Joined) { t.Error("ready") })
		wantCode(t, err, holdfast.SlowConsumer)
		if len(s.Rooms()) > 0 || len(h.rooms) > 0 {
			t.Error("it is in the room")
		}
	})
}
