package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// gapRig is a hub whose broker delivers only what the test says.
type gapRig struct {
	*Hub
	broker *hookBroker
	sink   *recorder
	member *Session
	events []*holdfast.Event // published and not delivered by themselves
	reads  int               // of history by the hub
}

func gapTest(t *testing.T, f func(t *testing.T, r *gapRig)) {
	bubble(t, Config{JoinBuffer: 4}, func(t *testing.T, h *Hub, b *hookBroker) {
		r := &gapRig{Hub: h, broker: b, sink: &recorder{}}
		b.deliver = func(_ Receiver, ev *holdfast.Event, _ uint64) { r.events = append(r.events, ev) }
		b.history = func(_ context.Context, read func() History) (History, error) {
			r.reads++
			return read(), nil
		}
		r.member = openAs(t, h, SessionConfig{
			ID: "m", Identity: user("m", "**"), Sink: r.sink, Encoder: lineEncoder{},
			Left: func(_ string, err *holdfast.Error) { r.sink.put("left " + string(err.Code)) },
		})
		join(t, r.member, "r", nil)
		f(t, r)
	})
}

// deliver hands over the published events with these offsets.
func (r *gapRig) deliver(offsets ...uint64) {
	for _, offset := range offsets {
		r.broker.receiver.Deliver(r.events[offset-1], offset-1)
	}
	synctest.Wait()
}

// restart is a broker that has lost everything: the epoch is new.
func (r *gapRig) restart() {
	sh := r.broker.shard("r")
	sh.mu.Lock()
	defer sh.mu.Unlock()
	room := sh.rooms["r"]
	room.epoch += "x"
	room.top = 0
	for room.events.len() > 0 {
		room.dropOldest()
	}
	r.events = nil
}

func TestGaps(t *testing.T) {
	for _, c := range []struct {
		name    string
		deliver []uint64
		want    []string
		reads   int
	}{
		{"in order", []uint64{1, 2, 3}, []string{"1", "2", "3"}, 0},
		{"twice", []uint64{1, 1, 2, 1, 2, 3}, []string{"1", "2", "3"}, 0},
		{"one missing", []uint64{1, 3}, []string{"1", "2", "3"}, 1},
		{"the first missing", []uint64{2}, []string{"1", "2", "3"}, 1},
		{"out of order", []uint64{2, 1, 3}, []string{"1", "2", "3"}, 1},
		{"the last missing", []uint64{1, 2}, []string{"1", "2"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			gapTest(t, func(t *testing.T, r *gapRig) {
				publish(t, r.Hub, "r", "1", "2", "3")
				r.deliver(c.deliver...)
				wantLines(t, r.sink, append([]string{"ready r 0"}, c.want...)...)
				if r.reads != c.reads {
					t.Errorf("history was read %d times, want %d", r.reads, c.reads)
				}
				r.broker.receiver.Stale()
				synctest.Wait()
				wantLines(t, r.sink, "ready r 0", "1", "2", "3")
				publish(t, r.Hub, "r", "4")
				r.deliver(4)
				wantLines(t, r.sink, "ready r 0", "1", "2", "3", "4")
			})
		})
	}
}

func TestUnknownPrevious(t *testing.T) {
	gapTest(t, func(t *testing.T, r *gapRig) {
		publish(t, r.Hub, "r", "1", "2")
		r.broker.receiver.Deliver(r.events[1], UnknownOffset)
		synctest.Wait()
		wantLines(t, r.sink, "ready r 0", "1", "2")
	})
}

// TestGapTooOld: what can't be read any more puts the members out, and a join
// with their position is not recovered.
func TestGapTooOld(t *testing.T) {
	gapTest(t, func(t *testing.T, r *gapRig) {
		r.broker.Memory.cfg.Events = 2
		at := publish(t, r.Hub, "r", "1", "2", "3", "4")
		r.deliver(1, 4)
		wantLines(t, r.sink, "ready r 0", "1", "left INTERNAL")
		if len(r.member.Rooms()) > 0 || len(r.rooms) > 0 {
			t.Error("still in")
		}
		if j := join(t, r.member, "r", &at[0]); *j.Recovered || j.Position != at[3] {
			t.Errorf("%+v", j)
		}
		publish(t, r.Hub, "r", "5")
		r.deliver(5)
		wantLines(t, r.sink, "ready r 0", "1", "left INTERNAL", "ready r 4 recovered=false", "5")
	})
}

// TestNewEpoch: seen by an event, or told by Stale.
func TestNewEpoch(t *testing.T) {
	for _, stale := range []bool{false, true} {
		t.Run(fmt.Sprint("stale: ", stale), func(t *testing.T) {
			gapTest(t, func(t *testing.T, r *gapRig) {
				at := publish(t, r.Hub, "r", "1", "2")
				old := slices.Clone(r.events)
				r.deliver(1, 2)
				other := &recorder{}
				stay := open(t, r.Hub, "other", other)
				r.restart()
				if stale {
					r.broker.receiver.Stale()
				} else {
					publish(t, r.Hub, "r", "new")
					r.deliver(1)
				}
				synctest.Wait()
				wantLines(t, r.sink, "ready r 0", "1", "2", "left INTERNAL")
				j := join(t, stay, "r", &at[0])
				if *j.Recovered || j.Position.Epoch == at[0].Epoch {
					t.Errorf("%+v", j)
				}
				// An event of the old epoch comes late.
				r.broker.receiver.Deliver(old[1], 1)
				synctest.Wait()
				if len(stay.Rooms()) != 1 {
					t.Error("an old event put a member out")
				}
				publish(t, r.Hub, "r", "go on")
				r.deliver(uint64(len(r.events)))
				if got := other.data("r"); !slices.Equal(got, []string{"go on"}) {
					t.Error(got)
				}
			})
		})
	}
}

// TestGapHistoryFails: it is read again, ever more slowly, and nothing is lost
// meanwhile, though more came than is held.
func TestGapHistoryFails(t *testing.T) {
	gapTest(t, func(t *testing.T, r *gapRig) {
		working := r.broker.history
		failed := 0
		var healed atomic.Bool
		r.broker.history = func(ctx context.Context, read func() History) (History, error) {
			if healed.Load() {
				return working(ctx, read)
			}
			failed++
			return History{}, errors.New("away")
		}
		want := []string{"ready r 0"}
		for i := range 20 {
			publish(t, r.Hub, "r", fmt.Sprint(i))
			want = append(want, fmt.Sprint(i))
			if i > 0 {
				r.deliver(uint64(i + 1))
			}
		}
		<-time.After(time.Minute)
		synctest.Wait()
		if failed < 10 || failed > 30 {
			t.Errorf("history was tried %d times in a minute", failed)
		}
		if n := r.rooms["r"].held.len(); n > 4 {
			t.Errorf("%d events held", n)
		}
		healed.Store(true)
		<-time.After(time.Minute)
		synctest.Wait()
		wantLines(t, r.sink, want...)
	})
}

// TestGapHistoryBehind: history that lacks what was delivered is read again,
// and the room given up if that does not help.
func TestGapHistoryBehind(t *testing.T) {
	for _, heals := range []bool{true, false} {
		t.Run(fmt.Sprint("heals: ", heals), func(t *testing.T) {
			gapTest(t, func(t *testing.T, r *gapRig) {
				working := r.broker.history
				publish(t, r.Hub, "r", "1")
				old := history(t, r.broker.Memory, "r", &holdfast.Position{Epoch: r.events[0].Position.Epoch}, 0)
				publish(t, r.Hub, "r", "2", "3")
				r.broker.history = func(ctx context.Context, read func() History) (History, error) {
					if r.reads >= 3 && heals {
						return working(ctx, read)
					}
					r.reads++
					return old, nil
				}
				r.deliver(3)
				<-time.After(time.Minute)
				synctest.Wait()
				if heals {
					wantLines(t, r.sink, "ready r 0", "1", "2", "3")
				} else {
					wantLines(t, r.sink, "ready r 0", "1", "left INTERNAL")
				}
			})
		})
	}
}

// TestStaleAnswer: one answer from before what was delivered changes nothing.
func TestStaleAnswer(t *testing.T) {
	gapTest(t, func(t *testing.T, r *gapRig) {
		working := r.broker.history
		old := history(t, r.broker.Memory, "r", nil, 0)
		old.Recovered = false // what a broker says to a since that it does not have yet
		r.broker.history = func(ctx context.Context, read func() History) (History, error) {
			if r.reads++; r.reads < 3 {
				return old, nil
			}
			return working(ctx, read)
		}
		publish(t, r.Hub, "r", "1", "2", "3")
		r.deliver(1, 2)
		r.broker.receiver.Stale()
		<-time.After(time.Minute)
		synctest.Wait()
		wantLines(t, r.sink, "ready r 0", "1", "2", "3")
	})
}

// TestLeftWhileCatchingUp: a room that everybody leaves stops reading.
func TestLeftWhileCatchingUp(t *testing.T) {
	gapTest(t, func(t *testing.T, r *gapRig) {
		gate := make(chan struct{})
		r.broker.history = func(_ context.Context, read func() History) (History, error) {
			<-gate
			return read(), nil
		}
		publish(t, r.Hub, "r", "1", "2")
		r.deliver(2)
		r.member.Leave("r")
		if len(r.rooms) > 0 {
			t.Error("the room is still there")
		}
		r.deliver(1)
		r.broker.receiver.Stale()
		close(gate)
		synctest.Wait()
		wantLines(t, r.sink, "ready r 0")
	})
}
