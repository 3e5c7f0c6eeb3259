package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/client"
	"github.com/holdfast-dev/holdfast/client/queue"
)

// kept is the queue of --queue. What is given up at the end of the program
// stays in it, for the next one.
type kept struct {
	*queue.File
	dir   string
	added chan string     // has the id of the event that this program adds
	full  error           // why it could not be added; set before that is answered
	moved chan struct{}   // has one value after something has left the queue
	dead  map[string]bool // ids of what was refused before
	ended atomic.Bool
}

// openQueue opens the queue in a folder, whose events are for one server.
func openQueue(dir, address string) (*kept, error) {
	server, err := serverURL(address)
	if err != nil {
		return nil, err
	}
	file, err := queue.Open(dir, queue.Limits{})
	if err != nil {
		return nil, err
	}
	if err := ownQueue(filepath.Join(dir, "server"), server); err != nil {
		_ = file.Close() // always nil
		return nil, err
	}
	k := &kept{File: file, dir: dir, added: make(chan string, 1), moved: make(chan struct{}, 1), dead: make(map[string]bool)}
	for _, d := range file.Dead() {
		k.dead[d.Item.ID] = true
	}
	return k, nil
}

// ownQueue notes which server a queue is for, or checks it.
func ownQueue(path, server string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(server + "\n")
		return errors.Join(err, f.Close())
	}
	if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("queue: %s: %w", path, reason(err))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("queue: %s: %w", path, reason(err))
	}
	if other := strings.TrimSpace(string(data)); other != server {
		return usagef("queue: %s holds events for %s: take another folder for %s", filepath.Dir(path), other, server)
	}
	return nil
}

// Add implements queue.Queue.
func (k *kept) Add(ctx context.Context, item queue.Item) error {
	err := k.File.Add(ctx, item)
	if err == nil {
		k.added <- item.ID
	}
	k.full = err
	return err
}

// notKept says why an event was not taken, by this folder or at all.
func (k *kept) notKept(e *environment, c *connection, err error) error {
	switch {
	case errors.Is(k.full, queue.ErrFull):
		return fmt.Errorf("the event is not kept, %s is full: \"holdfast queue send %s %s\" sends what waits there", k.dir, quote(k.dir), c.address)
	case k.full != nil:
		return fmt.Errorf("the event is not kept: %w", k.full)
	}
	return c.explain(e, err)
}

// Remove implements queue.Queue.
func (k *kept) Remove(ctx context.Context, id string, cause *holdfast.Error) (bool, error) {
	if cause == nil && k.ended.Load() {
		return false, nil // if it was acknowledged at this very moment, sending it again has no effect
	}
	was, err := k.File.Remove(ctx, id, cause)
	select {
	case k.moved <- struct{}{}:
	default:
	}
	return was, err
}

// refused notes what the server has refused for good meanwhile, and returns
// how much that is. own is not noted.
func (k *kept) refused(e *environment, own string) (n int) {
	for _, d := range k.Dead() {
		if d.Item.ID == own || k.dead[d.Item.ID] {
			continue
		}
		n++
		what := describeItem(&d.Item)
		e.note("an event kept earlier was refused for good: %s in room %s: %s (%s)", what.Event, what.Room, d.Message, d.Code)
	}
	return n
}

// queued publishes through the queue.
func (c *emitCmd) queued(e *environment, data json.RawMessage) error {
	q, err := openQueue(c.Queue, c.URL)
	if err != nil {
		return err
	}
	defer q.Close()
	conn, err := c.open(e, c.URL, client.SocketConfig{Queue: q})
	if err != nil {
		return err
	}
	own := ""
	defer func() { q.refused(e, own) }()
	defer conn.close()
	answer := c.publish(conn, data)
	own, a, ok := q.taken(answer)
	if !ok && !errors.Is(a.err, client.ErrNoUser) {
		return q.notKept(e, conn, a.err)
	}
	err = conn.up(e, c.Timeout)
	if !ok { // only the server can tell whose the event is
		if err != nil {
			return fmt.Errorf("%w; the event is not kept, since the token does not say whose it is", err)
		}
		answer = c.publish(conn, data)
		if own, a, ok = q.taken(answer); !ok {
			return q.notKept(e, conn, a.err)
		}
	}
	if err == nil {
		a, err = conn.await(e, q, c.Timeout, answer)
	}
	if err != nil {
		q.ended.Store(true)
		conn.close()
		if a = <-answer; a.err != nil && !errors.Is(a.err, client.ErrElsewhere) {
			return q.givenUp(e, err)
		}
	}
	switch {
	case errors.Is(a.err, client.ErrElsewhere):
		e.note("sent by another program that shares the queue")
		return nil
	case a.err != nil:
		return conn.explain(e, a.err)
	}
	return printLine(e, a.at)
}

// taken waits until an event is in the queue, and returns its id; ok is false
// where it never was, and a says why.
func (k *kept) taken(answer chan published) (id string, a published, ok bool) {
	select {
	case id = <-k.added:
		return id, a, true
	case a = <-answer:
	}
	select {
	case id = <-k.added: // and sent at once, by this program or another
		answer <- a // for who waits for that
		return id, published{}, true
	default:
		return "", a, false
	}
}

// givenUp says of an event that it is kept, and why. That the server can't be
// reached is no error.
func (k *kept) givenUp(e *environment, err error) error {
	if exitCode(err) != exitUnreachable {
		return fmt.Errorf("%w; the event is kept in %s", err, k.dir)
	}
	e.note("kept in %s, where %d wait now: %v", k.dir, len(k.Items()), err)
	return nil
}

// published is the answer to a publish.
type published struct {
	at  holdfast.Position
	err error
}

func (c *emitCmd) publish(conn *connection, data json.RawMessage) chan published {
	answer := make(chan published, 2)
	go func() { // ends with the socket
		at, err := conn.socket.Publish(context.Background(), c.Room, c.Event, data, c.ID)
		answer <- published{at, err}
	}()
	return answer
}

// await waits for the answer as long as the queue gets shorter.
func (c *connection) await(e *environment, q *kept, patience time.Duration, answer <-chan published) (published, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		select {
		case a := <-answer:
			return a, nil
		case <-q.moved:
			timer.Reset(patience)
		case <-timer.C:
			return published{}, &unreachableError{c.address, errNoAnswer}
		case err := <-c.final:
			return published{}, c.explain(e, err)
		case <-e.ctx.Done():
			return published{}, errInterrupted
		}
	}
}

var errNoAnswer = errors.New("no answer in time")

type queueCmds struct {
	List queueListCmd `cmd:"" help:"Print what waits in a folder of \"emit --queue\", and what was refused for good, one JSON object a line."`
	Send queueSendCmd `cmd:"" help:"Send what waits there."`
}

type queueListCmd struct {
	Dir string `arg:"" help:"The folder."`
}

// queuedLine is what "queue list" prints of an event.
type queuedLine struct {
	ID      string          `json:"id"`
	User    string          `json:"user,omitempty"`
	Room    string          `json:"room"`
	Event   string          `json:"event"`
	Data    json.RawMessage `json:"data"`
	Added   time.Time       `json:"added"`
	Refused *refusedLine    `json:"refused,omitempty"`
}

type refusedLine struct {
	Code    holdfast.Code `json:"code"`
	Message string        `json:"message"`
	At      time.Time     `json:"at"`
}

// describeItem reads what an item publishes.
func describeItem(item *queue.Item) queuedLine {
	var args []queuedLine
	_ = json.Unmarshal(item.Args, &args) // "emit" wrote it; anything else shows as nothing
	if len(args) == 0 {
		args = append(args, queuedLine{Event: item.Event})
	}
	line := args[0]
	line.ID, line.User, line.Added, line.Refused = item.ID, item.User, item.Added, nil
	return line
}

// Run prints a queue.
func (l *queueListCmd) Run(e *environment) error {
	if _, err := os.Stat(l.Dir); err != nil {
		return usagef("queue: %s: %w", l.Dir, reason(err))
	}
	q, err := queue.Open(l.Dir, queue.Limits{})
	if err != nil {
		return err
	}
	defer q.Close()
	for _, d := range q.Dead() {
		line := describeItem(&d.Item)
		line.Refused = &refusedLine{d.Code, d.Message, d.Died}
		if err := printLine(e, line); err != nil {
			return err
		}
	}
	for _, item := range q.Items() {
		if err := printLine(e, describeItem(&item)); err != nil {
			return err
		}
	}
	return nil
}

type queueSendCmd struct {
	clientFlags
	Dir string `arg:"" help:"The folder."`
	URL string `arg:"" name:"url" help:"The server's address, such as http://127.0.0.1:8080."`
}

// Run sends what waits.
func (s *queueSendCmd) Run(e *environment) error {
	if _, err := os.Stat(s.Dir); err != nil {
		return usagef("queue: %s: %w", s.Dir, reason(err))
	}
	q, err := openQueue(s.Dir, s.URL)
	if err != nil {
		return err
	}
	defer q.Close()
	waiting := q.Items() // before the connection, which sends at once
	conn, err := s.open(e, s.URL, client.SocketConfig{Queue: q})
	if err != nil {
		return err
	}
	defer conn.close()
	users := make(chan string, 1)
	client.On(conn.socket, client.EventSession, func(_ context.Context, session client.Session) {
		select {
		case users <- session.User.ID:
		default:
		}
	})
	sent := 0
	if err = conn.up(e, s.Timeout); err == nil {
		sent, err = conn.flush(e, q, waiting, s.Timeout, users)
	}
	refused := q.refused(e, "")
	if err != nil {
		return fmt.Errorf("%w; %d events wait in %s", err, len(q.Items()), s.Dir)
	}
	e.note("%d sent, %d refused for good", sent-refused, refused)
	if others := len(q.Items()); others > 0 {
		e.note("%d wait for other users", others)
	}
	if refused > 0 {
		return fmt.Errorf("%d events were refused for good: \"holdfast queue list %s\" shows them", refused, quote(s.Dir))
	}
	return nil
}

// flush waits until those of the items that are the user's have left the
// queue, as long as it gets shorter, and returns how many there were.
func (c *connection) flush(e *environment, q *kept, waiting []queue.Item, patience time.Duration, users <-chan string) (n int, err error) {
	ctx, cancel := context.WithTimeout(e.ctx, patience)
	defer cancel()
	user := ""
	select {
	case user = <-users:
	case <-ctx.Done():
		return 0, &unreachableError{c.address, errNoAnswer}
	}
	answer := make(chan published, 1)
	for _, item := range waiting {
		if item.User != user {
			continue
		}
		n++
		ctx, cancel := context.WithCancel(e.ctx)
		gone := make(chan struct{})
		go func() { // ends with ctx at the latest
			defer close(gone)
			if _, err := q.Gone(ctx, item.ID); ctx.Err() == nil {
				answer <- published{err: err}
			}
		}()
		_, err := c.await(e, q, patience, answer)
		cancel()
		<-gone
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
