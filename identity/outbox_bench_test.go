package identity

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/webhook"
)

// BenchmarkPublished is what a publisher waits for: an event in the outbox,
// while others are delivered to a target on this machine.
func BenchmarkPublished(b *testing.B) {
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer app.Close()
	for name, parallel := range map[string]int{"one": 0, "many": 64} {
		b.Run(name, func(b *testing.B) {
			benchDatabases(b, func(b *testing.B, p *Provider) {
				hooks := hookConfig(app.URL, p)
				var delivered atomic.Int64
				hooks.Observe = func(r webhook.Result) {
					if r.Outcome == webhook.Delivered {
						delivered.Add(1)
					}
				}
				hooks.Targets[0].Concurrency = webhook.DefaultConcurrency
				hooks.Targets[0].Timeout = webhook.DefaultTimeout
				d, err := webhook.New(hooks)
				if err != nil {
					b.Fatal(err)
				}
				var offset atomic.Uint64
				publish := func() {
					n := offset.Add(1)
					room := "board-" + strconv.FormatUint(n%100, 10)
					_ = d.Published(b.Context(), &holdfast.Event{Room: room, Name: "moved", Data: []byte(`{"x":1,"y":2}`), Position: holdfast.Position{Epoch: "e", Offset: n}})
				}
				b.ResetTimer()
				if parallel == 0 {
					for range b.N {
						publish()
					}
				} else {
					b.SetParallelism(parallel)
					b.RunParallel(func(pb *testing.PB) {
						for pb.Next() {
							publish()
						}
					})
				}
				b.StopTimer()
				b.ReportMetric(float64(delivered.Load())/b.Elapsed().Seconds(), "delivered/s")
				_ = d.Shutdown(b.Context())
			})
		})
	}
}
