package identity

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
)

const (
	// eventsFor is how long the answer to an event is kept.
	eventsFor = 24 * time.Hour
	// eventsPerScope and eventsBytes bound the answers of one scope that are
	// kept: the newest.
	eventsPerScope = 10_000
	eventsBytes    = 8 << 20
	// eventsTrim is after how many saved events of a scope, on the average, it
	// is looked at for being over its bounds; a long answer counts as one more
	// for each eventsLong bytes. By chance, since then nobody has to count, on
	// any node.
	eventsTrim = 1024
	eventsLong = 256
	// eventsBatch bounds the events that one transaction saves.
	eventsBatch = 256
	// eventsTimeout bounds one such transaction.
	eventsTimeout = 10 * time.Second
)

// eventRow is a row of the table events.
type eventRow struct {
	scope, id []byte
	name      string
	ack       []byte
	saved     int64
}

func (r eventRow) key() [2]string { return [2]string{string(r.scope), string(r.id)} }

// eventBatch is events that are saved in one transaction.
type eventBatch struct {
	rows []eventRow
	keys map[[2]string]struct{} // PostgreSQL can't change a row twice in one statement
	done chan struct{}          // closed at the end; err is set before that
	err  error
}

// eventSaver collects the events that come while others are being saved: each
// commit waits for the disk, and one does for all of them. Its goroutine exists
// only while there is something to save; its queue is bounded by the callers,
// who wait.
type eventSaver struct {
	mu     sync.Mutex // guards what follows
	queue  []*eventBatch
	busy   bool
	closed bool
}

// LoadEvent returns the answer that was saved for an event in the last 24
// hours: server.EventStore.
func (p *Provider) LoadEvent(ctx context.Context, scope, id string) (name string, ack []byte, found bool, err error) {
	since := millis(time.Now().Add(-eventsFor))
	row := p.db.read.QueryRowContext(ctx, `SELECT name, ack FROM events WHERE scope = $1 AND id = $2 AND saved > $3`, []byte(scope), []byte(id), since)
	found, err = one(row, &name, &ack)
	return name, ack, found, err
}

// SaveEvent keeps the answer to an event for 24 hours, or until there are
// 10,000 newer ones in its scope: server.EventStore. What is kept already stays
// as it is. The error of ctx leaves open whether it was saved.
func (p *Provider) SaveEvent(ctx context.Context, scope, id, name string, ack []byte, at time.Time) error {
	if !storable(name) {
		return holdfast.Errorf(holdfast.InvalidArgument, "An event's name has up to 256 bytes")
	}
	if ack == nil {
		ack = []byte{} // nil would be NULL
	}
	b, err := p.collect(eventRow{[]byte(scope), []byte(id), name, ack, millis(at)})
	if err != nil {
		return err
	}
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// collect puts a row into the batch that is saved next.
func (p *Provider) collect(r eventRow) (*eventBatch, error) {
	s := &p.events
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, holdfast.GoingAway.New()
	}
	var b *eventBatch
	if n := len(s.queue); n > 0 {
		b = s.queue[n-1]
	}
	if b != nil {
		if _, twice := b.keys[r.key()]; twice || len(b.rows) == eventsBatch {
			b = nil
		}
	}
	if b == nil {
		b = &eventBatch{keys: make(map[[2]string]struct{}), done: make(chan struct{})}
		s.queue = append(s.queue, b)
	}
	b.rows = append(b.rows, r)
	b.keys[r.key()] = struct{}{}
	if !s.busy {
		s.busy = true
		p.done.Go(p.saveEvents)
	}
	return b, nil
}

// saveEvents saves batches until there are none.
func (p *Provider) saveEvents() {
	s := &p.events
	for {
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.busy = false
			s.mu.Unlock()
			return
		}
		b := s.queue[0]
		s.queue = s.queue[1:]
		s.mu.Unlock()
		b.err = p.writeEvents(b.rows)
		close(b.done)
	}
}

// close refuses what comes from now on; what was taken is still saved.
func (s *eventSaver) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (p *Provider) writeEvents(rows []eventRow) error {
	ctx, cancel := context.WithTimeout(context.Background(), eventsTimeout)
	defer cancel()
	slices.SortFunc(rows, func(a, b eventRow) int { // two nodes must not wait for each other
		return cmp.Or(bytes.Compare(a.scope, b.scope), bytes.Compare(a.id, b.id))
	})
	var trim [][]byte
	for _, r := range rows {
		if rand.IntN(eventsTrim) <= len(r.ack)/eventsLong {
			trim = append(trim, r.scope)
		}
	}
	return p.db.tx(ctx, func(tx *sql.Tx) error {
		for rest := rows; len(rest) > 0; {
			n := statementSize(len(rest))
			if err := insertEvents(ctx, tx, rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		for _, scope := range trim {
			if err := trimEvents(ctx, tx, scope, eventsPerScope, eventsBytes); err != nil {
				return err
			}
		}
		return nil
	})
}

// statementSize is how many of n rows one statement takes: there are few
// texts, so that all of them stay prepared.
func statementSize(n int) int {
	for _, size := range [...]int{64, 16, 4} {
		if n >= size {
			return size
		}
	}
	return 1
}

// insertEvents inserts rows, but for those that are there and not over.
func insertEvents(ctx context.Context, q queries, rows []eventRow) error {
	var text strings.Builder
	text.WriteString(`INSERT INTO events (scope, id, name, ack, saved) VALUES `)
	args := make([]any, 0, 5*len(rows)+1)
	for i, r := range rows {
		if i > 0 {
			text.WriteString(", ")
		}
		text.WriteByte('(')
		for j := range 5 {
			if j > 0 {
				text.WriteString(", ")
			}
			text.WriteByte('$')
			text.WriteString(strconv.Itoa(5*i + j + 1))
		}
		text.WriteByte(')')
		args = append(args, r.scope, r.id, r.name, r.ack, r.saved)
	}
	text.WriteString(` ON CONFLICT (scope, id) DO UPDATE SET name = excluded.name, ack = excluded.ack, saved = excluded.saved
		WHERE events.saved <= excluded.saved - `)
	text.WriteString(strconv.FormatInt(eventsFor.Milliseconds(), 10))
	_, err := execute(ctx, q, text.String(), args...)
	return err
}

// trimEvents deletes the oldest events of a scope: all but so many of the
// newest, whose answers have together up to so many bytes.
func trimEvents(ctx context.Context, q queries, scope []byte, newest, size int) error {
	_, err := execute(ctx, q, `DELETE FROM events WHERE scope = $1 AND id IN (SELECT id FROM (
		SELECT id, ROW_NUMBER() OVER newest AS n, SUM(LENGTH(ack)) OVER newest AS size
		FROM events WHERE scope = $2 WINDOW newest AS (ORDER BY saved DESC, id)) AS kept WHERE n > $3 OR size > $4)`,
		scope, scope, newest, size)
	return err
}
