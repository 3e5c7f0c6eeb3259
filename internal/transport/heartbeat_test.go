package transport

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestHeartbeatOnWebSocket(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{}, echoing)
		c, s := rg.connect()
		begin := time.Now()
		at := func(want time.Duration) {
			t.Helper()
			if d := time.Since(begin); d != want {
				t.Errorf("at %v, want %v", d, want)
			}
		}
		c.want("text 2")
		at(25 * time.Second)
		time.Sleep(19 * time.Second)
		c.text("3")
		c.want("text 2") // 25 s after the pong
		at(69 * time.Second)
		c.text("3")
		c.text("3") // one too many does nothing
		c.text("4x")
		c.want("text 4x", "text 2")
		at(94 * time.Second)
		c.text("4alive") // is no pong
		c.want("text 4alive", "close 1001 GOING_AWAY")
		at(114 * time.Second)
		s.end(t, holdfast.GoingAway, ErrPingTimeout)
		c.want("eof")
		at(119 * time.Second) // the close was not answered
	})
}

// An interval that is shorter than the time a pong may take is kept as well.
func TestShortPingInterval(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{PingInterval: 5 * time.Second, PingTimeout: 20 * time.Second})
		c, _ := rg.connect()
		begin := time.Now()
		for i := range 3 {
			c.want("text 2")
			if d := time.Since(begin); d != time.Duration(i+1)*5*time.Second {
				t.Errorf("ping %d after %v", i+1, d)
			}
			c.text("3")
		}
		c.bye()
	})
}

func TestHeartbeatOnPolling(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		sid := rg.open()
		s := rg.opened()
		begin := time.Now()
		for i := range 3 {
			rg.poll(sid, "2")
			if d := time.Since(begin); d != time.Duration(i+1)*25*time.Second {
				t.Errorf("ping after %v", d)
			}
			rg.post(sid, "3")
		}
		waits := rg.later("GET", sid, "")
		if a := <-waits; a.text != "2" {
			t.Errorf("poll got %v", a)
		}
		waits = rg.later("GET", sid, "")
		if a := <-waits; a.text != "1" {
			t.Errorf("poll got %v after the timeout", a)
		}
		s.end(t, holdfast.GoingAway, ErrPingTimeout)
		if d := time.Since(begin); d != 120*time.Second {
			t.Errorf("timed out after %v", d)
		}
		rg.gone(sid)
	})
}

func TestPollingClientThatNeverPolls(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		sid := rg.open()
		time.Sleep(45*time.Second - time.Nanosecond)
		if rg.engine.Len() != 1 {
			t.Error("session ended too early")
		}
		time.Sleep(time.Nanosecond)
		rg.gone(sid)
		rg.opened().end(t, holdfast.GoingAway, ErrPingTimeout)
	})
}

func TestHeartbeatGoesOnAcrossUpgrade(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		sid := rg.open()
		time.Sleep(25 * time.Second) // the ping waits for a poll
		c := rg.upgraded(sid)
		c.want("text 2")
		c.text("3")
		begin := time.Now()
		c.want("text 2")
		if d := time.Since(begin); d != 25*time.Second {
			t.Errorf("next ping after %v", d)
		}
		c.bye()
	})
}

// The pong of a peer may wait behind messages that the receiver has not taken
// yet.
func TestBlockedReceiverDoesNotKillThePeer(t *testing.T) {
	hold := func(s *session) { s.hold = make(chan struct{}) }
	t.Run("websocket", func(t *testing.T) {
		onMemnet(t, func(t *testing.T, n network) {
			rg := newRig(t, n, EngineConfig{}, hold)
			c, s := rg.connect()
			c.text("4a")
			c.text("4b")
			c.want("text 2")
			c.text("3")
			time.Sleep(10 * time.Minute)
			s.hold <- struct{}{}
			time.Sleep(10 * time.Minute)
			s.hold <- struct{}{}
			c.want("text 2")
			c.text("3")
			c.bye()
			s.end(t, "", nil)
		})
	})
	t.Run("polling", func(t *testing.T) {
		onMemnet(t, func(t *testing.T, n network) {
			rg := newRig(t, n, EngineConfig{}, hold)
			sid := rg.open()
			s := rg.opened()
			posted := rg.later("POST", sid, "4a")
			rg.poll(sid, "2")
			time.Sleep(10 * time.Minute)
			s.hold <- struct{}{}
			if a := <-posted; a.text != "ok" {
				t.Errorf("POST got %v", a)
			}
			rg.post(sid, "3")
			rg.poll(sid, "2")
			rg.post(sid, "1")
		})
	})
	t.Run("and a dead peer still dies", func(t *testing.T) {
		onMemnet(t, func(t *testing.T, n network) {
			rg := newRig(t, n, EngineConfig{}, hold)
			c, s := rg.connect()
			c.text("4a")
			time.Sleep(10 * time.Minute)
			s.hold <- struct{}{}
			begin := time.Now()
			s.end(t, holdfast.GoingAway, ErrPingTimeout)
			if d := time.Since(begin); d > 20*time.Second {
				t.Errorf("only after %v", d)
			}
			c.conn.Close()
		})
	})
}

func TestSlowMessage(t *testing.T) {
	whole := frame(fText, "4hello")
	for name, parts := range map[string][2][]byte{
		"inside a header":   {whole[:1], nil},
		"inside a payload":  {whole[:9], nil},
		"between fragments": {frame(fTextBegin, "4a"), frame(fMore, "")},
		"pings between":     {frame(fTextBegin, "4a"), frame(fPing, "")},
	} {
		t.Run(name, func(t *testing.T) {
			onMemnet(t, func(t *testing.T, n network) {
				rg := newRig(t, n, EngineConfig{}, echoing)
				c, s := rg.connect()
				c.text("4x")
				c.want("text 4x")
				begin := time.Now()
				c.write(parts[0])
				given := make(chan struct{})
				go func() {
					defer close(given)
					for range 10 {
						time.Sleep(3 * time.Second)
						if _, err := c.conn.Write(parts[1]); err != nil {
							return
						}
					}
				}()
				s.end(t, holdfast.GoingAway, nil)
				if d := time.Since(begin); d != 20*time.Second {
					t.Errorf("given up after %v", d)
				}
				got := c.next()
				for got == "pong " {
					got = c.next()
				}
				if got != "close 1001 GOING_AWAY" {
					t.Errorf("got %q", got)
				}
				c.conn.Close()
				<-given
			})
		})
	}
	t.Run("just in time", func(t *testing.T) {
		onMemnet(t, func(t *testing.T, n network) {
			rg := newRig(t, n, EngineConfig{}, echoing)
			c, _ := rg.connect()
			for range 3 {
				c.write(whole[:9])
				time.Sleep(6 * time.Second)
				c.write(whole[9:])
				c.want("text 4hello")
			}
			c.bye()
		})
	})
}

func TestPeerThatDoesNotRead(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		_, s := rg.connect()
		synctest.Wait()
		begin := time.Now()
		for range 10 { // more than the network takes, less than the queue
			s.conn.Send(NewFrame(make([]byte, 20_000)))
		}
		s.end(t, holdfast.SlowConsumer, nil)
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("write given up after %v", d)
		}
	})
}
