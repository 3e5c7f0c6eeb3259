package server

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-dev/holdfast"
)

// checkpoint is where something was refused: a label of holdfast_refusals_total.
type checkpoint string

const (
	atHandshake checkpoint = "handshake" // before there was a connection
	atAdmission checkpoint = "admission"
	atJoin      checkpoint = "join"
	atPublish   checkpoint = "publish" // over a connection or HTTP
	atMessage   checkpoint = "message" // more messages than a connection may send
	atHTTP      checkpoint = "http"    // any other call
)

// metrics counts what a server does, for Config.Metrics. Labels have values of
// fixed sets alone: no room, user or address is one. A nil *metrics counts
// nothing, at the cost of a comparison.
type metrics struct {
	registerer prometheus.Registerer
	all        []prometheus.Collector

	admissions  prometheus.Counter
	refusals    *prometheus.CounterVec // where, code
	closed      *prometheus.CounterVec // code
	refreshes   *prometheus.CounterVec // result
	revocations prometheus.Counter

	admission, publish, fanOut prometheus.Histogram
}

// newMetrics makes the metrics of s; nil without a registerer. They are not
// registered yet.
func newMetrics(s *Server, registerer prometheus.Registerer) *metrics {
	if registerer == nil {
		return nil
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	seconds := func(name, help string, buckets ...float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
	}
	m := &metrics{
		registerer:  registerer,
		admissions:  counter("holdfast_admissions_total", "Connections that were admitted, each namespace by itself."),
		refusals:    counters("holdfast_refusals_total", "What was refused, by where and why.", "where", "code"),
		closed:      counters("holdfast_connections_closed_total", "Connections that ended, by code; \"none\" where the client left in order.", "code"),
		refreshes:   counters("holdfast_refreshes_total", "Refreshes of a connection's token in place.", "result"),
		revocations: counter("holdfast_revocations_total", "Revocations that were applied here."),
		admission: seconds("holdfast_admission_duration_seconds", "Time from a credential to the admission, of those admitted.",
			.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10),
		publish: seconds("holdfast_publish_duration_seconds", "Time until the broker acknowledged an event.",
			.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5),
		fanOut: seconds("holdfast_fan_out_duration_seconds", "Time to encode an event and queue it to the room's members here.",
			.000005, .00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .1),
	}
	// These are there from the start, so that the first increase is seen as one.
	m.closed.WithLabelValues(string(holdfast.SlowConsumer))
	m.refreshes.WithLabelValues("ok")
	m.refreshes.WithLabelValues("refused")
	m.all = []prometheus.Collector{newCensus(s), m.admissions, m.refusals, m.closed, m.refreshes, m.revocations, m.admission, m.publish, m.fanOut}
	return m
}

// register makes the metrics visible: all of them, or none with an error.
func (m *metrics) register() error {
	if m == nil {
		return nil
	}
	for i, c := range m.all {
		err := m.registerer.Register(c)
		if err == nil {
			continue
		}
		for _, before := range m.all[:i] {
			m.registerer.Unregister(before)
		}
		if errors.As(err, new(prometheus.AlreadyRegisteredError)) {
			return holdfast.Errorf(holdfast.InvalidArgument, "server: Config.Metrics has the metrics of another server already; prometheus.WrapRegistererWith can tell them apart by a label")
		}
		return holdfast.Errorf(holdfast.InvalidArgument, "server: Config.Metrics: %w", err)
	}
	return nil
}

// unregister takes the metrics of a server that is shut down away.
func (m *metrics) unregister() {
	if m == nil {
		return
	}
	for _, c := range m.all {
		m.registerer.Unregister(c)
	}
}

// codeLabel is the code of an error as a label: one of the table of codes.
func codeLabel(err error) string {
	code := holdfast.CodeOf(err)
	if !code.Known() {
		code = holdfast.Internal
	}
	return string(code)
}

// refused counts a refusal; nil is none.
func (m *metrics) refused(where checkpoint, err error) {
	if m != nil && err != nil {
		m.refusals.WithLabelValues(string(where), codeLabel(err)).Inc()
	}
}

// admitted counts the end of an admission.
func (m *metrics) admitted(took time.Duration, err error) {
	switch {
	case m == nil:
	case err != nil:
		m.refused(atAdmission, err)
	default:
		m.admissions.Inc()
		m.admission.Observe(took.Seconds())
	}
}

// published counts an event that the broker took.
func (m *metrics) published(took time.Duration, err error) {
	if m != nil && err == nil {
		m.publish.Observe(took.Seconds())
	}
}

// fannedOut is hub.Config.FannedOut.
func (m *metrics) fannedOut(took time.Duration) { m.fanOut.Observe(took.Seconds()) }

// ended counts the end of a connection, which err explains.
func (m *metrics) ended(err error) {
	switch {
	case m == nil:
	case err == nil:
		m.closed.WithLabelValues("none").Inc()
	default:
		m.closed.WithLabelValues(codeLabel(err)).Inc()
	}
}

// refreshed counts an auth:refresh.
func (m *metrics) refreshed(err error) {
	switch {
	case m == nil:
	case err != nil:
		m.refreshes.WithLabelValues("refused").Inc()
	default:
		m.refreshes.WithLabelValues("ok").Inc()
	}
}

// revoked counts a revocation.
func (m *metrics) revoked() {
	if m != nil {
		m.revocations.Inc()
	}
}
