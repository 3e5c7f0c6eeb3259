package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/tokens"
)

// What fits exactly is taken, and so is anything where nothing else waits.
func TestInboxBound(t *testing.T) {
	for name, test := range map[string]struct {
		waits, more int
		want        error
	}{
		"empty":  {0, 101, nil},
		"fits":   {60, 40, nil},
		"1 over": {60, 41, ErrNotConnected},
	} {
		q := inbox{limit: 100, start: func() {}}
		stop := make(chan struct{})
		close(stop)
		if test.waits > 0 {
			q.pushNow(item{size: test.waits})
		}
		if err := q.push(item{size: test.more}, stop); err != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The same for what waits to be written.
func TestOutboxBound(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		waits, more int
		want        error
	}{
		"empty":  {0, 101, nil},
		"fits":   {60, 40, nil},
		"1 over": {60, 41, context.Canceled},
	} {
		o := outbox{limit: 100, turns: new(sync.WaitGroup)}
		if test.waits > 0 {
			o.pushNow(outgoing{text: make([]byte, test.waits)})
		}
		if _, err := o.push(ended, outgoing{text: make([]byte, test.more)}); err != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A pong counts for what it is, and one waits at a time.
func TestPongCounts(t *testing.T) {
	for _, data := range []string{"", "probe"} {
		o := outbox{limit: 100, turns: new(sync.WaitGroup)}
		o.pong([]byte(data))
		o.pong([]byte(data))
		if want := "3" + data; o.bytes != len(want) || len(o.items) != 1 || string(o.items[0].text) != want {
			t.Errorf("%q: %d bytes of %v", data, o.bytes, o.items)
		}
	}
}

// A handler that has asked the server, and been answered, only is slow: that is
// no reason to cut the connection.
func TestAskedThenSlow(t *testing.T) {
	const n = 50
	var got list[int]
	bubble(t, func(p *peer) {
		p.admit()
		p.send(`42["x",0]`)
		p.want(`420["question",null]`)
		p.send(`430[1]`)
		p.sleep(time.Millisecond) // the answer is taken
		for i := range n {
			p.send(`42["x",%d,%q]`, i+1, strings.Repeat("x", 1000))
		}
		p.idle()
	}, func(t *testing.T, f *fake) {
		s := f.client(Config{Socket: SocketConfig{ReceiveBuffer: 10_000}}).Socket()
		On(s, "x", func(ctx context.Context, i int) {
			if i == 0 {
				if _, err := EmitAck[int](ctx, s, "question", nil); err != nil {
					t.Error(err)
				}
			}
			time.Sleep(100 * time.Millisecond)
			got.add(i)
		})
		mustConnect(t, s)
		f.sleep(time.Minute)
		if len(got.all()) != n+1 || f.connections() != 1 {
			t.Errorf("%v over %d connections", &got, f.connections())
		}
	})
}

// The same where the answer is there and the handler has not run yet: the reader
// may be through a bufferful of events by then. With one processor it always is.
func TestAnsweredAndNotRunYet(t *testing.T) {
	const n = 100
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	question := func(ctx context.Context, s *Socket) error {
		_, err := EmitAck[int](ctx, s, "question", nil)
		return err
	}
	for name, test := range map[string]struct {
		call  func(ctx context.Context, s *Socket) error
		ack   string
		queue bool
	}{
		"ack":     {question, `1`, false},
		"queue":   {question, `1`, true},
		"join":    {func(ctx context.Context, s *Socket) error { _, err := s.Join(ctx, "a", JoinOptions{}); return err }, `{"room":"a","epoch":"e","offset":10}`, false},
		"refresh": {func(ctx context.Context, s *Socket) error { return s.Refresh(ctx) }, `{"expiresAt":1,"expiresIn":1}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			var got list[int]
			bubble(t, func(p *peer) {
				p.admitAs("ann")
				p.sleep(time.Millisecond) // the queue knows whose it is
				p.send(`42["x",0]`)
				id, _, _ := p.event()
				p.ok(id, test.ack)
				for i := range n {
					p.send(`42["x",%d]`, i+1)
				}
				p.idle()
			}, func(t *testing.T, f *fake) {
				var token atomic.Int64
				source := tokens.Text(func() (string, error) { return fmt.Sprint("t", token.Load()), nil })
				cfg := Config{Source: source, Socket: SocketConfig{ReceiveBuffer: 20 * itemCost}}
				if test.queue {
					cfg.Socket.Queue = queue.NewMemory(queue.Limits{})
				}
				s := f.client(cfg).Socket()
				On(s, "x", func(ctx context.Context, i int) {
					if i == 0 {
						token.Add(1)
						if err := test.call(ctx, s); err != nil {
							t.Error(err)
						}
					}
					got.add(i)
				})
				mustConnect(t, s)
				f.sleep(time.Minute)
				if len(got.all()) != n+1 || f.connections() != 1 {
					t.Errorf("%v over %d connections", &got, f.connections())
				}
			})
		})
	}
}

// The log tells of answers that failed without a code, and of those that could
// not be sent; of nothing else.
func TestAnswersLogged(t *testing.T) {
	for name, test := range map[string]struct {
		limit  int // the server's maxPayload
		answer func(s *Socket) (any, error)
		want   string // the log holds this; "" for nothing
	}{
		"good":        {1000, func(*Socket) (any, error) { return 1, nil }, ""},
		"refused":     {1000, func(*Socket) (any, error) { return nil, holdfast.Forbidden.New() }, ""},
		"failed":      {1000, func(*Socket) (any, error) { return nil, errors.New("disk is full") }, "disk is full"},
		"no room":     {40, func(*Socket) (any, error) { return strings.Repeat("x", 100), nil }, "ack was not sent"},
		"closed":      {40, func(s *Socket) (any, error) { s.Close(); return strings.Repeat("x", 100), nil }, ""},
		"cut, closed": {1000, func(s *Socket) (any, error) { s.Close(); return 1, nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			bubble(t, func(p *peer) {
				p.send(`0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":%d}`, test.limit)
				p.want("40")
				p.send(`40{"sid":"s"}`)
				p.send(`421["ask"]`)
				p.idle()
			}, func(t *testing.T, f *fake) {
				s := f.client(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}).Socket()
				Handle(s, "ask", func(context.Context, any) (any, error) { return test.answer(s) })
				mustConnect(t, s)
				f.sleep(time.Second)
				s.Close()
				<-s.Done()
			})
			if text := log.String(); (text == "") != (test.want == "") || !strings.Contains(text, test.want) {
				t.Errorf("log: %s", text)
			}
		})
	}
}

// Each interceptor sees the events, the first one too, and last.
func TestFirstInterceptor(t *testing.T) {
	var seen list[string]
	saw := func(who string) Interceptor {
		return Interceptor{Event: func(_ context.Context, m *Message) error { seen.add(who + " " + m.Event); return nil }}
	}
	runSocket(t, Config{Interceptors: []Interceptor{saw("first"), saw("second")}}, func(p *peer) {
		p.admit()
		p.send(`42["x"]`)
	}, func(*Socket) {}, func(*testing.T, *Socket) {})
	if seen.String() != "[second x first x]" {
		t.Error(&seen)
	}
}

// A server that says no bound takes packets of any size.
func TestNoMaxPayload(t *testing.T) {
	bubble(t, func(p *peer) {
		p.send(`0{"sid":"e","upgrades":[],"pingInterval":25000,"pingTimeout":20000}`)
		p.want("40")
		p.send(`40{"sid":"s"}`)
		if kind, data, err := p.ws.Read(p.ctx); kind != websocket.MessageText || len(data) != len(`42["x",""]`)+2_000_000 {
			p.Error(len(data), err)
		}
		p.idle()
	}, func(t *testing.T, f *fake) {
		s := f.connect(Config{Socket: SocketConfig{SendBuffer: 4 << 20}})
		if err := s.Emit(t.Context(), "x", strings.Repeat("x", 2_000_000)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
	})
}

// Whoever stops listening hears that at once, be it the first or the last.
func TestChangesStop(t *testing.T) {
	bubble(t, func(*peer) {}, func(t *testing.T, f *fake) {
		s := f.client(Config{}).Socket()
		var all []<-chan Change
		var stops []func()
		for range 3 {
			changes, stop := s.Changes(1)
			all, stops = append(all, changes), append(stops, stop)
		}
		for i := range all {
			stops[i]()
			<-all[i] // the present state
			select {
			case _, ok := <-all[i]:
				if ok {
					t.Errorf("%d brings more", i)
				}
			default:
				t.Errorf("%d is open", i)
			}
		}
	})
}

// A call that waits over all connections ends with the one that is cut: else the
// buffer, which it keeps full, would cut the next ones too. A call through the
// queue waits for the server also after a refusal that is no answer yet.
func TestReceiveBufferDeadlockForEver(t *testing.T) {
	for name, call := range map[string]func(ctx context.Context, s *Socket) error{
		"queue": func(ctx context.Context, s *Socket) error {
			_, err := EmitAck[int](ctx, s, "question", nil)
			return err
		},
		"join": func(ctx context.Context, s *Socket) error { _, err := s.Join(ctx, "a", JoinOptions{}); return err },
	} {
		t.Run(name, func(t *testing.T) {
			var errs list[bool]
			bubble(t, func(p *peer) {
				p.admitAs("ann")
				if p.n > 1 {
					p.idle()
					return
				}
				p.sleep(time.Millisecond) // the queue knows whose it is
				p.send(`42["x"]`)
				id, _, _ := p.event()
				if name == "queue" {
					p.send(`43%s[%s]`, id, refuse(holdfast.RateLimited))
					p.event()
				}
				for range 100 {
					p.send(`42["y",%q]`, strings.Repeat("x", 1000))
				}
				p.idle()
			}, func(t *testing.T, f *fake) {
				s := f.client(Config{Socket: SocketConfig{ReceiveBuffer: 10_000, Queue: queue.NewMemory(queue.Limits{})}}).Socket()
				On(s, "x", func(ctx context.Context, _ any) { errs.add(errors.Is(call(ctx, s), holdfast.SlowConsumer)) })
				mustConnect(t, s)
				f.sleep(time.Minute)
				if errs.String() != "[true]" || f.connections() != 2 || s.State() != Connected {
					t.Errorf("%v over %d connections", &errs, f.connections())
				}
			})
		})
	}
}
