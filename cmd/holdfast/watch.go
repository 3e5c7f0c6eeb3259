package main

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/server"
)

// watchFlags are about what operators see, and what they let go.
type watchFlags struct {
	RoomPolicy   []string `placeholder:"PATTERN=POLICY" group:"timing" help:"What members of some rooms miss who read too slowly: nothing, and they are closed (close, as in all other rooms); the oldest events that wait (drop-oldest); all but the newest event of each name (latest), or of each name and value of a field in the data (latest:FIELD), as in 'cursor-*=latest:id'. The first that matches counts. Repeatable."`
	OTLPEndpoint string   `name:"otlp-endpoint" placeholder:"URL" group:"log" help:"Send traces (OpenTelemetry, OTLP over HTTP) to the collector at this address, such as http://127.0.0.1:4318. Without it, OTEL_EXPORTER_OTLP_ENDPOINT is looked at; none are sent if that is not set either."`
}

// tracesPath is where collectors take traces, if the address has no path.
const tracesPath = "/v1/traces"

// flushTimeout is how long the last traces have to get to the collector.
const flushTimeout = 5 * time.Second

// sane checks the flags.
func (f *watchFlags) sane() error {
	var wrong problems
	_, err := f.policies()
	wrong.add(err)
	if f.OTLPEndpoint != "" {
		wrong.add(httpURL("otlp-endpoint", f.OTLPEndpoint))
	}
	return wrong.err()
}

// policies are those of --room-policy.
func (f *watchFlags) policies() ([]server.RoomPolicy, error) {
	var policies []server.RoomPolicy
	for _, given := range f.RoomPolicy {
		at := strings.LastIndexByte(given, '=') // a room's name may have one
		if at < 0 {
			return nil, usagef("room-policy %q must be PATTERN=POLICY, such as 'cursor-*=latest:id'", given)
		}
		policy, key, keyed := strings.Cut(given[at+1:], ":")
		overflow, err := hub.ParseOverflow(policy)
		switch {
		case err != nil:
			return nil, usagef("room-policy %q: the policy is close, drop-oldest, latest or latest:FIELD", given)
		case keyed && (key == "" || overflow != hub.OverflowLatest):
			return nil, usagef("room-policy %q: only latest has a field, as in latest:id", given)
		}
		policies = append(policies, server.RoomPolicy{Rooms: given[:at], Overflow: overflow, Key: key})
	}
	return policies, nil
}

// watch is what the server tells about itself.
type watch struct {
	metrics *prometheus.Registry     // nil if nobody can read them
	traces  *sdktrace.TracerProvider // nil if they go nowhere
}

// watch makes what the server is watched by. Whoever has shut the server down
// closes it.
func (s *serveFlags) watch(e *environment, admin net.Listener, log *slog.Logger) (watch, error) {
	var w watch
	if admin != nil {
		w.metrics = prometheus.NewRegistry()
		w.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	var options []otlptracehttp.Option
	switch {
	case s.OTLPEndpoint != "":
		options = append(options, otlptracehttp.WithEndpointURL(tracesURL(s.OTLPEndpoint)))
	case e.getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && e.getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "":
		return w, nil
	}
	exporter, err := otlptracehttp.New(e.ctx, options...)
	if err != nil {
		return w, usagef("otlp-endpoint: %w", err)
	}
	name := e.getenv("OTEL_SERVICE_NAME")
	if name == "" {
		name = "holdfast"
	}
	about, err := resource.New(e.ctx, resource.WithFromEnv(), resource.WithAttributes(attribute.String("service.name", name)))
	if err != nil {
		log.Warn("not everything in OTEL_RESOURCE_ATTRIBUTES can be used", "err", err)
	}
	// The exporter has no other way to say that it can't reach the collector.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces", "err", err) }))
	w.traces = sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	return w, nil
}

// tracesURL completes the address of a collector.
func tracesURL(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint // sane has said so
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = tracesPath
	}
	return u.String()
}

// into puts it into the server's configuration.
func (w watch) into(cfg *server.Config) {
	if w.metrics != nil {
		cfg.Metrics = w.metrics
	}
	if w.traces != nil {
		cfg.TracerProvider = w.traces
	}
}

// close sends the traces that wait.
func (w watch) close(log *slog.Logger) {
	if w.traces == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := w.traces.Shutdown(ctx); err != nil {
		log.Warn("the last traces could not be sent", "err", err)
	}
}
