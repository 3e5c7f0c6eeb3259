package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/memnet"
)

// Clients and server do whatever comes to their mind. Afterwards no session and
// no goroutine may be left, Closed was called once for each, and no two calls
// of a receiver overlapped; the rig looks at all of that.
func TestChaos(t *testing.T) {
	sessions := 400
	if testing.Short() {
		sessions = 60
	}
	const short, long = 20 * time.Millisecond, 50 * time.Millisecond
	mute := func(s *session) { s.got = nil }
	engine := func(t *testing.T, n network) *rig {
		return newRig(t, n, EngineConfig{
			PingInterval: short, PingTimeout: short, UpgradeTimeout: long,
			WriteTimeout: long, CloseTimeout: long, QueueBytes: 100_000, MaxPayload: 10_000,
		}, echoing, mute)
	}
	plain := func(t *testing.T, n network) *rig {
		return newPlainRig(t, n, PlainConfig{
			PingInterval: short, PingTimeout: short, WriteTimeout: long, CloseTimeout: long, QueueBytes: 100_000, MaxPayload: 10_000,
		}, echoing, mute)
	}
	run := func(t *testing.T, rg *rig) {
		var wg sync.WaitGroup
		for i := range sessions {
			rnd := rand.New(rand.NewPCG(uint64(i), 1))
			wg.Go(func() { chaoticClient(rg, rnd) })
			if i%8 == 7 {
				wg.Wait()
			}
			select {
			case s := <-rg.sessions:
				wg.Go(func() { chaoticServer(s.conn, rand.New(rand.NewPCG(uint64(i), 2))) })
			default:
			}
		}
		wg.Wait()
		until(func() bool { return rg.engine.Len() == 0 })
	}
	for name, start := range map[string]func(*testing.T, network) *rig{"engine": engine, "plain": plain} {
		t.Run(name+" on memnet", func(t *testing.T) {
			l := memnet.Listen()
			run(t, start(t, network{listener: l, dial: l.Dial}))
		})
		t.Run(name+" on tcp", func(t *testing.T) { run(t, start(t, tcpNetwork(t))) })
	}
}

func chaoticServer(c *Conn, rnd *rand.Rand) {
	for range rnd.IntN(50) {
		switch rnd.IntN(20) {
		case 0:
			c.Close(holdfast.GoingAway.New())
		case 1:
			for range 100 {
				c.Send(NewFrame(make([]byte, 3000)))
			}
		default:
			c.Send(NewFrame([]byte("4x"), []byte{1}))
		}
	}
}

// chaoticClient speaks Engine.IO. To a Plain, its packets are messages, and its
// polls are refused.
func chaoticClient(rg *rig, rnd *rand.Rand) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rnd.IntN(60))*time.Millisecond)
	defer cancel()
	query := websocketQuery
	if rnd.IntN(2) == 0 {
		status, body, err := rg.try(ctx, "GET", pollingQuery, "")
		if err != nil || status != 200 {
			return
		}
		sid := strings.Split(body, `"`)[3]
		query += "&sid=" + sid
		var wg sync.WaitGroup
		defer wg.Wait()
		for range rnd.IntN(4) {
			body := []string{"4x", "4x\x1e4y\x1ebAAAA", "1", "3", "abc", strings.Repeat("4", 20_000)}[rnd.IntN(6)]
			wg.Go(func() { _, _, _ = rg.try(ctx, "POST", pollingQuery+"&sid="+sid, body) })
			wg.Go(func() { _, _, _ = rg.try(ctx, "GET", pollingQuery+"&sid="+sid, "") })
		}
	}
	conn, err := rg.network.dial(ctx)
	if err != nil {
		return
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	out := []byte(upgradeRequest(query))
	if rnd.IntN(4) > 0 {
		out = append(out, cat(frame(fText, "2probe"), frame(fText, "5"))...)
	}
	for range rnd.IntN(20) {
		out = append(out, [][]byte{
			frame(fText, "4hello"), frame(fBinary, "hello"), frame(fPing, ""), frame(fTextBegin, "4"), frame(fLast, ""), frame(fText, "3"), frame(fPong, ""),
			frame(fText, "1"), closeFrame(1000, ""), frame(fText, "\xff"), frame(fText, "4"+strings.Repeat("x", 9000)), {0xff},
		}[min(rnd.IntN(33), 11)%12]...)
	}
	_, _ = conn.Write(out)
	if rnd.IntN(2) == 0 {
		_, _ = io.Copy(io.Discard, conn)
	}
}

// Over TLS there is no descriptor to read from, and polls come over HTTP/2.
func TestTLS(t *testing.T) {
	s := &session{echo: true, closed: make(chan error, 2)}
	secure := make(chan bool, 2)
	e := NewEngine(EngineConfig{Open: func(c *Conn) (Receiver, error) {
		s.conn = c
		secure <- c.Request().TLS
		return s, nil
	}})
	server := httptest.NewUnstartedServer(e)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()

	poll := func(method, query, body string) string {
		t.Helper()
		req, _ := http.NewRequest(method, server.URL+"/?"+pollingQuery+query, strings.NewReader(body))
		resp, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.ProtoMajor != 2 || resp.StatusCode != 200 {
			t.Errorf("%s %s %s", resp.Proto, resp.Status, text)
		}
		return string(text)
	}
	sid := strings.Split(poll("GET", "", ""), `"`)[3]
	if got := poll("POST", "&sid="+sid, "4a"); got != "ok" {
		t.Errorf("POST got %q", got)
	}
	if got := poll("GET", "&sid="+sid, ""); got != "4a" {
		t.Errorf("poll got %q", got)
	}
	poll("POST", "&sid="+sid, "1")
	s.end(t, "", nil)

	s.over = false
	config := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = []string{"http/1.1"}
	conn, err := tls.Dial("tcp", server.Listener.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	rg := &rig{t: t, network: network{dial: func(context.Context) (net.Conn, error) { return conn, nil }}}
	c := rg.webSocket(websocketQuery)
	c.next()
	for i := range 100 {
		text := fmt.Sprint("4", strings.Repeat("x", i*100))
		c.text(text)
		c.want("text " + text)
	}
	c.write(frame(fText, "\xff"))
	c.want("close 1007 PROTOCOL_ERROR", "eof")
	c.conn.Close()
	s.end(t, holdfast.ProtocolError, nil)
	for range 2 {
		if !<-secure {
			t.Error("TLS is not noticed")
		}
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
