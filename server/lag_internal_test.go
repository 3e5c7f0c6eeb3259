package server

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// laggard is a sink that counts, and lags while it is told to.
type laggard struct {
	got atomic.Int64

	mu       sync.Mutex
	caughtUp chan struct{} // nil while it does not lag
}

func (l *laggard) Send(*hub.Frame) bool { l.got.Add(1); return true }
func (l *laggard) Lags() bool           { return l.CaughtUp() != nil }

func (l *laggard) CaughtUp() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.caughtUp
}

func (l *laggard) fallBack() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.caughtUp = make(chan struct{})
}

func (l *laggard) catchUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.caughtUp)
	l.caughtUp = nil
}

// anyFrame encodes every event alike.
type anyFrame struct{}

func (anyFrame) Encode(*holdfast.Event) *hub.Frame { return &hub.Frame{Text: []byte("x")} }

// TestPublishWhereMembersLag has a room whose member the process has no time for:
// clients and backends are refused after a second, and may try again with the
// same id; what the program says itself is held up, and goes out.
func TestPublishWhereMembersLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newBare(t)
		id := &holdfast.Identity{User: "u", Permissions: holdfast.Permissions{Rooms: holdfast.MustRoomList("**")}}
		c := bareConn(t, s, id)
		sink := new(laggard)
		session, err := s.hub.Open(hub.SessionConfig{ID: "slow", Identity: id, Sink: sink, Encoder: anyFrame{}})
		if err != nil {
			t.Fatal(err)
		}
		defer session.Close()
		if _, err := session.Join(t.Context(), "r", hub.JoinOptions{}, nil); err != nil {
			t.Fatal(err)
		}
		event := holdfast.Event{Room: "r", Name: "e", Data: []byte("1")}
		once := event
		once.ID = "once"
		sink.fallBack()
		if _, err := s.publish(t.Context(), publication{event: event, conn: c, identity: id}); err != nil {
			t.Fatal(err) // after which it is known
		}
		for name, p := range map[string]publication{
			"a client": {event: event, conn: c, identity: id}, "with an id": {event: once, conn: c, identity: id},
			"a backend": {event: event}, "a user over HTTP": {event: event, identity: id}, "the program": {event: event, own: true},
		} {
			began, before := time.Now(), sink.got.Load()
			_, err := s.publish(t.Context(), p)
			var refused *holdfast.Error
			switch took := time.Since(began); {
			case took != time.Second:
				t.Errorf("%s waits for %v", name, took)
			case p.own && (err != nil || sink.got.Load() != before+1):
				t.Errorf("%s gets %v", name, err)
			case !p.own && (!errors.As(err, &refused) || refused.Code != holdfast.RateLimited || refused.RetryAfter != time.Second || sink.got.Load() != before):
				t.Errorf("%s gets %v, want RATE_LIMITED", name, err)
			}
		}
		sink.catchUp()
		before := sink.got.Load()
		if _, err := s.publish(t.Context(), publication{event: once, conn: c, identity: id}); err != nil || sink.got.Load() != before+1 {
			t.Errorf("a refused id can't be used again: %v", err)
		}
	})
}
