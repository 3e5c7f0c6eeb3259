package standalone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/webhook"
)

// webhookSeries are the metrics of webhooks in a registry: a counter's value, or
// how often a histogram has observed, by name and labels' values.
func webhookSeries(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := make(map[string]float64)
	for _, f := range families {
		name, ok := strings.CutPrefix(f.GetName(), "holdfast_webhook_")
		for _, m := range f.GetMetric() {
			key := name
			for _, l := range m.GetLabel() {
				key += " " + l.GetValue()
			}
			if ok {
				series[key] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return series
}

// What becomes of webhooks is counted and traced with the server's own, and
// whoever observes is told as well.
func TestWebhooksAreWatched(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	defer func() { _ = provider.Shutdown(context.Background()) }()
	var mu sync.Mutex // guards told
	var told []string
	b := newBackend(t, func(m webhook.Message) string {
		if strings.Contains(string(m.Data), `"closed"`) {
			return `{"allow":false}`
		}
		if strings.Contains(string(m.Data), `"broken"`) {
			return `no`
		}
		return `{"allow":true}`
	})
	decides, hears := b.target(), b.target()
	decides.Name, decides.Decide = "app", []webhook.Type{webhook.TypeJoin}
	hears.URL, hears.Events = b.URL+"/secret-path", []webhook.Type{webhook.TypeJoined}
	s, url := hooked(t, webhook.Config{
		Targets: []webhook.Target{decides, hears},
		Observe: func(r webhook.Result) { mu.Lock(); defer mu.Unlock(); told = append(told, r.Outcome) },
	}, func(cfg *Config) { cfg.Metrics, cfg.TracerProvider = registry, provider })
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	host := strings.TrimPrefix(b.URL, "http://")
	want := func(values map[string]float64) {
		t.Helper()
		all := map[string]float64{
			"attempts_total delivered " + host: 0, "attempts_total retried " + host: 0, "attempts_total dead " + host: 0, "attempts_total dropped " + host: 0,
			"attempts_total allowed app": 0, "attempts_total denied app": 0, "attempts_total failed app": 0,
			"attempt_duration_seconds delivery": 0, "attempt_duration_seconds question": 0, "delay_seconds": 0,
		}
		for name, v := range values {
			all[name] = v
		}
		got := webhookSeries(t, registry)
		for name, v := range all {
			if n, ok := got[name]; !ok || n != v {
				t.Errorf("%s is %v (%v), want %v", name, n, ok, v)
			}
		}
		if len(got) != len(all) {
			t.Errorf("series %v", got)
		}
	}
	want(nil)

	p := dial(t, url)
	for _, room := range []string{"open", "closed", "broken"} {
		p.ask(`{"type":"join","room":"` + room + `","ref":1}`)
	}
	b.next(t)
	if err := s.webhooks.Shutdown(t.Context()); err != nil { // what is delivered is counted by then
		t.Fatal(err)
	}
	want(map[string]float64{
		"attempts_total delivered " + host: 1, "attempts_total allowed app": 1, "attempts_total denied app": 1, "attempts_total failed app": 1,
		"attempt_duration_seconds delivery": 1, "attempt_duration_seconds question": 3, "delay_seconds": 1,
	})
	mu.Lock()
	slices.Sort(told)
	if got := fmt.Sprint(told); got != "[allowed delivered denied failed]" {
		t.Errorf("observed %s", got)
	}
	mu.Unlock()

	joins := make(map[string]bool) // ids of spans
	questions, deliveries := 0, 0
	for _, span := range spans.GetSpans() {
		if span.Name == "holdfast.join" {
			joins[span.SpanContext.SpanID().String()] = true
		}
	}
	for _, span := range spans.GetSpans() {
		if strings.Contains(fmt.Sprint(span.Attributes), "secret-path") {
			t.Errorf("a span has a URL: %v", span.Attributes)
		}
		switch {
		case span.Name != "holdfast.webhook":
		case joins[span.Parent.SpanID().String()]:
			questions++
		case !span.Parent.IsValid():
			deliveries++
		}
	}
	if questions != 3 || deliveries != 1 {
		t.Errorf("%d spans of questions within joins, %d of deliveries", questions, deliveries)
	}

	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if families, err := registry.Gather(); err != nil || len(families) > 0 {
		t.Errorf("%d metrics after Shutdown, %v", len(families), err)
	}
}

// Without targets there is nothing to count. A registry that has such metrics
// already is an error, after which nothing runs and nothing is registered.
func TestWebhookMetricsRegistration(t *testing.T) {
	cfg := Config{}
	cfg.Authenticator = auth.Func(nil)
	cfg.Logger = slog.New(slog.DiscardHandler)
	registry := prometheus.NewRegistry()
	cfg.Metrics = registry
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := webhookSeries(t, registry); len(got) > 0 {
		t.Errorf("series %v", got)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	registry.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "holdfast_webhook_delay_seconds", Help: "Somebody else's."}))
	cfg.Webhooks.Targets = []webhook.Target{{URL: "https://app.example/hook", Secrets: []auth.Secret{auth.Secret(hookSecret)}}}
	if _, err := New(t.Context(), cfg); !errors.Is(err, holdfast.InvalidArgument) || !strings.Contains(err.Error(), "Config.Metrics") {
		t.Errorf("two of a name: %v", err)
	}
	if families, err := registry.Gather(); err != nil || len(families) != 1 {
		t.Errorf("%d metrics are left, %v", len(families), err)
	}
}
