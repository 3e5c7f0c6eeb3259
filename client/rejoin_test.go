package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// L48: what was missed comes in order, once, before live events; or a reset.
func TestL48Rejoin(t *testing.T) {
	j := &joinable{}
	j.joined = func(p *peer, room string) { p.publish(room, 11, "11"); p.publish(room, 12, "12") }
	j.answer = func(p *peer, id, room, payload string) bool {
		switch p.n {
		case 2: // recovered, with an overlap that the socket must hide
			p.publish(room, 12, "12")
			p.publish(room, 13, "13")
			p.publish(room, 15, "15")
			p.ok(id, `{"room":"a","epoch":"e","offset":16,"recovered":true}`)
			p.publish(room, 17, "17")
			return true
		case 3: // history is gone
			p.ok(id, `{"room":"a","epoch":"f","offset":2,"recovered":false}`)
			p.send(`42["note",3,{"room":"a","epoch":"f","offset":3}]`)
			return true
		}
		return false
	}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		var got list[string]
		room := mustJoin(t, s, "a", JoinOptions{
			OnEvent: func(_ context.Context, e *holdfast.Event) { got.add(string(e.Data)) },
			OnReset: func(_ context.Context, r Reset) { got.add(fmt.Sprint("reset ", r)) },
		})
		time.Sleep(time.Second)
		f.restart()
		time.Sleep(2 * time.Second)
		if room.Position().Offset != 17 {
			t.Errorf("at %v", room.Position())
		}
		f.restart()
		time.Sleep(2 * time.Second)
		if got.String() != "[11 12 13 15 17 reset {a {f 2}} 3]" || room.Position() != (holdfast.Position{Epoch: "f", Offset: 3}) {
			t.Errorf("got %v, at %v", &got, room.Position())
		}
		want := []string{`1 join {"room":"a"}`, `2 join {"room":"a","since":{"epoch":"e","offset":12}}`, `3 join {"room":"a","since":{"epoch":"e","offset":17}}`}
		if !slices.Equal(j.asked.all(), want) {
			t.Errorf("asked %q", j.asked.all())
		}
	})
}

func TestJoinSince(t *testing.T) {
	j := &joinable{answer: func(p *peer, id, room, payload string) bool {
		p.publish(room, 6, "6")
		p.publish(room, 9, "9")
		p.ok(id, `{"room":"a","epoch":"e","offset":9,"recovered":true}`)
		return true
	}}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		var got list[string]
		room := mustJoin(t, s, "a", JoinOptions{
			Since:   &holdfast.Position{Epoch: "e", Offset: 5},
			OnEvent: func(_ context.Context, e *holdfast.Event) { got.add(string(e.Data)) },
		})
		synctest.Wait()
		if got.String() != "[6 9]" || room.Position().Offset != 9 {
			t.Errorf("got %v, at %v", &got, room.Position())
		}
		// A second holder gets no replay, and the asking is not repeated.
		again := mustJoin(t, s, "a", JoinOptions{Since: &holdfast.Position{Epoch: "e", Offset: 1}})
		if again.Position().Offset != 9 || len(j.asked.all()) != 1 {
			t.Errorf("at %v, asked %v", again.Position(), &j.asked)
		}
	})
}

// Events that wait for their handlers when the connection goes are not asked
// for again.
func TestRejoinWithFullInbox(t *testing.T) {
	j := &joinable{}
	j.joined = func(p *peer, room string) {
		if p.n == 1 {
			for i := range 10 {
				p.publish(room, 11+i, fmt.Sprint(11+i))
			}
		}
	}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		var got list[string]
		room := mustJoin(t, s, "a", JoinOptions{OnEvent: func(_ context.Context, e *holdfast.Event) {
			time.Sleep(time.Second)
			got.add(string(e.Data))
		}})
		time.Sleep(10 * time.Millisecond)
		if room.Position().Offset > 11 {
			t.Errorf("at %v before the handlers", room.Position())
		}
		f.restart()
		time.Sleep(time.Minute)
		if got.String() != "[11 12 13 14 15 16 17 18 19 20]" || room.Position().Offset != 20 {
			t.Errorf("got %v, at %v", &got, room.Position())
		}
		if asked := j.asked.all(); asked[1] != `2 join {"room":"a","since":{"epoch":"e","offset":20}}` {
			t.Errorf("asked %q", asked)
		}
	})
}

// A refused rejoin is told to the holders at once where that is for good.
func TestL47RejoinRefused(t *testing.T) {
	for code, want := range map[holdfast.Code]int{
		holdfast.Forbidden:    1,
		holdfast.NotFound:     1,
		holdfast.TokenExpired: 1, // no Source to refresh from
	} {
		j := &joinable{answer: func(p *peer, id, room, payload string) bool {
			if p.n > 1 {
				p.no(id, string(code))
			}
			return p.n > 1
		}}
		rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
			var left list[string]
			room := mustJoin(t, s, "a", JoinOptions{OnLeft: func(_ context.Context, err error) { left.add(fmt.Sprint(errors.Is(err, code))) }})
			mustJoin(t, s, "a", JoinOptions{}).OnLeft(func(_ context.Context, err error) { left.add("second") })
			f.restart()
			time.Sleep(10 * time.Minute)
			if n := len(j.asked.all()) - 1; n != want || left.String() != "[true second]" {
				t.Errorf("%s: asked %d times, left %v", code, n, &left)
			}
			f.restart()
			time.Sleep(time.Minute)
			if n := len(j.asked.all()) - 1; n != want {
				t.Errorf("%s: asked again", code)
			}
			room.Leave()
		})
	}
}

// One that may pass is not told, however long it takes: the room is asked for
// until the server lets the socket in, and goes on where it was.
func TestL47RejoinRefusedForNow(t *testing.T) {
	const refusals = 40
	for _, code := range []holdfast.Code{holdfast.RateLimited, holdfast.Internal, holdfast.ConnectionLimit, holdfast.GoingAway} {
		j := &joinable{}
		j.answer = func(p *peer, id, room, payload string) bool {
			switch n := len(j.asked.all()); {
			case n == 1:
				return false
			case n <= 1+refusals:
				p.no(id, string(code))
			default:
				p.publish(room, 11, "11")
				p.ok(id, `{"room":"a","epoch":"e","offset":11,"recovered":true}`)
			}
			return true
		}
		rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
			var got list[string]
			mustJoin(t, s, "a", JoinOptions{
				OnEvent: func(_ context.Context, e *holdfast.Event) { got.add(string(e.Data)) },
				OnLeft:  func(_ context.Context, err error) { t.Errorf("%s: left: %v", code, err) },
			})
			f.restart()
			time.Sleep(time.Hour)
			if n := len(j.asked.all()); n != 2+refusals || got.String() != "[11]" {
				t.Errorf("%s: asked %d times, got %v", code, n, &got)
			}
		})
	}
}

// Many rooms are joined again a few at a time.
func TestManyRooms(t *testing.T) {
	const n = 100
	var mu sync.Mutex
	var most, now int // guarded by mu
	j := &joinable{}
	j.answer = func(p *peer, id, room, payload string) bool {
		if p.n == 1 {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		now++
		most = max(most, now)
		time.AfterFunc(100*time.Millisecond, func() {
			mu.Lock()
			now--
			mu.Unlock()
			p.ok(id, fmt.Sprintf(`{"room":%q,"epoch":"e","offset":10,"recovered":true}`, room))
		})
		return true
	}
	bubble(t, j.script, func(t *testing.T, f *fake) {
		s := f.connect(Config{})
		for i := range n {
			mustJoin(t, s, fmt.Sprint("room-", i), JoinOptions{})
		}
		f.restart()
		time.Sleep(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if most != joinWindow || len(j.asked.all()) != 2*n {
			t.Errorf("%d at once, %d in all", most, len(j.asked.all()))
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, r := range s.rooms {
			if !r.member {
				t.Errorf("not in %s", r.name)
			}
		}
	})
}

// A stopped socket keeps its rooms for the next Connect.
func TestRoomsAfterStop(t *testing.T) {
	j := &joinable{}
	bubble(t, func(p *peer) {
		if p.n == 2 {
			p.hello()
			p.send(`44{"message":"No.","data":{"code":"FORBIDDEN"}}`)
			p.idle()
			return
		}
		j.script(p)
	}, func(t *testing.T, f *fake) {
		s := f.connect(Config{})
		room := mustJoin(t, s, "a", JoinOptions{})
		f.restart()
		time.Sleep(time.Minute)
		if last := lastChange(s); !last.Final || !errors.Is(last.Err, holdfast.Forbidden) {
			t.Errorf("%+v", last)
		}
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if asked := j.asked.all(); len(asked) != 2 || asked[1] != `3 join {"room":"a","since":{"epoch":"e","offset":10}}` || room.Position().Offset != 10 {
			t.Errorf("asked %q, at %v", asked, room.Position())
		}
	})
}

// Of two Joins that wait for a room one is taken back: the other one is answered.
func TestJoinTakenBack(t *testing.T) {
	j := &joinable{answer: func(p *peer, id, room, payload string) bool {
		time.AfterFunc(5*time.Second, func() { p.ok(id, `{"room":"a","epoch":"e","offset":1}`) })
		return true
	}}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		for _, patient := range []int{0, 1} { // which of the two, in their order
			ctx := [2]context.Context{t.Context(), t.Context()}
			var cancel context.CancelFunc
			ctx[1-patient], cancel = context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			type joined struct {
				room *Room
				err  error
			}
			var done [2]chan joined
			for i := range done {
				done[i] = make(chan joined, 1)
				go func() {
					room, err := s.Join(ctx[i], "a", JoinOptions{})
					done[i] <- joined{room, err}
				}()
				synctest.Wait()
			}
			if got := <-done[1-patient]; got.room != nil || !errors.Is(got.err, context.DeadlineExceeded) {
				t.Error(got)
			}
			time.Sleep(10 * time.Second)
			select {
			case got := <-done[patient]:
				if got.err != nil {
					t.Fatal(got.err)
				}
				_ = got.room.Leave()
			default:
				t.Fatal("the other was forgotten")
			}
			synctest.Wait()
		}
		if want := `[1 join {"room":"a"} 1 leave {"room":"a"} 1 join {"room":"a"} 1 leave {"room":"a"}]`; j.asked.String() != want || s.held() != 0 {
			t.Errorf("asked %v, %d rooms", &j.asked, s.held())
		}
	})
}
