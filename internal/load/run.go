package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"time"
)

// Run does what cfg says and returns what was measured. When ctx ends it stops
// soon and returns what there is, with Interrupted set. An error is about what
// kept it from measuring; faults of the server are in the result.
//
// It wants a processor of its own: the goroutine that calls it stays on one
// thread until it returns.
func Run(ctx context.Context, cfg Config) (*Result, error) {
	if err := cfg.prepare(); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	e, err := newEngine(&cfg)
	if err != nil {
		return nil, err
	}
	defer e.close()
	defer context.AfterFunc(ctx, func() { e.stop.Store(true) })()
	notes, err := e.findServer()
	if err == nil {
		err = e.makeTokens()
	}
	if err != nil {
		return nil, err
	}
	var result *Result
	switch cfg.Scenario {
	case Connect:
		result, err = e.runConnect()
	case Echo:
		result, err = e.runEcho()
	default:
		result, err = e.runRooms()
	}
	if result == nil {
		return nil, err
	}
	result.Interrupted = errors.Is(err, errInterrupted)
	if err != nil && !result.Interrupted {
		return result, err
	}
	result.Notes = append(notes, result.notes()...)
	return result, nil
}

// prepare fills in defaults and checks what can be checked before.
func (c *Config) prepare() error {
	c.Fill(c.Scenario)
	c.Names.fill()
	if c.RoomPrefix == "" {
		c.RoomPrefix = "bench-"
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64N(1<<32-1) + 1
	}
	if err := c.Settings.check(c.Scenario); err != nil {
		return err
	}
	if c.Sources == 0 {
		c.Sources = min(maxSources, 1+c.Connections/perSource)
	}
	limit, err := openFileLimit()
	if err != nil {
		return err
	}
	if need := c.Connections + spareFiles; limit < need {
		return &SettingError{fmt.Sprintf("%d connections need %d open files, and this process may have %d: run \"ulimit -n %d\" before, or ask for fewer", c.Connections, need, limit, need)}
	}
	return nil
}

// spareFiles are the files that a process has open besides its connections.
const spareFiles = 64

// findServer settles which process is the server. The notes say why it is not
// known; that it can't take so many connections is an error.
func (e *engine) findServer() (notes []string, err error) {
	pid := e.cfg.PID
	if pid < 0 {
		return nil, nil
	}
	if pid == 0 {
		if !e.cfg.Target.Addr.Addr().IsLoopback() {
			return []string{"The server is on another machine: its processor time and memory are not known."}, nil
		}
		if pid, err = proc.listener(e.cfg.Target.Addr); err != nil {
			return []string{fmt.Sprintf("The server's processor time and memory are not known: %v. Give --pid.", err)}, nil
		}
	}
	if pid == os.Getpid() {
		return []string{"The server is in the generator's own process: what it uses can't be told apart."}, nil
	}
	if _, err := proc.usage(pid); err != nil {
		return nil, &SettingError{fmt.Sprintf("the server's process can't be looked at: %v", err)}
	}
	if files := proc.openFiles(pid); files > 0 && files < e.cfg.Connections+spareFiles {
		return nil, &SettingError{fmt.Sprintf("the server (process %d) may have %d open files, too few for %d connections: start it after \"ulimit -n %d\"", pid, files, e.cfg.Connections, e.cfg.Connections+spareFiles)}
	}
	e.rec.serverPID = pid
	return nil, nil
}

// afterwards is how long is measured on after the last admission: what a
// server still does for them is part of their cost.
const afterwards = 250 * time.Millisecond

// runConnect opens all connections, and then looks at the server's memory.
func (e *engine) runConnect() (*Result, error) {
	e.work = idleWork{}
	e.tolerant = true
	before := e.rec.use().server.rss
	e.rec.start()
	err := e.connectAll(e.cfg.Rate)
	if errors.Is(err, errInterrupted) {
		e.rec.finish()
		return e.result(), err
	} else if err != nil {
		return nil, err
	}
	took := time.Duration(e.now - e.rec.from)
	err = e.loop(e.now+int64(afterwards), nil)
	e.rec.finish()
	result := e.result()
	result.Checked = result.Count
	result.Rate = float64(result.Count) / took.Seconds() // without what comes after
	if err == nil {
		e.rec.phase("resting", e.cfg.Settle)
		err = e.loop(e.now+int64(e.cfg.Settle), nil)
	}
	if with := e.rec.use().server.rss; e.rec.serverPID > 0 && e.open > 0 {
		result.Memory = &Memory{Before: before, With: with, PerConnection: float64(with-before) / float64(e.open)}
	}
	result.Faults = e.faults
	return result, err
}

// idleWork does nothing.
type idleWork struct{}

func (idleWork) turn()               {}
func (idleWork) ready(*conn)         {}
func (idleWork) event(*conn, []byte) {}
func (idleWork) ack(*conn, packet)   {}
func (idleWork) gone(*conn)          {}

// runRooms is fanout, paced, rooms and soak.
func (e *engine) runRooms() (*Result, error) {
	w := newRoomWork(e)
	e.work = w
	if err := e.connectAll(0); err != nil {
		return nil, err
	}
	e.rec.phase("joining", 0)
	late := e.awake + int64(e.cfg.Timeout)
	joined := func() bool {
		e.rec.done = float64(w.joined) / float64(len(e.conns))
		return w.joined == len(e.conns) || e.awake >= late
	}
	if err := e.loop(forever, joined); err != nil {
		return nil, err
	}
	if e.faults.Refused > 0 {
		return nil, errors.New(e.faults.First[0])
	}
	if w.joined < len(e.conns) {
		why := fmt.Sprintf("does the server know the event %s?", e.cfg.Join)
		if len(e.faults.First) > 0 {
			why = e.faults.First[0]
		}
		return nil, fmt.Errorf("only %d of %d members have joined their rooms within %v: %s", w.joined, len(e.conns), e.cfg.Timeout, why)
	}
	e.clock()
	w.sending, w.began = true, e.now
	if e.cfg.Scenario == Soak {
		e.tolerant = true
		w.cuts = &cutter{w: w}
		w.cuts.start()
	}
	err := e.measure(
		func() { w.limit = w.published - uint64(w.inFlight()) + uint64(e.cfg.Messages) },
		func() bool { return w.stuck || w.limit > 0 && w.published >= w.limit && (w.idle() || e.quiet()) },
		w.unfinished,
	)
	w.sending = false
	if err == nil {
		err = e.drain(w.idle)
	}
	if err == nil {
		w.finish()
	}
	result := e.result()
	result.Checked, result.Late = w.checked, w.late
	if w.cuts != nil {
		result.Cuts = w.cuts.done
	}
	return result, err
}

// runEcho is echo.
func (e *engine) runEcho() (*Result, error) {
	w := newEchoWork(e)
	e.work = w
	if err := e.connectAll(0); err != nil {
		return nil, err
	}
	e.clock()
	w.begin()
	err := e.measure(
		func() { w.limit = w.started - uint64(w.waiting) + uint64(e.cfg.Messages) },
		func() bool { return w.limit > 0 && w.started >= w.limit && (w.idle() || e.quiet()) },
		w.unfinished,
	)
	w.sending = false
	if err == nil {
		err = e.drain(w.idle)
	}
	if err == nil {
		w.finish()
	}
	result := e.result()
	result.Checked = w.checked
	return result, err
}

// measure warms up, and then measures for the duration, or until as many
// messages were sent as were asked for: limit begins to count them, with those
// in flight. unfinished is called when it ends.
func (e *engine) measure(limit func(), done func() bool, unfinished func()) error {
	if e.cfg.Warmup > 0 {
		e.rec.phase("warming up", e.cfg.Warmup)
		if err := e.loop(e.now+int64(e.cfg.Warmup), e.hopeless); err != nil {
			return err
		}
	}
	e.rec.phase("measuring", e.cfg.Duration)
	e.rec.start()
	e.heard = e.awake
	defer e.rec.finish()
	defer unfinished()
	if e.cfg.Messages > 0 {
		limit()
	}
	return e.loop(e.now+int64(e.cfg.Duration), func() bool { return done() || e.hopeless() })
}

// hopeless reports whether there is nobody left to talk to.
func (e *engine) hopeless() bool { return e.open == 0 && e.pending == 0 }

// quiet reports whether nothing has come for as long as a message may take: what
// is missing then will not come.
func (e *engine) quiet() bool { return e.awake-e.heard > int64(e.cfg.Timeout) }

// patience is how many timeouts a server may go on sending what it owes.
const patience = 10

// drain waits for what is in flight, as long as the server sends some of it.
func (e *engine) drain(idle func() bool) error {
	e.rec.phase("waiting for the last messages", 0)
	e.clock()
	e.heard = e.awake
	late := e.awake + patience*int64(e.cfg.Timeout)
	err := e.loop(forever, func() bool { return idle() || e.hopeless() || e.quiet() || e.awake >= late })
	e.stillSending = err == nil && !idle() && !e.hopeless() && !e.quiet()
	return err
}

// notes are about how far the numbers can be trusted.
func (r *Result) notes() (notes []string) {
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if r.Server != nil && r.Generator.Cores > r.Server.Cores {
		add("The generator was busier than the server: rates are its own, processor time for %s is still the server's.", article(r.Unit))
	}
	if r.Server != nil && (r.Server.User+r.Server.System) < 50*clockTick && !r.Interrupted {
		add("The server used so little processor time that it is known to %.0f %% only: measure for longer.", 100*float64(clockTick)/float64(max(clockTick, r.Server.User+r.Server.System)))
	}
	if r.Memory != nil && r.Memory.PerConnection <= 0 {
		add("The server's memory did not grow: it had been used before. Start it anew to see what a connection takes.")
	}
	if r.Late > 0 {
		add("Of the messages, %s sent over 1 ms late: latencies count from when they should have been.", wasWere(r.Late))
	}
	if r.Overdue > 0 {
		add("Of the messages, %s not everywhere after %v. They kept their places in the window, and count as lost only where it says so.", wasWere(r.Overdue), r.Settings.Timeout)
	}
	return notes
}

func wasWere(n uint64) string {
	if n == 1 {
		return "1 was"
	}
	return grouped(n) + " were"
}
