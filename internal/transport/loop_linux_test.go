package transport

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// oneLoop is a rig on TCP all of whose connections are served by one loop.
func oneLoop(t *testing.T, prepare ...func(*session)) *rig {
	rg := newRig(t, tcpNetwork(t), EngineConfig{}, prepare...)
	rg.engine.loops = rg.engine.loops[:1]
	return rg
}

// holder has the receivers of sessions that are opened wait, while hold is set.
type holder struct {
	on   atomic.Bool
	hold chan struct{}
}

func newHolder() *holder { return &holder{hold: make(chan struct{})} }

func (h *holder) prepare(s *session) {
	if h.on.Load() {
		s.hold = h.hold
	}
}

// connect opens a session whose receiver waits.
func (h *holder) connect(rg *rig) *wsClient {
	h.on.Store(true)
	defer h.on.Store(false)
	c, _ := rg.connect()
	return c
}

// watchedFDs is how many descriptors the loop's poller watches, as the system
// says.
func (l *loop) watchedFDs(t *testing.T) int {
	t.Helper()
	var info []byte
	err := l.poller.raw.Control(func(fd uintptr) {
		info, _ = os.ReadFile(filepath.Join("/proc/self/fdinfo", strconv.Itoa(int(fd))))
	})
	if err != nil || !bytes.Contains(info, []byte("flags:")) {
		t.Fatalf("no fdinfo: %v %q", err, info)
	}
	return bytes.Count(info, []byte("tfd:"))
}

// known is how many connections the loop serves.
func (l *loop) known() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seats)
}

// While a receiver blocks, the others of its loop go on; its own messages wait, in
// order.
func TestLoopGoesOn(t *testing.T) {
	h := newHolder()
	rg := oneLoop(t, echoing, h.prepare)
	others := 1000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil && limit.Cur < 3000 {
		others = 100
	}
	var clients []*wsClient
	for range others {
		c, _ := rg.connect()
		clients = append(clients, c)
	}
	blocked := h.connect(rg)
	blocked.write(cat(frame(fText, "4first"), frame(fText, "4second")))
	for range 3 {
		for _, c := range clients {
			c.text("4hello")
		}
		for _, c := range clients {
			c.want("text 4hello")
		}
	}
	blocked.text("4third")
	close(h.hold)
	blocked.want("text 4first", "text 4second", "text 4third")
	blocked.text("4served again")
	blocked.want("text 4served again")
	until(func() bool { return rg.engine.loops[0].known() == others+1 })
	if n := rg.engine.loops[0].watchedFDs(t); n != others+1 {
		t.Errorf("%d descriptors are watched, want %d", n, others+1)
	}
}

// Many receivers that block at once each lose the loop, and it is one goroutine's
// after each.
func TestLoopLostOften(t *testing.T) {
	h := newHolder()
	rg := oneLoop(t, echoing, h.prepare)
	var clients []*wsClient
	for range 20 {
		c := h.connect(rg)
		c.text("4held")
		clients = append(clients, c)
	}
	free, s := rg.connect()
	free.text("4free")
	free.want("text 4free")
	if n := rg.engine.Len(); n != 21 {
		t.Errorf("%d sessions", n)
	}
	close(h.hold)
	for _, c := range clients {
		c.want("text 4held")
		c.bye()
	}
	free.bye()
	s.end(t, "", nil)
}

// A descriptor that is closed is watched no more, also where another one of the
// same socket is still open, and what uses its number gets only its own.
func TestLoopForgetsDescriptors(t *testing.T) {
	rg := oneLoop(t, echoing)
	keeper, _ := rg.connect()
	l := &rg.engine.loops[0]
	for i := range 200 {
		c, s := rg.connect()
		text := fmt.Sprintf("4number %d", i)
		c.text(text)
		c.want("text " + text)
		dup := -1
		s.conn.mu.Lock()
		raw := s.conn.ws.raw
		s.conn.mu.Unlock()
		_ = raw.Control(func(fd uintptr) { dup, _ = syscall.Dup(int(fd)) })
		switch i % 3 {
		case 0:
			c.write(closeFrame(1000, ""))
			c.want("close 1000")
			s.end(t, "", nil)
		case 1: // the last bytes and the end in one
			c.write(frame(fText, "4last"))
			c.conn.Close()
			s.end(t, holdfast.GoingAway, ErrLost)
		case 2:
			s.conn.Close(holdfast.SessionRevoked.New())
			s.conn.cut()
			s.end(t, holdfast.SessionRevoked, nil)
		}
		until(func() bool { return l.known() == 1 })
		if n := l.watchedFDs(t); n != 1 {
			t.Fatalf("round %d: %d descriptors are watched, want one", i, n)
		}
		if err := syscall.Close(dup); err != nil {
			t.Fatal(err)
		}
		c.conn.Close()
	}
	keeper.text("4still here")
	keeper.want("text 4still here")
}

// What is told of a connection that is gone meanwhile is nobody's: no tag is
// used twice.
func TestLoopLateEvent(t *testing.T) {
	rg := oneLoop(t, echoing)
	l := &rg.engine.loops[0]
	seen := map[uint64]bool{}
	for range 50 {
		c, s := rg.connect()
		until(func() bool { return l.known() == 1 })
		l.mu.Lock()
		for tag := range l.seats {
			if seen[tag] {
				t.Errorf("tag %d is used again", tag)
			}
			seen[tag] = true
		}
		l.mu.Unlock()
		c.bye()
		s.end(t, "", nil)
		until(func() bool { return l.known() == 0 })
	}
}

// A tag comes back from the system as it was given, with all its bits.
func TestPollerTags(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	client, server := socketPair(t)
	defer client.Close()
	defer server.Close()
	raw, err := server.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	const tag = 0xfedc_ba98_8765_4321
	if err := p.add(raw, tag); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // by level: what is not read comes again
		if tags, err := p.wait(nil); err != nil || len(tags) != 1 || tags[0] != tag {
			t.Fatalf("%x, %v", tags, err)
		}
	}
	waits := make(chan error, 1)
	if err := p.remove(raw); err != nil {
		t.Fatal(err)
	}
	go func() { _, err := p.wait(nil); waits <- err }()
	p.close()
	if err := <-waits; err == nil {
		t.Error("a poller that is closed is waited for")
	}
}

// Data and the end in one segment: both are noticed.
func TestLoopLastWords(t *testing.T) {
	rg := oneLoop(t)
	for i := range 100 {
		c, s := rg.connect()
		text := strings.Repeat("x", 1+i*97) // and more than one read's
		c.write(frame(fText, "4"+text))
		if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got := s.message(t); got != text {
			t.Fatalf("round %d: got %.50q", i, got)
		}
		s.end(t, holdfast.GoingAway, ErrLost)
		if got := c.next(); got != "eof" {
			t.Errorf("round %d: %s", i, got)
		}
		c.conn.Close()
	}
}

// A message that came in part with the handshake is read on, in whatever pieces.
func TestLoopFirstWords(t *testing.T) {
	rg := oneLoop(t, echoing)
	whole := cat(frame(fText, "4first"), frame(fText, "4"+strings.Repeat("second", 2000)))
	for _, cut := range []int{0, 1, 3, len(whole) / 3, len(whole) - 1, len(whole)} {
		c, _ := rg.rawWebSocket(websocketQuery, whole[:cut])
		c.next()
		c.write(whole[cut:])
		c.want("text 4first", "text 4"+strings.Repeat("second", 2000))
		c.bye()
	}
}

// Who sends without an end does not keep others of the loop from being read.
func TestLoopIsFair(t *testing.T) {
	rg := oneLoop(t, func(s *session) { s.got = nil })
	flood, _ := rg.connect()
	message := frame(fBinary, strings.Repeat("f", 64<<10))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := flood.conn.Write(message); err != nil {
				return
			}
		}
	}()
	c, s := rg.connect()
	for range 50 {
		c.write(frame(fPing, "x"))
		c.want("pong x")
	}
	c.bye()
	s.end(t, "", nil)
	flood.conn.Close()
	<-done
}

// Where the system takes no descriptor more, or no loop is left, goroutines read.
func TestLoopRefuses(t *testing.T) {
	rg := oneLoop(t, echoing)
	rg.engine.loops[0].stop()
	for _, early := range []string{"", "4early"} {
		var first []byte
		if early != "" {
			first = frame(fText, early)
		}
		c, _ := rg.rawWebSocket(websocketQuery, first)
		c.next()
		if early != "" {
			c.want("text " + early)
		}
		c.text("4hello")
		c.want("text 4hello")
		c.bye()
	}
	if n := rg.engine.loops[0].known(); n != 0 {
		t.Errorf("the loop knows %d", n)
	}
}

// A loop that is stopped ends the connections that it still has.
func TestLoopStopped(t *testing.T) {
	rg := oneLoop(t)
	c, s := rg.connect()
	until(func() bool { return rg.engine.loops[0].known() == 1 })
	rg.engine.loops[0].stop()
	s.end(t, holdfast.GoingAway, ErrLost)
	if got := c.next(); got != "eof" {
		t.Error(got)
	}
}

// Shutdown ends what is idle and what is busy, and no goroutine is left.
func TestLoopShutdown(t *testing.T) {
	h := newHolder()
	rg := newRig(t, tcpNetwork(t), EngineConfig{}, echoing, h.prepare)
	ends := make(chan string, 101)
	for i := range 101 {
		var c *wsClient
		if i == 0 {
			c = h.connect(rg)
			c.text("4held")
		} else {
			c, _ = rg.connect()
		}
		go func() {
			m := c.next()
			if m == "text 4held" {
				m = c.next()
			}
			_, _ = c.conn.Write(closeFrame(1001, ""))
			_, _ = io.Copy(io.Discard, c.conn)
			ends <- m
		}()
	}
	closed := make(chan error, 1)
	go func() { closed <- rg.engine.Close(context.Background()) }()
	for range 100 {
		if m := <-ends; m != "close 1001 GOING_AWAY" {
			t.Errorf("a client was told %q", m)
		}
	}
	close(h.hold)
	if m := <-ends; m != "close 1001 GOING_AWAY" {
		t.Errorf("the client whose receiver blocked was told %q", m)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	for i := range rg.engine.loops {
		if rg.engine.loops[i].known() != 0 {
			t.Error("a loop has connections left")
		}
	}
}

// A receiver that ends its goroutine ends its session, and no other one.
func TestLoopGoexit(t *testing.T) {
	var opened atomic.Int32
	closed := make(chan error, 1)
	rg := newRig(t, tcpNetwork(t), EngineConfig{Open: func(c *Conn) (Receiver, error) {
		if opened.Add(1) == 1 {
			return quitter{closed}, nil
		}
		return &session{conn: c, echo: true, closed: make(chan error, 2)}, nil
	}})
	rg.engine.loops = rg.engine.loops[:1]
	c := rg.webSocket(websocketQuery)
	c.next()
	other := rg.webSocket(websocketQuery)
	other.next()
	c.text("4go")
	c.want("close 1011 INTERNAL")
	c.write(closeFrame(1011, ""))
	c.want("eof")
	if err := <-closed; holdfast.CodeOf(err) != holdfast.Internal {
		t.Errorf("Closed with %v", err)
	}
	other.text("4hello")
	other.want("text 4hello")
	other.bye()
}

// quitter is a Receiver that ends the goroutine of Message.
type quitter struct{ closed chan error }

func (quitter) Message(*Conn, []byte, bool) { runtime.Goexit() }
func (q quitter) Closed(_ *Conn, err error) { q.closed <- err }

// A message that a loop reads and its receiver answers is read, delivered and
// answered without an allocation.
func TestLoopAllocates(t *testing.T) {
	f := NewFrame([]byte("4pong"))
	rg := newRig(t, tcpNetwork(t), EngineConfig{Open: func(*Conn) (Receiver, error) { return answerer{f}, nil }})
	c := rg.webSocket(websocketQuery)
	c.next()
	ask, got := frame(fText, "4ping"), make([]byte, len(f.Wire))
	turn := func() {
		c.write(ask)
		if _, err := io.ReadFull(c.in, got); err != nil {
			t.Fatal(err)
		}
	}
	turn()
	// The race detector has a sync.Pool lose buffers, but not all of them.
	if n := testing.AllocsPerRun(500, turn); n >= 1 {
		t.Errorf("%v allocations a message", n)
	}
	c.bye()
}

// answerer is a Receiver that answers at once, in its turn.
type answerer struct{ frame *hub.Frame }

func (a answerer) Message(c *Conn, _ []byte, _ bool) {
	t := c.Claim()
	c.SendNow(a.frame)
	if t != nil {
		t.Release()
	}
}

func (answerer) Closed(*Conn, error) {}

// Where handlers often took long, the receiver is told to leave what may take time
// to others, and no turn is given.
func TestLoopHurried(t *testing.T) {
	type told struct{ hurried, claimed bool }
	heard := make(chan told, 1)
	rg := newRig(t, tcpNetwork(t), EngineConfig{Open: func(*Conn) (Receiver, error) {
		return asker(func(c *Conn) {
			turn := c.Claim()
			heard <- told{c.Hurried(), turn != nil}
			if turn != nil {
				turn.Release()
			}
		}), nil
	}})
	rg.engine.loops = rg.engine.loops[:1]
	rg.engine.loops[0].pace = pace{left: 3, until: time.Now().Add(time.Hour)}
	c := rg.webSocket(websocketQuery)
	c.next()
	for i := range 3 {
		c.text("4x")
		if got := <-heard; got != (told{hurried: true}) {
			t.Errorf("message %d: %+v", i, got)
		}
	}
	// On a slow machine it may come to that again, but not for ever.
	for {
		c.text("4x")
		got := <-heard
		if got.hurried == got.claimed {
			t.Fatalf("%+v", got)
		}
		if got.claimed {
			break
		}
	}
	c.bye()
}

// asker is a Receiver that calls a function for each message.
type asker func(c *Conn)

func (a asker) Message(c *Conn, _ []byte, _ bool) { a(c) }
func (asker) Closed(*Conn, error)                 {}

// What was read together is claimed with its last message alone; what is handed on
// is read by others, and ends, while it runs.
func TestLoopTurn(t *testing.T) {
	var claims atomic.Int64
	heard, hold, left := make(chan string, 100), make(chan struct{}), make(chan bool, 1)
	rg := newRig(t, tcpNetwork(t), EngineConfig{Open: func(*Conn) (Receiver, error) {
		return claimer{&claims, heard, hold, left}, nil
	}})
	rg.engine.loops = rg.engine.loops[:1]
	c, other := rg.webSocket(websocketQuery), rg.webSocket(websocketQuery)
	c.next()
	other.next()
	c.write(cat(frame(fText, "4a"), frame(fText, "4b")))
	if a, b := <-heard, <-heard; a != "a" || b != "b" {
		t.Fatalf("%q, %q", a, b)
	}
	if n := claims.Load(); n > 1 {
		t.Errorf("%d of two messages were claimed", n)
	}
	for { // on a slow machine a turn may not be given at once
		c.text("4hold")
		if m := <-heard; m == "held" {
			break
		} else if m != "hold" {
			t.Fatalf("got %q", m)
		}
	}
	other.write(frame(fPing, "x"))
	other.want("pong x")
	for i := range 100 {
		c.text("4" + strconv.Itoa(i))
		if m := <-heard; m != strconv.Itoa(i) {
			t.Fatalf("got %q", m)
		}
	}
	c.bye()
	if m := <-heard; m != "closed" {
		t.Fatalf("got %q", m)
	}
	close(hold)
	if <-left {
		t.Error("Release says that its goroutine reads")
	}
	other.bye()
}

// claimer is a Receiver that claims a turn for each message, and waits in "hold".
type claimer struct {
	claims *atomic.Int64
	heard  chan string
	hold   chan struct{}
	left   chan bool
}

func (w claimer) Message(c *Conn, data []byte, _ bool) {
	text := string(data)
	turn := c.Claim()
	if turn == nil {
		w.heard <- text
		return
	}
	w.claims.Add(1)
	if text == "hold" {
		w.heard <- "held"
		<-w.hold
		w.left <- turn.Release()
		return
	}
	w.heard <- text
	turn.Release()
}

func (w claimer) Closed(*Conn, error) {
	select {
	case w.heard <- "closed":
	default:
	}
}
