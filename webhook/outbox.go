package webhook

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Entry is a message in an outbox, for one target.
type Entry struct {
	// ID is the message's id.
	ID string
	// Target is the name of the target.
	Target string
	// Type is what the message tells.
	Type Type
	// Key is what the message is about, a room or a connection: messages of
	// one key are tried in order.
	Key string
	// Body is what is posted.
	Body []byte
	// Time is when it happened; a database keeps milliseconds of it.
	Time time.Time
	// Seq orders entries that were added by one process.
	Seq int64
	// Attempts is how many attempts have failed.
	Attempts int
}

// Outcome is what became of a claimed entry.
type Outcome struct {
	// ID and Attempts are those of the entry as it was claimed: who claimed it
	// too late, after somebody else has tried it, settles nothing but Done.
	ID       string
	Attempts int
	// Done: it was delivered, and is forgotten.
	Done bool
	// Dead: it was given up, and is kept for inspection.
	Dead bool
	// Failed: it is kept with one failed attempt more. Without it, and without
	// Done and Dead, it goes back as it was.
	Failed bool
	// Next is when it is due again, unless it is Done or Dead.
	Next time.Time
	// Reason says why the attempt failed. It holds no secrets.
	Reason string
}

// Outbox keeps what is to be delivered. It is safe for concurrent use, and one
// in a database may be used by several processes.
type Outbox interface {
	// Add keeps entries, all of them or none. It returns when they are as safe
	// as this Outbox can make them. They are due at once. An error for which
	// IsFull holds says that too many wait already.
	Add(ctx context.Context, entries []Entry) error
	// Claim takes entries of a target that are due, up to limit: those that
	// have been due longest, in the order of their Seq. Nobody else is given them until lease has passed, or Settle
	// puts them back. next is when the next of the others will be due; zero if
	// there are none.
	Claim(ctx context.Context, target string, limit int, lease time.Duration) (entries []Entry, next time.Time, err error)
	// Settle stores what became of claimed entries, of all or of none.
	Settle(ctx context.Context, outcomes []Outcome) error
}

// ErrFull is the error of an outbox that takes no more: what is in it already
// is older, and stays.
func ErrFull() error {
	return &holdfast.Error{Code: holdfast.RateLimited, Message: "the outbox of webhooks is full"}
}

// IsFull reports whether an Outbox refused entries since too many wait.
func IsFull(err error) bool { return errors.Is(err, holdfast.RateLimited) }
