package oauth2tokens

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/holdfast-dev/holdfast/tokens"
)

// wire is an http.RoundTripper that answers from memory, as cheaply as can be.
type wire struct {
	ok, refused *http.Response
	good        atomic.Pointer[string] // the Authorization that is good; nil: any
}

func newWire() *wire {
	return &wire{ok: &http.Response{StatusCode: 200, Body: http.NoBody}, refused: &http.Response{StatusCode: 401, Body: http.NoBody}}
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if good := w.good.Load(); good != nil && req.Header.Get("Authorization") != *good {
		refused := *w.refused
		return &refused, nil
	}
	return w.ok, nil
}

func signedIn(tb testing.TB, refresh tokens.RefreshFunc) *tokens.Manager {
	tb.Helper()
	m, err := tokens.NewManager(tokens.Config{Refresh: refresh})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.Close() })
	if err := m.SetTokens(context.Background(), tokens.Session{Access: access, Refresh: "r", Lifetime: time.Hour}); err != nil {
		tb.Fatal(err)
	}
	return m
}

// access is as long as a token of a server that signs with Ed25519.
var access = "a." + strings.Repeat("x", 500)

// ours and theirs are the two transports with a token that is good for an hour.
// theirs is what oauth2.Config.Client makes.
func ours(tb testing.TB, base http.RoundTripper) http.RoundTripper {
	m := signedIn(tb, func(context.Context, tokens.Session) (tokens.Session, error) { return tokens.Session{}, io.EOF })
	return &tokens.Transport{Source: m, Base: base, Origins: []string{"https://api.example.com"}}
}

func theirs(base http.RoundTripper) http.RoundTripper {
	cfg := &oauth2.Config{Endpoint: oauth2.Endpoint{TokenURL: "https://id.example.com/token"}}
	src := cfg.TokenSource(context.Background(), &oauth2.Token{AccessToken: access, RefreshToken: "r", Expiry: time.Now().Add(time.Hour)})
	return &oauth2.Transport{Source: src, Base: base}
}

func request(tb testing.TB) *http.Request {
	req, err := http.NewRequest(http.MethodGet, "https://api.example.com/todos?done=false", nil)
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "holdfast")
	req.Header.Set("X-Request-Id", "r1")
	return req
}

// send is one request with a valid token.
func send(tb testing.TB, rt http.RoundTripper, req *http.Request) {
	resp, err := rt.RoundTrip(req)
	if err != nil || resp.StatusCode != 200 {
		tb.Fatal(resp, err)
	}
}

func BenchmarkValidToken(b *testing.B) {
	for name, rt := range map[string]http.RoundTripper{"holdfast": ours(b, newWire()), "oauth2": theirs(newWire())} {
		b.Run(name, func(b *testing.B) {
			req := request(b)
			b.ReportAllocs()
			for b.Loop() {
				send(b, rt, req)
			}
		})
		b.Run(name+"-parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for req := request(b); pb.Next(); {
					send(b, rt, req)
				}
			})
		})
	}
}

// crowd sends so many requests at once and counts the answers by status.
func crowd(tb testing.TB, rt http.RoundTripper, n int) (good, refused int64) {
	var g, r atomic.Int64
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			resp, err := rt.RoundTrip(request(tb))
			switch {
			case err == nil && resp.StatusCode == 200:
				g.Add(1)
			case err == nil:
				r.Add(1)
			}
		})
	}
	wg.Wait()
	return g.Load(), r.Load()
}

const many = 10_000

// refusedOurs is 10,000 requests whose token is refused: one refresh, and each
// is sent again.
func refusedOurs(tb testing.TB) {
	w := newWire()
	var refreshes atomic.Int64
	next := "Bearer b"
	w.good.Store(&next)
	m := signedIn(tb, func(context.Context, tokens.Session) (tokens.Session, error) {
		refreshes.Add(1)
		return tokens.Session{Access: "b", Lifetime: time.Hour}, nil
	})
	if good, _ := crowd(tb, &tokens.Transport{Source: m, Base: w}, many); good != many || refreshes.Load() != 1 {
		tb.Fatalf("%d of %d, %d refreshes", good, many, refreshes.Load())
	}
}

// refusedTheirs is as near to that as oauth2 comes. It does not see a 401: who
// uses it has to find the refused token, get another once for all, and send
// the request again. That is written here as shortly as it can be.
func refusedTheirs(tb testing.TB) {
	w := newWire()
	next := "Bearer b"
	w.good.Store(&next)
	rt := &retrying{first: &oauth2.Transport{Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: access}), Base: w}}
	rt.refresh = func() http.RoundTripper {
		return &oauth2.Transport{Source: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "b"}), Base: w}
	}
	if good, _ := crowd(tb, rt, many); good != many {
		tb.Fatalf("%d of %d", good, many)
	}
}

type retrying struct {
	first   http.RoundTripper
	refresh func() http.RoundTripper
	once    sync.Once
	second  http.RoundTripper
}

func (r *retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.first.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	_ = resp.Body.Close()
	r.once.Do(func() { r.second = r.refresh() })
	return r.second.RoundTrip(req)
}

func BenchmarkRefused10000(b *testing.B) {
	for name, do := range map[string]func(testing.TB){"holdfast": refusedOurs, "oauth2": refusedTheirs} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				do(b)
			}
		})
	}
}

// A request with a valid token allocates no more than with oauth2's Transport.
// The ratios of time are printed, and asserted nowhere: go test -v -run Cost.
func TestTransportCost(t *testing.T) {
	a, b := ours(t, newWire()), theirs(newWire())
	req := request(t)
	own := testing.AllocsPerRun(1000, func() { send(t, a, req) })
	other := testing.AllocsPerRun(1000, func() { send(t, b, req) })
	if own > other {
		t.Errorf("%v allocations a request, oauth2 has %v", own, other)
	}
	if !testing.Verbose() {
		refusedOurs(t)
		refusedTheirs(t)
		return
	}
	ratio(t, "a request with a valid token", 20_000, func() { send(t, a, req) }, func() { send(t, b, req) })
	ratio(t, "10,000 requests refused at once", 1, func() { refusedOurs(t) }, func() { refusedTheirs(t) })
}

// ratio measures two things by turns, so that both have the machine's good and
// bad moments, and prints the best of each.
func ratio(t *testing.T, what string, times int, one, other func()) {
	best := [2]time.Duration{time.Hour, time.Hour}
	for range 9 {
		for i, do := range []func(){one, other} {
			began := time.Now()
			for range times {
				do()
			}
			best[i] = min(best[i], time.Since(began)/time.Duration(times))
		}
	}
	t.Logf("%s: %v : %v = %.2f (holdfast : oauth2)", what, best[0], best[1], float64(best[0])/float64(best[1]))
	x, y := testing.AllocsPerRun(3, one), testing.AllocsPerRun(3, other)
	t.Logf("%s: %v : %v allocations = %.2f (holdfast : oauth2)", what, x, y, x/y)
}
