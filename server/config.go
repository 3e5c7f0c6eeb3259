package server

import (
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/redact"
)

// Config configures a Server. Only Authenticator is required; the zero value
// of everything else is the default that its comment gives.
type Config struct {
	// Authenticator makes a credential an identity. Required: nothing is let
	// in without one.
	Authenticator auth.Authenticator
	// Exchange makes tokens of sessions that are kept elsewhere, at POST
	// /api/realtime/token. Nil: there is no such call.
	Exchange *auth.Exchange
	// APIKeys are the keys of backends. Nil: none, so that only user tokens
	// can publish over HTTP.
	APIKeys *auth.APIKeys
	// Broker carries events between nodes and keeps history. Nil: this
	// process's memory.
	Broker hub.Broker

	// Revocations keeps what Revoke takes back over restarts, and Bumps counts
	// the changes of users' permissions; an identity provider is both. Nil:
	// this process's memory alone.
	Revocations auth.RevocationStore
	Bumps       auth.BumpStore
	// Events keeps the ids and answers of events over restarts, for 24 hours;
	// an identity provider does. Nil: this process's memory alone.
	Events EventStore
	// MaxTokenLifetime is how long a token can be valid, and so how long a
	// revocation matters: 24 h. Give auth.JWTConfig.MaxLifetime the same.
	MaxTokenLifetime time.Duration

	// Path is where Socket.IO clients connect: "/socket.io/".
	Path string
	// PlainPath is where clients of the plain WebSocket connect: "/ws".
	PlainPath string
	// EventsPath is where event streams are opened (Server-Sent Events):
	// "/events".
	EventsPath string
	// PollPath is where clients poll for events: "/poll".
	PollPath string
	// TopicPath is where clients connect that send {"topic","data"}, as those
	// of hyper-fetch do: "/ws/topic".
	TopicPath string
	// Prefix is where the HTTP calls are: "/api".
	Prefix string
	// PublicURL is the address that clients know the server by, such as
	// "https://rt.example.com". It settles what "same origin" means; without
	// it, the request's own Host does.
	PublicURL string
	// AllowedOrigins are the exact origins besides the server's own from
	// which pages may connect. "*" allows all.
	AllowedOrigins []string
	// TrustedProxies are the networks (10.0.0.0/8) and addresses whose
	// X-Forwarded-For and X-Forwarded-Proto headers count.
	TrustedProxies []string
	// AllowQueryToken admits connections by ?token= as well. Addresses end up
	// in logs and histories, hence off.
	AllowQueryToken bool

	// PingInterval is the time between heartbeats: 25 s.
	PingInterval time.Duration
	// PingTimeout is how long a client may take to answer one: 20 s.
	PingTimeout time.Duration
	// ConnectTimeout is how long a connection may stay without having joined
	// a namespace: 10 s.
	ConnectTimeout time.Duration
	// UpgradeTimeout is how long an upgrade to WebSocket may take: 10 s.
	UpgradeTimeout time.Duration
	// AuthTimeout bounds one call of the Authenticator: 10 s.
	AuthTimeout time.Duration
	// Leeway is how long a connection outlives its token, for clocks that
	// differ: 5 s. Give auth.JWTConfig the same.
	Leeway time.Duration

	// MaxPayload is the size in bytes of a message or polling payload:
	// 1,000,000. What is larger ends the connection with close code 1009.
	MaxPayload int
	// MaxPackets bounds the packets of a polling payload: 256, since clients
	// put all that waits into one.
	MaxPackets int
	// MaxEventData is the size in bytes of the data of an event: 65,536. What
	// is larger is answered MESSAGE_TOO_LARGE.
	MaxEventData int
	// MaxUnauthenticated is the size in bytes of a message before the
	// connection is admitted: 16,384.
	MaxUnauthenticated int
	// QueueBytes is how much may wait to be sent to one connection: 1 MiB.
	// Over it, the connection ends with SLOW_CONSUMER, unless RoomPolicies let
	// it miss events.
	QueueBytes int
	// MessageRate and MessageBurst bound what one connection sends: 100
	// messages a second, 200 at once. A negative rate switches it off.
	MessageRate  float64
	MessageBurst int
	// RoomsPerConnection: 128.
	RoomsPerConnection int
	// ConnectionsPerUser: 20. Negative: no limit.
	ConnectionsPerUser int
	// PresenceGrace is how long a user whose last connection left a room is
	// still present there: 5 s.
	PresenceGrace time.Duration
	// PresenceLimit bounds the users of one room who are told of each other:
	// 500. While more are present there, joins are answered without a list, and
	// members are told that presence is paused: docs/protocol.md §4. Negative:
	// no limit; who may join a room can then make it cost n² lists and messages.
	PresenceLimit int
	// SignalRate bounds the signals of one user, over all his connections: 20 a
	// second, and as many at once. Negative: no limit.
	SignalRate float64
	// UnauthenticatedPerAddress bounds the connections of one address that
	// are not admitted yet: 100. Negative: no limit.
	UnauthenticatedPerAddress int
	// AdmissionRate bounds new connections a second from one address, and
	// apart from them calls of PollPath: 200, with a burst of five times as
	// many. Negative: no limit. Those over it are told to come back one after the
	// other (Retry-After, at most 30 s), and so with TotalAdmissionRate.
	AdmissionRate float64
	// TotalAdmissionRate bounds new connections a second from everywhere:
	// 5,000, with a burst of twice as many. Negative: no limit.
	TotalAdmissionRate float64
	// RoomPolicies say what becomes of slow members of some rooms; the first
	// whose pattern matches decides. Rooms that none matches close them with
	// SLOW_CONSUMER. At most 256.
	RoomPolicies []RoomPolicy

	// Metrics gets the server's metrics, holdfast_…, until Shutdown; one server
	// a Registerer. Serve them where only operators can read them:
	// docs/operations.md lists them. Nil: nothing is measured.
	Metrics prometheus.Registerer
	// TracerProvider makes spans of admissions, joins and publishes. Nil: none.
	TracerProvider trace.TracerProvider
	// Compression accepts permessage-deflate (RFC 7692) on WebSockets, without
	// context takeover: each message is compressed by itself, and once for all
	// its receivers. Off by default: it costs processor time, and what is
	// compressed together with a secret can give the secret away by its length.
	Compression bool
	// CompressFrom is the size in bytes from which on messages are sent
	// compressed: 1,024.
	CompressFrom int

	// Node names this node in connection ids: random.
	Node string
	// Logger gets what is worth knowing; tokens and payloads never are, and
	// what looks like one is redacted. Nil: slog.Default.
	Logger *slog.Logger
}

// pendingAcks bounds the acks that one connection owes to the server, and the
// events that wait for its handlers.
const (
	pendingAcks   = 64
	pendingEvents = 64
)

func (c Config) withDefaults() (Config, error) {
	if c.Authenticator == nil {
		return c, holdfast.Errorf(holdfast.InvalidArgument, "server: Config.Authenticator is required; auth.NewJWT makes one from a secret, keys or a JWKS URL")
	}
	if c.Path == "" {
		c.Path = "/socket.io/"
	}
	if !strings.HasPrefix(c.Path, "/") || !strings.HasSuffix(c.Path, "/") {
		return c, holdfast.Errorf(holdfast.InvalidArgument, "server: Config.Path %q must begin and end with a slash", c.Path)
	}
	setDefault(&c.PlainPath, "/ws")
	setDefault(&c.EventsPath, "/events")
	setDefault(&c.PollPath, "/poll")
	setDefault(&c.TopicPath, "/ws/topic")
	taken := make(map[string]bool)
	for _, p := range []struct{ name, path string }{
		{"Path", c.Path}, {"PlainPath", c.PlainPath}, {"EventsPath", c.EventsPath}, {"PollPath", c.PollPath}, {"TopicPath", c.TopicPath},
	} {
		if p.path == "/" || taken[p.path] {
			return c, holdfast.Errorf(holdfast.InvalidArgument, "server: Config.%s needs a path of its own below the root", p.name)
		}
		if !strings.HasPrefix(p.path, "/") {
			return c, holdfast.Errorf(holdfast.InvalidArgument, "server: Config.%s %q must begin with a slash", p.name, p.path)
		}
		taken[p.path] = true
	}
	if c.Prefix == "" {
		c.Prefix = "/api"
	}
	c.Prefix = strings.TrimSuffix(c.Prefix, "/")
	if c.Prefix != "" && !strings.HasPrefix(c.Prefix, "/") {
		return c, holdfast.Errorf(holdfast.InvalidArgument, "server: Config.Prefix %q must begin with a slash", c.Prefix)
	}
	setDefault(&c.PingInterval, 25*time.Second)
	setDefault(&c.PingTimeout, 20*time.Second)
	setDefault(&c.ConnectTimeout, 10*time.Second)
	setDefault(&c.UpgradeTimeout, 10*time.Second)
	setDefault(&c.AuthTimeout, 10*time.Second)
	setDefault(&c.MaxTokenLifetime, auth.DefaultMaxLifetime)
	setDefault(&c.Leeway, 5*time.Second)
	setDefault(&c.MaxPayload, 1_000_000)
	setDefault(&c.MaxPackets, 256)
	setDefault(&c.MaxEventData, 64<<10)
	setDefault(&c.MaxUnauthenticated, 16<<10)
	setDefault(&c.QueueBytes, 1<<20)
	setDefault(&c.CompressFrom, 1<<10)
	setDefault(&c.MessageRate, 100)
	setDefault(&c.MessageBurst, 200)
	setDefault(&c.RoomsPerConnection, 128)
	setDefault(&c.ConnectionsPerUser, 20)
	setDefault(&c.UnauthenticatedPerAddress, 100)
	setDefault(&c.AdmissionRate, 200)
	setDefault(&c.TotalAdmissionRate, 5000)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = slog.New(redact.New(c.Logger.Handler()))
	return c, nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
