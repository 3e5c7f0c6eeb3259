package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/socketio"
	"github.com/holdfast-dev/holdfast/tokens"
)

// taker is a server's side of queued events. It notes "name arg" of each, and
// acknowledges unless answer says otherwise.
type taker struct {
	plain bool
	user  func(p *peer) string // default "ann"
	got   list[string]
	ids   list[string]
	// answer returns the ack's one argument, "" for none, "cut" to end the
	// connection.
	answer func(n int, p *peer, name string) string
}

func (k *taker) count() int { return len(k.got.all()) }

func (k *taker) script(p *peer) {
	switch {
	case k.plain:
		p.admit()
	case k.user != nil:
		p.hello()
		p.send(`40{"sid":"s%d"}`, p.n)
		p.send(`42["auth:session",{"user":{"id":%q},"connection":"c%d","features":["refresh","id","since"]}]`, k.user(p), p.n)
	default:
		p.admitAs("ann")
	}
	defer p.pings()()
	for {
		text, ok := strings.CutPrefix(p.next(), "42")
		if !ok {
			return
		}
		i := strings.IndexByte(text, '[')
		var args []json.RawMessage
		if err := json.Unmarshal([]byte(text[i:]), &args); err != nil {
			p.Errorf("%q: %v", text, err)
			return
		}
		var name, arg string
		_ = json.Unmarshal(args[0], &name)
		if len(args) > 1 {
			arg = string(args[1])
		}
		var last struct {
			HF struct{ ID string } `json:"$hf"`
		}
		_ = json.Unmarshal(args[len(args)-1], &last)
		k.got.add(strings.TrimSpace(name + " " + arg))
		k.ids.add(last.HF.ID)
		answer := `{"ok":true,"data":null}`
		if name == "auth:refresh" {
			answer = `{"ok":true,"data":{"expiresAt":1,"expiresIn":1}}`
		}
		if k.answer != nil {
			if a := k.answer(k.count(), p, name); a != "ok" {
				answer = a
			}
		}
		switch {
		case answer == "cut":
			return
		case answer != "" && i > 0:
			p.send("43%s[%s]", text[:i], answer)
		}
	}
}

func refuse(code holdfast.Code) string {
	return fmt.Sprintf(`{"ok":false,"error":{"message":"No.","code":%q}}`, string(code))
}

// offline runs a test with a socket that has a queue and isn't connected.
func offline(t *testing.T, k *taker, cfg Config, test func(t *testing.T, f *fake, s *Socket, q *queue.Memory)) {
	t.Helper()
	bubble(t, k.script, func(t *testing.T, f *fake) {
		q := queue.NewMemory(queue.Limits{Items: 5})
		if cfg.Socket.Queue == nil {
			cfg.Socket.Queue = q
		}
		test(t, f, f.client(cfg).Socket(), q)
	})
}

func mustEmit(t *testing.T, s *Socket, event string, args ...any) {
	t.Helper()
	if err := s.Emit(t.Context(), event, args...); err != nil {
		t.Fatalf("Emit %s: %v", event, err)
	}
}

func mustConnect(t *testing.T, s *Socket) {
	t.Helper()
	if err := s.Connect(patient(t)); err != nil {
		t.Fatal(err)
	}
}

func events(q *queue.Memory) string {
	var out []string
	for _, i := range q.Items() {
		out = append(out, i.Event)
	}
	return strings.Join(out, " ")
}

const jwtOfAnn = "e30.eyJzdWIiOiJhbm4ifQ.x" // {"sub":"ann"}

// L60, L61: what is emitted offline is kept, in order and with an id, sent in
// that order, and gone when it is acknowledged.
func TestL60L61Queued(t *testing.T) {
	k := &taker{}
	offline(t, k, Config{Source: tokens.Static(jwtOfAnn)}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
		mustEmit(t, s, "a", 1)
		mustEmit(t, s, "b", map[string]int{"n": 2}, "more")
		mustEmit(t, s, "c")
		items := q.Items()
		if events(q) != "a b c" || items[1].User != "ann" || items[1].Namespace != "/" || string(items[1].Args) != `[{"n":2},"more"]` || len(items[0].ID) != 26 {
			t.Fatalf("%+v", items)
		}
		ids := []string{items[0].ID, items[1].ID, items[2].ID}
		mustConnect(t, s)
		time.Sleep(time.Second)
		mustEmit(t, s, "d")
		synctest.Wait()
		if k.got.String() != `[a 1 b {"n":2} c d {"$hf":{"id":"`+k.ids.all()[3]+`"}}]` && !slices.Equal(k.ids.all()[:3], ids) {
			t.Errorf("%v, ids %v want %v", &k.got, &k.ids, ids)
		}
		if !slices.Equal(k.ids.all()[:3], ids) || events(q) != "" {
			t.Errorf("ids %v, want %v; left %s", &k.ids, ids, events(q))
		}
	})
}

// An event that was emitted while others wait does not overtake them; one with
// a Volatile context does.
func TestQueueKeepsOrder(t *testing.T) {
	k := &taker{}
	k.answer = func(n int, p *peer, name string) string {
		if name == "slow" {
			p.sleep(time.Minute)
		}
		return "ok"
	}
	offline(t, k, Config{}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
		if err := s.Emit(Volatile(t.Context()), "now"); !errors.Is(err, ErrNotConnected) {
			t.Error(err)
		}
		s.cfg.AckTimeout = time.Hour
		k.user = func(*peer) string { return "" }
		mustConnect(t, s)
		time.Sleep(2 * time.Second)
		mustEmit(t, s, "slow")
		synctest.Wait()
		mustEmit(t, s, "next")
		if err := s.Emit(Volatile(t.Context()), "now"); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Minute)
		got := k.got.all()
		for i := range got {
			got[i], _, _ = strings.Cut(got[i], " ")
		}
		if fmt.Sprint(got) != "[slow now next]" {
			t.Error(got)
		}
	})
}

// L62: cut between send and ack.
func TestL62SentAgain(t *testing.T) {
	k := &taker{answer: func(n int, p *peer, name string) string {
		if n == 2 {
			return "cut"
		}
		if name == "b" {
			return `{"ok":true,"data":42}`
		}
		return "ok"
	}}
	offline(t, k, Config{Source: tokens.Static(jwtOfAnn)}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
		mustEmit(t, s, "a", 0)
		answer := make(chan string)
		go func() {
			n, err := EmitAck[int](patient(t), s, "b", 1)
			answer <- fmt.Sprint(n, err)
		}()
		synctest.Wait()
		mustEmit(t, s, "c", 2)
		mustConnect(t, s)
		if got := <-answer; got != "42<nil>" && got != "42 <nil>" {
			t.Error(got)
		}
		time.Sleep(time.Second)
		ids := k.ids.all()
		if k.got.String() != "[a 0 b 1 b 1 c 2]" || ids[1] != ids[2] || ids[0] == ids[1] || events(q) != "" {
			t.Errorf("%v %v, left %s", &k.got, ids, events(q))
		}
	})
}

// L64
func TestL64QueueFull(t *testing.T) {
	offline(t, &taker{}, Config{}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
		for range 5 {
			mustEmit(t, s, "a")
		}
		if err := s.Emit(t.Context(), "b"); !errors.Is(err, ErrQueueFull) {
			t.Error(err)
		}
		if _, err := EmitAck[any](patient(t), s, "b", nil); !errors.Is(err, ErrQueueFull) {
			t.Error(err)
		}
		if events(q) != "a a a a a" {
			t.Error(events(q))
		}
		s.Close()
		if err := s.Emit(t.Context(), "b"); !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	})
}

// L65: by each code that means to stop.
func TestL65Dead(t *testing.T) {
	for _, info := range holdfast.Codes() {
		if info.Action != holdfast.ActionStop && info.Action != holdfast.ActionNewCSRF {
			continue
		}
		k := &taker{answer: func(n int, p *peer, name string) string {
			if name == "bad" {
				return refuse(info.Code)
			}
			return "ok"
		}}
		offline(t, k, Config{Source: tokens.Static(jwtOfAnn)}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
			var told list[string]
			s.OnDead(func(_ context.Context, d queue.Dead) { told.add(fmt.Sprint(d.Item.Event, " ", d.Code, " ", d.Message)) })
			mustEmit(t, s, "bad")
			failed := make(chan error)
			go func() {
				_, err := EmitAck[any](patient(t), s, "bad", nil)
				failed <- err
			}()
			synctest.Wait()
			mustEmit(t, s, "good")
			mustConnect(t, s)
			if err := <-failed; !errors.Is(err, info.Code) {
				t.Error(err)
			}
			time.Sleep(time.Second)
			want := fmt.Sprintf("[bad %s No. bad %[1]s No.]", info.Code)
			if told.String() != want || events(q) != "" || len(q.Dead()) != 2 || q.Dead()[0].Code != info.Code || k.count() != 3 {
				t.Errorf("told %v, left %s, dead %+v, sent %d", &told, events(q), q.Dead(), k.count())
			}
		})
	}
}

// Refusals that pass, by the table of codes.
func TestQueueRefusedInPassing(t *testing.T) {
	for code, wait := range map[holdfast.Code]time.Duration{holdfast.RateLimited: 40 * time.Second, holdfast.Internal: 0, holdfast.GoingAway: 0, holdfast.ConnectionLimit: 0} {
		k := &taker{answer: func(n int, p *peer, name string) string {
			if n <= 3 {
				return fmt.Sprintf(`{"ok":false,"error":{"message":"No.","code":%q,"retryAfter":%d}}`, string(code), int(wait.Seconds()))
			}
			return "ok"
		}}
		offline(t, k, Config{Source: tokens.Static(jwtOfAnn)}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
			mustEmit(t, s, "a", 1)
			mustEmit(t, s, "b", 1)
			mustConnect(t, s)
			start := time.Now()
			for n := 0; events(q) != "" && n < 10_000; n++ {
				time.Sleep(100 * time.Millisecond)
			}
			ids := k.ids.all()
			if k.got.String() != "[a 1 a 1 a 1 a 1 b 1]" || ids[0] != ids[3] || time.Since(start) < 3*wait || f.connections() != 1 {
				t.Errorf("%s: %v after %v", code, &k.got, time.Since(start))
			}
		})
	}
	t.Run("limit", func(t *testing.T) {
		k := &taker{answer: func(int, *peer, string) string { return refuse(holdfast.Internal) }}
		offline(t, k, Config{Socket: SocketConfig{QueueTries: 3}, Source: tokens.Static(jwtOfAnn)}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
			mustEmit(t, s, "a", 1)
			mustConnect(t, s)
			time.Sleep(time.Minute)
			if k.count() != 3 || len(q.Dead()) != 1 || q.Dead()[0].Code != holdfast.Internal {
				t.Error(k.count(), q.Dead())
			}
		})
	})
}

// Refusals of the token: it is renewed on the connection, or the session ends.
func TestQueueTokenRefused(t *testing.T) {
	for code, want := range map[holdfast.Code]string{
		holdfast.TokenExpired:           `[a 1 auth:refresh {"token":"t1"} a 1]`,
		holdfast.PermissionVersionStale: `[a 1 auth:refresh {"token":"t1"} a 1]`,
		holdfast.Unauthenticated:        `[a 1 auth:refresh {"token":"t1"} a 1]`,
		holdfast.SessionRevoked:         `[a 1]`,
	} {
		k := &taker{answer: func(n int, p *peer, name string) string {
			if n == 1 {
				return refuse(code)
			}
			return "ok"
		}}
		offline(t, k, Config{Source: &source{}}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
			mustConnect(t, s)
			time.Sleep(2 * time.Second)
			mustEmit(t, s, "a", 1)
			time.Sleep(time.Minute)
			if k.got.String() != want {
				t.Errorf("%s: %v", code, &k.got)
			}
			if last := lastChange(s); code == holdfast.SessionRevoked && (!last.Final || !errors.Is(last.Err, code) || events(q) != "a") {
				t.Errorf("%+v, left %q", last, events(q))
			}
		})
	}
	k := &taker{answer: func(n int, p *peer, name string) string {
		if name == "a" {
			return refuse(holdfast.Unauthenticated)
		}
		return "ok"
	}}
	offline(t, k, Config{Source: &source{}}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
		mustConnect(t, s)
		time.Sleep(2 * time.Second)
		mustEmit(t, s, "a", 1)
		time.Sleep(time.Minute)
		if len(q.Dead()) != 1 {
			t.Errorf("%v", &k.got)
		}
	})
}

// L66
func TestL66Withdrawn(t *testing.T) {
	k := &taker{}
	offline(t, k, Config{Source: tokens.Static(jwtOfAnn)}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if _, err := EmitAck[any](ctx, s, "never", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if events(q) != "" {
			t.Errorf("left %s", events(q))
		}
		mustConnect(t, s)
		time.Sleep(2 * time.Second)
		if k.count() != 0 {
			t.Errorf("%v", &k.got)
		}
		// One that was sent stays until it is acknowledged.
		k.answer = func(n int, p *peer, name string) string {
			if n == 1 {
				p.sleep(time.Hour)
				return "cut"
			}
			return "ok"
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := EmitAck[any](ctx, s, "sent", nil); !errors.Is(err, context.DeadlineExceeded) || events(q) != "sent" {
			t.Error(err, events(q))
		}
		f.restart()
		time.Sleep(time.Minute)
		if ids := k.ids.all(); len(ids) != 2 || ids[0] != ids[1] || events(q) != "" {
			t.Error(ids, events(q))
		}
	})
	// Close withdraws too.
	offline(t, &taker{}, Config{}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
		failed := make(chan error)
		go func() {
			_, err := EmitAck[any](patient(t), s, "never", nil)
			failed <- err
		}()
		synctest.Wait()
		s.Close()
		if err := <-failed; !errors.Is(err, ErrClosed) || events(q) != "" {
			t.Error(err, events(q))
		}
	})
}

// L67: sockets that share a queue send each item once.
func TestL67Shared(t *testing.T) {
	k := &taker{}
	bubble(t, func(p *peer) {
		one := &taker{answer: func(n int, p *peer, name string) string {
			p.sleep(100 * time.Millisecond)
			return "ok"
		}}
		defer func() {
			for _, g := range one.got.all() {
				k.got.add(g)
			}
		}()
		one.script(p)
	}, func(t *testing.T, f *fake) {
		q := queue.NewMemory(queue.Limits{})
		cfg := Config{Source: tokens.Static(jwtOfAnn), Socket: SocketConfig{Queue: q}}
		a, b := f.client(cfg).Socket(), f.client(cfg).Socket()
		mustConnect(t, a)
		mustConnect(t, b)
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		var elsewhere list[error]
		for i := range 10 {
			wg.Go(func() {
				if err := a.Emit(t.Context(), "a", i); err != nil {
					t.Error(err)
				}
				if _, err := EmitAck[any](patient(t), b, "b", i); err != nil {
					elsewhere.add(err)
				}
			})
		}
		wg.Wait()
		for n := 0; events(q) != "" && n < 10_000; n++ {
			time.Sleep(time.Second)
		}
		for _, err := range elsewhere.all() {
			if !errors.Is(err, ErrElsewhere) {
				t.Error(err)
			}
		}
		a.Close()
		b.Close()
		synctest.Wait()
		got := k.got.all()
		slices.Sort(got)
		if len(got) != 20 || len(slices.Compact(got)) != 20 {
			t.Errorf("%d: %v", len(got), got)
		}
	})
	// The one that leads is lost: the other goes on.
	k = &taker{}
	offline(t, k, Config{Source: tokens.Static(jwtOfAnn)}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
		other := f.client(Config{Source: tokens.Static(jwtOfAnn), Socket: SocketConfig{Queue: q}}).Socket()
		mustConnect(t, s)
		mustConnect(t, other)
		time.Sleep(time.Second)
		s.Close()
		mustEmit(t, other, "a")
		time.Sleep(time.Second)
		if k.count() != 1 || events(q) != "" {
			t.Errorf("%v", &k.got)
		}
	})
}

// A plain Socket.IO server gets no ids, and is not asked for ever.
func TestL41PlainQueue(t *testing.T) {
	k := &taker{plain: true, answer: func(n int, p *peer, name string) string {
		switch {
		case name == "mute":
			return ""
		case n == 2:
			return "cut"
		}
		return `"any"`
	}}
	offline(t, k, Config{Source: tokens.Static("opaque")}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
		if err := s.Emit(t.Context(), "a"); !errors.Is(err, ErrNoUser) {
			t.Error(err)
		}
		mustConnect(t, s)
		time.Sleep(2 * time.Second)
		mustEmit(t, s, "a", 1)
		mustEmit(t, s, "b", 2)
		mustEmit(t, s, "mute", 3)
		if v, err := EmitAck[string](patient(t), s, "d", 4); v != "any" || err != nil {
			t.Error(v, err)
		}
		if k.got.String() != "[a 1 b 2 b 2 mute 3 mute 3 mute 3 d 4]" || strings.Join(k.ids.all(), "") != "" {
			t.Errorf("%v %v", &k.got, &k.ids)
		}
		if len(q.Dead()) != 1 || q.Dead()[0].Item.Event != "mute" {
			t.Errorf("%+v", q.Dead())
		}
		if _, err := EmitAck[string](patient(t), s, "mute", 5); !errors.Is(err, holdfast.Internal) {
			t.Error("never acknowledged, and", err)
		}
	})
}

// A Holdfast server that doesn't answer is asked again with the same id.
func TestQueueAckTimeout(t *testing.T) {
	k := &taker{answer: func(n int, p *peer, name string) string {
		if n <= 5 {
			return ""
		}
		return "ok"
	}}
	offline(t, k, Config{Source: tokens.Static(jwtOfAnn)}, func(t *testing.T, f *fake, s *Socket, q *queue.Memory) {
		mustEmit(t, s, "a", 1)
		mustConnect(t, s)
		time.Sleep(6 * time.Minute)
		ids := k.ids.all()
		if len(ids) != 6 || len(slices.Compact(ids)) != 1 || events(q) != "" || f.connections() != 1 {
			t.Errorf("%v, left %s", ids, events(q))
		}
	})
}

// What can't be sent at all is dead, not in the way.
func TestQueueUnsendable(t *testing.T) {
	k := &taker{}
	offline(t, k, Config{Source: tokens.Static(jwtOfAnn), Socket: SocketConfig{Queue: queue.NewMemory(queue.Limits{Bytes: 5 << 20})}}, func(t *testing.T, f *fake, s *Socket, _ *queue.Memory) {
		q := s.cfg.Queue.(*queue.Memory)
		mustEmit(t, s, "big", make([]byte, 2_000_000))
		bad := queue.Item{ID: queue.NewID(), User: "ann", Namespace: "/", Event: "bad", Args: json.RawMessage(`{}`)}
		if err := q.Add(t.Context(), bad); err != nil {
			t.Fatal(err)
		}
		if err := s.EmitArgs(t.Context(), "bytes", socketio.Args{Values: []json.RawMessage{[]byte(`{"_placeholder":true,"num":0}`)}, Attachments: [][]byte{{7}}}); err != nil {
			t.Fatal(err)
		}
		mustConnect(t, s)
		time.Sleep(10 * time.Second)
		var codes []holdfast.Code
		for _, d := range q.Dead() {
			codes = append(codes, d.Code)
		}
		if fmt.Sprint(codes) != fmt.Sprint([]holdfast.Code{holdfast.MessageTooLarge, holdfast.InvalidArgument}) {
			t.Errorf("%v", codes)
		}
	})
}

// A server that says late who it is: the queue is not sent as nobody's.
func TestQueueLateSession(t *testing.T) {
	var got list[string]
	bubble(t, func(p *peer) {
		p.admit()
		if p.n == 1 {
			p.sleep(3 * time.Second)
		}
		p.send(`42["auth:session",{"user":{"id":"ann"},"connection":"c","features":["id"]}]`)
		for {
			id, name, _ := p.event()
			if name == "" {
				return
			}
			got.add(fmt.Sprint(p.n, name))
			p.ok(id, "null")
		}
	}, func(t *testing.T, f *fake) {
		q := queue.NewMemory(queue.Limits{})
		s := f.client(Config{Source: tokens.Static(jwtOfAnn), Socket: SocketConfig{Queue: q}}).Socket()
		mustEmit(t, s, "a")
		mustConnect(t, s)
		time.Sleep(20 * time.Second)
		if got.String() != "[2a]" || events(q) != "" || f.connections() != 2 {
			t.Errorf("%v, left %s", &got, events(q))
		}
	})
}
