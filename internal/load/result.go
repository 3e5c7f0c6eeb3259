package load

import "time"

// Result is what a run has measured. Its JSON is what "holdfast bench --json"
// writes; times in it are nanoseconds where the field does not say otherwise.
type Result struct {
	Scenario Scenario `json:"scenario"`
	Settings Settings `json:"settings"`
	Target   string   `json:"target"`
	// Began is when the measuring began, and Seconds how long it took.
	Began   time.Time `json:"began"`
	Seconds float64   `json:"seconds"`
	// Unit is what is counted: "delivery", "round trip" or "admission".
	Unit  string  `json:"unit"`
	Count uint64  `json:"count"`
	Rate  float64 `json:"rate"` // units a second
	// Latency is that of the unit: for a delivery from the moment that the
	// message was sent, or in paced and soak should have been.
	Latency Latency `json:"latency"`
	// Sent is the latency of a delivery from the moment that the message was on
	// the wire; nil but in paced and soak.
	Sent *Latency `json:"sent,omitempty"`
	// Buckets are the distribution of Latency.
	Buckets []Bucket `json:"buckets,omitempty"`
	// Acks are how long publishes took to be acknowledged.
	Acks *Latency `json:"acks,omitempty"`
	// Admissions are how long connections took, from the first packet to the
	// namespace; those of before the measured time too.
	Admissions Latency `json:"admissions"`
	// Server and Generator are what the two processes used in the measured
	// time. Server is nil where its process is not known.
	Server    *Use `json:"server,omitempty"`
	Generator Use  `json:"generator"`
	// Memory is there for connect, where the server's process is known.
	Memory *Memory `json:"memory,omitempty"`
	// Late is how many messages were sent over 1 ms after they should have been,
	// in paced and soak: latencies count from when they should have been.
	Late uint64 `json:"late,omitempty"`
	// Overdue is how many messages had not come everywhere within the timeout.
	Overdue uint64 `json:"overdue,omitempty"`
	// LongestTurn is the longest time that the generator has worked on, in the
	// measured time, without a look at what has come.
	LongestTurn time.Duration `json:"longestTurn"`
	// LeastUnread is how many bytes had come, without the generator having got to
	// their end, on any connection that ended; the least of them. 0 if none did.
	LeastUnread int64 `json:"leastUnread,omitempty"`
	// Cuts is how many members were cut off.
	Cuts   uint64 `json:"cuts,omitempty"`
	Faults Faults `json:"faults"`
	// Codes are how many connections were refused or ended, and publishes and
	// events refused, by the code or else the words of it; at most 17.
	Codes map[string]uint64 `json:"codes,omitempty"`
	// Checked is how many messages and answers were looked at, in the whole run.
	Checked uint64 `json:"checked"`
	// Interrupted: the run was ended early.
	Interrupted bool    `json:"interrupted,omitempty"`
	Timeline    []Point `json:"timeline,omitempty"`
	// Notes are sentences about how much the numbers can be relied on.
	Notes []string `json:"notes,omitempty"`
}

// Use is what a process has used.
type Use struct {
	PID  int    `json:"pid,omitempty"`
	Name string `json:"name,omitempty"`
	// User and System are processor time of all its threads.
	User   time.Duration `json:"user"`
	System time.Duration `json:"system"`
	// PerUnit is both of them divided by the number of units, in microseconds.
	PerUnit float64 `json:"microsecondsPerUnit"`
	// Cores is both of them divided by the time: 1 is one busy processor.
	Cores float64 `json:"cores"`
	// RSS is the memory at the end, and Peak the most that was seen; bytes.
	RSS  int64 `json:"rss"`
	Peak int64 `json:"peak,omitempty"`
}

// Memory is what idle connections take in the server.
type Memory struct {
	// Before there were connections, and with all of them after a rest; bytes of
	// the process's resident set.
	Before int64 `json:"before"`
	With   int64 `json:"with"`
	// PerConnection is the difference for each connection, in bytes.
	PerConnection float64 `json:"perConnection"`
}

// unit names what a scenario counts.
func (s Scenario) unit() string {
	switch s {
	case Connect:
		return "admission"
	case Echo:
		return "round trip"
	}
	return "delivery"
}

// result sums up what the recorder has.
func (e *engine) result() *Result {
	r := e.rec
	out := &Result{
		Scenario: e.cfg.Scenario, Settings: e.cfg.Settings, Target: e.cfg.Target.URL,
		Began: r.began, Seconds: time.Duration(r.until - r.from).Seconds(),
		Unit: e.cfg.Scenario.unit(), Count: r.count, Latency: r.total.summary(), Buckets: r.total.buckets(),
		Admissions: r.admissions.summary(), Timeline: r.points, Faults: e.faults, Overdue: e.overdue, Codes: e.codes,
	}
	if acks := r.acks.summary(); acks.Count > 0 {
		out.Acks = &acks
	}
	if wire := r.wire.summary(); wire.Count > 0 {
		out.Sent = &wire
	}
	out.LongestTurn, out.LeastUnread = time.Duration(r.longest), r.leastUnread
	if out.Seconds > 0 {
		out.Rate = float64(out.Count) / out.Seconds
	}
	use := func(from, to usage) Use {
		u := Use{User: to.user - from.user, System: to.system - from.system, RSS: to.rss}
		busy := u.User + u.System
		if out.Count > 0 {
			u.PerUnit = float64(busy.Nanoseconds()) / 1e3 / float64(out.Count)
		}
		if out.Seconds > 0 {
			u.Cores = busy.Seconds() / out.Seconds
		}
		return u
	}
	out.Generator = use(r.first.generator, r.last.generator)
	if r.serverPID > 0 {
		server := use(r.first.server, r.last.server)
		server.PID, server.Name, server.Peak = r.serverPID, proc.name(r.serverPID), r.rssPeak
		out.Server = &server
	}
	return out
}
