package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-dev/holdfast/internal/load"
)

// sitting is everything that is measured in one go.
type sitting struct {
	stage   *stage
	options options

	began, ended time.Time
	runs         []*measured
}

// measured is one run of one scenario against a server that was just started.
type measured struct {
	server string
	key    string // of what was run: the scenario, or the step of growth
	round  int    // from 1
	load   string // average of a minute, when it began
	others float64
	// result is nil if it could not be measured; failure then says why. Faults of
	// the server are a failure too.
	result  *load.Result
	failure string
}

// peers runs all scenarios against all servers, in turns. The order of the
// servers is another one in each round.
func (s *sitting) peers(ctx context.Context, servers []peer, scenarios []job) error {
	for _, p := range servers {
		if err := s.stage.build(ctx, p); err != nil {
			return err
		}
	}
	s.began = time.Now().UTC()
	for round := range s.options.rounds {
		for _, j := range scenarios {
			for i := range servers {
				p := servers[(i+round)%len(servers)]
				flags := j.flags
				if s.options.quick {
					flags = j.quick
				}
				if err := s.one(ctx, trial{peer: p, scenario: j.scenario, key: string(j.scenario), round: round + 1, flags: flags}); err != nil {
					return err
				}
			}
		}
	}
	s.ended = time.Now().UTC()
	return nil
}

// trial is what one run does.
type trial struct {
	peer     peer
	scenario load.Scenario
	key      string // see measured
	round    int
	flags    []string // of "holdfast bench"
	env      []string // more of it for the server
	// may returns the faults that are a failure of the run; nil: all of them.
	may func(*load.Result) uint64
	// during runs beside the load, until its context ends; nil: nothing.
	during func(ctx context.Context, url string)
}

// one starts a server, loads it and notes what came of it. An error is only
// that the sitting was ended.
func (s *sitting) one(ctx context.Context, t trial) error {
	m := &measured{server: t.peer.name, key: t.key, round: t.round, load: loadAverage()}
	s.runs = append(s.runs, m)
	defer func() {
		fmt.Fprintf(s.stage.progress, "round %d  %-18s %-9s load %-6s others %.1f  %s\n", m.round, m.key, m.server, m.load, m.others, m.line())
	}()
	before, from := machineBusy(), time.Now()
	server, err := s.stage.start(ctx, t.peer, t.env...)
	if err != nil {
		m.failure = err.Error()
		return ctx.Err()
	}
	result, own, err := s.stage.beside(ctx, server.url, t)
	own += server.stop()
	if before > 0 {
		m.others = max(0, (machineBusy()-before-own).Seconds()/time.Since(from).Seconds())
	}
	m.result = result
	switch {
	case err != nil:
		m.failure = err.Error()
	case t.faults(result) > 0:
		m.failure = fmt.Sprintf("%s: %s", &result.Faults, strings.Join(result.Faults.First, "; "))
	}
	return ctx.Err()
}

// faults are those that are a failure.
func (t *trial) faults(r *load.Result) uint64 {
	if t.may != nil {
		return t.may(r)
	}
	return r.Faults.Total()
}

// beside loads a server, and does beside it what the trial wants.
func (s *stage) beside(ctx context.Context, url string, t trial) (*load.Result, time.Duration, error) {
	if t.during != nil {
		during, stop := context.WithCancel(ctx)
		var done sync.WaitGroup
		done.Go(func() { t.during(during, url) })
		defer done.Wait()
		defer stop()
	}
	return s.load(ctx, url, t.scenario, t.flags)
}

// line says in short what came of a run.
func (m *measured) line() string {
	if m.failure != "" {
		return "FAILED: " + m.failure
	}
	return number(m.perUnit()) + " µs, p99 " + millis(float64(m.result.Latency.P99))
}

// load runs "holdfast bench" and returns its result, and the processor time
// that it has used.
func (s *stage) load(ctx context.Context, url string, scenario load.Scenario, flags []string) (*load.Result, time.Duration, error) {
	file := filepath.Join(s.dir, "result.json")
	_ = os.Remove(file) // that of the last run
	args := append([]string{"bench", "--no-histogram", "--jwt-secret-file", s.secret(), "--json", file}, flags...)
	cmd := exec.CommandContext(ctx, s.program(ours), append(args, url, string(scenario))...)
	cmd.Env = environ()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	err := cmd.Run()
	used := time.Duration(0)
	if cmd.ProcessState != nil {
		used = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	var report load.Report
	if bad := readJSON(file, &report); bad == nil && len(report.Results) == 1 {
		result := report.Results[0]
		if err != nil && result.Faults.Total() > 0 {
			err = nil // the faults say more
		}
		return result, used, err
	}
	said := bytes.TrimSpace(stderr.Bytes())
	return nil, used, fmt.Errorf("holdfast bench: %w: %s", cmp.Or(err, errors.New("no result")), said[bytes.LastIndexByte(said, '\n')+1:])
}

// perUnit is the server's processor time for one unit in microseconds. It is
// not known where the system, which counts hundredths of a second, saw none.
func (m *measured) perUnit() (float64, bool) {
	if m.result == nil || m.result.Server == nil || m.result.Server.PerUnit == 0 {
		return 0, false
	}
	return m.result.Server.PerUnit, true
}

// idle is the memory of an idle connection in kilobytes, in connect.
func (m *measured) idle() (float64, bool) {
	if m.result == nil || m.result.Memory == nil {
		return 0, false
	}
	return m.result.Memory.PerConnection / 1000, true
}

// median is that of a value over the rounds of one server and scenario. Runs
// that failed are left out: they are listed instead.
func (s *sitting) median(server, key string, value func(*measured) (float64, bool)) (float64, bool) {
	var all []float64
	for _, m := range s.runs {
		if m.server != server || m.key != key || m.failure != "" {
			continue
		}
		if v, ok := value(m); ok {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	mid := len(all) / 2
	if len(all)%2 == 0 {
		return (all[mid-1] + all[mid]) / 2, true
	}
	return all[mid], true
}

// failed is an error if a run has failed.
func (s *sitting) failed() error {
	n := 0
	for _, m := range s.runs {
		if m.failure != "" {
			n++
		}
	}
	if n > 0 {
		return fmt.Errorf("%d of %d runs failed, see the results", n, len(s.runs))
	}
	return nil
}

// loadAverage is the machine's of the last minute: "–" if it is not known.
func loadAverage() string {
	data, err := os.ReadFile("/proc/loadavg")
	fields := strings.Fields(string(data))
	if err != nil || len(fields) == 0 {
		return "–"
	}
	return fields[0]
}

// tick is the unit of processor times in /proc, on Linux always.
const tick = 10 * time.Millisecond

// machineBusy is the processor time that everybody on the machine has used
// since it was started; 0 if that is not known.
func machineBusy() time.Duration {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(data), "\n")
	fields := strings.Fields(line)
	const user, idle, wait, steal = 1, 4, 5, 8
	if len(fields) <= steal || fields[0] != "cpu" {
		return 0
	}
	var ticks int64
	for i := user; i <= steal; i++ {
		if n, err := strconv.ParseInt(fields[i], 10, 64); err == nil && i != idle && i != wait {
			ticks += n
		}
	}
	return time.Duration(ticks) * tick
}

// busy reports whether others used so much of the machine in a run that its
// figures are in doubt: a tenth of it.
func (m *measured) busy() bool { return m.others > 0.1*float64(runtime.NumCPU()) }
