package hub

import (
	"context"
	"math"

	"github.com/holdfast-dev/holdfast"
)

// Broker puts the events of each room into one order, keeps a bounded history
// of them, and hands new ones to the rooms that this process has members in.
// It may span processes. docs/design/brokers.md has the reasons, and how to
// build one on NATS JetStream or Redis.
//
// Order: a room has one order, the same for everybody in every process: in
// answers to publishers, live, and in history. An event whose Publish was called
// after another's returned comes after it. Rooms have nothing to do with each
// other, even where they share an epoch.
//
// Positions: offsets of a room grow with each event and may skip numbers. An
// epoch and an offset never name two different events, whatever happens to the
// server: a broker that has lost events, or can't be sure that it has not,
// begins a new epoch, and an old one never comes back. Epochs are 1 to 32
// characters of [A-Za-z0-9_-].
//
// All methods are called from many goroutines, and return soon after their
// context is done. Errors that a peer should see are *holdfast.Error; any other
// is shown as INTERNAL. An implementation is closed by whoever made it, after
// the hub; calls that wait then return, and later ones fail.
//
// Package brokertest has all of this as tests.
type Broker interface {
	// Publish appends ev to its room and returns its position. It sets nothing
	// in ev, and keeps nothing that ev points to once it has returned. All of ev
	// reaches receivers and history as it is, with Position and Time besides.
	//
	// It is atomic: looking the id up, taking an offset, appending, and
	// remembering the id are one step, in which no other Publish to the room has
	// a part, by whatever process. If ev.ID is not empty and an event with the
	// same ID, From and Scope was appended to the same room in the same epoch
	// before, nothing is appended and the position of the first one is returned, also if
	// the two meet. An id is remembered for some minutes at least, within bounds
	// of memory, and even if history keeps its event no more; it is lost with its
	// epoch. An error means that the event may or may not have been appended;
	// repeating with the same ID is then safe.
	//
	// Publish may wait while the room's readers are behind. It may return
	// before or after the event is delivered.
	Publish(ctx context.Context, ev *holdfast.Event) (holdfast.Position, error)

	// Subscribe begins handing the room's events to r, and returns a position
	// such that every event after it either is handed to r or shows as a gap
	// there, or is followed by r.Stale. Calls to r may begin before Subscribe
	// returns, and events at or before the position may be among them. After an
	// error there is no subscription.
	//
	// The hub has at most one subscription to a room: it subscribes again only
	// after Unsubscribe returned.
	Subscribe(ctx context.Context, room string, r Receiver) (holdfast.Position, error)

	// Unsubscribe ends a subscription. It does not wait for the network, nor
	// for a call to the Receiver that is under way or about to begin: it may be
	// called from within one. The Receiver ignores such a late call.
	Unsubscribe(ctx context.Context, room string) error

	// History returns the events strictly after since that are kept, oldest
	// first; with since nil the newest ones. A limit over 0 bounds their number,
	// to the first of them, or with since nil to the last; otherwise the answer
	// is complete up to its Position: the two are of one moment.
	//
	// It reflects at least every event that was handed to a Receiver of this
	// process, and every Publish of this process that returned, before it was
	// called. A room that nobody used yet has a position too, which stays valid
	// if it is used next.
	History(ctx context.Context, room string, since *holdfast.Position, limit int) (History, error)
}

// UnknownOffset is what a broker gives to Receiver.Deliver for an offset that
// it does not know.
const UnknownOffset uint64 = math.MaxUint64

// Receiver is the hub's side of a subscription. A broker calls the methods of
// one Receiver one at a time. They return without waiting for anybody's
// network, and hold no lock that a broker's method would need.
type Receiver interface {
	// Deliver hands over an event with its Position and Time. The hub keeps ev:
	// it must not change afterwards.
	//
	// prev is the offset of the room's event before ev in the same epoch: 0 if
	// there was none, UnknownOffset if the broker can't tell, which costs a
	// reading of History. Events come in order except that some may be missing,
	// which the next one's prev or Stale shows, and that some may come again or
	// late, even when another epoch has begun. The hub puts that right from
	// History.
	Deliver(ev *holdfast.Event, prev uint64)
	// Stale says that events may be missing, or that the epoch may have changed,
	// without an event to show it: after a reconnect, for instance. The broker
	// calls it once it can answer again; the hub then reads History.
	Stale()
}

// History is what was read of a room's history.
type History struct {
	// Events are oldest first. They are shared: nobody may change them.
	Events []*holdfast.Event
	// Position is the room's present one: that of its last event, or a later
	// one that is before any event to come.
	Position holdfast.Position
	// Recovered reports that Events continue since without a gap. It is false
	// where since is of another epoch, lies ahead of Position, or where
	// something after it is kept no more; Events are then empty. With since nil
	// it is true.
	Recovered bool
}
