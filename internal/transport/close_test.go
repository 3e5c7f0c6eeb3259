package transport

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestCloseOnWebSocket(t *testing.T) {
	for _, tt := range []struct {
		err  *holdfast.Error
		want string
	}{
		{nil, "close 1000"},
		{holdfast.TokenExpired.New(), "close 4002 TOKEN_EXPIRED"},
		{holdfast.GoingAway.New(), "close 1001 GOING_AWAY"},
		{holdfast.Internal.New(), "close 1011 INTERNAL"},
		{holdfast.MessageTooLarge.New(), "close 1009 MESSAGE_TOO_LARGE"},
		{holdfast.NotFound.New(), "close 1008 NOT_FOUND"}, // never closes by itself
		{&holdfast.Error{Code: "FROM_THE_FUTURE"}, "close 1011 FROM_THE_FUTURE"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				rg := newRig(t, n, EngineConfig{})
				c, s := rg.connect()
				for i := range 200 {
					s.conn.Send(NewFrame(fmt.Appendf(nil, "4%d", i), []byte{byte(i)}))
				}
				s.conn.Close(tt.err)
				s.conn.Close(holdfast.Conflict.New()) // too late
				if s.conn.Send(NewFrame([]byte("4"))) {
					t.Error("sent after Close")
				}
				if err := context.Cause(s.conn.Context()); tt.err != nil && !errors.Is(err, tt.err.Code) || err == nil {
					t.Errorf("context ended by %v", err)
				}
				for i := range 200 {
					c.want(fmt.Sprintf("text 4%d", i), fmt.Sprintf("binary %02x", i))
				}
				c.want(tt.want)
				c.text("4ignored")
				c.write(closeFrame(1000, ""))
				c.want("eof")
				c.conn.Close()
				code := holdfast.Code("")
				if tt.err != nil {
					code = tt.err.Code
				}
				s.end(t, code, nil)
				if len(s.got) != 0 {
					t.Errorf("received %q after Close", <-s.got)
				}
			})
		})
	}
}

func TestCloseOnPolling(t *testing.T) {
	t.Run("poll waits", func(t *testing.T) {
		onBoth(t, func(t *testing.T, n network) {
			rg := newRig(t, n, EngineConfig{})
			sid := rg.open()
			s := rg.opened()
			waits := rg.later("GET", sid, "")
			s.waiting()
			s.conn.Close(nil)
			if a := <-waits; a != (answer{200, "1"}) {
				t.Errorf("waiting poll got %v", a)
			}
			rg.gone(sid)
			s.end(t, "", nil)
		})
	})
	t.Run("next polls", func(t *testing.T) {
		onBoth(t, func(t *testing.T, n network) {
			rg := newRig(t, n, EngineConfig{MaxPayload: 12})
			sid := rg.open()
			s := rg.opened()
			for _, m := range []string{"4aaaa", "4bbbb", "4cccc", "4dddd"} {
				s.conn.Send(NewFrame([]byte(m)))
			}
			s.conn.Close(holdfast.SessionRevoked.New())
			s.end(t, holdfast.SessionRevoked, nil)
			rg.post(sid, "4ignored")
			rg.poll(sid, "4aaaa\x1e4bbbb")
			rg.poll(sid, "4cccc\x1e4dddd") // no room for the close
			rg.poll(sid, "1")
			rg.gone(sid)
			if len(s.got) != 0 {
				t.Errorf("received %q after Close", <-s.got)
			}
		})
	})
	t.Run("no poll comes", func(t *testing.T) {
		onMemnet(t, func(t *testing.T, n network) {
			rg := newRig(t, n, EngineConfig{})
			sid := rg.open()
			s := rg.opened()
			s.conn.Close(nil)
			time.Sleep(5*time.Second - time.Nanosecond)
			if rg.engine.Len() != 1 {
				t.Error("ended too early")
			}
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			if rg.engine.Len() != 0 {
				t.Error("not ended")
			}
			rg.gone(sid)
		})
	})
}

func TestUnansweredClose(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		c, s := rg.connect()
		s.conn.Close(nil)
		c.want("close 1000")
		begin := time.Now()
		c.want("eof")
		if d := time.Since(begin); d != 5*time.Second {
			t.Errorf("cut after %v", d)
		}
	})
}

func TestPeerCloses(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		c, s := rg.connect()
		c.bye()
		s.end(t, "", nil)
		c, s = rg.connect()
		c.text("1") // the protocol's own close
		c.want("close 1000")
		c.write(closeFrame(1000, ""))
		c.want("eof")
		s.end(t, "", nil)
		c, s = rg.connect()
		c.conn.Close()
		s.end(t, holdfast.GoingAway, ErrLost)
	})
}

func TestBadPacketsOnWebSocket(t *testing.T) {
	for _, text := range []string{"", "abc", "7", "b", "0{}", "2", "2probe", "5", "\x1e"} {
		t.Run(text, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				rg := newRig(t, n, EngineConfig{})
				c, s := rg.connect()
				c.text("6") // a noop does nothing
				c.text(text)
				c.want(protocolError)
				c.write(closeFrame(1002, ""))
				c.want("eof")
				c.conn.Close()
				s.end(t, holdfast.ProtocolError, nil)
			})
		})
	}
}

func TestSlowConsumerOnWebSocket(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{QueueBytes: 500_000}) // far more than one write takes
		c, s := rg.connect()
		big := NewFrame([]byte("4" + strings.Repeat("x", 9_999)))
		sent := 0
		for s.conn.Send(big) { // Send must not block, though nobody reads
			if sent++; sent > 10_000 {
				t.Fatal("no bound")
			}
		}
		if s.conn.Send(NewFrame([]byte("4"))) {
			t.Error("sent after the overflow")
		}
		s.end(t, holdfast.SlowConsumer, nil) // at once, while the peer still does not read
		got := 0
		f := c.next()
		for ; strings.HasPrefix(f, "text 4"); f = c.next() {
			got++
		}
		if f != "close 4009 SLOW_CONSUMER" {
			t.Errorf("got %q", f)
		}
		if got > sent || n.fake && got == sent { // TCP may take it all before the queue is dropped
			t.Error("the queue was flushed")
		}
		c.write(closeFrame(1000, ""))
		c.want("eof")
		c.conn.Close()
	})
}

func TestSlowConsumerThatNeverReads(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{QueueBytes: 50_000})
		_, s := rg.connect()
		for s.conn.Send(NewFrame(make([]byte, 10_000))) {
		}
		begin := time.Now()
		s.end(t, holdfast.SlowConsumer, nil)
		if time.Since(begin) != 0 {
			t.Error("Closed came late")
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if rg.engine.Len() != 0 {
			t.Error("connection was not cut")
		}
	})
}

func TestSlowConsumerOnPolling(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{QueueBytes: 1000})
		sid := rg.open()
		s := rg.opened()
		for s.conn.Send(NewFrame([]byte("4" + strings.Repeat("x", 100)))) {
		}
		s.end(t, holdfast.SlowConsumer, nil)
		rg.poll(sid, "1")
		rg.gone(sid)
	})
}

func TestLargeFrameGoesAlone(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{QueueBytes: 1000})
		c, s := rg.connect()
		text := "4" + strings.Repeat("x", 200_000)
		if !s.conn.Send(NewFrame([]byte(text))) {
			t.Error("not sent")
		}
		c.want("text " + text)
		c.bye()
	})
}

// What is sent or closed while Open runs comes after the handshake.
func TestSendInOpen(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		closed := make(chan error, 2)
		rg := newRig(t, n, EngineConfig{Open: func(c *Conn) (Receiver, error) {
			c.Send(NewFrame([]byte("4welcome")))
			c.Close(holdfast.Forbidden.New())
			if len(closed) != 0 {
				t.Error("Closed before Open has returned")
			}
			return &session{conn: c, closed: closed}, nil
		}})
		c := rg.webSocket(websocketQuery)
		if open := c.next(); !strings.HasPrefix(open, "text 0{") {
			t.Errorf("got %q", open)
		}
		c.want("text 4welcome", "close 4003 FORBIDDEN")
		c.write(closeFrame(1000, ""))
		c.want("eof")
		c.conn.Close()
		if err := <-closed; !errors.Is(err, holdfast.Forbidden) {
			t.Error(err)
		}
		sid := rg.open()
		rg.poll(sid, "4welcome")
		rg.poll(sid, "1")
		rg.gone(sid)
		<-closed
	})
}

func TestEngineClose(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		c, s := rg.connect()
		sid := rg.open()
		polled := rg.opened()
		waits := rg.later("GET", sid, "")
		polled.waiting()
		s.conn.Send(NewFrame([]byte("4last")))
		done := make(chan error)
		go func() { done <- rg.engine.Close(context.Background()) }()
		c.want("text 4last", "close 1001 GOING_AWAY")
		if a := <-waits; a != (answer{200, "1"}) {
			t.Errorf("waiting poll got %v", a)
		}
		for _, query := range []string{pollingQuery, websocketQuery} {
			if resp := rg.raw(upgradeRequest(query)); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
				t.Errorf("new session: %s", resp.Status)
			}
		}
		select {
		case err := <-done:
			t.Errorf("Close returned %v before the last connection ended", err)
		default:
		}
		c.write(closeFrame(1000, ""))
		c.want("eof")
		c.conn.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.end(t, holdfast.GoingAway, nil)
		polled.end(t, holdfast.GoingAway, nil)
		if err := rg.engine.Close(context.Background()); err != nil {
			t.Errorf("second Close: %v", err)
		}
	})
}

func TestEngineCloseCuts(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		hold := make(chan struct{})
		rg := newRig(t, n, EngineConfig{CloseTimeout: time.Hour}, func(s *session) { s.hold = hold })
		c, _ := rg.connect()
		sid := rg.open()
		blocked, _ := rg.connect()
		blocked.text("4x")
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		begin := time.Now()
		if err := rg.engine.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if d := time.Since(begin); d != time.Minute {
			t.Errorf("took %v", d)
		}
		c.want("close 1001 GOING_AWAY", "eof")
		blocked.want("close 1001 GOING_AWAY", "eof")
		rg.gone(sid)
		close(hold)
	})
}

func TestOpenDuringEngineClose(t *testing.T) {
	for _, query := range []string{pollingQuery, websocketQuery} {
		t.Run(query, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				opening, goOn := make(chan *session), make(chan struct{})
				rg := newRig(t, n, EngineConfig{Open: func(c *Conn) (Receiver, error) {
					s := &session{conn: c, closed: make(chan error, 2)}
					opening <- s
					<-goOn
					return s, nil
				}})
				got := make(chan int)
				go func() { got <- rg.raw(upgradeRequest(query)).StatusCode }()
				s := <-opening
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				if err := rg.engine.Close(ctx); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
				close(goOn)
				if status := <-got; status != 503 {
					t.Errorf("status %d", status)
				}
				s.end(t, holdfast.GoingAway, nil)
			})
		})
	}
}

// panicking is a Receiver that panics.
type panicking struct{ closed chan error }

func (p panicking) Message(*Conn, []byte, bool) { panic(errors.New("secret-canary")) }

func (p panicking) Closed(_ *Conn, err error) {
	p.closed <- err
	panic("secret-canary")
}

func TestReceiverThatPanics(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		var logged lockedBuffer
		closed := make(chan error, 2)
		rg := newRig(t, n, EngineConfig{
			Open:   func(*Conn) (Receiver, error) { return panicking{closed}, nil },
			Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
		})
		c := rg.webSocket(websocketQuery)
		c.next()
		c.text("4x")
		c.want("close 1011 INTERNAL")
		c.write(closeFrame(1000, ""))
		c.want("eof")
		c.conn.Close()
		if err := <-closed; !errors.Is(err, holdfast.Internal) {
			t.Error(err)
		}
		sid := rg.open()
		rg.post(sid, "4x")
		rg.poll(sid, "1")
		<-closed
		until(func() bool { return rg.engine.Len() == 0 })
		log := logged.String()
		if !strings.Contains(log, "panicking.Message:") || strings.Contains(log, "canary") {
			t.Errorf("log:\n%s", log)
		}
	})
}

func TestPace(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{QueueBytes: 100_000})
		c, s := rg.connect()
		const frames = 2000
		go func() { // ten times the queue, in the time the peer takes
			for range frames {
				if s.conn.Pace(context.Background()) != nil || !s.conn.Send(NewFrame([]byte("4"+strings.Repeat("x", 999)))) {
					t.Error("not sent")
					return
				}
			}
		}()
		for range frames {
			c.want("text 4" + strings.Repeat("x", 999))
		}
		c.bye()
	})
}
