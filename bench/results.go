package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/holdfast-dev/holdfast/internal/load"
)

// Titles of the sections of RESULTS.md; each is written by a run of its own.
const peersTitle, growthTitle, overloadTitle, stormTitle = "Peers", "Growth", "Overload", "Storm"

// resultsHead begins RESULTS.md.
const resultsHead = `# Results

Written by ` + "`go run ./bench`" + ` and its flags, a section each; not by hand. [docs/bench.md](../docs/bench.md) says how the numbers are made and
[docs/design/fast-path.md](../docs/design/fast-path.md) what is behind them.
`

// figure is a line of the first table.
type figure struct {
	scenario load.Scenario
	what     string
	value    func(*measured) (float64, bool)
	// must and then are what is to be reached. reference is what the limit cost
	// on the quiet machine where they were set: 0 where it is none for them.
	must, then, reference float64
}

// figures are those of docs/design/fast-path.md.
func figures() []figure {
	cpu := (*measured).perUnit
	return []figure{
		{load.Fanout, "fan-out: µs a delivery", cpu, 0.9, 0.6, 0.84},
		{load.Paced, "paced: µs a delivery", cpu, 5.8, 5.0, 4.5},
		{load.Rooms, "rooms: µs a delivery", cpu, 7.5, 6.5, 5.3},
		{load.Echo, "echo: µs a round trip", cpu, 7.0, 6.0, 5.0},
		{load.Connect, "admission: µs each", cpu, 80, 60, 24},
		{load.Connect, "idle memory: KB a connection", (*measured).idle, 9, 4, 0},
	}
}

// peersSection is the text of the section about peers.
func (s *sitting) peersSection(servers []peer, scenarios []job) string {
	var b strings.Builder
	s.writeHead(&b, peersTitle)
	b.WriteString("\nServers: ")
	for i, p := range servers {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s %s", p.title, s.stage.built[p.name])
	}
	b.WriteString(".\n\nScenarios: ")
	for i, j := range scenarios {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s, %s", j.scenario, s.described(string(j.scenario)))
	}
	b.WriteString(".\n")
	s.writeFigures(&b, servers, scenarios)
	s.writeLatencies(&b, servers, scenarios)
	s.writeRuns(&b)
	return b.String()
}

// described says in words what a run did.
func (s *sitting) described(key string) string {
	for _, m := range s.runs {
		if m.key == key && m.result != nil {
			return m.result.Describe()
		}
	}
	return "not measured"
}

// writeHead writes what was done where and when.
func (s *sitting) writeHead(b *strings.Builder, title string) {
	machine := load.ThisMachine()
	fmt.Fprintf(b, "## %s\n\n`%s`, %s, %v. ", title, s.options.command, s.began.Format("2006-01-02 15:04 MST"), s.ended.Sub(s.began).Round(time.Second))
	fmt.Fprintf(b, "%d processors (%s), %s, %s.", machine.CPUs, machine.Model, machine.System, machine.Go)
	if s.options.rounds > 1 && !s.options.storm {
		fmt.Fprintf(b, " Medians of %d.", s.options.rounds)
	}
	b.WriteString("\n")
	if s.options.quick {
		b.WriteString("\n**Quick**: far too small and short to say anything but that it works.\n")
	}
	busy := 0
	for _, m := range s.runs {
		if m.busy() {
			busy++
		}
	}
	if busy > 0 {
		fmt.Fprintf(b, "\n**The machine was busy**: in %d of %d runs others used more than a tenth of it. Ratios hold better than times.\n", busy, len(s.runs))
	}
}

// writeFigures writes the table that is looked at first.
func (s *sitting) writeFigures(b *strings.Builder, servers []peer, scenarios []job) {
	b.WriteString("\n### Processor time a unit, and memory\n\n| |")
	for _, p := range servers {
		fmt.Fprintf(b, " %s |", p.title)
	}
	b.WriteString(" beside Node | beside the limit | must reach | reached | in limits, and the goal | and then |\n|---|" + strings.Repeat("---|", len(servers)+6) + "\n")
	for _, f := range figures() {
		if !ran(scenarios, f.scenario) {
			continue
		}
		value := func(server string) (float64, bool) { return s.median(server, string(f.scenario), f.value) }
		fmt.Fprintf(b, "| %s |", f.what)
		for _, p := range servers {
			fmt.Fprintf(b, " %s |", number(value(p.name)))
		}
		own, ok := value(ours)
		judged := ok && !s.options.quick
		beside := func(other string) string {
			if v, there := value(other); there && ok && v > 0 {
				return digits(own/v) + " ×"
			}
			return "–"
		}
		fmt.Fprintf(b, " %s | %s | ≤ %v | %s | %s | ≤ %v: %s |\n", beside(node), beside(limit), f.must, reached(own, judged, f.must), f.inLimits(s), f.then, reached(own, judged, f.then))
	}
	b.WriteString("\n\"Reached\" is by the time itself. On a slow or busy machine look at the goal as a multiple of the limit: what it was where it was set.\n")
}

// ran reports whether a scenario was among those.
func ran(scenarios []job, scenario load.Scenario) bool {
	for _, j := range scenarios {
		if j.scenario == scenario {
			return true
		}
	}
	return false
}

// reached judges a figure; what is not known, or of a quick run, is not judged.
func reached(v float64, ok bool, goal float64) string {
	switch {
	case !ok:
		return "–"
	case v <= goal:
		return "yes"
	}
	return fmt.Sprintf("no, %s ×", digits(v/goal))
}

// inLimits compares ours with the goal, both as multiples of the limit.
func (f figure) inLimits(s *sitting) string {
	own, ok := s.median(ours, string(f.scenario), f.value)
	least, there := s.median(limit, string(f.scenario), f.value)
	if !ok || !there || least <= 0 || f.reference == 0 || s.options.quick {
		return "–"
	}
	got, goal := own/least, f.must/f.reference
	verdict := "yes"
	if got > goal {
		verdict = "no"
	}
	return fmt.Sprintf("%s, %s: %s", digits(got), digits(goal), verdict)
}

// writeLatencies writes latencies, rates and memory, server by server.
func (s *sitting) writeLatencies(b *strings.Builder, servers []peer, scenarios []job) {
	b.WriteString("\n### Latency, rate and memory\n\n| scenario | server | p50 | p99 | a second | server's RSS |\n|---|---|---|---|---|---|\n")
	for _, j := range scenarios {
		for _, p := range servers {
			key := string(j.scenario)
			of := func(value func(*load.Result) float64) (float64, bool) {
				return s.median(p.name, key, func(m *measured) (float64, bool) {
					if m.result == nil {
						return 0, false
					}
					return value(m.result), true
				})
			}
			p50, ok := of(func(r *load.Result) float64 { return float64(r.Latency.P50) })
			if !ok {
				fmt.Fprintf(b, "| %s | %s | – | – | – | – |\n", key, p.title)
				continue
			}
			p99, _ := of(func(r *load.Result) float64 { return float64(r.Latency.P99) })
			rate, _ := of(func(r *load.Result) float64 { return r.Rate })
			rss, _ := of(func(r *load.Result) float64 { return rss(r) })
			fmt.Fprintf(b, "| %s | %s | %s | %s | %.0f | %.0f MB |\n", key, p.title, millis(p50), millis(p99), rate, rss/1e6)
		}
	}
	b.WriteString("\nIn fan-out, rooms and echo what is sent next waits for what came: their latency says how fair a server is, not how fast.\n")
}

// rss is the server's memory at the end, in bytes.
func rss(r *load.Result) float64 {
	switch {
	case r.Memory != nil:
		return float64(r.Memory.With)
	case r.Server != nil:
		return float64(r.Server.RSS)
	}
	return 0
}

// writeRuns writes every run with the load of the machine, and what failed.
func (s *sitting) writeRuns(b *strings.Builder) {
	b.WriteString("\n### Every run\n\n\"Load\" is the machine's average of the minute before, this command's own runs included; \"others\" is how many processors somebody else used meanwhile, beside those of the server and the generator. Where the generator is the busier one, the rate is its own; the server's time a unit holds.\n\n")
	b.WriteString("| round | what | server | load | others | processors: server, generator | µs a unit | p50 | p99 | checked |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, m := range s.runs {
		cost, p50, p99, checked, cores := "–", "–", "–", "–", "–"
		if r := m.result; r != nil {
			cost = number(m.perUnit())
			if r.Server != nil {
				cores = fmt.Sprintf("%.2f, %.2f", r.Server.Cores, r.Generator.Cores)
			}
			p50, p99, checked = millis(float64(r.Latency.P50)), millis(float64(r.Latency.P99)), fmt.Sprint(r.Checked)
			if n := r.Faults.Total(); n > 0 {
				checked += fmt.Sprintf(", %d faults", n)
			}
		}
		if m.failure != "" {
			checked = "FAILED"
		}
		fmt.Fprintf(b, "| %d | %s | %s | %s | %.1f | %s | %s | %s | %s | %s |\n", m.round, m.key, m.server, m.load, m.others, cores, cost, p50, p99, checked)
	}
	for _, m := range s.runs {
		if m.failure != "" {
			fmt.Fprintf(b, "\n- Failed: %s of %s in round %d: %s\n", m.key, m.server, m.round, strings.ReplaceAll(m.failure, "\n", " "))
		}
	}
}

// digits is a figure to about three digits.
func digits(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// number is a figure that may not be there.
func number(v float64, ok bool) string {
	if !ok {
		return "–"
	}
	return digits(v)
}

// millis is a time of so many nanoseconds.
func millis(ns float64) string { return digits(ns/1e6) + " ms" }

// writeSection replaces the section of this title in a file, or adds it; the
// others stay.
func writeSection(path, title, text string) error {
	old, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		old, err = []byte(resultsHead), nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(replaceSection(string(old), title, text)), 0o644)
}

// replaceSection replaces a section, which ends where the next one begins.
func replaceSection(old, title, text string) string {
	const mark = "\n## "
	head, rest, there := strings.Cut(old, mark+title+"\n")
	head = strings.TrimRight(head, "\n") + "\n\n"
	if !there {
		return head + text
	}
	if next := strings.Index(rest, mark); next >= 0 {
		return head + text + rest[next:]
	}
	return head + text
}
