package server_test

import (
	"context"
	"maps"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// refused returns holdfast_refusals_total, by "where code".
func refused(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	found := make(map[string]float64)
	for name, n := range scrape(t, registry) {
		if rest, ok := strings.CutPrefix(name, `holdfast_refusals_total{code="`); ok {
			code, rest, _ := strings.Cut(rest, `",where="`)
			found[strings.TrimSuffix(rest, `"}`)+" "+code] = n
		}
	}
	return found
}

// Each refusal of a request that listens is counted once.
func TestListenersRefused(t *testing.T) {
	in(t, func(t *testing.T) {
		none := token(t, "alice", time.Hour, `{"permissions":{"rooms":[]}}`)
		for _, tc := range []struct {
			name, query, token, origin string
			sse, poll                  string // where and why
		}{
			{"no room", "", token(t, "alice", time.Hour), "", "handshake INVALID_ARGUMENT", "http INVALID_ARGUMENT"},
			{"no room's name", "?room=%0a", token(t, "alice", time.Hour), "", "handshake INVALID_ARGUMENT", "http INVALID_ARGUMENT"},
			{"no right", "?room=r", none, "", "join FORBIDDEN", "http FORBIDDEN"},
			{"bad token", "?room=r", "none", "", "admission UNAUTHENTICATED", "http UNAUTHENTICATED"},
			{"old token", "?room=r", token(t, "alice", -time.Hour), "", "admission TOKEN_EXPIRED", "http TOKEN_EXPIRED"},
			{"another origin", "?room=r", token(t, "alice", time.Hour), "https://evil.example", "handshake ORIGIN_NOT_ALLOWED", "http ORIGIN_NOT_ALLOWED"},
		} {
			for path, want := range map[string]string{"/events": tc.sse, "/poll": tc.poll} {
				registry := prometheus.NewRegistry()
				w := newWorld(t, server.Config{Metrics: registry})
				header := []string{"Authorization", "Bearer " + tc.token}
				if tc.origin != "" {
					header = append(header, "Origin", tc.origin)
				}
				if status, _, body := w.request("GET", path+tc.query, "", header...); status < 400 || !strings.Contains(body, strings.Fields(want)[1]) {
					t.Errorf("%s %s: %d %s", tc.name, path, status, body)
				}
				synctest.Wait()
				if got := refused(t, registry); !maps.Equal(got, map[string]float64{want: 1}) {
					t.Errorf("%s %s: counted %v, want %s once", tc.name, path, got, want)
				}
			}
		}
		// What is over a limit, and what comes during a drain.
		for path, want := range map[string]string{"/events": "handshake", "/poll": "http"} {
			registry := prometheus.NewRegistry()
			w := newWorld(t, server.Config{Metrics: registry, AdmissionRate: 0.2})
			for range 2 {
				w.request("GET", path, "")
			}
			if got := refused(t, registry); got[want+" RATE_LIMITED"] != 1 || len(got) != 2 {
				t.Errorf("%s over the rate: counted %v", path, got)
			}
		}
	})
}

// A poll that waits is counted as long as it does, and what is queued for a
// stream is.
func TestListenersCounted(t *testing.T) {
	in(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		w := newWorld(t, server.Config{Metrics: registry})
		s := w.listen("alice", "?room=r")
		first := w.poll("bob", "?room=r")
		done := make(chan polled)
		go func() { done <- w.poll("bob", "?room=r&wait=20&since="+first.Cursor) }()
		synctest.Wait()
		wantSeries(t, registry, map[string]float64{
			`holdfast_connections{transport="poll"}`: 1,
			`holdfast_connections{transport="sse"}`:  1,
			`holdfast_queue_bytes`:                   0,
		})
		for range 5 { // more than the network holds
			w.publish("r", "e", strings.Repeat("x", 50_000))
		}
		if p := <-done; p.status != http.StatusOK {
			t.Errorf("%d %s", p.status, p.body)
		}
		synctest.Wait()
		got := scrape(t, registry)
		if n := got["holdfast_queue_bytes"]; n < 50_000 || n > 250_000 {
			t.Errorf("%v bytes wait for a stream that nobody reads", n)
		}
		if n := got[`holdfast_connections{transport="poll"}`]; n != 0 {
			t.Errorf("%v polls wait", n)
		}
		for range 5 {
			s.want("e", "")
		}
		synctest.Wait()
		wantSeries(t, registry, map[string]float64{`holdfast_queue_bytes`: 0})
	})
}

// An Authenticator that panics refuses, and its span and count are those of a
// fault.
func TestAuthenticatorPanics(t *testing.T) {
	for name, try := range map[string]func(w *world){
		"socket.io": func(w *world) {
			p := w.dial()
			p.send("40")
			p.wantClose(1011, "INTERNAL")
		},
		"ws": func(w *world) { w.plain("", "Authorization", "Bearer none").wantClose(1011, "INTERNAL") },
		"sse": func(w *world) {
			if _, err := w.tryListen(w.client(), "?room=r"); err == nil || codeIn(err.Error()) != holdfast.Internal {
				w.t.Errorf("got %v", err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T) {
				spans := tracetest.NewInMemoryExporter()
				provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
				defer provider.Shutdown(t.Context())
				registry := prometheus.NewRegistry()
				w := newWorld(t, server.Config{TracerProvider: provider, Metrics: registry, Authenticator: auth.Func(func(context.Context, auth.Credential) (*holdfast.Identity, error) {
					panic("authenticator")
				})})
				try(w)
				synctest.Wait()
				if got := refused(t, registry); !maps.Equal(got, map[string]float64{"admission INTERNAL": 1}) {
					t.Errorf("counted %v", got)
				}
				stubs := spans.GetSpans()
				if len(stubs) != 1 || !strings.HasSuffix(spanLine(stubs[0]), " holdfast.code=INTERNAL Error:INTERNAL") {
					t.Errorf("spans %v", stubs)
				}
			})
		})
	}
}
