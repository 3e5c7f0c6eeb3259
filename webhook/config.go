package webhook

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/internal/redact"
)

// Defaults of Target.
const (
	DefaultTimeout       = 15 * time.Second
	DefaultDecideTimeout = 3 * time.Second
	DefaultConcurrency   = 8
)

// maxTargets bounds the targets: each event is stored once for each.
const maxTargets = 64

// Config configures a Dispatcher. The zero value has no targets, and tells and
// asks nobody.
type Config struct {
	// Targets are who is told and asked.
	Targets []Target
	// AllowedNetworks are where targets may be although they are not on the
	// public internet, such as 10.0.0.0/8. Each address is checked when it is
	// dialled. Targets whose URL names this machine need no entry, and
	// connect to this machine only.
	AllowedNetworks []netip.Prefix
	// Outbox keeps what is to be delivered. Nil: NewMemory, whose entries end
	// with the process.
	Outbox Outbox
	// Poll is how long it takes at most until this process finds entries that
	// another one left behind: 5 s. Its own it finds at once.
	Poll time.Duration
	// Logger is told of failures; never of secrets, URLs and data. Nil:
	// slog.Default.
	Logger *slog.Logger
	// TracerProvider makes a span holdfast.webhook of each attempt and of each
	// question. They have no URL: of a target without a name the host alone. Nil:
	// none are made.
	TracerProvider trace.TracerProvider
	// Observe is told of each attempt, of each question, and of what was
	// dropped: for metrics. It is called by several goroutines at once, without
	// locks, and must not wait. Nil: nobody is told.
	Observe func(Result)

	// Seams of tests: nil otherwise.
	dial     func(ctx context.Context, network, address string) (net.Conn, error)
	resolver *net.Resolver
}

// Target is somebody who is told, or asked.
type Target struct {
	// Name is how logs, metrics, traces and the outbox call it. Entries in a database
	// that wait for a name that no target has stay until they are 7 days old.
	// Empty: host and path of URL; traces then have the host alone, and so has
	// package standalone in its metrics.
	Name string
	// URL is https, or http to this machine; no redirects are followed. It is
	// never logged, but for host and path where they are the name.
	URL string
	// Secrets sign each message; each is "whsec_" and base64 of 24 to 64 random
	// bytes. One is required; for a change of secrets have both, until the
	// target knows the new one.
	Secrets []auth.Secret
	// Events are what it is told. Empty: everything, or nothing where Decide
	// says what the target is for.
	Events []Type
	// Rooms are patterns, as those of permissions: holdfast.RoomList. What
	// concerns other rooms is not told and not asked. Empty: all rooms.
	Rooms []string
	// Decide is what it is asked: TypeJoin, TypePublish. Several targets must
	// all agree.
	Decide []Type
	// Timeout bounds one attempt of a delivery: DefaultTimeout.
	Timeout time.Duration
	// DecideTimeout bounds one question, whose asker waits: DefaultDecideTimeout.
	DecideTimeout time.Duration
	// Concurrency is how many deliveries run at once: DefaultConcurrency. One
	// target's do not hold up another's.
	Concurrency int
}

// Outcomes of a Result.
const (
	Delivered = "delivered" // the target took a message
	Retried   = "retried"   // an attempt failed; there will be another
	Died      = "dead"      // the last attempt failed
	Dropped   = "dropped"   // an event could not be put into the outbox
	Allowed   = "allowed"   // a question was answered with yes
	Denied    = "denied"    // … with no
	Undecided = "failed"    // … not at all, which refuses what was asked
)

// Result is what Config.Observe is told.
type Result struct {
	Target  string
	Type    Type
	Outcome string
	// Attempt counts from 1; 0 for what is no delivery.
	Attempt int
	// Status is that of the answer; 0 where there was none.
	Status int
	// Duration is how long the attempt or question took.
	Duration time.Duration
	// Delay is from the event to its delivery; 0 but for Delivered.
	Delay time.Duration
}

// target is a Target made ready. It is static.
type target struct {
	Target
	label  string // Name, or without one the host: a path may be a secret
	rooms  holdfast.RoomPermissions
	caller *caller
	gate   *gate
}

// wants reports whether a target is told of this type in this room; "" for
// what concerns no room.
func (t *target) wants(what Type, room string) bool {
	return slices.Contains(t.Events, what) && t.inRoom(room)
}

// decides reports whether a target is asked this about this room.
func (t *target) decides(what Type, room string) bool {
	return slices.Contains(t.Decide, what) && t.inRoom(room)
}

func (t *target) inRoom(room string) bool {
	return room == "" || len(t.Rooms) == 0 || t.rooms.Verbs(room) != 0
}

// events and questions are the types that there are.
func events() []Type {
	return []Type{TypeConnected, TypeDisconnected, TypeJoined, TypeLeft, TypePublished}
}

func questions() []Type { return []Type{TypeJoin, TypePublish} }

// withDefaults fills in and checks a configuration.
func (c Config) withDefaults() (Config, error) {
	if len(c.Targets) > maxTargets {
		return c, holdfast.Errorf(holdfast.InvalidArgument, "webhook: more than %d targets", maxTargets)
	}
	if c.Outbox == nil {
		c.Outbox = NewMemory()
	}
	if c.Poll <= 0 {
		c.Poll = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	c.Logger = slog.New(redact.New(c.Logger.Handler()))
	if c.TracerProvider == nil {
		c.TracerProvider = noop.NewTracerProvider()
	}
	if c.Observe == nil {
		c.Observe = func(Result) {}
	}
	return c, nil
}

// ready checks a target and makes what it needs.
func (t Target) ready(cfg Config) (*target, error) {
	u, g, err := parseURL(t.URL, cfg.AllowedNetworks)
	if err != nil {
		return nil, err
	}
	label := t.Name
	if t.Name == "" {
		label = u.Host
		t.Name = u.Host + u.EscapedPath()
	}
	if len(t.Name) > 200 {
		return nil, holdfast.Errorf(holdfast.InvalidArgument, "webhook: the name of a target has over 200 bytes; give it a shorter one")
	}
	if len(t.Secrets) == 0 {
		return nil, holdfast.Errorf(holdfast.InvalidArgument, "webhook: target %s has no secret: it must know who tells it (try: echo %s$(openssl rand -base64 32))", t.Name, SecretPrefix)
	}
	keys := make([][]byte, len(t.Secrets))
	for i, s := range t.Secrets {
		if keys[i], err = key(s); err != nil {
			return nil, err
		}
	}
	if len(t.Events) == 0 && len(t.Decide) == 0 {
		t.Events = events()
	}
	if err := known("Events", t.Events, events()); err != nil {
		return nil, err
	}
	if err := known("Decide", t.Decide, questions()); err != nil {
		return nil, err
	}
	rooms, err := holdfast.RoomList(t.Rooms...)
	if err != nil {
		return nil, err
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&t.Timeout, DefaultTimeout}, {&t.DecideTimeout, DefaultDecideTimeout}} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	if t.Concurrency <= 0 {
		t.Concurrency = DefaultConcurrency
	}
	return &target{
		Target: t, label: label, rooms: rooms, gate: newGate(),
		caller: newCaller(u.String(), keys, g, cfg),
	}, nil
}

func known(field string, types, all []Type) error {
	for _, t := range types {
		if !slices.Contains(all, t) {
			return holdfast.Errorf(holdfast.InvalidArgument, "webhook: %s can't have %.40q; there are %q", field, string(t), all)
		}
	}
	return nil
}
