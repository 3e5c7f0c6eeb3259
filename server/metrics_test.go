package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/auth"
	"github.com/holdfast-dev/holdfast/server"
)

// scrape reads a registry as Prometheus does: over HTTP and in the text form.
// A series is named as in `name{label="value"}`; a histogram's value is how
// many it has observed.
func scrape(t testing.TB, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("metrics: %d %s", w.Code, w.Body)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	series := make(map[string]float64)
	for name, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			slices.Sort(labels)
			key := name
			if len(labels) > 0 {
				key += "{" + strings.Join(labels, ",") + "}"
			}
			series[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return series
}

// wantSeries checks values of a scrape.
func wantSeries(t *testing.T, registry *prometheus.Registry, want map[string]float64) {
	t.Helper()
	got := scrape(t, registry)
	for name, value := range want {
		if v, ok := got[name]; v != value || !ok {
			t.Errorf("%s is %v, want %v", name, v, value)
		}
	}
}

const publishKey = "a-key-of-the-tests-0123456789"

func publishKeys(t testing.TB) *auth.APIKeys {
	keys, err := auth.NewAPIKeys(auth.APIKeysConfig{Static: auth.Secret(publishKey)})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestMetrics(t *testing.T) {
	in(t, func(t *testing.T) {
		registry := prometheus.NewPedanticRegistry()
		w := newWorld(t, server.Config{Metrics: registry, APIKeys: publishKeys(t), MessageRate: 5, MessageBurst: 20})
		if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
			t.Errorf("%v, %v", problems, err)
		}
		wantSeries(t, registry, map[string]float64{
			`holdfast_connections{transport="websocket"}`: 0,
			`holdfast_rooms`:                        0,
			`holdfast_refreshes_total{result="ok"}`: 0,
			`holdfast_admissions_total`:             0,
		})

		alice, bob := w.connect("alice"), w.connect("bob")
		plain := w.dialBy(w.net.DialContext, "/ws")
		plain.want(`{"type":"authenticated"`)
		for _, p := range []*peer{alice, bob} {
			p.send(`421["room:join",{"room":"r"}]`)
			p.want(`431[{"ok":true`)
		}
		alice.want(`42["presence:join",`)
		alice.send(`422["room:join",{"room":"\n"}]`)
		alice.want(`432[{"ok":false`)
		alice.send(`423["room:publish",{"room":"r","event":"e","data":1}]`)
		alice.recv()
		alice.recv() // the event and the ack, in either order
		bob.want(`42["e"`)
		alice.send(`424["room:publish",{"room":"r","event":"auth:x","data":1}]`)
		alice.want(`434[{"ok":false`)
		alice.send(`425["auth:refresh",{"token":"` + token(t, "alice", time.Hour) + `"}]`)
		alice.want(`435[{"ok":true`)
		alice.send(`426["auth:refresh",{"token":"` + token(t, "bob", time.Hour) + `"}]`)
		alice.want(`436[{"ok":false`)
		for range 30 { // over the rate
			bob.send(`427["room:leave",{"room":"none"}]`)
		}
		synctest.Wait()

		stranger := w.dial()
		stranger.send("40")
		stranger.want("44")
		old := w.dial()
		old.send(`40{"token":"` + token(t, "carol", -time.Hour) + `"}`)
		old.want("44")
		if _, err := w.tryDial("Origin", "https://evil.example"); err == nil {
			t.Error("another origin may connect")
		}

		key := []string{"Authorization", "Bearer " + publishKey}
		for _, c := range []struct {
			path, body string
			header     []string
			want       int
		}{
			{roomPath("r"), `{"event":"e","data":2}`, key, 200},
			{roomPath("r"), `{"event":"e","data":2}`, nil, 401},
			{"/api/connections/close", `{}`, nil, 401},
			{"/api/connections/close", `{"user":"bob"}`, key, 200},
		} {
			if status, _, body := w.request("POST", c.path, c.body, c.header...); status != c.want {
				t.Errorf("%s: %d %s", c.path, status, body)
			}
		}
		bob.wantClose(4001, "SESSION_REVOKED")
		if err := plain.conn.Close(1000, ""); err != nil {
			t.Error(err)
		}
		alice.want(`42["e"`)
		<-time.After(time.Second) // what is closed is forgotten

		wantSeries(t, registry, map[string]float64{
			`holdfast_connections{transport="websocket"}`:                          3,
			`holdfast_connections{transport="ws"}`:                                 0,
			`holdfast_connections{transport="polling"}`:                            0,
			`holdfast_connections{transport="other"}`:                              0,
			`holdfast_queue_bytes`:                                                 0,
			`holdfast_rooms`:                                                       1,
			`holdfast_memberships`:                                                 1,
			`holdfast_events_published_total`:                                      2,
			`holdfast_deliveries_total`:                                            4,
			`holdfast_frames_dropped_total{policy="latest"}`:                       0,
			`holdfast_frames_dropped_total{policy="drop-oldest"}`:                  0,
			`holdfast_connections_closed_total{code="SESSION_REVOKED"}`:            1,
			`holdfast_connections_closed_total{code="none"}`:                       1,
			`holdfast_admissions_total`:                                            3,
			`holdfast_refusals_total{code="UNAUTHENTICATED",where="admission"}`:    1,
			`holdfast_refusals_total{code="TOKEN_EXPIRED",where="admission"}`:      1,
			`holdfast_refusals_total{code="ORIGIN_NOT_ALLOWED",where="handshake"}`: 1,
			`holdfast_refusals_total{code="INVALID_ARGUMENT",where="join"}`:        1,
			`holdfast_refusals_total{code="INVALID_ARGUMENT",where="publish"}`:     1,
			`holdfast_refusals_total{code="UNAUTHENTICATED",where="publish"}`:      1,
			`holdfast_refusals_total{code="UNAUTHENTICATED",where="http"}`:         1,
			`holdfast_refreshes_total{result="ok"}`:                                1,
			`holdfast_refreshes_total{result="refused"}`:                           1,
			`holdfast_revocations_total`:                                           1,
			`holdfast_admission_duration_seconds`:                                  3,
			`holdfast_publish_duration_seconds`:                                    2,
			`holdfast_fan_out_duration_seconds`:                                    2,
		})
		if n := scrape(t, registry)[`holdfast_refusals_total{code="RATE_LIMITED",where="message"}`]; n < 5 || n > 30 {
			t.Errorf("%v messages over the rate", n)
		}
	})
}

// What a client chooses is no label: there are no more series after many
// different users, rooms, events and codes.
func TestMetricsAreBounded(t *testing.T) {
	in(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		w := newWorld(t, server.Config{Metrics: registry})
		w.srv.OnConnect(func(context.Context, *server.Conn) error {
			return holdfast.Errorf(holdfast.Code("MADE_UP_"+time.Now().String()), "no")
		})
		series := 0
		for i := range 20 {
			p := w.dial()
			p.send(`40{"token":"` + token(t, fmt.Sprint("user", i), time.Hour) + `"}`)
			p.want("44")
			if n := len(scrape(t, registry)); i <= 1 { // the first is closed by then
				series = n
			} else if n != series {
				t.Fatalf("%d series after %d users, %d after one", n, i+1, series)
			}
			<-time.After(time.Minute)
		}
		wantSeries(t, registry, map[string]float64{`holdfast_refusals_total{code="INTERNAL",where="admission"}`: 20})
	})
}

// A registry has the metrics of one server, until that is shut down.
func TestMetricsRegistration(t *testing.T) {
	registry := prometheus.NewRegistry()
	cfg := server.Config{Authenticator: anyone, Metrics: registry}
	first, err := server.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	before := len(scrape(t, registry))
	if _, err := server.New(cfg); !errors.Is(err, holdfast.InvalidArgument) || !strings.Contains(err.Error(), "Config.Metrics") {
		t.Errorf("a second server: %v", err)
	}
	if n := len(scrape(t, registry)); n != before || n == 0 {
		t.Errorf("%d series, %d before the second server", n, before)
	}
	cfg.Metrics = prometheus.WrapRegistererWith(prometheus.Labels{"server": "b"}, registry)
	if _, err := server.New(cfg); err == nil {
		t.Error("one with a label beside one without: want the registry's complaint")
	}
	if err := first.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(scrape(t, registry)); n != 0 {
		t.Errorf("%d series after Shutdown", n)
	}
	registry = prometheus.NewRegistry() // where the labels were others it stays with them
	var servers []*server.Server
	for _, name := range []string{"a", "b"} {
		cfg.Metrics = prometheus.WrapRegistererWith(prometheus.Labels{"server": name}, registry)
		s, err := server.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, s)
	}
	for _, s := range servers {
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
