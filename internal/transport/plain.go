package transport

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/wsframe"
)

// transportPlain is what Conn.Transport returns for connections of a Plain.
const transportPlain = "ws"

// PlainConfig says how a Plain behaves. Everything but Open may be left zero;
// the defaults are those of EngineConfig.
type PlainConfig struct {
	// PingInterval is the time between a Pong (or the handshake) and the next
	// Ping control frame, which browsers and other clients answer by
	// themselves. Default: 25 s.
	PingInterval time.Duration
	// PingTimeout is how long the peer may take to answer a Ping, and also to
	// finish a message that it began. Default: 20 s.
	PingTimeout time.Duration
	// WriteTimeout is how long one write may wait for a peer that does not
	// read. Default: 10 s.
	WriteTimeout time.Duration
	// CloseTimeout is how long a closed connection may take to be flushed and
	// to answer the close. Default: 5 s.
	CloseTimeout time.Duration

	// MaxPayload bounds, in bytes, a message over all its fragments; over it
	// the connection is closed with 1009. Default: 1,000,000.
	MaxPayload int
	// QueueBytes bounds the unsent data of a connection; over it the connection
	// is closed with SLOW_CONSUMER. A frame on its own may be larger.
	// Default: 1 MiB.
	QueueBytes int
	// Drops counts what the queues of all connections drop. Default: nobody
	// counts.
	Drops *hub.Drops

	// Binary delivers binary messages too. Default: such a message is a
	// PROTOCOL_ERROR, and closes the connection with 1003.
	Binary bool

	// ReaderEach has each connection read by a goroutine of its own, also where a
	// few goroutines could read all of them. Default: that is done on Linux, for
	// connections that are bare TCP.
	ReaderEach bool

	// Compression accepts permessage-deflate (RFC 7692) from clients that offer
	// it, without context takeover. Default: no extension is accepted.
	Compression bool
	// CompressFrom is how many bytes a message has at the least to be sent
	// compressed. Default: 1,024.
	CompressFrom int

	// Check is called before any work is done on a request; its error is
	// answered over HTTP. This is the place for Origin, drain and rates.
	// Default: all may pass.
	Check func(r *http.Request) error
	// Open is called for each new connection before its opening handshake is
	// answered, which waits for it. What is sent in Open follows the handshake.
	// An error is shown to the client where scripts of a page can see it: the
	// handshake succeeds, and a close with the error's close code and code
	// follows. Open is required.
	Open func(c *Conn) (Receiver, error)

	// Logger gets what no caller can: faults of receivers, at level Error, and
	// refusals, at level Debug. Default: nothing is logged.
	Logger *slog.Logger
}

// Plain is an http.Handler for WebSockets without Engine.IO: a text message
// is a message. Its sessions are Conns, and its Receivers are kept to the same
// terms as an Engine's; frames for them are made by NewTextFrame. It is safe
// for concurrent use.
//
// A binary message is a PROTOCOL_ERROR unless PlainConfig.Binary is set, and
// closes the connection with 1003 (RFC 6455 §7.4.1: a type of data that can't be
// accepted).
type Plain struct{ *host }

// NewPlain returns a Plain. It panics if cfg.Open is nil.
func NewPlain(cfg PlainConfig) *Plain {
	if cfg.Open == nil {
		panic("transport: PlainConfig.Open is nil")
	}
	p := &Plain{newHost(EngineConfig{
		PingInterval: cfg.PingInterval,
		PingTimeout:  cfg.PingTimeout,
		WriteTimeout: cfg.WriteTimeout,
		CloseTimeout: cfg.CloseTimeout,
		MaxPayload:   cfg.MaxPayload,
		QueueBytes:   cfg.QueueBytes,
		ReaderEach:   cfg.ReaderEach,
		Compression:  cfg.Compression,
		CompressFrom: cfg.CompressFrom,
		Drops:        cfg.Drops,
		Check:        cfg.Check,
		Open:         cfg.Open,
		Logger:       cfg.Logger,
	}.withDefaults())}
	p.plain, p.binary = true, cfg.Binary
	return p
}

// ServeHTTP opens a connection. A GET that does not ask for a WebSocket is
// answered 426 and another method 405, with an error body. The handler's own
// path does not matter to it.
func (p *Plain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := p.serve(w, r); err != nil {
		p.refuse(w, r, err)
	}
}

// serve answers r, unless it returns an error.
func (p *Plain) serve(w http.ResponseWriter, r *http.Request) error {
	if p.cfg.Check != nil {
		if err := p.cfg.Check(r); err != nil {
			return err
		}
	}
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		p.refuse(withStatus{w, http.StatusMethodNotAllowed}, r, holdfast.Errorf(holdfast.ProtocolError, "a WebSocket is opened by GET"))
		return nil
	case !asksForWebSocket(r):
		h := w.Header()
		h.Set("Upgrade", transportWebSocket) // RFC 9110 §15.5.22
		h.Set("Connection", "Upgrade")       // §7.8
		h.Set("Sec-WebSocket-Version", "13")
		p.refuse(withStatus{w, http.StatusUpgradeRequired}, r, holdfast.Errorf(holdfast.ProtocolError, "this address speaks WebSocket"))
		return nil
	}
	if err := checkUpgrade(w, r); err != nil {
		return err
	}
	if !p.enter() {
		return holdfast.GoingAway.New()
	}
	defer p.leave()
	c, err := p.open(r, nil)
	if err != nil {
		return p.refuseWebSocket(w, r, holdfast.AsError(err))
	}
	c.run(w, r, nil)
	return nil
}

// asksForWebSocket reports whether r wants to leave HTTP for WebSocket, well
// or badly.
func asksForWebSocket(r *http.Request) bool {
	return hasToken(r.Header["Upgrade"], transportWebSocket) && hasToken(r.Header["Connection"], "upgrade")
}

// withStatus gives an answer another status than its code has.
type withStatus struct {
	http.ResponseWriter
	status int
}

func (w withStatus) WriteHeader(int) { w.ResponseWriter.WriteHeader(w.status) }

// message takes a message of a plain WebSocket.
func (c *Conn) message(data []byte, binary bool, t *Turn) {
	if binary && !c.host.binary {
		c.end(ending{code: wsframe.Unsupported, flush: true,
			err: holdfast.Errorf(holdfast.ProtocolError, "binary messages are not accepted")})
		return
	}
	c.deliver(data, binary, t)
}
