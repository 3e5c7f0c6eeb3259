package client

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/socketio"
)

// Figures of the queue.
const (
	// plainTries is how often an event is sent to a plain Socket.IO server that
	// doesn't acknowledge it: each time may have an effect there.
	plainTries = 3
	// withdrawTimeout bounds how long taking an event back may take.
	withdrawTimeout = 5 * time.Second
)

type volatileKey struct{}

// Volatile returns a context whose emits don't go through SocketConfig.Queue:
// they are sent now, ahead of what is queued, or fail with ErrNotConnected. It
// is for what is worth nothing later, such as where a pointer is. Without a
// queue all emits are so.
func Volatile(ctx context.Context) context.Context {
	return context.WithValue(ctx, volatileKey{}, true)
}

// queued returns the queue that an emit goes through, nil for none.
func (s *Socket) queued(ctx context.Context) queue.Queue {
	if ctx.Value(volatileKey{}) != nil {
		return nil
	}
	return s.cfg.Queue
}

// OnDead calls fn when the server has refused a queued event for good; it is
// out of the way then, and in the queue's list of dead ones. Handlers are as
// with On. Only the process that sent the event is told.
func (s *Socket) OnDead(fn func(ctx context.Context, dead queue.Dead)) (off func()) {
	return s.registry.add(deadEvent, func(ctx context.Context, d *delivery) { fn(ctx, *d.dead) }, false)
}

// deadEvent is the name under which OnDead's handlers are kept.
const deadEvent = "\x00dead"

// waitingEmit is an emit whose ack somebody waits for. Guarded by the socket's
// mu, but for answer.
type waitingEmit struct {
	asking    *asking      // has its own lock
	answer    chan emitted // has room for the one answer
	sent      bool         // or about to be
	withdrawn bool
}

type emitted struct {
	args socketio.Args
	err  error
}

// enqueue puts an event into the queue.
func (s *Socket) enqueue(ctx context.Context, q queue.Queue, id, event string, args socketio.Args) error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	user, err := s.sender(ctx)
	if err != nil {
		return err
	}
	err = q.Add(ctx, queue.Item{
		ID: id, User: user, Namespace: s.ns, Event: event,
		Args: args.AppendArray(nil), Attachments: args.Attachments, Added: time.Now(),
	})
	if errors.Is(err, queue.ErrFull) {
		return ErrQueueFull
	}
	return err
}

// askQueued puts an event into the queue and waits for its ack.
func (s *Socket) askQueued(ctx context.Context, q queue.Queue, event string, args socketio.Args) (socketio.Args, error) {
	id := queue.NewID()
	w := &waitingEmit{answer: make(chan emitted, 1), asking: s.askingLater(ctx)}
	s.mu.Lock()
	s.emits[id] = w
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.emits, id)
		w.asking.end()
	}()
	if err := s.enqueue(ctx, q, id, event, args); err != nil {
		return socketio.Args{}, err
	}
	s.mu.Lock()
	if !w.sent { // or askFor says when it waits
		w.asking.begin()
	}
	s.mu.Unlock()

	gone := make(chan emitted, 1)
	watch, stop := context.WithCancel(context.Background())
	go func() {
		err := elsewhere(q.Gone(watch, id))
		w.asking.end()
		gone <- emitted{err: err}
	}()
	watching := true
	defer func() {
		stop()
		if watching {
			<-gone
		}
	}()
	select {
	case r := <-w.answer:
		return r.args, r.err
	case r := <-gone:
		watching = false
		select {
		case r = <-w.answer: // this socket's own word says more
		default:
		}
		return r.args, r.err
	case <-ctx.Done():
		return socketio.Args{}, s.withdraw(q, id, w, ctx.Err())
	case <-s.ctx.Done():
		return socketio.Args{}, s.withdraw(q, id, w, ErrClosed)
	case <-w.asking.cut():
		return socketio.Args{}, s.withdraw(q, id, w, errBehind)
	}
}

// elsewhere is the error of an event that somebody else took out of the queue.
func elsewhere(dead *queue.Dead, err error) error {
	switch {
	case err != nil:
		return err
	case dead != nil:
		return &holdfast.Error{Code: dead.Code, Message: dead.Message}
	}
	return ErrElsewhere
}

// withdraw takes an event back that was not sent yet, and returns why.
func (s *Socket) withdraw(q queue.Queue, id string, w *waitingEmit, why error) error {
	s.mu.Lock()
	w.withdrawn = !w.sent
	withdrawn := w.withdrawn
	s.mu.Unlock()
	if !withdrawn {
		return why // it may have had its effect: the queue goes on with it
	}
	ctx, cancel := context.WithTimeout(context.Background(), withdrawTimeout)
	defer cancel()
	_, err := q.Remove(ctx, id, nil)
	return errors.Join(why, err)
}

// claim marks an event as sent. It is false if it was withdrawn.
func (s *Socket) claim(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.emits[id]
	if w == nil {
		return true
	}
	w.sent = !w.withdrawn
	return w.sent
}

// settleEmit tells whoever waits for an event's ack.
func (s *Socket) settleEmit(id string, r emitted) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if w := s.emits[id]; w != nil {
		w.asking.end()
		select {
		case w.answer <- r:
		default: // it has one
		}
	}
}

// sendQueue sends what waits in the queue, while this connection lives and
// nobody else does.
func (c *conn) sendQueue() {
	if !c.settled() {
		return
	}
	c.s.mu.Lock()
	lane := queue.Lane{User: c.user, Namespace: c.s.ns}
	ids := c.session != nil && c.session.Has("id")
	c.sending = true
	if _, known := c.s.client.present(); !known {
		c.s.user, c.s.seen = c.user, true
	}
	c.s.mu.Unlock()
	rules := rules{cfg: c.s.cfg, random: randomFraction}
	for c.ctx.Err() == nil {
		release, err := c.s.cfg.Queue.Lead(c.ctx, lane)
		if err == nil {
			err = c.drain(lane, ids)
			release()
		}
		if c.ctx.Err() != nil || errors.Is(err, queue.ErrClosed) {
			return
		}
		rules.attempts++
		c.s.registry.log.Warn("the queue fails", "err", err)
		c.pause(rules.backoff(nil))
	}
}

// pause waits, or until the connection ends.
func (c *conn) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.ctx.Done():
	}
}

// drain sends the items of a lane one after another, until the connection ends
// or the queue fails.
func (c *conn) drain(lane queue.Lane, ids bool) error {
	q := c.s.cfg.Queue
	for {
		it, err := q.Next(c.ctx, lane)
		if err != nil {
			return err
		}
		if !c.s.claim(it.ID) {
			if _, err := q.Remove(c.ctx, it.ID, nil); err != nil {
				return err
			}
			continue
		}
		r, cause, done := c.sendItem(it, ids)
		if !done {
			return c.ctx.Err()
		}
		c.s.settleEmit(it.ID, r) // before Gone tells less
		// What was acknowledged is taken out even if the connection ends now.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.ctx), withdrawTimeout)
		was, err := q.Remove(ctx, it.ID, cause)
		cancel()
		if was && cause != nil {
			c.s.registry.log.Warn("a queued event was refused for good", "event", it.Event, "id", it.ID, "err", cause)
			dead := &queue.Dead{Item: it, Code: cause.Code, Message: cause.Message, Died: time.Now()}
			c.s.inbox.pushNow(item{d: &delivery{event: deadEvent, dead: dead}, notice: true, size: itemCost})
		}
		if err != nil {
			return err
		}
	}
}

// sendItem sends an item until it is acknowledged, or refused for the cause
// that it returns. done is false when the connection ends before.
func (c *conn) sendItem(it queue.Item, ids bool) (r emitted, cause *holdfast.Error, done bool) {
	var args socketio.Args
	if err := json.Unmarshal(it.Args, &args.Values); err != nil {
		cause = holdfast.Errorf(holdfast.InvalidArgument, "the arguments are no JSON array")
		return emitted{err: cause}, cause, true
	}
	args.Attachments = it.Attachments
	if ids {
		args.Values = append(args.Values, json.RawMessage(`{"$hf":{"id":"`+it.ID+`"}}`))
	}
	p := eventPacket(c.s.ns, it.Event, args)
	if err := c.fits(c.encode(p)); err != nil {
		cause = holdfast.AsError(err)
		return emitted{err: cause}, cause, true
	}
	tries := trial{rules: rules{cfg: c.s.cfg, random: randomFraction}}
	for {
		answer, err := c.askFor(it.ID, p)
		if err == nil {
			err = refusalIn(answer)
		} else if c.ctx.Err() != nil || errors.Is(err, ErrConnectionLost) || errors.Is(err, ErrNotConnected) {
			return r, nil, false
		} else if !errors.Is(err, context.DeadlineExceeded) {
			return emitted{err: err}, nil, true // an ack that can't be read is one
		}
		if err == nil {
			return emitted{args: answer}, nil, true
		}
		next := tries.after(c, err, ids)
		switch {
		case next.over:
			return r, nil, false
		case next.dead != nil:
			return emitted{args: answer, err: deadError(answer, next.dead)}, next.dead, true // and drain says so
		}
		c.s.registry.log.Warn("a queued event was not taken", "event", it.Event, "err", err, "try", tries.rules.attempts, "in", next.wait)
		c.pause(next.wait)
	}
}

// deadError is the error of a refused emit for who waits for it: nil where the
// ack itself says it, as EmitRaw returns that.
func deadError(answer socketio.Args, cause *holdfast.Error) error {
	if answer.Len() > 0 {
		return nil
	}
	return cause
}

// askFor sends a queued event and waits for its ack, for some time.
func (c *conn) askFor(id string, p socketio.Packet) (socketio.Args, error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.s.cfg.AckTimeout)
	defer cancel()
	return c.askAs(ctx, c.s.asks(id), p)
}

// asks returns the call that waits for an event of the queue, which begins to
// wait anew if the event was refused before; nil if none does.
func (s *Socket) asks(id string) *asking {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.emits[id]
	if w == nil {
		return nil
	}
	w.asking.begin()
	return w.asking
}

// refusalIn returns the refusal that an ack is, nil if it is none.
func refusalIn(args socketio.Args) error {
	_, err := unwrap(args)
	return err
}

// trial is what was tried with one item on one connection.
type trial struct {
	rules    rules
	timeouts int
	renewals int
}

// verdict is what follows a refusal.
type verdict struct {
	wait time.Duration
	dead *holdfast.Error // it is dead, for this reason
	over bool            // the connection is
}

// after decides, by the table of codes, what follows a refusal of an item.
func (t *trial) after(c *conn, err error, ids bool) verdict {
	t.rules.attempts++
	limit := c.s.cfg.QueueTries
	refusal, _ := errors.AsType[*holdfast.Error](err)
	if refusal == nil { // no ack in time
		t.timeouts++
		refusal = holdfast.Errorf(holdfast.Internal, "never acknowledged")
		if !ids && t.timeouts >= plainTries {
			return verdict{dead: refusal}
		}
	}
	again := verdict{wait: t.rules.backoff(refusal)}
	if limit > 0 && t.rules.attempts >= limit {
		again = verdict{dead: refusal}
	}
	switch action := refusal.Code.Info().Action; action {
	case holdfast.ActionWait, holdfast.ActionReconnect:
		return again
	case holdfast.ActionRefresh, holdfast.ActionRefreshOnce:
		t.renewals++
		if action == holdfast.ActionRefreshOnce && t.renewals > 1 {
			return verdict{dead: refusal}
		}
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		if t.renewals <= maxRenewals && c.s.conn == c {
			c.refreshLocked(refusal)
		}
		return again
	case holdfast.ActionSignedOut:
		c.hangUp(refusal, 1000)
		return verdict{over: true}
	}
	return verdict{dead: refusal}
}
