package holdfast

import (
	"encoding/json"
	"time"
)

// MaxOffset is the largest offset: 2^53−1, the largest integer that a JSON
// number carries safely everywhere.
const MaxOffset = 1<<53 - 1

// Position is a place in a room's history. A reader who has seen everything
// up to it asks for what comes strictly after.
type Position struct {
	// Epoch names one unbroken history, in [A-Za-z0-9_-]{1,32}. It changes
	// when history is lost; offsets of different epochs can't be compared.
	Epoch string `json:"epoch"`
	// Offset counts messages: 0 is before the first, and each message's is
	// greater than the one before it. Numbers may be skipped.
	Offset uint64 `json:"offset"`
}

// MaxEpoch bounds an epoch, in bytes.
const MaxEpoch = 32

// Check returns an InvalidArgument error if p is no position: see its fields.
// Where a peer names a position, it has to be checked.
func (p Position) Check() error {
	if p.Epoch == "" || len(p.Epoch) > MaxEpoch {
		return Errorf(InvalidArgument, "epoch must have 1 to %d characters", MaxEpoch)
	}
	for i := range len(p.Epoch) {
		switch c := p.Epoch[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '_', c == '-':
		default:
			return Errorf(InvalidArgument, "epoch has a character that is not allowed")
		}
	}
	if p.Offset > MaxOffset {
		return Errorf(InvalidArgument, "offset is larger than %d", int64(MaxOffset))
	}
	return nil
}

// Event is one message of a room, as it was appended to the room's order.
type Event struct {
	// Room and Name (the event's name) address it.
	Room string
	Name string
	// Data is the payload as JSON; nil stands for null. Binary parts show as
	// {"_placeholder":true,"num":N}, N being an index into Attachments.
	Data json.RawMessage
	// Attachments are the payload's binary parts.
	Attachments [][]byte
	// Position is where it stands in its room; set by the broker.
	Position Position
	// ID is the publisher's own id of it, for idempotency; may be empty.
	ID string
	// From is the publisher's user id; empty for backends, and for clients
	// without a user.
	From string
	// Scope tells publishers with the same From apart where IDs are compared:
	// clients without a user have one, backends have none. Nobody is sent it.
	Scope string
	// Except is the public id of a connection that is not sent the event as it
	// happens; empty for none. It is part of the room's history all the same.
	Except string
	// Time is when it was appended; set by the broker.
	Time time.Time
}

// Size is what the event counts for in limits of bytes: payload,
// attachments and names.
func (e *Event) Size() int {
	n := len(e.Room) + len(e.Name) + len(e.Data) + len(e.ID) + len(e.From) + len(e.Scope) + len(e.Except)
	for _, a := range e.Attachments {
		n += len(a)
	}
	return n
}
