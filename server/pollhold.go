package server

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
)

// errNews ends the wait of a poll because there is something to answer, or
// because nothing came in time.
var errNews = errors.New("server: a poll is due")

// hold waits until something happens in the rooms of a, and puts it there. It
// returns why the client gets nothing.
func (s *Server) hold(ctx context.Context, identity *holdfast.Identity, a *pollAnswer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	leave, err := s.polls.enter(identity, cancel)
	if err != nil {
		return err
	}
	defer leave()
	// What was taken back before the poll was in the book did not find it.
	if err := s.ledger.check(identity); err != nil {
		return err
	}
	wait := time.AfterFunc(a.wait, func() { cancel(errNews) })
	defer wait.Stop()
	if !identity.Expires.IsZero() {
		expiry := time.AfterFunc(time.Until(identity.Expires.Add(s.cfg.Leeway)), func() { cancel(holdfast.TokenExpired.New()) })
		defer expiry.Stop()
	}

	sink := &pollSink{answer: a, news: func() { cancel(errNews) }}
	// A poll is no connection: it does not count among its user's, who may have
	// as many polls besides.
	listener := &holdfast.Identity{Permissions: identity.Permissions}
	session, err := s.hub.Open(hub.SessionConfig{
		ID: rand.Text(), Identity: listener, Sink: sink, Encoder: pollEncoder{},
		Left: func(string, *holdfast.Error) { cancel(errNews) }, // the next call finds out what is missing
	})
	if err != nil {
		return err
	}
	defer session.Close()
	for _, p := range sink.places() {
		if ctx.Err() != nil {
			break
		}
		_, err := session.Join(ctx, p.room, hub.JoinOptions{Since: &p.position, Hidden: true}, sink.joined)
		if err != nil {
			cancel(err) // changes nothing if the wait is over
		}
	}
	<-ctx.Done()
	due := sink.close()
	if err := context.Cause(ctx); !due && !errors.Is(err, errNews) {
		return err
	}
	return nil
}

// pollSink fills a poll's answer while the poll is held: a hub.Sink.
type pollSink struct {
	news func()

	mu     sync.Mutex // guards what follows
	answer *pollAnswer
	over   bool
}

// places returns where the poll stands.
func (p *pollSink) places() []place {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]place(nil), p.answer.cursor.places...)
}

// Send implements hub.Sink. What does not fit comes with the next answer.
func (p *pollSink) Send(f *hub.Frame) bool {
	p.mu.Lock()
	p.over = p.over || !p.answer.add(f)
	ok := !p.over
	p.mu.Unlock()
	p.news()
	return ok
}

// joined notes where a join has brought the poll. What came of a replay that
// could not be finished lies before the gap, and is left out.
func (p *pollSink) joined(j hub.Joined) {
	p.mu.Lock()
	lost := j.Recovered != nil && !*j.Recovered && !p.over
	if lost {
		a := p.answer
		a.events = slices.DeleteFunc(a.events, func(f *hub.Frame) bool { return f.Event.Room == j.Room })
		a.resets = append(a.resets, j.Room)
	}
	if !p.over {
		p.answer.cursor.move(j.Room, j.Position)
	}
	p.mu.Unlock()
	if lost {
		p.news()
	}
}

// close lets nothing more in, and reports whether there is something.
func (p *pollSink) close() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	return p.answer.due()
}

// pollBook is the polls that are held: how many a user has, and who has to be
// told when something is taken back. The zero value bounds nothing.
type pollBook struct {
	perUser int // static; 0 or less: no limit

	mu     sync.Mutex // guards what follows
	held   map[*heldPoll]struct{}
	users  map[string]int // of each user who has any
	closed bool
	idle   chan struct{} // made by close; closed when none is held
}

type heldPoll struct {
	identity *holdfast.Identity
	cancel   context.CancelCauseFunc
}

// enter notes a poll, which cancel ends, until leave is called.
func (b *pollBook) enter(identity *holdfast.Identity, cancel context.CancelCauseFunc) (leave func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	user := identity.User
	switch {
	case b.closed:
		return nil, errDraining()
	case user != "" && b.perUser > 0 && b.users[user] >= b.perUser:
		err := holdfast.Errorf(holdfast.ConnectionLimit, "A user may have %d polls that wait", b.perUser)
		err.RetryAfter = 5 * time.Second
		return nil, err
	}
	if b.held == nil {
		b.held, b.users = make(map[*heldPoll]struct{}), make(map[string]int)
	}
	p := &heldPoll{identity, cancel}
	b.held[p] = struct{}{}
	if user != "" {
		b.users[user]++
	}
	return func() { b.leave(p) }, nil
}

func (b *pollBook) leave(p *heldPoll) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.held, p)
	if user := p.identity.User; user != "" {
		if b.users[user]--; b.users[user] == 0 {
			delete(b.users, user)
		}
	}
	if b.idle != nil && len(b.held) == 0 {
		close(b.idle)
		b.idle = nil
	}
}

// waiting returns how many polls are held.
func (b *pollBook) waiting() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.held)
}

// end ends the polls for which why has a reason.
func (b *pollBook) end(why func(*holdfast.Identity) *holdfast.Error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range b.held {
		if err := why(p.identity); err != nil {
			p.cancel(err)
		}
	}
}

// close ends all polls with GOING_AWAY, lets none in, and waits until they are
// answered or ctx ends.
func (b *pollBook) close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	var idle chan struct{}
	if len(b.held) > 0 {
		if b.idle == nil {
			b.idle = make(chan struct{})
		}
		idle = b.idle
	}
	b.mu.Unlock()
	if idle == nil {
		return nil
	}
	b.end(func(*holdfast.Identity) *holdfast.Error { return errDraining() })
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
