package load

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// errInterrupted ends a phase early.
var errInterrupted = errors.New("interrupted")

// readBuffer is how much is read at once: what waits on one connection.
const readBuffer = 128 << 10

// maxMessage bounds a message of the server.
const maxMessage = 4 << 20

// work is what a scenario does with connections.
type work interface {
	// turn sends what is due. It is called between waits.
	turn()
	// ready is called when a connection has been admitted.
	ready(c *conn)
	// event and ack are called with packets of the server. What they hold is
	// gone when they return.
	event(c *conn, text []byte)
	ack(c *conn, p packet)
	// gone is called when a connection has ended by itself.
	gone(c *conn)
}

// engine drives all connections from one goroutine.
type engine struct {
	cfg    *Config
	poll   *poller
	conns  []*conn
	work   work
	stamps *stamper
	random *mathrand.Rand
	faults Faults
	// overdue counts what was not everywhere within the timeout.
	overdue      uint64
	heard        int64 // the value of awake when an event or an ack came last
	stillSending bool  // the server was, when nobody waited for it any longer
	codes        map[string]uint64
	rec          *recorder
	stop         atomic.Bool // set from elsewhere: the run is to end

	base time.Time
	now  int64 // nanoseconds since base, as of the last wakeup
	// awake is now without the time in which this process did not get to look at
	// its connections. How long the server was silent is told by it: nobody
	// knows what came in the time that it lacks.
	awake int64

	lastPass int64 // when connections were last looked at

	buf   []byte   // what is read goes here first
	frame []byte   // a frame is made here
	spare [][]byte // buffers for what is left over
	mask  uint32   // the state of the generator of masks

	wsKey, wsAccept string
	tokens          []string // by connection; "" for none

	// Connections: which is the next to be made, and how many are at what point.
	nextDial, pending, open, refused int
	ended                            int // by themselves, after they were admitted
	firstRefusal                     error
	dialFrom                         int64 // when the dialling began
	dialRate                         float64
	tolerant                         bool // a refusal is a fault, and does not end the run
}

func newEngine(cfg *Config) (*engine, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	var key [16]byte
	_, _ = rand.Read(key[:]) // never fails
	e := &engine{
		cfg: cfg, poll: p, stamps: newStamper(mathrand.Uint32()), base: time.Now(),
		random: mathrand.New(mathrand.NewPCG(cfg.Seed, 0)), mask: mathrand.Uint32() | 1,
		buf: make([]byte, readBuffer), conns: make([]*conn, cfg.Connections),
		wsKey: base64.StdEncoding.EncodeToString(key[:]),
	}
	sum := sha1.Sum([]byte(e.wsKey + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	e.wsAccept = base64.StdEncoding.EncodeToString(sum[:])
	for i := range e.conns {
		e.conns[i] = &conn{index: int32(i), fd: -1}
	}
	e.rec = newRecorder(e)
	return e, nil
}

// makeTokens makes the tokens of all connections, before anything is measured.
func (e *engine) makeTokens() (err error) {
	e.tokens = make([]string, len(e.conns))
	for i := range e.tokens {
		if e.cfg.Token == nil {
			return nil
		}
		if e.stop.Load() {
			return errInterrupted
		}
		if e.tokens[i], err = e.cfg.Token(i); err != nil {
			return err
		}
	}
	return nil
}

// close ends all connections.
func (e *engine) close() {
	for _, c := range e.conns {
		if c.fd >= 0 {
			e.send(c, opClose, closeNormal)
			e.shut(c) // if the write has not
		}
	}
	e.poll.close()
}

// clock reads the time.
func (e *engine) clock() {
	now := int64(time.Since(e.base))
	e.awake += min(now-e.now, int64(maxWait))
	e.now = now
}

// maxWait bounds a wait, so that an interruption is soon seen. What takes longer
// has held this process up.
const maxWait = 100 * time.Millisecond

// loop works until done, which may be nil, or the deadline.
func (e *engine) loop(deadline int64, done func() bool) error {
	for {
		e.clock()
		if e.stop.Load() {
			return errInterrupted
		}
		e.rec.tick()
		e.dialDue()
		if e.firstRefusal != nil && (!e.tolerant || e.refused >= maxRefused) {
			return e.firstRefusal
		}
		e.work.turn()
		if e.clock(); e.lastPass > 0 {
			e.rec.turned(e.now - e.lastPass)
		}
		if done != nil && done() || e.now >= deadline {
			return nil
		}
		if early := e.lastPass + int64(e.cfg.ReadEvery) - e.now; early > 0 {
			nap(time.Duration(early))
			e.clock()
		}
		n, err := e.poll.wait(min(maxWait, time.Duration(min(deadline, e.rec.next)-e.now)))
		if err != nil {
			return fmt.Errorf("waiting for connections: %w", err)
		}
		e.clock()
		e.lastPass = e.now
		for i := range n {
			e.dispatch(i)
		}
	}
}

// maxRefused is how many refused connections end a run that tolerates some.
const maxRefused = 100

// dispatch handles one event of the last wait.
func (e *engine) dispatch(i int) {
	index, generation, readable, writable := e.poll.event(i)
	if index == timerIndex {
		return
	}
	c := e.conns[index]
	if c.generation != generation || c.fd < 0 {
		return // of a connection that has just been closed
	}
	if writable {
		e.writable(c)
	}
	if readable && c.fd >= 0 && c.generation == generation {
		e.readable(c)
	}
}

// dialDue makes the connections whose time has come.
func (e *engine) dialDue() {
	for e.nextDial < len(e.conns) && e.pending < e.cfg.Concurrency {
		if e.dialRate > 0 {
			at := e.dialFrom + int64(float64(e.nextDial)/e.dialRate*1e9)
			if at > e.now {
				e.poll.wakeIn(time.Duration(at - e.now))
				return
			}
		}
		c := e.conns[e.nextDial]
		e.nextDial++
		e.dial(c)
	}
}

// dial begins to connect c.
func (e *engine) dial(c *conn) {
	e.clock()
	c.generation++
	c.state, c.began = dialling, e.now
	e.pending++
	fd, err := dial(e.cfg.Target.Addr, e.cfg.source(int(c.index)))
	if err == nil {
		c.fd = fd
		err = e.poll.watch(fd, c.index, c.generation, true)
	}
	if err != nil {
		e.refuse(c, e.dialError(err))
	}
}

// dialError makes an error of the network of one of the system.
func (e *engine) dialError(err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(e.cfg.Target.Addr), Err: os.NewSyscallError("connect", err)}
}

// connectAll makes all connections, and waits until each is admitted or
// refused.
func (e *engine) connectAll(rate float64) error {
	e.rec.phase("connecting", 0)
	e.clock()
	e.dialFrom, e.dialRate = e.now, rate
	last, since := -1, e.awake
	settled := func() bool {
		if n := e.open + e.refused + e.ended; n != last {
			last, since = n, e.awake
		}
		e.rec.done = float64(last) / float64(len(e.conns))
		return last == len(e.conns) || e.awake-since > int64(e.cfg.Timeout)+e.dialGap()
	}
	if err := e.loop(forever, settled); err != nil {
		return err
	}
	if last < len(e.conns) {
		why := ""
		if len(e.faults.First) > 0 {
			why = ": " + e.faults.First[0]
		}
		return fmt.Errorf("only %d of %d connections were admitted, and none in the last %v%s", e.open+e.ended, len(e.conns), e.cfg.Timeout, why)
	}
	if e.open == 0 {
		return e.firstRefusal
	}
	return nil
}

// dialGap is the time between two connections.
func (e *engine) dialGap() int64 {
	if e.dialRate <= 0 {
		return 0
	}
	return int64(1e9 / e.dialRate)
}

// forever is a deadline that is never reached.
const forever = int64(1) << 62

// nextMask makes the next mask (xorshift): unlike that of a browser it need not
// be unpredictable, since no page decides what is sent.
func (e *engine) nextMask() [4]byte {
	m := e.mask
	m ^= m << 13
	m ^= m >> 17
	m ^= m << 5
	e.mask = m
	return [4]byte{byte(m), byte(m >> 8), byte(m >> 16), byte(m >> 24)}
}
