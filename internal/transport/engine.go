package transport

import (
	"net/http"
	"net/url"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/engineio"
)

// The names of the transports, in queries and in handshakes.
const (
	transportPolling   = "polling"
	transportWebSocket = "websocket"
)

// Engine is an http.Handler that speaks Engine.IO. It is safe for concurrent
// use.
type Engine struct{ *host }

// NewEngine returns an Engine. It panics if cfg.Open is nil.
func NewEngine(cfg EngineConfig) *Engine {
	if cfg.Open == nil {
		panic("transport: EngineConfig.Open is nil")
	}
	e := &Engine{newHost(cfg.withDefaults())}
	e.ping = NewFrame([]byte{byte(engineio.Ping)})
	return e
}

// ServeHTTP answers one request of a session, or opens one. The handler's own
// path does not matter to it.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions { // preflights are answered before this handler
		w.Header().Set("Allow", "GET, POST")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if err := e.serve(w, r); err != nil {
		e.refuse(w, r, err)
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

// openWebSocket opens a session on a WebSocket of its own.
func (e *Engine) openWebSocket(w http.ResponseWriter, r *http.Request) error {
	if err := checkUpgrade(w, r); err != nil {
		return err
	}
	c, err := e.open(r, nil)
	if err != nil {
		return err
	}
	c.run(w, r, NewFrame(e.handshake(c)))
	return nil
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
