package server

import (
	"context"
	"encoding/json"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/socketio"
)

// bareConn is a Conn in "/" without a transport.
func bareConn(t testing.TB, s *Server, identity *holdfast.Identity) *Conn {
	t.Helper()
	l := &link{srv: s, proto: socketIO{}}
	c := &Conn{link: l, ns: s.Namespace}
	c.ctx, c.tie = l.tie()
	c.setIdentity(identity)
	session, err := s.hub.Open(hub.SessionConfig{ID: "c", Identity: identity, Sink: deaf{}, Encoder: deafEncoder{}, Ended: c.ended})
	if err != nil {
		t.Fatal(err)
	}
	s.lines.add()
	c.session = session
	l.conns = []*Conn{c}
	l.identity = identity
	t.Cleanup(func() { c.leave(nil); l.cancel() })
	return c
}

// An event for a raw handler costs a copy of it and the list of its arguments.
func TestEventAllocates(t *testing.T) {
	s := newBare(t)
	handled := make(chan int)
	HandleRaw(s, "raw", func(_ context.Context, _ *Conn, args socketio.Args) (socketio.Args, error) {
		handled <- args.Len()
		return socketio.Args{}, nil
	})
	l := bareConn(t, s, &holdfast.Identity{User: "u"}).link
	message := []byte(`2["raw",{"text":"to whom it may concern"},7]`)
	event := func() {
		l.proto.receive(l, message, false)
		if n := <-handled; n != 2 {
			t.Errorf("%d arguments", n)
		}
		waiting := func() bool {
			s.crew.mu.Lock()
			defer s.crew.mu.Unlock()
			return len(s.crew.idle) > 0
		}
		for !waiting() { // or the next event would be queued, or need another goroutine
			runtime.Gosched()
		}
	}
	event()
	if n := testing.AllocsPerRun(500, event); n > 2 {
		t.Errorf("an event makes %v allocations", n)
	}
}

// A crew keeps no more goroutines than it may, and none in the end; those that
// it keeps do what comes next.
func TestCrew(t *testing.T) {
	s := newBare(t)
	release := make(chan struct{})
	var begun, done sync.WaitGroup
	HandleRaw(s, "wait", func(context.Context, *Conn, socketio.Args) (socketio.Args, error) {
		begun.Done()
		<-release
		done.Done()
		return socketio.Args{}, nil
	})
	identity := &holdfast.Identity{User: "u"}
	c := bareConn(t, s, identity)
	tasks := 3 * idleWorkers * runtime.GOMAXPROCS(0)
	for range 3 {
		begun.Add(tasks)
		done.Add(tasks)
		for range tasks {
			l := &link{srv: s, proto: socketIO{}, conns: c.link.conns, identity: identity}
			l.proto.receive(l, []byte(`2["wait"]`), false)
		}
		begun.Wait() // all at once, whoever else waits
		for range tasks {
			release <- struct{}{}
		}
		done.Wait()
	}
	s.crew.wait()
	s.crew.mu.Lock()
	defer s.crew.mu.Unlock()
	if len(s.crew.idle) != 0 {
		t.Errorf("%d goroutines are left", len(s.crew.idle))
	}
}

// A connection whose reader is still at it when Shutdown waits no longer for
// that may give a crew work at the very moment when the crew ends.
func TestCrewGetsWorkAtItsEnd(t *testing.T) {
	s := newBare(t)
	var handled atomic.Int64
	HandleRaw(s, "late", func(context.Context, *Conn, socketio.Args) (socketio.Args, error) {
		handled.Add(1)
		return socketio.Args{}, nil
	})
	identity := &holdfast.Identity{User: "u"}
	c := bareConn(t, s, identity)
	const rounds = 300
	for range rounds {
		var both sync.WaitGroup
		both.Go(s.crew.wait)
		l := &link{srv: s, proto: socketIO{}, conns: c.link.conns, identity: identity}
		l.proto.receive(l, []byte(`2["late"]`), false)
		both.Wait()
	}
	s.crew.wait()
	if n := handled.Load(); n != rounds {
		t.Errorf("%d events of %d were handled before the crew had ended", n, rounds)
	}
}

// What is read by hand is what encoding/json reads.
func FuzzCommand(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"room":"r","event":"e","data":{"a":[1,"x"]},"id":"1"}`, `{"Room":"r"}`, `{"room":null,"data":null}`,
		`{"room":"a\u00e9\ud800","room":"b"}`, `{"since":{"epoch":"e","offset":7}}`, `{"room":7}`, `{"data":"\n","extra":{}}`,
		`{"presence":{"a":1},"key":"k","token":"t"}`, `{ "room" : "r" , "data" : 1 }`, "{\"room\":\"\xff\"}", `{"room":"r",}`,
		`{"\u0072oom":"r"}`, `{"ſince":null}`, `{"data":[1,2]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		args := socketio.Args{Values: []json.RawMessage{data}}
		if !json.Valid(data) || len(data) == 0 || data[0] != '{' {
			return // refused before
		}
		got, err := readCommand("room:publish", args)
		var want command
		if werr := json.Unmarshal(data, &want); (err != nil) != (werr != nil) {
			t.Fatalf("%s: %v, encoding/json says %v", data, err, werr)
		}
		if err != nil {
			return
		}
		want.name = "room:publish"
		a, b := got, want
		a.Since, b.Since = nil, nil
		if (got.Since == nil) != (want.Since == nil) || got.Since != nil && *got.Since != *want.Since {
			t.Fatalf("%s: since %v, want %v", data, got.Since, want.Since)
		}
		if a.Room != b.Room || a.Event != b.Event || string(a.Data) != string(b.Data) || (a.Data == nil) != (b.Data == nil) || a.Key != b.Key ||
			string(a.Presence) != string(b.Presence) || (a.Presence == nil) != (b.Presence == nil) || a.ID != b.ID || a.Token != b.Token || a.name != b.name {
			t.Fatalf("%s: %+v, want %+v", data, a, b)
		}
	})
}

// A part that is kept keeps no more than twice its size, and a little.
func TestCut(t *testing.T) {
	data := make([]byte, 10_000)
	if part := cut(data, 10, 20); &part[0] == &data[10] {
		t.Error("ten bytes hold ten thousand")
	}
	if part := cut(data, 10, 9000); &part[0] != &data[10] || cap(part) != len(part) {
		t.Error("most of it was copied, or can be appended to")
	}
}

func BenchmarkCommand(b *testing.B) {
	data := []byte(`{"room":"board-7","event":"card:move","data":{"card":"c-1042","from":3,"to":5,"by":"ada"}}`)
	for _, read := range []struct {
		name string
		with func(*command) error
	}{
		{"by hand", func(cmd *command) error { return cmd.readJSON(data) }},
		{"encoding/json", func(cmd *command) error { return json.Unmarshal(data, cmd) }},
	} {
		b.Run(read.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var cmd command
				if err := read.with(&cmd); err != nil || cmd.Room != "board-7" {
					b.Fatal(err, cmd.Room)
				}
			}
		})
	}
}
