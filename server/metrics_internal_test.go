package server

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/holdfast-dev/holdfast"
)

// operate is what a publish costs for being watched.
func operate(s *Server, ctx context.Context, err error) {
	_, op := s.begin(ctx, spanPublish, nil)
	s.metrics.published(op.end(err), err)
	s.metrics.refused(atPublish, err)
}

// Nothing is allocated where nobody watches, and nothing for metrics.
func TestWatchingIsCheap(t *testing.T) {
	ctx := context.Background()
	off := new(Server)
	measured := new(Server)
	measured.metrics = newMetrics(measured, prometheus.NewRegistry())
	refusal := holdfast.Forbidden.New()
	for _, c := range []struct {
		name string
		srv  *Server
		err  error
	}{{"off", off, nil}, {"off, refused", off, refusal}, {"metrics", measured, nil}} {
		if n := testing.AllocsPerRun(100, func() { operate(c.srv, ctx, c.err) }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
	off.metrics.admitted(time.Second, nil)
	off.metrics.ended(nil)
	off.metrics.refreshed(nil)
	off.metrics.revoked()
	off.metrics.unregister()
	if err := off.metrics.register(); err != nil {
		t.Error(err)
	}
}

func TestCodeLabel(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{holdfast.Forbidden.New(), "FORBIDDEN"},
		{errors.New("anything"), "INTERNAL"},
		{context.Canceled, "INTERNAL"},
		{holdfast.Errorf("MADE_UP", "no"), "INTERNAL"},
		{errors.Join(nil, holdfast.Errorf(holdfast.SessionRevoked, "no")), "SESSION_REVOKED"},
	} {
		if got := codeLabel(c.err); got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

func BenchmarkWatching(b *testing.B) {
	measured := new(Server)
	measured.metrics = newMetrics(measured, prometheus.NewRegistry())
	traced := &Server{tracer: newTracer(noop.NewTracerProvider())}
	for name, s := range map[string]*Server{"off": new(Server), "metrics": measured, "noop traces": traced} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				operate(s, context.Background(), nil)
			}
		})
	}
}
