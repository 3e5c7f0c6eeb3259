package hub

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-dev/holdfast"
)

// Limits that are not configured.
const (
	subscribeTimeout = 10 * time.Second // for one Subscribe
	historyTimeout   = 10 * time.Second // for one reading of history by the hub itself
	joinBufferBytes  = 256 << 10        // of events held for one join; fits a half-empty Queue
	joinAttempts     = 5                // of one join whose buffer overflows
	maxBehind        = 5                // readings of a history that is behind live delivery
	maxBackoff       = 5 * time.Second  // between readings of a history that can't be read
)

// Config configures a Hub. The zero value works.
type Config struct {
	// Broker orders and keeps the events. nil: a Memory with its defaults,
	// which the hub then owns and closes.
	Broker Broker
	// JoinBuffer bounds the events that are held for one join while it reads
	// history, and for one room while the hub closes a gap. 0: 256. (They are
	// bounded by 256 KiB as well.)
	JoinBuffer int
	// RoomsPerConnection bounds the rooms of one connection, over all its
	// sessions. 0: 128.
	RoomsPerConnection int
	// ConnectionsPerUser bounds the connections of one user. 0: 20. Anonymous
	// sessions are not counted.
	ConnectionsPerUser int
	// MaxData bounds an event's data with its attachments, in bytes. 0: 64 KiB.
	MaxData int
	// PresenceGrace is how long a user who has no connection in a room any more
	// is still present there, if others keep the room alive: who comes back in
	// time has not gone. 0: 5 s.
	PresenceGrace time.Duration
	// PresenceLimit bounds the users of a room who are told of each other. While
	// more are present, or a list of them would take more than 256 KiB of JSON,
	// joins are answered without one, and members get no notices of who comes,
	// goes or changes, but NoticePaused. Below 90 % of it they are told what
	// changed since, and get NoticeResumed. 0: 500; negative: no limit, and a
	// room of n users costs n² lists and notices to fill.
	PresenceLimit int
	// SignalRate bounds a user's signals a second over all his connections, and
	// those that come at once. Anonymous connections count one by one. 0: 20;
	// negative: no limit.
	SignalRate float64
	// Overflow says what becomes of slow readers of a room. It is called once
	// for each room that is made, without locks, and should not block. nil:
	// OverflowClose in every room.
	Overflow func(room string) RoomOverflow
	// FannedOut is told how long it took to encode an event and to queue it to
	// its room's members, where there are any: it is called once an event, without
	// locks, from many goroutines, and must not block. nil: nobody measures.
	FannedOut func(took time.Duration)
	// Logger gets what operators should know. nil: none.
	Logger *slog.Logger
}

// Hub is the rooms of one process. It is safe for concurrent use.
type Hub struct {
	// Static after New.
	cfg    Config
	broker Broker
	own    *Memory // the broker, if the hub made it
	log    *slog.Logger
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	wg     sync.WaitGroup // one for each room in rooms, and for each goroutine
	stats  counts
	groups atomic.Uint64 // numbers them
	// lagging counts rooms whose lags is set.
	lagging atomic.Int64

	mu sync.Mutex
	// Guarded by mu, as are the fields of rooms and connections that say so.
	closed bool
	rooms  map[string]*room
	conns  map[string]*connection
	users  map[string]int // connections of each user who has any
	// signals has the rates of who is connected and has sent a signal.
	signals map[signaller]*rate.Limiter
	in      int // memberships and joins under way
}

// connection is what the sessions of one connection share.
type connection struct {
	// Static.
	id   string
	user string

	// Guarded by Hub.mu.
	sessions []*Session
	rooms    int
}

// New makes a Hub. Close it after use.
func New(cfg Config) *Hub {
	cfg.JoinBuffer = cmp.Or(cfg.JoinBuffer, 256)
	cfg.RoomsPerConnection = cmp.Or(cfg.RoomsPerConnection, 128)
	cfg.ConnectionsPerUser = cmp.Or(cfg.ConnectionsPerUser, 20)
	cfg.MaxData = cmp.Or(cfg.MaxData, 64<<10)
	cfg.PresenceGrace = cmp.Or(cfg.PresenceGrace, 5*time.Second)
	cfg.PresenceLimit = cmp.Or(cfg.PresenceLimit, 500)
	cfg.SignalRate = cmp.Or(cfg.SignalRate, 20)
	h := &Hub{
		cfg:    cfg,
		broker: cfg.Broker,
		log:    cfg.Logger,
		rooms:  make(map[string]*room),
		conns:  make(map[string]*connection),
		users:  make(map[string]int),

		signals: make(map[signaller]*rate.Limiter),
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	if h.broker == nil {
		h.own = NewMemory(MemoryConfig{})
		h.broker = h.own
	}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// Close closes all sessions, leaves all rooms, and waits for that and for the
// hub's goroutines; joins under way are cancelled. It closes the broker only if
// New made it. It must not be called from a Sink, an Encoder or a callback.
func (h *Hub) Close() error {
	h.mu.Lock()
	h.closed = true
	var sessions []*Session
	for _, c := range h.conns {
		sessions = append(sessions, c.sessions...)
	}
	h.mu.Unlock()
	for _, s := range sessions {
		s.Close()
	}
	h.stop()
	h.wg.Wait()
	if h.own != nil {
		return h.own.Close()
	}
	return nil
}

// SessionConfig describes a session to be opened.
type SessionConfig struct {
	// ID names the session; Connection the connection that it came on, which
	// several sessions (namespaces) may share. Connection "" means ID.
	ID         string
	Connection string
	// Identity is who it is; nil: anonymous, without any right.
	Identity *holdfast.Identity
	// Sink and Encoder send to it; both are required.
	Sink    Sink
	Encoder Encoder
	// Left is told of a room that the session lost without asking: its right
	// to be there ended (FORBIDDEN), or the room could not be carried on without
	// a gap (INTERNAL, or RATE_LIMITED: join again). It is called without locks,
	// in the goroutine of SetIdentity, Join or one of the hub's, and may call
	// the session, but not close the hub; it should return soon. It may be nil.
	Left func(room string, err *holdfast.Error)
	// Ended is told of the end of each membership whose join succeeded, exactly
	// once, before another join of the room can begin: err is nil where the
	// session left, GOING_AWAY where it was closed, and what Left hears
	// otherwise. It is called as Left is, before it, and must not call the
	// session. It may be nil.
	Ended func(room string, err *holdfast.Error)
}

// Open opens a session. Close it after use. It fails with CONNECTION_LIMIT if
// the user has too many connections, with CONFLICT if the connection is
// another user's, and with GOING_AWAY once the hub is closed.
func (h *Hub) Open(cfg SessionConfig) (*Session, error) {
	if cfg.Sink == nil || cfg.Encoder == nil {
		return nil, holdfast.Errorf(holdfast.Internal, "hub: a session needs a Sink and an Encoder")
	}
	if cfg.Identity == nil {
		cfg.Identity = new(holdfast.Identity)
	}
	user, id := cfg.Identity.User, cmp.Or(cfg.Connection, cfg.ID)
	s := &Session{hub: h, id: cfg.ID, sink: cfg.Sink, encoder: cfg.Encoder, left: cfg.Left, ended: cfg.Ended, identity: cfg.Identity}

	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, holdfast.GoingAway.New()
	}
	conn := h.conns[id]
	switch {
	case conn == nil:
		if user != "" {
			if h.users[user] >= h.cfg.ConnectionsPerUser {
				err := holdfast.Errorf(holdfast.ConnectionLimit, "A user may have %d connections", h.cfg.ConnectionsPerUser)
				err.RetryAfter = 5 * time.Second
				return nil, err
			}
			h.users[user]++
		}
		conn = &connection{id: id, user: user}
		h.conns[id] = conn
	case conn.user != user:
		return nil, holdfast.Errorf(holdfast.Conflict, "The connection is another user's")
	}
	conn.sessions = append(conn.sessions, s)
	s.conn = conn
	return s, nil
}

// forget takes a closed session off its connection, and off the books with the
// last one.
func (h *Hub) forget(s *Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := s.conn
	i := slices.Index(c.sessions, s)
	if i < 0 {
		return
	}
	c.sessions = slices.Delete(c.sessions, i, i+1)
	if len(c.sessions) > 0 {
		return
	}
	delete(h.conns, c.id)
	if c.user == "" {
		delete(h.signals, c.signaller())
		return
	}
	if h.users[c.user]--; h.users[c.user] == 0 {
		delete(h.users, c.user)
		delete(h.signals, c.signaller())
	}
}

// acquire returns the room, made if need be, with one more reference that
// counts for the connection. The room may still be subscribing: see await.
func (h *Hub) acquire(ctx context.Context, name string, c *connection) (*room, error) {
	for {
		h.mu.Lock()
		if h.closed {
			h.mu.Unlock()
			return nil, holdfast.GoingAway.New()
		}
		if c.rooms >= h.cfg.RoomsPerConnection {
			h.mu.Unlock()
			return nil, holdfast.Errorf(holdfast.Conflict, "A connection may be in %d rooms; leave one first", h.cfg.RoomsPerConnection)
		}
		r := h.rooms[name]
		if r != nil && r.state == roomClosing {
			wake := r.wakeup()
			h.mu.Unlock()
			select {
			case <-wake:
				continue
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
		if r == nil {
			r = &room{hub: h, name: name, busy: true}
			h.rooms[name] = r
			h.wg.Add(1)
			h.wg.Go(r.subscribe)
		}
		r.refs++
		c.rooms++
		h.in++
		h.mu.Unlock()
		return r, nil
	}
}

// uncount takes a room off the connection's count. The reference stays.
func (h *Hub) uncount(c *connection) {
	h.mu.Lock()
	c.rooms--
	h.in--
	h.mu.Unlock()
}

// release gives a reference back, and the room with the last one.
func (h *Hub) release(r *room) {
	h.mu.Lock()
	r.refs--
	h.closeIfUnused(r)
}

// closeIfUnused is called with mu held, and unlocks it. A room that is still
// subscribing closes itself when that is done.
func (h *Hub) closeIfUnused(r *room) {
	if r.refs > 0 || r.state != roomLive {
		h.mu.Unlock()
		return
	}
	r.state = roomClosing
	h.mu.Unlock()

	r.kill()
	if err := h.broker.Unsubscribe(context.Background(), r.name); err != nil {
		h.log.Warn("broker: unsubscribe failed", "room", r.name, "error", err)
	}
	h.mu.Lock()
	h.drop(r)
	h.mu.Unlock()
}

// drop takes a room off the map and wakes who waits for that. mu is held.
func (h *Hub) drop(r *room) {
	delete(h.rooms, r.name)
	r.wakeAll()
	h.wg.Done()
}
