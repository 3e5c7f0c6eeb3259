package standalone

import (
	"net/url"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/webhook"
)

// hookMetrics counts what becomes of webhooks: a prometheus.Collector. Its
// labels have values of fixed sets, and the names of the configured targets,
// of which webhook.New takes 64 at most. A nil *hookMetrics counts nothing.
type hookMetrics struct {
	registerer prometheus.Registerer
	named      map[string]bool // targets that have a name of their own

	attempts *prometheus.CounterVec   // target, outcome
	took     *prometheus.HistogramVec // kind
	delay    prometheus.Histogram
}

// Values of the label kind.
const (
	kindDelivery = "delivery"
	kindQuestion = "question" // whose asker waits
)

// newHookMetrics makes the metrics of webhooks to these targets; nil without a
// registerer. They are not registered yet.
func newHookMetrics(registerer prometheus.Registerer, targets []webhook.Target) *hookMetrics {
	if registerer == nil {
		return nil
	}
	m := &hookMetrics{
		registerer: registerer,
		named:      make(map[string]bool),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_webhook_attempts_total", Help: "Attempts to deliver a webhook, questions, and webhooks that were dropped, by what came of them.",
		}, []string{"target", "outcome"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "holdfast_webhook_attempt_duration_seconds", Help: "Time of an attempt to deliver, or of a question.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 15},
		}, []string{"kind"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "holdfast_webhook_delay_seconds", Help: "Time from an event to its delivery.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 7200},
		}),
	}
	for _, t := range targets {
		m.expect(t)
	}
	return m
}

// expect makes a target's series, so that the first increase of each is seen as
// one: those of what the target is for.
func (m *hookMetrics) expect(t webhook.Target) {
	label := t.Name
	if label != "" {
		m.named[label] = true
	} else if u, err := url.Parse(t.URL); err == nil {
		label = u.Host
	}
	var outcomes []string
	if len(t.Events) > 0 || len(t.Decide) == 0 {
		outcomes = append(outcomes, webhook.Delivered, webhook.Retried, webhook.Died, webhook.Dropped)
		m.took.WithLabelValues(kindDelivery)
	}
	if len(t.Decide) > 0 {
		outcomes = append(outcomes, webhook.Allowed, webhook.Denied, webhook.Undecided)
		m.took.WithLabelValues(kindQuestion)
	}
	for _, outcome := range outcomes {
		m.attempts.WithLabelValues(label, outcome)
	}
}

// observe counts a result: webhook.Config.Observe.
func (m *hookMetrics) observe(r webhook.Result) {
	label := r.Target
	if !m.named[label] {
		label, _, _ = strings.Cut(label, "/") // a path may be a secret
	}
	m.attempts.WithLabelValues(label, r.Outcome).Inc()
	switch r.Outcome {
	case webhook.Dropped: // nobody was called
	case webhook.Allowed, webhook.Denied, webhook.Undecided:
		m.took.WithLabelValues(kindQuestion).Observe(r.Duration.Seconds())
	default:
		m.took.WithLabelValues(kindDelivery).Observe(r.Duration.Seconds())
	}
	if r.Outcome == webhook.Delivered {
		m.delay.Observe(r.Delay.Seconds())
	}
}

// register makes the metrics visible: all of them, or none with an error.
func (m *hookMetrics) register() error {
	if m == nil {
		return nil
	}
	if err := m.registerer.Register(m); err != nil {
		return holdfast.Errorf(holdfast.InvalidArgument, "standalone: Config.Metrics: %w", err)
	}
	return nil
}

// unregister takes the metrics of a server that is shut down away.
func (m *hookMetrics) unregister() {
	if m != nil {
		m.registerer.Unregister(m)
	}
}

// Describe implements prometheus.Collector.
func (m *hookMetrics) Describe(ch chan<- *prometheus.Desc) {
	m.attempts.Describe(ch)
	m.took.Describe(ch)
	m.delay.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *hookMetrics) Collect(ch chan<- prometheus.Metric) {
	m.attempts.Collect(ch)
	m.took.Collect(ch)
	m.delay.Collect(ch)
}
