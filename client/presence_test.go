package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
)

func TestPresence(t *testing.T) {
	j := &joinable{answer: func(p *peer, id, room, payload string) bool {
		p.ok(id, fmt.Sprintf(`{"room":%q,"epoch":"e","offset":10,"presence":[{"id":"bob","data":%d,"connections":2}]}`, room, p.n))
		p.send(`42["presence:join",{"room":%q,"user":{"id":"eve","name":"Eve"}}]`, room)
		p.publish(room, 10+p.n, "1")
		p.send(`42["presence:update",{"room":%q,"user":{"id":"eve","data":{"at":1}}}]`, room)
		p.send(`42["presence:leave",{"room":%q,"user":{"id":"eve"}}]`, room)
		p.send(`42["presence:leave",{"room":"another","user":{"id":"eve"}}]`)
		p.send(`42["presence:leave",7]`)
		return true
	}}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		var got, socket list[string]
		On(s, "presence:join", func(_ context.Context, v any) { socket.add(fmt.Sprint(v)) })
		room := mustJoin(t, s, "a", JoinOptions{
			Presence: map[string]int{"x": 1},
			OnEvent:  func(_ context.Context, e *holdfast.Event) { got.add("event") },
			OnPresence: func(_ context.Context, e PresenceEvent) {
				got.add(fmt.Sprintf("%s %s %s %s %d", e.Kind, e.User.ID, e.User.Name, e.User.Data, len(e.Users)))
			},
		})
		time.Sleep(time.Second)
		if want := "[sync    1 join eve Eve  0 event update eve  {\"at\":1} 0 leave eve   0]"; got.String() != want {
			t.Errorf("got  %v\nwant %v", &got, want)
		}
		if socket.String() != "[map[room:a user:map[id:eve name:Eve]]]" {
			t.Error(&socket)
		}
		if err := room.SetPresence(t.Context(), map[string]int{"x": 2}); err != nil {
			t.Error(err)
		}
		f.stop()
		if err := room.SetPresence(t.Context(), map[string]int{"x": 3}); err != nil {
			t.Error(err)
		}
		f.restart()
		time.Sleep(31 * time.Second)
		if want := `[1 join {"room":"a","presence":{"x":1}} 1 presence:update {"room":"a","data":{"x":2}} 2 join {"room":"a","since":{"epoch":"e","offset":11},"presence":{"x":3}}]`; j.asked.String() != want {
			t.Errorf("asked %v\nwant  %v", &j.asked, want)
		}
		if err := room.SetPresence(t.Context(), func() {}); !errors.Is(err, holdfast.InvalidArgument) {
			t.Error(err)
		}
		if _, err := s.Join(patient(t), "b", JoinOptions{Presence: func() {}}); !errors.Is(err, holdfast.InvalidArgument) {
			t.Error(err)
		}
		// A second holder's presence is said at once.
		mustJoin(t, s, "a", JoinOptions{Presence: 4})
		synctest.Wait()
		if asked := j.asked.all(); asked[len(asked)-1] != `2 presence:update {"room":"a","data":4}` {
			t.Error(asked)
		}
		_ = room.Leave()
		if err := room.SetPresence(t.Context(), 1); !errors.Is(err, ErrLeft) {
			t.Error(err)
		}
		if err := room.Typing(t.Context()); !errors.Is(err, ErrLeft) {
			t.Error(err)
		}
	})
}

func TestPresenceGet(t *testing.T) {
	bubble(t, func(p *peer) {
		p.admitAs("ann")
		for _, answer := range []string{`{"room":"a","epoch":"e","offset":1}`, `[{"id":"bob","connections":2}]`} {
			id, _, _ := p.event()
			p.ok(id, answer)
		}
		id, _, _ := p.event()
		p.no(id, "FORBIDDEN")
		id, _, _ = p.event()
		p.ok(id, `{"not":"a list"}`)
		p.idle()
	}, func(t *testing.T, f *fake) {
		s := f.connect(Config{})
		room := mustJoin(t, s, "a", JoinOptions{})
		if users, err := room.Presence(t.Context()); err != nil || len(users) != 1 || users[0].ID != "bob" || users[0].Connections != 2 {
			t.Error(users, err)
		}
		if _, err := room.Presence(t.Context()); !errors.Is(err, holdfast.Forbidden) {
			t.Error(err)
		}
		if _, err := room.Presence(t.Context()); err == nil {
			t.Error("decoded")
		}
		f.stop()
		if _, err := room.Presence(t.Context()); !errors.Is(err, ErrNotConnected) {
			t.Error(err)
		}
	})
}

// Somebody types for 5 s after he last did.
func TestTyping(t *testing.T) {
	j := &joinable{joined: func(p *peer, room string) {
		for i := range 3 {
			if i > 0 {
				p.sleep(4 * time.Second)
			}
			p.send(`42["user_typing",{"room":%q,"user":{"id":"bob","name":"Bob"}}]`, room)
		}
	}}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		var got list[string]
		room := mustJoin(t, s, "a", JoinOptions{})
		start := time.Now()
		room.OnTyping(func(_ context.Context, v Typing) {
			got.add(fmt.Sprint(v.User.Name, v.Active, time.Since(start).Round(time.Second)))
		})
		time.Sleep(time.Minute)
		if got.String() != "[Bobtrue 0s Bobfalse 13s]" {
			t.Error(&got)
		}
		for range 70 { // 7 s of keys
			if err := room.Typing(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if asked := j.asked.String(); strings.Count(asked, "typing") != 3 {
			t.Error(asked)
		}
		for range 2 { // as soon as it may be said again
			time.Sleep(typingPause)
			if err := room.Typing(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if asked := j.asked.String(); strings.Count(asked, "typing") != 5 {
			t.Error(asked)
		}
		f.stop()
		time.Sleep(time.Minute)
		for range 2 { // not counted as said
			if err := room.Typing(t.Context()); !errors.Is(err, ErrNotConnected) {
				t.Error(err)
			}
		}
	})
	// Left while somebody types; and no more typers are known than may be.
	j.joined = func(p *peer, room string) {
		for i := range maxTypers + 10 {
			p.send(`42["user_typing",{"room":%q,"user":{"id":"u%d"}}]`, room, i)
		}
	}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		room := mustJoin(t, s, "a", JoinOptions{})
		var n atomic.Int32
		room.OnTyping(func(context.Context, Typing) { n.Add(1) })
		time.Sleep(time.Second)
		_ = room.Leave()
		time.Sleep(time.Minute)
		if n.Load() != maxTypers {
			t.Error(n.Load())
		}
	})
}

// Who says that he types as the time of it ends, types for 5 s more.
func TestTypingAsItEnds(t *testing.T) {
	const rounds, round = 300, 20 * time.Second
	j := &joinable{joined: func(p *peer, room string) {
		for range rounds {
			for _, then := range []time.Duration{typingLasts, round - typingLasts} {
				p.send(`42["user_typing",{"room":%q,"user":{"id":"bob"}}]`, room)
				p.sleep(then)
			}
		}
	}}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		room := mustJoin(t, s, "a", JoinOptions{})
		start := time.Now()
		var ended atomic.Int32 // after 10 s
		room.OnTyping(func(_ context.Context, v Typing) {
			if !v.Active && time.Since(start).Truncate(time.Second)%round == 2*typingLasts {
				ended.Add(1)
			}
		})
		time.Sleep(rounds * round)
		if n := ended.Load(); n != rounds {
			t.Errorf("he typed on %d times of %d", n, rounds)
		}
	})
}

func TestSignals(t *testing.T) {
	j := &joinable{joined: func(p *peer, room string) {
		p.send(`42["cursor",{"x":1},{"room":%q,"from":"bob","key":"k"}]`, room)
		p.send(`42["cursor",{"x":"odd"},{"room":%q}]`, room)
		p.send(`42["cursor",{"x":3},{"room":"another"}]`)
		p.publish(room, 11, "1")
	}}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		type at struct{ X int }
		var got list[string]
		room := mustJoin(t, s, "a", JoinOptions{})
		room.On("cursor", func(context.Context, *holdfast.Event) { t.Error("a signal is no event of the room") })
		room.OnAny(func(_ context.Context, e *holdfast.Event) { got.add(e.Name) })
		OnSignal(room, "cursor", func(_ context.Context, v Signal[at]) { got.add(fmt.Sprint("room ", v)) })
		OnSignal(s, "cursor", func(_ context.Context, v Signal[at]) { got.add(fmt.Sprint("socket ", v)) })
		On(s, "cursor", func(_ context.Context, v any) { got.add(fmt.Sprint("plain ", v)) })
		time.Sleep(time.Second)
		if want := "[socket {a cursor k {1} bob} plain map[x:1] room {a cursor k {1} bob} plain map[x:odd] plain map[x:3] note]"; got.String() != want {
			t.Errorf("got  %v\nwant %v", &got, want)
		}
		if err := room.Signal(t.Context(), "cursor", at{7}, "k"); err != nil {
			t.Error(err)
		}
		if err := room.Signal(t.Context(), "room:x", at{7}, ""); !errors.Is(err, holdfast.InvalidArgument) {
			t.Error(err)
		}
		if asked := j.asked.all(); asked[len(asked)-1] != `1 signal {"room":"a","event":"cursor","data":{"X":7},"key":"k"}` {
			t.Error(asked)
		}
		got.items = nil
		Off(room, "cursor")
		Off(s, "cursor")
		s.deliver(item{d: &delivery{event: "cursor", args: socketio.Args{}}})
		if len(got.all()) != 0 {
			t.Error(&got)
		}
	})
}

// Interceptors see emits before they go, and events before their handlers.
func TestInterceptEvents(t *testing.T) {
	j := &joinable{joined: func(p *peer, room string) {
		p.publish(room, 11, "1")
		p.send(`42["bad",1]`)
		p.send(`42["panic",1]`)
	}}
	bubble(t, j.script, func(t *testing.T, f *fake) {
		var log list[string]
		s := f.connect(Config{Interceptors: []Interceptor{
			{}, {
				Emit: func(_ context.Context, m *Message) error {
					switch m.Event {
					case "no":
						return holdfast.Forbidden.New()
					case "reserved":
						m.Event = "connect"
					case "renamed":
						m.Event = "new"
					}
					return nil
				},
				Event: func(_ context.Context, m *Message) error {
					log.add(m.Namespace + " " + m.Event)
					switch m.Event {
					case "bad":
						return errors.New("kept")
					case "panic":
						panic("x")
					case "note":
						m.Args, _ = socketio.NewArgs(2)
					}
					return nil
				},
			},
		}})
		var got list[string]
		s.OnAny(func(_ context.Context, e string, args socketio.Args) { got.add(fmt.Sprintf("%s %s", e, args.Values)) })
		room := mustJoin(t, s, "a", JoinOptions{})
		time.Sleep(time.Second)
		if log.String() != "[/ auth:session / note / bad / panic]" || !strings.Contains(got.String(), "note [2]") || strings.Contains(got.String(), "bad") || strings.Contains(got.String(), "panic") {
			t.Error(&log, &got)
		}
		if room.Position().Offset != 11 {
			t.Error(room.Position())
		}
		if err := s.Emit(t.Context(), "no"); !errors.Is(err, holdfast.Forbidden) {
			t.Error(err)
		}
		if _, err := EmitAck[any](patient(t), s, "reserved", 1); !errors.Is(err, holdfast.InvalidArgument) {
			t.Error(err)
		}
		mustEmit(t, s, "renamed", 1)
		synctest.Wait()
		if asked := j.asked.all(); asked[len(asked)-1] != "1 new 1" {
			t.Error(asked)
		}
	})
}

// An interceptor may leave an event of a room without data.
func TestInterceptorTakesData(t *testing.T) {
	j := &joinable{joined: func(p *peer, room string) { p.publish(room, 11, "1") }}
	bubble(t, j.script, func(t *testing.T, f *fake) {
		s := f.connect(Config{Interceptors: []Interceptor{{Event: func(_ context.Context, m *Message) error {
			m.Args = socketio.Args{}
			return nil
		}}}})
		var got list[string]
		room := mustJoin(t, s, "a", JoinOptions{OnEvent: func(_ context.Context, e *holdfast.Event) {
			got.add(fmt.Sprint(e.Name, len(e.Data), e.Position.Offset))
		}})
		time.Sleep(time.Second)
		if got.String() != "[note0 11]" || room.Position().Offset != 11 {
			t.Error(&got, room.Position())
		}
	})
}

// A list of who is in a room counts for its length.
func TestPresenceCounts(t *testing.T) {
	j := &joinable{answer: func(p *peer, id, room, payload string) bool {
		p.ok(id, fmt.Sprintf(`{"room":%q,"epoch":"e","offset":10,"presence":[%s{"id":"bob"}]}`, room, strings.Repeat(`{"id":"eve"},`, 8)))
		return true
	}}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		mustJoin(t, s, "a", JoinOptions{OnPresence: func(context.Context, PresenceEvent) { time.Sleep(time.Minute) }})
		time.Sleep(time.Second) // its handler is busy with it
		s.inbox.mu.Lock()
		bytes := s.inbox.bytes
		s.inbox.mu.Unlock()
		if bytes != 10*itemCost {
			t.Errorf("9 users count for %d bytes", bytes)
		}
		time.Sleep(time.Minute)
	})
}
