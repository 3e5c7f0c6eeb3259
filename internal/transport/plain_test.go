package transport

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// connectPlain opens a connection to a Plain.
func (rg *rig) connectPlain() (*wsClient, *session) {
	rg.t.Helper()
	return rg.webSocket("room=a"), rg.opened()
}

func TestPlain(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newPlainRig(t, n, PlainConfig{}, echoing)
		c, s := rg.connectPlain()
		if got := s.conn.Transport(); got != "ws" {
			t.Errorf("transport %q", got)
		}
		if r := s.conn.Request(); s.conn.ID() == "" || r.URL.RawQuery != "room=a" || r.Host != "engine.test" {
			t.Errorf("id %q, request %+v", s.conn.ID(), r)
		}
		// What Engine.IO would take for packets are messages like any other.
		for _, text := range []string{"", "1", "2", "2probe", "3", "4a", "5", "6", "b", `{"type":"ping"}`, "κόσμε 🎈", strings.Repeat("x", 70_000)} {
			c.text(text)
			c.want("text " + text)
			if got := s.message(t); got != text {
				t.Errorf("received %.50q, want %.50q", got, text)
			}
		}
		if rg.engine.Len() != 1 {
			t.Errorf("%d connections", rg.engine.Len())
		}
		c.bye()
		s.end(t, "", nil)
		c, s = rg.connectPlain()
		c.conn.Close()
		s.end(t, holdfast.GoingAway, ErrLost)
	})
}

func TestBinaryOnPlain(t *testing.T) {
	for name, send := range map[string][]byte{
		"whole":     frame(fBinary, "\x01\x02"),
		"empty":     frame(fBinary, ""),
		"fragments": cat(frame(fBinaryBegin, "\x01"), frame(fLast, "\x02")),
	} {
		t.Run(name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				rg := newPlainRig(t, n, PlainConfig{}, echoing)
				c, s := rg.connectPlain()
				c.write(cat(frame(fText, "before"), send, frame(fText, "after")))
				c.want("text before", "close 1003 PROTOCOL_ERROR")
				c.write(closeFrame(1003, ""))
				c.want("eof")
				c.conn.Close()
				s.end(t, holdfast.ProtocolError, nil)
				if got := s.message(t); got != "before" || len(s.got) != 0 {
					t.Errorf("received %q and %d more", got, len(s.got))
				}
			})
		})
	}
}

func TestHeartbeatOnPlain(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newPlainRig(t, n, PlainConfig{}, echoing)
		c, s := rg.connectPlain()
		begin := time.Now()
		at := func(want time.Duration) {
			t.Helper()
			if d := time.Since(begin); d != want {
				t.Errorf("at %v, want %v", d, want)
			}
		}
		c.want("ping ")
		at(25 * time.Second)
		time.Sleep(19 * time.Second)
		c.write(frame(fPong, ""))
		c.want("ping ") // 25 s after the pong
		at(69 * time.Second)
		c.write(frame(fPong, "whatever"))
		c.write(frame(fPong, "")) // one too many does nothing
		c.want("ping ")
		at(94 * time.Second)
		c.text("3") // is a message, and no pong
		c.want("text 3", "close 1001 GOING_AWAY")
		at(114 * time.Second)
		s.end(t, holdfast.GoingAway, ErrPingTimeout)
		c.want("eof")
		at(119 * time.Second) // the close was not answered
	})
}

func TestPingOvertakesTheQueue(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newPlainRig(t, n, PlainConfig{PingInterval: time.Second, PingTimeout: time.Hour, WriteTimeout: time.Hour})
		c, s := rg.connectPlain()
		const frames = 20
		for range frames { // far more than the network takes
			s.conn.Send(NewTextFrame(bytes.Repeat([]byte("x"), 20_000)))
		}
		time.Sleep(time.Minute)
		before := 0
		for f := c.next(); f != "ping "; f = c.next() {
			if before++; before == frames {
				t.Fatal("the ping came last")
			}
		}
		for range frames - before {
			c.next()
		}
		c.bye()
	})
}

func TestBlockedReceiverDoesNotKillThePlainPeer(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newPlainRig(t, n, PlainConfig{}, func(s *session) { s.hold = make(chan struct{}) })
		c, s := rg.connectPlain()
		c.text("a")
		c.text("b")
		c.want("ping ")
		c.write(frame(fPong, ""))
		time.Sleep(10 * time.Minute)
		s.hold <- struct{}{}
		time.Sleep(10 * time.Minute)
		s.hold <- struct{}{}
		c.want("ping ")
		// Now it is dead.
		s.end(t, holdfast.GoingAway, ErrPingTimeout)
		c.conn.Close()
	})
}

func TestSlowMessageOnPlain(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newPlainRig(t, n, PlainConfig{}, echoing)
		c, s := rg.connectPlain()
		begin := time.Now()
		c.write(frame(fText, "hello")[:9])
		s.end(t, holdfast.GoingAway, nil)
		if d := time.Since(begin); d != 20*time.Second {
			t.Errorf("given up after %v", d)
		}
		c.want("close 1001 GOING_AWAY")
		c.conn.Close()
	})
}

func TestSlowConsumerOnPlain(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newPlainRig(t, n, PlainConfig{QueueBytes: 500_000})
		c, s := rg.connectPlain()
		big := NewTextFrame(bytes.Repeat([]byte("x"), 10_000))
		sent := 0
		for s.conn.Send(big) { // Send must not block, though nobody reads
			if sent++; sent > 10_000 {
				t.Fatal("no bound")
			}
		}
		s.end(t, holdfast.SlowConsumer, nil)
		got, f := 0, c.next()
		for ; strings.HasPrefix(f, "text x"); f = c.next() {
			got++
		}
		// TCP may take it all before the queue is dropped.
		if f != "close 4009 SLOW_CONSUMER" || got > sent || n.fake && got == sent {
			t.Errorf("got %d of %d messages, then %q", got, sent, f)
		}
		c.write(closeFrame(1000, ""))
		c.want("eof")
		c.conn.Close()
	})
}

func TestPlainPeerThatDoesNotRead(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newPlainRig(t, n, PlainConfig{})
		_, s := rg.connectPlain()
		synctest.Wait()
		begin := time.Now()
		for range 10 { // more than the network takes, less than the queue
			s.conn.Send(NewTextFrame(make([]byte, 20_000)))
		}
		s.end(t, holdfast.SlowConsumer, nil)
		if d := time.Since(begin); d != 10*time.Second {
			t.Errorf("write given up after %v", d)
		}
	})
}

func TestCloseOnPlain(t *testing.T) {
	for _, tt := range []struct {
		err  *holdfast.Error
		want string
	}{
		{nil, "close 1000"},
		{holdfast.Unauthenticated.New(), "close 4001 UNAUTHENTICATED"},
		{holdfast.SessionRevoked.New(), "close 4001 SESSION_REVOKED"},
		{holdfast.TokenExpired.New(), "close 4002 TOKEN_EXPIRED"},
		{holdfast.Forbidden.New(), "close 4003 FORBIDDEN"},
		{holdfast.RateLimited.New(), "close 4008 RATE_LIMITED"},
		{holdfast.GoingAway.New(), "close 1001 GOING_AWAY"},
		{holdfast.MessageTooLarge.New(), "close 1009 MESSAGE_TOO_LARGE"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				rg := newPlainRig(t, n, PlainConfig{})
				c, s := rg.connectPlain()
				for i := range 200 {
					s.conn.Send(NewTextFrame(fmt.Appendf(nil, "%d", i)))
				}
				s.conn.Close(tt.err)
				if s.conn.Send(NewTextFrame([]byte("late"))) {
					t.Error("sent after Close")
				}
				for i := range 200 {
					c.want(fmt.Sprintf("text %d", i))
				}
				c.want(tt.want)
				c.text("ignored")
				c.write(frame(fBinary, "ignored"))
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

// What is sent and closed while Open runs follows the handshake.
func TestSendInOpenOfPlain(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		closed := make(chan error, 2)
		rg := newPlainRig(t, n, PlainConfig{Open: func(c *Conn) (Receiver, error) {
			c.Send(NewTextFrame([]byte(`{"error":"Unauthorized","code":"UNAUTHENTICATED"}`)))
			c.Close(holdfast.Unauthenticated.New())
			return &session{conn: c, closed: closed}, nil
		}})
		c := rg.webSocket("")
		c.want(`text {"error":"Unauthorized","code":"UNAUTHENTICATED"}`, "close 4001 UNAUTHENTICATED")
		c.write(closeFrame(4001, ""))
		c.want("eof")
		if err := <-closed; !errors.Is(err, holdfast.Unauthenticated) {
			t.Error(err)
		}
	})
}

// A page's scripts can't see the status of a refused handshake.
func TestOpenOfPlainRefuses(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{holdfast.ConnectionLimit.New(), "close 4010 CONNECTION_LIMIT"},
		{holdfast.Forbidden, "close 4003 FORBIDDEN"},
		{errors.New("canary-5f1c"), "close 1011 INTERNAL"},
		{nil, "close 1011 INTERNAL"}, // and no receiver
	} {
		t.Run(fmt.Sprint(tt.err), func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				var logged lockedBuffer
				var ended context.Context
				rg := newPlainRig(t, n, PlainConfig{
					Open: func(c *Conn) (Receiver, error) {
						ended = c.Context()
						return nil, tt.err
					},
					Logger: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
				})
				c := rg.webSocket("")
				c.want(tt.want)
				c.write(closeFrame(1000, ""))
				c.want("eof")
				if ended.Err() == nil {
					t.Error("the context goes on")
				}
				if rg.engine.Len() != 0 {
					t.Error("the connection counts")
				}
				if internal := strings.Contains(tt.want, "INTERNAL"); strings.Contains(logged.String(), "level=ERROR") != internal {
					t.Errorf("log: %s", logged.String())
				}
			})
		})
	}
}

func TestCheckOfPlain(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newPlainRig(t, n, PlainConfig{Check: func(r *http.Request) error {
			if r.URL.RawQuery == "evil" {
				return holdfast.OriginNotAllowed.New()
			}
			return nil
		}})
		resp := rg.raw(upgradeRequest("evil"))
		if resp.StatusCode != 403 || len(rg.sessions) != 0 {
			t.Errorf("status %d, %d sessions", resp.StatusCode, len(rg.sessions))
		}
		if status, body := rg.call("GET", "evil", ""); status != 403 || !strings.Contains(body, `"code":"ORIGIN_NOT_ALLOWED"`) {
			t.Errorf("without upgrade: %d %s", status, body)
		}
		c, _ := rg.connectPlain()
		c.bye()
	})
}

func TestPlainWithoutHandshake(t *testing.T) {
	good := upgradeRequest("")
	for _, tt := range []struct {
		name, old, new string
		status         int
	}{
		{"no Upgrade", "Upgrade: websocket\r\n", "", 426},
		{"other Upgrade", "Upgrade: websocket", "Upgrade: h2c", 426},
		{"no Connection", "Connection: keep-alive, Upgrade\r\n", "", 426},
		{"HTTP/1.0", "HTTP/1.1", "HTTP/1.0", 400},
		{"no key", "Sec-WebSocket-Key: " + clientKey + "\r\n", "", 400},
		{"other version", "Version: 13", "Version: 8", 400},
		{"POST", "GET", "POST", 405},
		{"HEAD", "GET", "HEAD", 405},
		{"OPTIONS", "GET", "OPTIONS", 405},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onBoth(t, func(t *testing.T, n network) {
				rg := newPlainRig(t, n, PlainConfig{})
				request := strings.Replace(good, tt.old, tt.new, 1)
				if request == good {
					t.Fatal("nothing replaced")
				}
				resp := rg.raw(request)
				if resp.StatusCode != tt.status || len(rg.sessions) != 0 {
					t.Errorf("status %d, %d sessions", resp.StatusCode, len(rg.sessions))
				}
				if kind := resp.Header.Get("Content-Type"); kind != "application/json" {
					t.Errorf("Content-Type %q", kind)
				}
				upgrade := resp.Header.Get("Upgrade") == "websocket" && resp.Header.Get("Connection") == "Upgrade"
				if upgrade != (tt.status == 426) || (resp.Header.Get("Allow") == "GET") != (tt.status == 405) {
					t.Errorf("headers %v", resp.Header)
				}
				if resp.Header.Get("Sec-Websocket-Version") == "" && (tt.status == 426 || tt.name == "other version") {
					t.Errorf("no Sec-WebSocket-Version")
				}
			})
		})
	}
	onBoth(t, func(t *testing.T, n network) {
		rg := newPlainRig(t, n, PlainConfig{})
		status, body := rg.call("GET", "", "")
		if status != 426 || !strings.HasPrefix(body, `{"error":"`) || !strings.Contains(body, `"code":"PROTOCOL_ERROR","requestId":"`) {
			t.Errorf("%d %s", status, body)
		}
	})
}

func TestMessagesBehindPlainUpgradeRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newPlainRig(t, n, PlainConfig{}, echoing)
		early := cat(frame(fText, `{"type":"auth"}`), frame(fPing, "p"), frame(fText, strings.Repeat("x", 3000)))
		for cut := 0; cut <= len(early); cut += len(early) / 7 {
			c, resp := rg.rawWebSocket("", early[:cut])
			if resp.StatusCode != 101 {
				t.Fatal(resp.Status)
			}
			c.write(early[cut:])
			got := []string{c.next(), c.next(), c.next()}
			slices.Sort(got) // the pong may overtake
			if !slices.Equal(got, []string{"pong p", "text " + strings.Repeat("x", 3000), `text {"type":"auth"}`}) {
				t.Errorf("cut at %d: got %.50q", cut, got)
			}
			c.bye()
		}
	})
}

func TestPlainClose(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		rg := newPlainRig(t, n, PlainConfig{})
		c, s := rg.connectPlain()
		s.conn.Send(NewTextFrame([]byte("last")))
		done := make(chan error)
		go func() { done <- rg.engine.Close(context.Background()) }()
		c.want("text last", "close 1001 GOING_AWAY")
		if resp := rg.raw(upgradeRequest("")); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("new connection: %s", resp.Status)
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
	})
}

func TestPlainCloseCuts(t *testing.T) {
	onMemnet(t, func(t *testing.T, n network) {
		rg := newPlainRig(t, n, PlainConfig{CloseTimeout: time.Hour})
		c, s := rg.connectPlain()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := rg.engine.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		c.want("close 1001 GOING_AWAY", "eof")
		s.end(t, holdfast.GoingAway, nil)
	})
}

func TestPlainReceiverThatPanics(t *testing.T) {
	onBoth(t, func(t *testing.T, n network) {
		closed := make(chan error, 2)
		rg := newPlainRig(t, n, PlainConfig{Open: func(*Conn) (Receiver, error) { return panicking{closed}, nil }})
		c := rg.webSocket("")
		c.text("x")
		c.want("close 1011 INTERNAL")
		c.write(closeFrame(1000, ""))
		c.want("eof")
		if err := <-closed; !errors.Is(err, holdfast.Internal) {
			t.Error(err)
		}
	})
}

func TestNewTextFrame(t *testing.T) {
	for _, size := range []int{0, 1, 125, 126, 65_535, 65_536, 100_000} {
		text := bytes.Repeat([]byte("x"), size)
		f := NewTextFrame(text)
		want := NewFrame(text).Wire
		if size == 0 {
			want = []byte{fText, 0}
		}
		if !bytes.Equal(f.Wire, want) || !bytes.Equal(f.Text, text) || f.Binary != nil {
			t.Errorf("%d bytes: wire % x…", size, f.Wire[:min(12, len(f.Wire))])
		}
		if size > 0 {
			text[0] = '#'
			if f.Text[0] != 'x' {
				t.Error("text is not copied")
			}
		}
	}
}

func TestNewPlainNeedsOpen(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	NewPlain(PlainConfig{})
}

// BenchmarkPlainEcho is a message and its echo over loopback TCP, the client's
// work included.
func BenchmarkPlainEcho(b *testing.B) {
	rg := newPlainRig(b, tcpNetwork(b), PlainConfig{}, echoing, func(s *session) { s.got = nil })
	c, _ := rg.connectPlain()
	message := frame(fText, strings.Repeat("x", 128))
	answer := make([]byte, len(NewTextFrame(make([]byte, 128)).Wire))
	b.ReportAllocs()
	for b.Loop() {
		c.write(message)
		if _, err := io.ReadFull(c.in, answer); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	c.conn.Close()
}
