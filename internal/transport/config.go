package transport

import (
	"cmp"
	"encoding/base64"
	"log/slog"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast/engineio"
	"github.com/holdfast-dev/holdfast/hub"
)

// EngineConfig says how an Engine behaves. Everything but Open may be left
// zero.
type EngineConfig struct {
	// PingInterval is the time between a pong (or the handshake) and the next
	// ping. Default: 25 s.
	PingInterval time.Duration
	// PingTimeout is how long the peer may take to answer a ping, and also to
	// finish a message or a request body that it began. Default: 20 s.
	PingTimeout time.Duration
	// UpgradeTimeout is how long an upgrade from polling to WebSocket may take.
	// Default: 10 s.
	UpgradeTimeout time.Duration
	// WriteTimeout is how long one write may wait for a peer that does not
	// read. Default: 10 s.
	WriteTimeout time.Duration
	// CloseTimeout is how long a closed connection may take to be flushed and to
	// answer the close; for polling, to fetch what is left. Default: 5 s.
	CloseTimeout time.Duration

	// MaxPayload bounds, in bytes, a WebSocket message over all its fragments
	// and the body of a polling request; it is told to the clients. Polling
	// answers stay below it too, unless a single message is larger.
	// Default: 1,000,000.
	MaxPayload int
	// MaxPackets bounds the packets of one polling payload, both ways.
	// Default: 64.
	MaxPackets int
	// QueueBytes bounds the unsent data of a connection; over it the connection
	// is closed with SLOW_CONSUMER. A frame on its own may be larger.
	// Default: 1 MiB.
	QueueBytes int
	// Drops counts what the queues of all connections drop. Default: nobody
	// counts.
	Drops *hub.Drops

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

	// Node names this process in every sid. A name with other characters than
	// letters, digits, '-' and '_' appears as its base64url. Default: no name.
	Node string

	// Check is called before any work is done on a request, except for the
	// method OPTIONS; its error is answered over HTTP, before any upgrade.
	// This is the place for Origin, drain and rates. Default: all may pass.
	Check func(r *http.Request) error
	// Open is called for each new session before its handshake is sent. Its
	// error refuses the session over HTTP. The connection may be used at once:
	// what is sent in Open follows the handshake. Open is required.
	Open func(c *Conn) (Receiver, error)

	// Logger gets what no caller can: faults of receivers, at level Error, and
	// refusals, at level Debug. Default: nothing is logged.
	Logger *slog.Logger
}

// Receiver is what an Engine delivers a session's messages to. The calls for
// one connection never overlap and keep the order of the wire, also across an
// upgrade.
type Receiver interface {
	// Message is called for each message. data is valid only during the call.
	// While it blocks, nothing more is read from the peer, unless it was allowed
	// to by Conn.Claim, and the heartbeat does not hold that against it; other
	// connections may be read some milliseconds late. A panic ends the connection
	// with INTERNAL.
	Message(c *Conn, data []byte, binary bool)
	// Closed is called once, as soon as the session is over and the last
	// Message has returned; nothing may be sent any more, and frames queued
	// before may still be on their way. err says why; it is nil when the peer
	// closed, and ErrLost or ErrPingTimeout is its cause when the peer went
	// without a word.
	Closed(c *Conn, err error)
}

// Ender is a Receiver that wants to know at once when its session ends, also
// while Message runs; Conn.Context tells that too, but costs memory. Ending is
// called before Closed, at most once, and not where the session ended before
// Open had returned. It must not wait for anything.
type Ender interface{ Ending() }

// withDefaults fills in what was left zero.
func (cfg EngineConfig) withDefaults() EngineConfig {
	cfg.PingInterval = cmp.Or(cfg.PingInterval, 25*time.Second)
	cfg.PingTimeout = cmp.Or(cfg.PingTimeout, 20*time.Second)
	cfg.UpgradeTimeout = cmp.Or(cfg.UpgradeTimeout, 10*time.Second)
	cfg.WriteTimeout = cmp.Or(cfg.WriteTimeout, 10*time.Second)
	cfg.CloseTimeout = cmp.Or(cfg.CloseTimeout, 5*time.Second)
	cfg.MaxPayload = cmp.Or(cfg.MaxPayload, 1_000_000)
	cfg.MaxPackets = cmp.Or(cfg.MaxPackets, engineio.MaxPackets)
	cfg.QueueBytes = cmp.Or(cfg.QueueBytes, hub.DefaultQueueLimit)
	cfg.CompressFrom = cmp.Or(cfg.CompressFrom, deflateFrom)
	cfg.Node = nodeName(cfg.Node)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return cfg
}

// nodeName makes a name fit for a sid.
func nodeName(name string) string {
	for _, b := range []byte(name) {
		switch {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', b == '-', b == '_':
		default:
			return base64.RawURLEncoding.EncodeToString([]byte(name))
		}
	}
	return name
}
