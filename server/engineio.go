package server

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/guard"
	"github.com/holdfast-dev/holdfast/internal/transport"
)

// EngineIOConfig configures a bare Engine.IO handler. OnOpen is required; the
// other fields mean what they mean in Config, with the same defaults.
type EngineIOConfig struct {
	// OnOpen is called for each new connection and returns what receives its
	// messages. An error refuses the connection with the error's HTTP status.
	// The connection is not admitted by anybody: that is the caller's part.
	OnOpen func(c *EngineIOConn) (EngineIOReceiver, error)

	AllowedOrigins []string
	PublicURL      string
	PingInterval   time.Duration
	PingTimeout    time.Duration
	UpgradeTimeout time.Duration
	MaxPayload     int
	QueueBytes     int
	Compression    bool
	CompressFrom   int
	Logger         *slog.Logger
}

// EngineIOReceiver is told what happens on one connection. Its methods are
// called one at a time.
type EngineIOReceiver interface {
	// Message gets one message; data must not be kept. While it runs the
	// client is not read from.
	Message(data []byte, binary bool)
	// Closed is the last call; err tells why, nil when the client left in
	// order.
	Closed(err error)
}

// EngineIOConn is one connection of a bare Engine.IO handler.
type EngineIOConn struct{ conn *transport.Conn }

// ID returns the connection's Engine.IO sid. It is a secret of the client:
// who has it can send in its name.
func (c *EngineIOConn) ID() string { return c.conn.ID() }

// Header returns the headers of the request that opened the connection.
func (c *EngineIOConn) Header() http.Header { return c.conn.Request().Header }

// Context ends when the connection does.
func (c *EngineIOConn) Context() context.Context { return c.conn.Context() }

// SendText queues a text message; false when the connection is gone, or had
// more than QueueBytes waiting and was closed for it. data is copied.
func (c *EngineIOConn) SendText(data []byte) bool {
	text := make([]byte, 0, len(data)+1)
	return c.conn.Send(transport.NewFrame(append(append(text, '4'), data...)))
}

// SendBinary queues a binary message, as SendText does. data must not be
// changed afterwards.
func (c *EngineIOConn) SendBinary(data []byte) bool {
	return c.conn.Send(transport.NewBinaryFrame(data))
}

// Close sends what is queued and closes the connection, with err's close code
// if it is not nil.
func (c *EngineIOConn) Close(err error) { c.conn.Close(holdfast.AsError(err)) }

// EngineIOHandler is a bare Engine.IO v4 server for protocols of one's own.
type EngineIOHandler struct {
	http.Handler
	engine *transport.Engine
}

// EngineIO makes a bare Engine.IO handler: WebSocket, long-polling, the
// upgrade between them and heartbeats, with neither Socket.IO nor admission
// on top. Mount it at the path that clients use, "/engine.io/" by custom.
func EngineIO(cfg EngineIOConfig) (*EngineIOHandler, error) {
	if cfg.OnOpen == nil {
		return nil, holdfast.Errorf(holdfast.InvalidArgument, "server: EngineIOConfig.OnOpen is required")
	}
	origins, err := guard.NewOrigins(guard.OriginsConfig{Allowed: cfg.AllowedOrigins, PublicURL: cfg.PublicURL})
	if err != nil {
		return nil, err
	}
	engine := transport.NewEngine(transport.EngineConfig{
		PingInterval: cfg.PingInterval, PingTimeout: cfg.PingTimeout, UpgradeTimeout: cfg.UpgradeTimeout,
		MaxPayload: cfg.MaxPayload, QueueBytes: cfg.QueueBytes, Check: origins.Check, Logger: cfg.Logger,
		Compression: cfg.Compression, CompressFrom: cfg.CompressFrom,
		Open: func(c *transport.Conn) (transport.Receiver, error) {
			r, err := cfg.OnOpen(&EngineIOConn{conn: c})
			if err != nil {
				return nil, err
			}
			return bareReceiver{r}, nil
		},
	})
	return &EngineIOHandler{Handler: origins.CORS(engine), engine: engine}, nil
}

// Shutdown closes every connection with GOING_AWAY and waits for them.
func (h *EngineIOHandler) Shutdown(ctx context.Context) error { return h.engine.Close(ctx) }

// bareReceiver adapts an EngineIOReceiver to the transport.
type bareReceiver struct{ to EngineIOReceiver }

func (b bareReceiver) Message(_ *transport.Conn, data []byte, binary bool) {
	b.to.Message(data, binary)
}
func (b bareReceiver) Closed(_ *transport.Conn, err error) { b.to.Closed(err) }
