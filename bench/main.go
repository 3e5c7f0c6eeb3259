// Command bench measures a Holdfast server beside others, on one machine and in
// one sitting, and writes RESULTS.md. "go run ./bench -help" lists its flags;
// docs/bench.md says what is measured.
//
// The servers are in folders of their own: socketio (the npm package), gobwas (a
// bare broadcast server) and limit (one thread on epoll). What loads them is
// "holdfast bench", in a process of its own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/holdfast-dev/holdfast/internal/load"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	quick                   bool
	growth, overload, storm bool // one of them at most; none: beside others
	rounds                  int
	only                    []string
	out                     string
	command                 string // as it was called, for the record
}

// run is the program.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	st, err := newStage(ctx, stderr)
	if err != nil {
		return err
	}
	defer st.close()
	return st.perform(ctx, o, stdout)
}

// perform measures what the options say, and writes or prints the section.
func (st *stage) perform(ctx context.Context, o options, stdout io.Writer) (err error) {
	sit := &sitting{stage: st, options: o}
	var title, text string
	switch {
	case o.growth:
		title, err = growthTitle, sit.growth(ctx)
		text = sit.growthSection()
	case o.overload:
		title = overloadTitle
		text, err = sit.overload(ctx)
	case o.storm:
		title = stormTitle
		text, err = sit.storm(ctx)
	default:
		servers, scenarios := o.chosen()
		title, err = peersTitle, sit.peers(ctx, servers, scenarios)
		text = sit.peersSection(servers, scenarios)
	}
	if err != nil {
		return err
	}
	if o.out == "" {
		_, err = io.WriteString(stdout, text)
	} else {
		err = writeSection(o.out, title, text)
	}
	return errors.Join(err, sit.failed())
}

// parseOptions reads the flags.
func parseOptions(args []string, stderr io.Writer) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.quick, "quick", false, "small and short, to see that it works; prints, and writes no file without -out")
	flags.BoolVar(&o.growth, "growth", false, "our server alone, with more connections, rooms, members and bytes")
	flags.BoolVar(&o.overload, "overload", false, "our server alone, offered three times what it can deliver for a minute, and once a third of it")
	flags.BoolVar(&o.storm, "storm", false, "our server alone, killed and started again under 10,000 of our Go clients")
	flags.IntVar(&o.rounds, "rounds", 0, "how often everything is measured; medians are taken (default 3, quick 1)")
	only := flags.String("only", "", "these `names` alone, with commas: scenarios ("+names(scenarioNames())+") and servers ("+names(serverNames())+")")
	flags.StringVar(&o.out, "out", "", "the `file` whose section is replaced (default bench/RESULTS.md; with -quick or -only none)")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("%q is no flag", flags.Arg(0))
	}
	if *only != "" {
		o.only = strings.Split(*only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(serverNames(), name) && !slices.Contains(scenarioNames(), name) {
			return o, fmt.Errorf("-only: %q is none of %s, %s", name, names(serverNames()), names(scenarioNames()))
		}
	}
	switch {
	case o.rounds < 0:
		return o, errors.New("-rounds can't be negative")
	case o.growth && o.overload || o.growth && o.storm || o.overload && o.storm:
		return o, errors.New("-growth, -overload and -storm are runs of their own")
	case (o.growth || o.overload || o.storm) && *only != "":
		return o, errors.New("-only is for the run beside other servers")
	case o.overload && o.rounds > 1:
		return o, errors.New("-overload has one round")
	case o.rounds == 0 && (o.quick || o.overload):
		o.rounds = 1
	case o.rounds == 0:
		o.rounds = 3
	}
	o.command = strings.TrimSpace("go run ./bench " + strings.Join(args, " "))
	if o.out == "" && !o.quick && *only == "" {
		root, err := moduleRoot()
		if err != nil {
			return o, err
		}
		o.out = filepath.Join(root, "bench", "RESULTS.md")
	}
	return o, nil
}

// chosen are the servers and scenarios that -only leaves: all where it names
// none of a kind.
func (o *options) chosen() (servers []peer, scenarios []job) {
	for _, p := range peers() {
		if o.wants(p.name, serverNames()) {
			servers = append(servers, p)
		}
	}
	for _, j := range jobs() {
		if o.wants(string(j.scenario), scenarioNames()) {
			scenarios = append(scenarios, j)
		}
	}
	return servers, scenarios
}

// wants reports whether -only leaves a name of a kind.
func (o *options) wants(name string, kind []string) bool {
	if slices.Contains(o.only, name) {
		return true
	}
	return !slices.ContainsFunc(o.only, func(one string) bool { return slices.Contains(kind, one) })
}

func names(list []string) string { return strings.Join(list, ", ") }

func scenarioNames() (list []string) {
	for _, j := range jobs() {
		list = append(list, string(j.scenario))
	}
	return list
}

func serverNames() (list []string) {
	for _, p := range peers() {
		list = append(list, p.name)
	}
	return list
}

// job is one scenario with the flags of "holdfast bench".
type job struct {
	scenario load.Scenario
	flags    []string
	quick    []string // instead of flags
}

// jobs are the scenarios, with the defaults of "holdfast bench".
func jobs() []job {
	brief := []string{"--warm-up", "100ms", "--duration", "300ms"}
	return []job{
		{load.Connect, nil, []string{"--connections", "50", "--settle", "100ms"}},
		{load.Fanout, nil, append([]string{"--members", "20"}, brief...)},
		{load.Paced, nil, append([]string{"--members", "20"}, brief...)},
		{load.Rooms, nil, append([]string{"--rooms", "10"}, brief...)},
		{load.Echo, nil, append([]string{"--connections", "10"}, brief...)},
	}
}
