package webhook

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/holdfast-dev/holdfast/auth"
)

// Over a real network: https with a certificate that is trusted, and no other.
func TestTLS(t *testing.T) {
	for name, c := range map[string]struct {
		trusted bool
		most    uint16
		want    string
	}{
		"trusted":    {true, tls.VersionTLS13, ""},
		"untrusted":  {false, tls.VersionTLS13, "unknown authority"},
		"an old TLS": {true, tls.VersionTLS11, "protocol version"},
	} {
		t.Run(name, func(t *testing.T) {
			var came atomic.Int32
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, err := Receive(auth.Secret(secretA), r); err != nil {
					t.Error(err)
				}
				came.Add(1)
			}))
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: c.most}
			s.StartTLS()
			defer s.Close()
			_, g, err := parseURL(s.URL, nil)
			if err != nil {
				t.Fatal(err)
			}
			k, _ := key(auth.Secret(secretA))
			call := newCaller(s.URL, [][]byte{k}, g, Config{})
			defer call.close()
			if c.trusted {
				pool := x509.NewCertPool()
				pool.AddCert(s.Certificate())
				call.client.Transport.(*http.Transport).TLSClientConfig.RootCAs = pool
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			a, err := call.post(ctx, "msg_1", []byte(`{"id":"msg_1"}`), 100)
			if c.want == "" && (err != nil || !a.ok() || came.Load() != 1) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || came.Load() != 0) {
				t.Errorf("%+v, %v, want %q", a, err, c.want)
			}
		})
	}
}

// The proxy of the environment is not asked: it would resolve names by itself.
func TestNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	call := newCaller("https://app.example", nil, guard{}, Config{})
	if call.client.Transport.(*http.Transport).Proxy != nil {
		t.Error("there is a proxy")
	}
}

// spans makes tracers that keep the names and attributes of spans.
type spans struct {
	noop.TracerProvider
	begun chan string
}

func (s spans) Tracer(string, ...trace.TracerOption) trace.Tracer { return tracer{begun: s.begun} }

type tracer struct {
	noop.Tracer
	begun chan string
}

func (r tracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	config := trace.NewSpanStartConfig(o...)
	for _, a := range config.Attributes() {
		if a.Key != "holdfast.webhook.id" {
			name += " " + a.Value.String()
		}
	}
	r.begun <- name
	return r.Tracer.Start(ctx, name)
}

// Each attempt and each question is a span.
func TestSpans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := spans{begun: make(chan string, 10)}
		b := newBackend(t, text(`{"allow":true}`))
		w := newWorld(t, Config{TracerProvider: s, Targets: []Target{{Events: events(), Decide: questions()}}}, b)
		if err := w.DecideJoin(t.Context(), Peer{}, "a"); err != nil {
			t.Error(err)
		}
		w.joined(t, "c1", "a")
		synctest.Wait()
		for _, want := range []string{"holdfast.webhook a.example join", "holdfast.webhook a.example joined 1"} {
			if got := <-s.begun; got != want {
				t.Errorf("span %q, want %q", got, want)
			}
		}
	})
}
