package load

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ownServer serves Holdfast on loopback until the test ends. Any token that is
// not "bad" is that of the user of this name.
func ownServer(t *testing.T) Target {
	t.Helper()
	srv, err := server.New(server.Config{
		Authenticator: auth.Func(func(_ context.Context, c auth.Credential) (*holdfast.Identity, error) {
			token, err := c.BearerToken()
			if err != nil || token == "" || token == "bad" {
				return nil, holdfast.Unauthenticated.New()
			}
			return &holdfast.Identity{User: token, Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("**")}}, nil
		}),
		MessageRate: -1, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, ns := range []*server.Namespace{srv.Of("/"), srv.Of("/load")} {
		server.Handle(ns, "echo", func(_ context.Context, _ *server.Conn, in json.RawMessage) (json.RawMessage, error) { return in, nil })
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	httpServer := &http.Server{Handler: srv}
	done := make(chan struct{})
	go func() { defer close(done); _ = httpServer.Serve(listener) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		httpServer.Close()
		<-done
	})
	return target(t, "http://"+listener.Addr().String())
}

// user is the token of a connection.
func user(i int) (string, error) {
	return "user-" + string(rune('a'+i%26)) + string(rune('a'+i/26%26)), nil
}

// TestScenarios runs each against our server, with its own number of messages:
// all of them are delivered, once, and counted.
func TestScenarios(t *testing.T) {
	to := ownServer(t)
	for _, c := range []struct {
		scenario Scenario
		change   func(*Config)
		units    uint64
	}{
		{Connect, func(c *Config) { c.Connections = 50 }, 50},
		{Connect, func(c *Config) { c.Connections, c.Rate, c.Concurrency = 20, 1000, 2 }, 20},
		{Fanout, func(c *Config) { c.Rooms, c.Members = 1, 40 }, 40 * 40},
		{Fanout, func(c *Config) { c.Rooms, c.Members, c.Size = 1, 5, 40_000 }, 40 * 5},
		{Paced, func(c *Config) { c.Rooms, c.Members = 1, 10 }, 40 * 10},
		{Rooms, func(c *Config) { c.Rooms, c.Members, c.Publishers = 10, 4, 4 }, 40 * 4},
		{Rooms, func(c *Config) { c.Namespace = "/load" }, 40 * 3},
		{Rooms, func(c *Config) { c.ReadEvery = -1 }, 40 * 3},
		{Echo, func(c *Config) { c.Connections = 10 }, 40},
		{Echo, func(c *Config) { c.Connections, c.Window, c.Namespace = 3, 30, "/load" }, 40},
	} {
		t.Run(string(c.scenario), func(t *testing.T) {
			cfg := small(c.scenario, to)
			cfg.Token = user
			c.change(&cfg)
			r, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if r.Faults.Total() > 0 {
				t.Errorf("%s: %q", &r.Faults, r.Faults.First)
			}
			if r.Count != c.units || r.Latency.Count != c.units || r.Latency.P50 <= 0 || r.Latency.Max < r.Latency.P50 {
				t.Errorf("%d units of %+v, want %d", r.Count, r.Latency, c.units)
			}
			if c.scenario != Paced && r.Sent != nil || c.scenario == Paced && (r.Sent.Count != c.units || r.Sent.P50 <= 0 || r.Sent.Max > r.Latency.Max) {
				t.Errorf("from when they were sent: %+v, beside %+v", r.Sent, r.Latency)
			}
			if r.LongestTurn <= 0 || r.LeastUnread != 0 {
				t.Errorf("the longest turn took %v, %d bytes are unread", r.LongestTurn, r.LeastUnread)
			}
			var points uint64
			for _, p := range r.Timeline {
				points += p.Count
			}
			if points > r.Count || r.Rate <= 0 || r.Admissions.Count == 0 || r.Interrupted {
				t.Errorf("%d units in the timeline; %+v", points, r)
			}
			if acks := r.Acks; c.scenario.inRooms() && (acks == nil || acks.Count != 40) {
				t.Errorf("acks are %+v", acks)
			}
		})
	}
}

// TestSoak cuts members off: those who stay miss nothing, those who come back
// get what is published from then on.
func TestSoak(t *testing.T) {
	to := ownServer(t)
	cfg := small(Soak, to)
	cfg.Token = user
	cfg.Rooms, cfg.Members, cfg.Publishers = 3, 8, 2
	cfg.Rate, cfg.Cuts, cfg.Messages = 400, 60, 400
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.Faults.Total() > 0 {
		t.Errorf("%s: %q", &r.Faults, r.Faults.First)
	}
	// Each message goes to its room's members, less those who are out: of the
	// publishers none is. At the end everybody is back.
	if r.Cuts < 5 || r.Count >= 400*8 || r.Count < 400*2 || r.Admissions.Count != 24+r.Cuts {
		t.Errorf("%d cuts, %d deliveries, %d admissions", r.Cuts, r.Count, r.Admissions.Count)
	}
}

// TestSoakFaults has a server forget messages for members that came back.
func TestSoakFaults(t *testing.T) {
	server := &faulty{deliver: func(member, n int, p string) []string {
		if member >= 4 && n == 3 { // none of the first four, who may be publishers
			return nil
		}
		return []string{p}
	}}
	cfg := small(Soak, server.start(t))
	cfg.Rooms, cfg.Members, cfg.Publishers = 1, 4, 1
	cfg.Rate, cfg.Cuts, cfg.Messages, cfg.Timeout = 400, 20, 800, 2*time.Second
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.Cuts == 0 || r.Faults.Lost == 0 || r.Faults.Lost > r.Cuts || r.Faults.Total() != r.Faults.Lost {
		t.Errorf("%d cuts; %s: %q", r.Cuts, &r.Faults, r.Faults.First)
	}
}

// TestStops ends a run by its context: what there is is returned.
func TestStops(t *testing.T) {
	to := ownServer(t)
	for _, scenario := range Scenarios() {
		ctx, cancel := context.WithCancel(t.Context())
		cfg := small(scenario, to)
		cfg.Token, cfg.Messages, cfg.Duration, cfg.Settle = user, 0, time.Minute, time.Minute
		cfg.Progress = func(p Progress) {
			if p.Phase == "measuring" && p.Point.Count > 0 || p.Phase == "resting" {
				cancel()
			}
		}
		cfg.Members, cfg.Publishers = 3, 2
		r, err := Run(ctx, cfg)
		cancel()
		if err != nil || !r.Interrupted || r.Count == 0 || r.Faults.Total() > 0 {
			t.Errorf("%s: %+v, %v", scenario, r, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := Run(ctx, small(Echo, to)); r != nil || err == nil {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestBadTokens has our server refuse them.
func TestBadTokens(t *testing.T) {
	cfg := small(Fanout, ownServer(t))
	cfg.Token = func(int) (string, error) { return "bad", nil }
	if _, err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "Unauthorized") {
		t.Error(err)
	}
}

// TestSameSeed publishes to rooms in the same order.
func TestSameSeed(t *testing.T) {
	order := func(seed uint64) []int {
		cfg := small(Rooms, Target{})
		cfg.Rooms, cfg.Seed = 50, seed
		if err := cfg.prepare(); err != nil {
			t.Fatal(err)
		}
		e, err := newEngine(&cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer e.close()
		return newRoomWork(e).order
	}
	a, b, c := order(7), order(7), order(8)
	same := func(x, y []int) bool {
		for i := range x {
			if x[i] != y[i] {
				return false
			}
		}
		return true
	}
	if !same(a, b) || same(a, c) {
		t.Errorf("%v, %v, %v", a, b, c)
	}
}

// A time in which the generator itself was held up says nothing of the server.
func TestOwnPauseIsNoSilence(t *testing.T) {
	e, _ := roomEngine(t, 1)
	e.base = e.base.Add(-time.Minute)
	for range 2 {
		e.clock()
	}
	if e.quiet() || e.now < int64(time.Minute) {
		t.Errorf("after a pause of a minute the server was silent for %v", time.Duration(e.awake-e.heard))
	}
	for range 2 * e.cfg.Timeout / maxWait {
		e.base = e.base.Add(-maxWait)
		e.clock()
	}
	if !e.quiet() {
		t.Error("it is never silent")
	}
}

// roomEngine is an engine with one room, whose members are in it without a
// server.
func roomEngine(tb testing.TB, members int) (*engine, *roomWork) {
	tb.Helper()
	cfg := small(Fanout, Target{})
	cfg.Rooms, cfg.Members, cfg.Publishers, cfg.Size = 1, members, 1, 128
	if err := cfg.prepare(); err != nil {
		tb.Fatal(err)
	}
	e, err := newEngine(&cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		for _, c := range e.conns {
			c.fd = -1
		}
		e.close()
	})
	w := newRoomWork(e)
	e.work = w
	e.rec.start()
	for _, c := range e.conns {
		c.fd, c.state, c.inRoom = 1<<20, ready, true // no descriptor: nothing is sent
		c.track.begin(w.sent[0])
	}
	return e, w
}

// frames are what one member gets of n messages, from number first on.
func (e *engine) frames(w *roomWork, first, n uint32) (data []byte) {
	for seq := first; seq < first+n; seq++ {
		text := append([]byte(`42["bench",`), w.e.stamps.appendBody(nil, stamp{seq: seq}, w.pad)...)
		text = append(text, `,{"room":"bench-0","epoch":"k3Jx9a","offset":42,"from":"user"}]`...)
		data = append(data, 0x81, 126, byte(len(text)>>8), byte(len(text)))
		data = append(data, text...)
	}
	return data
}

// TestAllocations takes in messages: that makes nothing for the collector.
func TestAllocations(t *testing.T) {
	e, w := roomEngine(t, 2)
	c := e.conns[0]
	const batch, rounds = 16, 100
	data := e.frames(w, 0, batch*(rounds+1)) // one more: the first round warms up
	size := len(data) / (rounds + 1)
	w.slots[0] = slot{busy: true, left: 1 << 30}
	allocs := testing.AllocsPerRun(rounds, func() {
		w.slots[0].stamp = stamp{seq: c.track.next[0]}
		if used, err := e.consume(c, data[:size]); used != size || err != nil {
			t.Fatal(used, err)
		}
		data = data[size:]
	})
	if allocs != 0 || w.checked != batch*(rounds+1) || e.rec.count != rounds+1 || e.faults.Total() > 0 {
		t.Errorf("%v allocations; %d checked, %d measured, %q", allocs, w.checked, e.rec.count, e.faults.First)
	}
}

// BenchmarkTakeIn is what the generator itself does for a delivery, without the
// system's part.
func BenchmarkTakeIn(b *testing.B) {
	e, w := roomEngine(b, 2)
	c := e.conns[0]
	const batch = 16
	data := e.frames(w, 0, batch)
	b.ReportAllocs()
	for b.Loop() {
		c.track.next[0] = 0
		w.slots[0] = slot{busy: true, left: 1 << 30, stamp: stamp{seq: batch - 1}}
		if _, err := e.consume(c, data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/delivery")
}
