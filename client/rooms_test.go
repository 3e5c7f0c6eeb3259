package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
)

// joinable is a server's side of rooms, as far as tests want one: it admits,
// acknowledges joins at offset 10 and leaves, and notes what it is asked.
type joinable struct {
	asked list[string]
	// answer, if set, may answer a join itself and then returns true.
	answer func(p *peer, id, room, payload string) bool
	// joined is called after a join was acknowledged.
	joined func(p *peer, room string)
}

func (j *joinable) script(p *peer) {
	p.admitAs("ann")
	stop := p.pings()
	defer stop()
	for {
		id, name, arg := p.event()
		if name == "" {
			return
		}
		j.asked.add(fmt.Sprintf("%d %s %s", p.n, strings.TrimPrefix(name, "room:"), arg))
		room := roomOf(arg)
		switch {
		case name == "room:join" && j.answer != nil && j.answer(p, id, room, string(arg)):
		case name == "room:join":
			recovered := ""
			if strings.Contains(string(arg), "since") {
				recovered = `,"recovered":true`
			}
			p.ok(id, fmt.Sprintf(`{"room":%q,"epoch":"e","offset":10%s}`, room, recovered))
			if j.joined != nil {
				p.sleep(time.Millisecond) // time to add handlers after Join
				j.joined(p, room)
			}
		case id != "":
			p.ok(id, "null")
		}
	}
}

func roomOf(arg []byte) string {
	var v struct{ Room string }
	_ = json.Unmarshal(arg, &v)
	return v.Room
}

// publish sends an event of a room.
func (p *peer) publish(room string, offset int, data string) {
	p.send(`42["note",%s,{"room":%q,"epoch":"e","offset":%d,"id":"i%d","from":"bob"}]`, data, room, offset, offset)
}

// rooms runs a test with a connected socket and a server of rooms.
func rooms(t *testing.T, j *joinable, test func(t *testing.T, f *fake, s *Socket)) {
	t.Helper()
	bubble(t, j.script, func(t *testing.T, f *fake) { test(t, f, f.connect(Config{})) })
}

func mustJoin(t *testing.T, s *Socket, room string, o JoinOptions) *Room {
	t.Helper()
	r, err := s.Join(patient(t), room, o)
	if err != nil {
		t.Fatalf("Join %q: %v", room, err)
	}
	return r
}

func TestRoomEvents(t *testing.T) {
	j := &joinable{joined: func(p *peer, room string) {
		p.publish(room, 11, `{"n":1}`)
		p.publish("another", 3, `{"n":2}`) // the server has put us there
		p.send(`42["note",{"n":3},{"room":7}]`)
		p.send(`452-["note",[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}],{"room":%q,"epoch":"e","offset":15}]`, room)
		p.sendBinary([]byte("x"))
		p.sendBinary([]byte("y"))
		p.send(`42["odd",1,{"room":%q,"epoch":"e","offset":16}]`, room)
	}}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		type note struct{ N int }
		var socket, typed, raw, all list[string]
		On(s, "note", func(_ context.Context, v any) { socket.add(fmt.Sprint(v)) })
		OnEvent(s, "note", func(_ context.Context, e Event[any]) { typed.add(fmt.Sprint(e)) })
		room := mustJoin(t, s, "a", JoinOptions{OnEvent: func(_ context.Context, e *holdfast.Event) { all.add(fmt.Sprint(e.Name, e.Position.Offset)) }})
		room.On("note", func(_ context.Context, e *holdfast.Event) {
			raw.add(fmt.Sprintf("%s %s %s %v %q %s %s", e.Room, e.Name, e.Data, e.Position, e.Attachments, e.ID, e.From))
		})
		OnEvent(room, "note", func(_ context.Context, e Event[note]) { typed.add(fmt.Sprint("room ", e.Data)) })
		On(room, "note", func(_ context.Context, v note) { typed.add(fmt.Sprint("plain ", v)) })
		Once(room, "odd", func(_ context.Context, n int) { typed.add(fmt.Sprint("odd ", n)) })
		if room.Name() != "a" || room.Position() != (holdfast.Position{Epoch: "e", Offset: 10}) {
			t.Errorf("%s at %v", room.Name(), room.Position())
		}
		time.Sleep(time.Second)
		for name, got := range map[string]struct{ got, want string }{
			"socket": {socket.String(), "[map[n:1] map[n:2] map[n:3] [map[$base64:eA==] map[$base64:eQ==]]]"},
			"typed":  {typed.String(), "[{a note map[n:1] {e 11} i11 bob} room {1} plain {1} {another note map[n:2] {e 3} i3 bob} {a note [map[$base64:eA==] map[$base64:eQ==]] {e 15}  } odd 1]"},
			"raw":    {raw.String(), `[a note {"n":1} {e 11} [] i11 bob a note [{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}] {e 15} ["x" "y"]  ]`},
			"all":    {all.String(), "[note11 note15 odd16]"},
		} {
			if got.got != got.want {
				t.Errorf("%s:\n got %s\nwant %s", name, got.got, got.want)
			}
		}
		if room.Position().Offset != 16 {
			t.Errorf("at %v", room.Position())
		}
	})
}

// L46: joined before, during and after the connection; twice; left once.
func TestL46RoomHolders(t *testing.T) {
	j := &joinable{}
	bubble(t, j.script, func(t *testing.T, f *fake) {
		s := f.client(Config{}).Socket()
		before := mustJoin(t, s, "before", JoinOptions{})
		if before.Position() != (holdfast.Position{}) {
			t.Error(before.Position())
		}
		during := make(chan error)
		go func() {
			changes, stop := s.Changes(1)
			defer stop()
			for c := range changes {
				if c.State == Connecting {
					break
				}
			}
			_, err := s.Join(patient(t), "during", JoinOptions{})
			during <- err
		}()
		synctest.Wait()
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		if err := <-during; err != nil {
			t.Error(err)
		}
		first := mustJoin(t, s, "after", JoinOptions{})
		second := mustJoin(t, s, "after", JoinOptions{})
		if before.Position().Offset != 10 || second.Position().Offset != 10 {
			t.Error(before.Position(), second.Position())
		}
		first.Leave()
		first.Leave()
		synctest.Wait()
		asked := j.asked.all()
		slices.Sort(asked)
		if want := []string{`1 join {"room":"after"}`, `1 join {"room":"before"}`, `1 join {"room":"during"}`}; !slices.Equal(asked, want) {
			t.Errorf("asked %q", asked)
		}
		second.Leave()
		synctest.Wait()
		if asked = j.asked.all(); asked[len(asked)-1] != `1 leave {"room":"after"}` {
			t.Errorf("asked %q", asked)
		}
		// A reconnect joins each once, with its position.
		f.restart()
		time.Sleep(2 * time.Second)
		asked = j.asked.all()[len(asked):]
		slices.Sort(asked)
		if want := []string{`2 join {"room":"before","since":{"epoch":"e","offset":10}}`, `2 join {"room":"during","since":{"epoch":"e","offset":10}}`}; !slices.Equal(asked, want) {
			t.Errorf("asked %q", asked)
		}
		// Leaving while disconnected is enough.
		f.stop()
		before.Leave()
		f.restart()
		time.Sleep(31 * time.Second)
		if asked = j.asked.all(); !strings.Contains(asked[len(asked)-1], "during") {
			t.Errorf("asked %q", asked)
		}
		s.Close()
		before.Leave()
		second.Leave()
	})
}

// L47
func TestL47JoinRefused(t *testing.T) {
	for _, info := range holdfast.Codes() {
		j := &joinable{answer: func(p *peer, id, room, payload string) bool { p.no(id, string(info.Code)); return true }}
		rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
			room, err := s.Join(patient(t), "a", JoinOptions{OnLeft: func(context.Context, error) { t.Error("told twice") }})
			if room != nil || !errors.Is(err, info.Code) {
				t.Errorf("%s: %v", info.Code, err)
			}
			f.restart()
			time.Sleep(time.Hour)
			if len(j.asked.all()) != 1 {
				t.Errorf("%s: asked %v", info.Code, &j.asked)
			}
		})
	}
	if _, err := (&Socket{}).Join(patient(t), "*", JoinOptions{}); !errors.Is(err, holdfast.InvalidArgument) {
		t.Error(err)
	}
}

func TestRoomLeftByServer(t *testing.T) {
	j := &joinable{joined: func(p *peer, room string) {
		p.publish(room, 11, "1")
		p.send(`42["room:left",{"room":%q,"code":"FORBIDDEN","message":"Gone."}]`, room)
		p.send(`42["room:left",{"room":"unknown","code":"FORBIDDEN","message":"Gone."}]`)
		p.publish(room, 12, "2") // the server errs
	}}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		var got list[string]
		mustJoin(t, s, "a", JoinOptions{
			OnEvent: func(_ context.Context, e *holdfast.Event) { got.add(string(e.Data)) },
			OnLeft:  func(_ context.Context, err error) { got.add(err.Error()) },
		})
		time.Sleep(time.Second)
		f.restart()
		time.Sleep(time.Minute)
		if got.String() != "[1 Gone. (FORBIDDEN)]" || len(j.asked.all()) != 1 {
			t.Errorf("got %v, asked %v", &got, &j.asked)
		}
	})
}

func TestJoinContext(t *testing.T) {
	j := &joinable{answer: func(p *peer, id, room, payload string) bool {
		if room == "late" {
			time.AfterFunc(5*time.Second, func() { p.ok(id, `{"room":"late","epoch":"e","offset":1}`) })
		}
		return room != "fine" // others are never answered
	}}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		for _, room := range []string{"mute", "late"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if _, err := s.Join(ctx, room, JoinOptions{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			cancel()
			if _, err := s.Join(ctx, room, JoinOptions{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
		mustJoin(t, s, "fine", JoinOptions{})
		time.Sleep(10 * time.Second)
		want := []string{`1 join {"room":"mute"}`, `1 leave {"room":"mute"}`, `1 join {"room":"late"}`, `1 leave {"room":"late"}`, `1 join {"room":"fine"}`}
		if !slices.Equal(j.asked.all(), want) || s.held() != 1 {
			t.Errorf("asked %q, %d rooms", j.asked.all(), s.held())
		}
		// A Join under way when the connection goes is answered by the next one.
		done := make(chan error)
		go func() {
			_, err := s.Join(patient(t), "slow", JoinOptions{})
			done <- err
		}()
		synctest.Wait()
		j.answer = nil
		f.restart()
		if err := <-done; err != nil {
			t.Error(err)
		}
		// And one that the end of the socket leaves without an answer gets that.
		go func() {
			_, err := s.Join(patient(t), "never", JoinOptions{})
			done <- err
		}()
		f.stop()
		synctest.Wait()
		s.Close()
		if err := <-done; err != nil && !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// After a leave the server may still send events of the room; they must not be
// taken for those of the join that follows.
func TestLeaveAndJoin(t *testing.T) {
	var got list[string]
	bubble(t, func(p *peer) {
		p.admitAs("ann")
		p.want(`420["room:join",{"room":"a"}]`)
		p.ok("0", `{"room":"a","epoch":"e","offset":10}`)
		p.want(`421["room:leave",{"room":"a"}]`)
		p.publish("a", 11, "11")
		p.publish("a", 12, "12")
		p.ok("1", "null")
		p.want(`422["room:join",{"room":"a","since":{"epoch":"e","offset":5}}]`)
		for i := 6; i < 13; i++ {
			p.publish("a", i, fmt.Sprint(i))
		}
		p.ok("2", `{"room":"a","epoch":"e","offset":12,"recovered":true}`)
		p.idle()
	}, func(t *testing.T, f *fake) {
		s := f.connect(Config{})
		room := mustJoin(t, s, "a", JoinOptions{OnEvent: func(context.Context, *holdfast.Event) { t.Error("event after Leave") }})
		room.Leave()
		mustJoin(t, s, "a", JoinOptions{
			Since:   &holdfast.Position{Epoch: "e", Offset: 5},
			OnEvent: func(_ context.Context, e *holdfast.Event) { got.add(string(e.Data)) },
		})
		synctest.Wait()
		if got.String() != "[6 7 8 9 10 11 12]" {
			t.Errorf("got %v", &got)
		}
	})
}

func TestLeaveInsideHandler(t *testing.T) {
	j := &joinable{joined: func(p *peer, room string) {
		for i := 11; i < 15; i++ {
			p.publish(room, i, fmt.Sprint(i))
		}
	}}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		var got list[string]
		rooms := make(chan *Room, 2)
		handler := func(_ context.Context, e *holdfast.Event) {
			got.add(string(e.Data))
			if e.Position.Offset == 12 {
				for range 2 {
					(<-rooms).Leave()
				}
			}
		}
		for range 2 {
			go func() { rooms <- mustJoin(t, s, "a", JoinOptions{OnEvent: handler}) }()
		}
		time.Sleep(time.Second)
		if got.String() != "[11 11 12]" {
			t.Errorf("got %v", &got)
		}
	})
}

// A Join inside a handler waits for an answer that is behind the events.
func TestJoinInsideHandler(t *testing.T) {
	j := &joinable{}
	j.joined = func(p *peer, room string) {
		if room == "a" {
			p.publish(room, 11, `"b"`)
			p.publish(room, 12, `"c"`)
		}
	}
	rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
		var got list[string]
		On(s, "note", func(ctx context.Context, room string) {
			_, err := s.Join(ctx, room, JoinOptions{})
			got.add(fmt.Sprint(room, err))
		})
		mustJoin(t, s, "a", JoinOptions{})
		time.Sleep(time.Second)
		if got.String() != "[b<nil> c<nil>]" {
			t.Errorf("got %v", &got)
		}
	})
}

// An answer that makes no sense is the joiner's error.
func TestJoinNonsense(t *testing.T) {
	for _, ack := range []string{`null`, `{"room":"a"}`, `7`} {
		j := &joinable{answer: func(p *peer, id, room, payload string) bool { p.ok(id, ack); return true }}
		rooms(t, j, func(t *testing.T, f *fake, s *Socket) {
			if _, err := s.Join(patient(t), "a", JoinOptions{}); err == nil || s.held() != 0 {
				t.Errorf("%s: %v, %d rooms", ack, err, s.held())
			}
		})
	}
}

// held returns how many rooms the socket keeps.
func (s *Socket) held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.rooms)
}

func TestMeta(t *testing.T) {
	for text, want := range map[string]bool{
		`[1,{"room":"a","epoch":"e","offset":0}]`:   true,
		`[1,{"room":"a","epoch":"e","offset":7.5}]`: false,
		`[1,{"room":"a","epoch":"e","offset":-1}]`:  false,
		`[1,{"room":"a","epoch":"e"}]`:              false,
		`[1,{"room":"","epoch":"e","offset":1}]`:    false,
		`[1,{"room":"a","offset":1}]`:               false,
		`[1,2,{"room":"a","epoch":"e","offset":1}]`: false,
		`[{"room":"a","epoch":"e","offset":1}]`:     false,
		`[1,"x"]`:                                   false,
		`[1]`:                                       false,
		`[]`:                                        false,
	} {
		var args socketio.Args
		if err := json.Unmarshal([]byte(text), &args.Values); err != nil {
			t.Fatal(err)
		}
		if got := new(meta).read(args, new(meta)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
