package server

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"

	"github.com/holdfast-dev/holdfast"
)

// Join is somebody's way into a room.
type Join struct {
	// Conn is the connection that joins; nil where somebody asks to read the
	// room over HTTP, by polling, its history or who is there. It may not be connected yet
	// where an OnConnect function joins.
	Conn *Conn
	// Identity is who it is, as the permissions were checked. It is shared: do
	// not change it.
	Identity *holdfast.Identity
	Room     string
	// Since is from where the client wants to resume; nil for what is new.
	Since *holdfast.Position
	// Presence is the user's presence data in the room as the client sent it,
	// JSON of at most 4 KiB, nil for none. An OnJoin function may replace it; do
	// not change its bytes.
	Presence json.RawMessage
	// Position is up to where the client was served when it was in the room; the
	// zero Position in OnJoin.
	Position holdfast.Position
}

// Publish is an event on its way into a room.
type Publish struct {
	// Conn is the connection that publishes; nil for HTTP, and for the program
	// itself.
	Conn *Conn
	// Identity is who it is; nil for a backend with an API key, and for the
	// program itself. It is shared: do not change it.
	Identity *holdfast.Identity
	// Event is what is published. An OnPublish function may replace its Name, its
	// Data (JSON) and its Attachments, but not change their bytes; what it does
	// to the other fields has no effect. Position is set once it is published;
	// Time is not.
	Event *holdfast.Event
}

// Leave is the end of a connection's time in a room.
type Leave struct {
	Conn *Conn
	Room string
	// Disconnected: the connection ended, or left its namespace, and was in the
	// room until then.
	Disconnected bool
	// Err is why. It is nil where the client or the program asked for it, and
	// for a disconnect in order. FORBIDDEN: the right to be there ended.
	// INTERNAL or RATE_LIMITED: the room could not be carried on without a gap.
	Err *holdfast.Error
}

// Observer is told what has happened, in all namespaces: for logs, counters,
// and outboxes. It can't refuse anything. Each of its functions may be nil.
//
// What is about one connection is told one call at a time, in this order:
// Connected, then Joined and Left of each room in turn, then Disconnected. It
// does not wait for the function, up to 256 calls a connection; then that
// connection's next join waits. A connection that an OnConnect function refused
// has no Connected and no Disconnected, but Joined and Left if it was in a room.
// Each call's ctx carries the identity and ends after 10 s, or when Shutdown
// gives up; it outlives the connection. A panic is logged.
type Observer struct {
	// Connected follows the OnConnect functions.
	Connected func(ctx context.Context, c *Conn)
	// Joined follows a join that succeeded. There is none for reading over HTTP.
	Joined func(ctx context.Context, j Join)
	// Left is told what OnLeave's function is.
	Left func(ctx context.Context, l Leave)
	// Disconnected is told what OnDisconnect's function is.
	Disconnected func(ctx context.Context, c *Conn, err error)
	// Published follows each event that was appended to a room, by anybody, the
	// program included; it is called before the publisher has his answer, who
	// waits for it. Events of one room may be told in another order than that of
	// their Positions. One that is published again under its id may be told again.
	Published func(ctx context.Context, p Publish)
}

// hookSet is what a Server has to call; it is replaced and never changed.
type hookSet struct {
	join      []func(context.Context, *Join) error
	publish   []func(context.Context, *Publish) error
	observers []Observer
}

// hooks holds the functions that were registered with a Server.
type hooks struct {
	set atomic.Pointer[hookSet] // nil as long as there are none
	mu  sync.Mutex              // held while set is replaced
}

func (h *hooks) add(change func(*hookSet)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := new(hookSet)
	if old := h.set.Load(); old != nil {
		// What is appended below must not show in the old set.
		next.join = old.join[:len(old.join):len(old.join)]
		next.publish = old.publish[:len(old.publish):len(old.publish)]
		next.observers = old.observers[:len(old.observers):len(old.observers)]
	}
	change(next)
	h.set.Store(next)
}

// load returns what is registered, which nobody may change.
func (h *hooks) load() hookSet {
	if set := h.set.Load(); set != nil {
		return *set
	}
	return hookSet{}
}

// OnJoin adds a function that is asked about each join of a room, on every
// transport, once the permissions have allowed it. An error refuses the join
// with the error's code; any error that is no *holdfast.Error is INTERNAL,
// logged, and hidden from the client. It may replace j.Presence, and nothing
// else. Functions are called in the order in which they were added, each with
// what the one before it left.
//
// It is not asked about a room that the connection is in already, and not
// again when the identity is refreshed: what has to end with a right belongs
// into the permissions. Where somebody reads over HTTP it is asked at each
// request.
//
// fn is called without locks and may block for as long as ctx lives; further
// messages of that connection wait for it. ctx carries the identity. It ends,
// and the join fails whatever fn says, when the right is lost or the room left
// meanwhile, and 5 s after the connection at the latest.
func (s *Server) OnJoin(fn func(ctx context.Context, j *Join) error) {
	s.hooks.add(func(set *hookSet) { set.join = append(set.join, fn) })
}

// OnPublish adds a function that is asked about each event that a client or a
// backend publishes to a room, on every transport, once the permissions have
// allowed it; what the program itself publishes is not asked about, and neither
// are signals, which need the right to publish alone. An error
// refuses as OnJoin's does. It may replace the event's Name, Data and
// Attachments, which are checked again; never the other fields. Under
// an ID that was used before, nothing is published whatever fn makes of it.
//
// fn is called without locks and may block for as long as ctx lives, which
// ends 5 s after the connection or the request at the latest; further messages
// of that connection wait for it.
func (s *Server) OnPublish(fn func(ctx context.Context, p *Publish) error) {
	s.hooks.add(func(set *hookSet) { set.publish = append(set.publish, fn) })
}

// OnLeave adds a function that is called once for each join that succeeded,
// after its end, whatever ended it: see Leave. For one connection it is called
// in order and one call at a time. ctx carries the identity, outlives the
// connection, and ends after 10 s, or when Shutdown, which waits for fn, gives up.
func (s *Server) OnLeave(fn func(ctx context.Context, l Leave)) { s.Observe(Observer{Left: fn}) }

// Observe adds an Observer.
func (s *Server) Observe(o Observer) {
	s.hooks.add(func(set *hookSet) { set.observers = append(set.observers, o) })
}

// OnDisconnect adds a function that is called once for each connection that
// passed all OnConnect functions of the namespace, when it has left the
// namespace or is gone, after its OnLeave calls; where one of the OnConnect
// functions refused, it is not called. err is nil if the client left in order,
// else its code tells why: holdfast.CodeOf. It is called as OnLeave's is.
func (n *Namespace) OnDisconnect(fn func(ctx context.Context, c *Conn, err error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.onDisconnect = append(n.onDisconnect, fn)
}

func (n *Namespace) disconnectHooks() []func(context.Context, *Conn, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.onDisconnect
}
