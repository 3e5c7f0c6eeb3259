package server_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/server"
)

// listenerLog is what a listener has seen of some rooms: in each, a part of the
// room's one order without a gap, but where it was told of one.
type listenerLog struct {
	t      testing.TB
	last   map[string]uint64 // offset
	epochs map[string]string
	resets int
	events int
	over   *atomic.Bool // nothing more is published
}

func (l *listenerLog) event(text string) {
	var ev struct {
		Type, Room, Epoch string
		Offset, Data      uint64
	}
	if err := json.Unmarshal([]byte(text), &ev); err != nil || ev.Type != "event" {
		l.t.Errorf("%s: %v", text, err)
		return
	}
	if last, ok := l.last[ev.Room]; ok && (ev.Offset != last+1 || ev.Epoch != l.epochs[ev.Room]) {
		l.t.Errorf("%s: %d comes after %d", ev.Room, ev.Offset, last)
	}
	if ev.Data != ev.Offset {
		l.t.Errorf("%s: event %d is at %d", ev.Room, ev.Data, ev.Offset)
	}
	l.last[ev.Room], l.epochs[ev.Room] = ev.Offset, ev.Epoch
	l.events++
}

// reset forgets where the listener was in a room.
func (l *listenerLog) reset(room string) {
	delete(l.last, room)
	l.resets++
}

// done reports whether the log goes up to the end of every room.
func (l *listenerLog) done(rooms []string, end uint64) bool {
	for _, room := range rooms {
		if l.last[room] != end {
			return false
		}
	}
	return true
}

// byStream listens with a stream that is cut again and again.
func byStream(w *world, rnd *rand.Rand, log *listenerLog, rooms []string, end uint64) {
	cursor := ""
	for round := 0; !log.done(rooms, end); round++ {
		s, err := w.tryListen(w.client(), roomsQuery(rooms), "Authorization", "Bearer "+token(w.t, "alice", time.Hour), "Last-Event-ID", cursor)
		if err != nil {
			w.t.Error(err)
			return
		}
		cut := time.AfterFunc(time.Duration(rnd.IntN(40))*time.Millisecond, s.close)
		if round > 500 {
			w.t.Errorf("%v of %d", log.last, end)
			return
		}
		for {
			ev, err := s.in.Next()
			if err != nil {
				break
			}
			cursor = ev.ID
			var o struct {
				Room   string
				Offset uint64
				Epoch  string
			}
			_ = json.Unmarshal([]byte(ev.Data), &o)
			switch ev.Name {
			case "connected":
			case "reset":
				log.reset(o.Room)
				if o.Offset == end { // there is nothing more to come
					log.last[o.Room], log.epochs[o.Room] = end, o.Epoch
				}
			default:
				log.event(ev.Data)
			}
			if log.done(rooms, end) {
				break
			}
		}
		cut.Stop()
		s.close()
	}
}

// byPoll listens by polling, with calls that are given up.
func byPoll(w *world, rnd *rand.Rand, log *listenerLog, rooms []string, _ uint64) {
	bearer := token(w.t, "bob", time.Hour)
	client := w.client()
	cursor := ""
	for round := 0; ; round++ {
		if round > 1000 {
			w.t.Errorf("no end: %v", log.last)
			return
		}
		finished := log.over.Load()
		req, err := http.NewRequest("GET", fmt.Sprintf("http://holdfast.test/poll%s&since=%s&wait=%d", roomsQuery(rooms), cursor, rnd.IntN(3)), nil)
		if err != nil {
			w.t.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		client.Timeout = time.Duration(1+rnd.IntN(40)) * time.Millisecond
		resp, err := client.Do(req)
		if err != nil {
			continue
		}
		var p polled
		err = json.NewDecoder(resp.Body).Decode(&p)
		resp.Body.Close()
		if err != nil || p.Cursor == "" {
			if cursor == "" || err != nil {
				continue
			}
			w.t.Errorf("%v %v", resp.Status, err)
			return
		}
		cursor = p.Cursor
		for _, room := range p.Reset {
			log.reset(room)
		}
		for _, ev := range p.Events {
			log.event(string(ev))
		}
		if finished && len(p.Events) == 0 && len(p.Reset) == 0 {
			return // it was asked after the last event
		}
	}
}

// Listeners who are cut off at random moments see every event of each room
// once and in order, or are told.
func TestResumeUnderLoad(t *testing.T) {
	rooms := []string{"a", "b", "c"}
	const each = 150
	for _, history := range []int{1000, 6} {
		resets := 0
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("history of %d, seed %d", history, seed), func(t *testing.T) {
				in(t, func(t *testing.T) {
					broker := hub.NewMemory(hub.MemoryConfig{Events: history})
					defer broker.Close()
					w := newWorld(t, server.Config{Broker: broker, AdmissionRate: -1, TotalAdmissionRate: -1})
					var listeners, publishers sync.WaitGroup
					var over atomic.Bool
					logs := make([]*listenerLog, 6)
					for i := range logs {
						logs[i] = &listenerLog{t: t, last: map[string]uint64{}, epochs: map[string]string{}, over: &over}
						rnd := rand.New(rand.NewPCG(seed, uint64(i)))
						by := byStream
						if i%2 == 1 {
							by = byPoll
						}
						listeners.Go(func() { by(w, rnd, logs[i], rooms, each) })
					}
					synctest.Wait()
					for i, room := range rooms {
						rnd := rand.New(rand.NewPCG(seed, uint64(100+i)))
						publishers.Go(func() {
							for n := range each {
								w.publish(room, "e", n+1)
								if rnd.IntN(3) == 0 {
									time.Sleep(time.Duration(rnd.IntN(10)) * time.Millisecond)
								}
							}
						})
					}
					publishers.Wait()
					over.Store(true)
					listeners.Wait()
					for i, log := range logs {
						resets += log.resets
						if history == 1000 && log.events != each*len(rooms) {
							t.Errorf("listener %d: %d events", i, log.events)
						}
					}
				})
			})
		}
		// Who was away for more than a short history is a matter of luck, but for somebody in three runs.
		if (resets > 0) != (history == 6) {
			t.Errorf("history of %d: %d resets", history, resets)
		}
	}
}
