package server

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/transport"
)

// overheard is a pipe that keeps what is sent. The first auth:expiring calls
// meanwhile just before it is kept.
type overheard struct {
	pipe
	meanwhile func()

	mu   sync.Mutex
	sent []string
}

func (o *overheard) Request() *transport.Request { return &transport.Request{} }

func (o *overheard) Send(f *hub.Frame) bool {
	if strings.Contains(string(f.Text), "auth:expiring") && o.meanwhile != nil {
		do := o.meanwhile
		o.meanwhile = nil
		do()
	}
	o.add(string(f.Text))
	return true
}

func (o *overheard) Close(*holdfast.Error) { o.add("close") }

func (o *overheard) add(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sent = append(o.sent, what)
}

// kinds are what was sent, by what tells it apart.
func (o *overheard) kinds() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var kinds []string
	for _, s := range o.sent {
		for _, kind := range []string{"expiry", "permissions", "answer"} {
			if strings.Contains(s, kind) {
				kinds = append(kinds, kind)
			}
		}
	}
	return kinds
}

// newOverheard returns a link whose client is signed in with the version 1 of
// its rights, and gets the version 2 by each refresh.
func newOverheard(t *testing.T) (*link, *holdfast.Identity) {
	t.Helper()
	one, two := int64(1), int64(2)
	a := auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
		return &holdfast.Identity{User: "a", PermissionVersion: &two, Expires: time.Now().Add(2 * time.Hour)}, nil
	})
	s, err := New(Config{Authenticator: a, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	l := &link{srv: s, proto: socketIO{}, eio: &overheard{}}
	t.Cleanup(l.cancel)
	id := &holdfast.Identity{User: "a", PermissionVersion: &one, Expires: time.Now().Add(time.Hour)}
	c := &Conn{link: l, ns: s.Namespace}
	c.ctx, c.tie = l.tie()
	if c.session, err = s.hub.Open(hub.SessionConfig{ID: "a", Identity: id, Sink: c, Encoder: roomEncoder{}}); err != nil {
		t.Fatal(err)
	}
	s.lines.add()
	t.Cleanup(func() { c.leave(nil) })
	c.open.Store(true)
	l.conns = []*Conn{c}
	l.adopt(id)
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.life.stop()
	})
	return l, id
}

// A client that gets a warning after the answer to its refresh refreshes once
// more for nothing: a warning comes before, or not at all.
func TestWarningBeforeTheAnswer(t *testing.T) {
	for _, tc := range []struct {
		name string
		warn func(*link, *holdfast.Identity)
	}{
		{"expiry", func(l *link, _ *holdfast.Identity) {
			l.mu.Lock()
			l.life.at = time.Now()
			l.mu.Unlock()
			l.due()
		}},
		{"permissions", func(l *link, id *holdfast.Identity) { l.stale(t.Context(), id) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, id := newOverheard(t)
			o := l.eio.(*overheard)
			refresh := func() {
				if _, err := l.refresh("new"); err != nil {
					t.Error(err)
				}
				o.add("answer")
			}
			var late sync.WaitGroup
			o.meanwhile = func() {
				// A refresh that can be done now is done, and one that has to
				// wait for the warning does.
				if !l.swap.TryLock() {
					late.Go(refresh)
					return
				}
				l.swap.Unlock()
				refresh()
			}
			tc.warn(l, id)
			late.Wait()
			if got, want := o.kinds(), []string{tc.name, "answer"}; !slices.Equal(got, want) {
				t.Errorf("the client got %q, want %q", got, want)
			}
		})
	}
}

// A refresh that was quicker than what takes the old rights back has outdated
// that: nothing is said, and the connection keeps its time.
func TestStaleAfterTheRefresh(t *testing.T) {
	l, id := newOverheard(t)
	if _, err := l.refresh("new"); err != nil {
		t.Fatal(err)
	}
	l.stale(t.Context(), id) // of an identity that was looked at before
	if got := l.eio.(*overheard).kinds(); got != nil {
		t.Errorf("the client got %q", got)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.life.stage != stageWarn || l.life.code != holdfast.TokenExpired {
		t.Errorf("stage %d and %s: the connection's time was cut short", l.life.stage, l.life.code)
	}
}

// A refresh that is answered with success is in time: the connection does not end
// for the credential that it has replaced.
func TestRefreshAsTheCredentialEnds(t *testing.T) {
	l, id := newOverheard(t)
	good, late := 0, 0
	for round := range 2000 {
		l.mu.Lock()
		l.identity, l.ended, l.why = id, false, nil
		l.life.stage, l.life.deadline, l.life.at, l.life.code = stageExpire, time.Now(), time.Now(), holdfast.TokenExpired
		l.mu.Unlock()
		var both sync.WaitGroup
		var err error
		both.Go(l.due)
		both.Go(func() { _, err = l.refresh("new") })
		both.Wait()
		l.mu.Lock()
		ended := l.ended
		l.mu.Unlock()
		if err == nil && ended {
			t.Fatalf("round %d: the connection was ended although the refresh was good", round)
		}
		if ended {
			late++
		} else {
			good++
		}
	}
	t.Logf("%d refreshes were in time, %d too late", good, late)
}

// A client that is let in at the last moment is not too late.
func TestAdmittedAtTheLastMoment(t *testing.T) {
	l, _ := newOverheard(t)
	conns := l.conns
	for round := range 2000 {
		l.mu.Lock()
		l.conns, l.ended, l.why = nil, false, nil
		l.life.stage, l.life.at = stageConnect, time.Now()
		l.mu.Unlock()
		var both sync.WaitGroup
		in := false
		both.Go(l.due)
		both.Go(func() { in = l.add(conns[0]) })
		both.Wait()
		l.mu.Lock()
		ended := l.ended
		l.mu.Unlock()
		if in == ended {
			t.Fatalf("round %d: let in %v, ended %v", round, in, ended)
		}
	}
	l.mu.Lock()
	l.conns = conns // which are told of the end
	l.mu.Unlock()
}
