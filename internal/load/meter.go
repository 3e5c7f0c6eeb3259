package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Bounds of what a latency histogram tells apart: values are kept to three
// digits, which is an error of at most 0.1 %, between these.
const (
	minLatency = int64(time.Microsecond)
	maxLatency = int64(10 * time.Minute)
	digits     = 3
)

// histogram counts latencies in nanoseconds. Its size is fixed.
type histogram struct{ h *hdrhistogram.Histogram }

func newHistogram() histogram { return histogram{hdrhistogram.New(minLatency, maxLatency, digits)} }

func (h histogram) record(ns int64) {
	_ = h.h.RecordValue(min(max(ns, 0), maxLatency)) // within its bounds
}

// records adds the same value n times.
func (h histogram) records(ns, n int64) {
	_ = h.h.RecordValues(min(max(ns, 0), maxLatency), n)
}

// Latency sums up a distribution of times.
type Latency struct {
	// Count is how many times it is made of.
	Count uint64 `json:"count"`
	// The percentiles, the mean and the largest one; in JSON nanoseconds. They
	// are accurate to 0.1 %.
	P50  time.Duration `json:"p50"`
	P90  time.Duration `json:"p90"`
	P99  time.Duration `json:"p99"`
	P999 time.Duration `json:"p999"`
	Max  time.Duration `json:"max"`
	Mean time.Duration `json:"mean"`
}

func (h histogram) summary() Latency {
	if h.h.TotalCount() == 0 {
		return Latency{}
	}
	at := func(p float64) time.Duration { return time.Duration(h.h.ValueAtPercentile(p)) }
	return Latency{
		Count: uint64(h.h.TotalCount()), P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
		Max: time.Duration(h.h.Max()), Mean: time.Duration(h.h.Mean()),
	}
}

// Bucket is a part of a distribution.
type Bucket struct {
	// Up to and with this time, and above that of the bucket before; in JSON
	// nanoseconds.
	UpTo time.Duration `json:"upTo"`
	// Count is how many times are in it.
	Count uint64 `json:"count"`
}

// buckets groups the distribution by bounds of 1, 2 and 5 in each decade, from
// the first that has something in it to the last.
func (h histogram) buckets() (out []Bucket) {
	bound := func(i int) time.Duration {
		b := time.Microsecond
		for range i / 3 {
			b *= 10
		}
		return b * [...]time.Duration{1, 2, 5}[i%3]
	}
	i := 0
	for _, bar := range h.h.Distribution() {
		if bar.Count == 0 {
			continue
		}
		for time.Duration(bar.From) > bound(i) {
			if i++; len(out) > 0 {
				out = append(out, Bucket{UpTo: bound(i)})
			}
		}
		if len(out) == 0 {
			out = append(out, Bucket{UpTo: bound(i)})
		}
		out[len(out)-1].Count += uint64(bar.Count)
	}
	return out
}

// Point is what was measured in one interval of a run.
type Point struct {
	// At is the interval's end, since the measuring began; in JSON nanoseconds.
	At time.Duration `json:"at"`
	// Span is the interval's length.
	Span time.Duration `json:"span"`
	// Count is the number of units in it: deliveries, round trips, admissions.
	Count uint64 `json:"count"`
	// Their latencies.
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
	Max time.Duration `json:"max"`
	// ServerCPU and GeneratorCPU are processors that were busy: 1 is one whole
	// core. ServerRSS is the server's memory in bytes. The server's are 0 where
	// its process is not known.
	ServerCPU    float64 `json:"serverCPU"`
	ServerRSS    int64   `json:"serverRSS"`
	GeneratorCPU float64 `json:"generatorCPU"`
}

// maxPoints bounds a timeline: beyond it, two points become one.
const maxPoints = 480

// thin halves a timeline that is full.
func thin(points []Point) []Point {
	if len(points) < maxPoints {
		return points
	}
	half := points[:0]
	for i := 0; i+1 < len(points); i += 2 {
		half = append(half, points[i].join(points[i+1]))
	}
	return half
}

// join makes one point of two that follow one another. Of percentiles the
// higher one stays: two can't be added.
func (p Point) join(q Point) Point {
	span := p.Span + q.Span
	weigh := func(a, b float64) float64 { return (a*p.Span.Seconds() + b*q.Span.Seconds()) / span.Seconds() }
	return Point{
		At: q.At, Span: span, Count: p.Count + q.Count,
		P50: max(p.P50, q.P50), P99: max(p.P99, q.P99), Max: max(p.Max, q.Max),
		ServerCPU: weigh(p.ServerCPU, q.ServerCPU), ServerRSS: q.ServerRSS, GeneratorCPU: weigh(p.GeneratorCPU, q.GeneratorCPU),
	}
}
