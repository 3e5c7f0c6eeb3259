package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/server"
)

const (
	outboxPage  = 100
	outboxRetry = time.Second
	toldWait    = 5 * time.Second
)

// wakeOutbox says that there may be something to send.
func (s *store) wakeOutbox() {
	select {
	case s.wake <- struct{}{}:
	default: // it will look anyhow
	}
}

// told says up to where the outbox has told the rooms. The zero value is not
// ready: see openStore.
type told struct {
	mu      sync.Mutex // guards what follows
	seq     int64
	over    bool          // nobody will tell any more
	changed chan struct{} // closed, and made anew, at each change
}

// set notes a change, and wakes those who wait.
func (t *told) set(seq int64, over bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seq, t.over = max(t.seq, seq), over
	close(t.changed)
	t.changed = make(chan struct{})
}

// wait waits until the letter with this number is delivered, for as long as
// ctx lives and toldWait at most: the write is done in any case.
func (t *told) wait(ctx context.Context, seq int64) {
	ctx, cancel := context.WithTimeout(ctx, toldWait)
	defer cancel()
	for {
		t.mu.Lock()
		done, changed := t.over || t.seq >= seq, t.changed
		t.mu.Unlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// outbox sends what the writes have left for the rooms, in the order of the
// writes, and for as long as the program lives: what was committed is told
// even if the program ended in between.
type outbox struct {
	store *store
	srv   *server.Server
	log   *slog.Logger
}

// letter is one row of the outbox.
type letter struct {
	seq                                  int64
	room, name, data, id, sender, leaver string
}

func scanLetter(s scanner) (l letter, err error) {
	err = s.Scan(&l.seq, &l.room, &l.name, &l.data, &l.id, &l.sender, &l.leaver)
	return l, err
}

// run sends until ctx ends.
func (o *outbox) run(ctx context.Context) {
	defer o.store.told.set(0, true)
	retry := time.NewTimer(0) // and look once at what was left the last time
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.store.wake:
		case <-retry.C:
		}
		if err := o.flush(ctx); err != nil && ctx.Err() == nil {
			o.log.Error("the rooms can't be told of writes; they will be", "err", err)
			retry.Reset(outboxRetry)
		}
	}
}

// flush sends all there is. What was sent and could not be deleted is sent
// again; its id makes that no second event.
func (o *outbox) flush(ctx context.Context) error {
	for {
		letters, err := all(ctx, o.store.read, scanLetter, "SELECT seq, room, name, data, id, sender, leaver FROM outbox ORDER BY seq LIMIT ?", outboxPage)
		if err != nil || len(letters) == 0 {
			return err
		}
		sent := int64(0)
		for _, l := range letters {
			if err = o.deliver(ctx, l); err != nil {
				break
			}
			sent = l.seq
			o.store.told.set(sent, false)
		}
		if _, derr := o.store.write.ExecContext(ctx, "DELETE FROM outbox WHERE seq <= ?", sent); derr != nil || err != nil {
			return errors.Join(err, derr)
		}
	}
}

// deliver sends one letter. An error means that it can be tried again.
func (o *outbox) deliver(ctx context.Context, l letter) error {
	if l.name == "" {
		return o.putOut(ctx, l)
	}
	id := l.id
	if id == "" {
		id = fmt.Sprintf("write-%d", l.seq)
	}
	_, err := o.srv.PublishEvent(ctx, holdfast.Event{
		Room: l.room, Name: l.name, Data: json.RawMessage(l.data), ID: id, From: l.sender,
		// Ids of the user's own publishes are others than those of writes.
		Scope: "taskboard",
	})
	if code := holdfast.CodeOf(err); code == holdfast.InvalidArgument || code == holdfast.MessageTooLarge {
		o.log.Error("an event can't be published, and is dropped", "room", l.room, "event", l.name, "err", err)
		return nil
	}
	return err
}
