package server

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-dev/holdfast"
)

// The spans of a server. They have the transport, and the code of a refusal;
// no rooms, users, tokens or payloads, since traces are kept elsewhere and
// shown to others than those who may see these.
const (
	spanAdmit   = "holdfast.admit"
	spanJoin    = "holdfast.join"
	spanPublish = "holdfast.publish"

	attrTransport = "holdfast.transport"
	attrCode      = "holdfast.code"
)

// newTracer returns the server's tracer; nil without a provider.
func newTracer(p trace.TracerProvider) trace.Tracer {
	if p == nil {
		return nil
	}
	return p.Tracer("github.com/holdfast-dev/holdfast/server")
}

// operation is something under way that is measured and traced. Where nobody
// wants to know it is zero, and costs nothing.
type operation struct {
	began time.Time
	span  trace.Span // nil without a tracer
}

// begin begins an operation. by is whose connection it came by, nil for none.
func (s *Server) begin(ctx context.Context, name string, by pipe) (context.Context, operation) {
	if s.metrics == nil && s.tracer == nil {
		return ctx, operation{}
	}
	op := operation{began: time.Now()}
	if s.tracer != nil {
		ctx, op.span = s.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer))
		if by != nil && op.span.IsRecording() {
			op.span.SetAttributes(attribute.String(attrTransport, by.Transport()))
		}
	}
	return ctx, op
}

// end ends the operation and returns how long it took. Of an error only the
// code is told: its text may quote what a client sent.
func (o operation) end(err error) time.Duration {
	if o.began.IsZero() {
		return 0
	}
	took := time.Since(o.began)
	if o.span == nil {
		return took
	}
	if err != nil {
		code := codeLabel(err)
		o.span.SetAttributes(attribute.String(attrCode, code))
		if holdfast.Code(code) == holdfast.Internal { // any other refusal is no fault
			o.span.SetStatus(codes.Error, code)
		}
	}
	o.span.End()
	return took
}

// callerTrace returns a request's context in the trace of its traceparent
// header (W3C Trace Context). It is for backends: what a stranger could put
// there would settle which traces are kept. A span that the program has put
// into the context already stays.
func (s *Server) callerTrace(r *http.Request) context.Context {
	ctx := r.Context()
	if s.tracer == nil || trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
}
