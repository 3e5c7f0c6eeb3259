package load

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestLatency compares percentiles with those of the sorted values: they are at
// most 0.1 % apart, and a microsecond where that is more.
func TestLatency(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, int64(20*time.Minute)), 1, 300).Draw(t, "values")
		h := newHistogram()
		for i, v := range values {
			if i%2 == 0 {
				h.record(v)
			} else {
				h.records(v, 1)
			}
			values[i] = min(v, maxLatency)
		}
		slices.Sort(values)
		got := h.summary()
		near := func(name string, got time.Duration, want int64) {
			if math.Abs(float64(int64(got)-want)) > max(float64(want)/1000, float64(minLatency)) {
				t.Errorf("%s of %d values: %v, want %v", name, len(values), got, time.Duration(want))
			}
		}
		// The library takes the nearest rank.
		at := func(p float64) int64 { return values[max(1, int(p/100*float64(len(values))+0.5))-1] }
		near("p50", got.P50, at(50))
		near("p90", got.P90, at(90))
		near("p99", got.P99, at(99))
		near("p99.9", got.P999, at(99.9))
		near("max", got.Max, values[len(values)-1])
		var sum float64
		for _, v := range values {
			sum += float64(v)
		}
		near("mean", got.Mean, int64(sum/float64(len(values))))
		if got.Count != uint64(len(values)) {
			t.Errorf("%d values, want %d", got.Count, len(values))
		}
		checkBuckets(t, h.buckets(), values)
	})
	if got := newHistogram().summary(); got != (Latency{}) {
		t.Errorf("nothing is %+v", got)
	}
}

// checkBuckets counts the values anew. One at a bound may be on either side.
func checkBuckets(t *rapid.T, buckets []Bucket, values []int64) {
	from, sum := int64(-1), uint64(0)
	for i, b := range buckets {
		up := int64(b.UpTo)
		var least, most uint64
		for _, v := range values {
			slack := v/1000 + minLatency
			if v-slack > from && v+slack <= up || from < 0 && v+slack <= up {
				least++
			}
			if v+slack > from && v-slack <= up {
				most++
			}
		}
		if b.Count < least || b.Count > most {
			t.Errorf("%d values up to %v, want %d to %d", b.Count, b.UpTo, least, most)
		}
		if sum += b.Count; b.Count == 0 && (i == 0 || i == len(buckets)-1) {
			t.Error("an empty bucket at an end")
		}
		from = up
	}
	if sum != uint64(len(values)) {
		t.Errorf("%d values in buckets, want %d", sum, len(values))
	}
}

// TestTimeline makes more points than are kept: their sums stay.
func TestTimeline(t *testing.T) {
	var points []Point
	const n = 10*maxPoints + 7
	for i := range n {
		points = append(thin(points), Point{
			At: time.Duration(i+1) * time.Second, Span: time.Second, Count: 3, P50: 1, P99: time.Duration(i), Max: time.Duration(i),
			ServerCPU: 0.5, GeneratorCPU: 0.25, ServerRSS: int64(i),
		})
	}
	if len(points) > maxPoints {
		t.Fatalf("%d points", len(points))
	}
	var count uint64
	var span time.Duration
	for i, p := range points {
		count += p.Count
		span += p.Span
		if p.ServerCPU != 0.5 || p.GeneratorCPU != 0.25 || p.P50 != 1 || i > 0 && p.At <= points[i-1].At {
			t.Fatalf("point %d: %+v", i, p)
		}
	}
	last := points[len(points)-1]
	if count != 3*n || span != n*time.Second || last.At != n*time.Second || last.Max != n-1 || last.ServerRSS != n-1 {
		t.Errorf("%d units in %v, at the end %+v", count, span, last)
	}
}
