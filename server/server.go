package server

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/internal/guard"
	"github.com/holdfast-dev/holdfast/internal/transport"
)

// Server admits connections and carries events: see the package comment. It
// is an http.Handler. Its methods may be called from any goroutine.
type Server struct {
	*Namespace // "/": what a Server registers, it registers there

	// static after construction
	cfg     Config
	log     *slog.Logger
	hub     *hub.Hub
	engine  *transport.Engine
	plain   *transport.Plain
	streams *transport.Streams
	topic   *transport.Plain
	origins *guard.Origins
	proxies guard.Proxies
	routes  http.Handler

	// limits, each safe for concurrent use
	perAddress      *guard.Limiter[netip.Prefix]
	overall         *guard.Limiter[struct{}]
	refusals        *guard.Delays[netip.Prefix]
	unauthenticated counter
	polls           pollBook
	asking          pollBook // polls about which the application is asked
	pollsPerAddress *guard.Limiter[netip.Prefix]

	ids     *eventIDs
	metrics *metrics     // nil: nothing is measured
	tracer  trace.Tracer // nil: nothing is traced
	drops   hub.Drops    // of all queues

	ledger   *ledger
	draining atomic.Bool
	crew     crew // does the work of workQueues
	hooks    hooks
	lines    tally           // the Conns whose last call is still to come
	giveUp   context.Context // ends when Shutdown waits no longer
	gaveUp   context.CancelFunc

	mu         sync.RWMutex // guards what follows
	namespaces map[string]*Namespace
	links      map[*link]struct{}
}

// restoreTimeout bounds the reading of what was revoked before the start.
const restoreTimeout = 30 * time.Second

// New makes a Server. It starts no listener: pass it to an http.Server, and
// call Shutdown at the end. The error names the field of Config that is
// wrong.
func New(cfg Config) (*Server, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	proxies, err := guard.ParseProxies(cfg.TrustedProxies...)
	if err != nil {
		return nil, err
	}
	origins, err := guard.NewOrigins(guard.OriginsConfig{Allowed: cfg.AllowedOrigins, PublicURL: cfg.PublicURL, Proxies: proxies})
	if err != nil {
		return nil, err
	}
	policies, err := compilePolicies(cfg.RoomPolicies)
	if err != nil {
		return nil, err
	}
	s := &Server{
		Namespace:  &Namespace{name: "/"},
		cfg:        cfg,
		log:        cfg.Logger,
		origins:    origins,
		proxies:    proxies,
		refusals:   guard.NewDelays[netip.Prefix](guard.DelaysConfig{}),
		namespaces: make(map[string]*Namespace),
		links:      make(map[*link]struct{}),
	}
	s.giveUp, s.gaveUp = context.WithCancel(context.Background())
	s.namespaces["/"] = s.Namespace
	s.ids = newEventIDs(cfg.Events, s.log)
	s.metrics, s.tracer = newMetrics(s, cfg.Metrics), newTracer(cfg.TracerProvider)
	s.ledger = &ledger{lifetime: cfg.MaxTokenLifetime + cfg.Leeway}
	ctx, cancel := context.WithTimeout(context.Background(), restoreTimeout)
	defer cancel()
	if err := s.restore(ctx); err != nil {
		return nil, fmt.Errorf("server: what was revoked can't be read: %w", err)
	}
	s.unauthenticated.limit = cfg.UnauthenticatedPerAddress
	s.polls.perUser, s.asking.perUser = cfg.ConnectionsPerUser, cfg.ConnectionsPerUser
	if cfg.AdmissionRate > 0 {
		limit := guard.LimiterConfig{Rate: rate.Limit(cfg.AdmissionRate), Burst: int(max(1, 5*cfg.AdmissionRate))}
		s.pollsPerAddress = guard.NewLimiter[netip.Prefix](limit)
		limit.Spread = true
		s.perAddress = guard.NewLimiter[netip.Prefix](limit)
	}
	if cfg.TotalAdmissionRate > 0 {
		s.overall = guard.NewLimiter[struct{}](guard.LimiterConfig{Rate: rate.Limit(cfg.TotalAdmissionRate), Burst: int(max(1, 2*cfg.TotalAdmissionRate)), Spread: true})
	}
	perUser := cfg.ConnectionsPerUser
	if perUser < 0 {
		perUser = math.MaxInt
	}
	rooms := hub.Config{
		Broker: cfg.Broker, RoomsPerConnection: cfg.RoomsPerConnection, ConnectionsPerUser: perUser,
		PresenceGrace: cfg.PresenceGrace, PresenceLimit: cfg.PresenceLimit, SignalRate: cfg.SignalRate,
		MaxData: cfg.MaxEventData, Overflow: policies.of, Logger: cfg.Logger,
	}
	if s.metrics != nil {
		rooms.FannedOut = s.metrics.fannedOut
	}
	s.hub = hub.New(rooms)
	s.engine = transport.NewEngine(transport.EngineConfig{
		PingInterval: cfg.PingInterval, PingTimeout: cfg.PingTimeout, UpgradeTimeout: cfg.UpgradeTimeout,
		MaxPayload: cfg.MaxPayload, MaxPackets: cfg.MaxPackets, QueueBytes: cfg.QueueBytes, Drops: &s.drops, Node: cfg.Node,
		Compression: cfg.Compression, CompressFrom: cfg.CompressFrom,
		Check: s.check, Open: s.openSocketIO, Logger: cfg.Logger,
	})
	s.plain = s.newPlain(plainWS{typedForm{}})
	s.topic = s.newPlain(plainWS{topicForm{}})
	s.streams = transport.NewStreams(transport.StreamsConfig{
		QueueBytes: cfg.QueueBytes, Drops: &s.drops, Check: s.checkPlain, Open: s.openStream, Logger: cfg.Logger,
	})
	s.routes = s.mux()
	if err := s.metrics.register(); err != nil {
		return nil, errors.Join(err, s.hub.Close())
	}
	return s, nil
}

// Of returns the namespace with this name, and makes it if there is none.
// Clients can connect to it from then on. The name begins with a slash.
func (s *Server) Of(name string) *Namespace {
	if name == "" || name[0] != '/' {
		name = "/" + name
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ns := s.namespaces[name]
	if ns == nil {
		ns = &Namespace{name: name}
		s.namespaces[name] = ns
	}
	return ns
}

func (s *Server) lookup(name string) (*Namespace, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	ns, ok := s.namespaces[name]
	return ns, ok
}

// Publish appends an event to a room and sends it to the room's members. data
// is encoded as encoding/json does. It returns where in the room's history the
// event stands.
//
// No rights are checked: the program itself speaks. Errors are
// INVALID_ARGUMENT for names and data that can't be published,
// MESSAGE_TOO_LARGE, and INTERNAL when the broker can't take it.
func (s *Server) Publish(ctx context.Context, room, event string, data any) (holdfast.Position, error) {
	encoded, err := json.Marshal(data)
	if err != nil {
		return holdfast.Position{}, holdfast.Errorf(holdfast.InvalidArgument, "publish %s: %w", event, err)
	}
	return s.PublishEvent(ctx, holdfast.Event{Room: room, Name: event, Data: encoded})
}

// PublishEvent is Publish for an event with an ID, which makes it idempotent,
// with a From, or with Attachments. Its Position and Time are ignored.
func (s *Server) PublishEvent(ctx context.Context, ev holdfast.Event) (holdfast.Position, error) {
	return s.publish(ctx, publication{event: ev, own: true})
}

// ServeHTTP serves the connections of all transports, the HTTP calls under
// Config.Prefix, /healthz and /readyz; anything else is 404.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.routes.ServeHTTP(w, r) }

// Shutdown drains the server: new connections are refused, every client is
// told GOING_AWAY and closed, and the handlers and hooks that run are waited
// for, OnLeave's and OnDisconnect's too. When
// ctx ends first the rest is cut off, and ctx's error is returned. The
// listener is its owner's; stop it afterwards. The Server can't be used again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	for _, l := range s.all() {
		l.end(holdfast.GoingAway.New())
	}
	others := []func(context.Context) error{s.plain.Close, s.topic.Close, s.streams.Close, s.polls.close}
	closing := make(chan error, len(others))
	for _, closeOther := range others {
		go func() { closing <- closeOther(ctx) }()
	}
	err := s.engine.Close(ctx)
	for range others {
		if cerr := <-closing; err == nil {
			err = cerr
		}
	}
	if err != nil { // something holds a connection: a broker that does not answer, for one
		for _, l := range s.all() {
			l.cancel()
		}
	}
	stuck, werr := s.wait(ctx)
	if err == nil {
		err = werr
	}
	s.metrics.unregister()
	if stuck { // in a join, for one, which the hub would wait for
		go s.hub.Close()
		return err
	}
	return errors.Join(err, s.hub.Close())
}

// Connections returns how many connections there are, admitted or not.
func (s *Server) Connections() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.links)
}

// wait waits for the handlers and hooks, and when ctx ends asks them to stop;
// stuck are those that don't.
func (s *Server) wait(ctx context.Context) (stuck bool, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.crew.wait() // and with it for admissions, which begin lines
		s.lines.wait()
		s.crew.wait() // for what the rooms had for a connection as it went
	}()
	select {
	case <-done:
		return false, nil
	case <-ctx.Done():
	}
	s.gaveUp()
	s.mu.RLock()
	for l := range s.links {
		l.cancel()
	}
	s.mu.RUnlock()
	select {
	case <-done:
		return false, ctx.Err()
	case <-time.After(time.Second):
		return true, holdfast.Errorf(holdfast.Internal, "handlers are still running: %w", ctx.Err())
	}
}

// check looks at each Engine.IO request before any work is done on it.
func (s *Server) check(r *http.Request) (err error) {
	defer func() { s.metrics.refused(atHandshake, err) }()
	if err := s.origins.Check(r); err != nil {
		return err
	}
	// Most have no sid in any spelling that is worth a look at the query.
	if strings.Contains(r.URL.RawQuery, "sid=") && r.URL.Query().Has("sid") {
		return nil // a connection that is open already
	}
	return s.checkNew(r)
}

// checkNew looks at the request for a new connection.
func (s *Server) checkNew(r *http.Request) error {
	if s.draining.Load() {
		return errDraining()
	}
	if s.perAddress != nil {
		if err := s.perAddress.Allow(guard.Network(s.proxies.ClientIP(r))); err != nil {
			return err
		}
	}
	if s.overall != nil {
		if err := s.overall.Allow(struct{}{}); err != nil {
			return &holdfast.Error{Code: holdfast.ConnectionLimit, Message: "Too many new connections", RetryAfter: holdfast.AsError(err).RetryAfter}
		}
	}
	return nil
}

// errDraining refuses what comes during Shutdown.
func errDraining() *holdfast.Error {
	return &holdfast.Error{Code: holdfast.GoingAway, Message: "The server is going away", RetryAfter: time.Second}
}

// checkPlain is check for /ws, /ws/topic and /events, where every request is a
// new connection.
func (s *Server) checkPlain(r *http.Request) (err error) {
	defer func() { s.metrics.refused(atHandshake, err) }()
	if err := s.origins.Check(r); err != nil {
		return err
	}
	return s.checkNew(r)
}

// openSocketIO begins a connection: transport.EngineConfig.Open.
func (s *Server) openSocketIO(c *transport.Conn) (transport.Receiver, error) {
	return s.open(c, socketIO{})
}

// newPlain makes the handler of plain WebSockets in one form.
func (s *Server) newPlain(proto plainWS) *transport.Plain {
	return transport.NewPlain(transport.PlainConfig{
		PingInterval: s.cfg.PingInterval, PingTimeout: s.cfg.PingTimeout,
		MaxPayload: s.cfg.MaxPayload, QueueBytes: s.cfg.QueueBytes, Drops: &s.drops,
		Compression: s.cfg.Compression, CompressFrom: s.cfg.CompressFrom,
		Check: s.checkPlain, Logger: s.cfg.Logger,
		Open: func(c *transport.Conn) (transport.Receiver, error) {
			l, err := s.open(c, proto)
			if err != nil {
				return nil, err
			}
			if hasCredential(s, c.Request()) {
				l.work.push(l, job{plain: &plainJob{}})
			}
			return l, nil
		},
	})
}

func (s *Server) open(c pipe, proto protocol) (*link, error) {
	r := c.Request()
	ip := s.proxies.ClientIP(&http.Request{RemoteAddr: r.RemoteAddr, Header: r.Header})
	addr := guard.Network(ip)
	if !s.unauthenticated.acquire(addr) {
		err := &holdfast.Error{Code: holdfast.ConnectionLimit, Message: "Too many connections from this address wait for admission", RetryAfter: time.Second}
		s.metrics.refused(atHandshake, err)
		return nil, err
	}
	l := &link{srv: s, proto: proto, eio: c, id: rand.Text(), ip: ip, addr: addr, pending: true}
	l.quickly, _ = c.(quickPipe)
	if _, tells := c.(*transport.Conn); !tells {
		context.AfterFunc(c.Context(), l.Ending)
	}
	if s.cfg.MessageRate > 0 {
		l.limiter = rate.NewLimiter(rate.Limit(s.cfg.MessageRate), s.cfg.MessageBurst)
	}
	l.dec.Limits.Bytes = s.cfg.MaxPayload
	s.mu.Lock()
	s.links[l] = struct{}{}
	s.mu.Unlock()
	l.mu.Lock()
	l.life.awaitConnect(l)
	l.mu.Unlock()
	return l, nil
}

func (s *Server) forget(l *link) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.links, l)
}
