package server

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
)

// slowReloader asks for its answers one by one, and each call waits for its
// turn to return.
type slowReloader struct {
	auth.Authenticator
	calls chan *reloading
}

type reloading struct{ answer chan *holdfast.Identity }

func (r *slowReloader) Reload(context.Context, *holdfast.Identity) (*holdfast.Identity, error) {
	call := &reloading{make(chan *holdfast.Identity)}
	r.calls <- call
	return <-call.answer, nil
}

// Of two changes of a user's permissions at the same time, the connection ends
// up with what is right after both, and not with what one of them has found
// before the other.
func TestTwoChangesOfPermissions(t *testing.T) {
	l, _ := newOverheard(t)
	r := &slowReloader{l.srv.cfg.Authenticator, make(chan *reloading)}
	l.srv.cfg.Authenticator = r
	l.srv.mu.Lock()
	l.srv.links[l] = struct{}{}
	l.srv.mu.Unlock()
	defer l.srv.forget(l)
	version := func(v int64) *holdfast.Identity {
		return &holdfast.Identity{User: "a", PermissionVersion: &v, Expires: time.Now().Add(time.Hour)}
	}
	bump := func(v int64) (done chan struct{}) {
		done = make(chan struct{})
		go func() {
			defer close(done)
			l.srv.Bumped(context.Background(), auth.Bump{User: "a", Version: v, At: time.Now()})
		}()
		return done
	}
	first := bump(2)
	one := <-r.calls
	second := bump(3)
	two := <-r.calls
	one.answer <- version(2) // looked up before the second change
	<-first
	two.answer <- version(3)
	select {
	case <-second:
	case three := <-r.calls:
		three.answer <- version(3)
		<-second
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if v := *l.identity.PermissionVersion; v != 3 {
		t.Errorf("the connection has the permissions of version %d", v)
	}
}
