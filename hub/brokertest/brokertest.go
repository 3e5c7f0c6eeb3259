// Package brokertest is the conformance suite of brokers: what hub.Broker
// promises, as tests that any implementation runs.
//
//	func TestBroker(t *testing.T) {
//		brokertest.Run(t, brokertest.Config{New: func(t *testing.T, keep brokertest.Bounds) hub.Broker {
//			b := mybroker.New(mybroker.Config{Events: keep.Events})
//			t.Cleanup(func() { b.Close() })
//			return b
//		}})
//	}
//
// The suite runs on the real clock and waits for events only. What a broker
// can't do, or its tests can't (another node, an outage, a restart), is left nil
// in the Config, and the tests of it are skipped by name.
//
// Two brokers for tests come with it: Faulty makes any broker misbehave as far
// as hub.Broker allows, and Remote stands for a server with several clients.
package brokertest

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// patience is how long the suite waits for something that should come.
const patience = 20 * time.Second

// Bounds are those of a broker's history. 0 means that the broker may keep all
// that the test publishes: less than 5,000 events and 16 MiB, for a minute.
type Bounds struct {
	Events int           // of each room
	Bytes  int           // of each room, by holdfast.Event.Size
	Age    time.Duration // of each event
}

// Config says how to make the broker under test, and what can be done to it.
type Config struct {
	// New makes a broker without rooms. It closes it with t.Cleanup. If it can't
	// hold one of the bounds that are set, it skips the test and says why.
	New func(t *testing.T, keep Bounds) hub.Broker
	// Second makes a second broker on the same rooms, as another process would
	// have it. nil: the broker is for one process.
	Second func(t *testing.T, first hub.Broker) hub.Broker
	// Cut takes the server away from this broker alone, until restore is called.
	// nil: there is nothing between them.
	Cut func(t *testing.T, b hub.Broker) (restore func())
	// Restart ends the broker's server and starts it again with what it had kept.
	// nil: it keeps nothing.
	Restart func(t *testing.T, b hub.Broker)
	// Wipe does the same, and everything is gone. nil: that is a new broker.
	Wipe func(t *testing.T, b hub.Broker)
	// Close closes a broker while it is being used; the broker bears that it is
	// closed again. nil: it is not closed by its users.
	Close func(t *testing.T, b hub.Broker)
}

// Run runs the suite.
func Run(t *testing.T, cfg Config) {
	for _, test := range []struct {
		name   string
		run    func(*testing.T, Config)
		cannot string // why it is skipped
	}{
		{"Event", testEvent, ""},
		{"Big", testBig, ""},
		{"Names", testNames, ""},
		{"ManyRooms", testManyRooms, ""},
		{"IDs", testIDs, ""},
		{"IDsAtOnce", testIDsAtOnce, ""},
		{"IDsBeyondHistory", testIDsBeyondHistory, ""},
		{"History", testHistory, ""},
		{"Pages", testPages, ""},
		{"Count", testCount, ""},
		{"Bytes", testBytes, ""},
		{"Age", testAge, ""},
		{"UnusedRoom", testUnused, ""},
		{"Order", testOrder, ""},
		{"Previous", testPrevious, ""},
		{"Subscribe", testSubscribe, ""},
		{"OneAtATime", testOneAtATime, ""},
		{"NotBehind", testNotBehind, ""},
		{"Cancelled", testCancelled, ""},
		{"GivenUp", testGivenUp, ""},
		{"Close", testClose, without(cfg.Close == nil, "Close")},
		{"Nodes", testNodes, without(cfg.Second == nil, "Second")},
		{"Cut", testCut, without(cfg.Cut == nil, "Cut")},
		{"Restart", testRestart, without(cfg.Restart == nil, "Restart")},
		{"Wipe", testWipe, without(cfg.Wipe == nil, "Wipe")},
		{"Hub", testHub, ""},
		{"HubNodes", testHubNodes, without(cfg.Second == nil, "Second")},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.cannot != "" {
				t.Skip(test.cannot)
			}
			test.run(t, cfg)
		})
	}
}

func without(missing bool, name string) string {
	if missing {
		return "Config." + name + " is nil"
	}
	return ""
}

func publish(t *testing.T, b hub.Broker, ev *holdfast.Event) holdfast.Position {
	t.Helper()
	pos, err := b.Publish(t.Context(), ev)
	if err != nil {
		t.Fatal(err)
	}
	return pos
}

func event(room, data string) *holdfast.Event {
	return &holdfast.Event{Room: room, Name: "e", Data: json.RawMessage(data)}
}

func history(t *testing.T, b hub.Broker, room string, since *holdfast.Position, limit int) hub.History {
	t.Helper()
	h, err := b.History(t.Context(), room, since, limit)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// insist repeats a call until it succeeds: after an outage a broker may take a
// while to come back.
func insist[T any](t *testing.T, call func(ctx context.Context) (T, error)) T {
	t.Helper()
	late := time.After(patience)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), patience/4)
		v, err := call(ctx)
		cancel()
		if err == nil {
			return v
		}
		select {
		case <-late:
			t.Fatalf("still failing: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// soon fails the test if f takes too long.
func soon(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s does not return", what)
	}
}

func subscribe(t *testing.T, b hub.Broker, room string, r *receiver) holdfast.Position {
	t.Helper()
	pos, err := b.Subscribe(t.Context(), room, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := pos.Check(); err != nil {
		t.Fatal(err)
	}
	return pos
}

func unsubscribe(t *testing.T, b hub.Broker, room string) {
	t.Helper()
	if err := b.Unsubscribe(context.Background(), room); err != nil {
		t.Error(err)
	}
}

func dataOf(events []*holdfast.Event) string {
	all := make([]string, len(events))
	for i, ev := range events {
		all[i] = string(ev.Data)
	}
	return strings.Join(all, " ")
}
