package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/socketio"
)

// run connects a socket to a server that follows script, with handlers set up
// before.
func runSocket(t *testing.T, cfg Config, script func(p *peer), setup func(s *Socket), test func(t *testing.T, s *Socket)) {
	t.Helper()
	bubble(t, func(p *peer) { script(p); p.idle() }, func(t *testing.T, f *fake) {
		s := f.client(cfg).Socket()
		setup(s)
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		test(t, s)
	})
}

// L50: what handlers see, and in which order.
func TestL50Handlers(t *testing.T) {
	type todo struct {
		Title string `json:"title"`
	}
	var got list[string]
	runSocket(t, Config{}, func(p *peer) {
		p.admit()
		p.send(`42["todo",{"title":"a"},"more"]`)
		p.send(`42["todo",7]`)
		p.send(`42["todo"]`)
		p.send(`42["other",null]`)
	}, func(s *Socket) {
		On(s, "todo", func(_ context.Context, v todo) { got.add("typed " + v.Title) })
		Once(s, "todo", func(_ context.Context, v todo) { got.add("once " + v.Title) })
		s.OnAny(func(_ context.Context, event string, args socketio.Args) {
			got.add(fmt.Sprint("any ", event, " ", args.Len()))
		})
		s.OnRaw("todo", func(_ context.Context, args socketio.Args) { got.add("raw " + string(args.AppendArray(nil))) })
		OnEvent(s, "todo", func(context.Context, Event[todo]) { got.add("event of a room") })
		off := On(s, "other", func(context.Context, any) { got.add("off") })
		off()
		off()
	}, func(t *testing.T, s *Socket) {
		want := []string{
			"any todo 2", "typed a", "once a", `raw [{"title":"a"},"more"]`,
			"any todo 1", "raw [7]",
			"any todo 0", "typed ", "raw []",
			"any other 1",
		}
		if !slices.Equal(got.all(), want) {
			t.Errorf("got %q", got.all())
		}
		s.registry.mu.Lock()
		defer s.registry.mu.Unlock()
		if len(s.registry.handlers["todo"]) != 3 || len(s.registry.handlers["other"]) != 0 {
			t.Errorf("handlers left: %v", s.registry.handlers)
		}
	})
}

func TestL50HandlerPanics(t *testing.T) {
	var got list[string]
	var log bytes.Buffer
	runSocket(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(p *peer) {
		p.admit()
		p.send(`42["x",1]`)
		p.send(`420["ask",1]`)
		p.want(`430[{"ok":false,"error":{"message":"Internal error","code":"INTERNAL"}}]`)
		p.send(`42["x",2]`)
	}, func(s *Socket) {
		On(s, "x", func(_ context.Context, n int) { panic("secret") })
		On(s, "x", func(_ context.Context, n int) { _ = []int{}[n] })
		On(s, "x", func(_ context.Context, n int) { got.add(fmt.Sprint(n)) })
		Handle(s, "ask", func(_ context.Context, n int) (int, error) { panic("secret") })
	}, func(t *testing.T, s *Socket) {
		if got.String() != "[1 2]" {
			t.Errorf("got %v", &got)
		}
		if text := log.String(); strings.Contains(text, "secret") || !strings.Contains(text, "index out of range") {
			t.Errorf("log: %s", text)
		}
	})
}

func TestL50OffInsideHandler(t *testing.T) {
	var got list[string]
	runSocket(t, Config{}, func(p *peer) {
		p.admit()
		p.send(`42["x"]`)
		p.send(`42["x"]`)
	}, func(s *Socket) {
		var offSelf, offNext func()
		offSelf = On(s, "x", func(context.Context, any) {
			got.add("self")
			offSelf()
			offNext()
			On(s, "x", func(context.Context, any) { got.add("new") })
		})
		offNext = On(s, "x", func(context.Context, any) { got.add("next") })
		On(s, "x", func(context.Context, any) { got.add("last") })
	}, func(t *testing.T, s *Socket) {
		if got.String() != "[self last last new]" {
			t.Errorf("got %v", &got)
		}
	})
}

func TestOrder(t *testing.T) {
	const n = 1000
	var got list[int]
	runSocket(t, Config{}, func(p *peer) {
		p.admit()
		for i := range n {
			p.send(`42["x",%d]`, i)
		}
	}, func(s *Socket) {
		On(s, "x", func(_ context.Context, i int) {
			if i%100 == 0 {
				time.Sleep(time.Second) // a slow one delays the others and reorders none
			}
			got.add(i)
		})
	}, func(t *testing.T, s *Socket) {
		time.Sleep(time.Minute)
		if all := got.all(); len(all) != n || !slices.IsSorted(all) {
			t.Errorf("%d events: %v", len(all), all)
		}
	})
}

// A slow handler stops the reading at the bound; nothing is lost.
func TestReceiveBuffer(t *testing.T) {
	const n, size = 100, 10_000
	var sent list[int]
	var got list[int]
	runSocket(t, Config{Socket: SocketConfig{ReceiveBuffer: 50_000}}, func(p *peer) {
		p.admit()
		data := strings.Repeat("x", size)
		for i := range n {
			p.send(`42["x",%d,%q]`, i, data)
			sent.add(i)
		}
	}, func(s *Socket) {
		On(s, "x", func(_ context.Context, i int) { time.Sleep(100 * time.Millisecond); got.add(i) })
	}, func(t *testing.T, s *Socket) {
		// 50 KB wait here, one is in hand, up to 64 KiB were read with it, 64 KiB and 4 KiB
		// are in the network.
		if k := len(sent.all()); k < 5 || k > 20 {
			t.Errorf("%d events were sent to a socket that can't take them", k)
		}
		time.Sleep(time.Minute)
		if all := got.all(); len(all) != n || !slices.IsSorted(all) {
			t.Errorf("%v", all)
		}
		if s.State() != Connected {
			t.Error(s.State())
		}
	})
}

// A handler that waits for the server while the events behind it fill the
// buffer would wait for ever: the connection is cut and made anew.
func TestReceiveBufferDeadlock(t *testing.T) {
	var errs list[string]
	bubble(t, func(p *peer) {
		p.admit()
		if p.n == 1 {
			p.send(`42["x"]`)
			p.want(`420["question",null]`)
			for range 100 {
				p.send(`42["y",%q]`, strings.Repeat("x", 1000))
			}
			p.send(`430[1]`)
		}
		p.idle()
	}, func(t *testing.T, f *fake) {
		s := f.client(Config{Socket: SocketConfig{ReceiveBuffer: 10_000}}).Socket()
		On(s, "x", func(ctx context.Context, _ any) {
			_, err := EmitAck[int](ctx, s, "question", nil)
			errs.add(fmt.Sprint(errors.Is(err, ErrConnectionLost)))
		})
		changes, stop := s.Changes(10)
		defer stop()
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		<-changes
		<-changes
		<-changes
		if c := <-changes; !errors.Is(c.Err, holdfast.SlowConsumer) || c.Final {
			t.Errorf("%+v", c)
		}
		if errs.String() != "[true]" || s.State() != Connected {
			t.Error(&errs, s.State())
		}
	})
}

func TestL45CloseInsideHandler(t *testing.T) {
	var got list[string]
	bubble(t, func(p *peer) {
		p.admit()
		p.send(`42["x",1]`)
		p.send(`42["x",2]`)
		p.idle()
	}, func(t *testing.T, f *fake) {
		s := f.client(Config{}).Socket()
		On(s, "x", func(ctx context.Context, n int) {
			s.Close()
			got.add(fmt.Sprint(n, ctx.Err()))
			time.Sleep(time.Second)
		})
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		<-s.Done()
		if got.String() != "[1 context canceled]" || time.Since(start) != time.Second {
			t.Errorf("%v after %v", &got, time.Since(start))
		}
	})
}

func TestHandleAcks(t *testing.T) {
	type in struct {
		N int `json:"n"`
	}
	runSocket(t, Config{}, func(p *peer) {
		p.admit()
		p.send(`4212["double",{"n":4}]`)
		p.want(`4312[8]`)
		p.send(`4213["double",{"n":"x"}]`)
		if got := p.next(); !strings.HasPrefix(got, `4313[{"ok":false,"error":{"message":"`) || !strings.Contains(got, `"code":"INVALID_ARGUMENT"`) {
			p.Errorf("got %s", got)
		}
		p.send(`4214["double",{"n":-1}]`)
		p.want(`4314[{"ok":false,"error":{"message":"too small","code":"CONFLICT","retryAfter":2,"details":{"min":0}}}]`)
		p.send(`4215["double",{"n":-2}]`)
		p.want(`4315[{"ok":false,"error":{"message":"Internal error","code":"INTERNAL"}}]`)
		p.send(`42["double",{"n":4}]`) // no ack wanted
		p.send(`4216["unknown"]`)      // no ack given
		p.send(`4218["raw",1,2]`)
		p.want(`4318[2,1]`)
		p.send(`4219["double",{"n":1000000}]`)
		if got := p.next(); !strings.HasPrefix(got, `4319[{"ok":false,`) || !strings.Contains(got, `"code":"MESSAGE_TOO_LARGE"`) {
			p.Errorf("got %s", got)
		}
	}, func(s *Socket) {
		Handle(s, "double", func(context.Context, in) (int, error) { t.Error("replaced"); return 0, nil })
		Handle(s, "double", func(_ context.Context, v in) (any, error) {
			switch v.N {
			case 1_000_000:
				return strings.Repeat("x", v.N), nil
			case -1:
				return 0, &holdfast.Error{Code: holdfast.Conflict, Message: "too small", RetryAfter: 1500 * time.Millisecond, Details: []byte(`{"min":0}`)}
			case -2:
				return 0, errors.New("secret")
			}
			return 2 * v.N, nil
		})
		s.HandleRaw("raw", func(_ context.Context, args socketio.Args) (socketio.Args, error) {
			slices.Reverse(args.Values)
			return args, nil
		})
		off := Handle(s, "unknown", func(context.Context, any) (any, error) { return nil, nil })
		off()
	}, func(t *testing.T, s *Socket) { time.Sleep(time.Second) })
}

func TestEmit(t *testing.T) {
	runSocket(t, Config{}, func(p *peer) {
		p.admit()
		p.want(`42["a"]`)
		p.want(`42["b",1,"<x>",null,{"k":[1]}]`)
		p.want(`452-["c",{"_placeholder":true,"num":0},{"deep":[{"_placeholder":true,"num":1}]}]`)
		p.want("b:\x00\x01")
		p.want("b:zz")
		p.want(`42["presence:get",{"room":"a"}]`)
	}, func(*Socket) {}, func(t *testing.T, s *Socket) {
		ctx := t.Context()
		for _, err := range []error{
			s.Emit(ctx, "a"),
			s.Emit(ctx, "b", 1, "<x>", nil, map[string]any{"k": []int{1}}),
			s.Emit(ctx, "c", []byte{0, 1}, map[string]any{"deep": []any{socketio.Binary("zz")}}),
			s.Emit(ctx, "presence:get", map[string]string{"room": "a"}),
		} {
			if err != nil {
				t.Error(err)
			}
		}
		for name, err := range map[string]error{
			"no name":     s.Emit(ctx, ""),
			"reserved":    s.Emit(ctx, "disconnect"),
			"no JSON":     s.Emit(ctx, "a", func() {}),
			"no raw JSON": s.EmitArgs(ctx, "connect", socketio.Args{}),
		} {
			if !errors.Is(err, holdfast.InvalidArgument) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := s.Emit(ctx, "a", strings.Repeat("x", 1_000_000)); !errors.Is(err, holdfast.MessageTooLarge) {
			t.Error(err)
		}
		if _, err := EmitAck[int](ctx, s, "a", strings.Repeat("x", 1_000_000)); !errors.Is(err, holdfast.MessageTooLarge) {
			t.Error(err)
		}
		synctest.Wait()
		if s.State() != Connected || s.owed() != 0 {
			t.Error(s.State(), s.owed())
		}
	})
}

// owed returns how many acks are expected.
func (s *Socket) owed() int {
	c := s.current()
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acks)
}

func TestEmitAck(t *testing.T) {
	type answer struct {
		N int `json:"n"`
	}
	answers := []string{
		`{"ok":true,"data":{"n":1}}`,
		`{"n":2}`,
		`{"ok":true,"n":3}`,
		`{"ok":true,"data":{"n":9},"n":4}`,
		`{"ok":false,"error":{"message":"No.","code":"FORBIDDEN","details":[1],"retryAfter":3}}`,
		`{"ok":false,"n":5}`,
		`"text"`,
		``,
	}
	runSocket(t, Config{}, func(p *peer) {
		p.admit()
		for i, a := range answers {
			p.want(fmt.Sprintf(`42%d["q",{"n":%d}]`, i, i))
			p.send("43%d[%s]", i, a)
		}
		p.send("4399[1]") // nobody asked
		p.want(fmt.Sprintf(`42%d["q",null]`, len(answers)))
		p.send(`461-%d[{"ok":true,"data":{"_placeholder":true,"num":0}}]`, len(answers))
		p.sendBinary([]byte("bytes"))
		p.want(fmt.Sprintf(`42%d["q",1,2]`, len(answers)+1))
		p.send("43%d[3,4]", len(answers)+1)
		p.want(fmt.Sprintf(`42%d["q",null]`, len(answers)+2))
		p.send(`43%d[{"ok":true,"data":[1]}]`, len(answers)+2)
	}, func(*Socket) {}, func(t *testing.T, s *Socket) {
		for i := range answers {
			v, err := EmitAck[answer](patient(t), s, "q", answer{i})
			switch i {
			case 0, 1, 2, 3, 5:
				if v.N != i+1 && i != 5 || err != nil {
					t.Errorf("%s: %v, %v", answers[i], v, err)
				}
			case 4:
				e, _ := errors.AsType[*holdfast.Error](err)
				if e == nil || e.Code != holdfast.Forbidden || e.Message != "No." || string(e.Details) != "[1]" || e.RetryAfter != 3*time.Second {
					t.Errorf("%v", err)
				}
			case 6:
				if !errors.Is(err, holdfast.InvalidArgument) {
					t.Errorf("%v", err)
				}
			case 7:
				if v.N != 0 || err != nil {
					t.Errorf("%v, %v", v, err)
				}
			}
		}
		if b, err := EmitAck[[]byte](t.Context(), s, "q", nil); string(b) != "bytes" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		args, err := s.EmitRaw(patient(t), "q", 1, 2)
		if string(args.AppendArray(nil)) != "[3,4]" || err != nil {
			t.Errorf("%v, %v", args, err)
		}
		if _, err := EmitAck[struct{}](patient(t), s, "q", nil); err != nil {
			t.Error(err)
		}
	})
}

func TestEmitAckEnds(t *testing.T) {
	bubble(t, func(p *peer) {
		p.admit()
		p.next()
		p.next()
		p.sleep(5 * time.Second)
	}, func(t *testing.T, f *fake) {
		s := f.client(Config{}).Socket()
		if _, err := EmitAck[int](patient(t), s, "q", nil); !errors.Is(err, ErrNotConnected) {
			t.Error(err)
		}
		if _, err := s.Publish(t.Context(), "a", "b", nil, ""); !errors.Is(err, ErrNotConnected) {
			t.Error(err)
		}
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := EmitAck[int](ctx, s, "q", nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if n := s.owed(); n != 0 {
			t.Errorf("%d acks are still expected", n)
		}
		if _, err := EmitAck[int](patient(t), s, "q", nil); !errors.Is(err, ErrConnectionLost) {
			t.Error(err)
		}
	})
}

// A server that doesn't read: Emit waits for room, then for its context, and
// the write timeout ends the connection.
func TestSendBuffer(t *testing.T) {
	bubble(t, func(p *peer) { p.admit(); <-p.ctx.Done() }, func(t *testing.T, f *fake) {
		s := f.client(Config{Socket: SocketConfig{SendBuffer: 100_000}}).Socket()
		changes, stop := s.Changes(10)
		defer stop()
		if err := s.Connect(patient(t)); err != nil {
			t.Fatal(err)
		}
		<-changes
		<-changes
		<-changes
		data := strings.Repeat("x", 10_000)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		sent := 0
		for ; sent < 1000 && s.Emit(ctx, "x", data) == nil; sent++ {
		}
		if ctx.Err() == nil || sent > 35 {
			t.Errorf("%d events of 10 KB went into a buffer of 100 KB", sent)
		}
		errs := make(chan error)
		go func() { errs <- s.Emit(t.Context(), "x", data) }()
		start := time.Now()
		if c := <-changes; c.State != Disconnected || !strings.Contains(c.Err.Error(), "write") || time.Since(start) > DefaultWriteTimeout {
			t.Errorf("%+v after %v", c, time.Since(start))
		}
		if err := <-errs; !errors.Is(err, ErrNotConnected) {
			t.Error(err)
		}
	})
}

// A server that reads slowly gets everything, in order.
func TestSendBufferFrees(t *testing.T) {
	const n = 100
	var got list[string]
	bubble(t, func(p *peer) {
		p.admit()
		for range n {
			p.sleep(100 * time.Millisecond)
			got.add(strings.TrimRight(p.next(), `x"]`))
		}
		p.idle()
	}, func(t *testing.T, f *fake) {
		s := f.connect(Config{Socket: SocketConfig{SendBuffer: 30_000}})
		var want []string
		for i := range n {
			want = append(want, fmt.Sprintf(`42["e",%d,`, i))
			if err := s.Emit(t.Context(), "e", i, strings.Repeat("x", 10_000)); err != nil {
				t.Fatal(i, err)
			}
		}
		if k := len(got.all()); k < n-20 {
			t.Errorf("the last was queued when the server had read %d", k)
		}
		time.Sleep(time.Minute)
		if !slices.Equal(got.all(), want) {
			t.Errorf("got %q", got.all())
		}
	})
}

func TestPublish(t *testing.T) {
	runSocket(t, Config{}, func(p *peer) {
		p.admit()
		p.want(`420["room:publish",{"room":"a","event":"b","data":{"n":1},"id":"x1"}]`)
		p.ok("0", `{"epoch":"e","offset":7}`)
		p.want(`451-1["room:publish",{"room":"a","event":"b","data":{"_placeholder":true,"num":0}}]`)
		p.want("b:bytes")
		p.no("1", "FORBIDDEN")
	}, func(*Socket) {}, func(t *testing.T, s *Socket) {
		at, err := s.Publish(t.Context(), "a", "b", map[string]int{"n": 1}, "x1")
		if err != nil || at != (holdfast.Position{Epoch: "e", Offset: 7}) {
			t.Error(at, err)
		}
		if _, err = s.Publish(t.Context(), "a", "b", []byte("bytes"), ""); !errors.Is(err, holdfast.Forbidden) {
			t.Error(err)
		}
		for _, bad := range [][3]string{{"", "b", ""}, {"a", "auth:x", ""}, {"a", "b", "\n"}} {
			if _, err := s.Publish(t.Context(), bad[0], bad[1], nil, bad[2]); !errors.Is(err, holdfast.InvalidArgument) {
				t.Errorf("%q: %v", bad, err)
			}
		}
	})
}
