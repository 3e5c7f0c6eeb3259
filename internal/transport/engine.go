package transport

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/engineio"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/httpjson"
)

// The names of the transports, in queries and in handshakes.
const (
	transportPolling   = "polling"
	transportWebSocket = "websocket"
)

// Engine is an http.Handler that speaks Engine.IO. It is safe for concurrent
// use.
type Engine struct {
	// Static after construction.
	cfg   EngineConfig
	start time.Time
	ping  *hub.Frame

	pool buffers

	// wg counts sessions, goroutines, and requests being answered. It is added
	// to only under mu before closed is set, or while one is counted already.
	wg sync.WaitGroup

	mu     sync.Mutex
	conns  map[string]*Conn // guarded by mu
	closed bool             // guarded by mu
}

// NewEngine returns an Engine. It panics if cfg.Open is nil.
func NewEngine(cfg EngineConfig) *Engine {
	if cfg.Open == nil {
		panic("transport: EngineConfig.Open is nil")
	}
	return &Engine{
		cfg:   cfg.withDefaults(),
		start: time.Now(),
		ping:  NewFrame([]byte{byte(engineio.Ping)}),
		conns: make(map[string]*Conn),
	}
}

// Len returns the number of sessions, those included that are being closed.
func (e *Engine) Len() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.conns)
}

// Close refuses new sessions with GOING_AWAY and closes all others with it,
// after what is queued for them. It waits until all of them have ended and no
// goroutine is left, or until ctx ends: then it cuts what is still open and
// returns ctx's error. Further calls do the same again.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	for _, c := range e.all() {
		c.Close(holdfast.GoingAway.New())
	}
	done := make(chan struct{})
	go func() { // ends with the last session, at the latest after the cut
		e.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	for _, c := range e.all() {
		c.cut()
	}
	return ctx.Err()
}

func (e *Engine) all() []*Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	conns := make([]*Conn, 0, len(e.conns))
	for _, c := range e.conns {
		conns = append(conns, c)
	}
	return conns
}

// enter counts a request that may open a session; leave ends it.
func (e *Engine) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.wg.Add(1)
	return true
}

// find returns a session and counts the request for it, or nil.
func (e *Engine) find(sid string) *Conn {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.conns[sid]
	if c != nil {
		e.wg.Add(1)
	}
	return c
}

func (e *Engine) leave() { e.wg.Done() }

// register makes a session known; false if the engine was closed meanwhile.
func (e *Engine) register(c *Conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return false
	}
	e.conns[c.id] = c
	e.wg.Add(1)
	return true
}

// forget is called once for each registered session, when nothing more will
// be started for it.
func (e *Engine) forget(c *Conn) {
	e.mu.Lock()
	delete(e.conns, c.id)
	e.mu.Unlock()
	e.wg.Done()
}

// instant is a time since the start of the engine: short to store and to
// compare. 0 means never.
type instant time.Duration

func (e *Engine) now() instant { return instant(time.Since(e.start)) }

func (i instant) add(d time.Duration) instant { return i + instant(d) }

// ServeHTTP answers one request of a session, or opens one. The handler's own
// path does not matter to it.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions { // preflights are answered before this handler
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if err := e.serve(w, r); err != nil {
		code := holdfast.CodeOf(err)
		if code == holdfast.Internal {
			e.cfg.Logger.Error("session not opened", "error", err)
		} else {
			e.cfg.Logger.Debug("request refused", "code", string(code), "reason", holdfast.AsError(err).Message)
		}
		httpjson.WriteError(w, r, err)
	}
}

// serve answers r, unless it returns an error.
func (e *Engine) serve(w http.ResponseWriter, r *http.Request) error {
	if e.cfg.Check != nil {
		if err := e.cfg.Check(r); err != nil {
			return err
		}
	}
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	if q.sid == "" {
		if r.Method != http.MethodGet {
			return holdfast.Errorf(holdfast.ProtocolError, "a session is opened by GET")
		}
		if !e.enter() {
			return holdfast.GoingAway.New()
		}
		defer e.leave()
		if q.transport == transportWebSocket {
			return e.openWebSocket(w, r)
		}
		return e.openPolling(w, r)
	}
	c := e.find(q.sid)
	if c == nil {
		return unknownSession()
	}
	defer e.leave()
	switch {
	case q.transport == transportWebSocket:
		return c.serveUpgrade(w, r)
	case r.Method == http.MethodPost:
		return c.servePost(w, r)
	default:
		return c.servePoll(w, r)
	}
}

func unknownSession() error {
	return holdfast.Errorf(holdfast.ProtocolError, "unknown session id")
}

// query is what the protocol puts into the query string.
type query struct{ transport, sid string }

// maxSID bounds, in bytes, the ids that are looked up.
const maxSID = 256

func parseQuery(r *http.Request) (query, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return query{}, holdfast.Errorf(holdfast.ProtocolError, "bad method")
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, holdfast.Errorf(holdfast.ProtocolError, "bad query")
	}
	for _, name := range []string{"EIO", "transport", "sid"} {
		// A proxy may route by another one of them than is read here.
		if len(values[name]) > 1 {
			return query{}, holdfast.Errorf(holdfast.ProtocolError, "%s is there twice", name)
		}
	}
	q := query{transport: values.Get("transport"), sid: values.Get("sid")}
	switch {
	case values.Get("EIO") != "4":
		return q, holdfast.Errorf(holdfast.ProtocolError, "unsupported protocol version")
	case q.transport != transportPolling && q.transport != transportWebSocket:
		return q, holdfast.Errorf(holdfast.ProtocolError, "unknown transport")
	case q.transport == transportWebSocket && r.Method != http.MethodGet:
		return q, holdfast.Errorf(holdfast.ProtocolError, "bad method")
	case len(q.sid) > maxSID, q.sid == "" && values.Has("sid"):
		return q, unknownSession()
	}
	return q, nil
}

// open makes a session for r and asks Open about it.
func (e *Engine) open(r *http.Request, poll *polling) (*Conn, error) {
	c := &Conn{
		engine:     e,
		id:         newSID(e.cfg.Node),
		request:    newRequest(r),
		poll:       poll,
		delivering: true, // until Open has returned, so that Closed comes after it
	}
	c.queue.Limit = e.cfg.QueueBytes
	if poll != nil {
		poll.posted.L = &c.mu
	}
	receiver, err := e.cfg.Open(c)
	if err == nil && receiver == nil {
		err = holdfast.Errorf(holdfast.Internal, "Open returned no receiver")
	}
	if err != nil {
		c.end(ending{err: holdfast.AsError(err)}) // for its context
		return nil, err
	}
	c.receiver = receiver
	if err := c.begin(); err != nil {
		return nil, err
	}
	return c, nil
}

// handshake returns the open packet.
func (e *Engine) handshake(c *Conn, upgrades ...string) []byte {
	return engineio.Handshake{
		SID:          c.id,
		Upgrades:     upgrades,
		PingInterval: e.cfg.PingInterval,
		PingTimeout:  e.cfg.PingTimeout,
		MaxPayload:   e.cfg.MaxPayload,
	}.Append([]byte{byte(engineio.Open)})
}
