package transport

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
)

func TestUpgrade(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{}, echoing)
		sid := rg.open()
		s := rg.opened()
		rg.post(sid, "4polled")
		rg.poll(sid, "4polled")
		c := rg.webSocket(websocketQuery + "&sid=" + sid)
		c.write(frame(fPing, "x")) // control frames are answered meanwhile
		c.want("pong x")
		c.text("2probe")
		c.want("text 3probe")
		if s.conn.Transport() != "polling" {
			t.Error("switched too early")
		}
		rg.poll(sid, "6")
		rg.post(sid, "4before") // polling still works
		rg.poll(sid, "4before")
		c.text("5")
		c.text("4hello")
		c.want("text 4hello")
		if s.conn.Transport() != "websocket" {
			t.Error("not switched")
		}
		for _, want := range []string{"polled", "before", "hello"} {
			if got := s.message(t); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		rg.gone(sid) // polling is refused, and the session stays
		rg.want("POST", sid, "4x", 400, "")
		second := rg.webSocket(websocketQuery + "&sid=" + sid)
		second.want(protocolError, "eof")
		second.conn.Close()
		c.text("4still")
		c.want("text 4still")
		c.bye()
		s.end(t, "", nil)
	})
}

func TestUpgradeEndsWaitingPoll(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		sid := rg.open()
		s := rg.opened()
		waits := rg.later("GET", sid, "")
		s.waiting()
		c := rg.webSocket(websocketQuery + "&sid=" + sid)
		c.text("2probe")
		c.want("text 3probe")
		if a := <-waits; a != (answer{200, "6"}) {
			t.Errorf("waiting poll got %v", a)
		}
		c.text("5")
		c.bye()
	})
}

// A poll and the upgrade packet that was sent before it may overtake each other.
func TestPollThatOvertakesUpgrade(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{}, echoing)
		sid := rg.open()
		s := rg.opened()
		c := rg.webSocket(websocketQuery + "&sid=" + sid)
		c.text("2probe")
		c.want("text 3probe")
		waits := rg.later("GET", sid, "")
		until(func() bool { return s.polled() || len(waits) > 0 }) // the latter as below
		c.text("5")
		if a := <-waits; a.status != 400 && a != (answer{200, "6"}) { // the latter if this process was held up
			t.Errorf("poll got %v", a)
		}
		c.text("4x")
		c.want("text 4x")
		c.bye()
	})
}

func TestTwoUpgradesAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{}, echoing)
		sid := rg.open()
		var mu sync.Mutex
		var won *wsClient
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				c, resp := rg.rawWebSocket(websocketQuery+"&sid="+sid, frame(fText, "2probe"))
				if resp.StatusCode != 101 {
					t.Error(resp.Status)
				}
				mu.Lock()
				defer mu.Unlock()
				switch got := c.next(); {
				case got == "text 3probe" && won == nil:
					won = c
				case got == protocolError && c.next() == "eof":
					c.conn.Close()
				default:
					t.Errorf("got %q", got)
				}
			})
		}
		wg.Wait()
		won.text("5")
		won.text("4x")
		won.want("text 4x")
		won.bye()
	})
}

func TestAbandonedUpgrade(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(c *wsClient)
	}{
		{"lost before the probe", func(c *wsClient) { c.conn.Close() }},
		{"lost after the probe", func(c *wsClient) {
			c.text("2probe")
			c.want("text 3probe")
			c.conn.Close()
		}},
		{"closed", func(c *wsClient) {
			c.text("2probe")
			c.want("text 3probe")
			c.bye()
		}},
		{"wrong packet", func(c *wsClient) { c.text("4x"); c.want(protocolError, "eof"); c.conn.Close() }},
		{"upgrade without probe", func(c *wsClient) { c.text("5"); c.want(protocolError, "eof"); c.conn.Close() }},
		{"other ping", func(c *wsClient) { c.text("2prob"); c.want(protocolError, "eof"); c.conn.Close() }},
		{"broken frame", func(c *wsClient) { c.write(unmasked(fText, "2")); c.want(protocolError, "eof"); c.conn.Close() }},
		{"binary", func(c *wsClient) { c.write(frame(fBinary, "2probe")); c.want(protocolError, "eof"); c.conn.Close() }},
		{"broken close", func(c *wsClient) { c.write(closeFrame(1005, "")); c.want(protocolError, "eof"); c.conn.Close() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				rg := newRig(t, n, EngineConfig{}, echoing)
				sid := rg.open()
				s := rg.opened()
				tt.do(rg.webSocket(websocketQuery + "&sid=" + sid))
				rg.post(sid, "4a")
				rg.poll(sid, "4a")
				s.freeForUpgrade()
				c := rg.upgraded(sid) // and a second try is good
				c.text("4b")
				c.want("text 4b")
				c.bye()
			})
		})
	}
}

// freeForUpgrade waits until the engine has noticed the end of an upgrade.
func (s *session) freeForUpgrade() {
	until(func() bool {
		s.conn.mu.Lock()
		defer s.conn.mu.Unlock()
		return !s.conn.poll.upgrading
	})
}

func TestUpgradeTimeout(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{}, echoing)
		sid := rg.open()
		begin := time.Now()
		c := rg.webSocket(websocketQuery + "&sid=" + sid)
		c.text("2probe")
		c.want("text 3probe", "eof")
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("given up after %v", d)
		}
		waits := rg.later("GET", sid, "")
		rg.opened().waiting()
		rg.post(sid, "4a")
		if a := <-waits; a != (answer{200, "4a"}) {
			t.Errorf("poll got %v", a)
		}
	})
}

func TestCloseDuringUpgrade(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		sid := rg.open()
		s := rg.opened()
		c := rg.webSocket(websocketQuery + "&sid=" + sid)
		c.text("2probe")
		c.want("text 3probe")
		s.conn.Send(NewFrame([]byte("4last")))
		s.conn.Close(holdfast.GoingAway.New())
		late, resp := rg.rawWebSocket(websocketQuery+"&sid="+sid, nil)
		if resp.StatusCode != 400 {
			t.Errorf("upgrade of a closing session: %s", resp.Status)
		}
		late.conn.Close()
		rg.poll(sid, "4last")
		rg.poll(sid, "1")
		rg.gone(sid)
		c.want("eof")
		c.conn.Close()
		s.end(t, holdfast.GoingAway, nil)
	})
}

// The official client does not poll any more after "3probe", and takes no
// notice of a WebSocket that closes before it has switched: it has to find the
// end of the session there.
func TestCloseBetweenProbeAndUpgrade(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		sid := rg.open()
		s := rg.opened()
		c := rg.webSocket(websocketQuery + "&sid=" + sid)
		c.text("2probe")
		c.want("text 3probe")
		s.conn.Send(NewFrame([]byte("4last")))
		s.conn.Close(holdfast.GoingAway.New())
		c.text("5")
		c.want("text 4last", "close 1001 GOING_AWAY")
		c.write(closeFrame(1001, ""))
		c.want("eof")
		c.conn.Close()
		s.end(t, holdfast.GoingAway, nil)
	})
}

// Who fetches the end of a session, or finds that nobody does, removes it a moment
// after he has looked: a WebSocket that has become the session's meanwhile does
// not stay open.
func TestUpgradeAsTheSessionIsRemoved(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		sid := rg.open()
		s := rg.opened()
		c := rg.webSocket(websocketQuery + "&sid=" + sid)
		c.text("2probe")
		c.want("text 3probe")
		s.conn.Close(holdfast.GoingAway.New())
		c.text("5")
		c.want("close 1001 GOING_AWAY") // it is switched
		begun := time.Now()
		s.conn.remove()
		c.want("eof")
		if took := time.Since(begun); took != 0 {
			t.Errorf("it stayed open for %v", took)
		}
		c.conn.Close()
		s.end(t, holdfast.GoingAway, nil)
	})
}

// A POST that is still being delivered when the upgrade packet comes was sent
// before what follows that packet.
func TestUpgradeWaitsForPost(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{}, func(s *session) { s.hold = make(chan struct{}) })
		sid := rg.open()
		s := rg.opened()
		posted := rg.later("POST", sid, "4a\x1e4b\x1e4c")
		s.hold <- struct{}{}
		s.message(t) // a
		c := rg.webSocket(websocketQuery + "&sid=" + sid)
		c.text("2probe")
		c.want("text 3probe")
		c.write(cat(frame(fText, "5"), frame(fText, "4d")))
		close(s.hold)
		for _, want := range []string{"b", "c", "d"} {
			if got := s.message(t); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if a := <-posted; a != (answer{200, "ok"}) {
			t.Errorf("POST got %v", a)
		}
		c.bye()
	})
}

// Messages go in both directions during the upgrade, and none is lost, doubled
// or reordered.
func TestUpgradeUnderLoad(t *testing.T) {
	rounds := 50
	if testing.Short() {
		rounds = 5
	}
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		for range rounds {
			upgradeUnderLoad(t, rg)
		}
	})
}

func upgradeUnderLoad(t *testing.T, rg *rig) {
	const messages = 300
	sid := rg.open()
	s := rg.opened()
	sent := make(chan struct{})
	go func() { // the server's messages
		defer close(sent)
		for i := range messages {
			if !s.conn.Send(NewFrame(fmt.Appendf(nil, "4%d", i))) {
				t.Error("not sent")
			}
		}
	}()
	var got []string
	take := func(text string) (noop bool) {
		for p := range strings.SplitSeq(text, "\x1e") {
			if p == "6" {
				return true
			}
			got = append(got, p)
		}
		return false
	}
	rg.post(sid, "4c0\x1e4c1")
	poll := rg.later("GET", sid, "")
	c := rg.webSocket(websocketQuery + "&sid=" + sid)
	c.text("2probe")
	c.want("text 3probe")
	rg.post(sid, "4c2")
	for { // as the official client does: polls are finished before the upgrade packet
		a := <-poll
		if a.status != 200 {
			t.Fatalf("poll got %v", a)
		}
		if !take(a.text) && len(got) < messages/2 {
			poll = rg.later("GET", sid, "")
			continue
		}
		break
	}
	c.write(cat(frame(fText, "5"), frame(fText, "4c3"), frame(fText, "4c4")))
	for len(got) < messages {
		take(strings.TrimPrefix(c.next(), "text "))
	}
	for i, m := range got {
		if m != fmt.Sprintf("4%d", i) {
			t.Fatalf("message %d is %q", i, m)
		}
	}
	for i := range 5 {
		if m := s.message(t); m != fmt.Sprintf("c%d", i) {
			t.Fatalf("client's message %d is %q", i, m)
		}
	}
	<-sent
	c.bye()
	s.end(t, "", nil)
}

// A session that was opened on WebSocket stays there.
func TestSessionOfWebSocketIsNotPolled(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{}, echoing)
		c, s := rg.connect()
		rg.gone(s.conn.ID())
		rg.want("POST", s.conn.ID(), "4x", 400, "")
		second := rg.webSocket(websocketQuery + "&sid=" + s.conn.ID())
		second.want(protocolError, "eof")
		second.conn.Close()
		c.text("4x")
		c.want("text 4x")
		c.bye()
	})
}
