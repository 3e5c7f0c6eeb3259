package load

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden texts anew")

// sample is a report of fixed numbers: one run of each kind, the last one with
// faults and without the server's process.
func sample() *Report {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := newHistogram()
	for i := range int64(1000) {
		h.record((i + 1) * 12_345)
	}
	var points []Point
	for i := range 10 {
		n := time.Duration(i + 1)
		points = append(points, Point{
			At: n * time.Second, Span: time.Second, Count: uint64(90_000 + 1000*i), P50: n * time.Millisecond, P99: 10 * n * time.Millisecond,
			Max: 100 * n * time.Millisecond, ServerCPU: 0.8, ServerRSS: 50e6 + int64(i)*1e6, GeneratorCPU: 0.25,
		})
	}
	server := func(perUnit float64) *Use {
		return &Use{PID: 4321, Name: "holdfast", User: 3 * time.Second, System: 5 * time.Second, PerUnit: perUnit, Cores: 0.8, RSS: 59_000_000, Peak: 61_234_567}
	}
	own := Use{User: time.Second, System: 1500 * time.Millisecond, PerUnit: 0.25, Cores: 0.25}
	admissions := Latency{Count: 1000, P50: 2 * time.Millisecond, P90: 3 * time.Millisecond, P99: 4_560 * time.Microsecond, Max: 12 * time.Millisecond}
	settings := func(scenario Scenario, s Settings) Settings { s.Seed = 1; s.Fill(scenario); return s }
	results := []*Result{
		{
			Scenario: Connect, Settings: settings(Connect, Settings{}), Count: 10_000, Rate: 4321.9, Seconds: 2.56, Server: server(79.96), Generator: own,
			Memory: &Memory{Before: 20_000_000, With: 105_500_000, PerConnection: 8550},
		},
		{
			Scenario: Fanout, Settings: settings(Fanout, Settings{}), Count: 9_876_543, Rate: 987_654.3, Seconds: 10, Server: server(0.81), Generator: own,
			Acks: &Latency{Count: 9876, P50: 900 * time.Microsecond, P99: 15 * time.Millisecond, Max: 1234 * time.Millisecond}, Timeline: points,
		},
		{
			Scenario: Soak, Settings: settings(Soak, Settings{}), Count: 599_900, Rate: 1000, Seconds: 600, Generator: own, Cuts: 1200, Late: 3, Overdue: 1,
			Interrupted: true, Timeline: points,
			Faults: Faults{Lost: 1234, Reordered: 1, First: []string{"member 3 of room 7 never got messages 4 to 6 of publisher 1 <script>"}},
		},
	}
	for _, r := range results {
		r.Target, r.Began, r.Unit, r.Checked = "http://127.0.0.1:8080", at, r.Scenario.unit(), r.Count+5
		r.Latency, r.Buckets, r.Admissions = h.summary(), h.buckets(), admissions
		r.Notes = r.notes()
	}
	return &Report{Began: at, Target: "http://127.0.0.1:8080", Machine: Machine{CPUs: 2, Model: "Some Processor", System: "linux/amd64 6.1", Go: "go1.26"}, Results: results}
}

// TestTable compares what is printed with testdata/table.golden. go test
// ./internal/load -run Table -update writes it anew.
func TestTable(t *testing.T) {
	var got bytes.Buffer
	report := sample()
	if err := report.WriteTable(&got); err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results[:2] {
		if err := r.WriteHistogram(&got); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join("testdata", "table.golden")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("the golden text (-) and what is printed (+):\n%s", diff)
	}
}

// TestJSON reads what is written, and finds names that programs go by.
func TestJSON(t *testing.T) {
	report := sample()
	data, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(report, &back); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{`"scenario":"fanout"`, `"unit":"delivery"`, `"microsecondsPerUnit":0.81`, `"lost":1234`, `"perConnection":8550`, `"p99":`, `"serverRSS":`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("there is no %s in %s", want, data)
		}
	}
}

// TestHTML sees to it that the page has its drawings, in sound XML, and nothing
// from elsewhere.
func TestHTML(t *testing.T) {
	var out bytes.Buffer
	report := sample()
	if err := report.WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	page := out.String()
	drawings := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	// connect has its distribution; fanout and soak have the four and three
	// plots over time too.
	if len(drawings) != 1+5+4 {
		t.Errorf("%d drawings", len(drawings))
	}
	for _, text := range drawings {
		for d := xml.NewDecoder(strings.NewReader(text)); ; {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v: %s", err, text)
			}
		}
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("a number is none: %s", text)
		}
	}
	for _, elsewhere := range []string{"src=", "href=", "@import", "url(", "<script"} {
		if strings.Contains(page, elsewhere) {
			t.Errorf("there is %s in the page", elsewhere)
		}
	}
	for _, want := range []string{"prefers-color-scheme: dark", `name="viewport"`, "&lt;script&gt;", "1,234 lost", "0.81 µs", "8.6 KB", "<title>"} {
		if !strings.Contains(page, want) {
			t.Errorf("there is no %s in the page", want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct{ high, step float64 }{{1, 0.2}, {3, 1}, {9.9, 2}, {10, 2}, {100, 20}, {0.004, 0.001}, {4_999_999, 1e6}} {
		ticks := linearTicks(0, c.high, 5)
		last := ticks[len(ticks)-1]
		if step := ticks[1] - ticks[0]; step < c.step*0.999 || step > c.step*1.001 || last < c.high*0.999 || last-step > c.high {
			t.Errorf("up to %v: %v", c.high, ticks)
		}
	}
	for _, c := range []struct{ low, high float64 }{{1, 1}, {3, 4}, {1, 1000}, {2e3, 9e9}, {999, 1001}} {
		ticks := logTicks(c.low, c.high)
		if len(ticks) < 2 || len(ticks) > 12 || ticks[0] > c.low*1.001 || ticks[len(ticks)-1] < c.high*0.999 {
			t.Errorf("%v to %v: %v", c.low, c.high, ticks)
		}
	}
}

func TestTexts(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 µs", 250: "0.25 µs", 12_345: "12.3 µs", 999_000: "999 µs", time.Millisecond: "1 ms", 1_234_567: "1.23 ms", 123 * time.Millisecond: "123 ms",
		time.Second: "1 s", 61500 * time.Millisecond: "61.5 s",
	} {
		if got := short(d); got != want {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 128: "128 B", 65_536: "65.5 KB", 59_000_000: "59.0 MB", 1_234_567_890: "1.23 GB"} {
		if got := bytesText(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
