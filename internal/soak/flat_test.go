package soak

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// sample is what the process holds when nothing is under way.
type sample struct {
	goroutines int
	bytes      uint64 // heap and stacks in use
}

const (
	// Between the first and the last third of a run what is held may grow by
	// this much; a leak of one goroutine or a few kB at each cut or refresh of
	// each client is far more.
	moreGoroutines = 25
	moreBytes      = 6 << 20
)

// take samples the process, connections kept for calls not counted, nor one
// goroutine of handlers for each client. What has
// just ended may take a moment, on a busy machine a long one; what has leaked
// stays. So it looks again while there is too much beside the samples before.
func take(all []*resident, before []sample) sample {
	least := sample{goroutines: 1 << 30, bytes: 1 << 60}
	late := time.Now().Add(patience)
	for i := 0; i < 5 || grows(append(slices.Clone(before), least)) != nil && time.Now().Before(late); i++ {
		for _, r := range all {
			r.transport.CloseIdleConnections()
		}
		<-time.After(50 * time.Millisecond)
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		least.goroutines = min(least.goroutines, runtime.NumGoroutine()-min(handling(), len(all)))
		least.bytes = min(least.bytes, m.HeapAlloc+m.StackInuse)
	}
	return least
}

// handling is how many goroutines of handlers there are. Each client keeps one
// until two pings have come without an event, so that it may be there or not.
func handling() int {
	buf := make([]byte, 8<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), "client.(*Socket).dispatch(")
}

// thirds returns the medians of the first and the last third of the samples.
func thirds(all []sample) (first, last sample) {
	n := max(len(all)/3, 1)
	return median(all[:n]), median(all[len(all)-n:])
}

func median(some []sample) sample {
	var goroutines []int
	var bytes []uint64
	for _, s := range some {
		goroutines, bytes = append(goroutines, s.goroutines), append(bytes, s.bytes)
	}
	slices.Sort(goroutines)
	slices.Sort(bytes)
	return sample{goroutines[len(goroutines)/2], bytes[len(bytes)/2]}
}

func trend(all []sample) string {
	first, last := thirds(all)
	return fmt.Sprintf("goroutines %d, then %d; %.1f MB, then %.1f MB (medians of the first and the last third of %d samples)",
		first.goroutines, last.goroutines, float64(first.bytes)/1e6, float64(last.bytes)/1e6, len(all))
}

// grows is an error if the process holds more at the end than at the start.
func grows(all []sample) error {
	first, last := thirds(all)
	if last.goroutines > first.goroutines+moreGoroutines || last.bytes > first.bytes+moreBytes {
		return fmt.Errorf("it grows: %s", trend(all))
	}
	return nil
}

func TestGrows(t *testing.T) {
	for _, c := range []struct {
		name       string
		goroutines []int
		bytes      []uint64
		want       bool
	}{
		{"flat", []int{100, 101, 99}, []uint64{50e6, 51e6, 49e6}, false},
		{"less", []int{200, 100, 50}, []uint64{90e6, 50e6, 40e6}, false},
		{"one outlier", []int{100, 100, 100, 100, 100, 900, 100, 100, 100}, []uint64{5e6, 5e6, 5e6, 5e6, 5e6, 90e6, 5e6, 5e6, 5e6}, false},
		{"goroutines", []int{100, 120, 140}, []uint64{50e6, 50e6, 50e6}, true},
		{"memory", []int{100, 100, 100}, []uint64{50e6, 55e6, 60e6}, true},
		{"slowly", []int{100, 110, 120, 130, 140, 150}, []uint64{1, 2, 3, 4, 5, 6}, true},
	} {
		var all []sample
		for i := range c.goroutines {
			all = append(all, sample{c.goroutines[i], c.bytes[i]})
		}
		if err := grows(all); (err != nil) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
