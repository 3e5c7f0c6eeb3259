// Package queue keeps what a client could not send yet: in memory, or in a file
// that survives the process and may be shared by several.
//
// A client's socket sends the items of the user who is signed in, in their
// order and one at a time, and takes each out when the server has acknowledged
// it. An item has an id, by which the server applies it once, however often
// it is sent.
package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-dev/holdfast"
)

// Defaults of Limits.
const (
	DefaultItems = 200
	DefaultBytes = 1 << 20
	DefaultDead  = 100
)

// Errors of this package.
var (
	// ErrFull: the item does not fit; nothing was kept.
	ErrFull = errors.New("queue: full")
	// ErrDropped: the item had to make room for newer ones (Limits.DropOldest).
	ErrDropped = errors.New("queue: dropped to make room")
	// ErrClosed: Close was called.
	ErrClosed = errors.New("queue: closed")
)

// Queue is where a socket keeps what it could not send. All methods may be
// called from any goroutine; several processes may share what is kept, and
// each sees what the others do.
type Queue interface {
	// Add keeps an item, behind all others. When it returns the item is as safe
	// as the queue makes it. ErrFull if it does not fit.
	Add(ctx context.Context, item Item) error
	// Next waits for the oldest item of a lane, and returns it without taking
	// it out.
	Next(ctx context.Context, lane Lane) (Item, error)
	// Remove takes an item out: because it was acknowledged or withdrawn, where
	// cause is nil; else because the server will never take it, and then it
	// goes to the dead ones. It reports whether it was there.
	Remove(ctx context.Context, id string, cause *holdfast.Error) (bool, error)
	// Gone waits until an item isn't there any more, whoever took it out. The
	// result is nil unless it died. ErrDropped if it had to make room.
	Gone(ctx context.Context, id string) (*Dead, error)
	// Lead waits until nobody else sends what is in a lane, over all processes,
	// and returns what lets the next one. It ends with the process.
	Lead(ctx context.Context, lane Lane) (release func(), err error)
}

// Lane is what one connection sends of a queue: the items of one user in one
// namespace, in their order.
type Lane struct {
	// User is as in Item.
	User string
	// Namespace is as in Item.
	Namespace string
}

// Item is an event that waits to be sent.
type Item struct {
	// ID is a ULID; NewID makes one. It is sent along.
	ID string `json:"id"`
	// User is whose it is: it is never sent as anybody else. "" for nobody
	// signed in.
	User string `json:"user,omitempty"`
	// Namespace and Event are where it goes.
	Namespace string `json:"namespace"`
	Event     string `json:"event"`
	// Args are the event's arguments, a JSON array in which binary parts show
	// as placeholders of Attachments.
	Args        json.RawMessage `json:"args"`
	Attachments [][]byte        `json:"attachments,omitempty"`
	// Added is when it was put into the queue.
	Added time.Time `json:"added"`
}

// Lane is where it waits.
func (i *Item) Lane() Lane { return Lane{User: i.User, Namespace: i.Namespace} }

// size is what an item counts for in Limits.Bytes.
func (i *Item) size() int {
	n := len(i.ID) + len(i.User) + len(i.Namespace) + len(i.Event) + len(i.Args)
	for _, a := range i.Attachments {
		n += len(a)
	}
	return n
}

func (i *Item) check() error {
	if !validID(i.ID) {
		return fmt.Errorf("queue: the item's id %q is no ULID", i.ID)
	}
	if i.Event == "" || !json.Valid(i.Args) {
		return errors.New("queue: the item has no event, or arguments that are no JSON")
	}
	return nil
}

// Dead is an item that the server refused for good.
type Dead struct {
	Item Item `json:"item"`
	// Code and Message are the refusal's; Died is when it came.
	Code    holdfast.Code `json:"code"`
	Message string        `json:"message"`
	Died    time.Time     `json:"died"`
}

// Limits bound a queue. The zero value is the defaults.
type Limits struct {
	// Items and Bytes bound what waits: 200 items, and 1 MiB of events and
	// arguments. Beyond them Add returns ErrFull.
	Items int
	Bytes int
	// Dead bounds the dead items, of which the oldest are forgotten: 100.
	Dead int
	// DropOldest makes room for a new item by dropping the oldest ones instead
	// of refusing it. Dropped is told of each, without locks; it may be nil.
	DropOldest bool
	Dropped    func(Item)
}

func (l Limits) withDefaults() Limits {
	if l.Items <= 0 {
		l.Items = DefaultItems
	}
	if l.Bytes <= 0 {
		l.Bytes = DefaultBytes
	}
	if l.Dead <= 0 {
		l.Dead = DefaultDead
	}
	return l
}
