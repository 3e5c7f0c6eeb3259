package client

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/holdfast-dev/holdfast/client/queue"
	"github.com/holdfast-dev/holdfast/tokens"
)

// Defaults of Config and SocketConfig.
const (
	DefaultTimeout        = 30 * time.Second
	DefaultMaxResponse    = 8 << 20
	DefaultRetries        = 3
	DefaultSocketPath     = "/socket.io/"
	DefaultConnectTimeout = 20 * time.Second
	DefaultWriteTimeout   = 10 * time.Second
	DefaultAckTimeout     = 30 * time.Second
	DefaultMinBackoff     = time.Second
	DefaultMaxBackoff     = 30 * time.Second
	DefaultMaxMessage     = 2 << 20
	DefaultSendBuffer     = 1 << 20
	DefaultReceiveBuffer  = 4 << 20
)

// Config is what New needs. Only BaseURL must be set.
type Config struct {
	// BaseURL is where the service is, http or https, with or without a path:
	// "https://api.example.com/v1". Paths of calls are appended to it.
	BaseURL string
	// Source gives the token of each request and each connection attempt.
	// nil: none is sent.
	Source tokens.Source
	// HTTPClient makes the calls and the WebSocket handshakes; its Jar holds
	// cookies. It is copied, not changed. nil: one with a transport of its own.
	HTTPClient *http.Client
	// TrustedOrigins may get the token too ("https://files.example.com").
	// Without it only the origin of BaseURL does, whatever a call's URL or a
	// redirect says.
	TrustedOrigins []string
	// Header goes with each request and handshake to the origins above.
	Header http.Header
	// Timeout ends a typed call whose context has no deadline, and counts from
	// its start to the end of the answer. Default 30 s.
	Timeout time.Duration
	// MaxResponse is how many bytes of an answer a typed call reads. A larger
	// one is a MessageTooLarge error. Default 8 MiB.
	MaxResponse int64
	// Retries is how often a GET, HEAD, OPTIONS, PUT or DELETE is made again that
	// is answered 503 with Retry-After, each time after that and a random time
	// (SocketConfig.MinBackoff and MaxBackoff). Default 3; negative: never.
	Retries int
	// CSRF is for servers that know their users by a cookie in HTTPClient's
	// Jar. nil: no CSRF token is sent.
	CSRF *CSRF
	// Interceptors see what is sent, in their order, and what is received, in
	// the opposite one.
	Interceptors []Interceptor
	// Socket is the configuration of the client's sockets.
	Socket SocketConfig
	// Logger takes warnings: a handler that panics or can't decode an event, a
	// refresh that failed. Never tokens or payloads. nil: slog.Default().
	Logger *slog.Logger
}

// SocketConfig configures the sockets of a Client.
type SocketConfig struct {
	// Path is where the Socket.IO server is, from the root of BaseURL's
	// origin. Default "/socket.io/".
	Path string
	// Query is added to the handshake's URL. URLs end up in logs: no secrets.
	Query url.Values
	// TokenParam is the query parameter in which the token goes ("token"), for
	// servers that want it there. Such URLs end up in the logs of proxies: leave
	// it empty where the server takes the token in another way.
	TokenParam string
	// Transports are the ways to connect, the preferred one first: WebSocket and
	// Polling. The next one is tried when one can't be opened, a WebSocket twice
	// in a row; what works is kept. When a connection over another one than the
	// first has ended that lasted a minute or more, the first is tried once
	// again: the network may have changed. There is no upgrade of a connection
	// from one to the other. Default: WebSocket, then Polling, for networks that let no
	// WebSocket through.
	Transports []string
	// Auth makes the payload that CONNECT carries, anything that marshals to a
	// JSON object; nil sends none. The token is the Source's present one, zero
	// without a Source. Default: {"token": "…"}, none without a token.
	Auth func(ctx context.Context, t tokens.Token) (any, error)
	// ConnectTimeout ends one attempt, from asking the Source for a token to the
	// server's answer to CONNECT. Default 20 s.
	ConnectTimeout time.Duration
	// WriteTimeout ends the connection if one write takes longer. Default 10 s.
	WriteTimeout time.Duration
	// MinBackoff and MaxBackoff bound the wait before an attempt: a random time
	// between nothing and MinBackoff, doubled at each failure in a row up to
	// MaxBackoff. Defaults 1 s and 30 s.
	MinBackoff, MaxBackoff time.Duration
	// MaxAttempts is how many attempts in a row may fail before the socket
	// stops. Default 0: no limit.
	MaxAttempts int
	// MaxMessage is the largest packet that is accepted from the server, text
	// and attachments together, in bytes. A larger one ends the connection,
	// which is then made anew. Default 2 MiB.
	MaxMessage int
	// SendBuffer is how many bytes may wait to be written. Emit waits for room.
	// Default 1 MiB.
	SendBuffer int
	// Queue keeps events that are emitted while there is no connection, and
	// those that the server has not acknowledged, until it has: see Emit. It may
	// be shared by the sockets of several clients and, if it is a *queue.File,
	// processes. nil: none.
	//
	// An event is kept as its user's, whom the Source tells (tokens.Manager
	// does), else the server, else the token's sub. It is only sent over
	// connections of that user. A Source that does not tell must not change
	// users while there is no connection.
	//
	// With a Holdfast server each event has its effect once, however often it
	// is sent. A plain Socket.IO server must acknowledge each, and may get one
	// more than once.
	Queue queue.Queue
	// AckTimeout is after how long without ack a queued event is sent again on
	// the same connection. Default 30 s. One that a plain Socket.IO server has
	// not acknowledged three times in a row is dead.
	AckTimeout time.Duration
	// QueueTries is after how many refusals that may pass (INTERNAL, say), in
	// a row on one connection, a queued event is dead. Until then those behind
	// it wait. Default 0: no limit.
	QueueTries int
	// ReceiveBuffer is how many bytes of events may wait for their handlers,
	// some 200 bytes an event included. Beyond it the socket reads no more
	// until a handler returns. If that handler itself waits for an answer of
	// the server, which could then never be read, the connection is cut and
	// resumed, and the wait ends: with ErrConnectionLost, or SLOW_CONSUMER if it
	// is one that goes on over connections. Default 4 MiB.
	ReceiveBuffer int
}

func (c SocketConfig) withDefaults() SocketConfig {
	c.Path = or(c.Path, DefaultSocketPath)
	c.ConnectTimeout = or(c.ConnectTimeout, DefaultConnectTimeout)
	c.WriteTimeout = or(c.WriteTimeout, DefaultWriteTimeout)
	c.MinBackoff = or(c.MinBackoff, DefaultMinBackoff)
	c.MaxBackoff = max(or(c.MaxBackoff, DefaultMaxBackoff), c.MinBackoff)
	c.MaxMessage = or(c.MaxMessage, DefaultMaxMessage)
	c.SendBuffer = or(c.SendBuffer, DefaultSendBuffer)
	c.AckTimeout = or(c.AckTimeout, DefaultAckTimeout)
	c.ReceiveBuffer = or(c.ReceiveBuffer, DefaultReceiveBuffer)
	if len(c.Transports) == 0 {
		c.Transports = []string{WebSocket, Polling}
	}
	if c.Auth == nil {
		c.Auth = tokenAuth
	}
	return c
}

// tokenAuth is the default of SocketConfig.Auth.
func tokenAuth(_ context.Context, t tokens.Token) (any, error) {
	if t.Access == "" {
		return nil, nil
	}
	return struct {
		Token string `json:"token"`
	}{t.Access}, nil
}

// or returns v, or def where v is zero or negative.
func or[T int | int64 | time.Duration | string](v, def T) T {
	var zero T
	if v <= zero {
		return def
	}
	return v
}
