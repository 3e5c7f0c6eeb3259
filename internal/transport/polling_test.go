package transport

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/engineio"
	"github.com/holdfast-dev/holdfast/hub"
)

func TestHandshake(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{Node: "node_1", MaxPayload: 5000, PingInterval: 7 * time.Second, PingTimeout: 3 * time.Second})
		check := func(body, upgrades string) string {
			t.Helper()
			h, err := engineio.ParseHandshake([]byte(body[1:]))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(h.Upgrades, ","); got != upgrades {
				t.Errorf("upgrades are %q", got)
			}
			if h.PingInterval != 7*time.Second || h.PingTimeout != 3*time.Second || h.MaxPayload != 5000 {
				t.Errorf("handshake %s", body)
			}
			if Node(h.SID) != "node_1" {
				t.Errorf("sid %q names node %q", h.SID, Node(h.SID))
			}
			random, err := base64.RawURLEncoding.DecodeString(strings.TrimSuffix(h.SID, ".node_1"))
			if err != nil || len(random) < 16 {
				t.Errorf("sid %q has %d random bytes (%v)", h.SID, len(random), err)
			}
			return h.SID
		}
		resp, err := rg.client.Get("http://engine.test/engine.io/?" + pollingQuery)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		first := check(string(body), "websocket")
		for name, want := range map[string]string{
			"Content-Type": "text/plain; charset=UTF-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s is %q", name, got)
			}
		}
		if c := rg.opened().conn; c.ID() != first || c.Transport() != "polling" {
			t.Errorf("Conn %s on %s", c.ID(), c.Transport())
		}
		c := rg.webSocket(websocketQuery)
		open := c.next()
		if !strings.Contains(open, `"upgrades":[]`) {
			t.Errorf("upgrades are not an empty array: %s", open)
		}
		second := check(strings.TrimPrefix(open, "text "), "")
		if c := rg.opened().conn; c.ID() != second || c.Transport() != "websocket" || first == second {
			t.Errorf("Conn %s on %s", c.ID(), c.Transport())
		}
		if rg.engine.Len() != 2 {
			t.Errorf("Len is %d", rg.engine.Len())
		}
		c.bye()
	})
}

func TestNodeName(t *testing.T) {
	for name, want := range map[string]string{"": "", "a-B_9": "a-B_9", "a.b": "YS5i", "ä&=": "w6QmPQ"} {
		if got := Node(newSID(nodeName(name))); got != want {
			t.Errorf("node %q appears as %q, want %q", name, got, want)
		}
	}
}

func TestRequestOfSession(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		resp := rg.raw(strings.Replace(upgradeRequest(websocketQuery+"&token=x"), "Host: engine.test\r\n",
			"Host: engine.test\r\nCookie: session=1\r\nAuthorization: Bearer y\r\nOrigin: http://a.test\r\n", 1))
		if resp.StatusCode != 101 {
			t.Fatal(resp.Status)
		}
		r := rg.opened().conn.Request()
		if r.Host != "engine.test" || r.TLS || !strings.HasPrefix(r.RemoteAddr, "127.0.0.1:") ||
			r.URL.Path != "/engine.io/" || r.URL.Query().Get("token") != "x" {
			t.Errorf("Request %+v", r)
		}
		if len(r.Header) != 3 || r.Header.Get("Cookie") == "" || r.Header.Get("Authorization") == "" || r.Header.Get("Origin") == "" {
			t.Errorf("Header %v", r.Header)
		}
	})
}

func TestRefusedRequests(t *testing.T) {
	type request struct{ name, method, query, body string }
	for _, tt := range []request{
		{"no EIO", "GET", "transport=polling", ""},
		{"EIO of words", "GET", "EIO=abc&transport=polling", ""},
		{"EIO 3", "GET", "EIO=3&transport=polling", ""},
		{"two EIO", "GET", "EIO=4&EIO=3&transport=polling", ""},
		{"no transport", "GET", "EIO=4", ""},
		{"unknown transport", "GET", "EIO=4&transport=abc", ""},
		{"webtransport", "GET", "EIO=4&transport=webtransport", ""},
		{"two transports", "GET", "EIO=4&transport=polling&transport=websocket", ""},
		{"opened by POST", "POST", pollingQuery, "4x"},
		{"PUT", "PUT", pollingQuery, ""},
		{"HEAD", "HEAD", pollingQuery, ""},
		{"DELETE", "DELETE", pollingQuery, ""},
		{"poll of unknown sid", "GET", pollingQuery + "&sid=abc", ""},
		{"POST to unknown sid", "POST", pollingQuery + "&sid=abc", "4x"},
		{"empty sid", "GET", pollingQuery + "&sid=", ""},
		{"long sid", "GET", pollingQuery + "&sid=" + strings.Repeat("a", 5000), ""},
		{"two sids", "GET", pollingQuery + "&sid=a&sid=b", ""},
		{"broken query", "GET", pollingQuery + "&x=%zz", ""},
		{"WebSocket that is none", "GET", websocketQuery, ""},
		{"WebSocket by POST", "POST", websocketQuery, "x"},
		{"WebSocket of unknown sid", "GET", websocketQuery + "&sid=abc", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onMemnet(t, func(t *testing.T, n network) {
				rg := newRig(t, n, EngineConfig{})
				status, body := rg.call(tt.method, tt.query, tt.body)
				if status != 400 || tt.method != "HEAD" && !strings.Contains(body, `"code":"PROTOCOL_ERROR"`) {
					t.Errorf("%d %s", status, body)
				}
				if len(rg.sessions) != 0 {
					t.Error("a session was opened")
				}
			})
		})
	}
	t.Run("OPTIONS", func(t *testing.T) {
		onMemnet(t, func(t *testing.T, n network) {
			rg := newRig(t, n, EngineConfig{})
			if status, body := rg.call("OPTIONS", "", ""); status != 204 || body != "" {
				t.Errorf("%d %s", status, body)
			}
		})
	})
}

func TestCheckAndOpenRefuse(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		var refuse error
		var opened *Conn
		rg := newRig(t, n, EngineConfig{
			Check: func(r *http.Request) error {
				if r.Header.Get("Origin") != "" {
					return holdfast.OriginNotAllowed.New()
				}
				return nil
			},
			Open: func(c *Conn) (Receiver, error) { opened = c; return nil, refuse },
		})
		origin := "Host: engine.test\r\nOrigin: http://evil.test\r\n"
		resp := rg.raw(strings.Replace(upgradeRequest(websocketQuery), "Host: engine.test\r\n", origin, 1))
		if resp.StatusCode != 403 || opened != nil {
			t.Errorf("Check does not refuse: %s", resp.Status)
		}
		for _, query := range []string{pollingQuery, websocketQuery} {
			for _, tt := range []struct {
				err    error
				status int
			}{
				{&holdfast.Error{Code: holdfast.ConnectionLimit, Message: "full", RetryAfter: 1500 * time.Millisecond}, 503},
				{holdfast.RateLimited.New(), 429},
				{io.ErrUnexpectedEOF, 500},
				{nil, 500}, // neither receiver nor error
			} {
				refuse, opened = tt.err, nil
				request := upgradeRequest(query)
				resp := rg.raw(request)
				if resp.StatusCode != tt.status {
					t.Errorf("%s, Open returns %v: %s", query, tt.err, resp.Status)
				}
				if tt.status == 503 && resp.Header.Get("Retry-After") != "2" {
					t.Errorf("Retry-After is %q", resp.Header.Get("Retry-After"))
				}
				if opened.Context().Err() == nil || opened.Send(NewFrame([]byte("4"))) {
					t.Error("a refused session lives on")
				}
			}
		}
		if rg.engine.Len() != 0 {
			t.Errorf("Len is %d", rg.engine.Len())
		}
	})
}

func TestPollingEcho(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{}, echoing)
		sid := rg.open()
		for _, body := range []string{"4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA==", "b", "4κόσμε🎈", "4"} {
			rg.post(sid, body)
			rg.poll(sid, body)
		}
		waits := rg.later("GET", sid, "")
		s := rg.opened()
		s.waiting()
		rg.post(sid, "4late\x1e6\x1e3")
		if a := <-waits; a.text != "4late" {
			t.Errorf("waiting poll got %v", a)
		}
	})
}

func TestPollingContentTypes(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{}, echoing)
		sid := rg.open()
		for contentType, want := range map[string]int{
			"": 200, "text/plain": 200, "text/plain;charset=UTF-8": 200, "TEXT/Plain; Charset=utf-8": 200,
			"text/plain; charset=latin1": 400, "application/octet-stream": 400, "application/json": 400,
			"application/x-www-form-urlencoded": 400, "text/": 400,
		} {
			req, _ := http.NewRequest("POST", "http://engine.test/?"+pollingQuery+"&sid="+sid, strings.NewReader("4x"))
			if contentType != "" {
				req.Header.Set("Content-Type", contentType)
			}
			resp, err := rg.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%q: %s", contentType, resp.Status)
			}
			if want == 200 {
				rg.poll(sid, "4x") // the session is still there after every refusal
			}
		}
	})
}

// Bodies that end the session.
func TestBadPayloads(t *testing.T) {
	for name, body := range map[string]string{
		"no packet": "abc", "empty": "\x1e", "empty packet at the end": "4a\x1e", "empty packet in the middle": "4a\x1e\x1e4b",
		"unknown type": "7", "not UTF-8": "4\xff", "bad base64": "b!!!!", "base64 without padding": "bAQI",
		"a good packet before a bad one": "4a\x1eabc", "open": "0{}", "ping": "2", "probe": "2probe", "upgrade": "5",
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				rg := newRig(t, n, EngineConfig{})
				sid := rg.open()
				s := rg.opened()
				rg.want("POST", sid, body, 400, "")
				rg.gone(sid)
				s.end(t, holdfast.ProtocolError, nil)
				if len(s.got) != 0 {
					t.Errorf("delivered %q", <-s.got)
				}
				if rg.engine.Len() != 0 {
					t.Error("session is still counted")
				}
			})
		})
	}
}

func TestBadPayloadAnswersWaitingPoll(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		sid := rg.open()
		s := rg.opened()
		waits := rg.later("GET", sid, "")
		s.waiting()
		rg.want("POST", sid, "abc", 400, "")
		if a := <-waits; a != (answer{200, "1"}) {
			t.Errorf("waiting poll got %v", a)
		}
		rg.gone(sid)
	})
}

// Bodies that are refused while the session stays.
func TestTooLargePayloads(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{MaxPayload: 1000, MaxPackets: 3}, echoing)
		sid := rg.open()
		large := "4" + strings.Repeat("x", 1000)
		for name, body := range map[string]io.Reader{
			"with length":    strings.NewReader(large),
			"without length": io.MultiReader(strings.NewReader(large)),
			"of packets":     strings.NewReader("4a\x1e4b\x1e4c\x1e4d"),
		} {
			resp, err := rg.client.Post("http://engine.test/?"+pollingQuery+"&sid="+sid, "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != 413 || !strings.Contains(string(text), `"code":"MESSAGE_TOO_LARGE"`) {
				t.Errorf("%s: %s %s", name, resp.Status, text)
			}
		}
		rg.post(sid, large[:1000])
		rg.poll(sid, large[:1000])
	})
}

func TestPollPayloadsAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{MaxPayload: 100, MaxPackets: 3, QueueBytes: 10000})
		sid := rg.open()
		c := rg.opened().conn
		send := func(text string, binary ...[]byte) {
			t.Helper()
			if !c.Send(NewFrame([]byte(text), binary...)) {
				t.Fatal("not sent")
			}
		}
		text := func(n int) string { return "4" + strings.Repeat("x", n-1) }
		send(text(49))
		send(text(50)) // 49+1+50 = 100: fits
		send(text(1))
		rg.poll(sid, text(49)+"\x1e"+text(50))
		send(text(50))
		send(text(50)) // 1+1+50+1+50: the last does not fit
		rg.poll(sid, text(1)+"\x1e"+text(50))
		send(text(500)) // larger than all payloads: goes alone
		send(text(2))
		rg.poll(sid, text(50))
		rg.poll(sid, text(500))
		send(text(3))
		send(text(4))
		send(text(5)) // a fourth packet
		rg.poll(sid, text(2)+"\x1e"+text(3)+"\x1e"+text(4))
		send("451-[]", []byte{1, 2, 3, 4}, []byte{}) // 3 packets that stay together
		rg.poll(sid, text(5))
		rg.poll(sid, "451-[]\x1ebAQIDBA==\x1eb")
		send("4a")
		send("451-[]", make([]byte, 75)) // 2+1+6+1+1+100 > 100
		rg.poll(sid, "4a")
		rg.poll(sid, "451-[]\x1eb"+strings.Repeat("A", 100))
	})
}

func TestPolledSize(t *testing.T) {
	for _, f := range []struct {
		text   string
		binary []int
	}{{"4", nil}, {"", []int{0}}, {"", []int{1, 2}}, {"45x", []int{3, 4, 5, 100}}} {
		fr := NewFrame([]byte(f.text))
		for _, n := range f.binary {
			fr.Binary = append(fr.Binary, make([]byte, n))
		}
		out := payload{frames: []*hub.Frame{fr}}.append(nil)
		packets, size := polledSize(fr)
		if size != len(out) || packets != 1+strings.Count(string(out), "\x1e") {
			t.Errorf("%+v: %d packets of %d bytes, but is %q", f, packets, size, out)
		}
	}
}

func TestTwoPolls(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		sid := rg.open()
		s := rg.opened()
		first := rg.later("GET", sid, "")
		s.waiting()
		rg.gone(sid)
		if a := <-first; a != (answer{200, "1"}) {
			t.Errorf("first poll got %v", a)
		}
		rg.gone(sid)
		s.end(t, holdfast.ProtocolError, nil)
	})
}

func TestTwoPosts(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{}, func(s *session) { s.hold = make(chan struct{}) })
		sid := rg.open()
		s := rg.opened()
		first := rg.later("POST", sid, "4a\x1e4b")
		s.hold <- struct{}{} // a is delivered,
		s.message(t)
		rg.want("POST", sid, "4c", 400, "") // while b is held
		close(s.hold)
		if a := <-first; a.status != 400 {
			t.Errorf("first POST got %v", a)
		}
		s.end(t, holdfast.ProtocolError, nil)
		rg.gone(sid)
	})
}

func TestCancelledPoll(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		sid := rg.open()
		s := rg.opened()
		ctx, cancel := context.WithCancel(context.Background())
		failed := make(chan error)
		go func() {
			_, _, err := rg.try(ctx, "GET", pollingQuery+"&sid="+sid, "")
			failed <- err
		}()
		s.waiting()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		s.end(t, holdfast.GoingAway, ErrLost)
		rg.gone(sid)
	})
}

func TestClosePacketByPost(t *testing.T) {
	t.Run("poll waits", func(t *testing.T) {
		onBoth(t, func(t *testing.T, n network) {
			rg := newRig(t, n, EngineConfig{})
			sid := rg.open()
			s := rg.opened()
			waits := rg.later("GET", sid, "")
			s.waiting()
			rg.post(sid, "4a\x1e1\x1e4b")
			if a := <-waits; a != (answer{200, "6"}) {
				t.Errorf("waiting poll got %v", a)
			}
			rg.gone(sid)
			s.end(t, "", nil)
			if m := s.message(t); m != "a" || len(s.got) != 0 {
				t.Errorf("delivered %q and %d more", m, len(s.got))
			}
		})
	})
	t.Run("no poll", func(t *testing.T) {
		onBoth(t, func(t *testing.T, n network) {
			rg := newRig(t, n, EngineConfig{})
			sid := rg.open()
			rg.post(sid, "1")
			rg.gone(sid)
			rg.opened().end(t, "", nil)
		})
	})
	t.Run("poll overtaken", func(t *testing.T) {
		onBoth(t, func(t *testing.T, n network) {
			rg := newRig(t, n, EngineConfig{})
			sid := rg.open()
			s := rg.opened()
			posted := rg.later("POST", sid, "1")
			s.end(t, "", nil)
			rg.poll(sid, "6")
			if a := <-posted; a != (answer{200, "ok"}) {
				t.Errorf("POST got %v", a)
			}
			rg.gone(sid)
		})
	})
}

// A body that trickles in is given up, and the session with it: what was in it
// is lost.
func TestSlowBody(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		sid := rg.open()
		s := rg.opened()
		conn, err := n.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		given := make(chan struct{})
		defer func() { conn.Close(); <-given }()
		go func() {
			defer close(given)
			_, _ = io.WriteString(conn, "POST /?"+pollingQuery+"&sid="+sid+" HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n4")
			for {
				<-time.After(time.Second)
				if _, err := io.WriteString(conn, "x"); err != nil {
					return
				}
			}
		}()
		s.end(t, holdfast.GoingAway, ErrLost)
		if d := time.Since(begin); d != 20*time.Second {
			t.Errorf("given up after %v", d)
		}
		rg.gone(sid)
	})
}

func TestAbortedBody(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newRig(t, n, EngineConfig{})
		sid := rg.open()
		conn, err := n.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "POST /?"+pollingQuery+"&sid="+sid+" HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n4")
		conn.Close()
		rg.opened().end(t, holdfast.GoingAway, ErrLost)
		// Closed is called a moment before the session is forgotten: until then
		// it still tells of its end.
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
			if status, text := rg.call("GET", pollingQuery+"&sid="+sid, ""); status != 200 || text != "1" {
				break
			}
		}
		rg.gone(sid)
	})
}
