package load

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what "holdfast bench" writes as JSON and HTML.
type Report struct {
	Began   time.Time `json:"began"`
	Target  string    `json:"target"`
	Machine Machine   `json:"machine"`
	Results []*Result `json:"results"`
}

// Machine says where something was measured.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Model  string `json:"model,omitempty"`
	System string `json:"system"`
	Go     string `json:"go"` // that the generator was built with
}

// ThisMachine looks at the machine.
func ThisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version()}
	if release, err := os.ReadFile(string(proc) + "/sys/kernel/osrelease"); err == nil {
		m.System += " " + string(bytes.TrimSpace(release))
	}
	info, _ := os.ReadFile(string(proc) + "/cpuinfo") // of Linux alone
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			m.Model = strings.TrimSpace(value)
			break
		}
	}
	return m
}

// Failed reports whether a server did something wrong.
func (r *Report) Failed() bool {
	for _, result := range r.Results {
		if result.Faults.Total() > 0 {
			return true
		}
	}
	return false
}

// Describe says in a line what a run did.
func (r *Result) Describe() string {
	s := &r.Settings
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	switch {
	case r.Scenario.inRooms():
		add("%s × %s", plural(s.Rooms, "room"), plural(s.Members, "member"))
	default:
		add("%s", plural(s.Connections, "connection"))
	}
	if r.Scenario != Connect {
		add("%s", bytesText(int64(s.Size)))
	}
	switch {
	case r.Scenario.paced():
		add("%s messages/s", number(s.Rate))
	case r.Scenario == Connect && s.Rate > 0:
		add("%s a second", number(s.Rate))
	case r.Scenario == Connect:
		add("%d at once", s.Concurrency)
	default:
		add("%d in flight", s.Window)
	}
	if r.Scenario == Soak {
		add("%s cuts/s", number(s.Cuts))
	}
	add("%.1f s", r.Seconds)
	if s.Warmup > 0 {
		add("after %v", s.Warmup)
	}
	if r.Interrupted {
		add("interrupted")
	}
	return strings.Join(parts, ", ")
}

// WriteTable writes the results for people: a line of figures each, and below
// it what was done and what was found.
func (r *Report) WriteTable(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tunits\tper s\tp50\tp90\tp99\tmax\tserver µs\tgenerator µs\tserver cores\tserver RSS\t")
	for _, one := range r.Results {
		perUnit, cores, rss := "–", "–", "–"
		if u := one.Server; u != nil {
			perUnit, cores, rss = micro(u.PerUnit), fmt.Sprintf("%.2f", u.Cores), bytesText(u.RSS)
		}
		if m := one.Memory; m != nil {
			rss = bytesText(m.With)
		}
		l := &one.Latency
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", one.Scenario, grouped(one.Count), grouped(uint64(one.Rate)),
			short(l.P50), short(l.P90), short(l.P99), short(l.Max), perUnit, micro(one.Generator.PerUnit), cores, rss)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, one := range r.Results {
		if _, err := io.WriteString(w, one.details()); err != nil {
			return err
		}
	}
	return nil
}

// details is what is written about one run below the table.
func (r *Result) details() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s: %s\n", r.Scenario, r.Describe())
	if r.Scenario != Connect {
		fmt.Fprintf(&b, "  admission p50 %s, p99 %s, max %s of %s\n", short(r.Admissions.P50), short(r.Admissions.P99), short(r.Admissions.Max), plural(int(r.Admissions.Count), "connection"))
	}
	if s := r.Sent; s != nil {
		fmt.Fprintf(&b, "  sent → delivered p50 %s, p99 %s, max %s\n", short(s.P50), short(s.P99), short(s.Max))
	}
	if a := r.Acks; a != nil {
		fmt.Fprintf(&b, "  publish → ack p50 %s, p99 %s, max %s of %s\n", short(a.P50), short(a.P99), short(a.Max), grouped(a.Count))
	}
	if u := r.Server; u != nil {
		fmt.Fprintf(&b, "  server %d (%s): user %.2f s + system %.2f s = %s µs %s, at most %s\n", u.PID, u.Name, u.User.Seconds(), u.System.Seconds(), micro(u.PerUnit), article(r.Unit), bytesText(u.Peak))
	}
	if r.LongestTurn > 0 {
		fmt.Fprintf(&b, "  generator: worked for %s at most before it looked at what had come\n", short(r.LongestTurn))
	}
	if m := r.Memory; m != nil {
		fmt.Fprintf(&b, "  memory %s before, %s with the connections idle: %.1f KB each\n", bytesText(m.Before), bytesText(m.With), m.PerConnection/1000)
	}
	if r.Cuts > 0 {
		fmt.Fprintf(&b, "  %s cut off, and back\n", plural(int(r.Cuts), "member"))
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "  note: %s\n", note)
	}
	f := &r.Faults
	if f.Total() == 0 {
		fmt.Fprintf(&b, "  %s\n", r.Clean())
		return b.String()
	}
	fmt.Fprintf(&b, "  FAULTS, of %s: %s\n", r.checked(), f)
	for _, sentence := range f.First {
		fmt.Fprintf(&b, "    %s\n", sentence)
	}
	if len(r.Codes) > 0 {
		fmt.Fprintf(&b, "    refused or ended: %s\n", r.ByCode())
	}
	return b.String()
}

// ByCode says how many were refused or ended by which code.
func (r *Result) ByCode() string {
	var list []string
	for _, code := range slices.Sorted(maps.Keys(r.Codes)) {
		list = append(list, fmt.Sprintf("%s %s", grouped(r.Codes[code]), code))
	}
	return strings.Join(list, ", ")
}

// Clean says what was looked at in a run without faults.
func (r *Result) Clean() string {
	if r.Scenario == Connect {
		return r.checked() + ": none refused or ended"
	}
	return r.checked() + ": order, loss, duplicates: no fault"
}

func (r *Result) checked() string { return grouped(r.Checked) + " checked" }

// String lists the faults that there are.
func (f *Faults) String() string {
	var parts []string
	for _, one := range []struct {
		n    uint64
		name string
	}{
		{f.Lost, "lost"}, {f.Duplicated, "duplicated"}, {f.Reordered, "out of order"}, {f.Foreign, "of another room"},
		{f.Damaged, "damaged"}, {f.Refused, "refused"}, {f.Disconnected, "disconnected"},
	} {
		if one.n > 0 {
			parts = append(parts, grouped(one.n)+" "+one.name)
		}
	}
	return strings.Join(parts, ", ")
}

// WriteHistogram draws the distribution of a run's latencies.
func (r *Result) WriteHistogram(w io.Writer) error {
	if len(r.Buckets) == 0 {
		return nil
	}
	const width = 50
	most := uint64(0)
	for _, b := range r.Buckets {
		most = max(most, b.Count)
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "\n%s: latency of %s\n", r.Scenario, article(r.Unit))
	table := tabwriter.NewWriter(&text, 0, 8, 1, ' ', tabwriter.AlignRight)
	sum := uint64(0)
	for _, b := range r.Buckets {
		sum += b.Count
		bar := strings.Repeat("█", int(b.Count*width/most))
		if bar == "" && b.Count > 0 {
			bar = "▏"
		}
		fmt.Fprintf(table, "  ≤ %s\t%s\t%.2f %%\t %s\n", short(b.UpTo), grouped(b.Count), 100*float64(sum)/float64(r.Latency.Count), bar)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := w.Write(text.Bytes())
	return err
}

// article puts "a" or "an" before a word.
func article(word string) string {
	if strings.HasPrefix(word, "a") {
		return "an " + word
	}
	return "a " + word
}

// many is the plural of a word.
func many(word string) string {
	if stem, ok := strings.CutSuffix(word, "y"); ok {
		return stem + "ies"
	}
	return word + "s"
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(uint64(n)) + " " + many(what)
}

// grouped is a number with a comma for each thousand.
func grouped(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// number is a rate without needless digits.
func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// micro is a time in microseconds, to three digits.
func micro(us float64) string {
	switch {
	case us < 10:
		return fmt.Sprintf("%.2f", us)
	case us < 100:
		return fmt.Sprintf("%.1f", us)
	}
	return fmt.Sprintf("%.0f", us)
}

// short is a time to about three digits.
func short(d time.Duration) string {
	v, unit := float64(d)/1e3, "µs"
	switch {
	case d >= time.Second:
		v, unit = d.Seconds(), "s"
	case d >= time.Millisecond:
		v, unit = float64(d)/1e6, "ms"
	}
	digits := 0
	if v < 10 {
		digits = 2
	} else if v < 100 {
		digits = 1
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if digits > 0 {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return text + " " + unit
}

// bytesText is a size with a decimal prefix.
func bytesText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%.1f KB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d B", n)
}
