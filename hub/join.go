package hub

import (
	"context"
	"encoding/json"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// JoinOptions are the choices of one join.
type JoinOptions struct {
	// Since asks for what comes strictly after it; nil: only what is new.
	Since *holdfast.Position
	// Presence is the user's presence data in the room, JSON of at most 4 KiB;
	// nil leaves what he has.
	Presence json.RawMessage
	// Hidden: the session only listens. It does not make its user present, and
	// gets no notices.
	Hidden bool
	// Ask, if it is set, decides whether the join may go on: an error is Join's.
	// It may change o.Presence. It is called without locks and may block until
	// ctx ends, which it does when the room is left meanwhile, the right is lost,
	// or the session closed. A repeated join does not ask; one that meets
	// another waits for that one's answer.
	Ask func(ctx context.Context, o *JoinOptions) error
}

// Joined is a join's result.
type Joined struct {
	Room string
	// Position is that of the last event sent or skipped.
	Position holdfast.Position
	// Recovered says whether the replay since JoinOptions.Since was without a
	// gap; nil if there was no Since, or Already.
	Recovered *bool
	// Already: the session was in the room before; nothing was changed, and
	// Position may be behind an event that is on its way.
	Already bool
	// Members are the users in the room, himself among them, sorted by id, if
	// the session has the right to presence and is not hidden; else nil. Their
	// Data must not be changed.
	Members []Member
	// Viewers says how many users there are where Members would be too many (see
	// Config.PresenceLimit) and is nil for that; else it is 0. Changes come as
	// notices only once NoticeResumed has.
	Viewers int
}

// Join enters a room. The events since o.Since are sent to the Sink, then ready
// is called (it sends the answer to the same Sink), then live events follow,
// without a gap and without repeats. If history can't continue Since, nothing
// is replayed and Recovered is false. (It is false as well in the rare case that
// history runs out while a slow replay is under way.) A repeated join calls ready and changes
// nothing; one that meets another join of the same room waits for it.
//
// ready is called at most once and without locks, before Join returns; it may
// be nil. Where it was called, Join returns no error: if the room is lost right
// after it, Left is told.
//
// The user is present from ready on, with o.Presence as his data, where his
// identity has the right to presence; otherwise o.Presence is ignored. What
// changes from Joined.Members on comes as notices, after ready.
//
// Errors: INVALID_ARGUMENT for a bad name or presence data that is no JSON;
// MESSAGE_TOO_LARGE for more than 4 KiB of it; FORBIDDEN without the right to join;
// CONFLICT when the connection is in too many rooms, or the room is left
// meanwhile; RATE_LIMITED when the room is so busy that the join could not
// catch up; SLOW_CONSUMER when the Sink refuses the replay; GOING_AWAY when the
// session or the hub is closed; ctx's error; the broker's.
func (s *Session) Join(ctx context.Context, room string, o JoinOptions, ready func(Joined)) (Joined, error) {
	if err := holdfast.CheckRoom(room); err != nil {
		return Joined{}, err
	}
	if err := checkPresence(o.Presence); err != nil {
		return Joined{}, err
	}
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return Joined{}, errClosed()
		}
		id, m := s.identity, s.member(room)
		if m != nil && m.phase == phaseLive {
			s.mu.Unlock()
			j := Joined{Room: room, Position: m.room.position(m), Already: true}
			j.Members, j.Viewers = m.room.memberList(m)
			if ready != nil {
				ready(j)
			}
			return j, nil
		}
		if m != nil {
			if m.wait == nil {
				m.wait = make(chan struct{})
			}
			wait := m.wait
			s.mu.Unlock()
			select {
			case <-wait:
				continue
			case <-ctx.Done():
				return Joined{}, context.Cause(ctx)
			}
		}
		s.mu.Unlock()

		if !id.Permissions.Room(room).Has(holdfast.VerbJoin) {
			return Joined{}, errForbidden()
		}
		r, err := s.hub.acquire(ctx, room, s.conn)
		if err != nil {
			return Joined{}, err
		}
		if m = s.admit(r, id, o.Hidden); m != nil {
			return s.join(ctx, m, o, ready)
		}
		s.hub.uncount(s.conn)
		s.hub.release(r)
	}
}

// admit makes the membership, in phase joining; nil if the session has changed
// since it had the identity id and no membership in r.
func (s *Session) admit(r *room, id *holdfast.Identity, hidden bool) *member {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.identity != id || s.member(r.name) != nil {
		return nil
	}
	m := &member{session: s, room: r, hidden: hidden, pending: &pendingJoin{}}
	s.members = append(s.members, m)
	return m
}

// join takes an admitted membership through, and ends it if that fails.
func (s *Session) join(ctx context.Context, m *member, o JoinOptions, ready func(Joined)) (Joined, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.mu.Lock()
	pending := m.pending
	pending.cancel = cancel
	if pending.cause != nil {
		cancel(pending.cause)
	}
	s.mu.Unlock()

	if o.Ask != nil {
		asked := o
		err := o.Ask(ctx, &asked)
		if err == nil {
			err = checkPresence(asked.Presence)
		}
		if err != nil {
			return Joined{}, s.refused(m, err)
		}
		o.Presence = asked.Presence
	}
	j := Joined{Room: m.room.name}
	announced := false
	err := s.carry(ctx, m, o, func(pos holdfast.Position, recovered bool) {
		j.Position = pos
		if o.Since != nil {
			j.Recovered = &recovered
		}
		j.Members, j.Viewers = m.room.enter(m, o.Presence)
		announced = true
		if ready != nil {
			ready(j)
		}
	})

	s.mu.Lock()
	if err == nil && pending.cause == nil {
		m.phase, m.pending = phaseLive, nil
		if m.wait != nil {
			close(m.wait)
			m.wait = nil
		}
		s.mu.Unlock()
		m.room.mu.Lock()
		m.room.stir()
		return j, nil
	}
	m.phase, m.pending = phaseLeaving, nil
	s.mu.Unlock()
	tell := true
	if pending.cause != nil {
		err, tell = pending.cause, pending.tell
	}
	if announced {
		s.over(m, pending.ending(err))
	}
	s.finish(m)
	if !announced {
		return Joined{}, err
	}
	if tell {
		s.tell(m.room.name, holdfast.AsError(err))
	}
	return j, nil
}

// carry replays, announces once, and makes the member live. When the buffer
// overflows it begins anew from where it is, a few times.
func (s *Session) carry(ctx context.Context, m *member, o JoinOptions, announce func(holdfast.Position, bool)) error {
	r := m.room
	if err := r.await(ctx); err != nil {
		return err
	}
	var served holdfast.Position // up to where the sink was served
	replay, recovered, announced := false, false, false
	if o.Since != nil {
		served, replay, recovered = *o.Since, true, true
	}
	for range joinAttempts {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		start := r.begin(m)
		if replay && served != start {
			pos, ok, err := s.replay(ctx, r, served, start)
			switch {
			case err != nil:
				return err
			case ok:
				served = pos
			case announced:
				return errLost()
			default:
				replay, recovered = false, false
			}
		}
		if !replay {
			served = start
		}
		if !announced {
			announce(served, recovered)
			announced, replay = true, true
		}
		for {
			events, notes, done, ok := r.take(m, served)
			if !ok {
				break
			}
			if done {
				return nil
			}
			for i := range notes {
				s.sendNote(&notes[i])
			}
			for _, ev := range events {
				if ev.Position.Offset > served.Offset {
					if !s.excepted(ev) {
						s.send(ev)
					}
					served = ev.Position
				}
			}
		}
	}
	err := holdfast.Errorf(holdfast.RateLimited, "The room is too busy to join it now")
	err.RetryAfter = time.Second
	return err
}

// replay sends what history has after served and returns the position that it
// goes to, which is not before start. ok is false if history can't continue
// served.
func (s *Session) replay(ctx context.Context, r *room, served, start holdfast.Position) (pos holdfast.Position, ok bool, err error) {
	for attempt := 0; ; attempt++ {
		history, err := s.hub.broker.History(ctx, r.name, &served, 0)
		if err != nil {
			return pos, false, err
		}
		now := history.Position
		switch {
		case now.Epoch != start.Epoch:
			r.Stale() // one of the two is of another history; the room finds out which
			return pos, false, nil
		case now.Offset < start.Offset && attempt < maxBehind:
			if err := wait(ctx, 10*time.Millisecond<<attempt); err != nil {
				return pos, false, err
			}
			continue // an answer from before what was delivered here
		case !history.Recovered || now.Offset < max(start.Offset, served.Offset):
			return pos, false, nil
		}
		pacer, _ := s.sink.(Pacer)
		for _, ev := range history.Events {
			if pacer != nil {
				if err := pacer.Pace(ctx); err != nil {
					return pos, false, err
				}
			}
			if !s.send(ev) {
				return pos, false, holdfast.SlowConsumer.New()
			}
		}
		return now, true, nil
	}
}

// excepted reports whether ev is not for the session as it happens.
func (s *Session) excepted(ev *holdfast.Event) bool {
	return ev.Except != "" && ev.Except == s.conn.id
}

func (s *Session) send(ev *holdfast.Event) bool {
	frame := s.encoder.Encode(ev)
	return frame == nil || s.sink.Send(frame)
}

// wait waits for d, or returns why ctx is done.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func errLost() *holdfast.Error {
	return holdfast.Errorf(holdfast.Internal, "The room's events could not be carried on without a gap; join again")
}
