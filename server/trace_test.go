package server_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/holdfast-dev/holdfast/hub"
	"github.com/holdfast-dev/holdfast/server"
)

// spanLine is what matters of a span, in a line.
func spanLine(s tracetest.SpanStub) string {
	line := s.Name
	for _, a := range s.Attributes {
		line += fmt.Sprintf(" %s=%s", a.Key, a.Value.AsString())
	}
	if s.Status.Code != codes.Unset {
		line += " " + s.Status.Code.String() + ":" + s.Status.Description
	}
	return line
}

func TestTraces(t *testing.T) {
	in(t, func(t *testing.T) {
		spans := tracetest.NewInMemoryExporter()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
		defer provider.Shutdown(t.Context())
		broker := hub.NewMemory(hub.MemoryConfig{})
		w := newWorld(t, server.Config{TracerProvider: provider, APIKeys: publishKeys(t), Broker: broker})
		take := func() (lines []string, stubs tracetest.SpanStubs) {
			stubs = spans.GetSpans()
			for _, s := range stubs {
				lines = append(lines, spanLine(s))
			}
			spans.Reset()
			return lines, stubs
		}
		wantSpans := func(want ...string) tracetest.SpanStubs {
			t.Helper()
			got, stubs := take()
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("spans (-want +got):\n%s", diff)
			}
			return stubs
		}

		p := w.connect("alice")
		wantSpans("holdfast.admit holdfast.transport=websocket")
		stranger := w.dial()
		stranger.send(`40{"token":"secret-token"}`)
		stranger.want("44")
		wantSpans("holdfast.admit holdfast.transport=websocket holdfast.code=UNAUTHENTICATED")

		p.send(`421["room:join",{"room":"r"}]`)
		p.want(`431[{"ok":true`)
		p.send(`422["room:join",{"room":"\n"}]`)
		p.want(`432[{"ok":false`)
		p.send(`423["room:publish",{"room":"r","event":"e","data":"private"}]`)
		p.recv()
		p.recv()
		wantSpans(
			"holdfast.join holdfast.transport=websocket",
			"holdfast.join holdfast.transport=websocket holdfast.code=INVALID_ARGUMENT",
			"holdfast.publish holdfast.transport=websocket",
		)

		// A backend's trace goes on, with its decision whether to keep it; a user's
		// does not.
		const parent = "4bf92f3577b34da6a3ce929d0e0e4736"
		publish := func(credential, flags string) {
			t.Helper()
			status, _, body := w.request("POST", roomPath("r"), `{"event":"e","data":1}`,
				"Authorization", "Bearer "+credential, "Traceparent", "00-"+parent+"-00f067aa0ba902b7-"+flags)
			if status != http.StatusOK {
				t.Fatalf("%d %s", status, body)
			}
			p.want(`42["e"`)
		}
		publish(publishKey, "01")
		if s := wantSpans("holdfast.publish"); s[0].SpanContext.TraceID().String() != parent || s[0].Parent.SpanID().String() != "00f067aa0ba902b7" {
			t.Errorf("a backend's publish is in trace %v, want %s", s[0].SpanContext.TraceID(), parent)
		}
		publish(publishKey, "00")
		wantSpans()
		publish(token(t, "alice", time.Hour), "01")
		if s := wantSpans("holdfast.publish"); s[0].SpanContext.TraceID().String() == parent || s[0].Parent.IsValid() {
			t.Error("a user's publish is in a trace of his choice")
		}

		// A fault of the server's own is marked as one.
		if err := broker.Close(); err != nil {
			t.Fatal(err)
		}
		p.send(`424["room:publish",{"room":"r","event":"e","data":1}]`)
		p.want(`434[{"ok":false`)
		got, _ := take()
		if len(got) != 1 || !slices.Contains([]string{
			"holdfast.publish holdfast.transport=websocket holdfast.code=INTERNAL Error:INTERNAL",
			"holdfast.publish holdfast.transport=websocket holdfast.code=GOING_AWAY",
		}, got[0]) {
			t.Errorf("with a closed broker: %q", got)
		}
	})
}
