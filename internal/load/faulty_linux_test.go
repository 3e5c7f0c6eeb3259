package load

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// faulty is a small Socket.IO server that makes mistakes on purpose. Its rooms
// and events are those that the generator asks for.
type faulty struct {
	// deliver says what a member is sent instead of the packet of its n-th
	// message, counted from 0; nil: the packet.
	deliver func(member, n int, packet string) []string
	// ack says what a publisher of data is sent instead of an ack; nil: the ack.
	ack func(data, packet string) []string
	// echo is the same for echoed events.
	echo func(n int, packet string) []string
	// admit says what is sent instead of the admission of the n-th connection.
	admit func(n int, packet string) []string
	// upgrade answers the n-th request itself, if it returns true.
	upgrade func(n int, w http.ResponseWriter) bool
	// ping is sent after each admission, if it is not empty.
	ping string
	// fragment sends each message in two frames.
	fragment bool
	// hold says of a packet to a connection that it, and all that come after it
	// there, wait for release.
	hold func(c *faultyConn, packet string) bool

	mu       sync.Mutex // guards what follows, and all writing
	released bool
	mostHeld int // messages and echoes that waited on one connection
	rooms    map[string][]*faultyConn
	conns    []*faultyConn
	requests int
	admitted int
	echoed   int
	pongs    int
}

// faultyConn is one connection of it.
type faultyConn struct {
	net.Conn
	number int // in its room
	got    int
	held   []string // see faulty.hold
}

// hangUp is a packet that closes the connection instead.
const hangUp = "hang up"

// start serves on loopback until the test ends, and returns its address.
func (f *faulty) start(t *testing.T) Target {
	t.Helper()
	f.rooms = make(map[string][]*faultyConn)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Done()
		f.serve(w, r)
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = srv.Serve(listener) }()
	t.Cleanup(func() {
		srv.Close()
		<-served
		f.mu.Lock()
		for _, c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
		running.Wait()
	})
	return target(t, "http://"+listener.Addr().String())
}

func target(t *testing.T, url string) Target {
	t.Helper()
	to, err := ParseTarget(t.Context(), url, false)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

func (f *faulty) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	number := f.requests
	f.requests++
	f.mu.Unlock()
	if f.upgrade != nil && f.upgrade(number, w) {
		return
	}
	raw, _, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	c := &faultyConn{Conn: raw}
	f.mu.Lock()
	f.conns = append(f.conns, c)
	f.send(c, `0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`)
	f.mu.Unlock()
	for {
		text, op, err := wsutil.ReadClientData(c)
		if err != nil || op != ws.OpText {
			c.Close()
			return
		}
		f.mu.Lock()
		f.handle(c, string(text))
		f.mu.Unlock()
	}
}

// send writes packets. mu is held: what is sent has one order.
func (f *faulty) send(c *faultyConn, packets ...string) {
	for _, text := range packets {
		switch {
		case !f.released && f.hold != nil && (len(c.held) > 0 || f.hold(c, text)):
			c.held = append(c.held, text)
			waiting := 0
			for _, packet := range c.held {
				if strings.Contains(packet, "hf~") { // not an ack of a publish
					waiting++
				}
			}
			f.mostHeld = max(f.mostHeld, waiting)
		case text == hangUp:
			_ = wsutil.WriteServerMessage(c, ws.OpClose, ws.NewCloseFrameBody(4009, "SLOW_CONSUMER"))
			c.Close()
			return
		case strings.HasPrefix(text, "raw "):
			_, _ = c.Write([]byte(text[4:]))
		case f.fragment && len(text) > 1:
			_ = ws.WriteFrame(c, ws.NewFrame(ws.OpText, false, []byte(text[:len(text)/2])))
			_ = ws.WriteFrame(c, ws.NewPingFrame([]byte("within")))
			_ = ws.WriteFrame(c, ws.NewFrame(ws.OpContinuation, true, []byte(text[len(text)/2:])))
		default:
			_ = wsutil.WriteServerText(c, []byte(text)) // the reader sees what is wrong
		}
	}
}

// release sends what is held, and holds nothing any more.
func (f *faulty) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.released = true
	for _, c := range f.conns {
		f.send(c, c.held...)
		c.held = nil
	}
}

func (f *faulty) handle(c *faultyConn, text string) {
	or := func(change func(int, string) []string, n int, packet string) []string {
		if change == nil {
			return []string{packet}
		}
		return change(n, packet)
	}
	switch {
	case strings.HasPrefix(text, "3"):
		f.pongs++
	case strings.HasPrefix(text, "40"):
		f.send(c, or(f.admit, f.admitted, `40{"sid":"x"}`)...)
		f.admitted++
		if f.ping != "" {
			f.send(c, f.ping)
		}
	case strings.HasPrefix(text, "42"):
		p, _ := parsePacket([]byte(text[1:]))
		var name string
		var data json.RawMessage
		if err := json.Unmarshal(p.data, &[]any{&name, &data}); err != nil {
			panic(err) // the generator writes nonsense
		}
		f.event(c, name, data, fmt.Sprintf("43%d", p.id), or)
	}
}

func (f *faulty) event(c *faultyConn, name string, data json.RawMessage, ack string, or func(func(int, string) []string, int, string) []string) {
	var asked struct {
		Room, Event string
		Data        json.RawMessage
	}
	if name != "echo" {
		if err := json.Unmarshal(data, &asked); err != nil {
			panic(err)
		}
	}
	switch name {
	case "room:join":
		c.number = len(f.rooms[asked.Room])
		f.rooms[asked.Room] = append(f.rooms[asked.Room], c)
		f.send(c, ack+`[{"ok":true,"data":{}}]`)
	case "room:publish":
		packet := fmt.Sprintf(`42[%q,%s,{"room":%q}]`, asked.Event, asked.Data, asked.Room)
		for _, member := range f.rooms[asked.Room] {
			if f.deliver == nil {
				f.send(member, packet)
			} else {
				f.send(member, f.deliver(member.number, member.got, packet)...)
			}
			member.got++
		}
		if ack += `[{"ok":true,"data":{}}]`; f.ack == nil {
			f.send(c, ack)
		} else {
			f.send(c, f.ack(string(asked.Data), ack)...)
		}
	case "echo":
		f.send(c, or(f.echo, f.echoed, fmt.Sprintf("%s[%s]", ack, data))...)
		f.echoed++
	}
}
