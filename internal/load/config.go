package load

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"
)

// ErrUnsupported says that load can't be made on this system.
var ErrUnsupported = errors.New("the load generator needs Linux: it waits for its connections by epoll")

// Scenario is what a run does.
type Scenario string

// The scenarios.
const (
	// Connect opens connections and keeps them: the cost of an admission, and
	// the memory of an idle connection.
	Connect Scenario = "connect"
	// Fanout publishes into one room as fast as its members get it.
	Fanout Scenario = "fanout"
	// Paced publishes into one room at a rate.
	Paced Scenario = "paced"
	// Rooms publishes into many small rooms as fast as their members get it.
	Rooms Scenario = "rooms"
	// Echo sends events and waits for their acks.
	Echo Scenario = "echo"
	// Soak publishes into many rooms at a rate while members are cut off and
	// come back.
	Soak Scenario = "soak"
)

// Scenarios are all of them.
func Scenarios() []Scenario { return []Scenario{Connect, Fanout, Paced, Rooms, Echo, Soak} }

// Settings are the numbers of a run. Zero is the scenario's default, see
// [Settings.Fill].
type Settings struct {
	// Connections is how many there are, for connect and echo. In the others
	// they are Rooms times Members.
	Connections int `json:"connections"`
	Rooms       int `json:"rooms,omitempty"`
	Members     int `json:"members,omitempty"` // of each room
	// Publishers of each room; they are members, and take turns.
	Publishers int `json:"publishers,omitempty"`
	// Size is the length of a message's JSON in bytes.
	Size int `json:"size,omitempty"`
	// Window is how many messages, or events of echo, are in flight at most; at a
	// rate 0 is as many as can be told apart, 65,535.
	Window int `json:"window,omitempty"`
	// Rate is messages a second, for paced and soak; new connections a second
	// for connect, where 0 is as fast as they are admitted.
	Rate float64 `json:"rate,omitempty"`
	// Cuts is how many members a second are cut off in a soak.
	Cuts float64 `json:"cuts,omitempty"`
	// Concurrency is how many connections are being opened at once.
	Concurrency int `json:"concurrency"`
	// Sources is how many addresses of the loopback network connections come
	// from. 0: one for each 500 connections to an address 127.…, else one.
	Sources int `json:"sources"`
	// Messages ends the measuring after so many were sent, if it is not 0.
	Messages int `json:"messages,omitempty"`
	// Warmup is what goes before the measuring; negative for nothing.
	Warmup time.Duration `json:"warmup,omitempty"`
	// Duration is how long is measured.
	Duration time.Duration `json:"duration,omitempty"`
	// Settle is how long connections stay idle before their memory is looked at.
	Settle time.Duration `json:"settle,omitempty"`
	// Timeout is how long a connection, a join and a message may take.
	Timeout time.Duration `json:"timeout"`
	// ReadEvery is how much time is at least between two looks at the
	// connections: 200 µs; negative for none. What came meanwhile is read
	// together, which halves what the generator costs; latencies are too long by
	// at most as much.
	ReadEvery time.Duration `json:"readEvery"`
	// Seed decides what is left to chance.
	Seed uint64 `json:"seed"`
}

// perSource is how many connections come from one address: Holdfast admits
// 1,000 of one at once, and 200 a second after that.
const perSource = 500

// maxSources bounds Settings.Sources.
const maxSources = 250

// Fill replaces what is zero by the scenario's defaults.
func (s *Settings) Fill(scenario Scenario) {
	or := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	switch scenario {
	case Connect:
		or(&s.Connections, 10_000)
	case Echo:
		or(&s.Connections, 200)
		or(&s.Window, s.Connections)
	case Fanout, Paced:
		or(&s.Rooms, 1)
		or(&s.Members, 1000)
	case Rooms:
		or(&s.Rooms, 1000)
		or(&s.Members, 5)
	case Soak:
		or(&s.Rooms, 100)
		or(&s.Members, 10)
		or(&s.Publishers, min(2, s.Members))
	}
	switch scenario {
	case Fanout:
		or(&s.Window, 16)
	case Rooms:
		or(&s.Window, 64)
	case Paced:
		s.Rate = orFloat(s.Rate, 50)
	case Soak:
		s.Rate = orFloat(s.Rate, 100)
		s.Cuts = orFloat(s.Cuts, 2)
	}
	if !scenario.inRooms() {
		s.Rooms, s.Members, s.Publishers = 0, 0, 0
	} else {
		s.Connections = s.Rooms * s.Members
		or(&s.Publishers, min(64, s.Members))
	}
	if scenario != Connect {
		or(&s.Size, 128)
		s.Warmup = orTime(s.Warmup, 2*time.Second)
		if scenario == Soak || s.Messages > 0 {
			s.Duration = orTime(s.Duration, 10*time.Minute)
		}
		s.Duration = orTime(s.Duration, 10*time.Second)
	} else {
		s.Size, s.Warmup, s.Duration, s.Messages = 0, 0, 0, 0
		s.Settle = orTime(s.Settle, 5*time.Second)
	}
	or(&s.Concurrency, 64)
	s.ReadEvery = orTime(s.ReadEvery, 200*time.Microsecond)
	s.Timeout = orTime(s.Timeout, 10*time.Second)
}

func orFloat(v, otherwise float64) float64 {
	if v == 0 {
		return otherwise
	}
	return v
}

func orTime(v, otherwise time.Duration) time.Duration {
	if v == 0 {
		return otherwise
	}
	return v
}

// inRooms reports whether a scenario publishes into rooms.
func (s Scenario) inRooms() bool {
	return s == Fanout || s == Paced || s == Rooms || s == Soak
}

// paced reports whether a scenario sends at a rate.
func (s Scenario) paced() bool { return s == Paced || s == Soak }

// Limits of what a run may be asked for.
const (
	maxConnections = 1_000_000
	maxWindow      = maxSlots - 1
	maxSize        = 1 << 20
	maxDepth       = 64 // events in flight on one connection, in echo
	maxTracked     = 1 << 28
)

// check returns what is wrong with filled settings.
func (s *Settings) check(scenario Scenario) error {
	bad := func(format string, args ...any) error { return &SettingError{fmt.Sprintf(format, args...)} }
	switch {
	case s.Connections < 1 || s.Connections > maxConnections:
		return bad("%d connections: there must be 1 to %d", s.Connections, maxConnections)
	case scenario.inRooms() && (s.Rooms < 1 || s.Members < 1):
		return bad("there must be at least one room, with one member")
	case scenario.inRooms() && (s.Publishers < 1 || s.Publishers > s.Members):
		return bad("%d publishers: they are members, of which a room has %d", s.Publishers, s.Members)
	case scenario.inRooms() && s.Connections*s.Publishers > maxTracked:
		return bad("%d members that watch %d publishers each need too much memory: give fewer --publishers", s.Connections, s.Publishers)
	case scenario != Connect && (s.Size < MinSize || s.Size > maxSize):
		return bad("size %d: a message has %d to %d bytes", s.Size, MinSize, maxSize)
	case s.Window < 0 || s.Window > maxWindow:
		return bad("window %d: it can be at most %d", s.Window, maxWindow)
	case scenario == Echo && s.Window > maxDepth*s.Connections:
		return bad("window %d: %d connections can have %d in flight each", s.Window, s.Connections, maxDepth)
	case s.Rate < 0 || s.Rate > 1_000_000 || s.Cuts < 0 || s.Cuts > 10_000:
		return bad("rates can be neither negative nor above 1,000,000 messages and 10,000 cuts a second")
	case scenario == Soak && s.Members <= s.Publishers:
		return bad("a soak needs members that don't publish: those are cut off")
	case s.Concurrency < 1 || s.Sources < 0 || s.Sources > maxSources || s.Messages < 0:
		return bad("concurrency must be at least 1, sources 0 to %d, messages 0 or more", maxSources)
	case s.Duration < 0 || s.Settle < 0 || s.Timeout <= 0 || s.ReadEvery > time.Second:
		return bad("duration, settle and timeout can't be negative, the timeout not 0, and read-every at most 1s")
	}
	return nil
}

// SettingError says which setting can't be.
type SettingError struct{ text string }

// Error implements error.
func (e *SettingError) Error() string { return e.text }

// Names are what a server calls its events. The zero value is what Holdfast
// calls them.
type Names struct {
	// Join is emitted with {room} and Publish with {room, event, data}; both
	// must be acknowledged. "room:join" and "room:publish".
	Join, Publish string
	// Event is what is published: "bench".
	Event string
	// Echo is an event that is acknowledged with its data: "echo".
	Echo string
}

func (n *Names) fill() {
	or := func(p *string, v string) {
		if *p == "" {
			*p = v
		}
	}
	or(&n.Join, "room:join")
	or(&n.Publish, "room:publish")
	or(&n.Event, "bench")
	or(&n.Echo, "echo")
}

// Config is what [Run] is to do. Target is required.
type Config struct {
	Scenario Scenario
	Settings
	Names
	// Target is the server, see ParseTarget.
	Target Target
	// Namespace of all connections: "/".
	Namespace string
	// Token returns the token of connection i; nil, or "", for none. It is
	// called in their order, before any connection is made.
	Token func(i int) (string, error)
	// RoomPrefix begins the names of rooms: "bench-".
	RoomPrefix string
	// PID is the server's process: 0 to look for it, negative for none.
	PID int
	// Progress is called at each interval, and must return soon; nil: nobody
	// is told.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Phase string        // "connecting", "joining", "warming up", "measuring", …
	Done  float64       // of the phase, from 0 to 1
	Left  time.Duration // of the phase; 0 if that is not known
	Open  int           // connections
	Point Point         // the last interval
	// Faults so far, and messages that were not everywhere within the timeout.
	Faults, Overdue uint64
}

// Target is a server's address.
type Target struct {
	// URL is what was given.
	URL string
	// Addr is where connections go.
	Addr netip.AddrPort
	// Host and Path are those of the request.
	Host, Path string
}

// ParseTarget reads the address of a server, such as http://127.0.0.1:8080, and
// looks its name up. Without a path it is that of Socket.IO, /socket.io/. An
// address that is not of this machine is refused, unless own says that its host
// is the caller's: load is an attack on anybody else's.
func ParseTarget(ctx context.Context, text string, own bool) (Target, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return Target{}, &SettingError{fmt.Sprintf("%q is no address of a server, such as http://127.0.0.1:8080", text)}
	}
	switch u.Scheme {
	case "http", "ws":
	case "https", "wss":
		return Target{}, &SettingError{"the load generator does not speak TLS, which would be most of what it measures: give the http:// address behind it"}
	default:
		return Target{}, &SettingError{fmt.Sprintf("%q must begin with http://", text)}
	}
	port := 80
	if u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil || port < 1 || port > 65535 {
			return Target{}, &SettingError{fmt.Sprintf("%q has no port that can be", text)}
		}
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return Target{}, err
	}
	at := addrs[0].Unmap()
	for _, addr := range addrs {
		if addr = addr.Unmap(); !addr.IsLoopback() && !own {
			return Target{}, &SettingError{fmt.Sprintf("%s is not this machine, and load on another's host is an attack: give --i-own-this-host if it is yours", addr)}
		} else if addr.Is4() && !at.Is4() {
			at = addr // which has many loopback addresses
		}
	}
	t := Target{URL: text, Addr: netip.AddrPortFrom(at, uint16(port)), Host: u.Host, Path: u.EscapedPath()}
	if t.Path == "" || t.Path == "/" {
		t.Path = "/socket.io/"
	}
	return t, nil
}

// source returns the address that connection i comes from; the zero Addr leaves
// that to the system.
func (c *Config) source(i int) netip.Addr {
	base := c.Target.Addr.Addr()
	if !base.Is4() || !base.IsLoopback() || c.Sources <= 1 {
		return netip.Addr{}
	}
	at := base.As4()
	at[2], at[3] = 77, byte(1+i%c.Sources)
	return netip.AddrFrom4(at)
}
