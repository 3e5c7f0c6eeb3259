package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-dev/holdfast/internal/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestSittings has the tests that start servers, which are built once.
func TestSittings(t *testing.T) {
	st, err := newStage(t.Context(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	defer st.close()
	for name, test := range map[string]func(*testing.T, *stage){
		"quick": testQuick, "growth": testGrowth, "overload": testOverload, "storm": testStorm, "probes": testProbes, "failures": testFailures,
	} {
		t.Run(name, func(t *testing.T) { test(t, st) })
	}
}

// perform measures what flags say and returns what is printed.
func perform(t *testing.T, st *stage, args ...string) string {
	t.Helper()
	o, err := parseOptions(args, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var stdout bytes.Buffer
	if err := st.perform(t.Context(), o, &stdout); err != nil {
		t.Fatalf("%v\n%s", err, &stdout)
	}
	return stdout.String()
}

// testQuick runs all scenarios against our server and the limit, both built and
// started: none fails, and every line of the tables is there.
func testQuick(t *testing.T, st *stage) {
	out := filepath.Join(t.TempDir(), "RESULTS.md")
	printed := perform(t, st, "-quick", "-only", "holdfast,limit", "-out", out)
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for _, f := range figures() {
		if strings.Count(text, "\n| "+f.what+" |") != 1 {
			t.Errorf("no line for %s", f.what)
		}
	}
	for _, j := range jobs() {
		for _, server := range []string{"holdfast", "limit"} {
			if strings.Count(text, "\n| 1 | "+string(j.scenario)+" | "+server+" |") != 1 {
				t.Errorf("no run of %s against %s", j.scenario, server)
			}
		}
	}
	if n := strings.Count(text, "\n| 1 | "); n != 2*len(jobs()) {
		t.Errorf("%d runs, want %d", n, 2*len(jobs()))
	}
	if !strings.HasPrefix(text, "# Results\n") || strings.Count(text, "\n## Peers\n") != 1 || printed != "" {
		t.Errorf("it prints %q and writes\n%s", printed, text)
	}
	if t.Failed() {
		t.Log(text)
	}
}

// testGrowth runs every step of growth in small.
func testGrowth(t *testing.T, st *stage) {
	text := perform(t, st, "-quick", "-growth")
	for _, step := range growthSteps(true) {
		if strings.Count(text, "\n| 1 | "+step.key()+" | holdfast |") != 1 {
			t.Errorf("no run of %s in\n%s", step.key(), text)
		}
	}
	for _, kind := range kinds() {
		if strings.Count(text, "\n### By "+kind.name+"\n") != 1 {
			t.Errorf("nothing about %s in\n%s", kind.name, text)
		}
	}
}

// testOverload runs it in small: nothing is lost, and who asks meanwhile is
// answered.
func testOverload(t *testing.T, st *stage) {
	text := perform(t, st, "-quick", "-overload")
	for want, n := range map[string]int{"\n| measured for | ": 1, "\n| admissions | ": 1, "\n| /healthz, 200 | ": 1, "; 0 failed |": 9, "| 0.0/s": 0, "none of ": 3, "\n| /readyz, 200 | ": 1, "FAILED": 0} {
		if strings.Count(text, want) != n {
			t.Errorf("%q is not there %d times in\n%s", want, n, text)
		}
	}
}

// testStorm runs it in small: everybody is back after three tries at most, also
// where only some are admitted each second.
func testStorm(t *testing.T, st *stage) {
	text := perform(t, st, "-quick", "-storm", "-rounds", "2")
	for want, n := range map[string]int{"\n| 1 | ": 2, "\n| 2 | ": 2, " | 10/s | ": 2, " s | ": 4, " s | 0;": 0, "FAILED": 0} {
		if strings.Count(text, want) != n {
			t.Errorf("%q is not there %d times in\n%s", want, n, text)
		}
	}
}

// TestStormSums has clients come back at known times.
func TestStormSums(t *testing.T) {
	from := time.Unix(1000, 0)
	st := &storm{}
	for _, ms := range []int{2900, 100, 1099, 1100} {
		st.back = append(st.back, from.Add(time.Duration(ms)*time.Millisecond))
	}
	if took, peak := st.sum(from); took != 2900*time.Millisecond || peak != 2 {
		t.Errorf("after %v, %d in a second", took, peak)
	}
}

// TestAdmissions reads the log of a server.
func TestAdmissions(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	text := "time=2026-01-02T03:04:05.998Z level=DEBUG msg=\"connection admitted\" connection=a\n" +
		"time=2026-01-02T03:04:06.000Z level=DEBUG msg=\"connection ended\" connection=b\n" +
		"time=2026-01-02T03:04:06.997Z level=DEBUG msg=\"connection admitted\" connection=c\n" +
		"time=2026-01-02T03:04:06.998Z level=DEBUG msg=\"connection admitted\" connection=d\n"
	if err := os.WriteFile(log, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if list, err := admissions(log); len(list) != 3 || busiest(list) != 2 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
	if err := os.WriteFile(log, []byte("time=now msg=\"connection admitted\""), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := admissions(log); err == nil {
		t.Error("a time that is none was read")
	}
}

// testProbes asks servers that answer well, and others.
func testProbes(t *testing.T, st *stage) {
	server, err := st.start(t.Context(), peers()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer server.stop()
	token, err := st.token("somebody")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		ask   func(context.Context) error
		fault string
	}{
		"health":            {askPath(server.url, "/healthz"), ""},
		"admission":         {askAdmission(server.url, token), ""},
		"no health there":   {askPath(server.url, "/nowhere"), "404"},
		"a bad token":       {askAdmission(server.url, "bad"), "refused"},
		"nobody to admit":   {askAdmission("http://127.0.0.1:1", token), "refused"},
		"nobody is healthy": {askPath("http://127.0.0.1:1", "/readyz"), "refused"},
	} {
		err := c.ask(t.Context())
		if (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %v, want %q", name, err, c.fault)
		}
	}
}

// testFailures has a server that can't be started, and one that is not there:
// both are in the results, and make the command fail.
func testFailures(t *testing.T, st *stage) {
	broken := []byte("#!/bin/sh\necho 'it is broken' >&2\n")
	absent := []byte("#!/bin/sh\necho listening on http://127.0.0.1:1\nexec cat\n")
	for name, script := range map[string][]byte{"broken": broken, "absent": absent} {
		if err := os.WriteFile(st.program(name), script, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s := &sitting{stage: st, options: options{rounds: 1, quick: true}}
	for _, name := range []string{"broken", "absent"} {
		if err := s.one(t.Context(), trial{peer: peer{name: name}, scenario: load.Echo, key: "echo", round: 1, flags: jobs()[4].quick}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.failed(); err == nil || !strings.HasPrefix(err.Error(), "2 of 2 runs failed") {
		t.Errorf("the sitting ends with %v", err)
	}
	text := s.peersSection([]peer{{name: "broken", title: "broken"}}, jobs()[4:])
	for _, want := range []string{"it is broken", "echo of absent in round 1: holdfast bench: "} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if _, ok := s.median("absent", "echo", (*measured).perUnit); ok {
		t.Error("there is a median of runs that failed")
	}
}

// TestRefusals counts refusals that can be tried again as no faults, and others.
func TestRefusals(t *testing.T) {
	for unread, want := range map[int64]uint64{muchUnread: 2, muchUnread - 1: 5} { // of 5, 3 are slow if the generator was
		slow := load.Result{Faults: load.Faults{Disconnected: 4, Lost: 1}, Codes: map[string]uint64{"SLOW_CONSUMER": 3}, LeastUnread: unread}
		if got := slowness(&slow); got != want {
			t.Errorf("%d are neither refused nor slow with %d bytes unread, want %d", got, unread, want)
		}
	}
	for want, r := range map[uint64]load.Result{
		0: {Faults: load.Faults{Refused: 5}, Codes: map[string]uint64{"RATE_LIMITED": 5}},
		2: {Faults: load.Faults{Refused: 3, Lost: 1}, Codes: map[string]uint64{"RATE_LIMITED": 2, "FORBIDDEN": 1}},
		4: {Faults: load.Faults{Disconnected: 4}, Codes: map[string]uint64{"SLOW_CONSUMER": 4}},
	} {
		if got := refusals(&r); got != want {
			t.Errorf("%+v: %d, want %d", r, got, want)
		}
	}
}

// TestMedian takes that of the runs that are to be counted.
func TestMedian(t *testing.T) {
	s := &sitting{}
	add := func(server, key, failure string, cost float64) {
		s.runs = append(s.runs, &measured{server: server, key: key, failure: failure, result: &load.Result{Server: &load.Use{PerUnit: cost}}})
	}
	add("a", "echo", "", 3)
	add("a", "echo", "", 1)
	add("a", "echo", "1 lost", 100)
	add("a", "rooms", "", 100)
	add("b", "echo", "", 100)
	add("a", "echo", "", 0) // less than the system can tell
	if got, ok := s.median("a", "echo", (*measured).perUnit); got != 2 || !ok {
		t.Errorf("of two it is %v", got)
	}
	add("a", "echo", "", 2.5)
	if got, ok := s.median("a", "echo", (*measured).perUnit); got != 2.5 || !ok {
		t.Errorf("of three it is %v", got)
	}
}

// TestVerdicts judges figures against goals, by themselves and beside the limit.
func TestVerdicts(t *testing.T) {
	s := &sitting{}
	cost := func(server string, v float64) {
		s.runs = append(s.runs, &measured{server: server, key: "echo", result: &load.Result{Server: &load.Use{PerUnit: v}}})
	}
	f := figures()[3]
	if got := f.inLimits(s); got != "–" {
		t.Errorf("without runs: %s", got)
	}
	cost(ours, 14)
	cost(limit, 10)
	if got := f.inLimits(s); got != "1.40, 1.40: yes" {
		t.Errorf("at the goal: %s", got)
	}
	s.runs = s.runs[:1]
	cost(limit, 7)
	if got := f.inLimits(s); got != "2.00, 1.40: no" {
		t.Errorf("over it: %s", got)
	}
	for want, got := range map[string]string{"yes": reached(7, true, 7), "no, 1.50 ×": reached(10.5, true, 7), "–": reached(7, false, 7)} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestSections replaces one and keeps the others.
func TestSections(t *testing.T) {
	path := filepath.Join(t.TempDir(), "RESULTS.md")
	for _, step := range []struct{ title, text string }{
		{peersTitle, "## Peers\n\nold\n\n### Runs\n"},
		{growthTitle, "## Growth\n\nold\n"},
		{peersTitle, "## Peers\n\nnew\n"},
		{growthTitle, "## Growth\n\nnew\n"},
	} {
		if err := writeSection(path, step.title, step.text); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(data), resultsHead+"\n## Peers\n\nnew\n\n## Growth\n\nnew\n"; got != want {
		t.Errorf("it is\n%s\nwant\n%s", got, want)
	}
}

// TestOptions reads flags.
func TestOptions(t *testing.T) {
	for args, want := range map[string]struct {
		rounds, servers, scenarios int
		file                       bool
		fault                      string
	}{
		"":                                {rounds: 3, servers: 4, scenarios: 5, file: true},
		"-growth -rounds 2":               {rounds: 2, servers: 4, scenarios: 5, file: true},
		"-quick":                          {rounds: 1, servers: 4, scenarios: 5},
		"-quick -out x":                   {rounds: 1, servers: 4, scenarios: 5, file: true},
		"-only echo":                      {rounds: 3, servers: 4, scenarios: 1},
		"-only echo,rooms,limit":          {rounds: 3, servers: 1, scenarios: 2},
		"-only gobwas,socketio -rounds 1": {rounds: 1, servers: 2, scenarios: 5},
		"-only soak":                      {fault: `"soak" is none of`},
		"-overload":                       {rounds: 1, servers: 4, scenarios: 5, file: true},
		"-overload -growth":               {fault: "runs of their own"},
		"-growth -only echo":              {fault: "beside other servers"},
		"-overload -rounds 2":             {fault: "one round"},
		"-rounds -1":                      {fault: "can't be negative"},
		"echo":                            {fault: `"echo" is no flag`},
	} {
		var stderr bytes.Buffer
		o, err := parseOptions(strings.Fields(args), &stderr)
		var servers []peer
		var scenarios []job
		if err == nil {
			servers, scenarios = o.chosen()
		}
		if want.fault != "" {
			if err == nil || !strings.Contains(err.Error(), want.fault) {
				t.Errorf("%q: %v", args, err)
			}
			continue
		}
		if err != nil || o.rounds != want.rounds || len(servers) != want.servers || len(scenarios) != want.scenarios || (o.out != "") != want.file {
			t.Errorf("%q: %+v, %d servers, %d scenarios, %v", args, o, len(servers), len(scenarios), err)
		}
	}
}
