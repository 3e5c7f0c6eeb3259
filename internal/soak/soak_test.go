package soak

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast"
	"github.com/holdfast-dev/holdfast/internal/checker"
	"github.com/holdfast-dev/holdfast/tokens"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	// patience bounds every wait. A session whose refresh has failed several times
	// in a row may rest for up to a minute.
	patience = 2 * time.Minute
	// residents is how many clients there are. The last of them are pairs that
	// share a session in a file.
	residents = 50
	pairs     = 5
	// roundLength is how long the clients live before all is counted.
	roundLength = 15 * time.Second
)

func rooms() []string {
	return []string{"red", "green", "blue", "white", "black", "pink", "grey", "gold"}
}

// settings reads how long the soak takes (HOLDFAST_SOAK, 2 min) and its seed
// (HOLDFAST_SOAK_SEED, a random one).
func settings(t *testing.T) (length time.Duration, seed uint64) {
	t.Helper()
	length, seed = 2*time.Minute, rand.Uint64N(1e6)
	var err error
	if text := os.Getenv("HOLDFAST_SOAK"); text != "" {
		if length, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	if text := os.Getenv("HOLDFAST_SOAK_SEED"); text != "" {
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return length, seed
}

// TestSoak: whatever happens to the server and the network, nobody is signed
// out, nothing is lost or doubled, and nothing grows.
func TestSoak(t *testing.T) {
	length, seed := settings(t)
	t.Logf("%v with HOLDFAST_SOAK_SEED=%d", length, seed)
	h := newHouse(t)
	all, sum := moveIn(t, h)
	var made troubles
	var figures []sample
	var judged totals
	end := time.Now().Add(length)
	for round := 0; round < 3 || time.Now().Before(end); round++ {
		var run checker.Recorder
		dice := func(n uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(round)<<32|n)) }
		for _, r := range all {
			r.begin(&run)
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i, r := range all {
			wg.Go(func() { r.live(dice(uint64(i)), &run, round, stop) })
		}
		wg.Go(func() { h.disturb(t, dice(1000), stop, &made) })
		<-time.After(min(roundLength, length/3))
		close(stop)
		wg.Wait()
		settle(t, h, all, &run)
		report := checker.Check(run.History())
		judged.add(report)
		if err := report.Err(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		figures = append(figures, take(all, figures))
		if t.Failed() {
			t.Fatalf("to see it again: HOLDFAST_SOAK=%v HOLDFAST_SOAK_SEED=%d go test -run TestSoak -v ./internal/soak", length, seed)
		}
	}
	for _, r := range all {
		r.close()
	}
	t.Logf("%d clients, %d rounds: %d sign-outs, %d refreshes (%d tried again), %d adopted from another process's side; %d calls; %d publishes, %d repeated by hand",
		len(all), len(figures), sum.signOuts.Load(), sum.refreshes.Load(), sum.failures.Load(), sum.adopted.Load(), sum.calls.Load(), sum.publishes.Load(), sum.repeats.Load())
	t.Logf("%d cuts of %d connections, %d servers drained, %d gone at once; nobody was away for longer than %v",
		made.cuts, made.links, made.drains, made.crashes, time.Duration(sum.longest.Load()).Round(time.Millisecond))
	t.Logf("%d events published, %d received, 0 lost, 0 doubled, %d times told of a loss", judged.acked, judged.received, judged.told)
	t.Log(trend(figures))
	if err := grows(figures); err != nil {
		t.Error(err)
	}
	expected := int64(len(all)) * int64(length/lifetime) / 4
	if sum.refreshes.Load() < expected || judged.received < judged.acked || judged.acked == 0 || made.links == 0 || made.drains+made.crashes == 0 || sum.adopted.Load() == 0 {
		t.Error("too tame")
	}
	if judged.told > 0 {
		t.Errorf("%d losses were told; there must be none", judged.told)
	}
}

// totals sums up the reports of the rounds.
type totals struct{ acked, received, told int }

func (s *totals) add(r *checker.Report) {
	s.acked += r.Acked
	s.received += r.Received
	s.told += r.Told + r.Lost
}

// moveIn makes the residents, signs them in and brings them into their rooms.
func moveIn(t *testing.T, h *house) ([]*resident, *tally) {
	t.Helper()
	var all []*resident
	sum := &tally{}
	for n := range residents - pairs {
		session := login(t, h, n)
		var store tokens.Store
		if n >= residents-2*pairs {
			file, err := tokens.NewFile(filepath.Join(h.dir, fmt.Sprint("session-", n), "session.json"))
			if err != nil {
				t.Fatal(err)
			}
			store = file
		}
		all = append(all, newResident(t, h, len(all), session, store, sum))
		if store != nil { // the other of the pair finds the session in the file
			all = append(all, newResident(t, h, len(all), tokens.Session{}, store, sum))
		}
	}
	var wg sync.WaitGroup
	for _, r := range all {
		wg.Go(func() {
			if err := r.enter(); err != nil {
				t.Errorf("%s: %v", r.name, err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all, sum
}

// settle waits until everybody has all there is, and says so in the record.
func settle(t *testing.T, h *house, all []*resident, run *checker.Recorder) {
	t.Helper()
	last := make(map[string]holdfast.Position)
	for _, room := range rooms() {
		got, err := h.broker.Client().History(t.Context(), room, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		last[room] = got.Position
	}
	deadline := time.After(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for _, r := range all {
		for !r.has(last) {
			select {
			case <-tick.C:
			case <-deadline:
				r.mu.Lock()
				t.Errorf("%s is not there after %v: %v, at %v of %v", r.name, patience, r.socket.State(), r.at, last)
				r.mu.Unlock()
				return
			}
		}
	}
	for _, r := range all {
		r.upto(last)
	}
}
