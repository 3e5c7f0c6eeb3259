package server

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// A timer that fired just before it was moved must not act on what it was
// moved for.
func TestLateTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &link{srv: &Server{}}
		l.identity = &holdfast.Identity{User: "a", Expires: time.Now().Add(time.Hour)}
		l.life.follow(l, l.identity)
		l.due() // as if it had fired before
		if l.life.stage != stageWarn {
			t.Errorf("the warning was used up at once: stage %d", l.life.stage)
		}
		l.life.awaitConnect(l)
		l.life.connectBy = time.Now().Add(time.Minute)
		l.life.set(l, time.Minute)
		l.due()
		if l.ended {
			t.Error("the time to CONNECT was over at once")
		}
		l.life.stop()
	})
}

// What comes for a connection that is gone starts nothing: Shutdown may have
// stopped waiting for it.
func TestWorkAfterTheEnd(t *testing.T) {
	l := &link{srv: newBare(t)}
	l.work.closed = true
	l.work.push(l, job{})
	if !l.work.idle() || len(l.work.jobs) > 0 {
		t.Error("a job runs")
	}
}

// A link that is finished is not held by the time that its handlers had left.
func TestFinishedLinkIsNotHeld(t *testing.T) {
	l := &link{srv: newBare(t)}
	l.Ending()
	l.finished()
	if l.last.Stop() {
		t.Error("a timer still holds the link")
	}
	late := &link{srv: l.srv}
	late.finished()
	late.Ending() // as a stream's context may
	if late.last != nil {
		t.Error("a timer holds a link that was finished before")
	}
}
